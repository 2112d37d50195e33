//! Where the state before a command is looked up.

use std::ffi::OsString;
use std::io;

use super::record::{Record, Row};
use crate::entry::ContentHash;
use crate::path::AbsPath;

/// The state before a command, by path. It may be loaded or looked up when it is asked for, by
/// several threads.
pub(in crate::snapshot) trait Before: Sync {
    /// What was known of the entry at `path`. `None`: it was not observed, or did not exist.
    fn row(&self, path: &AbsPath) -> io::Result<Option<Row>>;

    /// The same, of the entries in it only those that `names` (sorted) lists.
    fn part(&self, path: &AbsPath, names: &[OsString]) -> io::Result<Option<Row>> {
        let mut row = self.row(path)?;
        if let Some(children) = row.as_mut().and_then(|row| row.children.as_mut()) {
            children.retain(|(known, _)| {
                let name = |n: &OsString| n.as_encoded_bytes().cmp(known);
                names.binary_search_by(name).is_ok()
            });
        }
        Ok(row)
    }

    /// Whether [`row`](Self::row) gives something.
    fn contains(&self, path: &AbsPath) -> io::Result<bool> {
        Ok(self.row(path)?.is_some())
    }

    /// The hash of the content that the file at `path` had. `None`: its content was not kept.
    fn hash(&self, path: &AbsPath, record: &Record) -> io::Result<Option<ContentHash>>;
}
