//! The database's tables.

use std::path::Path;

use rusqlite::Connection;

use super::failed;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The version that this program writes, in `user_version`.
const VERSION: i64 = 2;

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

/// What version 2 has besides.
const TABLES_2: &str = "
CREATE TABLE changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event TEXT NOT NULL,
    request TEXT NOT NULL,
    started INTEGER NOT NULL
);
CREATE TABLE steps (
    batch TEXT NOT NULL,
    position INTEGER NOT NULL,
    outcome TEXT,
    PRIMARY KEY (batch, position)
) WITHOUT ROWID;
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
        0 => make(&database, &[TABLES, TABLES_2]).map_err(&problem)?,
        1 => make(&database, &[TABLES_2]).map_err(&problem)?,
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

/// Makes tables and notes the version, all or nothing.
fn make(database: &Connection, tables: &[&str]) -> rusqlite::Result<()> {
    let tables = tables.concat();
    database.execute_batch(&format!(
        "BEGIN; {tables} PRAGMA user_version = {VERSION}; COMMIT;"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_first_version_are_taken_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.sqlite");
        let old = Connection::open(&file).unwrap();
        let insert = "INSERT INTO outbox (event, payload, bytes) VALUES ('pin_result', '{}', 2)";
        old.execute_batch(&format!("{TABLES} {insert}; PRAGMA user_version = 1;"))
            .unwrap();
        drop(old);
        for _ in 0..2 {
            let database = open(&file).unwrap();
            let count = |table: &str| -> i64 {
                let sql = format!("SELECT COUNT(*) FROM {table}");
                database.query_row(&sql, [], |row| row.get(0)).unwrap()
            };
            assert_eq!(["outbox", "changes", "steps"].map(count), [1, 0, 0]);
        }
    }
}
