//! The state after a command against the state before: finds what changed.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::sync::Mutex;

use super::before::Before;
use super::links::Groups;
use super::record::{Child, Content, RACY_WINDOW, Record, Row, child_named, child_path, is_racy};
use super::walk::{Descend, Step, Visit, Visitor, lock};
use crate::entry::{EntryKind, EntryState, Timestamp};
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::sys::{Dir, Stat, hash_file, read_open_state, read_state, system_clock};

/// From this size on it is worth waiting until an equal change time proves that a file is unchanged: not
/// having to read it again later saves more.
const WAITED_FOR_FROM: u64 = 32 << 20;

/// One entry that differs, with what is known of its old content.
pub(in crate::snapshot) struct Difference {
    pub(in crate::snapshot) before: Option<Record>,
    pub(in crate::snapshot) after: Option<EntryState>,
}

/// Collects differences while the scope is walked after a command.
pub(in crate::snapshot) struct Comparer<'a> {
    before: &'a dyn Before,
    roots: HashSet<&'a AbsPath>,
    differences: Mutex<BTreeMap<AbsPath, Difference>>,
    /// Directories that are gone, with everything that was in them.
    gone: Mutex<Vec<AbsPath>>,
    unobserved: Mutex<Vec<Unobserved>>,
    groups: Groups,
}

/// What a comparison gives.
pub(in crate::snapshot) struct Compared {
    pub(in crate::snapshot) differences: BTreeMap<AbsPath, Difference>,
    pub(in crate::snapshot) unobserved: Vec<Unobserved>,
    /// The names that files with several have now, as far as the walk came to them.
    pub(in crate::snapshot) groups: Groups,
}

impl<'a> Comparer<'a> {
    /// Compares with what a capture of `scope` saw.
    pub(in crate::snapshot) fn new(before: &'a dyn Before, scope: &'a [ScopePath]) -> Self {
        Self {
            before,
            roots: scope.iter().map(|s| &s.path).collect(),
            differences: Mutex::default(),
            gone: Mutex::default(),
            unobserved: Mutex::default(),
            groups: Groups::default(),
        }
    }

    /// Every difference, once the walk is over.
    pub(in crate::snapshot) fn finish(self) -> Compared {
        for path in lock(&self.gone).drain(..) {
            self.remove_tree(&path);
        }
        Compared {
            differences: self
                .differences
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
            unobserved: self
                .unobserved
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
            groups: self.groups,
        }
    }

    /// What is known of a path. `Err`: that cannot be told, which is taken note of.
    fn row(&self, path: &AbsPath) -> Result<Option<Row>, ()> {
        self.before.row(path).map_err(|error| {
            let reason = format!("its state before cannot be read: {error}");
            lock(&self.unobserved).push(Unobserved {
                path: path.clone(),
                reason,
            });
        })
    }

    /// Whether no directory was at `path` before, as far as the directories above it tell.
    fn is_new(&self, path: &AbsPath) -> Result<bool, ()> {
        let mut path = path.clone();
        while let (Some(parent), Some(name)) = (path.parent(), path.name()) {
            if let Some(row) = self.row(&parent)? {
                let is_directory = |own: &Record| own.kind() == EntryKind::Directory;
                return Ok(match (&row.own, &row.children) {
                    // It was there, but nobody looked into it.
                    (Some(own), None) if is_directory(own) => false,
                    (_, children) => !children.iter().flatten().any(|(known, child)| {
                        *child == Child::Directory && known == name.as_encoded_bytes()
                    }),
                });
            }
            if self.roots.contains(&parent) {
                break;
            }
            path = parent;
        }
        Ok(false)
    }

