//! The end of an apply: metadata, locking flags, directory times, durability.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use super::apply::{Outcome, Work, is_no_way, is_still, note};
use super::cursor::Cursor;
use super::fault::Trouble;
use super::metadata;
use super::plan::{LiveDir, PlannedEntry, Step};
use super::stage::SYNC_EACH_UP_TO;
use crate::entry::{EntryState, flags};
use crate::path::AbsPath;
use crate::sys::{Dir, Pinned, sync_volume};

/// Gives live entries other than directories their old metadata.
pub(super) fn change_metadata(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in 0..outcomes.len() {
        let entry = &work.plan.entries[index];
        let Some(desired) = entry.desired.as_deref().filter(|d| !d.is_dir()) else {
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
    let live = entry.live.as_deref();
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
pub(super) fn lock_all(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in (0..outcomes.len()).rev() {
        let entry = &work.plan.entries[index];
        let locks = |state: &Option<Box<EntryState>>| {
            state.as_ref().map_or(0, |s| s.flags & flags::LOCKING)
        };
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
            .as_deref()
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
/// still to do when this run began. Gives remarks on directories that are not in the plan and did
/// not get their times back.
pub(super) fn finish_directories(
    work: &Work<'_>,
    outcomes: &mut [Outcome],
    fresh: &[bool],
) -> Result<Vec<String>, Trouble> {
    let mut finishes: BTreeMap<&AbsPath, Finish<'_>> = BTreeMap::new();
    for directory in &work.touched {
        finishes.insert(&directory.path, Finish::Kept(directory));
    }
    for (index, entry) in work.plan.entries.iter().enumerate() {
        let changes = entry.desired.as_deref().is_some_and(EntryState::is_dir)
            && matches!(entry.step, Step::Metadata | Step::Times)
            && outcomes[index].is_todo();
        // Made by an interrupted run; this run may have put entries in it.
        let made_before = entry.makes_dir() && outcomes[index] == Outcome::Done && !fresh[index];
        if changes || made_before {
            finishes.insert(&entry.path, Finish::Entry(index));
        }
    }
    let mut cursor = Cursor::default();
    let mut notes = Vec::new();
    for (path, finish) in finishes.into_iter().rev() {
        match finish {
            Finish::Kept(directory) => match keep(work, directory, &mut cursor) {
                Err(Trouble::Entry(reason)) => notes.push(format!(
                    "{path} has the time of this rollback, as it could not be put back: {reason}"
                )),
                other => other?,
            },
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
    Ok(notes)
}

/// Gives a directory that is not planned itself the times back that it just had.
fn keep(work: &Work<'_>, directory: &LiveDir, cursor: &mut Cursor) -> Result<(), Trouble> {
    let dir = match cursor.dir(&directory.path) {
        // One that was removed needs nothing.
        Err(e) if is_no_way(&e) => return Ok(()),
        other => other?,
    };
    if dir.stat_self()?.identity.inode != directory.inode {
        return Ok(());
    }
    let pinned = Pinned::of(&dir.fd())?;
    let times = (directory.accessed, directory.modified);
    metadata::set_times(&pinned, times, directory.flags, work.fault)
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
    let live = entry.live.as_deref().filter(|l| l.is_dir());
    let still = live.is_none_or(|live| is_still(live, &now, false));
    let Some(desired) = entry.desired.as_deref().filter(|_| still) else {
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
pub(super) fn sync_all(work: &Work<'_>, outcomes: &[Outcome]) -> Result<Vec<String>, Trouble> {
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
