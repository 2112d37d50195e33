//! The stat walk: visits a scope, or parts of it, with several threads, one directory at a time.

mod focused;
mod rules;

pub(in crate::snapshot) use focused::{Focused, walk_focus};

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use self::focused::Todo;
use super::exclude::Rules;
use super::focus::Look;
use crate::error::Result;
use crate::execute::Cancel;
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::{Exclusions, Unobserved, unless_cancelled};
use crate::sys::{Dir, Stat};

/// One directory as the walk found it.
pub(in crate::snapshot) struct Visit<'a> {
    pub(in crate::snapshot) path: &'a AbsPath,
    /// The directory, open for listing.
    pub(in crate::snapshot) dir: &'a Dir,
    /// What it is itself.
    pub(in crate::snapshot) stat: &'a Stat,
    /// What is in it, sorted by name, or those entries that were asked for; `None` where only the
    /// directory itself is in the scope.
    pub(in crate::snapshot) entries: Option<&'a [(OsString, Stat)]>,
    /// Names that are left alone.
    pub(in crate::snapshot) skipped: &'a [OsString],
}

/// Takes what the walk finds, from several threads.
pub(in crate::snapshot) trait Visitor: Sync {
    /// How deep the walk goes into a path of the scope that is a directory now.
    fn root_depth(&self, _path: &AbsPath, depth: Depth) -> Depth {
        depth
    }

    /// A directory. Says into which of its subdirectories the walk goes.
    fn directory(&self, visit: &Visit<'_>) -> Descend;

    /// A directory of which only the entries `asked` (sorted) are looked at: `visit` has those of them
    /// that are there. `None`: that is not enough, all of it must be looked at.
    fn names(&self, _visit: &Visit<'_>, _asked: &[OsString]) -> Option<Descend> {
        None
    }

    /// The path of a scope that is not a directory: something else, or nothing.
    fn root(&self, path: &AbsPath, parent: Option<&Dir>, name: &OsStr, stat: Option<&Stat>);
}

/// Into which subdirectories a walk goes.
pub(in crate::snapshot) enum Descend {
    /// Into all of them, as deep as the scope says.
    All,
    /// As said for each entry, by its index; those beyond the end are left out.
    Each(Vec<Step>),
}

/// What a walk does with one subdirectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::snapshot) enum Step {
    /// Leaves it out.
    Skip,
    /// Goes as deep as the scope says. A walk of a focus does not go into it for its parent's sake.
    Scope,
    /// Goes through all of it: it is new, or was another directory.
    Whole,
}

/// Bounds of a walk.
#[derive(Debug, Clone, Copy)]
pub(in crate::snapshot) struct Bounds<'a> {
    pub(in crate::snapshot) max_entries: u64,
    pub(in crate::snapshot) deadline: Option<Instant>,
    /// Ends the walk with an error.
    pub(in crate::snapshot) cancel: Option<&'a Cancel>,
}

impl Bounds<'_> {
    /// None, for what must be found however much it is and however long it takes.
    pub(in crate::snapshot) const NONE: Self = Self {
        max_entries: u64::MAX,
        deadline: None,
        cancel: None,
    };

    fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(Cancel::is_cancelled)
    }
}

/// What a walk gives besides what its visitor collected.
pub(in crate::snapshot) struct Walked {
    pub(in crate::snapshot) entries: u64,
    pub(in crate::snapshot) unobserved: Vec<Unobserved>,
    /// The ignore files that were read.
    pub(in crate::snapshot) ignore_files: Vec<(AbsPath, String)>,
}

struct Walk<'a, V> {
    visitor: &'a V,
    exclusions: &'a Exclusions,
    /// Ignore files are those of `exclusions` (a second walk) instead of those found.
    frozen: bool,
    roots: Vec<&'a AbsPath>,
    bounds: Bounds<'a>,
    entries: AtomicU64,
    unobserved: Mutex<Vec<Unobserved>>,
    ignore_files: Mutex<Vec<(AbsPath, String)>>,
    /// Of a walk of a focus: the directories that it came to.
    visited: Option<Mutex<HashMap<AbsPath, Look>>>,
}

