//! What a user's text names.

use super::id::shortened;
use super::layout::not_found;
use super::list::newest_first;
use super::{Selection, SnapshotId, SnapshotState, Store};
use crate::error::{Error, ErrorKind, Result, Stage};

/// The fewest digits of an id's prefix.
const MIN_PREFIX: usize = 4;
/// The most candidates that an error names.
const MAX_CANDIDATES: usize = 8;
/// The longest text that can name anything.
const MAX_TEXT: usize = 128;

impl Store {
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

    /// The snapshots of exactly this batch, by `command_index`, without those made by rollbacks; none
    /// where no snapshot belongs to it. Nothing else is ever meant by `batch`.
    pub fn batch_snapshots(&self, batch: &str) -> Result<Vec<SnapshotId>> {
        Ok(self.batch(batch)?.unwrap_or_default())
    }

    fn last(&self) -> Result<SnapshotId> {
        let catalogue = self.inner.catalogue()?;
        let items = catalogue.items();
        items
            .iter()
            .filter(|item| item.head.state == SnapshotState::Sealed && !item.head.redo)
            .min_by(|a, b| newest_first(a, b))
            .map(|item| item.id.clone())
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
        let catalogue = self.inner.catalogue()?;
        let mut items = catalogue.items();
        items.retain(|item| item.head.batch_id == Some(text) && !item.head.redo);
        items.sort_by(|a, b| {
            (a.head.command_index.cmp(&b.head.command_index)).then_with(|| newest_first(b, a))
        });
        let ids: Vec<_> = items.iter().map(|item| item.id.clone()).collect();
        Ok(Some(ids).filter(|ids| !ids.is_empty()))
    }
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
