//! Reading rows as of a generation.

use std::ffi::OsString;

use rusqlite::params;

use super::{Index, WRITES_KEPT, failed};
use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::baseline::rows::{Rows, pages_with, range_at, range_beneath};

impl Index {
    /// The rows at and beneath `roots`, as of `generation`.
    pub(in crate::snapshot::baseline) fn load(
        &self,
        roots: &[(&AbsPath, bool)],
        generation: i64,
    ) -> Result<Rows> {
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
    pub(in crate::snapshot::baseline) fn load_part(
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

    /// Whether what is known at and beneath the path of an earlier scope is kept.
    pub(in crate::snapshot::baseline) fn has_root(&self, root: &AbsPath) -> Result<bool> {
        self.connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM roots WHERE path = ?1 AND whole)")
            .and_then(|mut query| query.query_row([root.to_bytes()], |r| r.get(0)))
            .map_err(failed("read"))
    }

    /// Whether rows at, above or beneath `root` may have been written since `generation`, other than
    /// by the generations `own`.
    pub(in crate::snapshot::baseline) fn written_by_others(
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
