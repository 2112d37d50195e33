//! The parts of a tree that may have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::ops::Bound;
use std::path::Path;

use crate::path::AbsPath;

/// Of a directory with more names that may have changed, everything is looked at.
const MOST_NAMES: usize = 256;

/// How much of a directory is looked at, besides itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::snapshot) enum Look {
    /// The entries with these names.
    Names(BTreeSet<OsString>),
    /// Every entry in it.
    Entries,
    /// Everything beneath.
    Whole,
}

/// Directories that have to be looked at, because something in them may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Focus {
    /// Nothing is listed beneath one that is looked at whole.
    directories: BTreeMap<AbsPath, Look>,
    /// How many of them are looked at whole.
    whole: usize,
    /// How many names are listed.
    names: usize,
}

impl Look {
    /// Whether the entry `name` is looked at.
    pub(in crate::snapshot) fn includes(&self, name: &std::ffi::OsStr) -> bool {
        match self {
            Look::Names(names) => names.contains(name),
            Look::Entries | Look::Whole => true,
        }
    }

    fn names(&self) -> usize {
        match self {
            Look::Names(names) => names.len(),
            Look::Entries | Look::Whole => 0,
        }
    }
}

impl Focus {
    /// The entry at `path` may have changed: it is looked at with the directory that holds it, and
    /// everything in it where it is a directory.
    pub(in crate::snapshot) fn mark(&mut self, path: AbsPath) {
        if self.is_within_whole(&path) {
            return;
        }
        self.add_name(&path);
        self.add(path, Look::Entries);
    }

    /// The directory at `path` itself, or which names are in it, may have changed.
    pub(in crate::snapshot) fn mark_directory(&mut self, path: AbsPath) {
        if !self.is_within_whole(&path) {
            self.add(path, Look::Entries);
        }
    }

    /// Everything at and beneath `path` may have changed.
    pub(in crate::snapshot) fn mark_whole(&mut self, path: AbsPath) {
        if self.is_within_whole(&path) {
            return;
        }
        self.add_name(&path);
        self.take_beneath(&path);
        self.add(path, Look::Whole);
    }

    /// Adds what another one lists.
    pub(in crate::snapshot) fn merge(&mut self, other: Focus) {
        for (path, look) in other.directories {
            if look == Look::Whole {
                self.mark_whole(path);
            } else if !self.is_within_whole(&path) {
                self.add(path, look);
            }
        }
    }

    /// The same with every entry of the directories of which only some are looked at.
    pub(in crate::snapshot) fn widened(&self) -> Focus {
        let mut wide = self.clone();
        for look in wide.directories.values_mut() {
            if matches!(look, Look::Names(_)) {
                *look = Look::Entries;
            }
        }
        wide.names = 0;
        wide
    }

    /// Takes out what lies at or beneath `root`.
    pub(in crate::snapshot) fn take_beneath(&mut self, root: &AbsPath) -> Focus {
        let paths: Vec<AbsPath> = self.range(root).map(|(path, _)| path.clone()).collect();
        let mut taken = Focus::default();
        for path in paths {
            if let Some(look) = self.directories.remove(&path) {
                self.whole -= usize::from(look == Look::Whole);
                self.names -= look.names();
                taken.add(path, look);
            }
        }
        taken
    }

    /// What lies at or beneath `root`. Where that lies within a directory that is looked at whole,
    /// so is all of it.
    pub(in crate::snapshot) fn beneath(&self, root: &AbsPath) -> Focus {
        let mut part = Focus::default();
        if self.is_within_whole(root) {
            part.add(root.clone(), Look::Whole);
            return part;
        }
        for (path, look) in self.range(root) {
            part.add(path.clone(), look.clone());
        }
        part
    }

    /// The directories, in tree order, each with how much of it is looked at.
    pub(in crate::snapshot) fn directories(&self) -> impl Iterator<Item = (&AbsPath, &Look)> {
        self.directories.iter()
    }

    /// How many directories and names are listed.
    pub(in crate::snapshot) fn len(&self) -> usize {
        self.directories.len() + self.names
    }

    /// Whether nothing may have changed.
    pub(in crate::snapshot) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// Adds the entry at `path` to what is looked at of the directory that holds it.
    fn add_name(&mut self, path: &AbsPath) {
        if let (Some(parent), Some(name)) = (path.parent(), path.name()) {
            self.add(parent, Look::Names(BTreeSet::from([name.to_owned()])));
        }
    }

