//! Captures in progress: what they can see stays.

use std::time::Duration;

use rusqlite::{OptionalExtension, TransactionBehavior, params};

use super::{Index, Registered, failed, is_alive, this_process};
use crate::error::Result;
use crate::snapshot::baseline::versions::Versions;

/// A capture of a dead process that nobody took up for this long is given up. Every start of the
/// program takes up what it can.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

impl Index {
    /// Registers a capture before it reads anything: until it is unregistered, no row and no object
    /// that it can see goes, whatever others write.
    pub(in crate::snapshot::baseline) fn register(&mut self) -> Result<Registered> {
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

    /// Whether a capture is still registered.
    pub(in crate::snapshot::baseline) fn is_registered(&self, capture: Registered) -> Result<bool> {
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
    pub(in crate::snapshot::baseline) fn unregister(
        &mut self,
        capture: Registered,
    ) -> Result<Vec<u64>> {
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
}

/// Forgets captures of processes that are gone, once nobody is going to take them up any more.
pub(super) fn drop_abandoned(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
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
