//! The parts of a tree that may have changed.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use crate::path::AbsPath;

/// Directories that have to be looked at, because something in them may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::snapshot) struct Focus {
    /// `true`: with everything beneath, in which case nothing beneath is listed besides.
    directories: BTreeMap<AbsPath, bool>,
    /// How many of them are looked at with everything beneath.
    whole: usize,
}

impl Focus {
    /// The entry at `path` may have changed: the directory that holds it is looked at, and the entry
    /// itself where it is a directory.
    pub(in crate::snapshot) fn mark(&mut self, path: AbsPath) {
        if self.is_within_whole(&path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directories.entry(parent).or_insert(false);
        }
        self.directories.entry(path).or_insert(false);
    }

    /// The directory at `path` itself, or which names are in it, may have changed.
    pub(in crate::snapshot) fn mark_directory(&mut self, path: AbsPath) {
        if !self.is_within_whole(&path) {
            self.directories.entry(path).or_insert(false);
        }
    }

    /// Everything at and beneath `path` may have changed.
    pub(in crate::snapshot) fn mark_whole(&mut self, path: AbsPath) {
        if self.is_within_whole(&path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directories.entry(parent).or_insert(false);
        }
        let covered = self.take_beneath(&path);
        drop(covered);
        self.directories.insert(path, true);
        self.whole += 1;
    }

    /// Adds what another one lists.
    pub(in crate::snapshot) fn merge(&mut self, other: Focus) {
        for (path, whole) in other.directories {
            if whole {
                self.mark_whole(path);
            } else if !self.is_within_whole(&path) {
                self.directories.entry(path).or_insert(false);
            }
        }
    }

    /// Takes out what lies at or beneath `root`.
    pub(in crate::snapshot) fn take_beneath(&mut self, root: &AbsPath) -> Focus {
        let paths: Vec<AbsPath> = self.range(root).map(|(path, _)| path.clone()).collect();
        let mut taken = Focus::default();
        for path in paths {
            let whole = self.directories.remove(&path).unwrap_or(false);
            self.whole -= usize::from(whole);
            taken.whole += usize::from(whole);
            taken.directories.insert(path, whole);
        }
        taken
    }

    /// What lies at or beneath `root`. Where that lies within a directory that is looked at whole,
    /// so is all of it.
    pub(in crate::snapshot) fn beneath(&self, root: &AbsPath) -> Focus {
        let mut part = Focus::default();
        if self.is_within_whole(root) {
            part.directories.insert(root.clone(), true);
            part.whole = 1;
            return part;
        }
        for (path, whole) in self.range(root) {
            part.directories.insert(path.clone(), *whole);
            part.whole += usize::from(*whole);
        }
        part
    }

    /// The directories, in tree order, each with whether everything beneath is looked at.
    pub(in crate::snapshot) fn directories(&self) -> impl Iterator<Item = (&AbsPath, bool)> {
        self.directories.iter().map(|(path, whole)| (path, *whole))
    }

    /// How many directories are listed.
    pub(in crate::snapshot) fn len(&self) -> usize {
        self.directories.len()
    }

    /// Whether nothing may have changed.
    pub(in crate::snapshot) fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    fn range(&self, root: &AbsPath) -> impl Iterator<Item = (&AbsPath, &bool)> {
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
                .any(|above| self.directories.get(above) == Some(&true))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn listed(focus: &Focus) -> Vec<(String, bool)> {
        focus
            .directories()
            .map(|(path, whole)| (path.to_string(), whole))
            .collect()
    }

    #[test]
    fn an_entry_brings_the_directory_that_holds_it() {
        let mut focus = Focus::default();
        focus.mark(path("/t/d/f"));
        assert_eq!(
            listed(&focus),
            [("/t/d".to_owned(), false), ("/t/d/f".to_owned(), false)]
        );
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
                ("/t".to_owned(), false),
                ("/t/d".to_owned(), true),
                ("/t/de".to_owned(), false)
            ]
        );
    }

    #[test]
    fn a_part_within_a_whole_directory_is_whole() {
        let mut focus = Focus::default();
        focus.mark_whole(path("/t/d"));
        assert_eq!(
            listed(&focus.beneath(&path("/t/d/e"))),
            [("/t/d/e".to_owned(), true)]
        );
        assert!(focus.beneath(&path("/t/x")).is_empty());
    }

    #[test]
    fn what_is_taken_out_is_gone_and_can_be_put_back() {
        let mut focus = Focus::default();
        focus.mark_whole(path("/t/a/b"));
        focus.mark(path("/t/c"));
        let all = focus.clone();
        let taken = focus.take_beneath(&path("/t/a"));
        assert_eq!(taken.len(), 2);
        focus.mark(path("/t/a/b/x"));
        focus.merge(taken);
        assert_eq!(focus, all);
    }
}
