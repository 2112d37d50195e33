//! The filesystem as the line itself may have left it.
//!
//! The host's view shows what is there before the line runs. A later part of the line finds what
//! earlier parts made, removed, moved and linked. So the view that the rules ask is one that gives
//! no answer where the line may have changed it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{Depth, FileView, Kind, PathUse};

/// Rules that leave what is there a file or a directory as it was.
const KEEPING: [&str; 16] = [
    ">", ">>", "<>", "cd", "chgrp", "chmod", "chown", "cp", "dd", "install", "ln", "mkdir", "tar",
    "tee", "touch", "truncate",
];

/// Rules that make files only.
const OF_FILES: [&str; 7] = [">", ">>", "<>", "dd", "tee", "touch", "truncate"];

/// Rules that change no names.
const OF_ATTRIBUTES: [&str; 6] = ["cd", "chattr", "chgrp", "chmod", "chown", "setfacl"];

/// How many entries of a directory are looked at for links that move with it.
const MAX_ENTRIES: usize = 2000;

/// A longer path is not looked into, in bytes: no system call takes it.
const MAX_PATH: usize = 4096;

/// What happened at a path.
#[derive(Debug, Clone, Copy)]
struct Change {
    depth: Depth,
    /// A file or directory is still one.
    keeps: bool,
    /// What was not there is a file.
    file: bool,
    /// A repository's `.git` is still one.
    repository: bool,
}

/// Where a link may be that the line made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Linked {
    /// Beneath the path.
    Beneath,
    /// At the path, or beneath it.
    Here,
}

#[derive(Debug, Default)]
struct Changes {
    by_path: BTreeMap<Vec<u8>, Change>,
    links: BTreeMap<Vec<u8>, Linked>,
    /// What directories are without links on the way.
    physical: HashMap<Vec<u8>, Vec<u8>>,
    /// Something ran that was not understood.
    anything: bool,
    count: usize,
}

/// The view of a line.
pub(crate) struct ChangedView<'a> {
    view: &'a dyn FileView,
    changes: Mutex<Changes>,
}

