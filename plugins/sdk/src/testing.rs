//! A filesystem in memory, so that rules can be tested without a disk and for any system.

use std::collections::BTreeMap;

use deployx_plugin_abi::Kind;

use crate::FileView;

/// A filesystem in memory. Paths are kept as given; both separators are taken.
#[derive(Debug, Default, Clone)]
pub struct MemoryView {
    entries: BTreeMap<Vec<u8>, Entry>,
}

#[derive(Debug, Clone)]
enum Entry {
    Directory,
    File(Vec<u8>),
    Link(Vec<u8>),
}

impl MemoryView {
    /// A filesystem of `files` (each with an empty content) and the directories above them. A name
    /// that ends with a separator is a directory; `a -> b` is a symbolic link.
    pub fn new(files: &[&str]) -> Self {
        let mut view = Self::default();
        for file in files {
            match file.split_once(" -> ") {
                Some((path, target)) => view.link(path, target),
                None if file.ends_with(['/', '\\']) => view.directory(file),
                None => view.file(file, ""),
            }
        }
        view
    }

    /// Adds a file with a content.
    pub fn file(&mut self, path: &str, content: &str) {
        self.add(path, Entry::File(content.into()));
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str) {
        self.add(path, Entry::Directory);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link(target.into()));
    }

    fn add(&mut self, path: &str, entry: Entry) {
        let path = trim(path.as_bytes()).to_vec();
        let mut above = parent(&path);
        while let Some(directory) = above {
            self.entries
                .entry(directory.to_vec())
                .or_insert(Entry::Directory);
            above = parent(directory);
        }
        self.entries.insert(path, entry);
    }
}

impl FileView for MemoryView {
    fn kind(&self, path: &[u8]) -> Kind {
        match self.entries.get(trim(path)) {
            None => Kind::Missing,
            Some(Entry::Directory) => Kind::Directory,
            Some(Entry::File(_)) => Kind::File,
            Some(Entry::Link(_)) => Kind::Link,
        }
    }

    fn list(&self, dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        let dir = trim(dir);
        if let Some(Entry::Link(target)) = self.entries.get(dir) {
            return self.list(&target.clone());
        }
        matches!(self.entries.get(dir), Some(Entry::Directory)).then(|| {
            self.entries
                .keys()
                .filter(|path| path.as_slice() != dir && parent(path) == Some(dir))
                .map(|path| (name(path).to_vec(), self.kind(path)))
                .collect()
        })
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        match self.entries.get(trim(path)) {
            Some(Entry::Link(target)) => Some(target.clone()),
            _ => None,
        }
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        match self.entries.get(trim(path)) {
            Some(Entry::File(content)) => Some(content[..content.len().min(max)].to_vec()),
            _ => None,
        }
    }
}

fn separator(byte: u8) -> bool {
    matches!(byte, b'/' | b'\\')
}

/// Without a separator at the end, the root and a drive's root excepted.
fn trim(path: &[u8]) -> &[u8] {
    match path {
        [rest @ .., last] if separator(*last) && !rest.is_empty() && rest.last() != Some(&b':') => {
            rest
        }
        _ => path,
    }
}

fn parent(path: &[u8]) -> Option<&[u8]> {
    let path = trim(path);
    let at = path.iter().rposition(|b| separator(*b))?;
    let root = at == 0 || path[at - 1] == b':';
    if root {
        (path.len() > at + 1).then(|| &path[..=at])
    } else {
        Some(&path[..at])
    }
}

fn name(path: &[u8]) -> &[u8] {
    path.rsplit(|b| separator(*b)).next().unwrap_or(path)
}
