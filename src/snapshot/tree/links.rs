//! Files with several names of which a scope holds only some.
//!
//! To restore such a file as the one inode it was, its other names must be known. Where the scope
//! lacks some, they are looked for in the command's working directory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::sync::Mutex;

use super::walk::{Descend, Visit, Visitor, lock};
use crate::entry::{EntryKind, Identity};
use crate::path::AbsPath;
use crate::sys::{Dir, Stat};

/// A file's device and inode.
type Inode = (u64, u64);

/// Counts the names that a walk meets of each file that has several.
#[derive(Default)]
pub(in crate::snapshot) struct Groups(Mutex<HashMap<Inode, Group>>);

#[derive(Debug, Default)]
struct Group {
    /// How many names there are.
    names: u64,
    /// Those that were met.
    met: Vec<LinkedName>,
}

/// One name of a file that has several, as it was when it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::snapshot) struct LinkedName {
    pub(in crate::snapshot) path: AbsPath,
    pub(in crate::snapshot) identity: Identity,
}

impl Groups {
    /// Takes note of one name.
    pub(in crate::snapshot) fn meet(&self, stat: &Stat, path: impl FnOnce() -> Option<AbsPath>) {
        if stat.kind == EntryKind::Directory || stat.identity.links < 2 {
            return;
        }
        let Some(path) = path() else { return };
        let mut groups = lock(&self.0);
        let group = groups.entry(inode(stat)).or_default();
        group.names = stat.identity.links;
        group.met.push(LinkedName {
            path,
            identity: stat.identity,
        });
    }

    /// Adds the names that another walk met.
    pub(in crate::snapshot) fn add(&self, other: Self) {
        let other = other.0.into_inner().unwrap_or_default();
        let mut groups = lock(&self.0);
        for (inode, group) in other {
            let known = groups.entry(inode).or_default();
            known.names = group.names;
            known.met.extend(group.met);
        }
    }

    /// The files of which some names were not met, each with one that was.
    pub(in crate::snapshot) fn incomplete(&self) -> HashMap<Inode, AbsPath> {
        self.incomplete_beside(&[])
    }

    /// The same, where further names are known that this walk had no need to come to.
    pub(in crate::snapshot) fn incomplete_beside(
        &self,
        others: &[&LinkedName],
    ) -> HashMap<Inode, AbsPath> {
        let mut known: HashMap<Inode, u64> = HashMap::new();
        for name in others {
            *known
                .entry((name.identity.device, name.identity.inode))
                .or_default() += 1;
        }
        lock(&self.0)
            .iter()
            .filter(|(inode, group)| {
                let elsewhere = known.get(inode).copied().unwrap_or(0);
                (group.met.len() as u64) + elsewhere < group.names
            })
            .filter_map(|(inode, group)| Some((*inode, group.met.first()?.path.clone())))
            .collect()
    }

    /// Every name that was met.
    pub(in crate::snapshot) fn names(&self) -> Vec<LinkedName> {
        let groups = lock(&self.0);
        groups
            .values()
            .flat_map(|g| g.met.iter().cloned())
            .collect()
    }
}

/// Finds further names of files.
pub(in crate::snapshot) struct Seeker<'a> {
    wanted: &'a HashMap<Inode, AbsPath>,
    names: Mutex<Vec<AbsPath>>,
}

impl<'a> Seeker<'a> {
    pub(in crate::snapshot) fn new(wanted: &'a HashMap<Inode, AbsPath>) -> Self {
        Self {
            wanted,
            names: Mutex::default(),
        }
    }

    /// The names, in tree order.
    pub(in crate::snapshot) fn finish(self) -> Vec<AbsPath> {
        let mut names = self.names.into_inner().unwrap_or_default();
        names.sort();
        names
    }
}

impl Visitor for Seeker<'_> {
    fn directory(&self, visit: &Visit<'_>) -> Descend {
        for (name, stat) in visit.entries.unwrap_or_default() {
            if stat.kind != EntryKind::Directory
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
