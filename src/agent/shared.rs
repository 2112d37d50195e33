//! What the agent's threads have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::config::AgentConfig;
use super::gate::Gate;
use super::identity::Identity;
use super::metrics::Metrics;
use super::order::Order;
use super::queue::Outgoing;
use super::redact::Redactor;
use super::shells::Shells;
use super::state::{Kind, State};
use super::unkept::{Origin, Unkept, Waiting};
use super::wire::{Rejection, Reply, refusal};
use crate::engine::Engine;
use crate::error::Result;
use crate::execute::Cancel;

/// One agent.
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) state: State,
    pub(super) outgoing: Outgoing,
    pub(super) unkept: Waiting,
    pub(super) gate: Arc<Gate>,
    pub(super) order: Arc<Order>,
    pub(super) shells: Arc<Shells>,
    pub(super) metrics: Metrics,
    pub(super) agent_id: String,
    pub(super) identity: Identity,
    /// The last result that was sent on the current line.
    pub(super) last_sent: AtomicI64,
    /// The backend acknowledged something, on this line or on an earlier one.
    pub(super) acknowledges: AtomicBool,
    settings: RwLock<(Arc<AgentConfig>, Arc<Redactor>)>,
    running: Mutex<HashMap<(Kind, String), Running>>,
    /// Changes of snapshots that wait or run, by the number of their place.
    changes: Mutex<HashMap<u64, Cancel>>,
    /// Results that were kept since they were last bounded, and their bytes.
    new_results: Mutex<(u64, u64)>,
    stopping: AtomicBool,
}

/// A command or a batch that waits or runs.
#[derive(Default)]
struct Running {
    cancel: Cancel,
    /// The backend asked for its end.
    asked: bool,
}

impl Shared {
    pub(super) fn new(
        engine: Engine,
        state: State,
        config: AgentConfig,
        agent_id: String,
        identity: Identity,
    ) -> Self {
        Self {
            engine,
            state,
            outgoing: Outgoing::default(),
            unkept: Waiting::default(),
            gate: Arc::default(),
            order: Arc::default(),
            shells: Arc::default(),
            metrics: Metrics::default(),
            agent_id,
            identity,
            last_sent: AtomicI64::new(0),
            acknowledges: AtomicBool::new(false),
            settings: RwLock::new(settings(config)),
            running: Mutex::default(),
            changes: Mutex::default(),
            new_results: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The settings in force.
    pub(super) fn config(&self) -> Arc<AgentConfig> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&settings.0)
    }

