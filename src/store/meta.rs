//! `<snapshot_id>.json`: a snapshot's metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Place, SnapshotId, SnapshotState};
use crate::entry::Timestamp;
use crate::infer::{Irreversible, NotUnderstood};
use crate::path::{AbsPath, WirePath};
use crate::seal::{ChangeCounts, Receipt};
use crate::snapshot::Unobserved;

/// The strategy that was used on one volume, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrategyUse {
    /// The volume's mount point.
    pub volume: AbsPath,
    /// The strategy's name.
    pub strategy: String,
    /// The strategy's version.
    pub version: u32,
    /// Why it was chosen.
    pub reason: String,
}

/// How the command ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Exit status as a shell reports it (128 + signal when a signal ended it); `None` while the
    /// command runs, or when it was interrupted with its agent.
    pub exit_code: Option<i32>,
    /// The time limit was reached.
    pub timed_out: bool,
    /// This program or the machine went down while the command ran.
    pub interrupted: bool,
    /// From the command's start to its end, in milliseconds.
    pub duration_ms: u64,
}

/// The process that everything which a command starts descends from, and which ends all that when the
/// program that ran the command dies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// Its number.
    pub process: u32,
    /// When it began, in ticks since boot: tells it from a later one of the same number.
    pub started: u64,
    /// The program that ran the command.
    pub parent: u32,
}

/// What a snapshot covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverageRecord {
    /// Everything in the scope was secured and compared.
    pub complete: bool,
    /// What was not.
    pub unobserved: Vec<Unobserved>,
    /// Effects that cannot be undone.
    pub irreversible: Vec<Irreversible>,
    /// Parts of the command line that no rule understood: the scope is the conservative one.
    #[serde(default)]
    pub not_understood: Vec<NotUnderstood>,
    /// Remarks: other commands at the same time, fall-backs, processes that go on.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl CoverageRecord {
    /// Notes what of the scope was not observed, and with it whether the coverage is complete.
    pub fn observed(&mut self, unobserved: Vec<Unobserved>) {
        self.complete = unobserved.is_empty() && self.not_understood.iter().all(|p| p.covered);
        self.unobserved = unobserved;
    }

    /// What keeps the coverage from being complete, each with its reason.
    pub fn missing(&self) -> Vec<String> {
        let unobserved = self
            .unobserved
            .iter()
            .map(|one| format!("{}: {}", one.path, one.reason));
        let left_out = self
            .not_understood
            .iter()
            .filter(|part| !part.covered)
            .map(|part| format!("{}: {}", part.text, part.reason));
        unobserved.chain(left_out).collect()
    }
}

/// One entry as the original agent's metadata lists it. At most
/// [`SnapshotMeta::MAX_FILE_SNAPSHOTS`] stand in the JSON; the manifest has all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileSnapshot {
    /// Absolute path.
    pub path: AbsPath,
    /// Whether the entry existed before the command.
    pub exists: bool,
    /// Whether it was a directory.
    pub is_dir: bool,
    /// SHA-256 of its content before, in hexadecimal.
    pub content_hash: Option<String>,
    /// Bytes before.
    pub size: Option<u64>,
    /// Seconds since the epoch.
    pub modified_time: Option<f64>,
    /// Permission bits, in octal text such as `0644`.
    pub permissions: Option<String>,
    /// The old content, relative to the snapshot's directory (`files/…`), or the whole path where it
    /// lies on another volume.
    pub backup_path: Option<String>,
}

