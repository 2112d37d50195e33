//! Looking snapshots up: the list, and what a user's text names.

use std::cmp::Ordering;

use rayon::prelude::*;

use super::id::shortened;
use super::index::{Index, Listed};
use super::layout::{InStore, Inner, id_of_json, json_name, not_found};
use super::meta_file;
use super::{ListFilter, Selection, SnapshotId, SnapshotMeta, SnapshotState, Store};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The key in a snapshot's free data that marks it as made by a rollback (to undo that); `last`
/// and batches pass over such snapshots.
pub const ROLLBACK_OF: &str = "rollback_of";

/// The fewest digits of an id's prefix.
const MIN_PREFIX: usize = 4;
/// The most candidates that an error names.
const MAX_CANDIDATES: usize = 8;
/// The longest text that can name anything.
const MAX_TEXT: usize = 128;
/// A file that changed less than this ago (nanoseconds) may change again within the same tick of
/// the filesystem's clock: it is not cached yet.
const RACY: i64 = 50_000_000;

type Read = std::result::Result<SnapshotMeta, (String, Error)>;

impl Store {
    /// Metadata of every readable snapshot, newest first; damaged ones come second with the error.
    ///
    /// `file_snapshots` and `capture_tokens` are left empty here; [`meta`](Self::meta) has them.
    pub fn list(&self, filter: &ListFilter) -> Result<(Vec<SnapshotMeta>, Vec<(String, Error)>)> {
        let (mut found, mut damaged) = (Vec::new(), Vec::new());
        for one in self.inner.read_all()? {
            match one {
                Ok(meta) if filter.takes(&meta) => found.push(meta),
                Ok(_) => {}
                Err(one) => damaged.push(one),
            }
        }
        found.sort_by(newest_first);
        found.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok((found, damaged))
    }

    /// Bytes that all snapshots hold together, as recorded.
    pub fn total_bytes(&self) -> Result<u64> {
        let (all, _) = self.list(&ListFilter::default())?;
        Ok(all
            .iter()
            .fold(0, |sum, meta| sum.saturating_add(meta.stored_bytes)))
    }

    /// What `text` names: an id, a unique prefix (4 digits or more), a batch id, or `last`.
    ///
    /// `last` is the newest snapshot in state `sealed` that was not itself made by a rollback. A
    /// batch gives its snapshots by `command_index`, again without those made by rollbacks.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] for text that cannot name anything,
    /// [`ErrorKind::Ambiguous`] where it fits several snapshots, or both a snapshot's prefix and a
    /// batch; [`ErrorKind::NotFound`].
    pub fn resolve(&self, text: &str) -> Result<Selection> {
        check_text(text)?;
        if text == "last" {
            return self.last().map(Selection::Snapshot);
        }
        if let Ok(id) = SnapshotId::parse(text)
            && self.inner.has_json(&id)?
        {
            return Ok(Selection::Snapshot(id));
        }
        let candidates = self.with_prefix(text)?;
        let batch = self.batch(text)?;
        match (candidates.as_slice(), batch) {
            ([], None) => Err(not_found(text)),
            ([], Some(ids)) => Ok(Selection::Batch(text.to_owned(), ids)),
            ([one], None) => Ok(Selection::Snapshot(one.clone())),
            (several, batch) => Err(ambiguous(text, several, batch.is_some())),
        }
    }

    fn last(&self) -> Result<SnapshotId> {
        let (all, _) = self.list(&ListFilter::default())?;
        all.into_iter()
            .find(|meta| meta.state == SnapshotState::Sealed && !is_redo(meta))
            .map(|meta| meta.snapshot_id)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    Stage::Store,
                    "there is no snapshot left to undo (see `deployx list`)",
                )
            })
    }

    /// Ids that begin with `text`, sorted; none where it is too short or no prefix of an id.
    fn with_prefix(&self, text: &str) -> Result<Vec<SnapshotId>> {
        let digits = text.to_ascii_lowercase();
        let is_prefix = (MIN_PREFIX..=SnapshotId::DIGITS).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !is_prefix {
            return Ok(Vec::new());
        }
        let mut ids = self.inner.ids()?;
        ids.retain(|id| id.as_str().starts_with(&digits));
        ids.sort();
        Ok(ids)
    }

    fn batch(&self, text: &str) -> Result<Option<Vec<SnapshotId>>> {
        let filter = ListFilter {
            batch_id: Some(text.to_owned()),
            ..ListFilter::default()
        };
        let (mut found, _) = self.list(&filter)?;
        found.retain(|meta| !is_redo(meta));
        found.sort_by(|a, b| {
            a.command_index
                .cmp(&b.command_index)
                .then_with(|| newest_first(b, a))
        });
        let ids: Vec<_> = found.into_iter().map(|meta| meta.snapshot_id).collect();
        Ok(Some(ids).filter(|ids| !ids.is_empty()))
    }
}

