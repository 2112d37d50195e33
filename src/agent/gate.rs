//! Keeps rollbacks and commands apart where they touch the same entries.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::area::{Area, Entries};
use crate::error::{Error, ErrorKind, Result, Stage};

const GLANCE: Duration = Duration::from_millis(100);

/// Who is at work where.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    next: u64,
    commands: BTreeMap<u64, Command>,
    rollbacks: BTreeMap<u64, Rollback>,
}

struct Command {
    name: String,
    areas: HashSet<Area>,
}

struct Rollback {
    entries: Arc<Entries>,
    active: bool,
}

/// The right to work. Ends when dropped.
pub(super) struct Pass {
    gate: Arc<Gate>,
    number: u64,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.commands.remove(&self.number);
        state.rollbacks.remove(&self.number);
        self.gate.changed.notify_all();
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, GLANCE)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    /// A pass for the command or batch called `name`; it covers nothing yet.
    pub(super) fn command(self: &Arc<Self>, name: &str) -> Pass {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        let command = Command {
            name: name.to_owned(),
            areas: HashSet::new(),
        };
        state.commands.insert(number, command);
        Pass {
            gate: Arc::clone(self),
            number,
        }
    }

    /// Whether no command is at work.
    pub(super) fn is_quiet(&self) -> bool {
        self.lock().commands.is_empty()
    }

    /// Waits until no rollback works on `entries`' neighbours, that is until none of the commands that
    /// have a pass touches them; gives the pass of a rollback.
    ///
    /// # Errors
    /// `Busy` at `deadline`, naming the command; `Cancelled` when `wanted` does not hold any more.
    pub(super) fn rollback(
        self: &Arc<Self>,
        entries: &Arc<Entries>,
        deadline: Instant,
        wanted: &dyn Fn() -> bool,
        on_wait: &mut dyn FnMut(&str),
    ) -> Result<Pass> {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.rollbacks.insert(
            number,
            Rollback {
                entries: Arc::clone(entries),
                active: false,
            },
        );
        // From here on the entry goes whatever happens.
        let pass = Pass {
            gate: Arc::clone(self),
            number,
        };
        let mut told = false;
        loop {
            let touched = |command: &&Command| command.areas.iter().any(|area| entries.touch(area));
            let Some(other) = state.commands.values().find(touched) else {
                break;
            };
            let name = other.name.clone();
            if Instant::now() >= deadline || !wanted() {
                let (kind, why) = if wanted() {
                    (
                        ErrorKind::Busy,
                        format!(
                            "{name} is still running on the same entries; cancel it, or try again when it is done"
                        ),
                    )
                } else {
                    (
                        ErrorKind::Cancelled,
                        "the agent is being stopped".to_owned(),
                    )
                };
                drop(state);
                return Err(Error::new(kind, Stage::Agent, why));
            }
            if !std::mem::replace(&mut told, true) {
                drop(state);
                on_wait(&name);
                state = self.lock();
                continue;
            }
            state = self.wait(state);
        }
        if let Some(rollback) = state.rollbacks.get_mut(&number) {
            rollback.active = true;
        }
        drop(state);
        Ok(pass)
    }
}

impl Pass {
    /// Adds what the next command is expected to touch. Waits for a rollback that works on that; for
    /// one that only waits as well only where this pass covers nothing yet.
    ///
    /// # Errors
    /// `Cancelled` when `wanted` does not hold any more.
    pub(super) fn cover(&self, areas: &[Area], wanted: &dyn Fn() -> bool) -> Result<()> {
        let mut state = self.gate.lock();
        loop {
            let fresh = state
                .commands
                .get(&self.number)
                .is_none_or(|own| own.areas.is_empty());
            let blocked = state
                .rollbacks
                .values()
                .filter(|rollback| rollback.active || fresh)
                .any(|rollback| areas.iter().any(|area| rollback.entries.touch(area)));
            if !blocked {
                break;
            }
            if !wanted() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    Stage::Agent,
                    "not run: it waited for a rollback that works on the same entries",
                ));
            }
            state = self.gate.wait(state);
        }
        if let Some(own) = state.commands.get_mut(&self.number) {
            own.areas.extend(areas.iter().cloned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Depth;
    use crate::path::AbsPath;
    use std::thread;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn area(text: &str, depth: Depth) -> Area {
        Area {
            path: path(text),
            depth,
        }
    }

    fn rollback(gate: &Arc<Gate>, entry: &str, millis: u64) -> Result<Pass> {
        let deadline = Instant::now() + Duration::from_millis(millis);
        let entries = Arc::new(Entries::new(vec![path(entry)]));
        gate.rollback(&entries, deadline, &|| true, &mut |_| {})
    }

    #[test]
    fn a_rollback_is_refused_while_a_command_is_at_the_same_place() {
        let gate = Arc::new(Gate::default());
        let command = gate.command("command c1");
        command
            .cover(&[area("/srv/app", Depth::Tree)], &|| true)
            .unwrap();
        let error = rollback(&gate, "/srv/app/x", 50).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert!(error.to_string().contains("command c1"), "{error}");
        assert!(rollback(&gate, "/srv/other", 50).is_ok());
        drop(command);
        assert!(rollback(&gate, "/srv/app/x", 50).is_ok());
    }

    #[test]
    fn a_rollback_waits_for_the_command_and_new_ones_wait_for_it() {
        let gate = Arc::new(Gate::default());
        let first = gate.command("first");
        first.cover(&[area("/a", Depth::Tree)], &|| true).unwrap();
        let waiting = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                rollback(&gate, "/a/x", 5_000).map(|pass| {
                    thread::sleep(Duration::from_millis(200));
                    drop(pass);
                    Instant::now()
                })
            })
        };
        thread::sleep(Duration::from_millis(100));
        // A batch that is under way goes on; a new command does not get in between.
        first.cover(&[area("/a/y", Depth::Tree)], &|| true).unwrap();
        let second = gate.command("second");
        let error = second
            .cover(&[area("/a", Depth::Tree)], &|| false)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        drop(first);
        second.cover(&[area("/a", Depth::Tree)], &|| true).unwrap();
        let entered = Instant::now();
        assert!(waiting.join().unwrap().unwrap() <= entered + Duration::from_millis(50));
    }
}