    /// Records the old state of everything at and beneath a directory that is gone.
    fn remove_tree(&self, root: &AbsPath) {
        let mut waiting = vec![root.clone()];
        while let Some(path) = waiting.pop() {
            let Ok(Some(row)) = self.row(&path) else {
                continue;
            };
            if let Some(own) = row.own {
                if row.children.is_none() && own.kind() == EntryKind::Directory {
                    let reason = "what was in it was not in the scope".to_owned();
                    lock(&self.unobserved).push(Unobserved {
                        path: path.clone(),
                        reason,
                    });
                }
                self.old(&path, own);
            }
            for (name, child) in row.children.unwrap_or_default() {
                let Ok(path) = child_path(&path, &name) else {
                    continue;
                };
                match child {
                    Child::Entry(record) => self.old(&path, record),
                    Child::Directory => waiting.push(path),
                }
            }
        }
    }

    /// Something that was there is no longer, or is something else now.
    fn old(&self, path: &AbsPath, record: Record) {
        lock(&self.differences)
            .entry(path.clone())
            .or_insert(Difference {
                before: None,
                after: None,
            })
            .before = Some(record);
    }

    /// An entry as it is now. What is known of its old state stays.
    fn add(&self, path: AbsPath, before: Option<Record>, after: EntryState) {
        let mut differences = lock(&self.differences);
        let entry = differences.entry(path).or_insert(Difference {
            before: None,
            after: None,
        });
        entry.before = before.or(entry.before.take());
        entry.after = Some(after);
    }

    fn skip(&self, path: AbsPath, error: &std::io::Error) {
        let reason = format!("cannot be looked at after the command: {error}");
        lock(&self.unobserved).push(Unobserved { path, reason });
    }

    /// Compares an entry that is not a directory now.
    fn entry(&self, dir: &Dir, path: AbsPath, name: &OsStr, stat: &Stat, before: Option<&Record>) {
        if let Some(record) = before
            && record.matches(stat)
            && (!record.is_racy() || self.same_behind_racy_stat(dir, &path, name, stat, record))
        {
            return;
        }
        match read_after(dir, name, stat) {
            Ok(after) => {
                let before = before.map(|record| self.hashed(&path, record, &after));
                let same_inode = |b: &Record| b.identity().inode == after.identity.inode;
                // Nothing that could be restored differs: only the change time moved.
                if before
                    .as_ref()
                    .is_some_and(|b| same_inode(b) && is_equal(&b.state(), &after))
                {
                    return;
                }
                self.add(path, before, after);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if let Some(record) = before {
                    self.old(&path, record.clone());
                }
            }
            Err(e) => self.skip(path, &e),
        }
    }

    /// The record with its content's hash, where that is not known yet and is needed to tell
    /// whether the content is the same.
    fn hashed(&self, path: &AbsPath, record: &Record, after: &EntryState) -> Record {
        let state = record.state();
        let undecided = record.kind() == EntryKind::File
            && after.kind == EntryKind::File
            && state.hash.is_none()
            && state.size == after.size;
        if undecided && let Ok(Some(hash)) = self.before.hash(path, record) {
            return record.hashed(hash);
        }
        record.clone()
    }

    fn same_behind_racy_stat(
        &self,
        dir: &Dir,
        path: &AbsPath,
        name: &OsStr,
        stat: &Stat,
        record: &Record,
    ) -> bool {
        if matches!(record.content, Content::Unkept(_)) {
            return false;
        }
        read_after(dir, name, stat)
            .is_ok_and(|after| is_equal(&self.hashed(path, record, &after).state(), &after))
    }

    /// Compares a directory's own state.
    fn own(&self, visit: &Visit<'_>, before: Option<&Record>) {
        if before.is_some_and(|record| record.matches(visit.stat) && !record.is_racy()) {
            return;
        }
        match read_open_state(visit.dir, visit.stat) {
            Ok(after) => {
                let same = before.is_some_and(|b| {
                    b.identity().inode == after.identity.inode && is_equal(&b.state(), &after)
                });
                if !same {
                    self.add(visit.path.clone(), before.cloned(), after);
                }
            }
            Err(e) => self.skip(visit.path.clone(), &e),
        }
    }

    /// A name that was in the directory and is no longer.
    fn missing(&self, directory: &AbsPath, name: &[u8], child: &Child) {
        let Ok(path) = child_path(directory, name) else {
            return;
        };
        match child {
            Child::Entry(record) => self.old(&path, record.clone()),
            Child::Directory => lock(&self.gone).push(path),
        }
    }

