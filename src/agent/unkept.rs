//! Results that the disk did not take. They stay in memory until it does.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::state::Kind;
use super::wire::{Reply, json_length};

/// Bytes of results that wait. Commands whose ids cannot be recorded are not run, so these are results
/// of what ran when the disk became full.
const MOST: usize = 64 << 20;
/// Between two attempts.
const PACE: Duration = Duration::from_secs(1);

/// What a result belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Origin {
    /// Nothing that is recorded.
    Nothing,
    /// A command's or a batch's id.
    Id(Kind, String),
    /// The record of a request that changes snapshots.
    Change(i64),
}

/// The events of one result, which are kept together.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unkept {
    pub(super) origin: Origin,
    pub(super) replies: Vec<Reply>,
}

impl Unkept {
    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let of = |reply: &Reply| json_length(&reply.payload);
        self.replies.iter().map(of).sum()
    }
}

/// What waits for the disk.
#[derive(Default)]
pub(super) struct Waiting(Mutex<State>);

#[derive(Default)]
struct State {
    results: VecDeque<Unkept>,
    bytes: usize,
    tried: Option<Instant>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a result; `false` where too much waits already.
    pub(super) fn push(&self, result: Unkept) -> bool {
        let bytes = result.bytes();
        let mut state = self.lock();
        if state.bytes + bytes > MOST {
            return false;
        }
        state.bytes += bytes;
        state.results.push_back(result);
        true
    }

    /// Gives results to `keep`, in their order, until it fails. Does nothing where the last attempt
    /// was a moment ago.
    pub(super) fn retry(&self, mut keep: impl FnMut(&Unkept) -> bool) {
        let mut state = self.lock();
        if state.results.is_empty() || state.tried.is_some_and(|last| last.elapsed() < PACE) {
            return;
        }
        state.tried = Some(Instant::now());
        while let Some(next) = state.results.pop_front() {
            if !keep(&next) {
                state.results.push_front(next);
                return;
            }
            state.bytes -= next.bytes();
        }
        state.tried = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().results.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(id: &str, bytes: usize) -> Unkept {
        Unkept {
            origin: Origin::Id(Kind::Command, id.into()),
            replies: vec![Reply::new("x", json!("y".repeat(bytes)))],
        }
    }

    #[test]
    fn results_are_kept_in_their_order_once_the_disk_takes_them() {
        let waiting = Waiting::default();
        let mut kept = Vec::new();
        assert!(waiting.push(result("a", 1)) && waiting.push(result("b", 1)));
        waiting.retry(|_| false);
        waiting.0.lock().unwrap().tried = None;
        waiting.retry(|one| {
            kept.push(one.clone());
            true
        });
        assert_eq!(kept, [result("a", 1), result("b", 1)]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let waiting = Waiting::default();
        assert!(waiting.push(result("a", MOST - 10)));
        assert!(!waiting.push(result("b", 100)));
        waiting.retry(|_| true);
        assert!(waiting.push(result("b", 100)));
    }
}
