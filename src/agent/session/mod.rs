//! What the agent does with what the backend asks for.
//!
//! One thread takes requests in their order and passes them on: commands to the lane of their session,
//! rollbacks and cleanups to lanes of theirs, questions to another. Only it decides whether an id is
//! new.

mod batch;
mod change;
mod execute;
mod interrupted;
mod interrupted_changes;
mod lanes;
mod live;
mod parts;
mod query;
mod reach;
mod rollback;
mod status;

pub(super) use interrupted::report_interrupted;
pub(super) use interrupted_changes::report_interrupted_changes;
pub(super) use live::{end_all, end_idle};

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;

use super::line::shells;
use super::shared::Shared;
use super::state::{Acceptance, Kind};
use super::wire::{Batch, Decoded, Execute, Rejection, Reply, Request, json_length};
use crate::agent::shells::{NoEntry, Ticket};
use crate::error::{Error, ErrorKind, Stage};
use crate::execute::Cancel;
use crate::execute::shells::lookup;
use change::Change;
use lanes::Lanes;

/// Requests that are taken at a time, so that one write to the disk does for many ids.
const AT_ONCE: usize = 64;
/// Bytes of requests after which no more are taken at a time: whether there is room for one is only
/// known when those before it wait.
const BYTES_AT_ONCE: usize = 1 << 20;
/// The lane of batches: one at a time.
const BATCHES: &str = "batches";
/// The lanes of whatever changes snapshots: what waits for a command holds nothing else up.
const CHANGES: (&str, usize) = ("changes", 16);
/// The lane of questions.
const QUERIES: &str = "queries";

/// What a command has for an error that was not begun because the agent ends.
const NOT_BEGUN: &str = "not run: the agent is being stopped";

/// Takes requests until the senders are gone.
pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    lanes: Arc<Lanes>,
}

/// A command or batch that has been checked and waits to be accepted.
enum Work {
    Command(Box<Execute>, Place),
    Batch(Box<Batch>),
}

/// Where a command runs.
enum Place {
    /// In a shell of its own.
    Alone,
    /// In a session.
    Session(Ticket),
    /// Nowhere: its session is lost, as the text says.
    Lost(String),
}

impl Work {
    fn key(&self) -> (Kind, &str) {
        match self {
            Self::Command(command, _) => (Kind::Command, &command.command_id),
            Self::Batch(batch) => (Kind::Batch, &batch.batch_id),
        }
    }

