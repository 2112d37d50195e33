//! Whose work it is: of the command that runs, or of processes that an earlier one left behind.

use std::collections::HashMap;

use crate::snapshot::intercept::protocol::Begin;
use crate::sys;

/// How far up a process's ancestors are looked at.
const GENERATIONS: usize = 64;

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
}

impl Owners {
    /// Forgets everything: another command begins.
    pub(super) fn clear(&mut self) {
        self.known.clear();
    }

    /// Whose `thread` is while the command of `begin` runs (`over`: has run).
    pub(super) fn of(&mut self, thread: u32, shells: &[u64], begin: &Begin, over: bool) -> Owner {
        if let Some(known) = self.known.get(&thread) {
            return known.clone();
        }
        let owner = owner(thread, shells, begin, over);
        self.known.insert(thread, owner.clone());
        owner
    }
}

fn owner(thread: u32, shells: &[u64], begin: &Begin, over: bool) -> Owner {
    if shells.contains(&u64::from(thread)) {
        return Owner::Current;
    }
    if begin.earlier.is_empty() && !over {
        return Owner::Current;
    }
    let Some(began) = began(thread, shells) else {
        return Owner::Current;
    };
    if began >= begin.began {
        return match over {
            true => Owner::Earlier(Some(begin.snapshot.clone())),
            false => Owner::Current,
        };
    }
    let before = begin.earlier.iter().rev();
    let found = before.clone().find(|one| one.began <= began);
    Owner::Earlier(found.or(before.last()).map(|one| one.snapshot.clone()))
}

/// When the work began that a thread does, in ticks since boot: the beginning of its oldest ancestor
/// beneath the shell. `None`: it is a shell's own, or it is gone.
fn began(thread: u32, shells: &[u64]) -> Option<u64> {
    let mut process = sys::process_family(thread)?;
    if shells.contains(&u64::from(process.process)) {
        return None;
    }
    let filters = process.filters;
    let mut began = sys::process_started(process.process)?;
    for _ in 0..GENERATIONS {
        if shells.contains(&u64::from(process.parent)) {
            break;
        }
        // What adopts orphans is not under the filter.
        let Some(parent) = sys::process_family(process.parent).filter(|p| p.filters >= filters)
        else {
            break;
        };
        let Some(earlier) = sys::process_started(parent.process) else {
            break;
        };
        began = began.min(earlier);
        process = parent;
    }
    Some(began)
}
