//! What the records of a command say so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::hasher::QuickMap;
use super::record::{Inode, Kept, Moving, Record, Stored};
use super::territory::Territory;
use crate::entry::EntryState;
use crate::path::AbsPath;

/// What was at a path when the command began.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Was {
    /// `None`: nothing.
    pub(super) state: Option<Box<EntryState>>,
    /// Where the file is kept as it is: its state lacks attributes and flags, which it still has there.
    pub(super) whole: Option<Stored>,
}

/// The state before a command as far as it was touched, and where things went.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// What was at each path that was touched.
    pub(super) was: QuickMap<Arc<AbsPath>, Was>,
    /// The inodes that existed before and were touched, each with the path where it was first met.
    old: QuickMap<Inode, Arc<AbsPath>>,
    /// Where old content is, but for files that are kept whole.
    kept: QuickMap<Inode, Kept>,
    /// Where content is kept.
    pub(super) places: Vec<AbsPath>,
    pub(super) territory: Territory,
    /// Renames of which it is not known yet whether they worked.
    pub(super) moving: Vec<Moving>,
    pub(super) notes: BTreeSet<String>,
    /// Where changes may have been missed, and why.
    pub(super) missed: BTreeMap<AbsPath, String>,
    /// What cannot be taken back: what it is on, and what was seen.
    pub(super) effects: BTreeSet<(String, String)>,
    /// What changed and is not kept.
    pub(super) outside: BTreeSet<AbsPath>,
    /// What processes of earlier commands changed, and the command's snapshot.
    pub(super) late: BTreeMap<AbsPath, Option<String>>,
    /// A program wanted a listener of its own.
    pub(super) own_listener: bool,
    next_serial: u64,
    next_number: u64,
}

impl Model {
    /// What `records` say.
    pub(super) fn of(records: impl IntoIterator<Item = Record>) -> Self {
        let mut model = Self::default();
        records.into_iter().for_each(|record| model.apply(record));
        model
    }

    /// Takes one more into account.
    pub(super) fn apply(&mut self, record: Record) {
        match record {
            Record::Was { path, state } => self.was(Arc::new(path), state),
            Record::Went {
                path,
                state,
                stored,
            } => {
                let path = Arc::new(path);
                let inode = (state.identity.device, state.identity.inode);
                self.next_number = self.next_number.max(stored.number + 1);
                self.old.entry(inode).or_insert_with(|| Arc::clone(&path));
                let was = Was {
                    state: Some(state),
                    whole: Some(stored),
                };
                self.was.insert(path, was);
            }
            Record::Kept { inode, kept } => self.keep(inode, kept),
            Record::Place { directory } => self.places.push(directory),
            Record::Fresh { path } => self.territory.make(path),
            Record::Moving(moving) => {
                self.next_serial = moving.serial + 1;
                self.moving.push(moving);
            }
            Record::Settled { serial, moved } => self.settle(serial, moved),
            Record::Alias { inode, now } => {
                if let Some(kept) = self.kept(inode) {
                    self.kept.entry(now).or_insert(kept);
                }
                if let Some(path) = self.old.get(&inode).cloned() {
                    self.old.insert(now, path);
                }
            }
            Record::Missed { path, reason } => {
                self.missed.entry(path).or_insert(reason);
            }
            Record::Note { text } => {
                self.notes.insert(text);
            }
            Record::Effect { what, reason } => {
                self.effects.insert((what, reason));
            }
            Record::Outside { path } => {
                self.outside.insert(path);
            }
            Record::Late { path, command } => {
                self.late.entry(path).or_insert(command);
            }
            Record::OwnListener => self.own_listener = true,
        }
    }

    /// The state before of a file that was met by another name already: by then it may have been
    /// changed through that.
    pub(super) fn known(&self, inode: Inode) -> Option<&EntryState> {
        let state = self.was.get(self.old.get(&inode)?)?.state.as_deref()?;
        (!state.is_dir()).then_some(state)
    }

    /// Whether this inode existed before and was touched.
    pub(super) fn is_old(&self, inode: Inode) -> bool {
        self.old.contains_key(&inode)
    }

    /// The path where a file was first met that existed before.
    pub(super) fn first_path(&self, inode: Inode) -> Option<&Arc<AbsPath>> {
        self.old.get(&inode)
    }

    /// Where the content is that a file had.
    pub(super) fn kept(&self, inode: Inode) -> Option<Kept> {
        let kept = self.kept.get(&inode).cloned();
        kept.or_else(|| {
            let was = self.was.get(self.old.get(&inode)?)?;
            was.whole.map(Kept::Link)
        })
    }

    /// Takes out what was at each path. Where files are kept whole is as well known as before.
    pub(super) fn take_was(&mut self) -> Vec<(AbsPath, Was)> {
        let was = std::mem::take(&mut self.was);
        for was in was.values() {
            if let (Some(state), Some(stored)) = (&was.state, was.whole) {
                let inode = (state.identity.device, state.identity.inode);
                self.kept.entry(inode).or_insert(Kept::Link(stored));
            }
        }
        let mut was: Vec<_> = was
            .into_iter()
            .map(|(path, was)| (Arc::unwrap_or_clone(path), was))
            .collect();
        was.par_sort_unstable_by(|one, other| one.0.cmp(&other.0));
        was
    }

    /// A number that no rename has.
    pub(super) fn serial(&self) -> u64 {
        self.next_serial
    }

    /// A number that no stored file has.
    pub(super) fn number(&self) -> u64 {
        self.next_number
    }

    fn was(&mut self, path: Arc<AbsPath>, state: Option<Box<EntryState>>) {
        if let Some(state) = &state {
            let inode = (state.identity.device, state.identity.inode);
            self.old.entry(inode).or_insert_with(|| Arc::clone(&path));
        }
        let was = Was { state, whole: None };
        let before = self.was.insert(path, was);
        // Its attributes are known now, and it is still where it was kept.
        if let Some(Was {
            state: Some(state),
            whole: Some(stored),
        }) = before
        {
            let inode = (state.identity.device, state.identity.inode);
            self.kept.entry(inode).or_insert(Kept::Link(stored));
        }
    }

    fn keep(&mut self, inode: Inode, kept: Kept) {
        if let Kept::Link(stored) | Kept::Copy(stored) = &kept {
            self.next_number = self.next_number.max(stored.number + 1);
        }
        self.kept.insert(inode, kept);
    }

    fn settle(&mut self, serial: u64, moved: bool) {
        let Some(at) = self.moving.iter().position(|one| one.serial == serial) else {
            return;
        };
        let moving = self.moving.remove(at);
        if !moved {
            return;
        }
        let Moving { from, to, .. } = &moving;
        if let Some((_, other_is_directory)) = moving.exchanged {
            let kinds = (moving.is_directory, other_is_directory);
            self.territory.exchange(from, to, kinds);
        } else {
            self.territory.rename(from, to);
        }
    }
}
