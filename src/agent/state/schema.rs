//! The database's tables.

use std::path::Path;

use rusqlite::Connection;

use super::failed;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The version that this program writes, in `user_version`.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE accepted (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    at REAL NOT NULL,
    state INTEGER NOT NULL,
    request TEXT,
    event TEXT,
    payload TEXT,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX accepted_at ON accepted (at);
CREATE INDEX accepted_unfinished ON accepted (state) WHERE state < 2;
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    payload TEXT,
    kind TEXT,
    id TEXT,
    bytes INTEGER NOT NULL
);
";

/// Opens the database, which is made where it does not exist.
pub(super) fn open(file: &Path) -> Result<Connection> {
    let problem = failed("opening");
    let database = Connection::open(file).map_err(&problem)?;
    // A commit is on stable storage on return: an id is known before its command runs.
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .map_err(&problem)?;
    let version: i64 = database
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(&problem)?;
    match version {
        VERSION => {}
        0 => database
            .execute_batch(&format!(
                "BEGIN; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
            ))
            .map_err(&problem)?,
        newer => {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                Stage::Agent,
                format!("the agent's records have version {newer}; use the newer program"),
            ));
        }
    }
    // Also for those that were made without it.
    database
        .execute_batch("CREATE INDEX IF NOT EXISTS outbox_id ON outbox (kind, id)")
        .map_err(&problem)?;
    Ok(database)
}