impl<'a> ChangedView<'a> {
    pub(crate) fn new(view: &'a dyn FileView) -> Self {
        Self {
            view,
            changes: Mutex::default(),
        }
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that was not understood may have changed anything.
    pub(crate) fn change_anything(&self) {
        let mut changes = self.changes();
        changes.count += usize::from(!changes.anything);
        changes.anything = true;
    }

    /// How often something changed.
    pub(crate) fn count(&self) -> usize {
        self.changes().count
    }

    /// A part of the line uses a path.
    pub(crate) fn change(&self, used: &PathUse) {
        let rule = used.rule.split(' ').next().unwrap_or_default();
        let before = self.view.kind(&used.path);
        if OF_ATTRIBUTES.contains(&rule) && before != Kind::Missing {
            return;
        }
        let only_within = before == Kind::Directory
            && match used.depth {
                Depth::Entry | Depth::Children => !matches!(rule, "find" | "rmdir"),
                Depth::Tree => false,
            };
        let new = Change {
            depth: used.depth,
            keeps: only_within || KEEPING.contains(&rule),
            file: OF_FILES.contains(&rule),
            repository: rule == "git",
        };
        let mut changes = self.changes();
        let mut paths = vec![used.path.clone()];
        let physical = self.physical(&mut changes, &used.path);
        if physical != used.path {
            paths.push(physical);
        }
        if used.follow && before == Kind::Link {
            paths.extend(Style::Unix.follow(self.view, &used.path));
        }
        for path in paths {
            let Changes { by_path, count, .. } = &mut *changes;
            let change = by_path.entry(path).or_insert_with(|| {
                *count += 1;
                new
            });
            if new.depth > change.depth {
                change.depth = new.depth;
                *count += 1;
            }
            let less = (change.keeps && !new.keeps)
                || (change.file && !new.file)
                || (change.repository && !new.repository);
            if less {
                change.keeps &= new.keeps;
                change.file &= new.file;
                change.repository &= new.repository;
                *count += 1;
            }
        }
    }

    /// The line makes a symbolic link at `path`, or in it.
    pub(crate) fn link(&self, path: &[u8]) {
        self.mark(path, Linked::Here);
    }

    /// What was at `source` comes to `path`, or into it.
    pub(crate) fn moved(&self, source: &[u8], path: &[u8]) {
        if self.is_linked(source) || self.view.kind(source) == Kind::Link {
            self.mark(path, Linked::Here);
        } else if self.holds_links(source) {
            self.mark(path, Linked::Beneath);
        }
    }

    fn mark(&self, path: &[u8], linked: Linked) {
        let mut changes = self.changes();
        let physical = self.physical(&mut changes, path);
        for path in [path.to_vec(), physical] {
            let Changes { links, count, .. } = &mut *changes;
            let known = links.get(&path).copied();
            if known < Some(linked) {
                links.insert(path, linked);
                *count += 1;
            }
        }
    }

    /// Whether a directory may hold links.
    fn holds_links(&self, path: &[u8]) -> bool {
        let mut ahead = vec![path.to_vec()];
        let mut budget = MAX_ENTRIES;
        while let Some(directory) = ahead.pop() {
            let Some(entries) = self.view.list(&directory) else {
                continue;
            };
            for (name, kind) in entries {
                if kind == Kind::Link || budget == 0 {
                    return true;
                }
                budget -= 1;
                if kind == Kind::Directory {
                    ahead.extend(Style::Unix.join(&directory, &name));
                }
            }
        }
        false
    }

    /// Whether `path` may lead through a link that the line made. One at its end counts where it is
    /// followed.
    pub(crate) fn leads_through_link(&self, path: &[u8], follow: bool) -> bool {
        let mut changes = self.changes();
        if changes.links.is_empty() {
            return false;
        }
        if path.len() > MAX_PATH {
            return true;
        }
        let physical = self.physical(&mut changes, path);
        [path, &physical].into_iter().any(|path| {
            let mut above = Some(path.to_vec());
            let mut distance = 0;
            while let Some(at) = above {
                let through = distance + usize::from(follow);
                match changes.links.get(&at) {
                    Some(Linked::Here) if through >= 1 => return true,
                    Some(Linked::Beneath) if through >= 2 => return true,
                    _ => {}
                }
                distance += 1;
                above = Style::Unix.parent(&at);
            }
            false
        })
    }

    /// `path` without links in its directory part, as it was before the line.
    fn physical(&self, changes: &mut Changes, path: &[u8]) -> Vec<u8> {
        let (Some(parent), Some(name)) = (Style::Unix.parent(path), Style::Unix.name(path)) else {
            return path.to_vec();
        };
        let real = changes.physical.entry(parent).or_insert_with_key(|parent| {
            Style::Unix
                .follow(self.view, parent)
                .unwrap_or_else(|| parent.clone())
        });
        Style::Unix
            .join(real, name)
            .unwrap_or_else(|| path.to_vec())
    }

    /// What happened at `path`; `None` where nothing did.
    fn at(&self, path: &[u8]) -> Option<Change> {
        let mut changes = self.changes();
        if changes.by_path.is_empty() {
            return None;
        }
        let physical = self.physical(&mut changes, path);
        let mut result: Option<Change> = None;
        for path in [path, &physical] {
            let mut above = Some(path.to_vec());
            let mut distance = 0;
            while let Some(at) = above {
                if let Some(change) = changes.by_path.get(&at) {
                    let reaches = match change.depth {
                        Depth::Entry => distance == 0,
                        Depth::Children => distance <= 1,
                        Depth::Tree => true,
                    };
                    if reaches {
                        let keeps = change.keeps && result.is_none_or(|other| other.keeps);
                        let file = change.file && result.is_none_or(|other| other.file);
                        let repository =
                            change.repository && result.is_none_or(|other| other.repository);
                        let depth = if distance == 0 {
                            change.depth
                        } else if change.depth == Depth::Tree {
                            Depth::Tree
                        } else {
                            Depth::Entry
                        };
                        let depth = result.map_or(depth, |other| other.depth.max(depth));
                        result = Some(Change {
                            depth,
                            keeps,
                            file,
                            repository,
                        });
                    }
                }
                distance += 1;
                above = Style::Unix.parent(&at);
            }
        }
        result
    }

    /// Whether the line makes a link at `path`.
    fn is_linked(&self, path: &[u8]) -> bool {
        let mut changes = self.changes();
        if changes.links.is_empty() {
            return false;
        }
        let physical = self.physical(&mut changes, path);
        let here = |path: &[u8]| changes.links.get(path) == Some(&Linked::Here);
        here(path) || here(&physical)
    }

    /// Names in `directory` that the line uses.
    fn used_in(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let mut changes = self.changes();
        if changes.by_path.is_empty() {
            return Vec::new();
        }
        let mut real = self.physical(&mut changes, directory);
        if self.view.kind(&real) == Kind::Link {
            real = Style::Unix.follow(self.view, &real).unwrap_or(real);
        }
        let mut names = Vec::new();
        for above in [directory, &real] {
            let beneath = |last| [above.strip_suffix(b"/").unwrap_or(above), &[last]].concat();
            for (path, _) in changes.by_path.range(beneath(b'/')..beneath(b'/' + 1)) {
                if Style::Unix.parent(path).as_deref() == Some(above) {
                    names.extend(Style::Unix.name(path).map(<[u8]>::to_vec));
                }
            }
        }
        names.sort();
        names.dedup();
        names
    }
}

impl FileView for ChangedView<'_> {
    fn kind(&self, path: &[u8]) -> Kind {
        if self.is_linked(path) {
            return Kind::Link;
        }
        let before = self.view.kind(path);
        match self.at(path) {
            Some(change) if matches!(before, Kind::File | Kind::Directory) => {
                let repository = change.repository && Style::Unix.name(path) == Some(b".git");
                if change.keeps || repository {
                    before
                } else {
                    Kind::Unknown
                }
            }
            // What writes files follows links.
            Some(change) if before == Kind::Link && change.file => before,
            Some(_) => Kind::Unknown,
            None => before,
        }
    }

    fn list(&self, dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        if self.changes().anything || self.is_linked(dir) {
            return None;
        }
        if self
            .at(dir)
            .is_some_and(|change| change.depth > Depth::Entry)
        {
            return None;
        }
        let used = self.used_in(dir);
        let mut entries = match self.view.list(dir) {
            Some(entries) => entries,
            None if used.is_empty() => return None,
            // What is no directory is made one, if anything appears in it.
            None if self.view.kind(dir) == Kind::Missing => Vec::new(),
            None => return None,
        };
        for name in used {
            let path = Style::Unix.join(dir, &name)?;
            match entries.iter_mut().find(|(known, _)| *known == name) {
                Some((_, kind)) => *kind = self.kind(&path),
                None => {
                    let file = self.at(&path).is_some_and(|change| change.file);
                    entries.push((name, if file { Kind::File } else { Kind::Unknown }));
                }
            }
        }
        Some(entries)
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        // Where it was a link and may be none any more, the kind is not known; that it was one is.
        if self.is_linked(path) {
            return None;
        }
        self.view.read_link(path)
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let repository = Style::Unix.name(path) == Some(b".git");
        let changed = |change: Change| !(repository && (change.repository || change.keeps));
        if self.changes().anything || self.at(path).is_some_and(changed) {
            return None;
        }
        self.view.read(path, max)
    }
}
