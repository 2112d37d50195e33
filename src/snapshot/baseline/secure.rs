//! Copies or clones the content that the baseline lacks, within the limits.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Mutex;
use std::time::Instant;

use rayon::prelude::*;

use super::objects::{Objects, Shelf};
use super::observe::{DraftChild, Found};
use crate::error::Result;
use crate::execute::Cancel;
use crate::infer::{Certainty, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::request::Limits;
use crate::snapshot::tree::record::{Child, Content, Object, Record, Unkept};
use crate::snapshot::tree::walk::lock;
use crate::snapshot::{Room, Unobserved, unless_cancelled};
use crate::sys::{
    Dir, Stat, clone_content, copy_content_until, read_open_state, read_state, system_clock,
};

/// How often a file is copied again when it changed while it was copied.
const ATTEMPTS: usize = 3;

/// How content gets into the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// It is copied, and hashed in the same pass.
    #[default]
    Copy,
    /// The filesystem shares its blocks; it is hashed when that is needed.
    Clone,
}

/// One file whose content is to be secured.
struct Job {
    /// Index into the walk's findings.
    found: usize,
    /// Index into its children; `None`: the path itself.
    child: Option<usize>,
    name: OsString,
    stat: Stat,
    plan: Plan,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Copy(Object),
    /// Another name of the same inode is copied.
    SameAs(usize),
    Leave(Unkept),
}

/// What became of one job.
enum Secured {
    Record(Record),
    /// It went away before it could be copied.
    Gone,
}

impl Secured {
    /// The object that was made.
    fn object(&self) -> Option<u64> {
        match self {
            Secured::Record(record) => record.object().map(|object| object.serial),
            Secured::Gone => None,
        }
    }
}

/// What securing gives.
pub(super) struct Outcome {
    pub(super) unobserved: Vec<Unobserved>,
    /// New objects, not yet durable.
    pub(super) serials: Vec<u64>,
    /// The first of the numbers that were taken.
    pub(super) claim: Option<u64>,
}

/// What securing works with.
pub(super) struct Context<'a> {
    pub(super) scope: &'a [ScopePath],
    pub(super) keep: Keep,
    pub(super) limits: Limits,
    pub(super) deadline: Instant,
    pub(super) cancel: &'a Cancel,
    /// Makes room for what is needed and says how much of it may be stored.
    pub(super) room: &'a (dyn Fn(Room) -> Room + Sync),
    pub(super) objects: &'a Objects,
    pub(super) progress: &'a dyn Progress,
}

/// Completes every draft in `found`. `reserve` gives the first of so many object numbers.
pub(super) fn secure(
    found: &mut [(AbsPath, Found)],
    context: &Context<'_>,
    reserve: impl FnOnce(u64) -> Result<u64>,
) -> Result<Outcome> {
    let mut jobs = collect(found);
    let mut outcome = Outcome {
        unobserved: Vec::new(),
        serials: Vec::new(),
        claim: None,
    };
    if jobs.is_empty() {
        return Ok(outcome);
    }
    fit(&mut jobs, found, context);
    let copies = jobs
        .iter()
        .filter(|j| matches!(j.plan, Plan::Copy(_)))
        .count() as u64;
    if copies > 0 {
        let first = reserve(copies)?;
        outcome.claim = Some(first);
        context.objects.prepare(first, copies)?;
        number(&mut jobs, first);
    }
    let total = jobs
        .iter()
        .filter(|j| matches!(j.plan, Plan::Copy(_)))
        .map(|j| j.stat.size)
        .sum();
    context.progress.event(Event::Begin {
        phase: Phase::Secure,
        total: Some(total),
    });
    let results = copy_all(&jobs, found, context);
    unless_cancelled(context.cancel)?;
    context.progress.event(Event::End);
    outcome.serials = results.values().filter_map(Secured::object).collect();
    outcome.unobserved = fill(found, jobs, results);
    Ok(outcome)
}

/// Every pending file, and which of them are names of the same inode.
fn collect(found: &[(AbsPath, Found)]) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut first_name: HashMap<(u64, u64), usize> = HashMap::new();
    let mut add = |found: usize, child: Option<usize>, name: &OsStr, stat: &Stat| {
        let object = Object {
            serial: 0,
            shared: stat.identity.links > 1,
        };
        let mut plan = Plan::Copy(object);
        if object.shared {
            let inode = (stat.identity.device, stat.identity.inode);
            match first_name.get(&inode) {
                Some(first) => plan = Plan::SameAs(*first),
                None => drop(first_name.insert(inode, jobs.len())),
            }
        }
        jobs.push(Job {
            found,
            child,
            name: name.to_owned(),
            stat: *stat,
            plan,
        });
    };
    for (index, (path, found)) in found.iter().enumerate() {
        let Some(draft) = found.draft() else { continue };
        if let (Some(stat), Some(name)) = (&draft.own_pending, path.name()) {
            add(index, None, name, stat);
        }
        for (at, (name, child)) in draft.children.iter().flatten().enumerate() {
            if let DraftChild::Pending(stat) = child {
                add(index, Some(at), name, stat);
            }
        }
    }
    jobs
}

