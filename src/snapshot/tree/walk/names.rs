//! Looking at some entries of a directory, without listing it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;

use super::{Task, Visit, Visitor, Walk, lock};
use crate::snapshot::tree::focus::Look;
use crate::sys::{Dir, Stat};

impl<'a, V: Visitor> Walk<'a, V> {
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
