//! Walks of a focus: only some directories, and of some of them only some entries.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Above, Bounds, Task, Visit, Visitor, Walk, Walked, is_dir, lock};
use crate::error::Result;
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::Exclusions;
use crate::snapshot::tree::focus::{Focus, Look};
use crate::sys::{Dir, Stat};

/// What a walk of a focus gives.
pub(in crate::snapshot) struct Focused {
    pub(in crate::snapshot) walked: Walked,
    /// Every directory that was visited, and how much of it.
    visited: HashMap<AbsPath, Look>,
}

impl Focused {
    /// Whether the walk came to where `path` is or would be.
    pub(in crate::snapshot) fn came_to(&self, path: &AbsPath) -> bool {
        let at = path.parent().zip(path.name());
        at.is_some_and(|(parent, name)| {
            let look = self.visited.get(&parent);
            look.is_some_and(|look| look.includes(name))
        })
    }

    /// The directories of which everything beneath was visited.
    pub(in crate::snapshot) fn whole(&self) -> impl Iterator<Item = &AbsPath> {
        let whole = self
            .visited
            .iter()
            .filter(|(_, look)| **look == Look::Whole);
        whole.map(|(path, _)| path)
    }
}

/// What a walk of a focus does in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Todo {
    Look,
    /// It was looked at already, but not what is in its subdirectories.
    GoDeeper,
    Nothing,
}

/// Walks the parts of the tree at `root` that `focus` lists. What is listed and is no directory (any
/// more) is passed over: the directory above it shows that. Ignore files are those in `exclusions`.
pub(in crate::snapshot) fn walk_focus<V: Visitor>(
    root: &ScopePath,
    focus: &Focus,
    exclusions: &Exclusions,
    bounds: Bounds<'_>,
    visitor: &V,
) -> Result<Focused> {
    let mut walk = Walk::new(visitor, exclusions, bounds);
    walk.frozen = true;
    walk.visited = Some(Mutex::default());
    let mut above = Above::new();
    if !focus.is_empty()
        && let Some(rules) = walk.rules_at(&root.path, &mut above)?
        && let Some(top) = walk.start(root, rules)
    {
        let mut within = Above::new();
        let mut tasks = Vec::with_capacity(focus.len());
        for (directory, look) in focus.directories() {
            let rules = walk.rules_within(directory, &top, &mut within);
            tasks.extend(rules.map(|rules| Task {
                path: directory.clone(),
                depth: Depth::Tree,
                look: look.clone(),
                rules,
                root: Arc::clone(&top.root),
            }));
        }
        walk.carry_out(tasks)?;
    }
    let visited = walk.visited.take().map(Mutex::into_inner);
    let visited = visited.map(|v| v.unwrap_or_else(PoisonError::into_inner));
    Ok(Focused {
        visited: visited.unwrap_or_default(),
        walked: walk.finish(),
    })
}

impl<'a, V: Visitor> Walk<'a, V> {
    /// What is left to do in a directory to which a walk of a focus may have come before.
    pub(super) fn left_to_do(&self, task: &Task) -> Todo {
        let Some(visited) = &self.visited else {
            return Todo::Look;
        };
        let mut visited = lock(visited);
        let before = visited.get(&task.path);
        let todo = match (before, &task.look) {
            (None | Some(Look::Names(_)), _) => Todo::Look,
            (Some(Look::Entries), Look::Whole) => Todo::GoDeeper,
            (Some(Look::Entries | Look::Whole), _) => Todo::Nothing,
        };
        if todo != Todo::Nothing {
            visited.insert(task.path.clone(), task.look.clone());
        }
        todo
    }

    /// Goes into the subdirectories of a directory that was visited by itself before.
    pub(super) fn go_deeper<'s>(&'s self, scope: &rayon::Scope<'s>, task: &Task, dir: &Dir)
    where
        'a: 's,
    {
        let names = match dir.names() {
            Ok(names) => names,
            Err(e) => return self.skip(&task.path, &format!("cannot be listed: {e}")),
        };
        let rules = self.rules_beneath(task, dir, &names);
        for name in names {
            let Ok(Some(found)) = dir.stat_opt(&name) else {
                continue;
            };
            if is_dir(&found) && !self.excluded(task, &rules, &name, &found) {
                self.enter(scope, task, &rules, &name, Depth::Tree);
            }
        }
    }

    /// Looks at the entries `names` of a directory. `false`: all of it must be looked at.
    pub(super) fn look_at<'s>(
        &'s self,
        scope: &rayon::Scope<'s>,
        task: &Task,
        dir: &Dir,
        stat: &Stat,
        names: &BTreeSet<OsString>,
    ) -> bool
    where
        'a: 's,
    {
        let asked: Vec<OsString> = names.iter().cloned().collect();
        let rules = self.rules_beneath(task, dir, &asked);
        let (entries, skipped) = self.stat_all(task, dir, &rules, asked.clone());
        let visit = Visit {
            path: &task.path,
            dir,
            stat,
            entries: Some(&entries),
            skipped: &skipped,
        };
        let descend = self.visitor.names(&visit, &asked);
        if let Some(descend) = &descend {
            self.descend(scope, task, &rules, &entries, descend);
        } else if let Some(visited) = &self.visited
            && let Some(look @ Look::Names(_)) = lock(visited).get_mut(&task.path)
        {
            *look = Look::Entries;
        }
        descend.is_some()
    }
}

impl Visit<'_> {
    /// Whether entries were found under the very names that they have. Where a filesystem takes
    /// several spellings for one name, an event may tell of another one.
    pub(in crate::snapshot) fn are_spelled_so(&self, names: &[&OsStr]) -> io::Result<bool> {
        if names.is_empty() {
            return Ok(true);
        }
        let listed = self.dir.names()?;
        Ok(names.iter().all(|name| {
            let by_name = |n: &OsString| n.as_os_str().cmp(name);
            listed.binary_search_by(by_name).is_ok()
        }))
    }
}
