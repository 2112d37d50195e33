//! Lanes: work in one lane is done one after another, lanes run side by side.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::agent::shared::Shared;

/// Something to do, on a thread where waiting is allowed.
pub(super) type Job = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// All lanes. A lane has a thread while it has work.
pub(super) struct Lanes {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lanes: HashMap<String, VecDeque<(Job, usize)>>,
    waiting: usize,
    bytes: usize,
}

impl Lanes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much waits.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Whether work with a request of so many bytes can be taken; the reason where not.
    pub(super) fn has_room(&self, bytes: usize) -> Result<(), String> {
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
        if let Some(queue) = state.lanes.get_mut(lane) {
            queue.push_back((job, bytes));
            return;
        }
        state
            .lanes
            .insert(lane.to_owned(), VecDeque::from([(job, bytes)]));
        drop(state);
        let (lanes, name) = (Arc::clone(self), lane.to_owned());
        let started = std::thread::Builder::new()
            .name("session".into())
            .spawn(move || lanes.serve(&name));
        if let Err(error) = started {
            // The system has no threads left: the dispatcher does the work, and nothing is lost.
            tracing::error!(%error, "cannot start a thread for a session");
            self.serve(lane);
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
            drop(state);
            if catch_unwind(AssertUnwindSafe(|| job(&self.shared))).is_err() {
                tracing::error!("a request ended in a defect of this program");
            }
        }
    }
}
