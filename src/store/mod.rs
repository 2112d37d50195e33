//! The store: where snapshots live on disk.
//!
//! ```text
//! <store>/                     0700, owner checked
//! ├── <snapshot_id>.json       metadata, documented JSON
//! ├── <snapshot_id>/
//! │   ├── lock                 held by the process that captures, undoes or deletes it
//! │   ├── manifest             the undo record, versioned and checksummed
//! │   └── files/               the old content
//! ├── open/<snapshot_id>       one marker per snapshot that is not sealed yet
//! ├── baseline/                cache shared by strategies
//! ├── rollback/                journals of rollbacks in progress
//! ├── index.sqlite             cache of the JSON files, for `list`
//! └── lock                     shared by everyone, exclusive while the set of snapshots changes
//! ```
//!
//! `src/docs/store_format.md` has the formats byte by byte.

mod meta;

pub use meta::{CoverageRecord, FileSnapshot, Outcome, SnapshotMeta, StrategyUse};

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::request::RetentionPolicy;
use crate::seal::UndoRecord;

/// A snapshot's id: 16 lowercase hexadecimal digits, chosen at random.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SnapshotId(String);

/// Where a snapshot is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotState {
    /// The state before the command is being secured; the command has not started.
    Capturing,
    /// The state before is secured; the command runs or was interrupted.
    Captured,
    /// The undo record is complete.
    Sealed,
    /// A rollback of it was started and has not ended.
    RollingBack,
    /// It was rolled back.
    RolledBack,
    /// It could not be taken; it cannot be rolled back.
    Failed,
}

impl SnapshotId {
    /// A new random id.
    pub fn random() -> Self {
        todo!()
    }
    /// Checks that `text` is a whole id.
    pub fn parse(text: &str) -> Result<Self> {
        todo!()
    }
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: serde::Deserializer<'de>>(_d: D) -> Result<Self, D::Error> {
        todo!()
    }
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Make the directory where it does not exist yet.
    pub create: bool,
    /// Key for manifest and metadata MACs (32 bytes or more); `None`: plain SHA-256.
    pub key: Option<Vec<u8>>,
    /// How long to wait for other processes before [`ErrorKind::Busy`](crate::ErrorKind::Busy).
    pub lock_timeout: Duration,
}

/// Which snapshots `list` gives. The default is all of them.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Only this batch.
    pub batch_id: Option<String>,
    /// Only begun at or after this instant (seconds since the epoch).
    pub since: Option<f64>,
    /// At most this many, the newest.
    pub limit: Option<usize>,
}

/// What a user's text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// One snapshot.
    Snapshot(SnapshotId),
    /// A batch with its snapshots in the order in which they ran.
    Batch(String, Vec<SnapshotId>),
}

/// A problem that `verify` found.
#[derive(Debug, Clone, Serialize)]
pub struct VerifyProblem {
    /// The snapshot.
    pub snapshot_id: String,
    /// The stored file, relative to the store.
    pub file: String,
    /// What is wrong, in one sentence.
    pub problem: String,
}

/// Why a snapshot expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryReason {
    /// Older than allowed.
    Age,
    /// More snapshots than allowed.
    Count,
    /// More bytes than allowed.
    Size,
    /// Named by the caller.
    Named,
}

/// One snapshot that is to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// Which.
    pub snapshot_id: SnapshotId,
    /// Why.
    pub reason: ExpiryReason,
    /// Bytes that are freed.
    pub bytes: u64,
}

/// Pure data: what an expiry would delete. Printable and testable without a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExpiryPlan {
    /// In the order of deletion, oldest first.
    pub expire: Vec<Expiry>,
}

/// What an expiry did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ExpiryReport {
    /// Deleted.
    pub expired: Vec<Expiry>,
    /// Left because they are in use or pinned, with the reason.
    pub kept: Vec<(SnapshotId, String)>,
    /// Could not be deleted, with the error.
    pub failures: Vec<(SnapshotId, String)>,
    /// Bytes freed.
    pub freed_bytes: u64,
}

/// An open store. Cheap to clone; may be used by several threads.
#[derive(Clone)]
pub struct Store {
    root: PathBuf,
}

/// A snapshot that is being made (or undone) by this process: holds its lock until dropped.
pub struct OpenSnapshot {
    _p: (),
}

/// Keeps a snapshot from expiry and from other writers while alive.
pub struct InUse {
    _p: (),
}