    /// Looks at a directory as much as it was, and as `look` says.
    fn add(&mut self, path: AbsPath, look: Look) {
        let known = self
            .directories
            .entry(path)
            .or_insert_with(|| Look::Names(BTreeSet::new()));
        self.names -= known.names();
        self.whole -= usize::from(*known == Look::Whole);
        match (&mut *known, look) {
            (Look::Names(names), Look::Names(more)) => names.extend(more),
            (Look::Whole, _) | (Look::Entries, Look::Names(_)) => {}
            (_, look) => *known = look,
        }
        if known.names() > MOST_NAMES {
            *known = Look::Entries;
        }
        self.names += known.names();
        self.whole += usize::from(*known == Look::Whole);
    }

    fn range(&self, root: &AbsPath) -> impl Iterator<Item = (&AbsPath, &Look)> {
        let from = (Bound::Included(root.as_path()), Bound::Unbounded);
        self.directories
            .range::<Path, _>(from)
            .take_while(move |(path, _)| path.starts_with(root))
    }

    fn is_within_whole(&self, path: &AbsPath) -> bool {
        self.whole > 0
            && path
                .as_path()
                .ancestors()
                .any(|above| self.directories.get(above) == Some(&Look::Whole))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn listed(focus: &Focus) -> Vec<(String, Look)> {
        focus
            .directories()
            .map(|(path, look)| (path.to_string(), look.clone()))
            .collect()
    }

    fn names<const N: usize>(names: [&str; N]) -> Look {
        Look::Names(names.iter().map(OsString::from).collect())
    }

    #[test]
    fn an_entry_is_looked_at_where_it_is_and_in_it() {
        let mut focus = Focus::default();
        focus.mark(path("/t/d/f"));
        focus.mark(path("/t/d/g"));
        assert_eq!(
            listed(&focus),
            [
                ("/t/d".to_owned(), names(["f", "g"])),
                ("/t/d/f".to_owned(), Look::Entries),
                ("/t/d/g".to_owned(), Look::Entries)
            ]
        );
        assert_eq!(focus.len(), 5);
    }

    #[test]
    fn a_whole_directory_stands_for_everything_beneath_before_and_after() {
        let mut focus = Focus::default();
        focus.mark(path("/t/d/e/f"));
        focus.mark_whole(path("/t/d"));
        focus.mark(path("/t/d/g"));
        focus.mark_whole(path("/t/d/e"));
        focus.mark(path("/t/de"));
        assert_eq!(
            listed(&focus),
            [
                ("/t".to_owned(), names(["d", "de"])),
                ("/t/d".to_owned(), Look::Whole),
                ("/t/de".to_owned(), Look::Entries)
            ]
        );
    }

    #[test]
    fn many_names_stand_for_all() {
        let mut focus = Focus::default();
        (0..=MOST_NAMES).for_each(|number| focus.mark(path(&format!("/t/{number}"))));
        focus.mark(path("/t/more"));
        let all = listed(&focus);
        assert_eq!(all[0], ("/t".to_owned(), Look::Entries));
        assert_eq!(focus.len(), all.len(), "no names are left");
    }

    #[test]
    fn a_part_within_a_whole_directory_is_whole() {
        let mut focus = Focus::default();
        focus.mark_whole(path("/t/d"));
        assert_eq!(
            listed(&focus.beneath(&path("/t/d/e"))),
            [("/t/d/e".to_owned(), Look::Whole)]
        );
        assert!(focus.beneath(&path("/t/x")).is_empty());
    }

    #[test]
    fn what_is_taken_out_is_gone_and_can_be_put_back() {
        let mut focus = Focus::default();
        focus.mark_whole(path("/t/a/b"));
        focus.mark(path("/t/a/x"));
        focus.mark(path("/t/c"));
        let all = focus.clone();
        let taken = focus.take_beneath(&path("/t/a"));
        assert_eq!(taken.directories().count(), 3);
        focus.mark(path("/t/a/b/x"));
        focus.merge(taken);
        assert_eq!(focus, all);
    }

    #[test]
    fn a_wide_focus_lists_no_names() {
        let mut focus = Focus::default();
        focus.mark(path("/t/c"));
        focus.mark_whole(path("/t/d"));
        let wide = focus.widened();
        assert_eq!(wide.len(), wide.directories().count());
        assert_eq!(listed(&wide)[0], ("/t".to_owned(), Look::Entries));
    }
}
