//! The state before a command: walks the scope and tells what the baseline lacks.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::sync::Mutex;

use super::index::Rows;
use crate::entry::{EntryKind, Timestamp};
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::tree::links::Groups;
use crate::snapshot::tree::record::{Child, Content, Record, Row, child_path};
use crate::snapshot::tree::walk::{Descend, Step, Visit, Visitor, lock};
use crate::sys::{Dir, Stat, hash_file, read_open_state, read_state, system_clock};

/// What the walk makes of one path.
pub(super) enum Found {
    /// The row that the baseline has is still true.
    Unchanged(Box<[u8]>),
    /// A new row, complete but for the content of some files.
    Draft(Box<Draft>),
}

/// A row in the making.
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
    found: Mutex<Vec<(AbsPath, Found)>>,
    unobserved: Mutex<Vec<Unobserved>>,
    vanished: Mutex<Vec<AbsPath>>,
    ignoring: Mutex<Vec<AbsPath>>,
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
    pub(super) groups: Groups,
}

impl<'a> Observer<'a> {
    pub(super) fn new(known: &'a Rows, focused: bool) -> Self {
        Self {
            known,
            focused,
            found: Mutex::default(),
            unobserved: Mutex::default(),
            vanished: Mutex::default(),
            ignoring: Mutex::default(),
            groups: Groups::default(),
        }
    }

    pub(super) fn finish(self) -> Observed {
        Observed {
            found: self.found.into_inner().unwrap_or_default(),
            unobserved: self.unobserved.into_inner().unwrap_or_default(),
            vanished: self.vanished.into_inner().unwrap_or_default(),
            ignoring: self.ignoring.into_inner().unwrap_or_default(),
            groups: self.groups,
        }
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
        dir: &Dir,
        name: &OsStr,
        stat: &Stat,
        known: Option<&Child>,
    ) -> std::io::Result<DraftChild> {
        if let Some(Child::Entry(record)) = known
            && let Some(record) = still_true(dir, name, stat, record)
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

    fn children(&self, visit: &Visit<'_>, known: &Row) -> Option<Vec<(OsString, DraftChild)>> {
        let entries = visit.entries?;
        let known = known.children.as_deref().unwrap_or_default();
        let mut children = Vec::with_capacity(entries.len());
        for (name, stat) in entries {
            if stat.kind == EntryKind::Directory {
                children.push((name.clone(), DraftChild::Done(Child::Directory)));
                continue;
            }
            self.groups.meet(stat, || visit.path.join(name).ok());
            let before = known
                .binary_search_by(|(n, _)| n.as_slice().cmp(name.as_encoded_bytes()))
                .ok()
                .map(|at| &known[at].1);
            match Self::child(visit.dir, name, stat, before) {
                Ok(child) => children.push((name.clone(), child)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => self.skip(visit.path.join(name).ok(), &e),
            }
        }
        Some(children)
    }
}

impl Observer<'_> {
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
        let encoded = self.known.get(visit.path.to_bytes());
        let known = encoded
            .and_then(|bytes| Row::decode(bytes))
            .unwrap_or_default();
        let own = match known
            .own
            .as_ref()
            .filter(|own| own.matches(visit.stat) && !own.is_racy())
        {
            Some(own) => own.clone(),
            None => match read_directory(visit, system_clock()) {
                Ok(own) => own,
                Err(e) => {
                    self.skip(Some(visit.path.clone()), &e);
                    return Descend::Each(Vec::new());
                }
            },
        };
        let draft = Draft {
            own: Some(own),
            children: self.children(visit, &known),
            own_pending: None,
        };
        let found = match encoded {
            Some(bytes) if is_unchanged(&draft, &known) => Found::Unchanged(bytes.clone()),
            _ => Found::Draft(Box::new(draft)),
        };
        self.push(visit.path, found);
        if self.focused {
            self.steps(visit, &known)
        } else {
            Descend::All
        }
    }

    fn root(&self, path: &AbsPath, parent: Option<&Dir>, name: &OsStr, stat: Option<&Stat>) {
        let encoded = self.known.get(path.to_bytes());
        let known = encoded
            .and_then(|bytes| Row::decode(bytes))
            .unwrap_or_default();
        let (Some(dir), Some(stat)) = (parent, stat) else {
            let found = match encoded {
                Some(bytes) if known.own.is_none() => Found::Unchanged(bytes.clone()),
                _ => Found::Draft(Box::new(Draft {
                    own: None,
                    children: None,
                    own_pending: None,
                })),
            };
            return self.push(path, found);
        };
        self.groups.meet(stat, || Some(path.clone()));
        let before = known.own.clone().map(Child::Entry);
        match Self::child(dir, name, stat, before.as_ref()) {
            Ok(DraftChild::Done(Child::Entry(record))) => {
                let found = match encoded {
                    Some(bytes) if known.own.as_ref() == Some(&record) => {
                        Found::Unchanged(bytes.clone())
                    }
                    _ => Found::Draft(Box::new(Draft {
                        own: Some(record),
                        children: None,
                        own_pending: None,
                    })),
                };
                self.push(path, found);
            }
            Ok(DraftChild::Pending(stat)) => {
                let draft = Draft {
                    own: None,
                    children: None,
                    own_pending: Some(stat),
                };
                self.push(path, Found::Draft(Box::new(draft)));
            }
            Ok(DraftChild::Done(Child::Directory)) => {}
            Err(e) => self.skip(Some(path.clone()), &e),
        }
    }
}

/// The directory's own record.
fn read_directory(visit: &Visit<'_>, now: Timestamp) -> std::io::Result<Record> {
    let state = read_open_state(visit.dir, visit.stat)?;
    Ok(Record::new(state, Content::None, now))
}

/// The record, if the live entry is still as it says. Where the stat alone cannot prove that, the
/// content is compared.
fn still_true(dir: &Dir, name: &OsStr, stat: &Stat, record: &Record) -> Option<Record> {
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
    let hash = hash_file(&file).ok()?;
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
