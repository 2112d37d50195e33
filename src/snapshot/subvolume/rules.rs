//! Which entries were left alone, as the ignore files in the snapshots say.
//!
//! Nothing is walked before the command, so that its ignore files are read when something near
//! them changed: out of the snapshot, where they are as they were.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io;
use std::sync::Mutex;

use super::view::{Covered, Roots, View, stands_for_subvolume};
use crate::entry::EntryKind;
use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::Exclusions;
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::tree::exclude::Rules;
use crate::snapshot::tree::walk::lock;

/// The rules in each directory of a scope.
pub(super) struct Rulebook<'a> {
    exclusions: &'a Exclusions,
    views: &'a [View<'a>],
    roots: &'a Roots,
    /// At each path of the scope; `None` where they leave it out.
    at_roots: HashMap<AbsPath, Option<Rules>>,
    /// In each directory; `None` where they leave it out.
    known: Mutex<HashMap<AbsPath, Option<Rules>>>,
    found: Mutex<BTreeMap<AbsPath, String>>,
}

impl<'a> Rulebook<'a> {
    /// The rules of `exclusions`, whose files are those above the paths of the scope.
    pub(super) fn new(
        exclusions: &'a Exclusions,
        views: &'a [View<'a>],
        roots: &'a Roots,
    ) -> Result<Self> {
        let mut book = Self {
            exclusions,
            views,
            roots,
            at_roots: HashMap::new(),
            known: Mutex::default(),
            found: Mutex::default(),
        };
        for (root, _, volume) in roots.iter() {
            let rules = book.rules_at(root, volume)?;
            book.at_roots.insert(root.clone(), rules);
        }
        Ok(book)
    }

    /// Every ignore file that was read, in tree order.
    pub(super) fn found(&self) -> Vec<(AbsPath, String)> {
        let found = lock(&self.found);
        found
            .iter()
            .map(|(at, text)| (at.clone(), text.clone()))
            .collect()
    }

    /// Whether `path`, which is covered as said, was left alone.
    pub(super) fn excludes(&self, path: &AbsPath, covered: Covered<'_>, is_dir: bool) -> bool {
        if path == covered.root {
            return self.at_root(path).is_none();
        }
        let Some(parent) = path.parent() else {
            return false;
        };
        let within = self.within(&parent, covered);
        within.is_none_or(|within| self.excludes_in(&within, path, is_dir))
    }

    /// The same where the rules within the directory that holds `path` are known.
    pub(super) fn excludes_in(&self, within: &Rules, path: &AbsPath, is_dir: bool) -> bool {
        self.exclusions.covers(path) || within.exclude(path.as_path(), is_dir)
    }

    /// The rules for what is in a directory; `None` where they leave it out.
    pub(super) fn within(&self, directory: &AbsPath, covered: Covered<'_>) -> Option<Rules> {
        let mut below = Vec::new();
        let mut at = directory.clone();
        let mut rules = loop {
            if let Some(known) = lock(&self.known).get(&at) {
                break known.clone();
            }
            if at == *covered.root {
                let rules = self.at_root(&at);
                let rules = rules.map(|rules| self.with_file(rules, &at, covered.volume));
                lock(&self.known).insert(at.clone(), rules.clone());
                break rules;
            }
            let parent = at.parent()?;
            below.push(std::mem::replace(&mut at, parent));
        };
        while let Some(at) = below.pop() {
            rules = rules
                .filter(|rules| !self.exclusions.covers(&at) && !rules.exclude(at.as_path(), true))
                .map(|rules| self.with_file(rules, &at, covered.volume));
            lock(&self.known).insert(at, rules.clone());
        }
        rules
    }

    /// Reads every ignore file at and beneath a directory of the scope as it was.
    pub(super) fn read_beneath(&self, directory: &AbsPath) -> io::Result<()> {
        let mut waiting = vec![directory.clone()];
        while let Some(at) = waiting.pop() {
            let Some(covered) = self.roots.covering(&at) else {
                continue;
            };
            let Some(dir) = self.views[covered.volume].open(&at)? else {
                continue;
            };
            if self.within(&at, covered).is_none() {
                continue;
            }
            let mut beneath = Vec::new();
            dir.for_each(|name, kind| {
                if kind.is_none_or(|kind| kind == EntryKind::Directory) {
                    beneath.extend(at.join(name).ok());
                }
            })?;
            waiting.append(&mut beneath);
        }
        Ok(())
    }

    fn at_root(&self, root: &AbsPath) -> Option<Rules> {
        self.at_roots.get(root).cloned().flatten()
    }

    /// The rules at a path of the scope; `None` where they leave it out.
    fn rules_at(&self, root: &AbsPath, volume: usize) -> Result<Option<Rules>> {
        if self.exclusions.covers(root) {
            return Ok(None);
        }
        let base = self.exclusions.base.as_ref();
        let Some(base) = base.filter(|base| root != *base && root.starts_with(base)) else {
            return Rules::at_root(root, &self.exclusions.patterns).map(Some);
        };
        let mut above: Vec<AbsPath> = Vec::new();
        let mut at = root.parent();
        while let Some(directory) = at.filter(|at| at.starts_with(base)) {
            at = directory.parent();
            above.push(directory);
        }
        let mut rules = Rules::at_root(base, &self.exclusions.patterns)?;
        while let Some(directory) = above.pop() {
            if directory != *base && rules.exclude(directory.as_path(), true) {
                return Ok(None);
            }
            let mut files = self.exclusions.files.iter();
            rules = match files.find(|(at, _)| *at == directory) {
                Some((_, text)) => rules.with_file(&directory, text),
                None => self.with_file(rules, &directory, volume),
            };
        }
        let stat = self.views[volume].stat(root).ok().flatten();
        let is_dir = stat.is_some_and(|stat| stat.kind == EntryKind::Directory);
        let excluded = !rules.is_empty() && rules.exclude(root.as_path(), is_dir);
        Ok((!excluded).then_some(rules))
    }

    /// `rules` with the ignore file that was in a directory.
    fn with_file(&self, rules: Rules, directory: &AbsPath, volume: usize) -> Rules {
        match read_ignore_file(&self.views[volume], directory) {
            Ok(Some(text)) => {
                let rules = rules.with_file(directory, &text);
                lock(&self.found).insert(directory.clone(), text);
                rules
            }
            Ok(None) => rules,
            Err(error) => {
                tracing::warn!(%directory, %error, "cannot read {IGNORE_FILE}");
                rules
            }
        }
    }
}

/// The ignore file that was in a directory.
fn read_ignore_file(view: &View<'_>, directory: &AbsPath) -> io::Result<Option<String>> {
    let Some(stat) = view
        .stat(directory)?
        .filter(|_| directory.starts_with(view.root))
    else {
        return Ok(None);
    };
    if stat.kind != EntryKind::Directory || stands_for_subvolume(&stat) {
        return Ok(None);
    }
    let Some(dir) = view.open(directory)? else {
        return Ok(None);
    };
    match dir.open_file(OsStr::new(IGNORE_FILE)) {
        Ok(file) => io::read_to_string(file).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
