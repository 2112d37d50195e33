//! The thread that empties a kernel's event queue, and the lock that a barrier shares with it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use super::BarrierError;
use crate::sys::Wake;
use std::os::fd::AsFd as _;

/// How long events gather before they are read: a file that is written again and again, or a name
/// that is created, filled and closed, then costs one reading. A queue of 16,384 events does not
/// fill in this time.
const GATHER: Duration = Duration::from_millis(1);

/// A queue of events and what they change.
pub(super) trait Queue: Send + 'static {
    /// Takes in and tells every event that is queued now. An error is final.
    fn drain(&mut self) -> io::Result<()>;

    /// Tells that nothing can be told any more, and why.
    fn fail(&mut self, error: &io::Error);
}

/// A queue with the thread that empties it.
pub(super) struct Pump<Q> {
    queue: Arc<Mutex<Q>>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

impl<Q: Queue> Pump<Q> {
    /// Starts to empty `queue` whenever `readable` has something.
    pub(super) fn start(queue: Q, readable: OwnedFd) -> io::Result<Self> {
        let queue = Arc::new(Mutex::new(queue));
        let wake = Arc::new(Wake::new()?);
        let (shared, call) = (Arc::clone(&queue), Arc::clone(&wake));
        let thread = std::thread::Builder::new()
            .name("deployx events".to_owned())
            .spawn(move || empty(&shared, &call, &readable))?;
        Ok(Pump {
            queue,
            wake,
            thread: Some(thread),
        })
    }

    /// The queue, while its thread waits; `Err` when that thread or a sink panicked.
    pub(super) fn lock(&self) -> Result<MutexGuard<'_, Q>, BarrierError> {
        self.queue.lock().map_err(|_| BarrierError::Stopped)
    }
}

fn empty<Q: Queue>(queue: &Mutex<Q>, wake: &Wake, readable: &OwnedFd) {
    loop {
        let outcome = match wake.wait(readable.as_fd()) {
            Ok(false) => return,
            Ok(true) => {
                std::thread::sleep(GATHER);
                let Ok(mut queue) = queue.lock() else { return };
                queue.drain()
            }
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            if let Ok(mut queue) = queue.lock() {
                queue.fail(&error);
            }
            return;
        }
    }
}

impl<Q> Drop for Pump<Q> {
    fn drop(&mut self) {
        self.wake.call();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
