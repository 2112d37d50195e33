//! Carries a verified plan out: stage, put into place, remove, metadata, directories last.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::PathBuf;

use super::cursor::Cursor;
use super::fault::{Fault, Interrupted, Trouble};
use super::layout::Layout;
use super::metadata;
use super::plan::{LiveDir, PlannedEntry, RollbackPlan, Step};
use super::stage::{SYNC_EACH_UP_TO, stage};
use super::verify::{VerifiedPlan, open_files};
use crate::entry::{EntryState, flags};
use crate::path::{AbsPath, os_string};
use crate::progress::{Event, Phase, Progress};
use crate::sys::durable::is_no_directory;
use crate::sys::{Dir, Pinned, Stat, exchange, sync_volume};

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Not done yet, or nothing to do.
    Todo,
    /// In its old state.
    Done,
    /// Left as it was, with the reason.
    Failed(String),
}

impl Outcome {
    pub(crate) fn is_todo(&self) -> bool {
        *self == Outcome::Todo
    }

    pub(crate) fn is_failed(&self) -> bool {
        matches!(self, Outcome::Failed(_))
    }
}

/// Records an entry's trouble; only an interruption goes on.
pub(crate) fn note(
    index: usize,
    result: Result<(), Trouble>,
    outcomes: &mut [Outcome],
) -> Result<(), Trouble> {
    match result {
        Ok(()) => Ok(()),
        Err(Trouble::Interrupted) => Err(Trouble::Interrupted),
        Err(Trouble::Entry(reason)) => {
            outcomes[index] = Outcome::Failed(reason);
            Ok(())
        }
    }
}

/// What an apply works with.
pub(crate) struct Job<'a> {
    /// What to do.
    pub(crate) plan: &'a VerifiedPlan,
    /// The directory of each snapshot's old content.
    pub(crate) files: &'a [PathBuf],
    /// Makes temporary names unique: the redo snapshot's id.
    pub(crate) tag: &'a str,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) fault: &'a dyn Fault,
}

/// A [`Job`] with what is worked out once.
pub(crate) struct Work<'a> {
    pub(crate) plan: &'a RollbackPlan,
    pub(crate) files: Vec<Result<Dir, String>>,
    pub(crate) layout: Layout<'a>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) fault: &'a dyn Fault,
    /// Entries that other entries become names of.
    linked_to: HashSet<usize>,
    /// The directories whose entries change, which get their times and flags back.
    touched: Vec<&'a LiveDir>,
}

/// Why an entry cannot be made although nothing was there.
pub(crate) const COLLISION: &str =
    "its name is that of another entry on this case-insensitive filesystem";

/// Whether the filesystem takes a name with the case of its letters swapped for the same entry.
fn is_case_folded(dir: &Dir, name: &OsStr, now: &Stat) -> bool {
    let swapped: Vec<u8> = name
        .as_encoded_bytes()
        .iter()
        .map(|b| {
            if b.is_ascii_lowercase() {
                b.to_ascii_uppercase()
            } else {
                b.to_ascii_lowercase()
            }
        })
        .collect();
    let other = os_string(&swapped).unwrap_or_default();
    other != name
        && now.identity.links == 1
        && dir
            .stat(&other)
            .is_ok_and(|stat| stat.identity.inode == now.identity.inode)
}

/// Whether an entry is still the one that was looked at when the plan was made.
///
/// The change time is left out for entries with several names, which move it for each other.
pub(crate) fn is_still(live: &EntryState, now: &Stat, linked: bool) -> bool {
    let same_inode = live.kind == now.kind
        && live.identity.device == now.identity.device
        && live.identity.inode == now.identity.inode;
    if !same_inode || live.is_dir() {
        return same_inode;
    }
    let loose = linked || live.identity.links > 1;
    live.size == now.size
        && live.modified == now.modified
        && (loose || live.identity.changed == now.identity.changed)
}

fn touched(plan: &RollbackPlan) -> Vec<&LiveDir> {
    let entries = plan.entries.iter().filter(|e| e.step.touches_parent());
    let parents: HashSet<AbsPath> = entries.filter_map(|e| e.path.parent()).collect();
    let directories = plan.directories.iter();
    directories.filter(|d| parents.contains(&d.path)).collect()
}

