//! Versions of the index's rows: what a capture in progress sees stays until it ends.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use super::rows::objects_of;
use crate::snapshot::tree::record::Object;

/// Replaces rows while keeping the versions that captures in progress need.
pub(super) struct Versions<'a> {
    pub(super) transaction: &'a rusqlite::Transaction<'a>,
    /// The generation being written.
    pub(super) generation: i64,
    /// The oldest generation that a capture in progress sees; `None`: there is no such capture.
    pub(super) needed: Option<i64>,
}

impl Versions<'_> {
    /// Makes each value (`None`: nothing) the newest version at its key.
    pub(super) fn replace<'r>(
        &self,
        rows: impl Iterator<Item = (&'r [u8], Option<&'r [u8]>)>,
        freed: &mut Vec<u64>,
    ) -> rusqlite::Result<()> {
        let mut dropped = Vec::new();
        for (key, value) in rows {
            dropped.push((key, self.put(key, value)?));
        }
        // What one row lost another may have got.
        for (key, versions) in &dropped {
            self.free(key, versions, freed)?;
        }
        Ok(())
    }

    /// Gives the versions that nobody can see any more.
    fn put(&self, key: &[u8], value: Option<&[u8]>) -> rusqlite::Result<Vec<Version>> {
        let dropped = self.drop_old(key)?;
        if value.is_some() || self.needed.is_some() {
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2, ?3)")?
                .execute(params![key, self.generation, value])?;
        }
        if self.needed.is_some() {
            self.transaction
                .prepare_cached("INSERT OR IGNORE INTO superseded VALUES (?1)")?
                .execute(params![key])?;
        }
        let objects = value.map(|value| objects_of(key, value));
        for serial in distinct(&objects.unwrap_or_default(), true) {
            self.transaction
                .prepare_cached(
                    "INSERT INTO shared VALUES (?1, 1) ON CONFLICT DO UPDATE SET rows = rows + 1",
                )?
                .execute([serial as i64])?;
        }
        Ok(dropped)
    }

    /// Deletes the versions of `path` that nobody can see once a newer one is written.
    fn drop_old(&self, path: &[u8]) -> rusqlite::Result<Vec<Version>> {
        match self.needed {
            None => self.collect(
                path,
                "DELETE FROM rows WHERE path = ?1 RETURNING row",
                params![path],
            ),
            Some(needed) => self.collect(
                path,
                "DELETE FROM rows WHERE path = ?1 AND generation < coalesce(
                     (SELECT max(generation) FROM rows WHERE path = ?1 AND generation <= ?2), 0)
                 RETURNING row",
                params![path, needed],
            ),
        }
    }

    /// Once no capture is in progress: only the newest version of each path stays.
    pub(super) fn settle(&self, freed: &mut Vec<u64>) -> rusqlite::Result<()> {
        let paths: Vec<Vec<u8>> = self
            .transaction
            .prepare_cached("DELETE FROM superseded RETURNING path")?
            .query_map([], |r| r.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for path in paths {
            let dropped = self.collect(
                &path,
                "DELETE FROM rows WHERE path = ?1 AND (row IS NULL OR generation <
                     (SELECT max(generation) FROM rows WHERE path = ?1)) RETURNING row",
                params![path],
            )?;
            self.free(&path, &dropped, freed)?;
        }
        Ok(())
    }

    /// Finds the objects of `dropped` versions that no other row refers to.
    fn free(&self, path: &[u8], dropped: &[Version], freed: &mut Vec<u64>) -> rusqlite::Result<()> {
        for serial in dropped.iter().flat_map(|version| distinct(version, true)) {
            let left: Option<i64> = self
                .transaction
                .prepare_cached(
                    "UPDATE shared SET rows = rows - 1 WHERE serial = ?1 RETURNING rows",
                )?
                .query_row([serial as i64], |r| r.get(0))
                .optional()?;
            if left.is_some_and(|left| left <= 0) {
                self.transaction
                    .execute("DELETE FROM shared WHERE serial = ?1", [serial as i64])?;
                freed.push(serial);
            }
        }
        let mut gone: BTreeSet<u64> = dropped
            .iter()
            .flat_map(|version| distinct(version, false))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        for kept in self.collect(path, "SELECT row FROM rows WHERE path = ?1", params![path])? {
            for object in kept {
                gone.remove(&object.serial);
            }
        }
        for serial in gone {
            if !self.is_shared(serial)? {
                freed.push(serial);
            }
        }
        Ok(())
    }

    /// Whether a row at another key refers to an object that went there from a row in which it was
    /// alone.
    fn is_shared(&self, serial: u64) -> rusqlite::Result<bool> {
        self.transaction
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM shared WHERE serial = ?1)")?
            .query_row([serial as i64], |r| r.get(0))
    }

    fn collect(
        &self,
        path: &[u8],
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> rusqlite::Result<Vec<Version>> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, |r| r.get::<_, Option<Vec<u8>>>(0))?;
        let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        let rows = rows.into_iter().flatten();
        Ok(rows.map(|encoded| objects_of(path, &encoded)).collect())
    }
}

/// The objects that one version of a row refers to.
type Version = Vec<Object>;

/// The objects of a version, each once: those that other rows may refer to as well, or the others.
fn distinct(version: &[Object], shared: bool) -> BTreeSet<u64> {
    version
        .iter()
        .filter(|object| object.shared == shared)
        .map(|object| object.serial)
        .collect()
}
