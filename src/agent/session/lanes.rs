//! Lanes: work in one lane is done one after another, lanes run side by side.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::agent::shared::Shared;
use crate::error::{Error, Result, Stage};

/// Something to do, on a thread where waiting is allowed.
pub(super) type Job = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// All lanes. A lane has a thread while it has work.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    state: Mutex<State>,
    unserved: Arc<Unserved>,
    start: Start,
}

/// Starts a thread.
type Start = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

fn start(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    let builder = thread::Builder::new().name("session".into());
    builder.spawn(work).map(drop)
}

#[derive(Default)]
struct State {
    lanes: HashMap<String, VecDeque<(Job, usize)>>,
    waiting: usize,
    bytes: usize,
}

/// Lanes for which the system had no thread left.
#[derive(Default)]
struct Unserved {
    /// Their names, and whether no more will come.
    state: Mutex<(VecDeque<String>, bool)>,
    changed: Condvar,
}

impl Unserved {
    fn lock(&self) -> MutexGuard<'_, (VecDeque<String>, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lane: &str) {
        self.lock().0.push_back(lane.to_owned());
        self.changed.notify_all();
    }

    /// Waits for the next; `None` once no more will come.
    fn next(&self) -> Option<String> {
        let mut state = self.lock();
        loop {
            let next = state.0.pop_front();
            if next.is_some() || state.1 {
                return next;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().1 = true;
        self.changed.notify_all();
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.unserved.close();
    }
}

impl Lanes {
    /// No lanes, and the one thread that serves those which have none of their own.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Arc<Self>> {
        let lanes = Arc::new(Self {
            shared,
            state: Mutex::default(),
            unserved: Arc::default(),
            start,
        });
        lanes
            .stand_in()
            .map_err(|e| Error::io(Stage::Agent, "cannot start a thread", e))?;
        Ok(lanes)
    }

    fn stand_in(self: &Arc<Self>) -> io::Result<()> {
        // What waits keeps nothing of the agent open.
        let (lanes, unserved) = (Arc::downgrade(self), Arc::clone(&self.unserved));
        start(Box::new(move || {
            while let Some(lane) = unserved.next() {
                if let Some(lanes) = lanes.upgrade() {
                    lanes.serve(&lane);
                }
            }
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether work with a request of so many bytes can be taken; the reason where not.
    pub(super) fn has_room(&self, bytes: usize) -> std::result::Result<(), String> {
        let config = self.shared.config();
        let state = self.lock();
        if state.waiting >= config.max_waiting || state.bytes + bytes > config.max_waiting_bytes {
            return Err(format!(
                "{} requests wait already; try again later",
                state.waiting
            ));
        }
        Ok(())
    }

    /// Adds work to the end of a lane.
    pub(super) fn submit(self: &Arc<Self>, lane: &str, bytes: usize, job: Job) {
        let mut state = self.lock();
        state.waiting += 1;
        state.bytes += bytes;
        self.shared.metrics.waiting.set(state.waiting as u64);
        if let Some(queue) = state.lanes.get_mut(lane) {
            queue.push_back((job, bytes));
            return;
        }
        state
            .lanes
            .insert(lane.to_owned(), VecDeque::from([(job, bytes)]));
        drop(state);
        let (lanes, name) = (Arc::clone(self), lane.to_owned());
        if let Err(error) = (self.start)(Box::new(move || lanes.serve(&name))) {
            // Whoever takes requests must not wait for them.
            tracing::error!(%error, "cannot start a thread for a session; it shares one");
            self.unserved.push(lane);
        }
    }

    /// Adds work to one of several lanes: one that has none, or the shortest.
    pub(super) fn submit_to_any(self: &Arc<Self>, (name, count): (&str, usize), job: Job) {
        let state = self.lock();
        let length = |lane: &String| state.lanes.get(lane).map_or(0, |queue| queue.len() + 1);
        let lanes = (0..count).map(|number| format!("{name} {number}"));
        let lane = lanes.min_by_key(length).unwrap_or_default();
        drop(state);
        self.submit(&lane, 0, job);
    }

    /// Works until the lane is empty.
    fn serve(&self, lane: &str) {
        loop {
            let mut state = self.lock();
            let next = state.lanes.get_mut(lane).and_then(VecDeque::pop_front);
            let Some((job, bytes)) = next else {
                state.lanes.remove(lane);
                return;
            };
            state.waiting -= 1;
            state.bytes -= bytes;
            self.shared.metrics.waiting.set(state.waiting as u64);
            drop(state);
            if catch_unwind(AssertUnwindSafe(|| job(&self.shared))).is_err() {
                tracing::error!("a request ended in a defect of this program");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::session::tests::shared;
    use std::sync::mpsc::channel;

    #[test]
    fn lanes_without_threads_are_served_and_nobody_waits_for_them() {
        let (_dir, shared) = shared();
        let lanes = Arc::new(Lanes {
            shared,
            state: Mutex::default(),
            unserved: Arc::default(),
            start: |_| Err(io::ErrorKind::WouldBlock.into()),
        });
        lanes.stand_in().unwrap();
        let (go, wait) = channel::<()>();
        let (done, told) = channel();
        let also_done = done.clone();
        let first = move |_: &Arc<Shared>| {
            wait.recv().unwrap();
            done.send("first").unwrap();
        };
        lanes.submit("a", 0, Box::new(first));
        lanes.submit("b", 0, Box::new(move |_| also_done.send("second").unwrap()));
        // Had this thread done the work, it would not come here.
        go.send(()).unwrap();
        assert_eq!([told.recv(), told.recv()], [Ok("first"), Ok("second")]);
    }
}
