//! What the engine answers. These types serialise to the documented `--json` objects.

use serde::Serialize;

use crate::entry::EntryState;
use crate::path::{AbsPath, WirePath};
use crate::rollback::RollbackReport;
use crate::seal::{ChangeCounts, ChangeKind, Receipt};
use crate::snapshot::intercept::SessionReport;
use crate::snapshot::probe::Fidelity;
use crate::store::{
    CoverageRecord, Place, SnapshotMeta, SnapshotState, StrategyUse, VerifyProblem,
};
use crate::sys::WatchLimits;

/// How a command went and what it changed.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The snapshot; `None` when there is none (switched off or failed).
    pub snapshot_id: Option<String>,
    /// The batch the command belongs to.
    pub batch_id: Option<String>,
    /// The command line.
    pub command: WirePath,
    /// The shell.
    pub shell: String,
    /// Where it started.
    pub working_directory: AbsPath,
    /// As the shell reports it; 128 + signal when a signal ended it.
    pub exit_code: i32,
    /// Exit status 0 and within its time.
    pub success: bool,
    /// The time limit was reached.
    pub timed_out: bool,
    /// The command was cancelled (Ctrl-C, or by the backend).
    pub cancelled: bool,
    /// The command's own run time.
    pub duration_ms: u64,
    /// The strategy used, or `mixed`, or `none`.
    pub strategy: String,
    /// Which on which volume, and why.
    pub strategies: Vec<StrategyUse>,
    /// What was covered.
    pub monitored_paths: Vec<AbsPath>,
    /// How many entries changed.
    pub changes: ChangeCounts,
    /// What is covered and what is not.
    pub coverage: CoverageRecord,
    /// What the snapshot vouches for; `None` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Bytes kept.
    pub stored_bytes: u64,
    /// Why the snapshot failed or is incomplete.
    pub snapshot_error: Option<String>,
    /// The rollback that `--rollback-on-failure` caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackReport>,
}

/// How a batch went.
#[derive(Debug, Clone, Serialize)]
pub struct BatchReport {
    /// The batch's id.
    pub batch_id: String,
    /// Every command succeeded.
    pub success: bool,
    /// The exit status of the first command that failed, else 0.
    pub exit_code: i32,
    /// How many commands there were.
    pub total_commands: usize,
    /// How many succeeded.
    pub successful_commands: usize,
    /// How many failed (skipped ones not counted).
    pub failed_commands: usize,
    /// One report for each command that ran.
    pub results: Vec<RunReport>,
    /// Commands that were skipped after a failure.
    pub skipped: Vec<WirePath>,
    /// The rollback that `--rollback-on-failure` caused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackReport>,
}

/// One line of `list`.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotSummary {
    /// The id.
    pub snapshot_id: String,
    /// Seconds since the epoch.
    pub timestamp: f64,
    /// Hours since then.
    pub age_hours: f64,
    /// The command line.
    pub command: WirePath,
    /// Position in its batch.
    pub command_index: Option<u64>,
    /// Its batch.
    pub batch_id: Option<String>,
    /// Where it started.
    pub working_directory: AbsPath,
    /// Where the snapshot is in its life.
    pub state: SnapshotState,
    /// The strategy used, or `mixed`.
    pub strategy: String,
    /// Entries in the undo record.
    pub file_count: u64,
    /// How many of them changed in which way.
    pub changes: ChangeCounts,
    /// Bytes kept.
    pub size_bytes: u64,
    /// Exempt from expiry.
    pub pinned: bool,
    /// How the command ended; `None` while it runs or when it was interrupted.
    pub exit_code: Option<i32>,
}

