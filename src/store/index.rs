//! `index.sqlite`: what `list` needs of the metadata files, kept ready to be read at once.
//!
//! The index is a cache and nothing more. A row counts only while the file it was made of is the
//! same version (inode, size, times) and while its checksum, which is keyed as the files' are,
//! passes. An index that is damaged, locked, missing or from another version of the program costs
//! time, never a wrong answer and never an error.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use super::checksum::{self, Checksum, Sealing};
use super::layout::{INDEX, Inner};
use super::row::{self, Head};
use super::{SnapshotId, SnapshotMeta};
use crate::sys::durable::FileVersion;

/// Raised whenever rows or the table change; an index of another version is emptied.
const SCHEMA: i64 = 2;

/// How long a writer waits for another. Readers do not wait for writers at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of a version as it stands in the index.
const VERSION: usize = 32;

/// Bytes of an ordinary row, for a buffer that need not grow.
const TYPICAL_ROW: usize = 768;

/// A metadata file as the directory shows it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: SnapshotId,
    /// The id as a number, the row's key.
    pub(super) number: u64,
    pub(super) version: FileVersion,
}

impl Listed {
    /// The file of the snapshot `id` in this version.
    pub(super) fn new(id: SnapshotId, version: FileVersion) -> Self {
        Self {
            number: id.number(),
            id,
            version,
        }
    }
}

/// Rows as they were read, one after the other in one buffer.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    /// For every listed file its row: checksum, then content. Not checked yet.
    ranges: Vec<Option<Range<usize>>>,
    /// Rows of files that are no longer there.
    gone: Vec<i64>,
}

/// The open index.
pub(super) struct Index {
    connection: Connection,
    path: PathBuf,
}

impl Index {
    /// Opens the index of a store, making it where there is none. `None`: do without.
    pub(super) fn open(inner: &Inner) -> Option<Self> {
        let path = inner.path.join(INDEX);
        // The database would make it readable for others. One that exists must not be opened
        // here: closing it again would drop the locks of other connections of this process.
        let _ = inner.root.create_file(INDEX);
        match connect(&path) {
            Ok(connection) => Some(Self { connection, path }),
            Err(error) => {
                give_up(&path, &error);
                None
            }
        }
    }

    /// The rows of those files in `listed` (sorted by id) that are still the same version.
    pub(super) fn rows(&self, listed: &[Listed]) -> Rows {
        let mut rows = Rows {
            bytes: Vec::with_capacity(listed.len() * TYPICAL_ROW),
            ranges: vec![None; listed.len()],
            ..Rows::default()
        };
        if let Err(error) = self.collect(listed, &mut rows) {
            // What was read until then is good: each row is checked on its own.
            give_up(&self.path, &error);
        }
        rows
    }

    fn collect(&self, listed: &[Listed], rows: &mut Rows) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT id, version, checksum, row FROM snapshots")?;
        let mut results = statement.query([])?;
        while let Some(result) = results.next()? {
            let id: i64 = result.get(0)?;
            let number = id.cast_unsigned();
            let Ok(at) = listed.binary_search_by_key(&number, |one| one.number) else {
                rows.gone.push(id);
                continue;
            };
            if result.get_ref(1)?.as_blob()? == version_bytes(&listed[at].version) {
                let start = rows.bytes.len();
                rows.bytes.extend_from_slice(result.get_ref(2)?.as_blob()?);
                rows.bytes.extend_from_slice(result.get_ref(3)?.as_blob()?);
                rows.ranges[at] = Some(start..rows.bytes.len());
            }
        }
        Ok(())
    }

    /// Stores rows of files that were read anew and forgets those of `rows` that are gone. Failures
    /// are ignored: the next caller tries again.
    pub(super) fn store(
        &mut self,
        fresh: &[(&Listed, &SnapshotMeta)],
        rows: &Rows,
        sealing: &Sealing,
    ) {
        if fresh.is_empty() && rows.gone.is_empty() {
            return;
        }
        if let Err(error) = self.write(fresh, &rows.gone, sealing) {
            give_up(&self.path, &error);
        }
    }

    fn write(
        &mut self,
        fresh: &[(&Listed, &SnapshotMeta)],
        gone: &[i64],
        sealing: &Sealing,
    ) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare(
                "INSERT OR REPLACE INTO snapshots (id, version, checksum, row) VALUES (?, ?, ?, ?)",
            )?;
            for (listed, meta) in fresh {
                let Some(row) = row::encode(meta) else {
                    continue;
                };
                let checksum = row_checksum(sealing, listed, &row);
                let id = listed.number.cast_signed();
                insert.execute(params![id, version_bytes(&listed.version), checksum, row])?;
            }
            let mut delete = transaction.prepare("DELETE FROM snapshots WHERE id = ?")?;
            for id in gone {
                delete.execute([id])?;
            }
        }
        transaction.commit()
    }
}

impl Rows {
    /// Whether there is a row of `listed[at]` that passes its checksum and can be read.
    pub(super) fn passes(&self, at: usize, listed: &Listed, sealing: &Sealing) -> bool {
        self.split(at).is_some_and(|(stored, row)| {
            checksum::equal(&row_checksum(sealing, listed, row), stored)
                && Head::read(row).is_some()
        })
    }

    /// The content of the row of `listed[at]`, for one that [`passes`](Self::passes).
    pub(super) fn content(&self, at: usize) -> Option<&[u8]> {
        self.split(at).map(|(_, row)| row)
    }

    fn split(&self, at: usize) -> Option<(&[u8], &[u8])> {
        let range = self.ranges.get(at)?.clone()?;
        self.bytes.get(range)?.split_at_checked(checksum::LENGTH)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(PATIENCE)?;
    // A cache need not survive a power cut; its rows carry checksums.
    // It is not mapped into memory either: a truncated file would then be a fatal signal.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if schema != SCHEMA {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             DROP TABLE IF EXISTS snapshots;
             CREATE TABLE snapshots (
                 id INTEGER PRIMARY KEY,
                 version BLOB NOT NULL,
                 checksum BLOB NOT NULL,
                 row BLOB NOT NULL
             );
             PRAGMA user_version = {SCHEMA};
             COMMIT;"
        ))?;
    }
    Ok(connection)
}

/// Does without the index this time. A damaged one is removed, so that the next caller makes it anew.
fn give_up(path: &Path, error: &rusqlite::Error) {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    tracing::debug!(%error, "the index could not be used");
    let code = error.sqlite_error_code();
    if !matches!(code, Some(DatabaseCorrupt | NotADatabase)) {
        return;
    }
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // What stays is met again by the next caller.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

fn version_bytes(version: &FileVersion) -> [u8; VERSION] {
    let mut bytes = [0; VERSION];
    bytes[..8].copy_from_slice(&version.inode.to_le_bytes());
    bytes[8..16].copy_from_slice(&version.size.to_le_bytes());
    bytes[16..24].copy_from_slice(&version.modified.to_le_bytes());
    bytes[24..].copy_from_slice(&version.changed.to_le_bytes());
    bytes
}

fn row_checksum(sealing: &Sealing, listed: &Listed, row: &[u8]) -> Checksum {
    sealing.checksum(&[
        b"deployx index row\0",
        &listed.number.to_le_bytes(),
        &version_bytes(&listed.version),
        row,
    ])
}
