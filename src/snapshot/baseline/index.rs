//! The baseline's index: rows by path, in versions, in a SQLite database.
//!
//! A capture sees the rows as they were when it began (its *generation*) however long its command
//! runs and whatever other captures write meanwhile. Old versions go when no capture needs them.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::idle::file_at;
use super::rows::{Rows, pages_with, path_of, range_at, range_beneath};
use super::versions::Versions;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::sys::process_started;

/// Version of the tables; any other is thrown away and built anew.
const SCHEMA: i64 = 5;

/// Of so many generations is kept what they wrote to.
const WRITES_KEPT: i64 = 10_000;

/// A capture of a dead process that nobody took up for this long is given up. Every start of the
/// program takes up what it can.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

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

    /// The rows at and beneath `roots`, as of `generation`.
    pub(super) fn load(&self, roots: &[(&AbsPath, bool)], generation: i64) -> Result<Rows> {
        let mut rows = Rows::default();
        for (root, beneath) in roots {
            self.load_one(root, *beneath, generation, &mut rows)
                .map_err(failed("read"))?;
        }
        Ok(rows)
    }

    fn load_one(
        &self,
        root: &AbsPath,
        beneath: bool,
        generation: i64,
        rows: &mut Rows,
    ) -> rusqlite::Result<()> {
        self.load_range(range_at(root), generation, rows)?;
        if beneath {
            self.load_range(range_beneath(root), generation, rows)?;
        }
        Ok(())
    }

    fn load_range(
        &self,
        (from, to): (Vec<u8>, Vec<u8>),
        generation: i64,
        rows: &mut Rows,
    ) -> rusqlite::Result<()> {
        // Ascending generations: a later version at the same key replaces an earlier one.
        let mut range = self.connection.prepare_cached(
            "SELECT path, row FROM rows WHERE path >= ?1 AND path < ?2 AND generation <= ?3
             ORDER BY path, generation",
        )?;
        let mut found = range.query(params![from, to, generation])?;
        while let Some(row) = found.next()? {
            take(row, rows)?;
        }
        Ok(())
    }

    /// Of the row at `path`, as of `generation`, what is needed to know about the entries `names` in
    /// that directory.
    pub(super) fn load_part(
        &self,
        path: &AbsPath,
        names: &[OsString],
        generation: i64,
        rows: &mut Rows,
    ) -> Result<()> {
        let mut load = |key: &[u8]| {
            self.load_exact(key, generation, rows)
                .map_err(failed("read"))
        };
        load(path.to_bytes())?;
        let Some(head) = rows.get(path.to_bytes()) else {
            return Ok(());
        };
        for key in pages_with(path, head, names) {
            self.load_exact(&key, generation, rows)
                .map_err(failed("read"))?;
        }
        Ok(())
    }

    fn load_exact(&self, key: &[u8], generation: i64, rows: &mut Rows) -> rusqlite::Result<()> {
        let mut newest = self.connection.prepare_cached(
            "SELECT path, row FROM rows WHERE path = ?1 AND generation <= ?2
             ORDER BY generation DESC LIMIT 1",
        )?;
        let mut found = newest.query(params![key, generation])?;
        while let Some(row) = found.next()? {
            take(row, rows)?;
        }
        Ok(())
    }

    /// Takes `count` object numbers that nobody else will use, and notes who makes those objects
    /// until [`commit`](Self::commit) writes rows that refer to them.
    pub(super) fn reserve_serials(&mut self, count: u64) -> Result<u64> {
        self.durable(false)?;
        self.reserve_inner(count).map_err(failed("write"))
    }

    fn reserve_inner(&mut self, count: u64) -> rusqlite::Result<u64> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let next: i64 = transaction.query_row(
            "UPDATE counters SET value = value + ?1 WHERE name = 'serial' RETURNING value",
            [count as i64],
            |r| r.get(0),
        )?;
        let first = next as u64 - count;
        let (pid, started) = this_process();
        transaction.execute(
            "INSERT INTO claims VALUES (?1, ?2, ?3, ?4)",
            params![first as i64, count as i64, pid, started],
        )?;
        transaction.commit()?;
        Ok(first)
    }

    /// Object numbers (first and count) that were taken by processes which are gone and to which
    /// no row refers.
    pub(super) fn dead_claims(&self) -> Result<Vec<(u64, u64)>> {
        let read = || -> rusqlite::Result<Vec<(u64, u64)>> {
            let mut all = self
                .connection
                .prepare_cached("SELECT first, count, pid, started FROM claims")?;
            let claims = all.query_map([], |r| {
                let owner = (r.get::<_, u32>(2)?, r.get::<_, i64>(3)?);
                Ok((
                    r.get::<_, i64>(0)? as u64,
                    r.get::<_, i64>(1)? as u64,
                    owner,
                ))
            })?;
            let claims = claims.collect::<rusqlite::Result<Vec<_>>>()?;
            let dead = claims.into_iter().filter(|(_, _, owner)| !is_alive(*owner));
            Ok(dead.map(|(first, count, _)| (first, count)).collect())
        };
        read().map_err(failed("read"))
    }

    /// Forgets a claim whose objects are gone.
    pub(super) fn drop_claim(&mut self, first: u64) -> Result<()> {
        self.durable(false)?;
        self.connection
            .execute("DELETE FROM claims WHERE first = ?1", [first as i64])
            .map(drop)
            .map_err(failed("write"))
    }

    /// Registers a capture before it reads anything: until it is unregistered, no row and no object
    /// that it can see goes, whatever others write.
    pub(super) fn register(&mut self) -> Result<Registered> {
        self.durable(false)?;
        let (pid, started) = this_process();
        self.connection
            .query_row(
                "INSERT INTO captures (generation, begun, pid, started)
                 SELECT value, unixepoch(), ?1, ?2 FROM counters WHERE name = 'generation'
                 RETURNING token, generation",
                params![pid, started],
                |r| {
                    Ok(Registered {
                        token: r.get(0)?,
                        generation: r.get(1)?,
                    })
                },
            )
            .map_err(failed("write"))
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

    /// Whether what is known at and beneath the path of an earlier scope is kept.
    pub(super) fn has_root(&self, root: &AbsPath) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM roots WHERE path = ?1 AND whole)")
            .and_then(|mut query| query.query_row([root.to_bytes()], |r| r.get(0)))
            .map_err(failed("read"))
    }

    /// Whether rows at, above or beneath `root` may have been written since `generation`, other than
    /// by the generations `own`.
    pub(super) fn written_by_others(
        &self,
        root: &AbsPath,
        generation: i64,
        own: &[i64],
    ) -> Result<bool> {
        let read = || -> rusqlite::Result<bool> {
            let newest: i64 = self.connection.query_row(
                "SELECT value FROM counters WHERE name = 'generation'",
                [],
                |r| r.get(0),
            )?;
            if newest - generation >= WRITES_KEPT || newest < generation {
                return Ok(true);
            }
            let mut since = self
                .connection
                .prepare_cached("SELECT path, generation FROM writes WHERE generation > ?1")?;
            let mut written = since.query(params![generation])?;
            while let Some(row) = written.next()? {
                if own.contains(&row.get(1)?) {
                    continue;
                }
                let path = AbsPath::from_bytes(row.get_ref(0)?.as_blob()?);
                let overlaps = |path: AbsPath| path.starts_with(root) || root.starts_with(&path);
                if path.map_or(true, overlaps) {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        read().map_err(failed("read"))
    }

    /// Whether a capture is still registered.
    pub(super) fn is_registered(&self, capture: Registered) -> Result<bool> {
        let found: Option<i64> = self
            .connection
            .query_row(
                "SELECT 1 FROM captures WHERE token = ?1 AND generation <= ?2",
                [capture.token, capture.generation],
                |r| r.get(0),
            )
            .optional()
            .map_err(failed("read"))?;
        // After a power cut the newest commits that changed no rows may be gone; the rows are there.
        let newest: i64 = self
            .connection
            .query_row(
                "SELECT value FROM counters WHERE name = 'generation'",
                [],
                |r| r.get(0),
            )
            .map_err(failed("read"))?;
        Ok(found.is_some() || newest == capture.generation)
    }

    /// Lets go of a capture's generation. Gives the objects that no row refers to any more.
    pub(super) fn unregister(&mut self, capture: Registered) -> Result<Vec<u64>> {
        self.durable(false)?;
        self.unregister_inner(capture).map_err(failed("write"))
    }

    fn unregister_inner(&mut self, capture: Registered) -> rusqlite::Result<Vec<u64>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute("DELETE FROM captures WHERE token = ?1", [capture.token])?;
        let needed: Option<i64> =
            transaction.query_row("SELECT min(generation) FROM captures", [], |r| r.get(0))?;
        let mut freed = Vec::new();
        if needed.is_none() {
            let versions = Versions {
                transaction: &transaction,
                generation: i64::MAX,
                needed,
            };
            versions.settle(&mut freed)?;
        }
        transaction.commit()?;
        Ok(freed)
    }

    /// Forgets what is known beneath paths that were in no scope for `age`. Gives the objects that
    /// no row refers to any more; nothing happens while a capture is in progress.
    pub(super) fn forget_unused(&mut self, age: Duration) -> Result<Vec<u64>> {
        self.durable(false)?;
        self.forget_unused_inner(age).map_err(failed("write"))
    }

    fn forget_unused_inner(&mut self, age: Duration) -> rusqlite::Result<Vec<u64>> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        drop_abandoned(&transaction)?;
        let busy: bool =
            transaction.query_row("SELECT EXISTS (SELECT 1 FROM captures)", [], |r| r.get(0))?;
        let mut freed = Vec::new();
        if !busy {
            let expired = |whole: bool| {
                all_paths(
                    &transaction,
                    "DELETE FROM roots WHERE whole = ?1 AND used < unixepoch() - ?2 RETURNING path",
                    params![whole, age.as_secs() as i64],
                )
            };
            let mut unused = Vec::new();
            // Of a directory above a root only itself was in the scope.
            for path in expired(false)? {
                unused.extend(keys_in(&transaction, range_at(&path))?);
            }
            for root in expired(true)? {
                unused.extend(keys_in(&transaction, range_at(&root))?);
                unused.extend(keys_in(&transaction, range_beneath(&root))?);
            }
            let used = |whole| {
                all_paths(
                    &transaction,
                    "SELECT path FROM roots WHERE whole = ?1",
                    [whole],
                )
            };
            let (trees, entries) = (used(true)?, used(false)?);
            let in_use = |path: &AbsPath| {
                entries.contains(path) || trees.iter().any(|tree| path.starts_with(tree))
            };
            let versions = Versions {
                transaction: &transaction,
                generation: i64::MAX,
                needed: None,
            };
            let unused = unused
                .iter()
                .filter(|key| !AbsPath::from_bytes(path_of(key)).is_ok_and(|path| in_use(&path)));
            versions.replace(unused.map(|key| (key.as_slice(), None)), &mut freed)?;
        }
        transaction.commit()?;
        Ok(freed)
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

/// Forgets captures of processes that are gone, once nobody is going to take them up any more.
fn drop_abandoned(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    let mut old = transaction.prepare_cached(
        "SELECT token, pid, started FROM captures WHERE begun < unixepoch() - ?1",
    )?;
    let captures = old.query_map([ABANDONED.as_secs() as i64], |r| {
        Ok((
            r.get::<_, i64>(0)?,
            r.get::<_, u32>(1)?,
            r.get::<_, i64>(2)?,
        ))
    })?;
    for capture in captures.collect::<rusqlite::Result<Vec<_>>>()? {
        let (token, pid, started) = capture;
        if !is_alive((pid, started)) {
            transaction.execute("DELETE FROM captures WHERE token = ?1", [token])?;
        }
    }
    Ok(())
}

/// The paths that a statement gives.
fn all_paths(
    transaction: &rusqlite::Transaction<'_>,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<AbsPath>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let paths = statement.query_map(parameters, |r| r.get::<_, Vec<u8>>(0))?;
    let paths: Vec<_> = paths.collect::<rusqlite::Result<_>>()?;
    Ok(paths
        .iter()
        .filter_map(|path| AbsPath::from_bytes(path).ok())
        .collect())
}

/// Every key in a range.
fn keys_in(
    transaction: &rusqlite::Transaction<'_>,
    (from, to): (Vec<u8>, Vec<u8>),
) -> rusqlite::Result<Vec<Vec<u8>>> {
    transaction
        .prepare_cached("SELECT DISTINCT path FROM rows WHERE path >= ?1 AND path < ?2")?
        .query_map(params![from, to], |r| r.get(0))?
        .collect()
}

fn take(row: &rusqlite::Row<'_>, rows: &mut Rows) -> rusqlite::Result<()> {
    let key = row.get_ref(0)?.as_blob()?;
    match row.get_ref(1)? {
        rusqlite::types::ValueRef::Blob(encoded) => {
            rows.insert_encoded(key.to_vec(), encoded.into());
        }
        _ => rows.remove_encoded(key),
    }
    Ok(())
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
