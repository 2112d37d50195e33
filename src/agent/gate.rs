//! Keeps rollbacks and commands apart where they touch the same entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;

const GLANCE: Duration = Duration::from_millis(100);

/// A path that a command is expected to touch, and how deep.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Area {
    /// The path.
    pub(super) path: AbsPath,
    /// How deep.
    pub(super) depth: Depth,
}

impl Area {
    /// Whether an entry that a rollback is about to restore is in it, or holds it.
    fn touches(&self, entry: &AbsPath) -> bool {
        if self.path.starts_with(entry) {
            return true;
        }
        match self.depth {
            Depth::Entry => false,
            Depth::Children => entry.parent().is_some_and(|parent| parent == self.path),
            Depth::Tree => entry.starts_with(&self.path),
        }
    }
}

impl From<&ScopePath> for Area {
    fn from(path: &ScopePath) -> Self {
        Self {
            path: path.path.clone(),
            depth: path.depth,
        }
    }
}

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
    areas: Vec<Area>,
}

struct Rollback {
    entries: Arc<[AbsPath]>,
    active: bool,
}

impl Rollback {
    fn meets(&self, areas: &[Area]) -> bool {
        self.entries
            .iter()
            .any(|entry| areas.iter().any(|area| area.touches(entry)))
    }
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
            areas: Vec::new(),
        };
        state.commands.insert(number, command);
        Pass {
            gate: Arc::clone(self),
            number,
        }
    }

    /// Waits until no rollback works on `entries`' neighbours, that is until none of the commands that
    /// have a pass touches them; gives the pass of a rollback.
    ///
    /// # Errors
    /// `Busy` after `patience`, naming the command; `Cancelled` when `wanted` does not hold any more.
    pub(super) fn rollback(
        self: &Arc<Self>,
        entries: Vec<AbsPath>,
        patience: Duration,
        wanted: &dyn Fn() -> bool,
        on_wait: &mut dyn FnMut(&str),
    ) -> Result<Pass> {
        let deadline = Instant::now() + patience;
        let entries: Arc<[AbsPath]> = entries.into();
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.rollbacks.insert(
            number,
            Rollback {
                entries: Arc::clone(&entries),
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
            let this = Rollback {
                entries: Arc::clone(&entries),
                active: false,
            };
            let Some(other) = state.commands.values().find(|c| this.meets(&c.areas)) else {
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
                .any(|rollback| (rollback.active || fresh) && rollback.meets(areas));
            if !blocked {
                break;
            }
            if !wanted() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    Stage::Agent,
                    "cancelled while a rollback worked on the same entries",
                ));
            }
            state = self.gate.wait(state);
        }
        if let Some(own) = state.commands.get_mut(&self.number) {
            for area in areas {
                if !own.areas.contains(area) {
                    own.areas.push(area.clone());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let patience = Duration::from_millis(millis);
        gate.rollback(vec![path(entry)], patience, &|| true, &mut |_| {})
    }

    #[test]
    fn depth_decides_what_overlaps() {
        for (area, entry, touches) in [
            (area("/srv", Depth::Entry), "/srv/app/x", false),
            (area("/srv/app", Depth::Tree), "/srv/app/x/y", true),
            (area("/srv/app", Depth::Children), "/srv/app/x", true),
            (area("/srv/app", Depth::Children), "/srv/app/x/y", false),
            (area("/srv/app/x/y", Depth::Entry), "/srv/app", true),
            (area("/srv/app", Depth::Tree), "/srv/apple", false),
        ] {
            assert_eq!(area.touches(&path(entry)), touches, "{area:?} {entry}");
        }
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
