//! Backward: which snapshots a rollback takes back, and which it has to leave out.

use std::collections::HashSet;

use super::Engine;
use super::space::Spared;
use crate::error::Result;
use crate::execute::Cancel;
use crate::progress::Progress;
use crate::request::{OnConflict, RollbackRequest};
use crate::rollback::{NotUndone, RollbackReport, RollbackSpec, obstacle};
use crate::store::{ListFilter, ROLLBACK_OF, Selection, SnapshotId, SnapshotMeta, SnapshotState};

/// Several snapshots, parted by what a rollback of all of them does with each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Undoable {
    /// Those that can be taken back, newest first.
    pub snapshots: Vec<SnapshotId>,
    /// Those that were taken back before.
    pub done: Vec<SnapshotId>,
    /// Those that cannot be taken back, with the reason.
    pub left_out: Vec<NotUndone>,
}

impl Engine {
    /// Undoes snapshots.
    ///
    /// # Errors
    /// `NotFound` and `Ambiguous` for the target, `Busy` while another process works on one of the
    /// snapshots, `Corrupt` where the records cannot be read. Entries that cannot be restored are
    /// no error but listed in the report; so are snapshots of several that cannot be taken back.
    pub fn rollback(
        &self,
        request: &RollbackRequest,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<RollbackReport> {
        let named = match self.store.resolve(&request.target)? {
            Selection::Snapshot(id) => vec![id],
            Selection::Batch(_, ids) => ids,
        };
        let targets = if request.through {
            self.everything_since(&named)?
        } else if named.len() > 1 {
            self.undoable(&named)?
        } else {
            Undoable {
                snapshots: named,
                ..Undoable::default()
            }
        };
        self.undo(&targets, request, cancel, progress)
    }

    /// The same for exactly the snapshots of `targets`, whatever the request's target is by now.
    ///
    /// # Errors
    /// As for [`rollback`](Self::rollback).
    pub fn undo(
        &self,
        targets: &Undoable,
        request: &RollbackRequest,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<RollbackReport> {
        let spec = RollbackSpec {
            snapshots: targets.snapshots.clone(),
            on_conflict: request.on_conflict,
            paths: request.paths.clone(),
            dry_run: request.dry_run,
        };
        self.undo_as_far_as_possible(&spec, targets, cancel, progress)
    }

    fn undo_as_far_as_possible(
        &self,
        spec: &RollbackSpec,
        targets: &Undoable,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<RollbackReport> {
        let nothing_left =
            spec.snapshots.is_empty() && !(targets.done.is_empty() && targets.left_out.is_empty());
        let mut report = if nothing_left {
            RollbackReport {
                success: true,
                dry_run: spec.dry_run,
                ..RollbackReport::default()
            }
        } else {
            let mut report = crate::rollback::rollback(&self.store, spec, cancel, progress)?;
            self.trim_after(spec, &mut report);
            report
        };
        if !targets.done.is_empty() {
            let count = crate::plural(targets.done.len() as u64, "snapshot", "snapshots");
            report.notes.push(format!("{count} rolled back before"));
        }
        report.success &= targets.left_out.is_empty();
        report.not_undone.clone_from(&targets.left_out);
        Ok(report)
    }

    /// What a rollback saved counts as well, and is not what makes room for it.
    fn trim_after(&self, spec: &RollbackSpec, report: &mut RollbackReport) {
        let redo = report.redo_snapshot_id.iter();
        let redo = redo.filter_map(|id| SnapshotId::parse(id).ok());
        let spared = Spared {
            ids: spec.snapshots.iter().cloned().chain(redo).collect(),
            batch: None,
        };
        report.notes.extend(self.trim(&spared));
    }

    /// Which of several snapshots can be taken back now.
    ///
    /// # Errors
    /// Where one's metadata cannot be read.
    pub fn undoable(&self, ids: &[SnapshotId]) -> Result<Undoable> {
        let mut metas = ids
            .iter()
            .map(|id| self.store.meta(id))
            .collect::<Result<Vec<_>>>()?;
        metas.sort_by(newest_first);
        let mut parted = Undoable::default();
        for meta in metas {
            match meta.state {
                SnapshotState::Sealed | SnapshotState::RollingBack => {
                    parted.snapshots.push(meta.snapshot_id);
                }
                SnapshotState::RolledBack => parted.done.push(meta.snapshot_id),
                _ => parted.left_out.extend(left_out(&meta)),
            }
        }
        Ok(parted)
    }

    /// Every snapshot from now back to the oldest of `named` whose effect is in the tree.
    ///
    /// A snapshot that was rolled back is among them together with the redo snapshot that did it,
    /// as the records in between only fit together with both. Where that redo snapshot has expired,
    /// neither is.
    fn everything_since(&self, named: &[SnapshotId]) -> Result<Undoable> {
        let oldest = named
            .iter()
            .map(|id| self.store.meta(id))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .map(|meta| meta.timestamp)
            .fold(f64::INFINITY, f64::min);
        let filter = ListFilter {
            since: Some(oldest),
            ..ListFilter::default()
        };
        let (metas, _) = self.store.list(&filter)?;
        let there: HashSet<SnapshotId> = metas.iter().map(|m| m.snapshot_id.clone()).collect();
        let taken_back = |meta: &SnapshotMeta| {
            meta.state == SnapshotState::RolledBack
                && meta
                    .redo_snapshot_id
                    .as_ref()
                    .is_some_and(|redo| there.contains(redo))
        };
        let in_tree = |meta: &SnapshotMeta| {
            matches!(
                meta.state,
                SnapshotState::Sealed | SnapshotState::RollingBack
            ) || taken_back(meta)
        };
        let found = metas.iter().filter(|meta| in_tree(meta));
        // What was not begun changed nothing, and what a rollback saves belongs to that rollback.
        let unfinished = metas.iter().filter(|meta| {
            matches!(meta.state, SnapshotState::Captured | SnapshotState::Failed)
                && !meta.metadata.contains_key(ROLLBACK_OF)
        });
        Ok(Undoable {
            snapshots: found.map(|meta| meta.snapshot_id.clone()).collect(),
            done: Vec::new(),
            left_out: unfinished.filter_map(left_out).collect(),
        })
    }

    /// Takes a command or a batch back that failed, as far as its snapshots are complete.
    pub(super) fn undo_after_failure<'i>(
        &self,
        ids: impl Iterator<Item = &'i String>,
        progress: &dyn Progress,
    ) -> Result<Option<RollbackReport>> {
        let ids = ids
            .map(|id| SnapshotId::parse(id))
            .collect::<Result<Vec<_>>>()?;
        if ids.is_empty() {
            return Ok(None);
        }
        let targets = self.undoable(&ids)?;
        let spec = RollbackSpec {
            snapshots: targets.snapshots.clone(),
            on_conflict: OnConflict::Skip,
            paths: Vec::new(),
            dry_run: false,
        };
        // The command may have been cancelled; taking it back must not be.
        let cancel = Cancel::default();
        self.undo_as_far_as_possible(&spec, &targets, &cancel, progress)
            .map(Some)
    }
}

fn left_out(meta: &SnapshotMeta) -> Option<NotUndone> {
    let (_, reason) = obstacle(meta.state)?;
    Some(NotUndone {
        snapshot_id: meta.snapshot_id.to_string(),
        reason: reason.to_owned(),
    })
}

/// Orders snapshots by time, those of one batch by their position.
fn newest_first(a: &SnapshotMeta, b: &SnapshotMeta) -> std::cmp::Ordering {
    b.timestamp
        .total_cmp(&a.timestamp)
        .then(b.command_index.cmp(&a.command_index))
}