    pub(super) fn redactor(&self) -> Arc<Redactor> {
        let settings = self.settings.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&settings.1)
    }

    /// Puts other settings in force, for whatever begins from now on.
    pub(super) fn set_config(&self, config: AgentConfig) {
        let mut own = self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *own = settings(config);
    }

    /// Makes an id known that can be cancelled from now on.
    pub(super) fn enlist(&self, kind: Kind, id: &str) -> Cancel {
        let running = Running::default();
        let cancel = running.cancel.clone();
        self.lock_running().insert((kind, id.to_owned()), running);
        cancel
    }

    /// Ends what goes by an id; `false` where nothing does.
    pub(super) fn cancel(&self, kind: Kind, id: &str) -> bool {
        let mut running = self.lock_running();
        let found = running.get_mut(&(kind, id.to_owned()));
        if let Some(own) = found {
            own.asked = true;
            own.cancel.cancel();
            return true;
        }
        false
    }

    /// Whether [`cancel`](Self::cancel) ended what goes by an id.
    pub(super) fn was_cancelled(&self, kind: Kind, id: &str) -> bool {
        let running = self.lock_running();
        running
            .get(&(kind, id.to_owned()))
            .is_some_and(|own| own.asked)
    }

    /// Counts a change of snapshots as work until it is dismissed.
    pub(super) fn enlist_change(&self, number: u64) -> Cancel {
        let cancel = Cancel::default();
        self.lock_changes().insert(number, cancel.clone());
        cancel
    }

    pub(super) fn dismiss_change(&self, number: u64) {
        self.lock_changes().remove(&number);
    }

    fn lock_changes(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Cancel>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything; gives how much there was.
    pub(super) fn cancel_all(&self) -> usize {
        let running = self.lock_running();
        running.values().for_each(|own| own.cancel.cancel());
        let changes = self.lock_changes();
        changes.values().for_each(Cancel::cancel);
        running.len() + changes.len()
    }

    /// How many commands, batches and changes of snapshots wait or run.
    pub(super) fn at_work(&self) -> usize {
        self.lock_running().len() + self.lock_changes().len()
    }

    /// Keeps the result of an id on disk and sends it.
    pub(super) fn finish(&self, kind: Kind, id: &str, result: &Reply) {
        self.deliver(Unkept {
            origin: Origin::Id(kind, id.to_owned()),
            replies: vec![result.clone()],
        });
        self.lock_running().remove(&(kind, id.to_owned()));
    }

    /// The same for a change of snapshots with its record, where it has one.
    pub(super) fn finish_change(&self, number: u64, record: Option<i64>, results: Vec<Reply>) {
        self.post_for(record, results);
        self.dismiss_change(number);
    }

    /// Keeps results in the place of the record of a change, and sends them.
    pub(super) fn post_for(&self, record: Option<i64>, results: Vec<Reply>) {
        self.deliver(Unkept {
            origin: record.map_or(Origin::Nothing, Origin::Change),
            replies: results,
        });
    }

    /// Keeps a result that belongs to no id on disk and sends it.
    pub(super) fn post(&self, reply: &Reply) {
        self.post_for(None, vec![reply.clone()]);
    }

    fn deliver(&self, result: Unkept) {
        match self.keep(&result) {
            Ok(numbers) => {
                numbers
                    .into_iter()
                    .for_each(|one| self.outgoing.stored(one));
                self.bound_records(result.bytes() as u64);
            }
            Err(error) => {
                let event = result.replies.first().map(|reply| reply.event);
                tracing::error!(%error, event, "a result is not kept on disk yet");
                // It comes again when it is kept: a backend that was told twice was told.
                for reply in &result.replies {
                    self.outgoing.answer(reply.clone());
                }
                if !self.unkept.push(result) {
                    tracing::error!("too many results wait for the disk: one is given up");
                }
            }
        }
    }

    /// Bounds what is on disk whenever an eighth of what it may hold has come in.
    fn bound_records(&self, bytes: u64) {
        let config = self.config();
        let (outbox, kept) = (config.outbox, config.results_kept);
        let most = (outbox.0.min(kept.0), outbox.1.min(kept.1));
        let mut new = self
            .new_results
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *new = (new.0 + 1, new.1 + bytes);
        if new.0 > most.0 / 8 || new.1 > most.1 / 8 {
            *new = (0, 0);
            drop(new);
            super::cleanup::bound_records(self);
        }
    }

    fn keep(&self, result: &Unkept) -> Result<Vec<i64>> {
        let all = &result.replies;
        match &result.origin {
            Origin::Id(kind, id) => all
                .iter()
                .map(|one| self.state.finish(*kind, id, one))
                .collect(),
            Origin::Change(record) => self.state.finish_change(*record, all),
            Origin::Nothing => self.state.post(all),
        }
    }

    /// Tries again to keep the results that the disk did not take.
    pub(super) fn keep_the_rest(&self) {
        self.unkept.retry(|result| match self.keep(result) {
            Ok(numbers) => {
                numbers
                    .into_iter()
                    .for_each(|one| self.outgoing.stored(one));
                true
            }
            Err(_) => false,
        });
    }

    /// Answers an event that makes no sense.
    pub(super) fn reject_senseless(&self, rejection: &Rejection) {
        self.metrics.rejected.add(1);
        self.answer_rejection(rejection);
    }

    /// Answers a request that cannot be carried out or is not allowed.
    pub(super) fn reject(&self, rejection: &Rejection) {
        self.metrics.refused.add(1);
        self.answer_rejection(rejection);
    }

    fn answer_rejection(&self, rejection: &Rejection) {
        tracing::warn!(
            event = rejection.event,
            id = %rejection.id.escape_debug(),
            error = %self.redactor().clean(&rejection.error).escape_debug(),
            "a request is refused"
        );
        for reply in refusal(rejection) {
            self.outgoing.answer(reply);
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(super) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    /// Brings the figures that are looked up, not counted, up to date and gives all as text.
    pub(super) fn figures(&self) -> String {
        let count = |waiting: Result<(u64, u64)>| waiting.map_or(0, |(count, _)| count);
        self.metrics.outbox.set(count(self.state.waiting()));
        self.metrics.live_dropped.set(self.outgoing.depth().1);
        self.metrics.sessions.set(self.shells.count() as u64);
        self.metrics.connected.set(u64::from(self.outgoing.is_up()));
        self.metrics.text()
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, String), Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(config: AgentConfig) -> (Arc<AgentConfig>, Arc<Redactor>) {
    let redactor = Redactor::new(config.redact, config.secrets.clone());
    (Arc::new(config), Arc::new(redactor))
}
