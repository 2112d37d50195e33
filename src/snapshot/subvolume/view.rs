//! A subvolume as its snapshot shows it, and which part of a scope lies in which subvolume.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use crate::entry::{EntryKind, Timestamp};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::sys::durable::is_no_directory;
use crate::sys::{Dir, Stat, btrfs};

/// One subvolume as it was.
pub(super) struct View<'a> {
    /// The root of the live subvolume.
    pub(super) root: &'a AbsPath,
    /// The root of the snapshot.
    pub(super) snapshot: &'a Dir,
    /// The live subvolume's device: the snapshot has another one.
    pub(super) device: u64,
    /// No later than the snapshot.
    pub(super) taken: Timestamp,
    /// The inodes that changed since; `None`: that is not known.
    pub(super) changed: Option<&'a HashSet<u64>>,
}

impl View<'_> {
    /// What was at `path`; nothing beneath what was no directory.
    pub(super) fn stat(&self, path: &AbsPath) -> io::Result<Option<Stat>> {
        let found = match (path == self.root, path.parent(), path.name()) {
            (false, Some(parent), Some(name)) => self
                .open(&parent)?
                .map(|dir| dir.stat_opt(name))
                .transpose()?
                .flatten(),
            _ => Some(self.snapshot.stat_self()?),
        };
        Ok(found.map(|stat| self.as_live(stat)))
    }

    /// The directory that was at `path`; `None` where there was none.
    pub(super) fn open(&self, path: &AbsPath) -> io::Result<Option<Dir>> {
        let Ok(relative) = path.as_path().strip_prefix(self.root) else {
            return Ok(None);
        };
        match self.snapshot.open_beneath(relative) {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if e.kind() == io::ErrorKind::NotFound || is_no_directory(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// A stat in the snapshot with the device of the live entry.
    pub(super) fn as_live(&self, mut stat: Stat) -> Stat {
        stat.identity.device = self.device;
        stat
    }
}

/// Whether a directory of a snapshot stands for a subvolume that was there.
pub(super) fn stands_for_subvolume(stat: &Stat) -> bool {
    stat.kind == EntryKind::Directory && stat.identity.inode == btrfs::EMPTY_SUBVOLUME_INODE
}

/// The paths of a scope, each with how deep and in which subvolume.
#[derive(Debug, Default)]
pub(super) struct Roots {
    roots: BTreeMap<AbsPath, (Depth, usize)>,
    /// What lies beneath a root and is not observed, because it is mounted or a subvolume of its
    /// own.
    pub(super) hidden: HashSet<AbsPath>,
}

/// How a path is covered by a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Covered<'a> {
    /// The path of the scope.
    pub(super) root: &'a AbsPath,
    /// How much of what is at the path.
    pub(super) depth: Depth,
    /// In which subvolume.
    pub(super) volume: usize,
}

impl Roots {
    pub(super) fn new(
        scope: impl IntoIterator<Item = (AbsPath, Depth, usize)>,
        hidden: HashSet<AbsPath>,
    ) -> Self {
        let roots = scope
            .into_iter()
            .map(|(path, depth, volume)| (path, (depth, volume)))
            .collect();
        Self { roots, hidden }
    }

    /// What the scope has of `path`.
    pub(super) fn covering(&self, path: &AbsPath) -> Option<Covered<'_>> {
        let above = path.as_path().ancestors().enumerate();
        for (levels, at) in above {
            if let Some((root, (depth, volume))) = self.roots.get_key_value(at) {
                let depth = match (depth, levels) {
                    (_, 0) => Some(*depth),
                    (Depth::Tree, _) => Some(Depth::Tree),
                    (Depth::Children, 1) => Some(Depth::Entry),
                    _ => None,
                };
                if let Some(depth) = depth {
                    let volume = *volume;
                    return Some(Covered {
                        root,
                        depth,
                        volume,
                    });
                }
            }
            if self.hidden.contains(at) {
                return None;
            }
        }
        None
    }

    /// Every root, in tree order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&AbsPath, Depth, usize)> {
        self.roots
            .iter()
            .map(|(path, (depth, volume))| (path, *depth, *volume))
    }
}

/// The paths of the directories of one subvolume by their inodes.
pub(super) struct Paths<'a> {
    dir: &'a Dir,
    known: HashMap<u64, Option<AbsPath>>,
}

impl<'a> Paths<'a> {
    /// Those of the subvolume, or snapshot, with the root `dir`, as if that were at `root`.
    pub(super) fn new(dir: &'a Dir, root: &AbsPath) -> Self {
        Self {
            dir,
            known: HashMap::from([(btrfs::ROOT_INODE, Some(root.clone()))]),
        }
    }

    /// The path of the directory `inode`; `None` where it has none.
    pub(super) fn directory(&mut self, inode: u64) -> io::Result<Option<AbsPath>> {
        let mut below = Vec::new();
        let mut at = inode;
        let mut path = loop {
            if let Some(known) = self.known.get(&at) {
                break known.clone();
            }
            let Some(name) = btrfs::names_of(self.dir, at)?.pop() else {
                break None;
            };
            below.push((at, name.name));
            at = name.directory;
        };
        while let Some((inode, name)) = below.pop() {
            path = path.and_then(|path| path.join(&name).ok());
            self.known.insert(inode, path.clone());
        }
        Ok(path)
    }

    /// The path of a name.
    pub(super) fn name(&mut self, name: &btrfs::InodeName) -> io::Result<Option<AbsPath>> {
        let directory = self.directory(name.directory)?;
        Ok(directory.and_then(|directory| directory.join(&name.name).ok()))
    }
}

/// A path of a scope that only has to say where and how deep.
pub(super) fn scope_path(path: AbsPath, depth: Depth) -> ScopePath {
    ScopePath {
        path,
        depth,
        reason: String::new(),
        certainty: crate::infer::Certainty::Possible,
        rule: String::new(),
    }
}

/// Whether a scope that has `root` to this depth has `path` because of that.
pub(super) fn is_beneath(path: &AbsPath, root: &AbsPath, depth: Depth) -> bool {
    match depth {
        Depth::Entry => false,
        Depth::Children => path.as_path().parent() == Some(root.as_path()),
        Depth::Tree => path != root && path.starts_with(root),
    }
}
