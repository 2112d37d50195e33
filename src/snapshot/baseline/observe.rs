//! The state before a command: walks the scope and tells what the baseline lacks.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::rows::Rows;
use crate::entry::{EntryKind, Timestamp};
use crate::execute::Cancel;
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::tree::compare::unknown;
use crate::snapshot::tree::links::Groups;
use crate::snapshot::tree::record::{Child, Content, Record, Row, child_named, child_path};
use crate::snapshot::tree::walk::{Descend, Step, Visit, Visitor, lock};
use crate::sys::{Dir, Stat, hash_file_until, read_open_state, read_state, system_clock};

/// What the walk makes of one path.
pub(super) enum Found {
    /// The row that the baseline has is still true.
    Unchanged,
    /// A new row, complete but for the content of some files.
    Draft(Box<Draft>),
    /// Of a directory's row the entries that differ, and names that are no longer there.
    Part(Box<Draft>, Vec<OsString>),
}

impl Found {
    /// What is to be completed.
    pub(super) fn draft(&self) -> Option<&Draft> {
        match self {
            Found::Unchanged => None,
            Found::Draft(draft) | Found::Part(draft, _) => Some(draft),
        }
    }

    /// The same, to complete it.
    pub(super) fn draft_mut(&mut self) -> Option<&mut Draft> {
        match self {
            Found::Unchanged => None,
            Found::Draft(draft) | Found::Part(draft, _) => Some(draft),
        }
    }
}

/// A row in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) own: Option<Record>,
    pub(super) children: Option<Vec<(OsString, DraftChild)>>,
    /// The path itself is a file whose content is still to be secured.
    pub(super) own_pending: Option<Stat>,
}

/// A child of a row in the making.
pub(super) enum DraftChild {
    Done(Child),
    /// A file whose content is still to be secured.
    Pending(Stat),
}

/// Collects rows while the scope is walked before a command.
pub(super) struct Observer<'a> {
    known: &'a Rows,
    /// Only parts of a tree are looked at.
    focused: bool,
    /// Content is not read to its end any more.
    cancel: Option<&'a Cancel>,
    found: Mutex<Vec<(AbsPath, Found)>>,
    unobserved: Mutex<Vec<Unobserved>>,
    vanished: Mutex<Vec<AbsPath>>,
    ignoring: Mutex<Vec<AbsPath>>,
    unclear: AtomicBool,
    groups: Groups,
}

/// What an observer gives.
pub(super) struct Observed {
    pub(super) found: Vec<(AbsPath, Found)>,
    pub(super) unobserved: Vec<Unobserved>,
    /// Of a walk of a focus: directories that were there the last time and are no longer.
    pub(super) vanished: Vec<AbsPath>,
    /// The same: directories with an ignore file.
    pub(super) ignoring: Vec<AbsPath>,
    /// The same: of a directory more has to be looked at than some entries.
    pub(super) unclear: bool,
    pub(super) groups: Groups,
}

impl<'a> Observer<'a> {
    pub(super) fn new(known: &'a Rows, focused: bool, cancel: Option<&'a Cancel>) -> Self {
        Self {
            known,
            focused,
            cancel,
            found: Mutex::default(),
            unobserved: Mutex::default(),
            vanished: Mutex::default(),
            ignoring: Mutex::default(),
            unclear: AtomicBool::new(false),
            groups: Groups::default(),
        }
    }

    pub(super) fn finish(self) -> Observed {
        Observed {
            found: self.found.into_inner().unwrap_or_default(),
            unobserved: self.unobserved.into_inner().unwrap_or_default(),
            vanished: self.vanished.into_inner().unwrap_or_default(),
            ignoring: self.ignoring.into_inner().unwrap_or_default(),
            unclear: self.unclear.into_inner(),
            groups: self.groups,
        }
    }

    /// Whether reading content is to stop.
    fn stop(&self) -> impl Fn() -> bool {
        || self.cancel.is_some_and(Cancel::is_cancelled)
    }

    fn push(&self, path: &AbsPath, found: Found) {
        lock(&self.found).push((path.clone(), found));
    }

    fn skip(&self, path: Option<AbsPath>, error: &std::io::Error) {
        if let Some(path) = path {
            let reason = format!("cannot be looked at: {error}");
            lock(&self.unobserved).push(Unobserved { path, reason });
        }
    }

