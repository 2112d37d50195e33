//! A tree in a temporary directory, a scanner for it, and rollbacks of what was done to it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::apply::{Job, Outcome, apply};
use super::super::build;
use super::super::compose::Source;
use super::super::ending::report;
use super::super::fault::{Fault, Never};
use super::super::journal::{self, Journal};
use super::super::plan::RollbackPlan;
use super::super::redo;
use super::super::resume::finish;
use super::super::verify::{Verdict, VerifiedPlan, verify};
use super::super::{Conflict, RollbackReport};
use crate::entry::{EntryKind, EntryState};
use crate::execute::Cancel;
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::OnConflict;
use crate::seal::{Change, PreImage, UndoRecord};
use crate::store::ContentDirs;
use crate::sys::{Dir, copy_content, hash_file, read_state};

/// Full state of every entry of a tree.
pub(super) type Scan = BTreeMap<AbsPath, EntryState>;

/// The plan that takes `sources` back, newest first.
pub(super) fn plan(sources: &[&Source]) -> RollbackPlan {
    build::plan(sources.iter().copied().cloned().collect(), &[])
}

pub(super) struct World {
    /// Holds everything.
    scratch: tempfile::TempDir,
    /// The directory that commands work in.
    pub(super) root: AbsPath,
    next: AtomicU64,
}

/// How a rollback went.
#[derive(Debug)]
pub(super) struct Rolled {
    pub(super) report: RollbackReport,
    /// What takes it back.
    pub(super) redo: Source,
}

impl World {
    pub(super) fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    pub(super) fn within(scratch: tempfile::TempDir) -> Self {
        let base = scratch.path().canonicalize().unwrap();
        fs::create_dir(base.join("tree")).unwrap();
        fs::create_dir(base.join("journals")).unwrap();
        Self {
            root: AbsPath::new(base.join("tree")).unwrap(),
            scratch,
            next: AtomicU64::new(0),
        }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.as_path().join(relative)
    }

    pub(super) fn abs(&self, relative: &str) -> AbsPath {
        AbsPath::new(self.path(relative)).unwrap()
    }

    pub(super) fn files(&self, id: &str) -> PathBuf {
        let base = self.scratch.path().canonicalize().unwrap();
        base.join(format!("files-{id}"))
    }

    fn journals(&self) -> Dir {
        let base = self.scratch.path().canonicalize().unwrap();
        Dir::open(&AbsPath::new(base.join("journals")).unwrap()).unwrap()
    }

    pub(super) fn new_id(&self) -> String {
        let id = format!("{:016x}", self.next.fetch_add(1, Ordering::SeqCst));
        fs::create_dir(self.files(&id)).unwrap();
        id
    }

    /// Every entry, the root included.
    pub(super) fn scan(&self) -> Scan {
        let mut scan = Scan::new();
        let mut queue = vec![self.root.clone()];
        while let Some(path) = queue.pop() {
            let dir = Dir::open(&path.parent().unwrap()).unwrap();
            let name = path.name().unwrap();
            let stat = dir.stat(name).unwrap();
            let mut state = read_state(&dir, name, &stat).unwrap();
            match state.kind {
                EntryKind::File => {
                    state.hash = Some(hash_file(&dir.open_file(name).unwrap()).unwrap());
                }
                EntryKind::Directory => {
                    let names = dir.open_dir(name).unwrap().names().unwrap();
                    queue.extend(names.iter().map(|n| path.join(n).unwrap()));
                }
                _ => {}
            }
            scan.insert(path, state);
        }
        scan
    }

    /// Runs `command` and records what it changed.
    pub(super) fn snapshot(&self, command: impl FnOnce()) -> Source {
        let id = self.new_id();
        let before = self.scan();
        let files = self.files(&id);
        let mut names = HashMap::new();
        for (index, (path, state)) in before.iter().enumerate() {
            if state.is_file() && state.size > 0 {
                let dir = Dir::open(&path.parent().unwrap()).unwrap();
                let from = dir.open_file(path.name().unwrap()).unwrap();
                let to = fs::File::options()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(files.join(index.to_string()))
                    .unwrap();
                copy_content(&from, &to).unwrap();
                names.insert(path.clone(), index.to_string());
            }
        }
        command();
        let record = record(&before, &self.scan(), &names);
        Source {
            id,
            began: 0.0,
            sealed: 0.0,
            scope: Vec::new(),
            record,
        }
    }

    pub(super) fn files_of(&self, sources: &[&Source]) -> Vec<ContentDirs> {
        sources.iter().map(|s| self.files(&s.id).into()).collect()
    }

    /// Rolls back one record that fits, and checks that everything is as in `before`.
    pub(super) fn undo(&self, source: &Source, before: &Scan) -> Rolled {
        let rolled = self.roll(&[source], OnConflict::Abort);
        assert!(rolled.report.success, "{:#?}", rolled.report);
        assert_same(before, &self.scan());
        self.assert_tidy();
        rolled
    }

    pub(super) fn roll(&self, sources: &[&Source], policy: OnConflict) -> Rolled {
        self.try_roll(sources, policy, &[])
            .unwrap_or_else(|conflicts| panic!("refused: {conflicts:#?}"))
    }

    pub(super) fn try_roll(
        &self,
        sources: &[&Source],
        policy: OnConflict,
        paths: &[AbsPath],
    ) -> Result<Rolled, Vec<Conflict>> {
        let plan = build::plan(sources.iter().copied().cloned().collect(), paths);
        let files = self.files_of(sources);
        let verified = match verify(plan, policy, &files) {
            Verdict::Ready(verified) => *verified,
            Verdict::Refused(conflicts) => return Err(conflicts),
        };
        let (verified, id) = self.save(verified, policy)?;
        Ok(Self::run(&verified, &files, &id, &[&Never]))
    }

