//! The list of snapshots.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::SnapshotId;
use super::catalogue::Item;
use super::layout::Inner;
use super::row::Head;
use super::{ListFilter, SnapshotMeta, Store};
use crate::error::{Error, Result};

/// The key in a snapshot's free data that marks it as made by a rollback (to take that back);
/// `last` and batches pass over such snapshots.
pub const ROLLBACK_OF: &str = "rollback_of";

/// Ids of snapshots that cannot be read, each with the error.
pub type Damaged = Vec<(String, Error)>;

impl Store {
    /// Ids of all snapshots, in no particular order. Looks at names only.
    pub fn ids(&self) -> Result<Vec<SnapshotId>> {
        self.inner.ids()
    }

    /// Metadata of every readable snapshot, newest first; damaged ones come second with the error.
    ///
    /// `file_snapshots`, `scope`, `receipt`, `environment_vars` and `capture_tokens` are left empty here to
    /// keep long lists fast; [`meta`](Self::meta) has them. The filter does not apply to damaged
    /// ones: nothing is known of them but the id.
    pub fn list(&self, filter: &ListFilter) -> Result<(Vec<SnapshotMeta>, Damaged)> {
        let catalogue = self.inner.catalogue()?;
        let mut picked = catalogue.items();
        picked.retain(|item| filter.takes(&item.head));
        picked.par_sort_unstable_by(newest_first);
        picked.truncate(filter.limit.unwrap_or(usize::MAX));
        let found: Vec<Option<SnapshotMeta>> = picked
            .par_iter()
            .map(|item| {
                // A row that passed its checksum can only be unreadable by a mistake of the
                // program that wrote it; the file is the truth then.
                item.meta().or_else(|| self.inner.read_meta(item.id).ok())
            })
            .collect();
        let found = found.into_iter().flatten().collect();
        Ok((found, catalogue.into_damaged()))
    }

    /// Bytes that all snapshots hold together, as recorded.
    pub fn total_bytes(&self) -> Result<u64> {
        let catalogue = self.inner.catalogue()?;
        Ok(catalogue
            .items()
            .iter()
            .fold(0, |sum, item| sum.saturating_add(item.head.stored_bytes)))
    }
}

impl Inner {
    /// Snapshots with content that may still be compressed, the newest first.
    pub(super) fn uncompressed(&self) -> Result<Vec<SnapshotId>> {
        let catalogue = self.catalogue()?;
        let mut items = catalogue.items();
        items.retain(|item| item.head.uncompressed_bytes > 0);
        items.sort_unstable_by(newest_first);
        Ok(items.iter().map(|item| item.id.clone()).collect())
    }
}

impl ListFilter {
    fn takes(&self, head: &Head<'_>) -> bool {
        let in_batch = self.batch_id.is_none() || self.batch_id.as_deref() == head.batch_id;
        in_batch && self.since.is_none_or(|since| head.timestamp >= since)
    }
}

/// Orders snapshots by when they were begun, the newest first.
pub(super) fn newest_first(a: &Item<'_>, b: &Item<'_>) -> Ordering {
    b.head
        .timestamp
        .total_cmp(&a.head.timestamp)
        .then_with(|| b.head.command_index.cmp(&a.head.command_index))
        .then_with(|| a.id.cmp(b.id))
}
