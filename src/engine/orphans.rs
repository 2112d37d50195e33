//! Processes that a program which was killed has left behind.
//!
//! Their supervisor ends them, politely at first. What they change until then still belongs to their
//! command, so its snapshot is sealed after that.

use std::time::{Duration, Instant};

use crate::store::Supervisor;
use crate::sys;

/// How long a supervisor may take besides the time that it gives its processes.
const MARGIN: Duration = Duration::from_secs(3);
/// Between two looks.
const GLANCE: Duration = Duration::from_millis(20);
/// A process that is killed lets go of its locks shortly before its children notice.
const NOTICE: Duration = Duration::from_millis(100);

/// The supervisor of a command that is about to run, as its snapshot notes it.
pub(super) fn supervisor(process: Option<u32>) -> Option<Supervisor> {
    let process = process?;
    Some(Supervisor {
        process,
        started: sys::process_started(process)?,
        parent: std::process::id(),
    })
}

/// Waits for the ends of supervisors, all together for a bounded time.
pub(super) struct Patience {
    most: Duration,
    deadline: Option<Instant>,
}

impl Patience {
    /// `grace`: the time between the polite signal and the other one.
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            most: grace + MARGIN,
            deadline: None,
        }
    }

    /// Whether everything that ran under a supervisor is gone; waits for that. Where the program that
    /// ran the command is alive, nothing is left behind.
    pub(super) fn is_over(&mut self, supervisor: Option<&Supervisor>) -> bool {
        let Some(supervisor) = supervisor else {
            return true;
        };
        if supervisor.parent == std::process::id() {
            return true;
        }
        let looked = Instant::now();
        loop {
            let process = supervisor.process;
            if sys::process_started(process) != Some(supervisor.started) {
                return true;
            }
            let is_orphan = sys::process_parent(process) != Some(supervisor.parent);
            if !is_orphan && looked.elapsed() > NOTICE {
                return true;
            }
            let now = Instant::now();
            if now >= *self.deadline.get_or_insert(now + self.most) {
                return false;
            }
            std::thread::sleep(GLANCE);
        }
    }
}