/// Everything about a snapshot that does not need its manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Version of this file's format; see `src/docs/store_format.md`.
    pub format_version: u32,
    /// The snapshot's id.
    pub snapshot_id: SnapshotId,
    /// Where it is in its life.
    pub state: SnapshotState,
    /// When the snapshot was begun, in seconds since the epoch.
    pub timestamp: f64,
    /// The same by the clock that does not jump: nanoseconds since boot, and the boot's id.
    pub monotonic: Option<(String, u64)>,
    /// When the undo record was complete, in seconds since the epoch; `None` before that. Not in
    /// lists. What began before this instant ran, in part, at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<f64>,
    /// The command line.
    pub command: WirePath,
    /// The shell that read it.
    pub shell: String,
    /// Position in its batch.
    pub command_index: Option<u64>,
    /// Its batch.
    pub batch_id: Option<String>,
    /// Where the command started.
    pub working_directory: AbsPath,
    /// The paths covered.
    pub monitored_paths: Vec<AbsPath>,
    /// The first entries of the undo record.
    pub file_snapshots: Vec<FileSnapshot>,
    /// How many entries the undo record has.
    pub file_count: u64,
    /// How many of them changed in which way.
    pub changes: ChangeCounts,
    /// Variables of the allow-list.
    pub environment_vars: BTreeMap<String, String>,
    /// Free data.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// Which strategy on which volume.
    pub strategies: Vec<StrategyUse>,
    /// The scope with depth and reasons.
    pub scope: Vec<crate::infer::ScopePath>,
    /// What is covered and what is not.
    pub coverage: CoverageRecord,
    /// What the snapshot vouches for, once it is sealed; `None` in those of programs that gave no
    /// receipts. Not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// How the command ended.
    pub outcome: Outcome,
    /// Bytes that its content occupies, except for bases of deltas that another snapshot keeps too.
    pub stored_bytes: u64,
    /// Where content lies that is not in the snapshot's own `files/`. Not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Place>,
    /// What names of content begin with that shares its blocks with other files. Not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clones: Vec<String>,
    /// Bytes of content that were left to be compressed later.
    #[serde(default)]
    pub uncompressed_bytes: u64,
    /// Exempt from expiry.
    pub pinned: bool,
    /// What each strategy needs to resume its capture (base64), while the state is `captured`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capture_tokens: Vec<(String, String)>,
    /// What ends the command's processes where this program dies; only while the state is `captured`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Supervisor>,
    /// Why the snapshot failed or is incomplete.
    pub error: Option<String>,
    /// The snapshot that undoes the rollback of this one.
    pub redo_snapshot_id: Option<SnapshotId>,
    /// SHA-256 of the manifest file (or its MAC), in hexadecimal, once sealed with changes.
    pub manifest_checksum: Option<String>,
}

impl SnapshotMeta {
    /// The metadata with which a snapshot of `command` begins now: nothing covered, nothing changed.
    /// [`Store::begin`](super::Store::begin) gives it its id.
    pub fn new(command: WirePath, shell: impl Into<String>, working_directory: AbsPath) -> Self {
        Self {
            format_version: Self::FORMAT_VERSION,
            snapshot_id: SnapshotId::random(),
            state: SnapshotState::Capturing,
            timestamp: Timestamp::now().as_seconds(),
            monotonic: None,
            sealed: None,
            command,
            shell: shell.into(),
            command_index: None,
            batch_id: None,
            working_directory,
            monitored_paths: Vec::new(),
            file_snapshots: Vec::new(),
            file_count: 0,
            changes: ChangeCounts::default(),
            environment_vars: BTreeMap::new(),
            metadata: BTreeMap::new(),
            strategies: Vec::new(),
            scope: Vec::new(),
            coverage: CoverageRecord::default(),
            receipt: None,
            outcome: Outcome::default(),
            stored_bytes: 0,
            places: Vec::new(),
            clones: Vec::new(),
            uncompressed_bytes: 0,
            pinned: false,
            capture_tokens: Vec::new(),
            supervisor: None,
            error: None,
            redo_snapshot_id: None,
            manifest_checksum: None,
        }
    }

    /// The format this program writes.
    pub const FORMAT_VERSION: u32 = 1;
    /// The most entries listed in the JSON.
    pub const MAX_FILE_SNAPSHOTS: usize = 100;
}