/// Leaves files out, in the documented order, until the rest fits.
fn fit(jobs: &mut [Job], found: &[(AbsPath, Found)], context: &Context<'_>) {
    let limits = &context.limits;
    // Clones occupy nothing.
    let occupied = |stat: &Stat| match context.keep {
        Keep::Clone => 0,
        Keep::Copy => weight(stat),
    };
    if context.keep == Keep::Copy {
        for job in jobs.iter_mut() {
            if job.stat.size > limits.max_file_bytes {
                job.plan = Plan::Leave(Unkept::TooLarge);
            }
        }
    }
    let copied = |job: &Job| matches!(job.plan, Plan::Copy(_));
    let mut needed = Room { bytes: 0, files: 0 };
    for job in jobs.iter().filter(|j| copied(j)) {
        needed.bytes += occupied(&job.stat);
        needed.files += 1;
    }
    let room = (context.room)(needed);
    if room.holds(needed) {
        return;
    }
    let mut order: Vec<usize> = (0..jobs.len()).filter(|at| copied(&jobs[*at])).collect();
    order.sort_by_cached_key(|at| {
        let job = &jobs[*at];
        let certainty = certainty(context.scope, &found[job.found].0);
        (certainty, std::cmp::Reverse(weight(&job.stat)))
    });
    for at in order {
        if room.holds(needed) {
            return;
        }
        needed.bytes -= occupied(&jobs[at].stat);
        needed.files -= 1;
        jobs[at].plan = Plan::Leave(Unkept::NoRoom);
    }
}

/// How sure it is that the command touches something at `path`.
fn certainty(scope: &[ScopePath], path: &AbsPath) -> Option<Certainty> {
    let covering = scope.iter().filter(|s| path.starts_with(&s.path));
    covering.map(|s| s.certainty).max()
}

/// Bytes that a copy will occupy: holes are not copied.
fn weight(stat: &Stat) -> u64 {
    stat.allocated.min(stat.size)
}

fn number(jobs: &mut [Job], first: u64) {
    let mut serial = first;
    for job in jobs {
        if let Plan::Copy(object) = &mut job.plan {
            object.serial = serial;
            serial += 1;
        }
    }
}

type Results = HashMap<usize, Secured>;

/// Files of one directory that are secured one after another.
const CHUNK: usize = 32;

/// Secures every file that has a job of its own. At one moment no more directories are open than
/// there are threads, twice.
fn copy_all(jobs: &[Job], found: &[(AbsPath, Found)], context: &Context<'_>) -> Results {
    let mut by_directory: BTreeMap<(usize, bool), Vec<usize>> = BTreeMap::new();
    for (at, job) in jobs.iter().enumerate() {
        if !matches!(job.plan, Plan::SameAs(_)) {
            by_directory
                .entry((job.found, job.child.is_some()))
                .or_default()
                .push(at);
        }
    }
    // Nested parallel work would be taken up while directories are open, and open more.
    let chunks: Vec<((usize, bool), &[usize])> = by_directory
        .iter()
        .flat_map(|(directory, members)| members.chunks(CHUNK).map(|chunk| (*directory, chunk)))
        .collect();
    let results = Mutex::new(Results::with_capacity(jobs.len()));
    chunks.par_iter().for_each(|((index, inside), members)| {
        if context.cancel.is_cancelled() {
            return;
        }
        let path = &found[*index].0;
        let dir = match (inside, path.parent()) {
            (true, _) => Dir::open(path),
            (false, Some(parent)) => Dir::open_path(&parent),
            (false, None) => return,
        };
        let mut shelf = Shelf::new(context.objects);
        let secured: Vec<_> = members
            .iter()
            .map(|at| {
                let job = &jobs[*at];
                let result = match &dir {
                    Ok(dir) => secure_file(dir, job, context, &mut shelf),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Secured::Gone,
                    Err(_) => unkept_from_stat(&job.stat, Unkept::Unreadable),
                };
                context.progress.event(Event::Advance { by: job.stat.size });
                (*at, result)
            })
            .collect();
        lock(&results).extend(secured);
    });
    results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn secure_file(dir: &Dir, job: &Job, context: &Context<'_>, shelf: &mut Shelf<'_>) -> Secured {
    let object = match job.plan {
        Plan::Copy(_) if context.cancel.is_cancelled() => return Secured::Gone,
        Plan::Copy(object) if Instant::now() < context.deadline => object,
        Plan::Copy(_) => return keep_metadata(dir, job, Unkept::NoTime),
        Plan::Leave(reason) => return keep_metadata(dir, job, reason),
        Plan::SameAs(_) => return Secured::Gone,
    };
    let (number, object_name) = Objects::place(object.serial);
    let Ok(to) = shelf.directory(number) else {
        return keep_metadata(dir, job, Unkept::NoRoom);
    };
    for _ in 0..ATTEMPTS {
        match keep_once(dir, &job.name, (to, &object_name), object, context) {
            Ok(Some(record)) => return Secured::Record(record),
            Ok(None) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Secured::Gone,
            Err(e) => {
                let _ = to.unlink(&object_name);
                let reason = match e.kind() {
                    io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Unkept::NoRoom,
                    io::ErrorKind::Interrupted => Unkept::NoTime,
                    _ => Unkept::Unreadable,
                };
                return keep_metadata(dir, job, reason);
            }
        }
        let _ = to.unlink(&object_name);
    }
    keep_metadata(dir, job, Unkept::Unstable)
}

/// Copies or clones a file; `None` when it changed meanwhile.
fn keep_once(
    dir: &Dir,
    name: &OsStr,
    (to, object_name): (&Dir, &OsStr),
    object: Object,
    context: &Context<'_>,
) -> io::Result<Option<Record>> {
    let stop = || context.cancel.is_cancelled() || Instant::now() >= context.deadline;
    let now = system_clock();
    let (file, before) = dir.open_file_with_stat(name)?;
    let state = read_open_state(&file, &before)?;
    let copy = match to.create_file(object_name) {
        // The number is ours: left by a capture of which a power cut took back all else.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            to.unlink(object_name)?;
            to.create_file(object_name)?
        }
        other => other?,
    };
    let (length, hash) = match context.keep {
        Keep::Clone if clone_content(&file, &copy)? => (before.size, None),
        // Some files cannot be cloned where others can: those with other attributes, for example.
        Keep::Clone | Keep::Copy => {
            let (length, hash) = copy_content_until(&file, &before, &copy, &stop)?;
            (length, Some(hash))
        }
    };
    let after = Stat::of(&file)?;
    let stable = length == before.size
        && before.identity == after.identity
        && before.modified == after.modified;
    Ok(stable.then(|| Record::new(state, Content::Object(object, hash), now)))
}

