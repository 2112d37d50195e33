//! The index between two captures of a process that lives on.
//!
//! Whoever closes an index last makes SQLite write its log back, flush that, and begin a new log at
//! the next opening: several flushes for each command that changed nothing.

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::index::Index;

/// Keeps at most one open index.
#[derive(Default)]
pub(super) struct Idle {
    kept: Mutex<Option<Index>>,
}

impl Idle {
    /// The kept index, where it still is what lies at `path`: the baseline may have been deleted
    /// meanwhile.
    pub(super) fn take(&self, path: &Path) -> Option<Index> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let index = kept.take()?;
        let there = file_at(path);
        (there.is_some() && there == index.file()).then_some(index)
    }

    /// Keeps an index for the next capture, unless there is one already.
    pub(super) fn keep(&self, index: Index) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert(index);
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").finish_non_exhaustive()
    }
}

/// The device and inode of what lies at `path`.
pub(super) fn file_at(path: &Path) -> Option<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