/// A directory that is to be visited.
struct Task {
    path: AbsPath,
    depth: Depth,
    /// Of a walk of a focus: how much is looked at.
    look: Look,
    rules: Rules,
    /// The open root of the scope path, and the volume that the walk stays on.
    root: Arc<Root>,
}

/// The rules for what is in each directory above a root; `None` where they leave it out.
type Above = HashMap<AbsPath, Option<Rules>>;

struct Root {
    path: AbsPath,
    dir: Dir,
    device: u64,
    mount: Option<u64>,
}

/// Why a walk leaves a directory out that is on another mount.
const OTHER_MOUNT: &str = "another filesystem is mounted here";
/// Why a walk leaves a directory out that reports another device.
const OTHER_VOLUME: &str = "another volume of the filesystem begins here";

/// Whether something was left out because it is on another volume: where the scope names it by
/// itself it is covered all the same.
pub(crate) fn is_parting(left_out: &Unobserved) -> bool {
    [OTHER_MOUNT, OTHER_VOLUME].contains(&left_out.reason.as_str())
}

impl Root {
    /// Why the walk does not go into a directory, where that is on another volume. Not even a
    /// directory of the same filesystem is, where it is mounted (a bind mount): nothing can be
    /// renamed or linked out of it.
    fn parting(&self, stat: &Stat) -> Option<&'static str> {
        if stat.mount != self.mount {
            Some(OTHER_MOUNT)
        } else if stat.identity.device != self.device {
            Some(OTHER_VOLUME)
        } else {
            None
        }
    }
}

/// Walks `scope`. With `frozen` the ignore files are those listed in `exclusions`, otherwise they
/// are read where they are found.
pub(in crate::snapshot) fn walk<V: Visitor>(
    scope: &[ScopePath],
    exclusions: &Exclusions,
    frozen: bool,
    bounds: Bounds<'_>,
    visitor: &V,
) -> Result<Walked> {
    let mut walk = Walk::new(visitor, exclusions, bounds);
    walk.frozen = frozen;
    walk.roots = scope.iter().map(|s| &s.path).collect();
    let mut tasks = Vec::new();
    let mut above = Above::new();
    for path in scope {
        if let Some(rules) = walk.rules_at(&path.path, &mut above)? {
            tasks.extend(walk.start(path, rules));
        }
    }
    walk.carry_out(tasks)?;
    Ok(walk.finish())
}

impl<'a, V: Visitor> Walk<'a, V> {
    fn new(visitor: &'a V, exclusions: &'a Exclusions, bounds: Bounds<'a>) -> Self {
        Self {
            visitor,
            exclusions,
            frozen: false,
            roots: Vec::new(),
            bounds,
            entries: AtomicU64::new(0),
            unobserved: Mutex::default(),
            ignore_files: Mutex::default(),
            visited: None,
        }
    }

    fn carry_out(&self, tasks: Vec<Task>) -> Result<()> {
        rayon::scope(|s| {
            for task in tasks {
                s.spawn(move |s| self.visit(s, &task));
            }
        });
        self.bounds.cancel.map_or(Ok(()), unless_cancelled)
    }

    fn finish(self) -> Walked {
        let mut unobserved = self
            .unobserved
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        unobserved.sort_by(|a, b| a.path.cmp(&b.path));
        unobserved.dedup();
        let mut ignore_files = self
            .ignore_files
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        ignore_files.sort();
        ignore_files.dedup();
        Walked {
            entries: self.entries.into_inner(),
            unobserved,
            ignore_files,
        }
    }

