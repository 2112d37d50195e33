//! Makes everything new beside its target. Nothing that is live is changed.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use rayon::prelude::*;

use super::apply::{COLLISION, Outcome, Work, is_still, note};
use super::cursor::{Cursor, path_depth};
use super::fault::Trouble;
use super::leaves::{Bench, stage_leaves};
use super::made::Made;
use super::metadata;
use super::plan::{PlannedEntry, Step};
use crate::entry::{EntryState, flags};
use crate::progress::{Event, Phase};
use crate::sys::{Dir, Fresh, Pinned, Stat, finish_new, hash_file, is_root, sync_volume};

/// From this many new entries on, one sync of the whole volume is cheaper than one for each.
pub(crate) const SYNC_EACH_UP_TO: usize = 32;
/// Directories that one thread works on in a row.
const IN_A_ROW: usize = 64;

/// Stages every pending entry and makes what was staged durable. Gives what the new entries are.
pub(crate) fn stage(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<Made, Trouble> {
    let pending: Vec<usize> = (0..outcomes.len())
        .filter(|i| work.plan.entries[*i].step.places() && outcomes[*i].is_todo())
        .collect();
    if pending.is_empty() {
        return Ok(Made::default());
    }
    let bytes = pending.iter().map(|i| staged_bytes(&work.plan.entries[*i]));
    work.progress.event(Event::Begin {
        phase: Phase::Stage,
        total: Some(bytes.sum()),
    });
    let durable_each = pending.len() <= SYNC_EACH_UP_TO;
    let result = stage_in_order(work, &pending, durable_each, outcomes);
    work.progress.event(Event::End);
    result
}

pub(super) fn staged_bytes(entry: &PlannedEntry) -> u64 {
    match (entry.step, &entry.desired) {
        (Step::File, Some(desired)) => desired.size,
        _ => 0,
    }
}

fn stage_in_order(
    work: &Work<'_>,
    pending: &[usize],
    durable_each: bool,
    outcomes: &mut [Outcome],
) -> Result<Made, Trouble> {
    let mut made = Made::of(outcomes.len());
    let of = |wanted: fn(Step) -> bool| {
        let chosen = move |i: &usize| wanted(work.plan.entries[*i].step);
        pending.iter().copied().filter(chosen).collect::<Vec<_>>()
    };
    let directories = of(|s| s == Step::MakeDir);
    make_directories(work, &directories, outcomes)?;
    let leaves = of(|s| matches!(s, Step::File | Step::Symlink | Step::Node));
    stage_leaves(work, &leaves, durable_each, outcomes, &mut made)?;
    let moved = of(|s| matches!(s, Step::Reuse { .. }));
    stage_moved(work, &moved, durable_each, outcomes)?;
    let links = of(|s| matches!(s, Step::Link { .. }));
    stage_links(work, &links, outcomes)?;
    finish_directories(work, &directories, durable_each, outcomes, &mut made)?;
    if !durable_each {
        sync_staged(work, outcomes)?;
    }
    Ok(made)
}

/// Marks an entry that cannot be staged, because of itself or of its directory.
pub(super) fn orphaned(work: &Work<'_>, index: usize, outcomes: &[Outcome]) -> Option<Outcome> {
    let locked = |state: &EntryState| state.flags & flags::LOCKING != 0;
    if work.plan.entries[index]
        .desired
        .as_deref()
        .is_some_and(locked)
        && !is_root()
    {
        // Known beforehand: it could only be set after everything else was done.
        let reason = "only the administrator can make it immutable or append-only again";
        return Some(Outcome::Failed(reason.into()));
    }
    let parent = work.layout.parent(index)?;
    (work.plan.entries[parent].makes_dir() && outcomes[parent].is_failed())
        .then(|| Outcome::Failed("its directory is not restored".into()))
}

/// In a tree that is being staged nobody else makes entries.
pub(super) fn staging_trouble(work: &Work<'_>, index: usize, error: std::io::Error) -> Trouble {
    if error.kind() == std::io::ErrorKind::AlreadyExists && !work.layout.is_top(index) {
        Trouble::Entry(COLLISION.into())
    } else {
        error.into()
    }
}

fn make_directories(
    work: &Work<'_>,
    directories: &[usize],
    outcomes: &mut [Outcome],
) -> Result<(), Trouble> {
    let make = |index: usize, cursor: &mut Cursor| {
        work.fault.point()?;
        let path = work.layout.staged(index)?;
        let (dir, name) = cursor.parent(&path)?;
        dir.make_dir(name)
            .map_err(|e| staging_trouble(work, index, e))
    };
    for level in levels(work, directories) {
        let mut wanted = Vec::with_capacity(level.len());
        for index in level {
            match orphaned(work, index, outcomes) {
                Some(failed) => outcomes[index] = failed,
                None => wanted.push(index),
            }
        }
        for (index, result) in in_parallel(&wanted, make) {
            note(index, result, outcomes)?;
        }
    }
    Ok(())
}

/// The directories by their depth, the topmost first.
fn levels(work: &Work<'_>, directories: &[usize]) -> Vec<Vec<usize>> {
    let mut levels: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in directories.iter().copied() {
        let path = &work.plan.entries[index].path;
        levels.entry(path_depth(path)).or_default().push(index);
    }
    levels.into_values().collect()
}

/// Does something to each of several directories, on all processors where these are many.
fn in_parallel<T: Send>(
    directories: &[usize],
    each: impl Fn(usize, &mut Cursor) -> Result<T, Trouble> + Sync,
) -> Vec<(usize, Result<T, Trouble>)> {
    let in_a_row = |piece: &[usize]| {
        let mut cursor = Cursor::default();
        let one = |index: &usize| (*index, each(*index, &mut cursor));
        piece.iter().map(one).collect::<Vec<_>>()
    };
    directories
        .par_chunks(IN_A_ROW)
        .flat_map_iter(in_a_row)
        .collect()
}

/// Gives links their staged names. What they are a name of was staged before, or is live.
fn stage_links(work: &Work<'_>, links: &[usize], outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let (mut from_cursor, mut to_cursor) = (Cursor::default(), Cursor::default());
    for index in links.iter().copied() {
        let Step::Link { to } = work.plan.entries[index].step else {
            continue;
        };
        let to = to as usize;
        let failed = orphaned(work, index, outcomes).or_else(|| {
            outcomes[to].is_failed().then(|| {
                let path = &work.plan.entries[to].path;
                Outcome::Failed(format!("{path}, the same file, is not restored"))
            })
        });
        if let Some(failed) = failed {
            outcomes[index] = failed;
            continue;
        }
        work.fault.point()?;
        let result = stage_link(
            work,
            (to, index),
            outcomes,
            &mut from_cursor,
            &mut to_cursor,
        );
        note(index, result, outcomes)?;
    }
    Ok(())
}

fn stage_link(
    work: &Work<'_>,
    (original, link): (usize, usize),
    outcomes: &[Outcome],
    from_cursor: &mut Cursor,
    to_cursor: &mut Cursor,
) -> Result<(), Trouble> {
    let entry = &work.plan.entries[original];
    let to = work.layout.staged(link)?;
    if entry.step.places() && outcomes[original].is_todo() {
        let from = work.layout.staged(original)?;
        let (from_dir, from_name) = from_cursor.parent(&from)?;
        let (to_dir, to_name) = to_cursor.parent(&to)?;
        return Ok(from_dir.link(from_name, to_dir, to_name)?);
    }
    let (from_dir, from_name) = from_cursor.parent(&entry.path)?;
    if !entry.step.places() && !is_live(entry, from_dir, from_name)? {
        let path = &entry.path;
        return Err(Trouble::Entry(format!(
            "{path}, the same file, was changed meanwhile"
        )));
    }
    let (to_dir, to_name) = to_cursor.parent(&to)?;
    link_live(entry, (from_dir, from_name), (to_dir, to_name))
}

/// Whether the entry is still what it was when the plan was made.
fn is_live(entry: &PlannedEntry, dir: &Dir, name: &OsStr) -> std::io::Result<bool> {
    let now = dir.stat_opt(name)?;
    Ok(matches!((&entry.live, &now), (Some(live), Some(now)) if is_still(live, now, true)))
}

/// Gives a live entry a further name. A locked file can neither get one nor be renamed, so it is
/// unlocked until everything is in place.
fn link_live(
    entry: &PlannedEntry,
    (from_dir, from_name): (&Dir, &OsStr),
    (to_dir, to_name): (&Dir, &OsStr),
) -> Result<(), Trouble> {
    if entry
        .live
        .as_deref()
        .is_some_and(|l| l.flags & flags::LOCKING != 0)
    {
        metadata::unlock(&Pinned::open(from_dir, from_name)?)?;
    }
    Ok(from_dir.link(from_name, to_dir, to_name)?)
}

/// Gives inodes that were moved elsewhere a staged name. Where one is not there any more, because
/// an interrupted run got further, the entry is made anew.
fn stage_moved(
    work: &Work<'_>,
    moved: &[usize],
    durable_each: bool,
    outcomes: &mut [Outcome],
) -> Result<(), Trouble> {
    let (mut from_cursor, mut to_cursor) = (Cursor::default(), Cursor::default());
    let mut bench = Bench::new(work, durable_each);
    for index in moved.iter().copied() {
        if let Some(failed) = orphaned(work, index, outcomes) {
            outcomes[index] = failed;
            continue;
        }
        let Step::Reuse { of } = work.plan.entries[index].step else {
            continue;
        };
        work.fault.point()?;
        let entry = &work.plan.entries[of as usize];
        let there = from_cursor
            .parent(&entry.path)
            .and_then(|(dir, name)| is_live(entry, dir, name));
        let result = if there.unwrap_or(false) {
            let to = work.layout.staged(index)?;
            let (from_dir, from_name) = from_cursor.parent(&entry.path)?;
            let (to_dir, to_name) = to_cursor.parent(&to)?;
            link_live(entry, (from_dir, from_name), (to_dir, to_name))
        } else {
            bench.stage(index).map(drop)
        };
        note(index, result, outcomes)?;
    }
    Ok(())
}

/// Gives staged directories their metadata, after everything in them was made: the deepest first, as
/// the metadata may forbid to enter them.
fn finish_directories(
    work: &Work<'_>,
    directories: &[usize],
    durable: bool,
    outcomes: &mut [Outcome],
    made: &mut Made,
) -> Result<(), Trouble> {
    for mut level in levels(work, directories).into_iter().rev() {
        level.retain(|index| outcomes[*index].is_todo());
        let finish = |index, cursor: &mut Cursor| finish_directory(work, index, durable, cursor);
        for (index, result) in in_parallel(&level, finish) {
            if let Err(Trouble::Entry(reason)) = &result {
                work.abandon(index, reason, outcomes)?;
            }
            let result = result.map(|stat| made.note(work, index, stat.as_ref()));
            note(index, result, outcomes)?;
        }
    }
    Ok(())
}

fn finish_directory(
    work: &Work<'_>,
    index: usize,
    durable: bool,
    cursor: &mut Cursor,
) -> Result<Option<Stat>, Trouble> {
    let Some(desired) = &work.plan.entries[index].desired else {
        return Ok(None);
    };
    let path = work.layout.staged(index)?;
    let dir = cursor.dir(&path)?;
    if durable {
        dir.sync()?;
    }
    work.fault.point()?;
    // A locked directory could not be moved into place: such flags come last.
    let made = finish_new(dir, Fresh::of(dir)?, desired)?;
    match metadata::inexact(&made, desired) {
        Some(what) => Err(Trouble::Entry(what)),
        None => Ok(Some(made)),
    }
}

/// One sync for each volume that has something staged.
fn sync_staged(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    for (device, directory) in work.volumes() {
        work.fault.point()?;
        let synced = Cursor::default()
            .dir(directory)
            .and_then(|dir| sync_volume(&dir.fd()));
        let Err(e) = synced else { continue };
        // What may not be on the disk must not replace anything.
        for index in 0..outcomes.len() {
            let here = work.device_of(index) == Some(device);
            if here && work.layout.is_top(index) && outcomes[index].is_todo() {
                let reason = format!("it could not be made durable: {e}");
                work.abandon(index, &reason, outcomes)?;
                outcomes[index] = Outcome::Failed(reason);
            }
        }
    }
    Ok(())
}

/// Whether a live file has the wanted content, read again.
pub(crate) fn content_is(dir: &Dir, name: &OsStr, wanted: &EntryState) -> bool {
    let hash = || dir.open_file(name).and_then(|file| hash_file(&file)).ok();
    wanted.size == 0 || wanted.hash.is_some_and(|h| hash() == Some(h))
}
