//! Carries a verified plan out: stage, put into place, remove, metadata, directories last.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;

use super::cursor::Cursor;
use super::fault::{Fault, Interrupted, Trouble};
use super::layout::Layout;
use super::made::Made;
use super::metadata;
use super::place::{moved_back, place_all, remove_all, swapped};
use super::plan::{LiveDir, PlannedEntry, RollbackPlan, Step};
use super::settle::{change_metadata, finish_directories, lock_all, sync_all};
use super::stage::stage;
use super::verify::VerifiedPlan;
use crate::entry::{EntryState, flags};
use crate::path::{AbsPath, os_string};
use crate::progress::{Event, Phase, Progress};
use crate::store::{ContentDirs, OpenDirs};
use crate::sys::durable::is_no_directory;
use crate::sys::{Dir, Pinned, Stat};

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
    /// Where each snapshot's old content lies.
    pub(crate) files: &'a [ContentDirs],
    /// Makes temporary names unique: the redo snapshot's id.
    pub(crate) tag: &'a str,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) fault: &'a dyn Fault,
}

/// A [`Job`] with what is worked out once.
pub(crate) struct Work<'a> {
    pub(crate) plan: &'a RollbackPlan,
    pub(crate) files: Vec<OpenDirs>,
    pub(crate) layout: Layout<'a>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) fault: &'a dyn Fault,
    /// Entries that other entries become names of.
    pub(super) linked_to: HashSet<usize>,
    /// The directories whose entries change, which get their times and flags back.
    pub(super) touched: Vec<&'a LiveDir>,
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

/// What an apply gives besides the outcomes.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// Remarks for the report.
    pub(crate) notes: Vec<String>,
    pub(crate) made: Made,
}

/// Carries out what `outcomes` has still to do, one outcome per entry of the plan. One failing
/// entry never stops the others.
pub(crate) fn apply(job: &Job<'_>, outcomes: &mut [Outcome]) -> Result<Applied, Interrupted> {
    let work = Work::of(job, outcomes);
    match run(&work, outcomes) {
        Ok(applied) => Ok(applied),
        // Only an interruption gets here; an entry's trouble stays with the entry.
        Err(Trouble::Interrupted) => Err(Interrupted),
        // One that belongs to no entry stops the rest.
        Err(Trouble::Entry(reason)) => {
            for (outcome, entry) in outcomes.iter_mut().zip(&work.plan.entries) {
                if outcome.is_todo() && entry.step != Step::Keep {
                    *outcome = Outcome::Failed(reason.clone());
                }
            }
            Ok(Applied::default())
        }
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

fn run(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<Applied, Trouble> {
    let fresh: Vec<bool> = outcomes.iter().map(Outcome::is_todo).collect();
    work.unlock_directories()?;
    let made = stage(work, outcomes)?;
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
    let mut notes = finish_directories(work, outcomes, &fresh)?;
    notes.extend(sync_all(work, outcomes)?);
    work.progress.event(Event::End);
    Ok(Applied { notes, made })
}

/// Whether there is no such directory, so that nothing can be in it.
pub(crate) fn is_no_way(error: &std::io::Error) -> bool {
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
            files: job.files.iter().map(ContentDirs::open).collect(),
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
    pub(super) fn check_still(
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

    pub(super) fn advance(&self) {
        self.progress.event(Event::Advance { by: 1 });
    }
}