/// Carries out what `outcomes` has still to do, one outcome per entry of the plan. One failing
/// entry never stops the others. Gives remarks for the report.
pub(crate) fn apply(job: &Job<'_>, outcomes: &mut [Outcome]) -> Result<Vec<String>, Interrupted> {
    let work = Work::of(job, outcomes);
    match run(&work, outcomes) {
        Ok(notes) => Ok(notes),
        // Only an interruption gets here; an entry's trouble stays with the entry.
        Err(Trouble::Interrupted) => Err(Interrupted),
        Err(Trouble::Entry(reason)) => Ok(vec![reason]),
    }
}

/// Removes what an apply of the same job left staged. Gives remarks on what could not be removed.
pub(crate) fn sweep(job: &Job<'_>) -> Result<Vec<String>, Interrupted> {
    let count = job.plan.plan().entries.len();
    let mut work = Work::of(job, &vec![Outcome::Todo; count]);
    // Trees as the first run staged them, and single entries as a run that took over may have.
    let tops = |work: &Work<'_>| (0..count).filter(|i| work.layout.is_top(*i)).collect();
    let trees: Vec<usize> = tops(&work);
    let mut left = work.sweep_each(&trees)?;
    work.layout = Layout::singles(work.plan, job.tag);
    let singles: Vec<usize> = tops(&work);
    left.extend(work.sweep_each(&singles)?);
    left.sort_unstable();
    left.dedup();
    Ok(left)
}

/// Removes what was staged for entries that failed and could not be removed then. Gives remarks on
/// what stays.
pub(crate) fn clear_away(job: &Job<'_>, outcomes: &[Outcome]) -> Result<Vec<String>, Interrupted> {
    if outcomes.iter().any(Outcome::is_failed) {
        sweep(job)
    } else {
        Ok(Vec::new())
    }
}

