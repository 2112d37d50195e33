//! The state before a command, as the baseline's index has it.

use std::ffi::OsString;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::index::Index;
use super::objects::Objects;
use super::rows::Rows;
use crate::entry::ContentHash;
use crate::error::Result;
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

impl Known<'_> {
    /// Asks the index where that has what was not loaded.
    fn look_up(
        &self,
        path: &AbsPath,
        load: impl FnOnce(&Index, &mut Rows) -> Result<()>,
    ) -> io::Result<Option<Rows>> {
        if !self.trusted.iter().any(|tree| path.starts_with(tree)) {
            return Ok(None);
        }
        let mut rows = Rows::default();
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        load(&index, &mut rows).map_err(io::Error::other)?;
        Ok(Some(rows))
    }
}

impl Before for Known<'_> {
    fn row(&self, path: &AbsPath) -> io::Result<Option<Row>> {
        if self.loaded.contains(path) {
            return Ok(self.loaded.row(path));
        }
        let found = self.look_up(path, |index, rows| {
            *rows = index.load(&[(path, false)], self.generation)?;
            Ok(())
        })?;
        Ok(found.and_then(|rows| rows.row(path)))
    }

    fn part(&self, path: &AbsPath, names: &[OsString]) -> io::Result<Option<Row>> {
        if self.loaded.contains(path) {
            return Ok(self.loaded.part(path, names));
        }
        let found = self.look_up(path, |index, rows| {
            index.load_part(path, names, self.generation, rows)
        })?;
        Ok(found.and_then(|rows| rows.part(path, names)))
    }

    fn contains(&self, path: &AbsPath) -> io::Result<bool> {
        // A row that was loaded need not be read for that.
        Ok(self.loaded.contains(path) || self.part(path, &[])?.is_some())
    }

    fn hash(&self, _: &AbsPath, record: &Record) -> io::Result<Option<ContentHash>> {
        match (record.hash(), record.content) {
            (None, Content::Object(object, _)) => self.objects.hash(object.serial).map(Some),
            (known, _) => Ok(known),
        }
    }
}
