//! Object numbers that captures took, until rows refer to the objects.

use rusqlite::{TransactionBehavior, params};

use super::{Index, failed, is_alive, this_process};
use crate::error::Result;

/// The number of no process.
const NOBODY: u32 = 0;

impl Index {
    /// Takes `count` object numbers that nobody else will use, and notes who makes those objects
    /// until [`commit`](Self::commit) writes rows that refer to them.
    pub(in crate::snapshot::baseline) fn reserve_serials(&mut self, count: u64) -> Result<u64> {
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

    /// Object numbers (first and count) that were taken by processes which are gone, or left, and to
    /// which no row refers.
    pub(in crate::snapshot::baseline) fn dead_claims(&self) -> Result<Vec<(u64, u64)>> {
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

    /// Leaves what remains of a claim of this process as if the process were gone.
    pub(in crate::snapshot::baseline) fn leave_claim(
        &mut self,
        first: u64,
        (from, count): (u64, u64),
    ) -> Result<()> {
        self.durable(false)?;
        self.connection
            .execute(
                "UPDATE claims SET first = ?2, count = ?3, pid = ?4, started = 0 WHERE first = ?1",
                params![first as i64, from as i64, count as i64, NOBODY],
            )
            .map(drop)
            .map_err(failed("write"))
    }

    /// Forgets a claim whose objects are gone.
    pub(in crate::snapshot::baseline) fn drop_claim(&mut self, first: u64) -> Result<()> {
        self.durable(false)?;
        self.connection
            .execute("DELETE FROM claims WHERE first = ?1", [first as i64])
            .map(drop)
            .map_err(failed("write"))
    }
}
