//! What waits to be sent.
//!
//! Live output is only worth sending while the line is up; whoever produces it is slowed down while
//! the queue is full. Results are on disk already and stand here by their number, so that they keep
//! their place after the output that belongs to them.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::wire::Reply;

/// Bytes of live output that wait at most, besides one piece for each that produces some.
const MAX_LIVE: usize = 1 << 20;
/// Bytes of answers that wait at most, likewise.
const MAX_ANSWERS: usize = 4 << 20;
/// How often someone who waits for room looks whether it still makes sense.
const GLANCE: Duration = Duration::from_millis(100);

/// The next thing to send.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    /// An event.
    Event(Reply),
    /// The result with this number, which is on disk.
    Stored(i64),
}

/// The queue between everything that has something to say and the one thread that sends.
#[derive(Default)]
pub(super) struct Outgoing {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    answers: VecDeque<(Reply, usize)>,
    answers_bytes: usize,
    live: VecDeque<(Item, usize)>,
    live_bytes: usize,
    up: bool,
    closed: bool,
    registered: Option<bool>,
    /// Somebody waits for the answer to the registration.
    registering: bool,
    woken: bool,
    reopen: bool,
    dropped: u64,
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// Adds live output. Waits for room while the line is up and `wanted` holds; gives whether it was
    /// taken.
    pub(super) fn live(&self, reply: Reply, wanted: &dyn Fn() -> bool) -> bool {
        let bytes = size(&reply);
        let mut state = self.lock();
        while state.up && !state.closed && state.live_bytes >= MAX_LIVE && wanted() {
            state = self.wait(state, GLANCE);
        }
        if !state.up || state.live_bytes >= MAX_LIVE {
            state.dropped += 1;
            return false;
        }
        state.live_bytes += bytes;
        state.live.push_back((Item::Event(reply), bytes));
        self.changed.notify_all();
        true
    }

    /// Adds the number of a result that is on disk. While the line is down it need not stand here.
    pub(super) fn stored(&self, number: i64) {
        let mut state = self.lock();
        if state.up {
            state.live.push_back((Item::Stored(number), 0));
            self.changed.notify_all();
        }
    }

    /// Adds an answer, which goes before live output. Waits for room while the line is up.
    pub(super) fn answer(&self, reply: Reply) {
        let bytes = size(&reply);
        let mut state = self.lock();
        while state.up && !state.closed && state.answers_bytes >= MAX_ANSWERS {
            state = self.wait(state, GLANCE);
        }
        if state.up && state.answers_bytes < MAX_ANSWERS {
            state.answers_bytes += bytes;
            state.answers.push_back((reply, bytes));
        } else {
            state.dropped += 1;
        }
        self.changed.notify_all();
    }

    /// The next thing to send; `None` at `deadline`, or earlier when there is something to look at.
    pub(super) fn next(&self, deadline: Instant) -> Option<Item> {
        let mut state = self.lock();
        loop {
            if let Some((reply, bytes)) = state.answers.pop_front() {
                state.answers_bytes -= bytes;
                self.changed.notify_all();
                return Some(Item::Event(reply));
            }
            if let Some((item, bytes)) = state.live.pop_front() {
                state.live_bytes -= bytes;
                self.changed.notify_all();
                return Some(item);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            if state.closed || std::mem::take(&mut state.woken) {
                return None;
            }
            state = self.wait(state, left);
        }
    }

    /// The line came up or went down. Going down forgets what was only worth sending at once.
    pub(super) fn set_up(&self, up: bool) {
        let mut state = self.lock();
        state.up = up;
        state.registered = None;
        if !up {
            state.answers.clear();
            state.live.clear();
            state.answers_bytes = 0;
            state.live_bytes = 0;
        }
        self.changed.notify_all();
    }

    /// Makes [`next`](Self::next) return.
    pub(super) fn wake(&self) {
        self.lock().woken = true;
        self.changed.notify_all();
    }

    /// The backend has answered the registration. A refusal that nobody waits for any more ends the line.
    pub(super) fn set_registered(&self, success: bool) {
        let mut state = self.lock();
        state.registered = Some(success);
        if !success && !state.registering {
            state.reopen = true;
            state.woken = true;
        }
        self.changed.notify_all();
    }

    /// Waits for that answer; `None` where none came in time.
    pub(super) fn registration(&self, patience: Duration) -> Option<bool> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.registering = true;
        while state.registered.is_none() && !state.closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                break;
            };
            state = self.wait(state, left);
        }
        state.registering = false;
        state.registered
    }

    /// Asks for a new line in the place of the current one.
    pub(super) fn reopen(&self) {
        let mut state = self.lock();
        state.reopen = true;
        state.woken = true;
        self.changed.notify_all();
    }

    /// Whether a new line was asked for since this was last looked at.
    pub(super) fn take_reopen(&self) -> bool {
        std::mem::take(&mut self.lock().reopen)
    }

    /// Nothing is sent any more; whoever waits goes on.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.up = false;
        self.changed.notify_all();
    }

    /// Whether [`close`](Self::close) was called.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Waits out `time`, or until [`close`](Self::close) or [`reopen`](Self::reopen).
    pub(super) fn pause(&self, time: Duration) {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        while !state.closed && !state.reopen {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return;
            };
            state = self.wait(state, left);
        }
        state.reopen = false;
    }

    /// Whether the line is up.
    pub(super) fn is_up(&self) -> bool {
        self.lock().up
    }

    /// Things that wait, and events that were dropped because the line was down or full.
    pub(super) fn depth(&self) -> (usize, u64) {
        let state = self.lock();
        (state.answers.len() + state.live.len(), state.dropped)
    }
}

