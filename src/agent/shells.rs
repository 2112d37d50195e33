//! The shells of sessions: one for each name, from its first command until it ends.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::engine::LiveShell;
use crate::execute::{OutputSink, OutputStream};
use crate::path::AbsPath;
use crate::request::ShellName;

/// Sessions that are remembered as lost. Beyond that the oldest are forgotten.
const MAX_LOST: usize = 1024;

/// All sessions that are open.
#[derive(Default)]
pub(super) struct Shells {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: HashMap<String, Arc<Slot>>,
    /// Sessions that were taken from those and whose shells have not ended yet.
    ending: usize,
    /// Sessions that ended while nobody asked them for anything, and why: the backend may not know.
    lost: VecDeque<(String, String)>,
    closed: bool,
}

/// One session.
pub(super) struct Slot {
    pub(super) name: String,
    use_: Mutex<Use>,
    /// Held by whoever works with the shell.
    shell: Mutex<Option<SessionShell>>,
}

struct Use {
    /// Commands that run or wait.
    pending: usize,
    last: Instant,
    /// How many shells have ended, and how the last of them did.
    ended: u64,
    reason: String,
}

/// A shell with what it was started with.
pub(super) struct SessionShell {
    /// Names this one shell; the next of the same session has another.
    pub(super) id: String,
    pub(super) live: LiveShell,
    pub(super) kind: ShellName,
    pub(super) env: Option<BTreeMap<String, String>>,
    pub(super) output: Arc<Switch>,
    /// A result has said that it has ended.
    pub(super) told: bool,
}

/// A command's place in a session. Gives it back when dropped.
pub(super) struct Ticket {
    shells: Arc<Shells>,
    slot: Arc<Slot>,
    ended: u64,
}

