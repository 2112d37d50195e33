//! Taking commands back: plan (pure), verify, apply (journalled), report.

mod apply;
mod build;
mod compose;
mod cursor;
mod ending;
mod fault;
mod journal;
mod judge;
mod layout;
mod leaves;
mod links;
mod made;
mod metadata;
mod observe;
mod place;
mod plan;
mod reconcile;
mod redo;
mod remarks;
mod resume;
mod run;
mod settle;
mod stage;
mod turn;
mod verify;

#[cfg(test)]
mod tests;

pub use resume::resume;
pub(crate) use run::obstacle;
pub use run::rollback;

use serde::Serialize;

use crate::path::AbsPath;
use crate::request::OnConflict;
use crate::store::SnapshotId;

/// What to undo.
#[derive(Debug, Clone)]
pub struct RollbackSpec {
    /// The snapshots, newest first.
    pub snapshots: Vec<SnapshotId>,
    /// What to do with conflicts.
    pub on_conflict: OnConflict,
    /// Only these and what lies beneath; empty: everything.
    pub paths: Vec<AbsPath>,
    /// Plan only.
    pub dry_run: bool,
}

/// One step of a plan as shown to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedAction {
    /// `restore`, `remove`, `mkdir`, `symlink`, `link`, `mknod`, `metadata`, …
    pub action: String,
    /// The entry.
    pub path: AbsPath,
}

/// An entry that is not as the command left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The entry.
    pub path: AbsPath,
    /// In which way, and by whom where known.
    pub reason: String,
}

/// An entry that could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The entry.
    pub path: AbsPath,
    /// Why.
    pub error: String,
}

/// A snapshot that a rollback of several had to leave out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotUndone {
    /// The snapshot.
    pub snapshot_id: String,
    /// Why.
    pub reason: String,
}

/// What a rollback did (or, for a dry run, would do). Serialises to the contract of `--json`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RollbackReport {
    /// The snapshots, in the order undone.
    pub snapshot_ids: Vec<String>,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Every entry of the records is as it was before the commands, and no snapshot was left out.
    pub success: bool,
    /// Entries given back their old state.
    pub restored: u64,
    /// Entries removed because the commands had created them.
    pub removed: u64,
    /// Entries that already were as they should be.
    pub unchanged: u64,
    /// Entries that differed; left alone unless overwriting was asked for.
    pub conflicts: Vec<Conflict>,
    /// Entries that could not be restored.
    pub failures: Vec<Failure>,
    /// Snapshots that were asked for and could not be taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_undone: Vec<NotUndone>,
    /// The snapshot that takes this rollback back; `None` when nothing was changed.
    pub redo_snapshot_id: Option<String>,
    /// The plan, for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedAction>>,
    /// Remarks, for example files that a process still has open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