    /// Compares the names of a directory with those it had.
    fn children(
        &self,
        visit: &Visit<'_>,
        entries: &[(OsString, Stat)],
        known: &[(Vec<u8>, Child)],
        replaced: bool,
    ) -> Vec<Step> {
        let mut descend = vec![Step::Skip; entries.len()];
        let mut before = known.iter().peekable();
        for (index, (name, stat)) in entries.iter().enumerate() {
            while let Some((old, child)) =
                before.next_if(|(n, _)| n.as_slice() < name.as_encoded_bytes())
            {
                if !visit
                    .skipped
                    .iter()
                    .any(|s| s.as_encoded_bytes() == old.as_slice())
                {
                    self.missing(visit.path, old, child);
                }
            }
            let old = before
                .next_if(|(n, _)| n.as_slice() == name.as_encoded_bytes())
                .map(|(_, c)| c);
            let Ok(path) = visit.path.join(name) else {
                continue;
            };
            let is_dir = stat.kind == EntryKind::Directory;
            self.groups.meet(stat, || Some(path.clone()));
            match (old, is_dir) {
                // Was not looked into before, so nothing in it is known to be new.
                (Some(Child::Directory), true) => match self.before.contains(&path) {
                    // The directory is another one: what is in it may be so too.
                    Ok(true) if replaced => descend[index] = Step::Whole,
                    Ok(true) => descend[index] = Step::Scope,
                    Ok(false) => {}
                    Err(error) => self.skip(path, &error),
                },
                (Some(Child::Directory), false) => {
                    lock(&self.gone).push(path.clone());
                    self.entry(visit.dir, path, name, stat, None);
                }
                (Some(Child::Entry(record)), true) => {
                    self.old(&path, record.clone());
                    descend[index] = Step::Whole;
                }
                (None, true) => descend[index] = Step::Whole,
                (Some(Child::Entry(record)), false) => {
                    self.entry(visit.dir, path, name, stat, Some(record));
                }
                (None, false) => self.entry(visit.dir, path, name, stat, None),
            }
        }
        for (old, child) in before {
            if !visit
                .skipped
                .iter()
                .any(|s| s.as_encoded_bytes() == old.as_slice())
            {
                self.missing(visit.path, old, child);
            }
        }
        descend
    }
}

impl Visitor for Comparer<'_> {
    fn root_depth(&self, path: &AbsPath, depth: Depth) -> Depth {
        let was_directory = |row: Row| {
            row.own
                .is_some_and(|own| own.kind() == EntryKind::Directory)
        };
        // All of a directory that was not there before is new.
        if self
            .row(path)
            .is_ok_and(|row| row.is_some_and(|row| !was_directory(row)))
        {
            Depth::Tree
        } else {
            depth
        }
    }

    fn directory(&self, visit: &Visit<'_>) -> Descend {
        let row = match self.row(visit.path) {
            Ok(Some(row)) => row,
            // It could not be observed before, so nothing is known to be new.
            Ok(None) if self.roots.contains(visit.path) || self.is_new(visit.path) != Ok(true) => {
                return Descend::Each(Vec::new());
            }
            Ok(None) => Row::default(),
            Err(()) => return Descend::Each(Vec::new()),
        };
        match &row.own {
            // Another kind was there; `old` has been noted where the parent was compared, or is
            // noted here for the path of a scope.
            Some(own) if own.kind() != EntryKind::Directory => self.own_replaced(visit, own),
            own => self.own(visit, own.as_ref()),
        }
        let Some(entries) = visit.entries else {
            return Descend::Each(Vec::new());
        };
        match (&row.own, &row.children) {
            // It was there, but nobody looked into it.
            (Some(own), None) if own.kind() == EntryKind::Directory => Descend::Each(Vec::new()),
            (own, known) => {
                let same = |own: &Record| own.identity().inode == visit.stat.identity.inode;
                let replaced = own.as_ref().is_some_and(|own| !same(own));
                let known = known.as_deref().unwrap_or_default();
                Descend::Each(self.children(visit, entries, known, replaced))
            }
        }
    }

    fn names(&self, visit: &Visit<'_>, asked: &[OsString]) -> Option<Descend> {
        let entries = visit.entries?;
        let row = self.before.part(visit.path, asked).ok()??;
        let (own, known) = (row.own?, row.children?);
        let same =
            own.kind() == EntryKind::Directory && own.identity().inode == visit.stat.identity.inode;
        if !same || !visit.are_spelled_so(&unknown(entries, &known)).ok()? {
            return None;
        }
        self.own(visit, Some(&own));
        Some(Descend::Each(self.children(visit, entries, &known, false)))
    }

    fn root(&self, path: &AbsPath, parent: Option<&Dir>, name: &OsStr, stat: Option<&Stat>) {
        let Ok(Some(row)) = self.row(path) else {
            return;
        };
        let was_directory = row
            .own
            .as_ref()
            .is_some_and(|o| o.kind() == EntryKind::Directory);
        if was_directory {
            lock(&self.gone).push(path.clone());
        }
        match (parent, stat) {
            (Some(dir), Some(stat)) => {
                let before = row.own.as_ref().filter(|_| !was_directory);
                self.entry(dir, path.clone(), name, stat, before);
            }
            _ => {
                if let Some(own) = row.own.filter(|_| !was_directory) {
                    self.old(path, own);
                }
            }
        }
    }
}

