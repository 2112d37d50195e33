//! How far batches are, from their first command until their results are kept.

use rusqlite::params;

use super::{State, failed};
use crate::error::Result;

/// A command of a batch that was begun.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::agent) struct Step {
    /// Its position.
    pub(in crate::agent) position: usize,
    /// How it ended, in JSON; `None` where nobody noted that.
    pub(in crate::agent) outcome: Option<String>,
}

impl State {
    /// Notes that a batch's command is about to begin.
    pub(in crate::agent) fn begin_step(&self, batch: &str, position: usize) -> Result<()> {
        self.database()
            .execute(
                "INSERT OR IGNORE INTO steps (batch, position) VALUES (?1, ?2)",
                params![batch, position as i64],
            )
            .map_err(failed("noting a batch's progress"))?;
        Ok(())
    }

    /// Notes how it ended.
    pub(in crate::agent) fn end_step(
        &self,
        batch: &str,
        position: usize,
        outcome: &str,
    ) -> Result<()> {
        self.database()
            .execute(
                "INSERT OR REPLACE INTO steps (batch, position, outcome) VALUES (?1, ?2, ?3)",
                params![batch, position as i64, outcome],
            )
            .map_err(failed("noting a batch's progress"))?;
        Ok(())
    }

    /// The commands of a batch that were begun, in their order.
    pub(in crate::agent) fn steps(&self, batch: &str) -> Result<Vec<Step>> {
        let problem = failed("reading a batch's progress");
        let database = self.database();
        let mut statement = database
            .prepare("SELECT position, outcome FROM steps WHERE batch = ?1 ORDER BY position")
            .map_err(&problem)?;
        let rows = statement
            .query_map([batch], |row| {
                Ok(Step {
                    position: row.get::<_, i64>(0)? as usize,
                    outcome: row.get(1)?,
                })
            })
            .map_err(&problem)?;
        rows.collect::<Result<_, _>>().map_err(&problem)
    }
}
