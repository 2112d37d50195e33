//! Versions of the index's rows: what a capture in progress sees stays until it ends.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use crate::snapshot::tree::record::Row;

/// Replaces rows while keeping the versions that captures in progress need.
pub(super) struct Versions<'a> {
    pub(super) transaction: &'a rusqlite::Transaction<'a>,
    /// The generation being written.
    pub(super) generation: i64,
    /// The oldest generation that a capture in progress sees; `None`: there is no such capture.
    pub(super) needed: Option<i64>,
}

impl Versions<'_> {
    /// Makes `row` (`None`: nothing) the newest version at `path`.
    pub(super) fn replace(
        &self,
        path: &[u8],
        row: Option<&[u8]>,
        freed: &mut Vec<u64>,
    ) -> rusqlite::Result<()> {
        let dropped = self.drop_old(path)?;
        if row.is_some() || self.needed.is_some() {
            self.transaction
                .prepare_cached("INSERT OR REPLACE INTO rows VALUES (?1, ?2, ?3)")?
                .execute(params![path, self.generation, row])?;
        }
        if self.needed.is_some() {
            self.transaction
                .prepare_cached("INSERT OR IGNORE INTO superseded VALUES (?1)")?
                .execute(params![path])?;
        }
        for serial in row
            .and_then(Row::decode)
            .iter()
            .flat_map(|r| distinct(r, true))
        {
            self.transaction
                .prepare_cached(
                    "INSERT INTO shared VALUES (?1, 1) ON CONFLICT DO UPDATE SET rows = rows + 1",
                )?
                .execute([serial as i64])?;
        }
        self.free(path, &dropped, freed)
    }

    /// Deletes the versions of `path` that nobody can see once a newer one is written.
    fn drop_old(&self, path: &[u8]) -> rusqlite::Result<Vec<Row>> {
        match self.needed {
            None => self.collect(
                "DELETE FROM rows WHERE path = ?1 RETURNING row",
                params![path],
            ),
            Some(needed) => self.collect(
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
                "DELETE FROM rows WHERE path = ?1 AND (row IS NULL OR generation <
                     (SELECT max(generation) FROM rows WHERE path = ?1)) RETURNING row",
                params![path],
            )?;
            self.free(&path, &dropped, freed)?;
        }
        Ok(())
    }

    /// Finds the objects of `dropped` versions that no other row refers to.
    fn free(&self, path: &[u8], dropped: &[Row], freed: &mut Vec<u64>) -> rusqlite::Result<()> {
        if dropped.is_empty() {
            return Ok(());
        }
        for serial in dropped.iter().flat_map(|row| distinct(row, true)) {
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
        let kept = self.collect("SELECT row FROM rows WHERE path = ?1", params![path])?;
        let kept: BTreeSet<u64> = kept.iter().flat_map(|row| distinct(row, false)).collect();
        let gone: BTreeSet<u64> = dropped
            .iter()
            .flat_map(|row| distinct(row, false))
            .collect();
        freed.extend(gone.difference(&kept));
        Ok(())
    }

    fn collect(&self, sql: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.transaction.prepare_cached(sql)?;
        let rows = statement.query_map(parameters, |r| r.get::<_, Option<Vec<u8>>>(0))?;
        let rows: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
        Ok(rows
            .into_iter()
            .flatten()
            .filter_map(|bytes| Row::decode(&bytes))
            .collect())
    }
}

/// The objects of a row, each once: those that other rows may refer to as well, or the others.
fn distinct(row: &Row, shared: bool) -> BTreeSet<u64> {
    row.objects()
        .filter(|object| object.shared == shared)
        .map(|object| object.serial)
        .collect()
}