/// Why a command has no place in a session.
pub(super) enum NoEntry {
    /// Too many are open.
    Full(String),
    /// The session was lost, and this is the first command to hear of it.
    Lost(String),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shells {
    /// A place in the session called `name`, which is opened where it is not, unless there are `most`.
    ///
    /// The first command after a session was lost is refused: it may rely on a directory and on
    /// variables that are gone.
    pub(super) fn enter(self: &Arc<Self>, name: &str, most: usize) -> Result<Ticket, NoEntry> {
        let mut state = lock(&self.state);
        if let Some(at) = state.lost.iter().position(|(lost, _)| lost == name) {
            let (_, reason) = state.lost.remove(at).unwrap_or_default();
            return Err(NoEntry::Lost(format!(
                "not run: the session's shell has ended ({reason}), and what was set in it is gone; \
                 the next command begins a new one"
            )));
        }
        let open = state.open.len() + state.ending;
        if !state.open.contains_key(name) && open >= most {
            return Err(NoEntry::Full(format!(
                "{open} sessions are open already, {} of which are ending; end one with close_session",
                state.ending
            )));
        }
        let slot = state.open.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Slot {
                name: name.to_owned(),
                use_: Mutex::new(Use {
                    pending: 0,
                    last: Instant::now(),
                    ended: 0,
                    reason: String::new(),
                }),
                shell: Mutex::default(),
            })
        });
        let slot = Arc::clone(slot);
        let mut own = lock(&slot.use_);
        own.pending += 1;
        let ended = own.ended;
        drop(own);
        drop(state);
        Ok(Ticket {
            shells: Arc::clone(self),
            slot,
            ended,
        })
    }

    /// Takes a session from those that are open; whoever has a place in it keeps that.
    pub(super) fn take(&self, name: &str) -> Option<Arc<Slot>> {
        let mut state = lock(&self.state);
        state.lost.retain(|(lost, _)| lost != name);
        let slot = state.open.remove(name)?;
        state.ending += 1;
        Some(slot)
    }

    /// A session that was taken has ended.
    pub(super) fn ended(&self) {
        let mut state = lock(&self.state);
        state.ending = state.ending.saturating_sub(1);
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        let state = lock(&self.state);
        state.open.len() + state.ending
    }

    /// Waits for the next session that nobody has used for as long as `idle` says, and takes it from
    /// those that are open. `None` when no more will come.
    pub(super) fn next_idle(&self, idle: &dyn Fn() -> Duration) -> Option<(Arc<Slot>, String)> {
        let mut state = lock(&self.state);
        while !state.closed {
            let limit = idle();
            let unused = |slot: &Slot| {
                let own = lock(&slot.use_);
                (own.pending == 0).then(|| own.last.elapsed())
            };
            let oldest = state
                .open
                .values()
                .filter_map(|slot| Some((unused(slot)?, Arc::clone(slot))))
                .max_by_key(|(unused, _)| *unused);
            let wait = match oldest {
                Some((unused, slot)) if unused >= limit => {
                    let reason = format!("it was not used for {} s", limit.as_secs_f64());
                    state.open.remove(&slot.name);
                    state.ending += 1;
                    let untold = |own: &SessionShell| !own.told;
                    if lock(&slot.shell).as_ref().is_some_and(untold) {
                        state.lose(&slot.name, &reason);
                    }
                    return Some((slot, reason));
                }
                // A look every minute lets other settings come into force.
                Some((unused, _)) => limit.saturating_sub(unused).min(Duration::from_secs(60)),
                None => Duration::from_secs(60),
            };
            state = self
                .changed
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        None
    }

    /// Takes all that are open.
    pub(super) fn take_all(&self) -> Vec<Arc<Slot>> {
        let mut state = lock(&self.state);
        state.ending += state.open.len();
        state.open.drain().map(|(_, slot)| slot).collect()
    }

    /// Ends [`Shells::next_idle`].
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

impl State {
    fn lose(&mut self, name: &str, reason: &str) {
        if self.lost.len() >= MAX_LOST {
            self.lost.pop_front();
        }
        self.lost.push_back((name.to_owned(), reason.to_owned()));
    }
}

impl Slot {
    /// The shell, for as long as it is worked with.
    pub(super) fn shell(&self) -> MutexGuard<'_, Option<SessionShell>> {
        lock(&self.shell)
    }

    /// Commands that wait now are not run: they were sent for the shell that has ended.
    pub(super) fn set_ended(&self, reason: &str) {
        let mut own = lock(&self.use_);
        own.ended += 1;
        reason.clone_into(&mut own.reason);
    }

    /// Ends the shell where there is one; gives its id and where it was.
    pub(super) fn end(&self) -> Option<(String, AbsPath)> {
        let shell = self.shell().take()?;
        let cwd = shell.live.cwd();
        if let Err(error) = shell.live.close() {
            tracing::debug!(%error, "a session's shell did not end as asked");
        }
        Some((shell.id, cwd))
    }
}

impl Ticket {
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Whether the session still is what it was when the command came; how its shell ended where not.
    pub(super) fn check(&self) -> Result<(), String> {
        let own = lock(&self.slot.use_);
        if own.ended == self.ended {
            return Ok(());
        }
        Err(own.reason.clone())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = lock(&self.shells.state);
        let mut own = lock(&self.slot.use_);
        own.pending -= 1;
        own.last = Instant::now();
        // Commands that were all refused leave no session behind.
        if own.pending == 0 && lock(&self.slot.shell).is_none() {
            state.open.retain(|_, slot| !Arc::ptr_eq(slot, &self.slot));
        }
        drop(own);
        drop(state);
        self.shells.changed.notify_all();
    }
}

/// Leads a shell's output to the command that runs.
#[derive(Default)]
pub(super) struct Switch(Mutex<Option<Arc<dyn OutputSink>>>);

impl Switch {
    /// Output goes there from now on; nowhere with `None`.
    pub(super) fn set(&self, sink: Option<Arc<dyn OutputSink>>) {
        *lock(&self.0) = sink;
    }
}

impl OutputSink for Switch {
    fn write(&self, stream: OutputStream, piece: &[u8]) {
        let sink = lock(&self.0).clone();
        if let Some(sink) = sink {
            sink.write(stream, piece);
        }
    }
}