    /// A child that is not a directory: the known record if it is still true, or a new one.
    fn child(
        &self,
        dir: &Dir,
        name: &OsStr,
        stat: &Stat,
        known: Option<&Child>,
    ) -> std::io::Result<DraftChild> {
        if let Some(Child::Entry(record)) = known
            && let Some(record) = still_true(dir, name, stat, record, &self.stop())
        {
            return Ok(DraftChild::Done(Child::Entry(record)));
        }
        if stat.kind == EntryKind::File && stat.size > 0 {
            return Ok(DraftChild::Pending(*stat));
        }
        let now = system_clock();
        let state = read_state(dir, name, stat)?;
        Ok(DraftChild::Done(Child::Entry(Record::new(
            state,
            Content::None,
            now,
        ))))
    }

    fn children(
        &self,
        visit: &Visit<'_>,
        known: &[(Vec<u8>, Child)],
    ) -> Option<Vec<(OsString, DraftChild)>> {
        let entries = visit.entries?;
        let mut children = Vec::with_capacity(entries.len());
        for (name, stat) in entries {
            if stat.kind == EntryKind::Directory {
                children.push((name.clone(), DraftChild::Done(Child::Directory)));
                continue;
            }
            self.groups.meet(stat, || visit.path.join(name).ok());
            match self.child(visit.dir, name, stat, child_named(known, name)) {
                Ok(child) => children.push((name.clone(), child)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => self.skip(visit.path.join(name).ok(), &e),
            }
        }
        Some(children)
    }
}

impl Observer<'_> {
    /// Looks at some entries of a directory of which the others are known. `None`: they are not, or
    /// may be others.
    fn part(&self, visit: &Visit<'_>, asked: &[OsString]) -> Option<Descend> {
        let row = self.known.part(visit.path, asked)?;
        let (Some(own), Some(children)) = (&row.own, &row.children) else {
            return None;
        };
        let entries = visit.entries?;
        if own.identity().inode != visit.stat.identity.inode
            || !visit.are_spelled_so(&unknown(entries, children)).ok()?
        {
            return None;
        }
        let now = own_record(visit, Some(own)).ok()?;
        let mut present = self.children(visit, children)?;
        let is_there = |name: &OsStr| present.iter().any(|(there, _)| there == name);
        let absent: Vec<OsString> = asked
            .iter()
            .filter(|name| child_named(children, name).is_some() && !is_there(name))
            .cloned()
            .collect();
        present.retain(|(name, child)| {
            !matches!(child, DraftChild::Done(now) if child_named(children, name) == Some(now))
        });
        if now != *own || !present.is_empty() || !absent.is_empty() {
            let draft = Draft {
                own: Some(now),
                children: Some(present),
                own_pending: None,
            };
            self.push(visit.path, Found::Part(Box::new(draft), absent));
        }
        Some(self.steps(visit, &row))
    }

    /// Into which subdirectories a walk of a focus goes: those that were not there the last time.
    fn steps(&self, visit: &Visit<'_>, known: &Row) -> Descend {
        let entries = visit.entries.unwrap_or_default();
        let inode = visit.stat.identity.inode;
        let replaced = known
            .own
            .as_ref()
            .is_none_or(|own| own.identity().inode != inode);
        let mut before: HashSet<&[u8]> = known
            .children
            .iter()
            .flatten()
            .filter(|(_, child)| *child == Child::Directory)
            .map(|(name, _)| name.as_slice())
            .collect();
        let steps = entries
            .iter()
            .map(|(name, stat)| {
                let is_directory = stat.kind == EntryKind::Directory;
                let known = is_directory && before.remove(name.as_encoded_bytes());
                match (is_directory, known && !replaced) {
                    (false, _) => Step::Skip,
                    (true, true) => Step::Scope,
                    (true, false) => Step::Whole,
                }
            })
            .collect();
        let vanished = before
            .into_iter()
            .filter_map(|name| child_path(visit.path, name).ok());
        lock(&self.vanished).extend(vanished);
        if entries.iter().any(|(name, _)| name == IGNORE_FILE) {
            lock(&self.ignoring).push(visit.path.clone());
        }
        Descend::Each(steps)
    }
}

