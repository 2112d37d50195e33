//! Where the state before a command is looked up.

use std::io;

use super::record::{Record, Row};
use crate::entry::ContentHash;
use crate::path::AbsPath;

/// The state before a command, by path. It may be loaded or looked up when it is asked for, by
/// several threads.
pub(in crate::snapshot) trait Before: Sync {
    /// What was known of the entry at `path`. `None`: it was not observed, or did not exist.
    fn row(&self, path: &AbsPath) -> io::Result<Option<Row>>;

    /// Whether [`row`](Self::row) gives something.
    fn contains(&self, path: &AbsPath) -> io::Result<bool> {
        Ok(self.row(path)?.is_some())
    }

    /// The hash of the content that the file at `path` had. `None`: its content was not kept.
    fn hash(&self, path: &AbsPath, record: &Record) -> io::Result<Option<ContentHash>>;
}