    /// Looks at the path of a scope itself; gives a task where it is a directory.
    fn start(&self, scope: &ScopePath, rules: Rules) -> Option<Task> {
        let path = &scope.path;
        if self.exclusions.covers(path) {
            self.skip(path, "excluded");
            return None;
        }
        let (parent, name) = match (path.parent(), path.name()) {
            (Some(parent), Some(name)) => (Some(parent), name),
            _ => (None, OsStr::new("")),
        };
        let parent_dir = match parent.as_ref().map(Dir::open_path) {
            None => None,
            Some(Ok(dir)) => Some(dir),
            // Nothing above it, so nothing is there.
            Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
                self.visitor.root(path, None, name, None);
                return None;
            }
            Some(Err(e)) => {
                self.skip(path, &format!("cannot be reached: {e}"));
                return None;
            }
        };
        let found = match &parent_dir {
            Some(dir) => dir.stat_opt(name),
            None => Dir::open(path).and_then(|d| d.stat_self()).map(Some),
        };
        let stat = match found {
            Ok(Some(stat)) if stat.kind == crate::entry::EntryKind::Directory => stat,
            Ok(other) => {
                self.entries.fetch_add(1, Ordering::Relaxed);
                self.visitor
                    .root(path, parent_dir.as_ref(), name, other.as_ref());
                return None;
            }
            Err(e) => {
                self.skip(path, &format!("cannot be looked at: {e}"));
                return None;
            }
        };
        let mut depth = self.visitor.root_depth(path, scope.depth);
        let opened = match depth {
            Depth::Entry => Dir::open_path(path),
            _ => Dir::open(path).or_else(|e| {
                depth = Depth::Entry;
                self.closed(path, e)
            }),
        };
        match opened {
            Ok(dir) => Some(Task {
                path: path.clone(),
                depth,
                look: Look::Entries,
                rules,
                root: Arc::new(Root {
                    path: path.clone(),
                    dir,
                    device: stat.identity.device,
                    mount: stat.mount,
                }),
            }),
            Err(e) => {
                self.skip(path, &format!("cannot be opened: {e}"));
                None
            }
        }
    }

    /// A directory that this user may not list: it can be looked at itself, but what is in it is not
    /// observed.
    fn closed(&self, path: &AbsPath, error: std::io::Error) -> std::io::Result<Dir> {
        if error.kind() != std::io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        let dir = Dir::open_path(path)?;
        self.skip(path, &format!("what is in it cannot be listed: {error}"));
        Ok(dir)
    }

    fn visit<'s>(&'s self, scope: &rayon::Scope<'s>, task: &Task)
    where
        'a: 's,
    {
        if self.bounds.is_cancelled() {
            return;
        }
        let opened;
        let mut depth = task.depth;
        let dir = if task.path == task.root.path {
            &task.root.dir
        } else {
            let relative = task.path.as_path().strip_prefix(&task.root.path);
            match task
                .root
                .dir
                .open_beneath(relative.unwrap_or(Path::new(".")))
                .or_else(|e| {
                    depth = Depth::Entry;
                    self.closed(&task.path, e)
                }) {
                Ok(dir) => {
                    opened = dir;
                    &opened
                }
                // It went away since its parent was listed; what is left shows in the parent.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return,
                // So does what never was a directory.
                Err(e) if self.visited.is_some() && crate::sys::durable::is_no_directory(&e) => {
                    return;
                }
                Err(e) => return self.skip(&task.path, &format!("cannot be opened: {e}")),
            }
        };
        let stat = match dir.stat_self() {
            Ok(stat) => stat,
            Err(e) => return self.skip(&task.path, &format!("cannot be looked at: {e}")),
        };
        if let Some(reason) = task.root.parting(&stat) {
            return self.skip(&task.path, reason);
        }
        match self.left_to_do(task) {
            Todo::Look => {}
            Todo::GoDeeper => return self.go_deeper(scope, task, dir),
            Todo::Nothing => return,
        }
        if let Err(reason) = self.account() {
            return self.skip(&task.path, reason);
        }
        if depth == Depth::Entry {
            let visit = Visit {
                path: &task.path,
                dir,
                stat: &stat,
                entries: None,
                skipped: &[],
            };
            self.visitor.directory(&visit);
            return;
        }
        let few = match &task.look {
            Look::Names(names) => Some(names),
            Look::Entries | Look::Whole => None,
        };
        if !few.is_some_and(|names| self.look_at(scope, task, dir, &stat, names)) {
            self.list(scope, task, dir, &stat);
        }
    }

    fn enter<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        task: &Task,
        rules: &Rules,
        name: &OsStr,
        depth: Depth,
    ) where
        'a: 's,
    {
        let Ok(path) = task.path.join(name) else {
            return;
        };
        // A directory that is in the scope by itself is walked by its own task.
        if task.depth == Depth::Children && self.roots.contains(&&path) {
            return;
        }
        let next = Task {
            path,
            depth,
            // A walk of a focus comes here only where all of it is looked at.
            look: Look::Whole,
            rules: rules.clone(),
            root: Arc::clone(&task.root),
        };
        scope.spawn(move |s| self.visit(s, &next));
    }

    fn list<'s>(&'s self, scope: &rayon::Scope<'s>, task: &Task, dir: &Dir, stat: &Stat)
    where
        'a: 's,
    {
        let names = match dir.names() {
            Ok(names) => names,
            Err(e) => return self.skip(&task.path, &format!("cannot be listed: {e}")),
        };
        let rules = self.rules_beneath(task, dir, &names);
        let (entries, skipped) = self.stat_all(task, dir, &rules, names);
        let visit = Visit {
            path: &task.path,
            dir,
            stat,
            entries: Some(&entries),
            skipped: &skipped,
        };
        let descend = self.visitor.directory(&visit);
        self.descend(scope, task, &rules, &entries, &descend);
    }

    /// What is there of `names`, and which of them are left alone.
    fn stat_all(
        &self,
        task: &Task,
        dir: &Dir,
        rules: &Rules,
        names: Vec<OsString>,
    ) -> (Vec<(OsString, Stat)>, Vec<OsString>) {
        let mut entries = Vec::with_capacity(names.len());
        let mut skipped = Vec::new();
        for name in names {
            if self.bounds.is_cancelled() {
                break;
            }
            match dir.stat_opt(&name) {
                Ok(Some(found)) if self.excluded(task, rules, &name, &found) => skipped.push(name),
                Ok(Some(found)) => entries.push((name, found)),
                Ok(None) => {}
                Err(e) => {
                    self.skip_child(task, &name, &format!("cannot be looked at: {e}"));
                    skipped.push(name);
                }
            }
        }
        self.entries.fetch_add(
            entries.iter().filter(|(_, s)| !is_dir(s)).count() as u64,
            Ordering::Relaxed,
        );
        (entries, skipped)
    }

    fn descend<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        task: &Task,
        rules: &Rules,
        entries: &[(OsString, Stat)],
        descend: &Descend,
    ) where
        'a: 's,
    {
        for (index, (name, found)) in entries.iter().enumerate() {
            let step = match descend {
                Descend::All => Step::Scope,
                Descend::Each(steps) => steps.get(index).copied().unwrap_or(Step::Skip),
            };
            let passed_over = match step {
                Step::Skip => true,
                Step::Scope => self.visited.is_some() && task.look != Look::Whole,
                Step::Whole => false,
            };
            if !is_dir(found) || passed_over {
                continue;
            }
            let tree = task.depth == Depth::Tree || step == Step::Whole;
            let depth = if tree { Depth::Tree } else { Depth::Entry };
            self.enter(scope, task, rules, name, depth);
        }
    }

    /// Counts a directory; says why the walk must not go on where it reached its bounds.
    fn account(&self) -> Result<(), &'static str> {
        if self.entries.fetch_add(1, Ordering::Relaxed) >= self.bounds.max_entries {
            return Err("more entries than the limit (max_files)");
        }
        if self
            .bounds
            .deadline
            .is_some_and(|deadline| Instant::now() > deadline)
        {
            return Err("the time for the snapshot was over (max_capture_seconds)");
        }
        Ok(())
    }

    fn skip(&self, path: &AbsPath, reason: &str) {
        lock(&self.unobserved).push(Unobserved {
            path: path.clone(),
            reason: reason.to_owned(),
        });
    }

    fn skip_child(&self, task: &Task, name: &OsStr, reason: &str) {
        if let Ok(path) = task.path.join(name) {
            self.skip(&path, reason);
        }
    }
}

fn is_dir(stat: &Stat) -> bool {
    stat.kind == crate::entry::EntryKind::Directory
}

/// A poisoned lock only means that another thread panicked; what it guards stays valid.
pub(in crate::snapshot) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
