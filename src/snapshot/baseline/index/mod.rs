//! The baseline's index: rows by path, in versions, in a SQLite database.
//!
//! A capture sees the rows as they were when it began (its *generation*) however long its command
//! runs and whatever other captures write meanwhile. Old versions go when no capture needs them.

mod captures;
mod claims;
mod forget;
mod read;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};

use super::idle::file_at;
use super::rows::Rows;
use super::versions::Versions;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::infer::{Depth, ScopePath};
use crate::sys::process_started;

/// Version of the tables; any other is thrown away and built anew.
const SCHEMA: i64 = 5;

/// Of so many generations is kept what they wrote to.
const WRITES_KEPT: i64 = 10_000;

pub(super) struct Index {
    connection: Connection,
    /// Device and inode of the database.
    file: Option<(u64, u64)>,
}

/// What one capture writes.
pub(super) struct Update<'a> {
    /// New or changed rows.
    pub(super) upsert: &'a Rows,
    /// Keys of what is no longer true.
    pub(super) remove: &'a [Vec<u8>],
    /// The first of the object numbers that this capture took: the rows refer to them now.
    pub(super) claim: Option<u64>,
    /// The paths of the scope, which are in use now.
    pub(super) roots: &'a [ScopePath],
}

/// A capture's entry in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Registered {
    pub(super) token: i64,
    pub(super) generation: i64,
}

impl Index {
    pub(super) fn open(path: &Path, wait: Duration) -> Result<Self> {
        let connection = Connection::open(path).map_err(failed("open"))?;
        connection.busy_timeout(wait).map_err(failed("open"))?;
        let mut index = Self {
            connection,
            file: None,
        };
        if index.version().map_err(failed("open"))? != SCHEMA {
            index.make_tables(path)?;
        }
        index.file = file_at(path);
        Ok(index)
    }

    /// The device and inode of the database.
    pub(super) fn file(&self) -> Option<(u64, u64)> {
        self.file
    }

    fn version(&self) -> rusqlite::Result<i64> {
        self.connection
            .query_row("PRAGMA user_version", [], |r| r.get(0))
    }

    /// Makes the tables, unless another process just did: what that one wrote since must stay.
    fn make_tables(&self, path: &Path) -> Result<()> {
        // SQLite does not wait for others while it changes the journal's mode.
        let lock_path = path.with_extension("lock");
        let context = || format!("cannot lock {}", lock_path.display());
        let lock = File::create(&lock_path).context(Stage::Capture, context)?;
        lock.lock().context(Stage::Capture, context)?;
        if self.version().map_err(failed("open"))? == SCHEMA {
            return Ok(());
        }
        self.create().map_err(failed("open"))
    }