fn run(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<Vec<String>, Trouble> {
    let fresh: Vec<bool> = outcomes.iter().map(Outcome::is_todo).collect();
    work.unlock_directories()?;
    stage(work, outcomes)?;
    let steps = work.plan.entries.iter().filter(|e| e.step != Step::Keep);
    work.progress.event(Event::Begin {
        phase: Phase::Apply,
        total: Some(steps.count() as u64),
    });
    let swapped = swapped(work);
    let in_the_way = |index: usize| swapped[index];
    remove_all(work, outcomes, in_the_way)?;
    // What is moved back is in place before its present name goes; files before their links.
    let moved = moved_back(work);
    place_all(work, outcomes, |index, _| moved.contains(&index))?;
    place_all(work, outcomes, |_, step| !matches!(step, Step::Link { .. }))?;
    place_all(work, outcomes, |_, _| true)?;
    remove_all(work, outcomes, |_| true)?;
    change_metadata(work, outcomes)?;
    lock_all(work, outcomes)?;
    finish_directories(work, outcomes, &fresh)?;
    let notes = sync_all(work, outcomes)?;
    work.progress.event(Event::End);
    Ok(notes)
}

/// Whether there is no such directory, so that nothing can be in it.
fn is_no_way(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || is_no_directory(error)
}

impl<'a> Work<'a> {
    fn of(job: &Job<'a>, outcomes: &[Outcome]) -> Self {
        let plan = job.plan.plan();
        let target = |entry: &PlannedEntry| match entry.step {
            Step::Link { to: other } | Step::Reuse { of: other } => Some(other as usize),
            _ => None,
        };
        Self {
            plan,
            files: job.files.iter().map(|path| open_files(path)).collect(),
            layout: Layout::of(plan, job.tag, |index| outcomes[index].is_todo()),
            progress: job.progress,
            fault: job.fault,
            linked_to: plan.entries.iter().filter_map(target).collect(),
            touched: touched(plan),
        }
    }

    /// Gives up what is staged at and beneath an entry.
    pub(crate) fn abandon(
        &self,
        index: usize,
        reason: &str,
        outcomes: &mut [Outcome],
    ) -> Result<(), Trouble> {
        for beneath in self.layout.tree(index).skip(1) {
            if outcomes[beneath].is_todo() {
                let path = &self.plan.entries[index].path;
                outcomes[beneath] =
                    Outcome::Failed(format!("its directory {path} is not restored: {reason}"));
            }
        }
        match self.remove_staged(index) {
            Err(Trouble::Interrupted) => Err(Trouble::Interrupted),
            Ok(()) | Err(Trouble::Entry(_)) => Ok(()),
        }
    }

    /// Each is tried twice: what stays is in the way of the next run, and the reason may have
    /// passed.
    fn sweep_each(&self, tops: &[usize]) -> Result<Vec<String>, Interrupted> {
        let mut left = Vec::new();
        match self.unlock_directories() {
            Err(Trouble::Interrupted) => return Err(Interrupted),
            Err(Trouble::Entry(reason)) => tracing::debug!(reason, "cannot unlock a directory"),
            Ok(()) => {}
        }
        for top in tops {
            let again = |trouble| match trouble {
                Trouble::Interrupted => Err(Trouble::Interrupted),
                Trouble::Entry(_) => self.remove_staged(*top),
            };
            match self.remove_staged(*top).or_else(again) {
                Ok(()) => {}
                Err(Trouble::Interrupted) => return Err(Interrupted),
                Err(Trouble::Entry(reason)) => {
                    let path = self.layout.staged(*top);
                    left.extend(path.map(|path| {
                        format!("{path} is left of the rollback and can be deleted: {reason}")
                    }));
                }
            }
        }
        Ok(left)
    }

    /// Removes what is staged at and beneath an entry, by the names that were staged.
    fn remove_staged(&self, top: usize) -> Result<(), Trouble> {
        let mut cursor = Cursor::default();
        let path = self.layout.staged(top)?;
        let found = match cursor.parent(&path) {
            Ok((dir, name)) => dir.stat_opt(name)?,
            Err(e) if is_no_way(&e) => None,
            Err(e) => return Err(e.into()),
        };
        if found.is_none() {
            return Ok(());
        }
        for index in self.layout.tree(top).rev() {
            let path = self.layout.staged(index)?;
            let Ok((dir, name)) = cursor.parent(&path) else {
                continue;
            };
            let Some(stat) = dir.stat_opt(name)? else {
                continue;
            };
            self.fault.point()?;
            if stat.flags & flags::LOCKING != 0 {
                metadata::unlock(&Pinned::open(dir, name)?)?;
            }
            if stat.kind == crate::entry::EntryKind::Directory {
                dir.remove_dir(name)?;
            } else {
                dir.unlink(name)?;
            }
        }
        Ok(())
    }

    /// Fails where what is at `name` now is not what was looked at.
    fn check_still(
        &self,
        index: usize,
        dir: &Dir,
        name: &OsStr,
        now: Option<&Stat>,
    ) -> Result<(), Trouble> {
        let linked = self.linked_to.contains(&index);
        let unchanged = match (&self.plan.entries[index].live, now) {
            (None, None) => true,
            (Some(live), Some(now)) => is_still(live, now, linked),
            (None, Some(now)) if is_case_folded(dir, name, now) => {
                return Err(Trouble::Entry(COLLISION.into()));
            }
            _ => false,
        };
        if unchanged {
            Ok(())
        } else {
            Err(Trouble::Entry("was changed while rolling back".into()))
        }
    }

    /// Takes the flags off directories in which entries are to be made or removed. Where that
    /// fails the entries in them fail with the reason.
    fn unlock_directories(&self) -> Result<(), Trouble> {
        let mut cursor = Cursor::default();
        for directory in &self.touched {
            if directory.flags & flags::LOCKING == 0 {
                continue;
            }
            self.fault.point()?;
            if let Ok(dir) = cursor.dir(&directory.path)
                && dir.stat_self()?.identity.inode == directory.inode
                && let Err(Trouble::Entry(reason)) = metadata::unlock(&Pinned::of(&dir.fd())?)
            {
                tracing::debug!(path = %directory.path, reason, "cannot unlock a directory");
            }
        }
        Ok(())
    }

    /// One existing directory on each volume that is changed.
    pub(crate) fn volumes(&self) -> BTreeMap<u64, &'a AbsPath> {
        let mut volumes = BTreeMap::new();
        for directory in &self.plan.directories {
            let exists = || Dir::open_path(&directory.path).is_ok();
            if !volumes.contains_key(&directory.device) && exists() {
                volumes.insert(directory.device, &directory.path);
            }
        }
        volumes
    }

    /// The volume of the directory that holds an entry.
    pub(crate) fn device_of(&self, index: usize) -> Option<u64> {
        let parent = self.plan.entries[index].path.parent()?;
        let directories = &self.plan.directories;
        let at = directories.binary_search_by(|d| d.path.cmp(&parent)).ok()?;
        Some(directories[at].device)
    }

    fn advance(&self) {
        self.progress.event(Event::Advance { by: 1 });
    }
}

/// For each entry whether it lies in a directory that something else takes the place of.
fn swapped(work: &Work<'_>) -> Vec<bool> {
    let mut swapped = vec![false; work.plan.entries.len()];
    for (index, entry) in work.plan.entries.iter().enumerate() {
        if entry.empties_directory() && entry.step.places() {
            swapped[work.layout.beneath(index)].fill(true);
        }
    }
    swapped
}

