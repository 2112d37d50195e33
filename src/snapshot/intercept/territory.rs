//! Where directories were when the command began.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use crate::path::AbsPath;

/// The directories that the command moved or made, by where they are now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Territory {
    /// Each with where it was; `None`: it did not exist.
    known: BTreeMap<AbsPath, Option<AbsPath>>,
}

impl Territory {
    /// Where the directory that is at `directory` now was; `None`: it did not exist.
    pub(super) fn origin(&self, directory: &AbsPath) -> Option<AbsPath> {
        if self.known.is_empty() {
            return Some(directory.clone());
        }
        let nearest = directory
            .as_path()
            .ancestors()
            .find_map(|above| Some((above, self.known.get(above)?)));
        match nearest {
            None => Some(directory.clone()),
            Some((_, None)) => None,
            Some((above, Some(origin))) => rebase(directory, above, origin),
        }
    }

    /// The directory at `path` did not exist.
    pub(super) fn make(&mut self, path: AbsPath) {
        self.take(&path);
        if self.origin(&path).is_some() {
            self.known.insert(path, None);
        }
    }

    /// The directory at `from` is at `to` now.
    pub(super) fn rename(&mut self, from: &AbsPath, to: &AbsPath) {
        let origin = self.origin(from);
        let moved = self.take(from);
        self.take(to);
        self.place(moved, origin, from, to);
    }

    /// The directories at `one` and `other` have changed places. One of them may be no directory.
    pub(super) fn exchange(&mut self, one: &AbsPath, other: &AbsPath, kinds: (bool, bool)) {
        let origins = (self.origin(one), self.origin(other));
        let (first, second) = (self.take(one), self.take(other));
        if kinds.0 {
            self.place(first, origins.0, one, other);
        }
        if kinds.1 {
            self.place(second, origins.1, other, one);
        }
    }

    /// The directories that existed before and are elsewhere now: where they are, and where they were.
    pub(super) fn moved(&self) -> impl Iterator<Item = (&AbsPath, &AbsPath)> {
        self.known
            .iter()
            .filter_map(|(now, origin)| Some((now, origin.as_ref()?)))
    }

    /// Whether something is known of the directory at `path` by itself.
    pub(super) fn knows(&self, path: &AbsPath) -> bool {
        self.known.contains_key(path)
    }

    fn place(
        &mut self,
        beneath: Vec<(AbsPath, Option<AbsPath>)>,
        origin: Option<AbsPath>,
        from: &AbsPath,
        to: &AbsPath,
    ) {
        // Back where it was it needs no entry.
        if self.origin(to) != origin {
            self.known.insert(to.clone(), origin);
        }
        for (path, origin) in beneath {
            if let Some(path) = rebase(&path, from.as_path(), to).filter(|path| path != to) {
                self.known.insert(path, origin);
            }
        }
    }

    /// Takes out what is known of `path` and of what lies beneath it.
    fn take(&mut self, path: &AbsPath) -> Vec<(AbsPath, Option<AbsPath>)> {
        let from = (Bound::Included(path.as_path()), Bound::Unbounded);
        let paths: Vec<AbsPath> = self
            .known
            .range::<Path, _>(from)
            .map(|(known, _)| known.clone())
            .take_while(|known| known.starts_with(path))
            .collect();
        paths
            .into_iter()
            .filter_map(|path| self.known.remove_entry(&path))
            .collect()
    }
}

/// `path`, which lies at or beneath `from`, as seen from `to`.
pub(super) fn rebase(path: &AbsPath, from: &Path, to: &AbsPath) -> Option<AbsPath> {
    let rest = path.as_path().strip_prefix(from).ok()?;
    if rest.as_os_str().is_empty() {
        return Some(to.clone());
    }
    AbsPath::new(to.as_path().join(rest)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    /// The path that a name had when the command began.
    fn slot(territory: &Territory, text: &str) -> Option<String> {
        let (parent, name) = (path(text).parent()?, path(text).name()?.to_owned());
        Some(territory.origin(&parent)?.join(&name).ok()?.to_string())
    }

    #[test]
    fn what_lies_in_a_moved_directory_was_where_that_was() {
        let mut t = Territory::default();
        t.rename(&path("/a"), &path("/b"));
        assert_eq!(slot(&t, "/b/x").as_deref(), Some("/a/x"));
        assert_eq!(slot(&t, "/b").as_deref(), Some("/b"), "the name itself");
        t.rename(&path("/b/c"), &path("/d"));
        assert_eq!(slot(&t, "/d/x").as_deref(), Some("/a/c/x"));
        t.rename(&path("/b"), &path("/d/e"));
        assert_eq!(slot(&t, "/d/e/x").as_deref(), Some("/a/x"));
        t.rename(&path("/d"), &path("/f"));
        assert_eq!(slot(&t, "/f/e/x").as_deref(), Some("/a/x"));
        assert_eq!(slot(&t, "/f/x").as_deref(), Some("/a/c/x"));
    }

    #[test]
    fn a_new_directory_was_nowhere_wherever_it_goes() {
        let mut t = Territory::default();
        t.make(path("/n"));
        assert_eq!(slot(&t, "/n/x"), None);
        assert_eq!(slot(&t, "/n").as_deref(), Some("/n"));
        t.rename(&path("/a"), &path("/n/a"));
        assert_eq!(slot(&t, "/n/a/x").as_deref(), Some("/a/x"));
        t.rename(&path("/n"), &path("/m"));
        assert_eq!(slot(&t, "/m/x"), None);
        assert_eq!(slot(&t, "/m/a/x").as_deref(), Some("/a/x"));
        t.make(path("/m/a/new"));
        assert_eq!(slot(&t, "/m/a/new/x"), None);
    }

    #[test]
    fn there_and_back_is_as_before() {
        let mut t = Territory::default();
        t.rename(&path("/a"), &path("/b"));
        t.rename(&path("/b"), &path("/a"));
        assert_eq!(t, Territory::default());
        t.exchange(&path("/a"), &path("/b"), (true, true));
        assert_eq!(slot(&t, "/a/x").as_deref(), Some("/b/x"));
        assert_eq!(slot(&t, "/b/x").as_deref(), Some("/a/x"));
        t.exchange(&path("/b"), &path("/a"), (true, true));
        assert_eq!(t, Territory::default());
    }

    #[test]
    fn a_directory_exchanged_with_a_file_leaves_nothing_behind() {
        let mut t = Territory::default();
        t.exchange(&path("/d"), &path("/f"), (true, false));
        assert_eq!(slot(&t, "/f/x").as_deref(), Some("/d/x"));
        t.exchange(&path("/d"), &path("/f"), (false, true));
        assert_eq!(t, Territory::default());
    }
}
