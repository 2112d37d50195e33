//! Opens many directories one after another without walking every path from the root.

use std::ffi::OsStr;
use std::io;
use std::path::Path;

use crate::path::{AbsPath, os_string};
use crate::sys::Dir;

/// Most directories that one cursor keeps open.
const MOST_OPEN: usize = 32;
/// In deep trees a directory is kept open about every this many levels on the way down.
const LEVELS_BETWEEN: usize = 128;

/// Keeps the directories on the way to the last one open, so that the next one, which is most
/// often close by, needs one short step. Symbolic links are refused in every component.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    /// Each is an ancestor of the next.
    open: Vec<(AbsPath, Dir)>,
}

impl Cursor {
    /// The directory at `path`.
    pub(crate) fn dir(&mut self, path: &AbsPath) -> io::Result<&Dir> {
        while let Some((last, _)) = self.open.last() {
            if path.starts_with(last) {
                break;
            }
            self.open.pop();
        }
        if self
            .open
            .last()
            .is_none_or(|(last, _)| last.to_bytes() != path.to_bytes())
        {
            match self.descend(path) {
                // Too many descriptors: what is kept open here is only for speed.
                Err(e) if is_out_of_descriptors(&e) => {
                    self.open.clear();
                    self.descend(path)?;
                }
                other => other?,
            }
        }
        self.here()
    }

    /// The directory that was asked for last.
    pub(crate) fn here(&self) -> io::Result<&Dir> {
        match self.open.last() {
            Some((_, dir)) => Ok(dir),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The directory that holds `path`, and the name in it. Not for a root.
    pub(crate) fn parent<'p>(&mut self, path: &'p AbsPath) -> io::Result<(&Dir, &'p OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the root has no parent",
            ));
        };
        Ok((self.dir(&parent)?, name))
    }

    fn descend(&mut self, path: &AbsPath) -> io::Result<()> {
        loop {
            let from = self.open.last().map_or(0, |(p, _)| path_depth(p));
            let left = path_depth(path).saturating_sub(from);
            let step = if left > 2 * LEVELS_BETWEEN {
                prefix(path, from + LEVELS_BETWEEN)?
            } else {
                path.clone()
            };
            let dir = match self.open.last() {
                Some((base, dir)) => dir.open_beneath(relative(&step, base)?.as_ref()),
                None => Dir::open(&step),
            };
            let dir = match dir {
                // Search permission is enough where nothing is listed.
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Dir::open_path(&step)?,
                other => other?,
            };
            let arrived = step.to_bytes() == path.to_bytes();
            if self.open.len() >= MOST_OPEN {
                self.thin();
            }
            self.open.push((step, dir));
            if arrived {
                return Ok(());
            }
        }
    }

    /// Closes every second directory.
    fn thin(&mut self) {
        let mut index = 0;
        self.open.retain(|_| {
            index += 1;
            index % 2 == 0
        });
    }
}

/// What is left of `path` beneath its ancestor `base`.
fn relative(path: &AbsPath, base: &AbsPath) -> io::Result<std::ffi::OsString> {
    let rest = path
        .to_bytes()
        .strip_prefix(base.to_bytes())
        .unwrap_or_default();
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    os_string(rest).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

/// How many levels below the root `path` is.
pub(super) fn path_depth(path: &AbsPath) -> usize {
    match path.to_bytes() {
        b"/" => 0,
        bytes => bytes.split(|byte| *byte == b'/').count() - 1,
    }
}

/// The ancestor of `path` that is `depth` levels below the root.
fn prefix(path: &AbsPath, depth: usize) -> io::Result<AbsPath> {
    let bytes = path.to_bytes();
    let end = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .nth(depth)
        .map_or(bytes.len(), |(at, _)| at);
    AbsPath::from_bytes(&bytes[..end]).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// The topmost component of `path` that is not a directory, found by walking down.
pub(crate) fn obstacle(path: &AbsPath) -> Option<Obstacle> {
    let mut dir = Dir::open_path(&AbsPath::new("/").ok()?).ok()?;
    let mut here = AbsPath::new("/").ok()?;
    for component in Path::new(path.as_ref()).iter().skip(1) {
        let at = here.join(component).ok()?;
        let kind = match dir.stat_opt(component) {
            Ok(Some(stat)) => stat.kind,
            Ok(None) => return Some(Obstacle { at, kind: None }),
            Err(_) => return None,
        };
        if kind != crate::entry::EntryKind::Directory {
            return Some(Obstacle {
                at,
                kind: Some(kind),
            });
        }
        dir = match dir.open_dir(component) {
            Ok(next) => next,
            Err(_) => Dir::open_path(&at).ok()?,
        };
        here = at;
    }
    None
}

/// What stands in the way to a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    pub(crate) at: AbsPath,
    /// What is there instead of a directory; `None`: nothing.
    pub(crate) kind: Option<crate::entry::EntryKind>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_trees_are_reached_in_any_order() {
        let scratch = tempfile::tempdir().unwrap();
        let root = AbsPath::new(scratch.path().canonicalize().unwrap()).unwrap();
        let mut paths = vec![root.clone()];
        let mut making = Cursor::default();
        for level in 0..1_000 {
            let last = paths.last().unwrap().clone();
            let name = std::ffi::OsString::from(format!("level-{level}"));
            making.dir(&last).unwrap().make_dir(&name).unwrap();
            paths.push(last.join(&name).unwrap());
        }
        let mut cursor = Cursor::default();
        for path in paths.iter().rev().chain(paths.iter()) {
            let inode = cursor.dir(path).unwrap().stat_self().unwrap().identity;
            let direct = Dir::open(path).unwrap().stat_self().unwrap().identity;
            assert_eq!(inode, direct);
            assert!(cursor.open.len() <= MOST_OPEN);
        }
        for path in paths.iter().skip(1).rev() {
            let (dir, name) = making.parent(path).unwrap();
            dir.remove_dir(name).unwrap();
        }
    }

    #[test]
    fn symbolic_links_on_the_way_are_refused_and_named() {
        let scratch = tempfile::tempdir().unwrap();
        let root = AbsPath::new(scratch.path().canonicalize().unwrap()).unwrap();
        std::fs::create_dir_all(scratch.path().join("real/in")).unwrap();
        std::os::unix::fs::symlink("real", scratch.path().join("link")).unwrap();
        let path = AbsPath::new(root.as_path().join("link/in")).unwrap();
        assert!(Cursor::default().dir(&path).is_err());
        let found = obstacle(&path).unwrap();
        assert_eq!(found.at.as_path(), root.as_path().join("link"));
        assert_eq!(found.kind, Some(crate::entry::EntryKind::Symlink));
    }
}