/// The entries with whose rename something comes into place that has another name until then.
fn moved_back(work: &Work<'_>) -> HashSet<usize> {
    let entries = work.plan.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| matches!(entry.step, Step::Reuse { .. }))
        .filter_map(|(index, _)| work.layout.top(index))
        .collect()
}

/// Removes what the commands created, the deepest first.
fn remove_all(
    work: &Work<'_>,
    outcomes: &mut [Outcome],
    wanted: impl Fn(usize) -> bool,
) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in (0..outcomes.len()).rev() {
        let removes = work.plan.entries[index].step.removes() && wanted(index);
        if removes && outcomes[index].is_todo() {
            let result = remove(work, index, &mut cursor);
            if result.is_ok() {
                outcomes[index] = Outcome::Done;
            }
            note(index, result, outcomes)?;
            work.advance();
        }
    }
    Ok(())
}

fn remove(work: &Work<'_>, index: usize, cursor: &mut Cursor) -> Result<(), Trouble> {
    let entry = &work.plan.entries[index];
    let (dir, name) = cursor.parent(&entry.path)?;
    let Some(now) = dir.stat_opt(name)? else {
        return Ok(());
    };
    work.check_still(index, dir, name, Some(&now))?;
    let unlocked = unlock(work, dir, name, &now)?;
    work.fault.point()?;
    let removed = if entry.step == Step::RemoveDir {
        dir.remove_dir(name)
    } else {
        dir.unlink(name)
    };
    relock(unlocked.filter(|_| removed.is_err()), &now)?;
    Ok(removed?)
}

/// Takes locking flags off an entry that is about to go.
fn unlock(work: &Work<'_>, dir: &Dir, name: &OsStr, now: &Stat) -> Result<Option<Pinned>, Trouble> {
    if now.flags & flags::LOCKING == 0 {
        return Ok(None);
    }
    work.fault.point()?;
    let pinned = Pinned::open(dir, name)?;
    metadata::unlock(&pinned)?;
    Ok(Some(pinned))
}

/// Puts the flags back on an entry that stayed.
fn relock(pinned: Option<Pinned>, now: &Stat) -> Result<(), Trouble> {
    match pinned {
        Some(pinned) => metadata::lock(&pinned, now.flags),
        None => Ok(()),
    }
}

/// Renames what was staged into place.
fn place_all(
    work: &Work<'_>,
    outcomes: &mut [Outcome],
    wanted: impl Fn(usize, Step) -> bool,
) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in 0..outcomes.len() {
        let step = work.plan.entries[index].step;
        if !wanted(index, step) || !work.layout.is_top(index) || !outcomes[index].is_todo() {
            continue;
        }
        let result = place(work, index, &mut cursor);
        match &result {
            Ok(()) => {
                for inside in work.layout.tree(index) {
                    if outcomes[inside].is_todo() {
                        outcomes[inside] = Outcome::Done;
                        work.advance();
                    }
                }
            }
            Err(Trouble::Entry(reason)) => work.abandon(index, reason, outcomes)?,
            Err(Trouble::Interrupted) => {}
        }
        note(index, result, outcomes)?;
    }
    Ok(())
}

fn place(work: &Work<'_>, index: usize, cursor: &mut Cursor) -> Result<(), Trouble> {
    let entry = &work.plan.entries[index];
    let staged = work.layout.staged(index)?;
    let (dir, name) = cursor.parent(&entry.path)?;
    let staged = staged.name().unwrap_or_default();
    let now = dir.stat_opt(name)?;
    work.check_still(index, dir, name, now.as_ref())?;
    let Some(now) = now else {
        work.fault.point()?;
        return Ok(dir.rename_new(staged, dir, name)?);
    };
    let unlocked = unlock(work, dir, name, &now)?;
    let from_dir = entry.live.as_ref().is_some_and(EntryState::is_dir);
    let placed = if from_dir == entry.makes_dir() {
        work.fault.point()?;
        dir.rename(staged, dir, name).map_err(Trouble::from)
    } else {
        swap(work, dir, staged, name, from_dir)
    };
    if placed.is_err() {
        relock(unlocked, &now)?;
    }
    placed
}

