//! What a walk leaves out: the patterns in force in each directory.

use std::ffi::{OsStr, OsString};

use super::{Above, Task, Visitor, Walk, is_dir, lock};
use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::tree::exclude::{IGNORE_FILE, Rules};
use crate::sys::{Dir, Stat};

impl<V: Visitor> Walk<'_, V> {
    /// The rules in force at a directory in the tree of `top`; `None` where they leave it out. Those
    /// of its own ignore file come when it is listed.
    pub(super) fn rules_within(
        &self,
        directory: &AbsPath,
        top: &Task,
        known: &mut Above,
    ) -> Option<Rules> {
        if *directory == top.path {
            return Some(top.rules.clone());
        }
        if let Some(rules) = known.get(directory) {
            return rules.clone();
        }
        let parent = directory.parent().filter(|p| p.starts_with(&top.path))?;
        let rules = self
            .rules_within(&parent, top, known)
            .map(|rules| self.frozen_rules(&rules, &parent))
            .filter(|rules| {
                !self.exclusions.subtrees.contains(directory)
                    && (rules.is_empty() || !rules.exclude(directory.as_path(), true))
            });
        known.insert(directory.clone(), rules.clone());
        rules
    }

    /// The rules in force at a root; `None` where they leave it out. `above` keeps the rules of
    /// directories above the roots.
    pub(super) fn rules_at(&self, root: &AbsPath, above: &mut Above) -> Result<Option<Rules>> {
        let base = self.exclusions.base.as_ref();
        let within = base.filter(|base| root != *base && root.starts_with(base));
        let (Some(base), Some(parent)) = (within, root.parent()) else {
            return Rules::at_root(root, &self.exclusions.patterns).map(Some);
        };
        let Some(rules) = self.rules_above(&parent, base, above)? else {
            return Ok(None);
        };
        let is_dir = || root.as_path().symlink_metadata().is_ok_and(|m| m.is_dir());
        let excluded = !rules.is_empty() && rules.exclude(root.as_path(), is_dir());
        Ok((!excluded).then_some(rules))
    }

    /// The rules for what is in `directory`, which is `base` or beneath it.
    fn rules_above(
        &self,
        directory: &AbsPath,
        base: &AbsPath,
        above: &mut Above,
    ) -> Result<Option<Rules>> {
        if let Some(known) = above.get(directory) {
            return Ok(known.clone());
        }
        let outer = match directory.parent().filter(|_| directory != base) {
            None => Some(Rules::at_root(base, &self.exclusions.patterns)?),
            Some(parent) => self
                .rules_above(&parent, base, above)?
                .filter(|rules| !rules.exclude(directory.as_path(), true)),
        };
        let rules = outer.map(|rules| self.rules_in(rules, directory));
        above.insert(directory.clone(), rules.clone());
        Ok(rules)
    }

    /// `rules` with the ignore file of a directory above a root.
    fn rules_in(&self, rules: Rules, directory: &AbsPath) -> Rules {
        if self.frozen {
            return self.frozen_rules(&rules, directory);
        }
        match Dir::open_path(directory) {
            Ok(dir) => self.found_rules(rules, directory, &dir),
            Err(_) => rules,
        }
    }

    /// The rules for what is in a directory: those above it and its own ignore file.
    pub(super) fn rules_beneath(&self, task: &Task, dir: &Dir, names: &[OsString]) -> Rules {
        if self.frozen {
            return self.frozen_rules(&task.rules, &task.path);
        }
        let ignore_file = OsStr::new(IGNORE_FILE);
        if names
            .binary_search_by(|n| n.as_os_str().cmp(ignore_file))
            .is_err()
        {
            return task.rules.clone();
        }
        self.found_rules(task.rules.clone(), &task.path, dir)
    }

    fn frozen_rules(&self, rules: &Rules, directory: &AbsPath) -> Rules {
        let files = &self.exclusions.files;
        files.iter().find(|(at, _)| at == directory).map_or_else(
            || rules.clone(),
            |(_, text)| rules.with_file(directory, text),
        )
    }

    /// `rules` with the ignore file that is in a directory now, if any.
    fn found_rules(&self, rules: Rules, directory: &AbsPath, dir: &Dir) -> Rules {
        let text = dir
            .open_file(OsStr::new(IGNORE_FILE))
            .and_then(std::io::read_to_string);
        match text {
            Ok(text) => {
                let rules = rules.with_file(directory, &text);
                lock(&self.ignore_files).push((directory.clone(), text));
                rules
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => rules,
            Err(error) => {
                tracing::warn!(%directory, %error, "cannot read {IGNORE_FILE}");
                rules
            }
        }
    }

    pub(super) fn excluded(&self, task: &Task, rules: &Rules, name: &OsStr, stat: &Stat) -> bool {
        if rules.is_empty() && self.exclusions.subtrees.is_empty() {
            return false;
        }
        let Ok(path) = task.path.join(name) else {
            return true;
        };
        if is_dir(stat) && self.exclusions.subtrees.contains(&path) {
            return true;
        }
        rules.exclude(path.as_path(), is_dir(stat))
    }
}
