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
//! ├── bases/                   cache of what large files can be kept as a difference from
//! ├── siblings                 volumes on which there is a sibling of the store
//! ├── rollback/                journals of rollbacks in progress
//! ├── index.sqlite             cache of the JSON files, for `list`
//! ├── format                   the layout's version
//! └── lock                     shared while a snapshot comes into being, exclusive while orphans
//!                              are picked for deletion
//! ```
//!
//! `src/docs/store_format.md` has the formats byte by byte.

mod capture;
mod catalogue;
mod checksum;
mod clock;
pub(crate) mod content;
mod expire;
mod id;
mod index;
mod layout;
mod list;
mod lock;
mod manifest;
mod meta;
mod meta_file;
mod open;
mod resolve;
mod retention;
mod row;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod validate;
mod verify;

pub use capture::OpenSnapshot;
pub(crate) use content::OpenDirs;
pub use content::{Compaction, Compression, ContentDirs, Place, SIBLINGS};
pub use id::SnapshotId;
pub use list::{Damaged, ROLLBACK_OF};
pub use meta::{CoverageRecord, FileSnapshot, Outcome, SnapshotMeta, StrategyUse, Supervisor};

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::sys::durable::Durability;
use layout::{BASELINE, FILES, Inner, ROLLBACK};
use lock::Mode;

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
    /// What was compressed in the same cleanup.
    pub compacted: Compaction,
}

/// An open store. Cheap to clone; may be used by several threads.
///
/// The directory is held by descriptor: whatever later happens to its path, the store goes on
/// working in the directory that was checked when it was opened.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

/// Keeps a snapshot from expiry and from other writers while alive.
#[must_use = "the snapshot is let go of when this is dropped"]
pub struct InUse {
    _lock: File,
}

impl Store {
    /// Opens the store at `path`, after checking owner and permissions.
    ///
    /// # Errors
    /// [`UnsafeStore`](crate::ErrorKind::UnsafeStore) where the directory is a symbolic link,
    /// another user's, writable by others, or full of other things;
    /// [`NotFound`](crate::ErrorKind::NotFound) where there is none and `options.create` is not set;
    /// [`NewerFormat`](crate::ErrorKind::NewerFormat);
    /// [`InvalidRequest`](crate::ErrorKind::InvalidRequest) for a key that is too short.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Self> {
        open::open(path, options)
    }

    /// The store's directory (absolute, physical).
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Where strategies keep their shared cache; exists.
    pub fn baseline_dir(&self) -> PathBuf {
        self.inner.path.join(BASELINE)
    }

    /// Where rollbacks keep their journals; exists.
    pub fn rollback_dir(&self) -> PathBuf {
        self.inner.path.join(ROLLBACK)
    }

    /// The directory with the old content.
    pub fn files_dir(&self, id: &SnapshotId) -> PathBuf {
        self.inner.path.join(id.as_str()).join(FILES)
    }

    /// One snapshot's metadata.
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound), [`Corrupt`](crate::ErrorKind::Corrupt),
    /// [`NewerFormat`](crate::ErrorKind::NewerFormat).
    pub fn meta(&self, id: &SnapshotId) -> Result<SnapshotMeta> {
        self.inner.read_meta(id)
    }

    /// Takes a snapshot for changing or undoing it; nobody else has it meanwhile.
    ///
    /// # Errors
    /// [`Busy`](crate::ErrorKind::Busy) when another holds it longer than the options say, naming
    /// the process where it is known; [`NotFound`](crate::ErrorKind::NotFound);
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where its directory is gone.
    pub fn acquire(&self, id: &SnapshotId) -> Result<InUse> {
        self.inner.acquire(id, Mode::Exclusive)
    }

    /// Takes a snapshot for reading: it stays as it is meanwhile, other readers are welcome.
    /// Errors as for [`acquire`](Self::acquire).
    pub fn acquire_shared(&self, id: &SnapshotId) -> Result<InUse> {
        self.inner.acquire(id, Mode::Shared)
    }

    /// Changes metadata of a snapshot that the caller has acquired (or that only gets pinned);
    /// durable on return. Two updates at the same time do not lose each other's change.
    ///
    /// # Errors
    /// As for [`meta`](Self::meta), and when the change could not be made durable.
    pub fn update(
        &self,
        id: &SnapshotId,
        change: &mut dyn FnMut(&mut SnapshotMeta),
    ) -> Result<SnapshotMeta> {
        let directory = self.inner.required_directory(id)?;
        let _guard = self.inner.lock_meta(id, &directory)?;
        let mut meta = self.inner.read_meta(id)?;
        change(&mut meta);
        meta.snapshot_id = id.clone();
        meta.format_version = SnapshotMeta::FORMAT_VERSION;
        self.inner
            .write_meta(&meta, Durability::Durable, || Ok(()))?;
        Ok(meta)
    }
}