    pub(super) fn save(
        &self,
        mut verified: VerifiedPlan,
        policy: OnConflict,
    ) -> Result<(VerifiedPlan, String), Vec<Conflict>> {
        let id = self.new_id();
        let cancel = Cancel::default();
        let bytes = redo::save(&mut verified, &self.files(&id), &cancel, &Silent).unwrap();
        verified.settle_again(policy)?;
        let journal = Journal {
            redo: id.clone(),
            filtered: false,
            saved_bytes: bytes,
            plan: verified,
        };
        journal::write(&self.journals(), &journal).unwrap();
        let read = journal::read(&self.journals(), &id).unwrap();
        Ok((read.plan, id))
    }

    /// Applies a plan, interrupted by each fault in turn; the last one must let it through.
    pub(super) fn run(
        verified: &VerifiedPlan,
        files: &[ContentDirs],
        id: &str,
        faults: &[&dyn Fault],
    ) -> Rolled {
        let mut outcomes = vec![Outcome::Todo; verified.plan().entries.len()];
        let job = Job {
            plan: verified,
            files,
            tag: id,
            progress: &Silent,
            fault: faults[0],
        };
        let mut done = apply(&job, &mut outcomes).map(|applied| (outcomes, applied));
        for fault in &faults[1..] {
            if done.is_err() {
                done = finish(verified, files, id, &Silent, *fault);
            }
        }
        let (outcomes, applied) = done.expect("the last run is not interrupted");
        let mut report = report(verified, &outcomes);
        report.notes.extend(applied.notes);
        let record = redo::record(verified.plan(), &outcomes, &applied.made);
        Rolled {
            report,
            redo: Source {
                id: id.to_owned(),
                began: 0.0,
                sealed: 0.0,
                scope: Vec::new(),
                record,
            },
        }
    }

    /// Nothing temporary is left.
    pub(super) fn assert_tidy(&self) {
        let left: Vec<AbsPath> = self
            .scan()
            .into_keys()
            .filter(|p| {
                let name = p.name().unwrap().as_encoded_bytes();
                name.starts_with(b".deployx-")
            })
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    pub(super) fn write(&self, relative: &str, content: &str) {
        fs::write(self.path(relative), content).unwrap();
    }

    pub(super) fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    pub(super) fn mkdir(&self, relative: &str) {
        fs::create_dir_all(self.path(relative)).unwrap();
    }

    pub(super) fn chmod(&self, relative: &str, mode: u32) {
        fs::set_permissions(self.path(relative), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn inode(&self, relative: &str) -> u64 {
        fs::symlink_metadata(self.path(relative)).unwrap().ino()
    }

    pub(super) fn exists(&self, relative: &str) -> bool {
        fs::symlink_metadata(self.path(relative)).is_ok()
    }
}

/// What differs between two scans, as a strategy would record it.
fn record(before: &Scan, after: &Scan, names: &HashMap<AbsPath, String>) -> UndoRecord {
    let mut paths: Vec<&AbsPath> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let changes = paths.into_iter().filter_map(|path| {
        let (was, is) = (before.get(path), after.get(path));
        let content_kept = match (was, is) {
            (Some(was), Some(is)) => was.is_file() && is.is_file() && was.hash == is.hash,
            _ => false,
        };
        let same = matches!((was, is), (Some(was), Some(is))
            if content_kept | !was.is_file()
                && was.same_content(is)
                && was.same_metadata(is)
                && was.modified == is.modified
                && (was.is_dir() || was.identity.links == is.identity.links)
                && was.identity.inode == is.identity.inode);
        let content = match (was, names.get(path)) {
            (Some(was), Some(name)) if !content_kept => {
                PreImage::raw(name.clone(), was.hash.unwrap())
            }
            _ => PreImage::NotNeeded,
        };
        (!same).then(|| Change {
            path: path.clone(),
            before: was.cloned(),
            after: is.cloned(),
            content,
        })
    });
    UndoRecord {
        changes: changes.collect(),
        ..UndoRecord::default()
    }
}

/// Everything that a rollback restores is equal: state, times of directories too, link groups.
pub(super) fn assert_same(wanted: &Scan, found: &Scan) {
    let (wanted, found) = (comparable(wanted), comparable(found));
    for (path, state) in &wanted {
        assert_eq!(Some(state), found.get(path), "{path}");
    }
    for path in found.keys() {
        assert!(wanted.contains_key(path), "{path} should not be there");
    }
}

/// States without what cannot be restored, and for each the first of its names.
fn comparable(scan: &Scan) -> BTreeMap<AbsPath, (EntryState, AbsPath)> {
    let mut first: HashMap<u64, AbsPath> = HashMap::new();
    for (path, state) in scan {
        first
            .entry(state.identity.inode)
            .or_insert_with(|| path.clone());
    }
    scan.iter()
        .map(|(path, state)| {
            let name = first[&state.identity.inode].clone();
            let mut state = state.clone();
            state.identity.device = 0;
            state.identity.inode = 0;
            state.identity.changed = state.modified;
            if state.is_dir() {
                state.identity.links = 0;
            }
            state.accessed = state.modified;
            state.allocated = 0;
            (path.clone(), (state, name))
        })
        .collect()
}

/// Sets both times of an entry without following a link.
pub(super) fn touch(path: &Path, seconds: i64, nanoseconds: u32) {
    let path = AbsPath::new(path).unwrap();
    let dir = Dir::open(&path.parent().unwrap()).unwrap();
    let time = crate::entry::Timestamp {
        seconds,
        nanoseconds,
    };
    crate::sys::Pinned::open(&dir, path.name().unwrap())
        .unwrap()
        .set_times(time, time)
        .unwrap();
}