impl Comparer<'_> {
    fn own_replaced(&self, visit: &Visit<'_>, before: &Record) {
        self.own(visit, None);
        self.old(visit.path, before.clone());
    }
}

/// The names of entries that are not among the children known.
pub(in crate::snapshot) fn unknown<'a>(
    entries: &'a [(OsString, Stat)],
    known: &[(Vec<u8>, Child)],
) -> Vec<&'a OsStr> {
    let names = entries.iter().map(|(name, _)| name.as_os_str());
    names
        .filter(|name| child_named(known, name).is_none())
        .collect()
}

/// The full state of an entry after the command, with its content's hash.
pub(in crate::snapshot) fn read_after(
    dir: &Dir,
    name: &OsStr,
    stat: &Stat,
) -> std::io::Result<EntryState> {
    if stat.kind != EntryKind::File {
        return read_state(dir, name, stat);
    }
    let mut now = system_clock();
    let (file, mut stat) = match dir.open_file_with_stat(name) {
        Ok(opened) => opened,
        // Its metadata can still be compared; its content then only by identity.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return read_state(dir, name, stat);
        }
        Err(e) => return Err(e),
    };
    if stat.size >= WAITED_FOR_FROM && is_racy(&stat.identity, now) {
        std::thread::sleep(RACY_WINDOW);
        now = system_clock();
        stat = Stat::of(&file)?;
    }
    let mut state = read_open_state(&file, &stat)?;
    state.hash = Some(hash_file(&file)?);
    let again = Stat::of(&file)?;
    // A later write could leave the change time as it is: make sure that this identity never
    // proves anything.
    if again.identity != stat.identity || is_racy(&stat.identity, now) {
        state.identity.changed = Timestamp::default();
    }
    Ok(state)
}

/// Whether two states are equal in everything that a rollback restores.
pub(in crate::snapshot) fn is_equal(before: &EntryState, after: &EntryState) -> bool {
    before.same_metadata(after)
        && before.modified == after.modified
        && before.kind == after.kind
        && before.size == after.size
        && before.target == after.target
        && before.device == after.device
        && before.identity.links == after.identity.links
        && (before.kind != EntryKind::File || (before.hash.is_some() && before.hash == after.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_read_when_its_change_time_proves_something() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("file")).unwrap();
        file.set_len(WAITED_FOR_FROM).unwrap();
        let dir = Dir::open(&AbsPath::new(dir.path()).unwrap()).unwrap();
        let stat = dir.stat(OsStr::new("file")).unwrap();
        let state = read_after(&dir, OsStr::new("file"), &stat).unwrap();
        assert_ne!(state.identity.changed, Timestamp::default());
        assert!(state.hash.is_some());
    }
}
