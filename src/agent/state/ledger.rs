//! Ids that were accepted: each is carried out at most once.

use rusqlite::{OptionalExtension as _, params};

use super::{State, failed};
use crate::agent::wire::Reply;
use crate::error::Result;

const ACCEPTED: i64 = 0;
const STARTED: i64 = 1;
const DONE: i64 = 2;

/// What kind of id it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::agent) enum Kind {
    /// `command_id`
    Command,
    /// `batch_id`
    Batch,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Batch => "batch",
        }
    }

    fn of(text: &str) -> Self {
        match text {
            "batch" => Self::Batch,
            _ => Self::Command,
        }
    }
}

/// What became of an id that came in.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::agent) enum Acceptance {
    /// It is new, and on stable storage.
    New,
    /// It waits or runs.
    Running,
    /// It was carried out; its result was put into the outbox again under this number.
    Done(i64),
    /// It was carried out, and its result is no longer kept.
    Forgotten,
}

/// An id whose result is missing at the start of the agent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::agent) struct Unfinished {
    /// What kind.
    pub(in crate::agent) kind: Kind,
    /// The id.
    pub(in crate::agent) id: String,
    /// The request in JSON.
    pub(in crate::agent) request: String,
    /// Its command may have begun.
    pub(in crate::agent) started: bool,
}

impl State {
    /// Takes ids, each with its request, all in one transaction; on return they are on stable storage.
    pub(in crate::agent) fn accept(
        &self,
        requests: &[(Kind, &str, String)],
    ) -> Result<Vec<Acceptance>> {
        let problem = failed("accepting");
        let mut database = self.database();
        let transaction = database.transaction().map_err(&problem)?;
        let mut outcome = Vec::with_capacity(requests.len());
        for (kind, id, request) in requests {
            let known: Option<(i64, Option<String>)> = transaction
                .query_row(
                    "SELECT state, event FROM accepted WHERE kind = ?1 AND id = ?2",
                    params![kind.as_str(), id],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .map_err(&problem)?;
            outcome.push(match known {
                None => {
                    transaction
                        .execute(
                            "INSERT INTO accepted (kind, id, at, state, request) VALUES (?1, ?2, ?3, ?4, ?5)",
                            params![kind.as_str(), id, self.clock.now(), ACCEPTED, request],
                        )
                        .map_err(&problem)?;
                    Acceptance::New
                }
                Some((DONE, Some(event))) => {
                    // However often it is asked for, it waits there once.
                    transaction
                        .execute(
                            "DELETE FROM outbox WHERE kind = ?1 AND id = ?2",
                            params![kind.as_str(), id],
                        )
                        .map_err(&problem)?;
                    transaction
                        .execute(
                            "INSERT INTO outbox (event, kind, id, bytes)
                             SELECT ?1, kind, id, octet_length(payload) FROM accepted
                             WHERE kind = ?2 AND id = ?3",
                            params![event, kind.as_str(), id],
                        )
                        .map_err(&problem)?;
                    Acceptance::Done(transaction.last_insert_rowid())
                }
                Some((DONE, None)) => Acceptance::Forgotten,
                Some(_) => Acceptance::Running,
            });
        }
        transaction.commit().map_err(&problem)?;
        Ok(outcome)
    }

    /// Whether an id was accepted before.
    pub(in crate::agent) fn knows(&self, kind: Kind, id: &str) -> Result<bool> {
        self.database()
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM accepted WHERE kind = ?1 AND id = ?2)",
                params![kind.as_str(), id],
                |row| row.get(0),
            )
            .map_err(failed("looking an id up"))
    }

    /// Notes that the command of an id is about to begin.
    pub(in crate::agent) fn start(&self, kind: Kind, id: &str) -> Result<()> {
        self.database()
            .execute(
                "UPDATE accepted SET state = ?3 WHERE kind = ?1 AND id = ?2",
                params![kind.as_str(), id, STARTED],
            )
            .map_err(failed("starting"))?;
        Ok(())
    }

    /// Keeps the result of an id and puts it into the outbox; gives its number there.
    pub(in crate::agent) fn finish(&self, kind: Kind, id: &str, result: &Reply) -> Result<i64> {
        let problem = failed("finishing");
        let payload = result.payload.to_string();
        let bytes = payload.len();
        let mut database = self.database();
        let transaction = database.transaction().map_err(&problem)?;
        transaction
            .execute(
                "UPDATE accepted SET state = ?3, request = NULL, event = ?4, payload = ?5
                 WHERE kind = ?1 AND id = ?2",
                params![kind.as_str(), id, DONE, result.event, payload],
            )
            .map_err(&problem)?;
        transaction
            .execute(
                "INSERT INTO outbox (event, kind, id, bytes) VALUES (?1, ?2, ?3, ?4)",
                params![result.event, kind.as_str(), id, bytes as i64],
            )
            .map_err(&problem)?;
        let number = transaction.last_insert_rowid();
        if kind == Kind::Batch {
            transaction
                .execute("DELETE FROM steps WHERE batch = ?1", params![id])
                .map_err(&problem)?;
        }
        transaction.commit().map_err(&problem)?;
        Ok(number)
    }

    /// Ids without a result, oldest first. At the start these are what an earlier agent left.
    pub(in crate::agent) fn unfinished(&self) -> Result<Vec<Unfinished>> {
        let problem = failed("reading");
        let database = self.database();
        let mut statement = database
            .prepare("SELECT kind, id, request, state FROM accepted WHERE state < 2 ORDER BY at")
            .map_err(&problem)?;
        let rows = statement
            .query_map([], |row| {
                Ok(Unfinished {
                    kind: Kind::of(&row.get::<_, String>(0)?),
                    id: row.get(1)?,
                    request: row.get::<_, Option<String>>(2)?.unwrap_or_default(),
                    started: row.get::<_, i64>(3)? == STARTED,
                })
            })
            .map_err(&problem)?;
        rows.collect::<Result<_, _>>().map_err(&problem)
    }

    /// Forgets ids that were accepted longer than `seconds` ago and are done, and the results of all
    /// but the last `count` that hold at most `bytes`. What the outbox still needs is kept.
    pub(in crate::agent) fn forget(&self, seconds: f64, (count, bytes): (u64, u64)) -> Result<()> {
        let problem = failed("forgetting");
        let mut database = self.database();
        let transaction = database.transaction().map_err(&problem)?;
        let unneeded = "NOT EXISTS (SELECT 1 FROM outbox o WHERE o.kind = accepted.kind AND o.id = accepted.id)";
        transaction
            .execute(
                &format!("DELETE FROM accepted WHERE state = 2 AND at < ?1 AND {unneeded}"),
                params![self.clock.now() - seconds],
            )
            .map_err(&problem)?;
        transaction
            .execute(
                &format!(
                    "UPDATE accepted SET event = NULL, payload = NULL
                     WHERE (kind, id) IN (
                         SELECT kind, id FROM (
                             SELECT kind, id, ROW_NUMBER() OVER newest AS place,
                                    SUM(octet_length(payload)) OVER newest AS held
                             FROM accepted WHERE payload IS NOT NULL
                             WINDOW newest AS (ORDER BY at DESC, kind, id))
                         WHERE place > ?1 OR held > ?2) AND {unneeded}"
                ),
                params![count as i64, bytes as i64],
            )
            .map_err(&problem)?;
        transaction.commit().map_err(&problem)
    }
}
