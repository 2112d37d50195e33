//! Results that are not known to have arrived, in the order in which they came about.

use rusqlite::{Connection, params};

use super::{State, failed};
use crate::agent::wire::Reply;
use crate::error::Result;

/// A result of the outbox.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::agent) struct Stored {
    /// Its number; later results have higher ones.
    pub(in crate::agent) number: i64,
    /// The event's name.
    pub(in crate::agent) event: String,
    /// What it carries, in JSON.
    pub(in crate::agent) payload: String,
}

const SELECT: &str = "SELECT o.number, o.event, COALESCE(o.payload, a.payload)
    FROM outbox o LEFT JOIN accepted a ON a.kind = o.kind AND a.id = o.id";

impl State {
    /// Adds results that belong to no accepted id, all or none; gives their numbers.
    pub(in crate::agent) fn post(&self, replies: &[Reply]) -> Result<Vec<i64>> {
        let problem = failed("posting");
        let mut database = self.database();
        let transaction = database.transaction().map_err(&problem)?;
        let numbers = insert(&transaction, replies).map_err(&problem)?;
        transaction.commit().map_err(&problem)?;
        Ok(numbers)
    }

    /// The first results with a number above `after`.
    pub(in crate::agent) fn undelivered(&self, after: i64, limit: usize) -> Result<Vec<Stored>> {
        let problem = failed("reading the outbox");
        let database = self.database();
        let mut statement = database
            .prepare_cached(&format!(
                "{SELECT} WHERE o.number > ?1 ORDER BY o.number LIMIT ?2"
            ))
            .map_err(&problem)?;
        let rows = statement
            .query_map(params![after, limit as i64], read)
            .map_err(&problem)?;
        rows.collect::<Result<_, _>>().map_err(&problem)
    }

    /// The number of the last result, 0 where there is none.
    pub(in crate::agent) fn latest(&self) -> Result<i64> {
        self.database()
            .query_row("SELECT COALESCE(MAX(number), 0) FROM outbox", [], |row| {
                row.get(0)
            })
            .map_err(failed("reading the outbox"))
    }

    /// Everything up to `number` has arrived.
    pub(in crate::agent) fn delivered(&self, number: i64) -> Result<()> {
        self.database()
            .execute("DELETE FROM outbox WHERE number <= ?1", params![number])
            .map_err(failed("clearing the outbox"))?;
        Ok(())
    }

    /// How many results wait, and their bytes.
    pub(in crate::agent) fn waiting(&self) -> Result<(u64, u64)> {
        self.database()
            .query_row(
                "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM outbox",
                [],
                |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)),
            )
            .map_err(failed("counting"))
    }

    /// Drops the oldest results until at most `count` and `bytes` are left; gives how many went.
    pub(in crate::agent) fn bound(&self, count: u64, bytes: u64) -> Result<u64> {
        let dropped = self
            .database()
            .execute(
                "DELETE FROM outbox WHERE number IN (
                     SELECT number FROM (
                         SELECT number, ROW_NUMBER() OVER newest AS place,
                                SUM(bytes) OVER newest AS held
                         FROM outbox WINDOW newest AS (ORDER BY number DESC))
                     WHERE place > ?1 OR held > ?2)",
                params![count as i64, bytes as i64],
            )
            .map_err(failed("bounding the outbox"))?;
        Ok(dropped as u64)
    }
}

/// Adds results that belong to no accepted id.
pub(super) fn insert(database: &Connection, replies: &[Reply]) -> rusqlite::Result<Vec<i64>> {
    let mut statement = database
        .prepare_cached("INSERT INTO outbox (event, payload, bytes) VALUES (?1, ?2, ?3)")?;
    let one = |reply: &Reply| {
        let payload = reply.payload.to_string();
        statement.execute(params![reply.event, payload, payload.len() as i64])?;
        Ok(database.last_insert_rowid())
    };
    replies.iter().map(one).collect()
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stored> {
    Ok(Stored {
        number: row.get(0)?,
        event: row.get(1)?,
        payload: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
    })
}
