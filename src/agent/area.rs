//! Places that commands are expected to touch, and entries that rollbacks work on.

use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;

/// A path that a command is expected to touch, and how deep.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Area {
    /// The path.
    pub(super) path: AbsPath,
    /// How deep.
    pub(super) depth: Depth,
}

impl From<&ScopePath> for Area {
    fn from(path: &ScopePath) -> Self {
        Self {
            path: path.path.clone(),
            depth: path.depth,
        }
    }
}

/// The entries that a rollback works on. An entry stands for what is beneath it as well. Whether
/// something touches them is found without looking at each: there may be very many, and commands wait
/// for the answer.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// Sorted, so that what is beneath a path follows it directly.
    paths: Vec<AbsPath>,
    /// The directories that hold them, sorted.
    parents: Vec<AbsPath>,
}

impl Entries {
    pub(super) fn new(mut paths: Vec<AbsPath>) -> Self {
        paths.sort_unstable();
        paths.dedup();
        let mut parents: Vec<AbsPath> = paths.iter().filter_map(AbsPath::parent).collect();
        parents.sort_unstable();
        parents.dedup();
        Self { paths, parents }
    }

    /// Whether one of the entries is in an area, or holds it.
    pub(super) fn touch(&self, area: &Area) -> bool {
        self.hold(&area.path)
            || match area.depth {
                Depth::Entry => false,
                Depth::Children => self.parents.binary_search(&area.path).is_ok(),
                Depth::Tree => self.are_beneath(&area.path),
            }
    }

    /// Whether entries of both are the same, or beneath each other.
    pub(super) fn meet(&self, other: &Self) -> bool {
        let (few, many) = if self.paths.len() < other.paths.len() {
            (self, other)
        } else {
            (other, self)
        };
        let meets = |path: &AbsPath| many.hold(path) || many.are_beneath(path);
        few.paths.iter().any(meets)
    }

    /// Whether an entry is `path` or a directory above it.
    fn hold(&self, path: &AbsPath) -> bool {
        let mut above = Some(path.clone());
        while let Some(path) = above {
            if self.paths.binary_search(&path).is_ok() {
                return true;
            }
            above = path.parent();
        }
        false
    }

    /// Whether an entry is `path` or beneath it.
    fn are_beneath(&self, path: &AbsPath) -> bool {
        let at = self.paths.partition_point(|entry| entry < path);
        self.paths
            .get(at)
            .is_some_and(|entry| entry.starts_with(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn entries(paths: &[&str]) -> Entries {
        Entries::new(paths.iter().map(|text| path(text)).collect())
    }

    #[test]
    fn depth_decides_what_overlaps() {
        let others = ["/srv-x", "/srv/ap", "/srv/app-old/x", "/zz"];
        for (area, depth, entry, touches) in [
            ("/srv", Depth::Entry, "/srv/app/x", false),
            ("/srv/app", Depth::Tree, "/srv/app/x/y", true),
            ("/srv/app", Depth::Children, "/srv/app/x", true),
            ("/srv/app", Depth::Children, "/srv/app/x/y", false),
            ("/srv/app/x/y", Depth::Entry, "/srv/app", true),
            ("/srv/app", Depth::Tree, "/srv/apple", false),
            ("/", Depth::Tree, "/srv/app", true),
            ("/srv/app", Depth::Entry, "/", true),
        ] {
            let area = Area {
                path: path(area),
                depth,
            };
            assert_eq!(entries(&[entry]).touch(&area), touches, "{area:?} {entry}");
            let among = [others.as_slice(), &[entry]].concat();
            let touches = touches || area.path == path("/");
            assert_eq!(entries(&among).touch(&area), touches, "{area:?} {entry}");
        }
    }

    #[test]
    fn entries_meet_where_one_is_the_other_or_above_it() {
        for (one, other, meet) in [
            (&["/a/b", "/z"][..], &["/a/b"][..], true),
            (&["/a/b", "/z"], &["/a/b/c"], true),
            (&["/a/b/c", "/z"], &["/a"], true),
            (&["/a/b", "/z"], &["/a/bc", "/y", "/zz"], false),
            (&["/a"], &[], false),
        ] {
            assert_eq!(
                entries(one).meet(&entries(other)),
                meet,
                "{one:?} {other:?}"
            );
            assert_eq!(
                entries(other).meet(&entries(one)),
                meet,
                "{one:?} {other:?}"
            );
        }
    }
}