    fn event(&self) -> &'static str {
        match self {
            Self::Command(..) => "execute_deployment_command",
            Self::Batch(_) => "execute_batch_persistent",
        }
    }

    fn json(&self) -> serde_json::Value {
        let value = match self {
            Self::Command(command, _) => serde_json::to_value(command),
            Self::Batch(batch) => serde_json::to_value(batch),
        };
        // Texts and numbers always serialise.
        value.unwrap_or_default()
    }

    /// What is kept of it on disk: everything but variables, which may be secrets.
    fn record(&self) -> String {
        let mut request = self.json();
        if let Some(env) = request.get_mut("env") {
            env.take();
        }
        request.to_string()
    }

    /// What it takes in memory and on disk while it waits.
    fn bytes(&self) -> usize {
        json_length(&self.json())
    }

    fn rejection(&self, error: impl Into<String>) -> Rejection {
        Rejection {
            event: self.event().into(),
            id: self.key().1.into(),
            error: error.into(),
            ..match self {
                Self::Command(command, _) => Rejection {
                    execution_id: command.execution_id.clone().unwrap_or_default(),
                    group_execution: command.group_execution.clone().unwrap_or_default(),
                    ..Rejection::default()
                },
                Self::Batch(_) => Rejection::default(),
            }
        }
    }
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>) -> crate::Result<Self> {
        let lanes = Lanes::new(Arc::clone(&shared))?;
        Ok(Self { shared, lanes })
    }

    /// Works until the first event after the agent was closed, or until nobody can send any more.
    pub(super) fn run(&self, mut events: mpsc::Receiver<Decoded>) {
        // The event that tells of the end may be taken as one of many, so each round looks anew.
        while !self.shared.outgoing.is_closed() {
            let Some(first) = events.blocking_recv() else {
                return;
            };
            let mut work = Vec::new();
            let mut bytes = 0;
            let mut next = Some(first);
            while let Some(event) = next.take() {
                self.shared.metrics.events.add(1);
                let before = work.len();
                if let Some(other) = self.sort(event, &mut work) {
                    self.accept(std::mem::take(&mut work));
                    self.take(other);
                }
                bytes += work.iter().skip(before).map(Work::bytes).sum::<usize>();
                if work.len() < AT_ONCE && bytes < BYTES_AT_ONCE {
                    next = events.try_recv().ok();
                }
            }
            self.accept(work);
        }
    }

    /// Puts commands and batches that may run into `work`; gives any other request back.
    fn sort(&self, event: Decoded, work: &mut Vec<Work>) -> Option<Request> {
        let request = match event {
            Decoded::Request(request) => *request,
            Decoded::Rejected(rejection) => {
                self.shared.reject_senseless(&rejection);
                return None;
            }
            Decoded::Unknown(name) => {
                tracing::debug!(event = %name.escape_debug(), "an unknown event is ignored");
                return None;
            }
        };
        let item = match request {
            Request::Execute(command) => Work::Command(Box::new(command), Place::Alone),
            Request::Batch(batch) => Work::Batch(Box::new(batch)),
            other => return Some(other),
        };
        let mut item = item;
        let fitting = self.check(&item).and_then(|()| self.enter(&mut item));
        match fitting {
            // The result of an id that came before is sent even where it would be refused by now.
            Err(error) if !self.is_known(&item) => self.shared.reject(&item.rejection(error)),
            _ => work.push(item),
        }
        None
    }

    fn check(&self, work: &Work) -> Result<(), String> {
        if self.shared.is_stopping() {
            return Err("the agent is being stopped".into());
        }
        let policy = &self.shared.config().policy;
        let (shell, lines, env): (_, &[String], _) = match work {
            Work::Command(one, _) => (&one.shell, std::slice::from_ref(&one.command), &one.env),
            Work::Batch(batch) => (&batch.shell, &batch.commands, &batch.env),
        };
        // A session that is open has a shell already, which is looked at when the command's turn comes.
        let by_session = matches!(work, Work::Command(one, _) if one.session.is_some());
        if !by_session || shell.is_some() {
            let shell = parts::shell(shell.as_deref());
            policy.check_shell(shell.as_str())?;
            crate::execute::find_shell(&shell).map_err(|error| error.to_string())?;
        }
        for line in lines {
            policy.check_command(line)?;
        }
        policy.check_variables(env.iter().flat_map(|env| env.keys()))?;
        self.lanes.has_room(work.bytes())
    }

    fn is_known(&self, work: &Work) -> bool {
        let (kind, id) = work.key();
        self.shared.state.knows(kind, id).unwrap_or_default()
    }

    /// Gives a command its place in its session. One that came before takes none, as it could be the
    /// first that is told of the session's loss.
    fn enter(&self, work: &mut Work) -> Result<(), String> {
        let known =
            matches!(work, Work::Command(one, _) if one.session.is_some()) && self.is_known(work);
        if let Work::Command(command, place) = work
            && let Some(session) = &command.session
            && !known
        {
            let most = self.shared.config().max_sessions;
            *place = match self.shared.shells.enter(session, most) {
                Ok(ticket) => Place::Session(ticket),
                Err(NoEntry::Full(why)) => return Err(why),
                // The id is taken, and so is the notice: a copy of the request that comes after it must
                // not run where this one did not.
                Err(NoEntry::Lost(why)) => Place::Lost(why),
            };
        }
        Ok(())
    }

    /// Makes ids known on disk, then passes what is new on.
    fn accept(&self, work: Vec<Work>) {
        if work.is_empty() {
            return;
        }
        let ids: Vec<(Kind, &str, String)> = work
            .iter()
            .map(|one| (one.key().0, one.key().1, one.record()))
            .collect();
        let outcome = match self.shared.state.accept(&ids) {
            Ok(outcome) => outcome,
            Err(error) => {
                for one in &work {
                    let error = format!("the command was not run: {error}");
                    self.shared.reject(&one.rejection(error));
                }
                return;
            }
        };
        for (one, acceptance) in work.into_iter().zip(outcome) {
            match acceptance {
                Acceptance::New => self.begin(one),
                other => self.repeated(&one, &other),
            }
        }
    }

    fn begin(&self, work: Work) {
        let (kind, id) = work.key();
        let cancel = self.shared.enlist(kind, id);
        let bytes = work.bytes();
        match work {
            Work::Command(command, Place::Lost(why)) => {
                execute::refuse(&self.shared, &command, why);
            }
            Work::Command(command, place) => {
                let ticket = match place {
                    Place::Session(ticket) => Some(ticket),
                    Place::Alone | Place::Lost(_) => None,
                };
                let lane = lane_of(&command);
                let run = move |shared: &Arc<Shared>| {
                    execute::run(shared, &command, ticket.as_ref(), &cancel);
                };
                self.lanes.submit(&lane, bytes, Box::new(run));
            }
            Work::Batch(batch) => self.lanes.submit(
                BATCHES,
                bytes,
                Box::new(move |shared| batch::run(shared, &batch, &cancel)),
            ),
        }
    }

    /// An id that came before is not carried out again.
    fn repeated(&self, work: &Work, acceptance: &Acceptance) {
        self.shared.metrics.duplicates.add(1);
        let (_, id) = work.key();
        tracing::info!(id = %id.escape_debug(), "an id came again and is not carried out again");
        let error = match acceptance {
            Acceptance::Done(number) => return self.shared.outgoing.stored(*number),
            Acceptance::Running => "it is still running; its result will follow",
            _ => "it was carried out before, and its result is no longer kept",
        };
        self.shared.outgoing.answer(Reply::new(
            "agent_error",
            json!({ "event": work.event(), "error": error, "id": id }),
        ));
    }

    fn take(&self, request: Request) {
        let shared = &self.shared;
        match request {
            Request::CancelCommand(one) => self.cancel(Kind::Command, &one.command_id),
            Request::CancelBatch(one) => self.cancel(Kind::Batch, &one.batch_id),
            Request::CloseSession(one) => self.close_session(one.session),
            Request::Registered => shared.outgoing.set_registered(true),
            Request::NotRegistered(told) => {
                let error = shared.redactor().clean(&told.error);
                tracing::error!(error = %error.escape_debug(), "the backend refuses the registration");
                shared.outgoing.set_registered(false);
            }
            Request::Shells => shared.outgoing.answer(Reply::new(
                "get_shells_ack",
                json!({ "status": "success", "data": shells(shared) }),
            )),
            change @ (Request::Rollback(_)
            | Request::RollbackBatch(_)
            | Request::Cleanup(_)
            | Request::CleanupBatch(_)
            | Request::Pin(_)) => self.change(change),
            query => match self.lanes.has_room(0) {
                Ok(()) => {
                    let answer = move |shared: &Arc<Shared>| query::answer(shared, query);
                    self.lanes.submit(QUERIES, 0, Box::new(answer));
                }
                Err(error) => self.refuse(name_of(&query), error),
            },
        }
    }

    fn change(&self, request: Request) {
        let named = name_of(&request);
        let taken = self.lanes.has_room(0);
        match taken.and_then(|()| Change::take_on(&self.shared, request)) {
            Ok(change) => {
                let work = move |shared: &Arc<Shared>| change.carry_out(shared);
                self.lanes.submit_to_any(CHANGES, Box::new(work));
            }
            Err(error) => self.refuse(named, error),
        }
    }

    fn refuse(&self, (event, id): (&str, String), error: String) {
        self.shared.reject(&Rejection {
            event: event.into(),
            id,
            error,
            ..Rejection::default()
        });
    }

    /// Commands that came before are run first; those that come later have a new session.
    fn close_session(&self, session: String) {
        match self.shared.shells.take(&session) {
            Some(slot) => self.lanes.submit(
                &session_lane(&session),
                0,
                Box::new(move |shared| live::end(shared, &slot, "it was closed")),
            ),
            None => self.shared.reject(&Rejection {
                event: "close_session".into(),
                id: session,
                error: "no session of this name is open".into(),
                ..Rejection::default()
            }),
        }
    }

    fn cancel(&self, kind: Kind, id: &str) {
        let event = match kind {
            Kind::Command => "cancel_command",
            Kind::Batch => "cancel_batch",
        };
        if !self.shared.cancel(kind, id) {
            self.shared.reject(&Rejection {
                event: event.into(),
                id: id.into(),
                error: "nothing with this id waits or runs".into(),
                ..Rejection::default()
            });
        }
    }
}

