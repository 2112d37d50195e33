//! The agent: makes this host operable by a DeployX backend over Socket.IO.
//!
//! A thin front end over [`crate::engine`]: it contains no snapshot logic. `src/docs/protocol.md` has
//! the events, `src/docs/agent.md` how it is operated.
//!
//! ```text
//! backend <-> Transport <-> line (register, heartbeat, send) <- Outgoing <- results, output
//!                  |                                              ^
//!                  +-> decode -> Dispatcher -> lanes -> Engine ---+
//!                                    |
//!                                  State (accepted ids, outbox; on disk)
//! ```
//!
//! Threads and blocking calls everywhere; only the Socket.IO transport has an asynchronous runtime,
//! one for each connection.
//!
//! ```no_run
//! use deployx::agent::{Agent, AgentConfig, transport::memory::MemoryBackend};
//! use deployx::engine::{Engine, EngineConfig};
//! use deployx::AbsPath;
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::open(EngineConfig::new("/var/lib/deployx/snapshots"))?;
//! let config = AgentConfig::new("/var/lib/deployx/agent", AbsPath::new("/root")?);
//! let backend = MemoryBackend::new();
//! let agent = Agent::start(engine, config, "localhost:1", |_| Arc::new(backend.clone()))?;
//! agent.stop();
//! # Ok(())
//! # }
//! ```

pub mod transport;
pub mod wire;

mod area;
mod cleanup;
mod config;
mod examine;
mod gate;
mod identity;
mod line;
mod metrics;
mod order;
mod output;
mod policy;
mod queue;
mod redact;
mod secret;
mod session;
mod shared;
mod shells;
mod state;
mod unkept;

pub use config::AgentConfig;
pub use examine::{Examined, StateDir, examine};
pub use line::PROTOCOL_VERSION;
pub use policy::Policy;
pub use redact::Redactor;
pub use secret::Secret;

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result, Stage};
use identity::Identity;
use line::Supervisor;
use session::Dispatcher;
use shared::Shared;
use state::State;
use transport::Transport;
use wire::Decoded;

/// The variable that front ends read the token from. Commands find it empty.
pub const TOKEN_VARIABLE: &str = crate::TOKEN_VARIABLE;

/// Requests that wait to be looked at. Each holds two megabytes at most.
const INBOUND: usize = 32;
/// From the start to the first cleanup.
const FIRST_CLEANUP: Duration = Duration::from_secs(5);
/// How long results have to go out when the agent is stopped.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long cancelled commands have to end and their snapshots to be sealed, at least.
const SEALING: Duration = Duration::from_secs(30);

/// A running agent.
pub struct Agent {
    shared: Arc<Shared>,
    transport: Arc<Mutex<Arc<dyn Transport>>>,
    events: mpsc::Sender<Decoded>,
    threads: Vec<JoinHandle<()>>,
    cleaner: Arc<(Mutex<bool>, Condvar)>,
    metrics: Option<SocketAddr>,
}

impl Agent {
    /// Starts an agent. It connects, and stays so, in the background; `transport` is made for the
    /// agent's id. `server` is `host:port`, for choosing which of the host's addresses is told.
    ///
    /// What an earlier agent with the same directory left is reported first.
    ///
    /// # Errors
    /// Where the agent's directory cannot be used, or the address for metrics.
    pub fn start(
        mut engine: Engine,
        config: AgentConfig,
        server: &str,
        transport: impl FnOnce(&str) -> Arc<dyn Transport>,
    ) -> Result<Self> {
        let state = State::open(&config.state_dir)?;
        engine.leave_alone(&config.state_dir);
        let agent_id = match &config.agent_id {
            Some(id) => checked_id(id)?,
            None => checked_id(&state.own_id()?)?,
        };
        let identity = Identity::read(server);
        if !identity.limits.is_empty() {
            let limits = identity.limits.join(", ");
            tracing::warn!(
                "running without administrator's rights: rollbacks cannot restore {limits}"
            );
        }
        let metrics = config.metrics;
        let transport = Arc::new(Mutex::new(transport(&agent_id)));
        let shared = Arc::new(Shared::new(engine, state, config, agent_id, identity));
        cleanup::tell(shared.engine.recovered());
        session::report_interrupted(&shared)?;
        session::report_interrupted_changes(&shared)?;
        cleanup::bound_records(&shared);
        let metrics = metrics
            .map(|address| {
                let own = Arc::downgrade(&shared);
                let figures = move || own.upgrade().map(|own| own.figures());
                metrics::serve(address, Arc::new(move || figures().unwrap_or_default()))
            })
            .transpose()?;
        let (events, requests) = mpsc::channel(INBOUND);
        let dispatcher = Dispatcher::new(Arc::clone(&shared))?;
        let dispatcher = spawn("requests", move || dispatcher.run(requests))?;
        let supervisor = Supervisor {
            shared: Arc::clone(&shared),
            transport: Arc::clone(&transport),
            events: events.clone(),
        };
        let line = spawn("line", move || supervisor.run())?;
        let cleaner = Arc::new((Mutex::new(false), Condvar::new()));
        let (own, stop) = (Arc::clone(&shared), Arc::clone(&cleaner));
        let cleanup = spawn("cleanup", move || keep_clean(&own, &stop))?;
        let own = Arc::clone(&shared);
        let sessions = spawn("sessions", move || session::end_idle(&own))?;
        Ok(Self {
            shared,
            transport,
            events,
            threads: vec![line, dispatcher, cleanup, sessions],
            cleaner,
            metrics,
        })
    }

