//! Whose work it is: of the command that runs, or of processes that an earlier one left behind.

use std::collections::HashMap;

use crate::snapshot::intercept::protocol::Begin;
use crate::sys;

/// How far up a process's ancestors are looked at.
const GENERATIONS: usize = 64;

/// Whether a process is one of the session's shells.
pub(super) type IsShell<'a> = &'a dyn Fn(u32) -> bool;

/// Whose process something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// The command's that runs, or the shell's own.
    Current,
    /// An earlier command's: its snapshot, where that is known.
    Earlier(Option<String>),
}

/// Whose the threads are that were met, of one command at a time.
#[derive(Debug, Default)]
pub(super) struct Owners {
    known: HashMap<u32, Owner>,
    /// The processes that were there when the command began, each with when it was started: its number
    /// alone may be another's by now.
    inherited: HashMap<u32, u64>,
}

impl Owners {
    /// Another command begins: what there is of `processes` is none of its own.
    pub(super) fn begin(&mut self, processes: &[u32]) {
        self.known.clear();
        let started = |process: &u32| Some((*process, sys::process_started(*process)?));
        self.inherited = processes.iter().filter_map(started).collect();
    }

    /// The command is over.
    pub(super) fn end(&mut self) {
        self.known.clear();
    }

    /// Whose `thread` is while the command of `begin` runs (`over`: has run).
    pub(super) fn of(
        &mut self,
        thread: u32,
        is_shell: IsShell<'_>,
        begin: &Begin,
        over: bool,
    ) -> Owner {
        if begin.earlier.is_empty() && !over {
            return Owner::Current;
        }
        if let Some(known) = self.known.get(&thread) {
            return known.clone();
        }
        let owner = self.look_up(thread, is_shell, begin, over);
        self.known.insert(thread, owner.clone());
        owner
    }

    fn look_up(&self, thread: u32, is_shell: IsShell<'_>, begin: &Begin, over: bool) -> Owner {
        let Some(origin) = self.origin(thread, is_shell) else {
            return Owner::Current;
        };
        // A command's beginning is known to a hundredth of a second only.
        if origin.began >= begin.began && !origin.inherited {
            return if over {
                Owner::Earlier(Some(begin.snapshot.clone()))
            } else {
                Owner::Current
            };
        }
        let mut before = begin.earlier.iter().rev();
        let found = before.find(|one| one.began <= origin.began);
        let found = found.or(begin.earlier.first());
        Owner::Earlier(found.map(|one| one.snapshot.clone()))
    }

    /// Where the work comes from that a thread does: its oldest ancestor beneath the shell. `None`: it is
    /// a shell's own, or the thread is gone.
    fn origin(&self, thread: u32, is_shell: IsShell<'_>) -> Option<Origin> {
        if is_shell(thread) {
            return None;
        }
        let mut process = sys::process_family(thread)?;
        if is_shell(process.process) {
            return None;
        }
        let filters = process.filters;
        let mut origin = Origin {
            began: u64::MAX,
            inherited: false,
        };
        for _ in 0..GENERATIONS {
            let Some(began) = sys::process_started(process.process) else {
                break;
            };
            origin.began = origin.began.min(began);
            origin.inherited |= self.inherited.get(&process.process) == Some(&began);
            if is_shell(process.parent) {
                break;
            }
            // What adopts orphans is not under the filter.
            match sys::process_family(process.parent) {
                Some(parent) if parent.filters >= filters => process = parent,
                _ => break,
            }
        }
        (origin.began != u64::MAX).then_some(origin)
    }
}

/// Where work comes from.
struct Origin {
    /// When it began, in ticks since boot.
    began: u64,
    /// Its process was there when the command began.
    inherited: bool,
}