/// The record of a file whose content is left out.
fn keep_metadata(dir: &Dir, job: &Job, reason: Unkept) -> Secured {
    let now = system_clock();
    let read = || -> io::Result<Record> {
        let stat = dir.stat(&job.name)?;
        Ok(Record::new(
            read_state(dir, &job.name, &stat)?,
            Content::Unkept(reason),
            now,
        ))
    };
    match read() {
        Ok(record) => Secured::Record(record),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Secured::Gone,
        Err(_) => unkept_from_stat(&job.stat, reason),
    }
}

fn unkept_from_stat(stat: &Stat, reason: Unkept) -> Secured {
    let state = crate::entry::EntryState::from_stat(stat);
    Secured::Record(Record::new(state, Content::Unkept(reason), system_clock()))
}

/// Puts the results into the drafts; tells which files have no content.
fn fill(found: &mut [(AbsPath, Found)], jobs: Vec<Job>, mut results: Results) -> Vec<Unobserved> {
    // Further names of an inode get the record of the name that was copied.
    for (at, job) in jobs.iter().enumerate() {
        if let Plan::SameAs(first) = job.plan {
            let shared = match results.get(&first) {
                Some(Secured::Record(record)) => Secured::Record(record.clone()),
                _ => Secured::Gone,
            };
            results.insert(at, shared);
        }
    }
    let mut unobserved = Vec::new();
    let mut gone: HashMap<usize, HashSet<usize>> = HashMap::new();
    for (at, job) in jobs.into_iter().enumerate() {
        let (path, found) = &mut found[job.found];
        let Some(draft) = found.draft_mut() else {
            continue;
        };
        let record = match results.remove(&at) {
            Some(Secured::Record(record)) => Some(record),
            _ => None,
        };
        if let Some(Content::Unkept(reason)) = record.as_ref().map(|r| r.content) {
            let full = job.child.map_or(Ok(path.clone()), |_| path.join(&job.name));
            unobserved.extend(full.ok().map(|path| Unobserved {
                path,
                reason: reason.reason().to_owned(),
            }));
        }
        match (job.child, record) {
            (None, record) => {
                draft.own = record;
                draft.own_pending = None;
            }
            (Some(child), Some(record)) => {
                if let Some(children) = &mut draft.children {
                    children[child].1 = DraftChild::Done(Child::Entry(record));
                }
            }
            (Some(child), None) => drop(gone.entry(job.found).or_default().insert(child)),
        }
    }
    for (index, missing) in gone {
        let Some(draft) = found[index].1.draft_mut() else {
            continue;
        };
        let mut at = 0;
        draft.children.iter_mut().for_each(|children| {
            children.retain(|_| {
                at += 1;
                !missing.contains(&(at - 1))
            });
        });
    }
    unobserved
}
