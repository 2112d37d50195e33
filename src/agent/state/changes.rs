//! Requests that change snapshots, from when they are taken on until their results are kept. They have
//! no ids of their own: the same may be asked for twice.

use rusqlite::params;

use super::outbox::insert;
use super::{State, failed};
use crate::agent::wire::Reply;
use crate::error::Result;

/// A request whose result is missing at the start of the agent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::agent) struct UnfinishedChange {
    /// Its record.
    pub(in crate::agent) number: i64,
    /// The event's name.
    pub(in crate::agent) event: String,
    /// What it carried, in JSON.
    pub(in crate::agent) request: String,
    /// It may have changed something.
    pub(in crate::agent) started: bool,
}

impl State {
    /// Records a request; it is on stable storage on return. Gives the record's number.
    pub(in crate::agent) fn begin_change(&self, event: &str, request: &str) -> Result<i64> {
        let database = self.database();
        database
            .execute(
                "INSERT INTO changes (event, request, started) VALUES (?1, ?2, 0)",
                params![event, request],
            )
            .map_err(failed("recording a request"))?;
        Ok(database.last_insert_rowid())
    }

    /// Notes that a request may change something from now on.
    pub(in crate::agent) fn start_change(&self, number: i64) -> Result<()> {
        self.database()
            .execute(
                "UPDATE changes SET started = 1 WHERE number = ?1",
                params![number],
            )
            .map_err(failed("starting a request"))?;
        Ok(())
    }

    /// Puts the results of a request into the outbox in the place of its record; gives their numbers.
    pub(in crate::agent) fn finish_change(
        &self,
        number: i64,
        results: &[Reply],
    ) -> Result<Vec<i64>> {
        let problem = failed("finishing a request");
        let mut database = self.database();
        let transaction = database.transaction().map_err(&problem)?;
        let numbers = insert(&transaction, results).map_err(&problem)?;
        transaction
            .execute("DELETE FROM changes WHERE number = ?1", params![number])
            .map_err(&problem)?;
        transaction.commit().map_err(&problem)?;
        Ok(numbers)
    }

    /// Requests without a result, oldest first.
    pub(in crate::agent) fn unfinished_changes(&self) -> Result<Vec<UnfinishedChange>> {
        let problem = failed("reading requests");
        let database = self.database();
        let mut statement = database
            .prepare("SELECT number, event, request, started FROM changes ORDER BY number")
            .map_err(&problem)?;
        let rows = statement
            .query_map([], |row| {
                Ok(UnfinishedChange {
                    number: row.get(0)?,
                    event: row.get(1)?,
                    request: row.get(2)?,
                    started: row.get(3)?,
                })
            })
            .map_err(&problem)?;
        rows.collect::<Result<_, _>>().map_err(&problem)
    }
}
