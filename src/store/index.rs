//! `index.sqlite`: what `list` needs of the metadata files, kept ready to be read at once.
//!
//! The index is a cache and nothing more. A row counts only while the file it was made of is the
//! same version (inode, size, times) and while its checksum, which is keyed as the files' are,
//! passes. An index that is damaged, locked, missing or from another version of the program costs
//! time, never a wrong answer and never an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};

use super::checksum::{self, Sealing};
use super::layout::{INDEX, Inner};
use super::{CoverageRecord, Outcome, SnapshotId, SnapshotMeta, SnapshotState, StrategyUse};
use crate::infer::ScopePath;
use crate::path::{AbsPath, WirePath};
use crate::seal::ChangeCounts;
use crate::sys::durable::FileVersion;

/// Raised whenever [`Row`] or the table changes; rows of other versions are thrown away.
const SCHEMA: i64 = 1;

/// How long a writer waits for another. Readers do not wait for writers at all.
const PATIENCE: Duration = Duration::from_millis(100);

/// The metadata without what only `meta` gives: entries, tokens.
#[derive(Serialize, Deserialize)]
struct Row {
    format_version: u32,
    state: SnapshotState,
    timestamp: f64,
    monotonic: Option<(String, u64)>,
    command: Vec<u8>,
    shell: String,
    command_index: Option<u64>,
    batch_id: Option<String>,
    working_directory: AbsPath,
    monitored_paths: Vec<AbsPath>,
    file_count: u64,
    changes: ChangeCounts,
    environment_vars: BTreeMap<String, String>,
    /// As JSON text: free data does not describe itself in a compact encoding.
    metadata: Option<String>,
    strategies: Vec<StrategyUse>,
    scope: Vec<ScopePath>,
    coverage: CoverageRecord,
    outcome: Outcome,
    stored_bytes: u64,
    pinned: bool,
    error: Option<String>,
    redo_snapshot_id: Option<SnapshotId>,
    manifest_checksum: Option<String>,
}

impl Row {
    fn of(meta: &SnapshotMeta) -> Option<Self> {
        let metadata = if meta.metadata.is_empty() {
            None
        } else {
            Some(serde_json::to_string(&meta.metadata).ok()?)
        };
        Some(Self {
            format_version: meta.format_version,
            state: meta.state,
            timestamp: meta.timestamp,
            monotonic: meta.monotonic.clone(),
            command: meta.command.to_bytes().ok()?,
            shell: meta.shell.clone(),
            command_index: meta.command_index,
            batch_id: meta.batch_id.clone(),
            working_directory: meta.working_directory.clone(),
            monitored_paths: meta.monitored_paths.clone(),
            file_count: meta.file_count,
            changes: meta.changes,
            environment_vars: meta.environment_vars.clone(),
            metadata,
            strategies: meta.strategies.clone(),
            scope: meta.scope.clone(),
            coverage: meta.coverage.clone(),
            outcome: meta.outcome.clone(),
            stored_bytes: meta.stored_bytes,
            pinned: meta.pinned,
            error: meta.error.clone(),
            redo_snapshot_id: meta.redo_snapshot_id.clone(),
            manifest_checksum: meta.manifest_checksum.clone(),
        })
    }

    fn into_meta(self, snapshot_id: SnapshotId) -> Option<SnapshotMeta> {
        Some(SnapshotMeta {
            format_version: self.format_version,
            snapshot_id,
            state: self.state,
            timestamp: self.timestamp,
            monotonic: self.monotonic,
            command: WirePath::from_bytes(&self.command),
            shell: self.shell,
            command_index: self.command_index,
            batch_id: self.batch_id,
            working_directory: self.working_directory,
            monitored_paths: self.monitored_paths,
            file_snapshots: Vec::new(),
            file_count: self.file_count,
            changes: self.changes,
            environment_vars: self.environment_vars,
            metadata: match self.metadata {
                Some(text) => serde_json::from_str(&text).ok()?,
                None => BTreeMap::new(),
            },
            strategies: self.strategies,
            scope: self.scope,
            coverage: self.coverage,
            outcome: self.outcome,
            stored_bytes: self.stored_bytes,
            pinned: self.pinned,
            capture_tokens: Vec::new(),
            error: self.error,
            redo_snapshot_id: self.redo_snapshot_id,
            manifest_checksum: self.manifest_checksum,
        })
    }
}

/// A metadata file as the directory shows it.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) id: SnapshotId,
    pub(super) version: FileVersion,
}

/// A cached row, not yet checked.
pub(super) struct Cached {
    row: Vec<u8>,
    checksum: Vec<u8>,
}

/// The open index.
pub(super) struct Index {
    connection: Connection,
}

