//! Renames what was staged into place and removes what the commands created.

use std::collections::HashSet;
use std::ffi::OsStr;

use super::apply::{Outcome, Work, note};
use super::cursor::Cursor;
use super::fault::Trouble;
use super::metadata;
use super::plan::Step;
use crate::entry::{EntryState, flags};
use crate::sys::{Dir, Pinned, Stat, exchange};

/// For each entry whether it lies in a directory that something else takes the place of.
pub(super) fn swapped(work: &Work<'_>) -> Vec<bool> {
    let mut swapped = vec![false; work.plan.entries.len()];
    for (index, entry) in work.plan.entries.iter().enumerate() {
        if entry.empties_directory() && entry.step.places() {
            swapped[work.layout.beneath(index)].fill(true);
        }
    }
    swapped
}

/// The entries with whose rename something comes into place that has another name until then.
pub(super) fn moved_back(work: &Work<'_>) -> HashSet<usize> {
    let entries = work.plan.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| matches!(entry.step, Step::Reuse { .. }))
        .filter_map(|(index, _)| work.layout.top(index))
        .collect()
}

/// Removes what the commands created, the deepest first.
pub(super) fn remove_all(
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
pub(super) fn place_all(
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
    let from_dir = entry.live.as_deref().is_some_and(EntryState::is_dir);
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
