//! The line to the backend: how it is opened, what comes in, what goes out.

pub mod memory;
pub mod socketio;
mod tls;

pub use tls::{Secrecy, TlsSettings, check_server};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;

use super::wire::{Decoded, MAX_REQUEST, decode, weight};
use crate::error::Result;

/// Opens lines to a backend.
pub trait Transport: Send + Sync {
    /// Opens a line within `timeout`; it is ready for [`Connection::emit`] on return. What the backend
    /// sends goes to `inbound`.
    ///
    /// # Errors
    /// `PermissionDenied` where the backend refuses this agent; `Io` for everything else.
    fn connect(&self, inbound: Inbound, timeout: Duration) -> Result<Box<dyn Connection>>;
}

/// An open line. Dropping it closes it.
pub trait Connection: Send {
    /// Sends an event; on return it was handed to the system. With `question`, a number that grows
    /// from call to call, the backend is asked to acknowledge it; backends need not.
    ///
    /// # Errors
    /// When the line is known to be down, or takes nothing for `timeout`.
    fn emit(
        &mut self,
        event: &str,
        payload: Value,
        question: Option<u64>,
        timeout: Duration,
    ) -> Result<()>;

    /// The highest question that was acknowledged, 0 before the first: everything sent before it has
    /// arrived.
    fn acknowledged(&self) -> u64;

    /// Whether the line is known to be down.
    fn is_down(&self) -> bool;
}

/// Where a transport puts what comes in. Decoding happens here, on the transport's side, so that only
/// bounded values are ever queued.
#[derive(Clone)]
pub struct Inbound {
    events: mpsc::Sender<Decoded>,
    down: Arc<AtomicBool>,
    large: Arc<AtomicBool>,
    notify: Arc<dyn Fn() + Send + Sync>,
}

impl Inbound {
    /// An inbound side that puts requests into `events` and calls `notify` when the line goes down.
    pub fn new(events: mpsc::Sender<Decoded>, notify: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self {
            events,
            down: Arc::new(AtomicBool::new(false)),
            large: Arc::new(AtomicBool::new(false)),
            notify,
        }
    }

    /// Takes an event. Waits while the queue is full, which slows the sender down.
    pub async fn event(&self, name: &str, arguments: Vec<Value>) {
        if arguments.iter().map(weight).sum::<usize>() > MAX_REQUEST {
            self.large.store(true, Ordering::SeqCst);
        }
        // An agent that has gone takes nothing more.
        let _ = self.events.send(decode(name, arguments)).await;
    }

    /// Something about the line changed that is worth a look.
    pub fn wake(&self) {
        (self.notify)();
    }

    /// Whether something came, since this was last asked, that took far more memory than requests do.
    pub fn take_large(&self) -> bool {
        self.large.swap(false, Ordering::SeqCst)
    }

    /// The line is down.
    pub fn set_down(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether it is.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::SeqCst)
    }
}
