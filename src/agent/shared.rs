//! What the agent's threads have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::config::AgentConfig;
use super::gate::Gate;
use super::identity::Identity;
use super::metrics::Metrics;
use super::queue::Outgoing;
use super::redact::Redactor;
use super::shells::Shells;
use super::state::{Kind, State};
use super::unkept::{Unkept, Waiting};
use super::wire::{Rejection, Reply, json_length, refusal};
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
    pub(super) shells: Arc<Shells>,
    pub(super) metrics: Metrics,
    pub(super) agent_id: String,
    pub(super) identity: Identity,
    /// The last result that was sent on the current line.
    pub(super) last_sent: AtomicI64,
    /// The backend acknowledged something, on this line or on an earlier one.
    pub(super) acknowledges: AtomicBool,
    settings: RwLock<(Arc<AgentConfig>, Arc<Redactor>)>,
    running: Mutex<HashMap<(Kind, String), Cancel>>,
    /// Results that were kept since they were last bounded, and their bytes.
    new_results: Mutex<(u64, u64)>,
    stopping: AtomicBool,
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
            shells: Arc::default(),
            metrics: Metrics::default(),
            agent_id,
            identity,
            last_sent: AtomicI64::new(0),
            acknowledges: AtomicBool::new(false),
            settings: RwLock::new(settings(config)),
            running: Mutex::default(),
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
        let cancel = Cancel::default();
        self.lock_running()
            .insert((kind, id.to_owned()), cancel.clone());
        cancel
    }

    /// Ends what goes by an id; `false` where nothing does.
    pub(super) fn cancel(&self, kind: Kind, id: &str) -> bool {
        let found = self.lock_running().get(&(kind, id.to_owned())).cloned();
        if let Some(cancel) = &found {
            cancel.cancel();
        }
        found.is_some()
    }

    /// Ends everything; gives how much there was.
    pub(super) fn cancel_all(&self) -> usize {
        let running = self.lock_running();
        running.values().for_each(Cancel::cancel);
        running.len()
    }

    /// How many ids wait or run.
    pub(super) fn at_work(&self) -> usize {
        self.lock_running().len()
    }

    /// Keeps the result of an id on disk and sends it.
    pub(super) fn finish(&self, kind: Kind, id: &str, result: &Reply) {
        self.deliver(Unkept {
            id: Some((kind, id.to_owned())),
            reply: result.clone(),
        });
        self.lock_running().remove(&(kind, id.to_owned()));
    }

    /// Keeps a result that belongs to no id on disk and sends it.
    pub(super) fn post(&self, reply: &Reply) {
        self.deliver(Unkept {
            id: None,
            reply: reply.clone(),
        });
    }

    fn deliver(&self, result: Unkept) {
        match self.keep(&result) {
            Ok(number) => {
                self.outgoing.stored(number);
                self.bound_records(json_length(&result.reply.payload) as u64);
            }
            Err(error) => {
                tracing::error!(%error, event = result.reply.event, "a result is not kept on disk yet");
                // It comes again when it is kept: a backend that was told twice was told.
                self.outgoing.answer(result.reply.clone());
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

    fn keep(&self, result: &Unkept) -> Result<i64> {
        match &result.id {
            Some((kind, id)) => self.state.finish(*kind, id, &result.reply),
            None => self.state.post(&result.reply),
        }
    }

    /// Tries again to keep the results that the disk did not take.
    pub(super) fn keep_the_rest(&self) {
        self.unkept.retry(|result| match self.keep(result) {
            Ok(number) => {
                self.outgoing.stored(number);
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

    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<(Kind, String), Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settings(config: AgentConfig) -> (Arc<AgentConfig>, Arc<Redactor>) {
    let redactor = Redactor::new(config.redact, config.secrets.clone());
    (Arc::new(config), Arc::new(redactor))
}
