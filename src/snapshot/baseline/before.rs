//! The state before a command, as the baseline's index has it.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::index::{Index, Rows};
use super::objects::Objects;
use crate::entry::ContentHash;
use crate::path::AbsPath;
use crate::snapshot::tree::Before;
use crate::snapshot::tree::record::{Content, Record, Row};

/// The rows that a capture saw: those of what it walked, and those of trees of which it knew without
/// walking that they had not changed, which are looked up when asked for.
pub(super) struct Known<'a> {
    pub(super) loaded: &'a Rows,
    /// The trees that were not walked.
    pub(super) trusted: &'a [AbsPath],
    pub(super) index: &'a Mutex<Index>,
    pub(super) generation: i64,
    pub(super) objects: &'a Objects,
}

impl Before for Known<'_> {
    fn row(&self, path: &AbsPath) -> io::Result<Option<Row>> {
        if let Some(bytes) = self.loaded.get(path.to_bytes()) {
            return Ok(Row::decode(bytes));
        }
        if !self.trusted.iter().any(|tree| path.starts_with(tree)) {
            return Ok(None);
        }
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let found = index.load(&[(path, false)], self.generation);
        let rows = found.map_err(io::Error::other)?;
        Ok(rows
            .get(path.to_bytes())
            .and_then(|bytes| Row::decode(bytes)))
    }

    fn contains(&self, path: &AbsPath) -> io::Result<bool> {
        // A row that was loaded need not be read for that.
        Ok(self.loaded.contains_key(path.to_bytes()) || self.row(path)?.is_some())
    }

    fn hash(&self, _: &AbsPath, record: &Record) -> io::Result<Option<ContentHash>> {
        match (record.hash(), record.content) {
            (None, Content::Object(object, _)) => self.objects.hash(object.serial).map(Some),
            (known, _) => Ok(known),
        }
    }
}