/// Everything about one snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct SnapshotDetail {
    /// The fields of `list`.
    #[serde(flatten)]
    pub summary: SnapshotSummary,
    /// The shell.
    pub shell: String,
    /// What was covered.
    pub monitored_paths: Vec<AbsPath>,
    /// Stored variables.
    pub environment_vars: std::collections::BTreeMap<String, String>,
    /// Free data.
    pub metadata: std::collections::BTreeMap<String, serde_json::Value>,
    /// What is covered and what is not.
    pub coverage: CoverageRecord,
    /// What it vouches for; `None` where there is no record, or none that gave receipts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Which strategy on which volume.
    pub strategies: Vec<StrategyUse>,
    /// Where content lies that is not in the store.
    pub places: Vec<Place>,
    /// Why it failed or is incomplete.
    pub error: Option<String>,
    /// The snapshot that undoes its rollback.
    pub redo_snapshot_id: Option<String>,
    /// The command's own run time.
    pub duration_ms: u64,
    /// Every changed entry.
    pub entries: Vec<EntryChange>,
}

/// One changed entry of `show`.
#[derive(Debug, Clone, Serialize)]
pub struct EntryChange {
    /// Which.
    pub path: AbsPath,
    /// How.
    pub change: ChangeKind,
    /// Before; `null`: did not exist.
    pub before: Option<EntryView>,
    /// After; `null`: does not exist any more.
    pub after: Option<EntryView>,
}

/// An entry's state as shown in JSON.
#[derive(Debug, Clone, Serialize)]
pub struct EntryView {
    /// `file`, `directory`, `symlink`, …
    pub kind: crate::entry::EntryKind,
    /// Octal text such as `0644`.
    pub permissions: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Seconds since the epoch.
    pub modified_time: f64,
    /// SHA-256, where known.
    pub content_hash: Option<String>,
    /// Where a symbolic link points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<WirePath>,
}

impl From<&EntryState> for EntryView {
    fn from(state: &EntryState) -> Self {
        Self {
            kind: state.kind,
            permissions: format!("{:04o}", state.mode),
            uid: state.uid,
            gid: state.gid,
            size: state.size,
            modified_time: state.modified.as_seconds(),
            content_hash: state.hash.map(|h| h.to_string()),
            target: state.target.as_deref().map(WirePath::from_bytes),
        }
    }
}

impl From<&SnapshotMeta> for SnapshotSummary {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            snapshot_id: meta.snapshot_id.to_string(),
            timestamp: meta.timestamp,
            age_hours: (crate::entry::Timestamp::now().as_seconds() - meta.timestamp).max(0.0)
                / 3600.0,
            command: meta.command.clone(),
            command_index: meta.command_index,
            batch_id: meta.batch_id.clone(),
            working_directory: meta.working_directory.clone(),
            state: meta.state,
            strategy: super::secure::strategy_name(&meta.strategies),
            file_count: meta.file_count,
            changes: meta.changes,
            size_bytes: meta.stored_bytes,
            pinned: meta.pinned,
            exit_code: meta.outcome.exit_code,
        }
    }
}

/// What `diff` shows of each entry.
#[derive(Debug, Clone, Default)]
pub struct DiffOptions {
    /// Only these and what lies beneath; empty: everything.
    pub paths: Vec<AbsPath>,
    /// Compare the state before with the live tree instead of the recorded state after.
    pub live: bool,
    /// Make unified diffs of text (otherwise only counts and kinds).
    pub text: bool,
    /// Files above this many bytes are summarised instead of diffed.
    pub max_bytes: Option<u64>,
}

/// The difference of one entry.
#[derive(Debug, Clone, Serialize)]
pub struct FileDiff {
    /// Which entry.
    pub path: AbsPath,
    /// How it changed.
    pub change: ChangeKind,
    /// Kind before and after, in words, when metadata or kind differ (for example `mode 0644 -> 0600`).
    pub notes: Vec<String>,
    /// Lines added, for text.
    pub added: Option<u64>,
    /// Lines removed, for text.
    pub removed: Option<u64>,
    /// Bytes before and after.
    pub bytes: (Option<u64>, Option<u64>),
    /// A unified diff, for text when asked for. Lossy where the text is not UTF-8.
    pub text: Option<String>,
    /// Why there is no text diff (binary, too large, content after not kept).
    pub summary: Option<String>,
}

/// What `restore` did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RestoreReport {
    /// Entries written.
    pub restored: u64,
    /// Entries that could not be.
    pub failures: Vec<crate::rollback::Failure>,
    /// Where they are.
    pub written: Vec<AbsPath>,
}