/// Puts a directory where something else is, or the other way round: swapped in one step, then
/// what was there is removed. A directory that is not empty stays.
fn swap(
    work: &Work<'_>,
    dir: &Dir,
    staged: &OsStr,
    name: &OsStr,
    from_dir: bool,
) -> Result<(), Trouble> {
    let remove = |name: &OsStr| {
        if from_dir {
            dir.remove_dir(name)
        } else {
            dir.unlink(name)
        }
    };
    work.fault.point()?;
    match exchange(dir, staged, dir, name) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::Unsupported => {
            remove(name)?;
            work.fault.point()?;
            return Ok(dir.rename_new(staged, dir, name)?);
        }
        Err(e) => return Err(e.into()),
    }
    work.fault.point()?;
    if let Err(e) = remove(staged) {
        exchange(dir, staged, dir, name)?;
        return Err(e.into());
    }
    Ok(())
}

/// Gives live entries other than directories their old metadata.
fn change_metadata(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in 0..outcomes.len() {
        let entry = &work.plan.entries[index];
        let Some(desired) = entry.desired.as_ref().filter(|d| !d.is_dir()) else {
            continue;
        };
        if entry.step != Step::Metadata || !outcomes[index].is_todo() {
            continue;
        }
        let result = cursor
            .parent(&entry.path)
            .map_err(Trouble::from)
            .and_then(|(dir, name)| change_one(work, index, dir, name, desired));
        if result.is_ok() {
            outcomes[index] = Outcome::Done;
        }
        note(index, result, outcomes)?;
        work.advance();
    }
    Ok(())
}

fn change_one(
    work: &Work<'_>,
    index: usize,
    dir: &Dir,
    name: &OsStr,
    desired: &EntryState,
) -> Result<(), Trouble> {
    let entry = &work.plan.entries[index];
    let pinned = Pinned::open(dir, name)?;
    let now = pinned.stat()?;
    let live = entry.live.as_ref();
    let linked = work.linked_to.contains(&index);
    // Another name of the same inode may have been given the old times already.
    let done = |live: &EntryState| {
        live.identity.links > 1
            && live.identity.inode == now.identity.inode
            && live.size == now.size
            && now.modified == desired.modified
    };
    if !live.is_some_and(|live| is_still(live, &now, linked) || done(live)) {
        return Err(Trouble::Entry("was changed while rolling back".into()));
    }
    metadata::change(&pinned, desired, live, work.fault)
}

/// Puts flags on what was made, now that it is in place, and back on what it was linked to.
fn lock_all(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in (0..outcomes.len()).rev() {
        let entry = &work.plan.entries[index];
        let locks =
            |state: &Option<EntryState>| state.as_ref().map_or(0, |s| s.flags & flags::LOCKING);
        let made = entry.step.places() && outcomes[index] == Outcome::Done;
        let wanted = if made {
            locks(&entry.desired)
        } else if work.linked_to.contains(&index) && outcomes[index] != Outcome::Done {
            locks(&entry.live)
        } else {
            0
        };
        if wanted == 0 {
            continue;
        }
        work.fault.point()?;
        let result = cursor
            .parent(&entry.path)
            .map_err(Trouble::from)
            .and_then(|(dir, name)| lock_entry(entry, made, wanted, dir, name));
        note(index, result, outcomes)?;
    }
    Ok(())
}

fn lock_entry(
    entry: &PlannedEntry,
    made: bool,
    locks: u32,
    dir: &Dir,
    name: &OsStr,
) -> Result<(), Trouble> {
    let pinned = Pinned::open(dir, name)?;
    let now = pinned.stat()?;
    let ours = made
        || entry
            .live
            .as_ref()
            .is_some_and(|live| is_still(live, &now, true));
    if ours {
        metadata::lock(&pinned, locks)?;
    }
    Ok(())
}

/// What a directory gets at the end.
enum Finish<'p> {
    /// The metadata and times of its entry in the plan.
    Entry(usize),
    /// What it had just before the rollback.
    Kept(&'p LiveDir),
}

