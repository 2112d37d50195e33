//! Keeps changes of snapshots in the order in which they were asked for, where that matters.
//!
//! Rollbacks, cleanups and pins run side by side, so that one that waits for a command does not hold
//! the others up. Those about the same snapshots, or about entries that meet, are carried out one after
//! another.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::area::Entries;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::store::SnapshotId;

const GLANCE: Duration = Duration::from_millis(100);

/// What a change is about.
#[derive(Debug, Default)]
pub(super) struct Subject {
    pub(super) ids: HashSet<SnapshotId>,
    pub(super) entries: Arc<Entries>,
}

impl Subject {
    fn meets(&self, other: &Self) -> bool {
        !self.ids.is_disjoint(&other.ids) || self.entries.meet(&other.entries)
    }
}

/// All changes that wait or run.
#[derive(Default)]
pub(super) struct Order {
    state: Mutex<State>,
    changed: Condvar,
    /// The store takes one rollback at a time, and only waits for a while.
    rolling: Mutex<()>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// `None` until a change has found out what it is about.
    places: BTreeMap<u64, Option<Arc<Subject>>>,
}

/// A change's place. Given up when dropped.
pub(super) struct Place {
    order: Arc<Order>,
    number: u64,
}

impl Order {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place after all that are taken.
    pub(super) fn place(self: &Arc<Self>) -> Place {
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.places.insert(number, None);
        Place {
            order: Arc::clone(self),
            number,
        }
    }

    /// Waits until no other rollback works on the store.
    pub(super) fn rolling(&self) -> MutexGuard<'_, ()> {
        self.rolling.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Tells this change from all others.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Says what the change is about, and waits until every earlier one with which it meets is over.
    ///
    /// # Errors
    /// `Cancelled` when `wanted` does not hold any more.
    pub(super) fn enter(&self, subject: Subject, wanted: &dyn Fn() -> bool) -> Result<()> {
        let subject = Arc::new(subject);
        let mut state = self.order.lock();
        state.places.insert(self.number, Some(Arc::clone(&subject)));
        self.order.changed.notify_all();
        let mut apart = HashSet::new();
        loop {
            let earlier: Vec<(u64, Option<Arc<Subject>>)> = state
                .places
                .range(..self.number)
                .filter(|(number, _)| !apart.contains(*number))
                .map(|(number, subject)| (*number, subject.clone()))
                .collect();
            drop(state);
            // Lists of entries may be long.
            let unrelated = |other: &Option<Arc<Subject>>| {
                other.as_ref().is_some_and(|other| !other.meets(&subject))
            };
            let waits = earlier.iter().filter(|(_, other)| !unrelated(other));
            let waits: Vec<u64> = waits.map(|(number, _)| *number).collect();
            apart.extend(earlier.iter().map(|(number, _)| *number));
            for number in &waits {
                apart.remove(number);
            }
            if waits.is_empty() {
                return Ok(());
            }
            if !wanted() {
                return Err(Error::new(
                    ErrorKind::Cancelled,
                    Stage::Agent,
                    "the agent is being stopped",
                ));
            }
            state = self.order.lock();
            state = self
                .order
                .changed
                .wait_timeout(state, GLANCE)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.order.lock().places.remove(&self.number);
        self.order.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;
    use std::sync::mpsc::channel;

    fn about(ids: &[&SnapshotId], entries: &[&str]) -> Subject {
        let path = |text: &&str| AbsPath::new(*text).unwrap();
        Subject {
            ids: ids.iter().map(|id| (*id).clone()).collect(),
            entries: Arc::new(Entries::new(entries.iter().map(path).collect())),
        }
    }

    #[test]
    fn what_meets_keeps_its_order_and_the_rest_does_not_wait() {
        let order = Arc::new(Order::default());
        let id = SnapshotId::random();
        let (first, second, third, fourth) =
            (order.place(), order.place(), order.place(), order.place());
        first.enter(about(&[&id], &["/a"]), &|| true).unwrap();
        let refused = |place: &Place, subject| place.enter(subject, &|| false).unwrap_err().kind();
        assert_eq!(refused(&second, about(&[&id], &[])), ErrorKind::Cancelled);
        // It is not known yet with what the third meets.
        assert_eq!(refused(&fourth, about(&[], &["/z"])), ErrorKind::Cancelled);
        third.enter(about(&[], &["/b"]), &|| true).unwrap();
        fourth.enter(about(&[], &["/z"]), &|| true).unwrap();
        let (done, told) = channel();
        let waits = std::thread::spawn(move || {
            second.enter(about(&[], &["/a/x"]), &|| true).unwrap();
            done.send("second").unwrap();
        });
        drop(third);
        assert!(told.try_recv().is_err());
        drop(first);
        waits.join().unwrap();
        assert_eq!(told.recv(), Ok("second"));
    }
}
