//! What new entries were when they were finished, so that nobody has to look at them again.

use super::apply::Work;
use crate::entry::{Identity, flags};
use crate::sys::Stat;

/// Which version of which inode a new entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) identity: Identity,
    pub(crate) allocated: u64,
}

impl Version {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            allocated: stat.allocated,
        }
    }
}

/// The versions of new entries, by their position in the plan.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<Option<Version>>);

impl Made {
    /// Nothing yet of so many entries.
    pub(super) fn of(entries: usize) -> Self {
        Self(vec![None; entries])
    }

    /// Notes what an entry was when it was finished, unless the rollback itself changes that later:
    /// a rename moves the change time of what is renamed, a link or a flag that of its inode.
    pub(super) fn note(&mut self, work: &Work<'_>, index: usize, made: Option<&Stat>) {
        let desired = work.plan.entries[index].desired.as_deref();
        let is_locked = desired.is_some_and(|desired| desired.flags & flags::LOCKING != 0);
        let is_final = !is_locked && !work.layout.is_top(index) && !work.linked_to.contains(&index);
        self.0[index] = made.filter(|_| is_final).map(Version::of);
    }

    /// What the entry was when it was finished, and therefore is, unless somebody else changed it.
    pub(crate) fn version(&self, index: usize) -> Option<Version> {
        self.0.get(index).copied().flatten()
    }
}