/// Commands of one session run one after another, and without one those of one shell. There are no
/// more lanes than sessions may be open and shells are known.
fn lane_of(command: &Execute) -> String {
    if let Some(session) = &command.session {
        return session_lane(session);
    }
    let name = parts::shell(command.shell.as_deref());
    let known = lookup(&name).map_or("", |shell| shell.name);
    format!("shell {known}")
}

fn session_lane(session: &str) -> String {
    format!("session {session}")
}

/// The event and the id of a request that is not about a command.
fn name_of(request: &Request) -> (&'static str, String) {
    match request {
        Request::Rollback(one) => ("rollback_command", one.snapshot_id.clone()),
        Request::RollbackBatch(one) => ("rollback_batch", one.batch_id.clone()),
        Request::Info(one) => ("get_snapshot_info", one.snapshot_id.clone()),
        Request::BatchSnapshots(one) => ("get_batch_snapshots", one.batch_id.clone()),
        Request::Cleanup(one) => ("cleanup_snapshot", one.snapshot_id.clone()),
        Request::CleanupBatch(one) => ("cleanup_batch", one.batch_id.clone()),
        Request::Diff(one) => ("get_snapshot_diff", one.snapshot_id.clone()),
        Request::Pin(one) => ("pin_snapshot", one.snapshot_id.clone()),
        _ => ("list_snapshots", String::new()),
    }
}

/// Whether a command still has to be begun.
fn is_wanted(shared: &Shared, cancel: &Cancel) -> bool {
    !cancel.is_cancelled() && !shared.is_stopping()
}

/// The same, with the reason.
fn check_wanted(shared: &Shared, cancel: &Cancel) -> crate::Result<()> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Cancelled, Stage::Agent, why));
    if shared.is_stopping() {
        return refused(NOT_BEGUN);
    }
    if cancel.is_cancelled() {
        return refused("cancelled before it started");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