/// Gives directories their metadata and times, the deepest first. `fresh` tells which entries were
/// still to do when this run began.
fn finish_directories(
    work: &Work<'_>,
    outcomes: &mut [Outcome],
    fresh: &[bool],
) -> Result<(), Trouble> {
    let mut finishes: BTreeMap<&AbsPath, Finish<'_>> = BTreeMap::new();
    for directory in &work.touched {
        finishes.insert(&directory.path, Finish::Kept(directory));
    }
    for (index, entry) in work.plan.entries.iter().enumerate() {
        let changes = entry.desired.as_ref().is_some_and(EntryState::is_dir)
            && matches!(entry.step, Step::Metadata | Step::Times)
            && outcomes[index].is_todo();
        // Made by an interrupted run; this run may have put entries in it.
        let made_before = entry.makes_dir() && outcomes[index] == Outcome::Done && !fresh[index];
        if changes || made_before {
            finishes.insert(&entry.path, Finish::Entry(index));
        }
    }
    let mut cursor = Cursor::default();
    for (path, finish) in finishes.into_iter().rev() {
        match finish {
            Finish::Kept(directory) => keep(work, directory, &mut cursor)?,
            Finish::Entry(index) => {
                let result = finish_entry(work, index, path, &mut cursor);
                if result.is_ok() {
                    outcomes[index] = Outcome::Done;
                }
                note(index, result, outcomes)?;
                work.advance();
            }
        }
    }
    Ok(())
}

/// Gives a directory that is not planned itself the times back that it just had.
fn keep(work: &Work<'_>, directory: &LiveDir, cursor: &mut Cursor) -> Result<(), Trouble> {
    // One that was removed needs nothing.
    let Ok(dir) = cursor.dir(&directory.path) else {
        return Ok(());
    };
    if dir.stat_self()?.identity.inode != directory.inode {
        return Ok(());
    }
    let pinned = Pinned::of(&dir.fd())?;
    let times = (directory.accessed, directory.modified);
    match metadata::set_times(&pinned, times, directory.flags, work.fault) {
        Err(Trouble::Entry(reason)) => {
            tracing::debug!(path = %directory.path, reason, "cannot set a directory's times");
            Ok(())
        }
        other => other,
    }
}

fn finish_entry(
    work: &Work<'_>,
    index: usize,
    path: &AbsPath,
    cursor: &mut Cursor,
) -> Result<(), Trouble> {
    let entry = &work.plan.entries[index];
    let dir = cursor.dir(path)?;
    let now = dir.stat_self()?;
    let live = entry.live.as_ref().filter(|l| l.is_dir());
    let still = live.is_none_or(|live| is_still(live, &now, false));
    let Some(desired) = entry.desired.as_ref().filter(|_| still) else {
        return Err(Trouble::Entry("was changed while rolling back".into()));
    };
    let pinned = Pinned::of(&dir.fd())?;
    if entry.step == Step::Times {
        let times = (desired.accessed, desired.modified);
        return metadata::set_times(&pinned, times, desired.flags, work.fault);
    }
    metadata::change(&pinned, desired, live, work.fault)
}

/// Makes everything that was done durable. Gives a remark where that failed.
fn sync_all(work: &Work<'_>, outcomes: &[Outcome]) -> Result<Vec<String>, Trouble> {
    let done: Vec<usize> = (0..outcomes.len())
        .filter(|i| outcomes[*i] == Outcome::Done)
        .collect();
    if done.is_empty() {
        return Ok(Vec::new());
    }
    work.fault.point()?;
    let mut notes = Vec::new();
    let failed = |path: &AbsPath, e: &std::io::Error| {
        format!("{path} is restored, but could not be made durable: {e}")
    };
    let mut cursor = Cursor::default();
    if done.len() > SYNC_EACH_UP_TO {
        for directory in work.volumes().into_values() {
            let synced = cursor.dir(directory).and_then(|dir| sync_volume(&dir.fd()));
            notes.extend(synced.err().map(|e| failed(directory, &e)));
        }
        return Ok(notes);
    }
    for index in done {
        let entry = &work.plan.entries[index];
        let synced = sync_entry(entry, &mut cursor);
        notes.extend(synced.err().map(|e| failed(&entry.path, &e)));
    }
    for directory in &work.touched {
        if let Ok(dir) = cursor.dir(&directory.path) {
            let synced = dir.sync();
            notes.extend(synced.err().map(|e| failed(&directory.path, &e)));
        }
    }
    Ok(notes)
}

/// Syncs an entry whose metadata was changed in place; new ones were synced when staged.
fn sync_entry(entry: &PlannedEntry, cursor: &mut Cursor) -> std::io::Result<()> {
    match (&entry.desired, entry.step) {
        (Some(desired), Step::Metadata | Step::Times | Step::MakeDir) if desired.is_dir() => {
            cursor.dir(&entry.path)?.sync()
        }
        (Some(desired), Step::Metadata) if desired.is_file() => {
            let (dir, name) = cursor.parent(&entry.path)?;
            dir.open_file(name)?.sync_all()
        }
        _ => Ok(()),
    }
}
