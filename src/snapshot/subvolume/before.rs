//! The state before a command, read out of the snapshots.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;

use super::rules::Rulebook;
use super::view::{Covered, Roots, View, stands_for_subvolume};
use crate::entry::{ContentHash, EntryKind, EntryState, Timestamp};
use crate::infer::Depth;
use crate::path::AbsPath;
use crate::snapshot::tree::Before;
use crate::snapshot::tree::record::{Child, Content, Record, Row};
use crate::sys::{Dir, Stat, read_open_state, read_state};

/// Later than every change.
const NEVER_RACY: Timestamp = Timestamp {
    seconds: i64::MAX,
    nanoseconds: 0,
};

/// What the scope held before.
///
/// Files and symbolic links come with what a `stat` tells and nothing more: most of those in a
/// directory did not change. As such a record is never equal to a whole state, whoever compares gets
/// them as different and has to [`complete`](super::place) them.
pub(super) struct Old<'a> {
    pub(super) views: &'a [View<'a>],
    pub(super) roots: &'a Roots,
    pub(super) rules: &'a Rulebook<'a>,
    /// Files that are looked at one by one, as if each were a path of the scope.
    pub(super) single: &'a HashSet<AbsPath>,
}

impl Old<'_> {
    /// The record of an entry in a snapshot that is no directory.
    fn entry(view: &View<'_>, dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<Record> {
        let stat = view.as_live(*stat);
        let (state, content) = match stat.kind {
            EntryKind::File => (EntryState::from_stat(&stat), Content::Elsewhere),
            EntryKind::Symlink => (EntryState::from_stat(&stat), Content::None),
            _ => (read_state(dir, name, &stat)?, Content::None),
        };
        Ok(Record::new(state, content, Self::proven(view, &stat)))
    }

    /// When the change time of an entry proves something: at once where it is known that the inode
    /// did not change.
    fn proven(view: &View<'_>, stat: &Stat) -> Timestamp {
        match view.changed {
            Some(changed) if !changed.contains(&stat.identity.inode) => NEVER_RACY,
            _ => view.taken,
        }
    }

    fn directory(view: &View<'_>, dir: &Dir) -> io::Result<Record> {
        let stat = view.as_live(dir.stat_self()?);
        let state = read_open_state(dir, &stat)?;
        Ok(Record::new(state, Content::None, Self::proven(view, &stat)))
    }

    fn children(
        &self,
        path: &AbsPath,
        dir: &Dir,
        covered: Covered<'_>,
    ) -> io::Result<Vec<(Vec<u8>, Child)>> {
        let view = &self.views[covered.volume];
        let mut children = Vec::new();
        let Some(within) = self.rules.within(path, covered) else {
            return Ok(children);
        };
        for name in dir.names()? {
            let (Some(stat), Ok(at)) = (dir.stat_opt(&name)?, path.join(&name)) else {
                continue;
            };
            let is_dir = stat.kind == EntryKind::Directory;
            if self.rules.excludes_in(&within, &at, is_dir) {
                continue;
            }
            let child = if is_dir {
                Child::Directory
            } else {
                Child::Entry(Self::entry(view, dir, &name, &stat)?)
            };
            children.push((name.into_encoded_bytes(), child));
        }
        Ok(children)
    }

    /// What is known of a path that the scope covers: its stat, unless it was left alone or was
    /// not looked into.
    fn look(&self, path: &AbsPath) -> io::Result<Option<(Covered<'_>, Option<Stat>)>> {
        let Some(covered) = self.roots.covering(path) else {
            return Ok(None);
        };
        let stat = self.views[covered.volume].stat(path)?;
        let is_dir = stat.is_some_and(|stat| stat.kind == EntryKind::Directory);
        if stat.as_ref().is_some_and(stands_for_subvolume)
            || self.rules.excludes(path, covered, is_dir)
        {
            return Ok(None);
        }
        Ok(Some((covered, stat)))
    }
}

impl Before for Old<'_> {
    fn row(&self, path: &AbsPath) -> io::Result<Option<Row>> {
        let Some((covered, stat)) = self.look(path)? else {
            return Ok(None);
        };
        let is_root = path == covered.root || self.single.contains(path);
        let view = &self.views[covered.volume];
        match stat.map(|stat| stat.kind) {
            Some(EntryKind::Directory) => {
                let Some(dir) = view.open(path)? else {
                    return Ok(None);
                };
                let children = match covered.depth {
                    Depth::Entry => None,
                    Depth::Children | Depth::Tree => Some(self.children(path, &dir, covered)?),
                };
                let own = Some(Self::directory(view, &dir)?);
                Ok(Some(Row { own, children }))
            }
            // What is no directory stands in the row of its directory, unless it is a path of the
            // scope itself.
            _ if !is_root => Ok(None),
            None => Ok(Some(Row::default())),
            Some(_) => {
                let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
                    return Ok(None);
                };
                let Some(dir) = view.open(&parent)? else {
                    return Ok(None);
                };
                let stat = dir.stat(name)?;
                let own = Some(Self::entry(view, &dir, name, &stat)?);
                let children = None;
                Ok(Some(Row { own, children }))
            }
        }
    }

    fn contains(&self, path: &AbsPath) -> io::Result<bool> {
        let looked = self.look(path)?;
        Ok(looked.is_some_and(|(covered, stat)| {
            path == covered.root || stat.is_some_and(|stat| stat.kind == EntryKind::Directory)
        }))
    }

    fn hash(&self, _: &AbsPath, _: &Record) -> io::Result<Option<ContentHash>> {
        // What may differ is completed afterwards, many at a time.
        Ok(None)
    }
}