impl ListFilter {
    fn takes(&self, meta: &SnapshotMeta) -> bool {
        let in_batch = self.batch_id.is_none() || self.batch_id == meta.batch_id;
        in_batch && self.since.is_none_or(|since| meta.timestamp >= since)
    }
}

impl Inner {
    /// Ids of all snapshots, in no particular order.
    pub(super) fn ids(&self) -> Result<Vec<SnapshotId>> {
        let mut ids = Vec::new();
        self.root
            .each_name(|name| ids.extend(id_of_json(name.to_bytes())))
            .in_store(|| "cannot read the snapshot store".into())?;
        Ok(ids)
    }

    /// Metadata of all snapshots, as in the index where that is up to date, else from the files.
    fn read_all(&self) -> Result<Vec<Read>> {
        let mut ids = self.ids()?;
        ids.sort();
        let listed: Vec<Listed> = ids
            .into_par_iter()
            .filter_map(|id| {
                // One that vanished was deleted meanwhile; other errors show when it is read.
                let version = self.root.version(json_name(&id)).ok()??;
                Some(Listed { id, version })
            })
            .collect();
        let mut index = Index::open(self);
        let (rows, gone) = match &index {
            Some(index) => index.rows(&listed),
            None => (listed.iter().map(|_| None).collect(), Vec::new()),
        };
        let read: Vec<(Option<Read>, Option<Listed>)> = listed
            .par_iter()
            .zip(rows)
            .map(
                |(listed, row)| match row.and_then(|row| row.decode(listed, &self.sealing)) {
                    Some(meta) => (Some(Ok(meta)), None),
                    None => self.read_file(&listed.id),
                },
            )
            .collect();
        if let Some(index) = &mut index {
            let fresh: Vec<_> = read
                .iter()
                .filter_map(|(read, listed)| match (read, listed) {
                    (Some(Ok(meta)), Some(listed)) => Some((listed, meta)),
                    _ => None,
                })
                .collect();
            index.store(&fresh, &gone, &self.sealing);
        }
        Ok(read.into_iter().filter_map(|(read, _)| read).collect())
    }

    /// Reads one file; the second part says which version, where that may be cached.
    fn read_file(&self, id: &SnapshotId) -> (Option<Read>, Option<Listed>) {
        let read = self
            .root
            .read_version(&json_name(id), meta_file::MAX_BYTES)
            .map_err(|error| super::layout::reading_json(id, error))
            .and_then(|(bytes, version)| {
                Ok((meta_file::decode(id, &bytes, &self.sealing)?, version))
            });
        match read {
            Ok((mut meta, version)) => {
                meta.file_snapshots = Vec::new();
                meta.capture_tokens = Vec::new();
                let now = Timestamp::now().as_nanos();
                let settled = i128::from(version.changed) + i128::from(RACY) <= now;
                let listed = settled.then(|| Listed {
                    id: id.clone(),
                    version,
                });
                (Some(Ok(meta)), listed)
            }
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => (None, None),
            Err(error) => (Some(Err((id.to_string(), error))), None),
        }
    }
}

fn newest_first(a: &SnapshotMeta, b: &SnapshotMeta) -> Ordering {
    b.timestamp
        .total_cmp(&a.timestamp)
        .then_with(|| b.command_index.cmp(&a.command_index))
        .then_with(|| a.snapshot_id.cmp(&b.snapshot_id))
}

fn is_redo(meta: &SnapshotMeta) -> bool {
    meta.metadata.contains_key(ROLLBACK_OF)
}

fn check_text(text: &str) -> Result<()> {
    let fits = (1..=MAX_TEXT).contains(&text.len())
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fits {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Request,
            format!(
                "'{}' is no snapshot id, batch id or 'last'",
                shortened(text)
            ),
        ))
    }
}

fn ambiguous(text: &str, candidates: &[SnapshotId], batch: bool) -> Error {
    let mut named: Vec<String> = candidates
        .iter()
        .take(MAX_CANDIDATES)
        .map(ToString::to_string)
        .collect();
    if candidates.len() > MAX_CANDIDATES {
        named.push(format!("{} more", candidates.len() - MAX_CANDIDATES));
    }
    if batch {
        named.push(format!("the batch '{text}'"));
    }
    Error::new(
        ErrorKind::Ambiguous,
        Stage::Store,
        format!("'{text}' fits several: {}", named.join(", ")),
    )
}
