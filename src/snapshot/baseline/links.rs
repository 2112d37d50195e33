//! Files with several names of which a scope holds only some.
//!
//! To restore such a file as the one inode it was, its other names must be known. Where the scope
//! lacks some, they are looked for in the command's working directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Mutex;

use super::walk::{Descend, Visit, Visitor, lock};
use crate::entry::EntryKind;
use crate::path::AbsPath;
use crate::sys::{Dir, Stat};

/// A file's device and inode.
type Inode = (u64, u64);

/// Counts the names that a walk meets of each file that has several.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<Inode, Group>>);

struct Group {
    /// How many names there are.
    names: u64,
    /// How many of them were met.
    met: u64,
    /// One of these.
    example: AbsPath,
}

impl Groups {
    /// Takes note of one name.
    pub(super) fn meet(&self, stat: &Stat, path: impl FnOnce() -> Option<AbsPath>) {
        if stat.kind != EntryKind::File || stat.identity.links < 2 {
            return;
        }
        let mut groups = lock(&self.0);
        if let Some(group) = groups.get_mut(&inode(stat)) {
            group.met += 1;
        } else if let Some(example) = path() {
            let group = Group {
                names: stat.identity.links,
                met: 1,
                example,
            };
            groups.insert(inode(stat), group);
        }
    }

    /// Adds the names that another walk met.
    pub(super) fn add(&self, other: Self) {
        let other = other.0.into_inner().unwrap_or_default();
        let mut groups = lock(&self.0);
        for (inode, group) in other {
            match groups.get_mut(&inode) {
                Some(known) => known.met += group.met,
                None => {
                    groups.insert(inode, group);
                }
            }
        }
    }

    /// The files of which some names were not met, each with one that was.
    pub(super) fn incomplete(&self) -> HashMap<Inode, AbsPath> {
        lock(&self.0)
            .iter()
            .filter(|(_, group)| group.met < group.names)
            .map(|(inode, group)| (*inode, group.example.clone()))
            .collect()
    }
}

/// Finds further names of files.
pub(super) struct Seeker<'a> {
    wanted: &'a HashMap<Inode, AbsPath>,
    names: Mutex<Vec<AbsPath>>,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(wanted: &'a HashMap<Inode, AbsPath>) -> Self {
        Self {
            wanted,
            names: Mutex::default(),
        }
    }

    /// The names, in tree order.
    pub(super) fn finish(self) -> Vec<AbsPath> {
        let mut names = self.names.into_inner().unwrap_or_default();
        names.sort();
        names
    }
}

impl Visitor for Seeker<'_> {
    fn directory(&self, visit: &Visit<'_>) -> Descend {
        for (name, stat) in visit.entries.unwrap_or_default() {
            if stat.kind == EntryKind::File
                && self.wanted.contains_key(&inode(stat))
                && let Ok(path) = visit.path.join(name)
            {
                lock(&self.names).push(path);
            }
        }
        Descend::All
    }

    fn root(&self, _: &AbsPath, _: Option<&Dir>, _: &OsStr, _: Option<&Stat>) {}
}

fn inode(stat: &Stat) -> Inode {
    (stat.identity.device, stat.identity.inode)
}
