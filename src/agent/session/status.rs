//! Telling the backend how far a rollback is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::agent::shared::Shared;
use crate::agent::wire::Reply;
use crate::progress::Event;

/// Between two reports of progress.
const PACE: Duration = Duration::from_millis(500);

/// Where reports of one rollback go.
pub(super) struct Status<'a> {
    pub(super) shared: &'a Shared,
    pub(super) event: &'static str,
    pub(super) key: &'static str,
    pub(super) id: &'a str,
}

impl Status<'_> {
    /// Tells it where there is room: a rollback never waits for the line.
    pub(super) fn send(&self, message: &str, counts: Option<(u64, u64)>) {
        let mut payload = json!({ "status": "in_progress", "message": message });
        payload[self.key] = self.id.into();
        if let Some((done, total)) = counts {
            payload["done"] = done.into();
            payload["total"] = total.into();
        }
        let reply = Reply {
            event: self.event,
            payload,
        };
        self.shared.outgoing.live(reply, &|| false);
    }
}

/// Adds up steps and reports them at a bearable pace.
pub(super) struct Steps<'a> {
    status: &'a Status<'a>,
    done: AtomicU64,
    total: AtomicU64,
    last: Mutex<Instant>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(status: &'a Status<'a>) -> Self {
        Self {
            status,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::Begin { total, .. } => {
                self.done.store(0, Ordering::Relaxed);
                self.total
                    .store(total.unwrap_or_default(), Ordering::Relaxed);
            }
            Event::Advance { by } => {
                let done = self.done.fetch_add(*by, Ordering::Relaxed) + by;
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= PACE {
                    *last = Instant::now();
                    let total = self.total.load(Ordering::Relaxed).max(done);
                    self.status.send("Rolling back...", Some((done, total)));
                }
            }
            _ => {}
        }
    }
}