impl Store {
    /// Opens the store at `path`, after checking owner and permissions.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self> {
        todo!()
    }
    /// The store's directory (absolute, physical).
    pub fn path(&self) -> &Path {
        &self.root
    }
    /// Where strategies keep their shared cache; exists.
    pub fn baseline_dir(&self) -> PathBuf {
        todo!()
    }
    /// Where rollbacks keep their journals; exists.
    pub fn rollback_dir(&self) -> PathBuf {
        todo!()
    }
    /// Begins a snapshot: takes an id, its lock and its marker, writes the metadata with state
    /// `capturing` (not yet durable). `meta.snapshot_id` and `meta.state` are set here.
    pub fn begin(&self, meta: SnapshotMeta) -> Result<OpenSnapshot> {
        todo!()
    }
    /// Snapshots whose process died before sealing (state capturing or captured), locked for the
    /// caller. Costs a look at `open/` only.
    pub fn interrupted(&self) -> Result<Vec<OpenSnapshot>> {
        todo!()
    }
    /// Ids of snapshots that are being made by live processes now.
    pub fn running(&self) -> Result<Vec<SnapshotId>> {
        todo!()
    }
    /// One snapshot's metadata.
    pub fn meta(&self, id: &SnapshotId) -> Result<SnapshotMeta> {
        todo!()
    }
    /// One snapshot's undo record, checksum verified. Empty for a sealed one without changes.
    pub fn record(&self, id: &SnapshotId) -> Result<UndoRecord> {
        todo!()
    }
    /// The directory with the old content.
    pub fn files_dir(&self, id: &SnapshotId) -> PathBuf {
        todo!()
    }
    /// Metadata of every readable snapshot, newest first; damaged ones come second with the error.
    pub fn list(
        &self,
        filter: &ListFilter,
    ) -> Result<(Vec<SnapshotMeta>, Vec<(String, crate::Error)>)> {
        todo!()
    }
    /// What `text` names: an id, a unique prefix (4 digits or more), a batch id, or `last`.
    pub fn resolve(&self, text: &str) -> Result<Selection> {
        todo!()
    }
    /// Takes a snapshot for reading or changing; `Busy` when another process holds it.
    pub fn acquire(&self, id: &SnapshotId) -> Result<InUse> {
        todo!()
    }
    /// Changes metadata of a snapshot that the caller has acquired (or that only gets pinned);
    /// durable on return.
    pub fn update(
        &self,
        id: &SnapshotId,
        change: &mut dyn FnMut(&mut SnapshotMeta),
    ) -> Result<SnapshotMeta> {
        todo!()
    }
    /// Which snapshots the policy expires now. Pinned ones and those in use are left out.
    pub fn plan_expiry(&self, policy: &RetentionPolicy) -> Result<ExpiryPlan> {
        todo!()
    }
    /// A plan that deletes the named snapshots.
    pub fn plan_removal(&self, ids: &[SnapshotId]) -> Result<ExpiryPlan> {
        todo!()
    }
    /// Carries a plan out.
    pub fn expire(&self, plan: &ExpiryPlan, progress: &dyn Progress) -> Result<ExpiryReport> {
        todo!()
    }
    /// Re-hashes everything that these snapshots hold (all of them when empty).
    pub fn verify(
        &self,
        ids: &[SnapshotId],
        progress: &dyn Progress,
    ) -> Result<Vec<VerifyProblem>> {
        todo!()
    }
    /// Bytes that all snapshots hold together, as recorded.
    pub fn total_bytes(&self) -> Result<u64> {
        todo!()
    }
}

impl OpenSnapshot {
    /// Its id.
    pub fn id(&self) -> &SnapshotId {
        todo!()
    }
    /// Its metadata as last written.
    pub fn meta(&self) -> &SnapshotMeta {
        todo!()
    }
    /// Where pre-images go; exists, mode 0700.
    pub fn files_dir(&self) -> PathBuf {
        todo!()
    }
    /// Changes and writes the metadata; on stable storage on return.
    pub fn update(&mut self, change: impl FnOnce(&mut SnapshotMeta)) -> Result<()> {
        todo!()
    }
    /// Writes the undo record and the metadata with state `sealed`, removes the marker and lets
    /// go of the lock. Sets changes, file_count, file_snapshots, manifest_checksum itself;
    /// everything is on stable storage on return.
    pub fn seal(
        self,
        record: &UndoRecord,
        change: impl FnOnce(&mut SnapshotMeta),
    ) -> Result<SnapshotMeta> {
        todo!()
    }
    /// Marks the snapshot as failed, with the reason, and lets go of it.
    pub fn fail(self, reason: &str) -> Result<SnapshotMeta> {
        todo!()
    }
    /// Deletes it as if it had never begun (the command did not run).
    pub fn discard(self) -> Result<()> {
        todo!()
    }
}