impl Index {
    /// Opens the index of a store, making it where there is none. `None`: do without.
    pub(super) fn open(inner: &Inner) -> Option<Self> {
        let path = inner.path.join(INDEX);
        match connect(&path) {
            Ok(connection) => Some(Self { connection }),
            Err(error) if is_damaged(&error) => {
                tracing::debug!(%error, "the index is damaged and is made anew");
                remove(&path);
                connect(&path).ok().map(|connection| Self { connection })
            }
            Err(error) => {
                tracing::debug!(%error, "the index cannot be used");
                None
            }
        }
    }

    /// The rows of the files in `listed` (sorted by id) that still are of the same version, in the
    /// same order; `None` where there is no such row. Also gives ids that are no longer listed.
    pub(super) fn rows(&self, listed: &[Listed]) -> (Vec<Option<Cached>>, Vec<i64>) {
        let mut rows: Vec<Option<Cached>> = listed.iter().map(|_| None).collect();
        let mut gone = Vec::new();
        if let Err(error) = self.collect(listed, &mut rows, &mut gone) {
            // What was read until then is good: each row is checked on its own.
            tracing::debug!(%error, "the index could not be read to its end");
        }
        (rows, gone)
    }

    fn collect(
        &self,
        listed: &[Listed],
        rows: &mut [Option<Cached>],
        gone: &mut Vec<i64>,
    ) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT id, version, row, checksum FROM snapshots")?;
        let mut results = statement.query([])?;
        while let Some(result) = results.next()? {
            let id: i64 = result.get(0)?;
            let number = id.cast_unsigned();
            let Ok(at) = listed.binary_search_by_key(&number, |one| one.id.number()) else {
                gone.push(id);
                continue;
            };
            if result.get_ref(1)?.as_blob()? == version_bytes(&listed[at].version) {
                rows[at] = Some(Cached {
                    row: result.get_ref(2)?.as_blob()?.to_vec(),
                    checksum: result.get_ref(3)?.as_blob()?.to_vec(),
                });
            }
        }
        Ok(())
    }

    /// Stores rows of files that were read anew and forgets those that are gone. Failures are
    /// ignored: the next caller tries again.
    pub(super) fn store(&mut self, fresh: &[(&Listed, &SnapshotMeta)], gone: &[i64], s: &Sealing) {
        if fresh.is_empty() && gone.is_empty() {
            return;
        }
        if let Err(error) = self.write(fresh, gone, s) {
            tracing::debug!(%error, "the index could not be brought up to date");
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
                "INSERT OR REPLACE INTO snapshots (id, version, row, checksum) VALUES (?, ?, ?, ?)",
            )?;
            for (listed, meta) in fresh {
                let Some(row) = Row::of(meta).and_then(|row| postcard::to_stdvec(&row).ok()) else {
                    continue;
                };
                let version = version_bytes(&listed.version);
                let checksum = row_checksum(sealing, &listed.id, &version, &row);
                let id = listed.id.number().cast_signed();
                insert.execute(params![id, version, row, checksum])?;
            }
            let mut delete = transaction.prepare("DELETE FROM snapshots WHERE id = ?")?;
            for id in gone {
                delete.execute([id])?;
            }
        }
        transaction.commit()
    }
}

impl Cached {
    /// The metadata, where the row passes its checksum.
    pub(super) fn decode(&self, listed: &Listed, sealing: &Sealing) -> Option<SnapshotMeta> {
        let version = version_bytes(&listed.version);
        let checksum = row_checksum(sealing, &listed.id, &version, &self.row);
        if !checksum::equal(&checksum, &self.checksum) {
            return None;
        }
        let row: Row = postcard::from_bytes(&self.row).ok()?;
        row.into_meta(listed.id.clone())
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
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
    let schema: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if schema != SCHEMA {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             DROP TABLE IF EXISTS snapshots;
             CREATE TABLE snapshots (
                 id INTEGER PRIMARY KEY,
                 version BLOB NOT NULL,
                 row BLOB NOT NULL,
                 checksum BLOB NOT NULL
             );
             PRAGMA user_version = {SCHEMA};
             COMMIT;"
        ))?;
    }
    Ok(connection)
}

fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(
        error.sqlite_error_code(),
        Some(DatabaseCorrupt | NotADatabase)
    )
}

fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        // What stays is met again by the next caller.
        let _ = std::fs::remove_file(PathBuf::from(name));
    }
}

fn version_bytes(version: &FileVersion) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&version.inode.to_le_bytes());
    bytes[8..16].copy_from_slice(&version.size.to_le_bytes());
    bytes[16..24].copy_from_slice(&version.modified.to_le_bytes());
    bytes[24..].copy_from_slice(&version.changed.to_le_bytes());
    bytes
}

fn row_checksum(
    sealing: &Sealing,
    id: &SnapshotId,
    version: &[u8; 32],
    row: &[u8],
) -> checksum::Checksum {
    sealing.checksum(&[
        b"deployx index row\0",
        &id.number().to_le_bytes(),
        version,
        row,
    ])
}
