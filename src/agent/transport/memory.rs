//! A transport without a network, for tests of whatever is above it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Connection, Inbound, Transport};
use crate::error::{Error, ErrorKind, Result, Stage};

/// One event that the agent sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// Its name.
    pub event: String,
    /// What it carries.
    pub payload: Value,
    /// On which connection, counted from 1.
    pub connection: usize,
}

/// The backend's end: sees what the agent sends and sends to it.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    connections: usize,
    current: Option<Inbound>,
    refuse: bool,
    acknowledges: bool,
    stalled: bool,
}

impl MemoryBackend {
    /// A backend that accepts every connection and acknowledges nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.lock();
        let result = change(&mut state);
        self.shared.changed.notify_all();
        result
    }

    /// Refuses new connections from now on, or no more.
    pub fn refuse(&self, refuse: bool) {
        self.with(|state| state.refuse = refuse);
    }

    /// Acknowledges events that ask for it from now on, or no more.
    pub fn acknowledge(&self, acknowledges: bool) {
        self.with(|state| state.acknowledges = acknowledges);
    }

    /// Takes nothing from the line from now on, or goes on.
    pub fn stall(&self, stalled: bool) {
        self.with(|state| state.stalled = stalled);
    }

    /// Cuts the current connection.
    pub fn cut(&self) {
        if let Some(inbound) = self.with(|state| state.current.take()) {
            inbound.set_down();
        }
    }

    /// Sends an event to the agent; `false` when it is not connected.
    pub fn send(&self, event: &str, payload: Value) -> bool {
        let Some(inbound) = self.with(|state| state.current.clone()) else {
            return false;
        };
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else {
            return false;
        };
        runtime.block_on(inbound.event(event, vec![payload]));
        true
    }

    /// Everything sent so far.
    pub fn sent(&self) -> Vec<Sent> {
        self.with(|state| state.sent.clone())
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.with(|state| state.connections)
    }

    /// Waits until `found` gives something of what was sent; `None` after `patience`.
    pub fn wait<T>(
        &self,
        patience: Duration,
        mut found: impl FnMut(&[Sent]) -> Option<T>,
    ) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if let Some(value) = found(&state.sent) {
                return Some(value);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for MemoryBackend {
    fn connect(&self, inbound: Inbound, _: Duration) -> Result<Box<dyn Connection>> {
        self.with(|state| {
            if state.refuse {
                return Err(down());
            }
            state.connections += 1;
            state.current = Some(inbound.clone());
            let line: Box<dyn Connection> = Box::new(Line {
                backend: self.clone(),
                number: state.connections,
                inbound,
                acknowledged: 0,
            });
            Ok(line)
        })
    }
}

struct Line {
    backend: MemoryBackend,
    number: usize,
    inbound: Inbound,
    acknowledged: u64,
}

impl Line {
    fn push(&self, event: &str, payload: Value, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let shared = &self.backend.shared;
        let mut state = shared.lock();
        while state.stalled && !self.inbound.is_down() {
            let left = deadline
                .checked_duration_since(Instant::now())
                .ok_or_else(down)?;
            state = shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        if self.inbound.is_down() {
            return Err(down());
        }
        state.sent.push(Sent {
            event: event.to_owned(),
            payload,
            connection: self.number,
        });
        shared.changed.notify_all();
        Ok(state.acknowledges)
    }
}

impl Connection for Line {
    fn emit(
        &mut self,
        event: &str,
        payload: Value,
        question: Option<u64>,
        timeout: Duration,
    ) -> Result<()> {
        let acknowledges = self.push(event, payload, timeout)?;
        if let Some(question) = question.filter(|_| acknowledges) {
            self.acknowledged = question;
            self.inbound.wake();
        }
        Ok(())
    }

    fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    fn is_down(&self) -> bool {
        self.inbound.is_down()
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Io, Stage::Agent, "the line is down")
}
