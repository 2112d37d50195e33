//! What a line changed, by a walk before and after that knows nothing of DeployX's own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// One entry as the walk finds it. Times of access do not count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Kind and permissions.
    mode: u32,
    owner: (u32, u32),
    device: u64,
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
    content: Content,
    /// Seconds and nanoseconds of the last modification.
    modified: (i64, i64),
    inode: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    Hash(Vec<u8>),
    Target(PathBuf),
    None,
}

impl Entry {
    fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Whether it is the same for everybody who looks, times of directories left aside.
    fn same(&self, other: &Self) -> bool {
        let aside = |entry: &Self| Self {
            modified: if entry.is_directory() {
                (0, 0)
            } else {
                entry.modified
            },
            inode: 0,
            ..entry.clone()
        };
        aside(self) == aside(other)
    }
}

/// Every entry of a tree, its root included.
pub(crate) struct Walk {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Walk {
    pub(crate) fn new(root: &Path) -> Self {
        let entries = WalkDir::new(root)
            .into_iter()
            .map(|entry| {
                let path = entry.expect("a walk").into_path();
                let entry = look(&path);
                (path, entry)
            })
            .collect();
        Self { entries }
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.entries.keys()
    }

    /// The entries that are not as they were in `before`.
    ///
    /// Entries that come, go or are replaced change the times of the directory they are in; that is
    /// no change of the directory on its own. Through `passing`, the directory for temporary files,
    /// entries may also pass without a trace but the directory's time, which matters to nobody.
    pub(crate) fn touched_since(&self, before: &Self, passing: &Path) -> BTreeSet<PathBuf> {
        let mut touched = BTreeSet::new();
        let mut stirred = BTreeSet::from([passing.to_owned()]);
        let all: BTreeSet<&PathBuf> = before.paths().chain(self.paths()).collect();
        for path in &all {
            let (old, new) = (before.entries.get(*path), self.entries.get(*path));
            if old.zip(new).is_none_or(|(old, new)| !old.same(new)) {
                touched.insert((*path).clone());
            }
            if old.map(|e| e.inode) != new.map(|e| e.inode) {
                stirred.extend(path.parent().map(Path::to_owned));
            }
        }
        for path in all {
            let times = |walk: &Self| walk.entries.get(path).map(|entry| entry.modified);
            if times(before) != times(self) && !stirred.contains(path) {
                touched.insert(path.clone());
            }
        }
        touched
    }
}

fn look(path: &Path) -> Entry {
    let metadata = path.symlink_metadata().expect("an entry");
    let kind = metadata.file_type();
    let content = if kind.is_file() {
        Content::Hash(Sha256::digest(fs::read(path).expect("a file")).to_vec())
    } else if kind.is_symlink() {
        Content::Target(fs::read_link(path).expect("a link"))
    } else {
        Content::None
    };
    Entry {
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid()),
        device: metadata.rdev(),
        attributes: attributes(path),
        content,
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        inode: metadata.ino(),
    }
}

/// The extended attributes, ACLs among them, in the order of their names.
fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 4096];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap_or(0);
            value.truncate(length);
            (name.to_vec(), value)
        })
        .collect();
    found.sort();
    found
}