    fn create(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             DROP TABLE IF EXISTS rows; DROP TABLE IF EXISTS captures; DROP TABLE IF EXISTS counters;
             DROP TABLE IF EXISTS shared; DROP TABLE IF EXISTS superseded;
             DROP TABLE IF EXISTS roots; DROP TABLE IF EXISTS claims; DROP TABLE IF EXISTS writes;
             CREATE TABLE rows (path BLOB, generation INTEGER, row BLOB,
                 PRIMARY KEY (path, generation)) WITHOUT ROWID;
             CREATE TABLE captures (token INTEGER PRIMARY KEY AUTOINCREMENT,
                 generation INTEGER NOT NULL, begun INTEGER NOT NULL,
                 pid INTEGER NOT NULL, started INTEGER NOT NULL);
             CREATE TABLE shared (serial INTEGER PRIMARY KEY, rows INTEGER NOT NULL);
             CREATE TABLE superseded (path BLOB PRIMARY KEY) WITHOUT ROWID;
             CREATE TABLE claims (first INTEGER PRIMARY KEY, count INTEGER NOT NULL,
                 pid INTEGER NOT NULL, started INTEGER NOT NULL);
             CREATE TABLE roots (path BLOB, whole INTEGER, used INTEGER NOT NULL,
                 PRIMARY KEY (path, whole)) WITHOUT ROWID;
             CREATE TABLE writes (generation INTEGER, path BLOB,
                 PRIMARY KEY (generation, path)) WITHOUT ROWID;
             CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
             INSERT INTO counters VALUES ('generation', 0), ('serial', 1);
             PRAGMA user_version = {SCHEMA};
             COMMIT;"
        ))
    }

    /// Writes what a registered capture found; on stable storage on return if anything was written.
    /// Gives the capture with the generation that has what it found, and the objects that no row
    /// refers to any more.
    pub(super) fn commit(
        &mut self,
        capture: Registered,
        update: &Update<'_>,
    ) -> Result<(Registered, Vec<u64>)> {
        let changed = !update.upsert.is_empty() || !update.remove.is_empty();
        self.durable(changed)?;
        self.commit_inner(capture, update, changed)
            .map_err(failed("write"))
    }

    fn commit_inner(
        &mut self,
        capture: Registered,
        update: &Update<'_>,
        changed: bool,
    ) -> rusqlite::Result<(Registered, Vec<u64>)> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut generation = capture.generation;
        let mut freed = Vec::new();
        if changed {
            generation = transaction.query_row(
                "UPDATE counters SET value = value + 1 WHERE name = 'generation' RETURNING value",
                [],
                |r| r.get(0),
            )?;
            let versions = Versions {
                transaction: &transaction,
                generation,
                // What it replaces it does not need itself.
                needed: transaction.query_row(
                    "SELECT min(generation) FROM captures WHERE token <> ?1",
                    [capture.token],
                    |r| r.get(0),
                )?,
            };
            let upsert = update
                .upsert
                .encoded()
                .map(|(key, value)| (key, Some(value)));
            let remove = update.remove.iter().map(|key| (key.as_slice(), None));
            versions.replace(upsert.chain(remove), &mut freed)?;
        }
        if changed {
            note_writes(&transaction, generation, update.roots)?;
        }
        for root in update.roots {
            transaction
                .prepare_cached("INSERT OR REPLACE INTO roots VALUES (?1, ?2, unixepoch())")?
                .execute(params![root.path.to_bytes(), root.depth != Depth::Entry])?;
        }
        if let Some(first) = update.claim {
            transaction.execute("DELETE FROM claims WHERE first = ?1", [first as i64])?;
        }
        transaction.commit()?;
        let token = capture.token;
        Ok((Registered { token, generation }, freed))
    }

    /// Chooses whether the next commits reach stable storage before they return. Without, a power
    /// cut may undo them, but never damages the index.
    fn durable(&self, durable: bool) -> Result<()> {
        let level = if durable { "FULL" } else { "NORMAL" };
        self.connection
            .pragma_update(None, "synchronous", level)
            .map_err(failed("write"))
    }
}

/// Takes note of what a generation wrote to.
fn note_writes(
    transaction: &rusqlite::Transaction<'_>,
    generation: i64,
    roots: &[ScopePath],
) -> rusqlite::Result<()> {
    // Of a path that is looked at alone only its own record is written.
    for root in roots.iter().filter(|root| root.depth != Depth::Entry) {
        transaction
            .prepare_cached("INSERT OR IGNORE INTO writes VALUES (?1, ?2)")?
            .execute(params![generation, root.path.to_bytes()])?;
    }
    transaction
        .prepare_cached("DELETE FROM writes WHERE generation <= ?1")?
        .execute([generation - WRITES_KEPT])?;
    Ok(())
}

/// This process, as the index names it: its number and when it was started.
fn this_process() -> (u32, i64) {
    let pid = std::process::id();
    (pid, process_started(pid).unwrap_or(0) as i64)
}

fn is_alive((pid, started): (u32, i64)) -> bool {
    process_started(pid).is_some_and(|now| now as i64 == started)
}

fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        let kind = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                ErrorKind::Busy
            }
            Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::NoSpace,
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                ErrorKind::Corrupt
            }
            Some(rusqlite::ErrorCode::PermissionDenied | rusqlite::ErrorCode::ReadOnly) => {
                ErrorKind::PermissionDenied
            }
            _ => ErrorKind::Io,
        };
        Error::new(
            kind,
            Stage::Capture,
            format!("cannot {what} the baseline's index: {error}"),
        )
    }
}