/// About how many bytes an event takes in memory.
fn size(reply: &Reply) -> usize {
    fn of(value: &serde_json::Value) -> usize {
        use serde_json::Value;
        match value {
            Value::String(text) => text.len() + 32,
            Value::Array(values) => values.iter().map(of).sum::<usize>() + 32,
            Value::Object(fields) => {
                fields
                    .iter()
                    .map(|(k, v)| k.len() + of(v) + 64)
                    .sum::<usize>()
                    + 32
            }
            _ => 32,
        }
    }
    of(&reply.payload)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::Arc;

    fn piece(text: &str) -> Reply {
        Reply::new("deployment_command_output", json!({ "output": text }))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn answers_go_before_output_and_results_keep_their_place() {
        let queue = Outgoing::default();
        queue.set_up(true);
        assert!(queue.live(piece("1"), &|| true));
        queue.stored(7);
        assert!(queue.live(piece("2"), &|| true));
        queue.answer(piece("answer"));
        assert_eq!(queue.next(soon()), Some(Item::Event(piece("answer"))));
        assert_eq!(queue.next(soon()), Some(Item::Event(piece("1"))));
        assert_eq!(queue.next(soon()), Some(Item::Stored(7)));
        assert_eq!(queue.next(soon()), Some(Item::Event(piece("2"))));
        assert_eq!(queue.next(soon()), None);
    }

    /// Sends fifty pieces of live output; gives how many were taken.
    fn producer(queue: &Arc<Outgoing>, text: &str) -> std::thread::JoinHandle<usize> {
        let (queue, text) = (Arc::clone(queue), text.to_owned());
        let live = move |_: &i32| queue.live(piece(&text), &|| true);
        std::thread::spawn(move || (0..50).filter(live).count())
    }

    #[test]
    fn a_line_that_stalls_slows_the_command_and_never_grows_memory() {
        let queue = Arc::new(Outgoing::default());
        queue.set_up(true);
        let big = "x".repeat(200_000);
        let producer = producer(&queue, &big);
        std::thread::sleep(Duration::from_millis(300));
        assert!(queue.depth().0 <= 7, "{} wait", queue.depth().0);
        let mut got = 0;
        while got < 50 {
            assert!(
                queue
                    .next(Instant::now() + Duration::from_secs(5))
                    .is_some()
            );
            got += 1;
        }
        assert_eq!(producer.join().unwrap(), 50);
    }

    #[test]
    fn a_line_that_goes_down_lets_the_command_go_on() {
        let queue = Arc::new(Outgoing::default());
        queue.set_up(true);
        let big = "x".repeat(600_000);
        let producer = producer(&queue, &big);
        std::thread::sleep(Duration::from_millis(100));
        queue.set_up(false);
        assert!(producer.join().unwrap() <= 3);
        assert_eq!(queue.next(soon()), None);
        assert!(queue.depth().1 > 40);
    }

    #[test]
    fn a_pause_is_not_cut_short_by_news_of_the_old_line() {
        let queue = Outgoing::default();
        queue.wake();
        let begun = Instant::now();
        queue.pause(Duration::from_millis(100));
        assert!(begun.elapsed() >= Duration::from_millis(100));
        queue.reopen();
        queue.pause(Duration::from_secs(60));
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn output_of_a_cancelled_command_does_not_wait() {
        let queue = Outgoing::default();
        queue.set_up(true);
        let big = "x".repeat(1 << 20);
        assert!(queue.live(piece(&big), &|| true));
        assert!(!queue.live(piece(&big), &|| false));
    }
}