/// What `verify` found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// Snapshots looked at.
    pub checked: u64,
    /// Damage.
    pub problems: Vec<VerifyProblem>,
}

/// What `recover` did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RecoverReport {
    /// Snapshots of interrupted commands that can be rolled back now.
    pub sealed: Vec<String>,
    /// Those of them that do not cover everything, with what is missing.
    pub incomplete: Vec<(String, String)>,
    /// Snapshots that were given up, with the reason.
    pub failed: Vec<(String, String)>,
    /// Snapshots that could not be completed now, with the reason: the next start tries again.
    pub postponed: Vec<(String, String)>,
    /// Rollbacks that were finished.
    pub rollbacks: Vec<RollbackReport>,
}

/// What works on this host.
#[derive(Debug, Clone, Serialize)]
pub struct DoctorReport {
    /// The store.
    pub store: StoreReport,
    /// The volumes of the paths asked about.
    pub volumes: Vec<VolumeReport>,
    /// Shells found.
    pub shells: Vec<ShellReport>,
    /// Rule sets.
    pub plugins: Vec<crate::infer::RuleSetReport>,
    /// Sessions whose calls are intercepted, or were when their processes died.
    pub interception: Vec<SessionReport>,
    /// Limits in force.
    pub limits: LimitsReport,
    /// Things to look at, each with what to do.
    pub warnings: Vec<String>,
}

/// The store, as `doctor` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct StoreReport {
    /// Where.
    pub path: WirePath,
    /// It survives a reboot.
    pub durable: bool,
    /// The filesystem's type.
    pub filesystem: String,
    /// Bytes free.
    pub free_bytes: u64,
    /// Snapshots in it.
    pub snapshots: u64,
    /// Bytes they hold.
    pub stored_bytes: u64,
}

/// A volume, as `doctor` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct VolumeReport {
    /// Where it is mounted.
    pub mount_point: WirePath,
    /// Its type.
    pub filesystem: String,
    /// The device, or what else is mounted.
    pub source: String,
    /// For reading only: nothing on it can change, so no snapshot needs a strategy there.
    pub read_only: bool,
    /// On another host.
    pub network: bool,
    /// Bytes that this user may still write; `None` where that cannot be told.
    pub free_bytes: Option<u64>,
    /// Files that this user may still make; `None` where there is no bound.
    pub free_inodes: Option<u64>,
    /// Every strategy.
    pub strategies: Vec<StrategyReport>,
    /// What `auto` takes; `None` where none works or none is needed.
    pub chosen: Option<String>,
    /// Where old content of it is kept.
    pub content: ContentReport,
    /// What entries on it keep.
    pub fidelity: FidelityReport,
}

/// Where old content of a volume is kept, as `doctor` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct ContentReport {
    /// In the store, which is on the same filesystem. Otherwise strategies that need clones or
    /// links keep it on the volume, the others in the store.
    pub in_store: bool,
    /// The directory.
    pub directory: WirePath,
}

/// What entries on a volume keep, as `doctor` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct FidelityReport {
    /// The directory in which it was tried.
    pub directory: Option<WirePath>,
    /// Why it was not; the findings are missing then.
    pub not_tried: Option<String>,
    /// What was found.
    #[serde(flatten)]
    pub found: Option<Fidelity>,
}

/// A strategy on a volume.
#[derive(Debug, Clone, Serialize)]
pub struct StrategyReport {
    /// Its name.
    pub name: String,
    /// Whether it works there.
    pub usable: bool,
    /// Why, or why not.
    pub reason: String,
}

/// A shell.
#[derive(Debug, Clone, Serialize)]
pub struct ShellReport {
    /// Its name.
    pub name: String,
    /// The program.
    pub path: WirePath,
}

/// Limits in force.
#[derive(Debug, Clone, Serialize)]
pub struct LimitsReport {
    /// The bounds on snapshots.
    #[serde(flatten)]
    pub limits: crate::request::Limits,
    /// Most bytes in the store; `None`: no bound.
    pub max_store_bytes: Option<u64>,
    /// Most open files of this process.
    pub open_files: u64,
    /// How much may be watched for changes.
    pub watches: WatchLimits,
}
