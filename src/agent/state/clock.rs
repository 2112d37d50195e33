//! The clock that ages of ids are measured with.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Time in which an agent runs, without any jumps of the host's clock: a jump must not make ids
/// forgotten, whose commands would be carried out again. It goes on from what was stored last, so the
/// time between two agents does not count.
pub(super) struct Clock {
    base: f64,
    begun: Instant,
    /// Added by tests, in milliseconds.
    ahead: AtomicU64,
}

impl Clock {
    /// A clock that shows `base` now.
    pub(super) fn starting_at(base: f64) -> Self {
        Self {
            base,
            begun: Instant::now(),
            ahead: AtomicU64::new(0),
        }
    }

    /// Seconds that only grow.
    pub(super) fn now(&self) -> f64 {
        let ahead = Duration::from_millis(self.ahead.load(Ordering::Relaxed));
        self.base + (self.begun.elapsed() + ahead).as_secs_f64()
    }

    #[cfg(test)]
    pub(super) fn advance(&self, by: Duration) {
        let by = by.as_millis().try_into().unwrap_or(u64::MAX);
        self.ahead.fetch_add(by, Ordering::Relaxed);
    }
}