impl Visitor for Observer<'_> {
    fn directory(&self, visit: &Visit<'_>) -> Descend {
        let row = self.known.row(visit.path);
        let is_known = row.is_some();
        let known = row.unwrap_or_default();
        let own = match own_record(visit, known.own.as_ref()) {
            Ok(own) => own,
            Err(e) => {
                self.skip(Some(visit.path.clone()), &e);
                return Descend::Each(Vec::new());
            }
        };
        let draft = Draft {
            own: Some(own),
            children: self.children(visit, known.children.as_deref().unwrap_or_default()),
            own_pending: None,
        };
        let found = if is_known && is_unchanged(&draft, &known) {
            Found::Unchanged
        } else {
            Found::Draft(Box::new(draft))
        };
        self.push(visit.path, found);
        if self.focused {
            self.steps(visit, &known)
        } else {
            Descend::All
        }
    }

    fn names(&self, visit: &Visit<'_>, asked: &[OsString]) -> Option<Descend> {
        let part = self.part(visit, asked);
        if part.is_none() {
            self.unclear.store(true, Ordering::Relaxed);
        }
        // What is known of the rest is not here: somebody has to begin anew.
        Some(part.unwrap_or(Descend::Each(Vec::new())))
    }

    fn root(&self, path: &AbsPath, parent: Option<&Dir>, name: &OsStr, stat: Option<&Stat>) {
        let row = self.known.row(path);
        let is_known = row.is_some();
        let known = row.unwrap_or_default();
        let (Some(dir), Some(stat)) = (parent, stat) else {
            let found = if is_known && known.own.is_none() {
                Found::Unchanged
            } else {
                Found::Draft(Box::default())
            };
            return self.push(path, found);
        };
        self.groups.meet(stat, || Some(path.clone()));
        let before = known.own.clone().map(Child::Entry);
        match self.child(dir, name, stat, before.as_ref()) {
            Ok(DraftChild::Done(Child::Entry(record))) => {
                let found = if known.own.as_ref() == Some(&record) {
                    Found::Unchanged
                } else {
                    Found::Draft(Box::new(Draft {
                        own: Some(record),
                        ..Draft::default()
                    }))
                };
                self.push(path, found);
            }
            Ok(DraftChild::Pending(stat)) => {
                let draft = Draft {
                    own_pending: Some(stat),
                    ..Draft::default()
                };
                self.push(path, Found::Draft(Box::new(draft)));
            }
            Ok(DraftChild::Done(Child::Directory)) => {}
            Err(e) => self.skip(Some(path.clone()), &e),
        }
    }
}

/// A directory's own record: the one that is known, if that is still true.
fn own_record(visit: &Visit<'_>, known: Option<&Record>) -> std::io::Result<Record> {
    match known.filter(|own| own.matches(visit.stat) && !own.is_racy()) {
        Some(own) => Ok(own.clone()),
        None => read_directory(visit, system_clock()),
    }
}

/// The directory's own record, read.
fn read_directory(visit: &Visit<'_>, now: Timestamp) -> std::io::Result<Record> {
    let state = read_open_state(visit.dir, visit.stat)?;
    Ok(Record::new(state, Content::None, now))
}

/// The record, if the live entry is still as it says. Where the stat alone cannot prove that, the
/// content is compared.
fn still_true(
    dir: &Dir,
    name: &OsStr,
    stat: &Stat,
    record: &Record,
    stop: &dyn Fn() -> bool,
) -> Option<Record> {
    if !record.matches(stat) || matches!(record.content, Content::Unkept(_)) {
        return None;
    }
    if !record.is_racy() {
        return Some(record.clone());
    }
    if stat.kind != EntryKind::File || stat.size == 0 {
        // Attributes may have changed behind an equal stat: read them again.
        return None;
    }
    // Without a hash there is nothing to compare with.
    let known = record.hash()?;
    let now = system_clock();
    let file = dir.open_file(name).ok()?;
    let state = read_open_state(&file, stat).ok()?;
    let hash = hash_file_until(&file, stop).ok()?;
    let old = record.state();
    (known == hash && state.xattrs == old.xattrs && state.flags == old.flags)
        .then(|| record.confirmed(now))
}

/// Whether a draft says the same as the row that is known. A row that was only looked at from
/// above keeps what is known of its children.
fn is_unchanged(draft: &Draft, known: &Row) -> bool {
    let own = draft.own_pending.is_none() && draft.own == known.own;
    let children = match (&draft.children, &known.children) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(draft), Some(known)) => {
            draft.len() == known.len()
                && draft
                    .iter()
                    .zip(known)
                    .all(|((name, child), (known_name, known_child))| {
                        name.as_encoded_bytes() == known_name.as_slice()
                            && matches!(child, DraftChild::Done(c) if c == known_child)
                    })
        }
    };
    own && children
}