    /// The id that this agent goes by.
    pub fn id(&self) -> &str {
        &self.shared.agent_id
    }

    /// Where figures are served.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// All figures, in Prometheus' text format.
    pub fn figures(&self) -> String {
        self.shared.figures()
    }

    /// Whether the line to the backend is up.
    pub fn is_connected(&self) -> bool {
        self.shared.outgoing.is_up()
    }

    /// Whether all of its threads are at work. One that is not has met a defect of this program, and
    /// only another start helps.
    pub fn is_whole(&self) -> bool {
        !self.threads.iter().any(JoinHandle::is_finished)
    }

    /// Puts other settings in force for whatever begins from now on, and opens a new line with
    /// `transport`. The agent's directory, its id and where metrics are served stay: a change of these
    /// is only warned of.
    pub fn reload(&self, config: AgentConfig, transport: Arc<dyn Transport>) {
        for key in self.shared.config().fixed_changes(&config) {
            tracing::warn!(key, "a change of this setting needs a restart of the agent");
        }
        self.shared.set_config(config);
        *self
            .transport
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = transport;
        self.shared.outgoing.reopen();
        self.cleaner.1.notify_all();
        tracing::info!("settings were reloaded");
    }

    /// The longest time that [`Agent::stop`] is meant to take.
    pub fn stop_limit(&self) -> Duration {
        let grace = self.shared.config().stop_grace;
        // What sessions, threads and the line need to end comes on top.
        grace + grace.max(SEALING) + FAREWELL + SEALING
    }

    /// Takes no more requests, lets what runs end for as long as the settings say, cancels the rest,
    /// whose snapshots are sealed, and sends the results. What waits is not begun any more.
    pub fn stop(mut self) {
        self.shared.set_stopping();
        self.wait_for_work();
        session::end_all(&self.shared);
        self.shared.keep_the_rest();
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline && self.has_something_to_send() {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.close();
        tracing::info!("the agent has stopped");
    }

    fn wait_for_work(&self) {
        let grace = self.shared.config().stop_grace;
        let deadline = Instant::now() + grace;
        while self.shared.at_work() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
        if self.shared.cancel_all() > 0 {
            tracing::warn!("what still runs is cancelled");
        }
        // Ending a process tree and sealing a snapshot take their time, and a rollback that has begun to
        // change something runs to its end; the next start would report what is cut short here.
        let deadline = Instant::now() + grace.max(SEALING);
        while self.shared.at_work() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn has_something_to_send(&self) -> bool {
        let sent = self.shared.last_sent.load(Ordering::SeqCst);
        self.is_connected()
            && (self.shared.outgoing.depth().0 > 0
                || !self.shared.unkept.is_empty()
                || self
                    .shared
                    .state
                    .undelivered(sent, 1)
                    .is_ok_and(|left| !left.is_empty()))
    }

    fn close(&mut self) {
        self.shared.outgoing.close();
        self.shared.shells.close();
        *self
            .cleaner
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.cleaner.1.notify_all();
        // Makes the dispatcher look. Where the queue is full it is about to look anyway.
        let _ = self.events.try_send(Decoded::Unknown(String::new()));
        for thread in self.threads.drain(..) {
            // A defect there was reported by its own thread.
            let _ = thread.join();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.close();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(|e| Error::io(Stage::Agent, "cannot start a thread", e))
}

/// Cleans up soon after the start, as an agent may live for less than an interval, and then at every
/// interval until told to stop. Whoever changes the settings wakes it.
fn keep_clean(shared: &Shared, stop: &(Mutex<bool>, Condvar)) {
    let begun = Instant::now();
    let mut last = None;
    let mut stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
    while !*stopped {
        let interval = shared.config().cleanup_interval;
        let wait = match last {
            None => FIRST_CLEANUP.min(interval).saturating_sub(begun.elapsed()),
            Some(last) => interval.saturating_sub(Instant::elapsed(&last)),
        };
        if wait.is_zero() {
            drop(stopped);
            cleanup::clean(shared);
            last = Some(Instant::now());
            stopped = stop.0.lock().unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        stopped = stop
            .1
            .wait_timeout(stopped, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}

/// An agent's id is also the name of its room.
fn checked_id(id: &str) -> Result<String> {
    if !id.is_empty() && id.len() <= wire::MAX_ID && !id.chars().any(char::is_control) {
        return Ok(id.to_owned());
    }
    Err(Error::new(
        ErrorKind::InvalidRequest,
        Stage::Agent,
        format!(
            "the agent's id has to have 1 to {} characters, none of them control characters",
            wire::MAX_ID
        ),
    ))
}
