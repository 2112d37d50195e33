//! Makes everything new beside its target. Nothing that is live is changed.

use std::ffi::OsStr;
use std::fs::File;

use rayon::prelude::*;

use super::apply::{COLLISION, Outcome, Work, is_still, note};
use super::compose::Content;
use super::cursor::Cursor;
use super::fault::Trouble;
use super::judge::placing;
use super::metadata;
use super::plan::{PlannedEntry, Step};
use crate::entry::{ContentHash, EntryState, flags};
use crate::progress::{Event, Phase};
use crate::store::OpenDirs;
use crate::store::content::{self, CopyError, Stored};
use crate::sys::{
    Dir, Pinned, Stat, copy_content, finish_new_file, hash_file, is_root, prepare_new_file,
    sync_volume,
};

/// From this many new entries on, one sync of the whole volume is cheaper than one for each.
pub(crate) const SYNC_EACH_UP_TO: usize = 32;
/// Most files that one thread stages in a row.
const MOST_IN_A_ROW: usize = 256;

/// Stages every pending entry and makes what was staged durable.
pub(crate) fn stage(work: &Work<'_>, outcomes: &mut [Outcome]) -> Result<(), Trouble> {
    let pending: Vec<usize> = (0..outcomes.len())
        .filter(|i| work.plan.entries[*i].step.places() && outcomes[*i].is_todo())
        .collect();
    if pending.is_empty() {
        return Ok(());
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

fn staged_bytes(entry: &PlannedEntry) -> u64 {
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
) -> Result<(), Trouble> {
    let of = |wanted: fn(Step) -> bool| {
        let chosen = move |i: &usize| wanted(work.plan.entries[*i].step);
        pending.iter().copied().filter(chosen).collect::<Vec<_>>()
    };
    let directories = of(|s| s == Step::MakeDir);
    make_directories(work, &directories, outcomes)?;
    let leaves = of(|s| matches!(s, Step::File | Step::Symlink | Step::Node));
    stage_leaves(work, &leaves, durable_each, outcomes)?;
    let moved = of(|s| matches!(s, Step::Reuse { .. }));
    stage_moved(work, &moved, durable_each, outcomes)?;
    let links = of(|s| matches!(s, Step::Link { .. }));
    stage_links(work, &links, outcomes)?;
    finish_directories(work, &directories, durable_each, outcomes)?;
    if !durable_each {
        sync_staged(work, outcomes)?;
    }
    Ok(())
}

/// Marks an entry that cannot be staged, because of itself or of its directory.
fn orphaned(work: &Work<'_>, index: usize, outcomes: &[Outcome]) -> Option<Outcome> {
    let locked = |state: &EntryState| state.flags & flags::LOCKING != 0;
    if work.plan.entries[index]
        .desired
        .as_ref()
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
fn staging_trouble(work: &Work<'_>, index: usize, error: std::io::Error) -> Trouble {
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
    let mut cursor = Cursor::default();
    for index in directories.iter().copied() {
        if let Some(failed) = orphaned(work, index, outcomes) {
            outcomes[index] = failed;
            continue;
        }
        work.fault.point()?;
        let made = work.layout.staged(index).and_then(|path| {
            let (dir, name) = cursor.parent(&path)?;
            dir.make_dir(name)
        });
        let made = made.map_err(|e| staging_trouble(work, index, e));
        note(index, made, outcomes)?;
    }
    Ok(())
}

fn stage_leaves(
    work: &Work<'_>,
    leaves: &[usize],
    durable_each: bool,
    outcomes: &mut [Outcome],
) -> Result<(), Trouble> {
    let mut staged = Vec::with_capacity(leaves.len());
    for index in leaves.iter().copied() {
        match orphaned(work, index, outcomes) {
            Some(failed) => outcomes[index] = failed,
            None => staged.push(index),
        }
    }
    let piece = (staged.len() / (rayon::current_num_threads() * 8)).clamp(1, MOST_IN_A_ROW);
    let results: Vec<Vec<(usize, Result<(), Trouble>)>> = staged
        .par_chunks(piece)
        .map(|piece| {
            let mut cursor = Cursor::default();
            let one = |index: usize| {
                let result = stage_leaf(work, index, durable_each, &mut cursor);
                let by = staged_bytes(&work.plan.entries[index]);
                work.progress.event(Event::Advance { by });
                (index, result)
            };
            piece.iter().copied().map(one).collect()
        })
        .collect();
    for (index, result) in results.into_iter().flatten() {
        note(index, result, outcomes)?;
    }
    Ok(())
}

fn stage_leaf(
    work: &Work<'_>,
    index: usize,
    durable_each: bool,
    cursor: &mut Cursor,
) -> Result<(), Trouble> {
    let entry = &work.plan.entries[index];
    let Some(desired) = &entry.desired else {
        return Ok(());
    };
    work.fault.point()?;
    let step = placing(desired.kind);
    let source = match step {
        Step::File => open_source(work, entry, cursor)?,
        _ => None,
    };
    let path = work.layout.staged(index)?;
    let (dir, name) = cursor.parent(&path)?;
    let created = match step {
        Step::File => dir.create_file(name).map(Some),
        Step::Symlink => dir
            .make_symlink(name, desired.target.as_deref().unwrap_or_default())
            .map(|()| None),
        _ => dir
            .make_node(name, desired.kind, desired.device)
            .map(|()| None),
    };
    let result = match created.map_err(|e| staging_trouble(work, index, e))? {
        Some(file) => fill_file(work, &file, desired, source.as_ref(), durable_each),
        None => finish_special(work, dir, name, desired),
    };
    if let Err(Trouble::Entry(_)) = &result {
        // Nothing of an entry that is not exact may be left; a missing one is just as well.
        let _ = dir.unlink(name);
    }
    result
}

/// Where a file's content is copied from.
enum Source<'a> {
    Live(File),
    Stored(&'a OpenDirs, Stored<'a>),
}

/// Opens the old content of a file. `None`: it is empty.
fn open_source<'a>(
    work: &'a Work<'_>,
    entry: &'a PlannedEntry,
    cursor: &mut Cursor,
) -> Result<Option<Source<'a>>, Trouble> {
    let size = entry.desired.as_ref().map_or(0, |desired| desired.size);
    match &entry.content {
        Content::None => Ok(None),
        Content::Stored { .. } => {
            let stored = entry.content.stored(size).and_then(|(snapshot, stored)| {
                Some(Source::Stored(work.files.get(snapshot)?, stored))
            });
            stored
                .map(Some)
                .ok_or_else(|| Trouble::Entry("the backup is missing".into()))
        }
        Content::Live => {
            let (dir, name) = cursor.parent(&entry.path)?;
            Ok(Some(Source::Live(dir.open_file(name)?)))
        }
        Content::Lost { reason } => Err(Trouble::Entry(format!(
            "its old content was not preserved: {reason}"
        ))),
    }
}

fn fill_file(
    work: &Work<'_>,
    file: &File,
    desired: &EntryState,
    source: Option<&Source<'_>>,
    durable: bool,
) -> Result<(), Trouble> {
    work.fault.point()?;
    prepare_new_file(file, desired)?;
    if let Some(source) = source {
        fill_content(file, desired, source)?;
    }
    work.fault.point()?;
    let made: Stat = finish_new_file(file, desired)?;
    if let Some(what) = metadata::inexact(&made, desired) {
        return Err(Trouble::Entry(what));
    }
    if durable {
        file.sync_all()?;
    }
    Ok(())
}

fn fill_content(file: &File, desired: &EntryState, source: &Source<'_>) -> Result<(), Trouble> {
    let fits = |hash: &ContentHash| desired.hash.is_none_or(|wanted| wanted == *hash);
    let intact = match source {
        Source::Live(from) => {
            let (length, hash) = copy_content(from, file)?;
            length == desired.size && fits(&hash)
        }
        Source::Stored(dirs, stored) => {
            let sparse = desired.allocated < desired.size;
            content::copy_into(dirs, stored, file, sparse).map_err(|e| match e {
                CopyError::Stored(what) => {
                    Trouble::Entry(format!("the backup {} {what}", stored.name))
                }
                CopyError::Target(e) => e.into(),
            })?;
            fits(stored.hash)
        }
    };
    if intact {
        return Ok(());
    }
    Err(Trouble::Entry(
        "its old content is damaged: size or hash differ from what was recorded".into(),
    ))
}

fn finish_special(
    work: &Work<'_>,
    dir: &Dir,
    name: &OsStr,
    desired: &EntryState,
) -> Result<(), Trouble> {
    work.fault.point()?;
    metadata::change(&Pinned::open(dir, name)?, desired, None, work.fault)
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
        .as_ref()
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
            stage_leaf(work, index, durable_each, &mut to_cursor)
        };
        note(index, result, outcomes)?;
    }
    Ok(())
}

/// Gives staged directories their metadata, after everything in them was made.
fn finish_directories(
    work: &Work<'_>,
    directories: &[usize],
    durable: bool,
    outcomes: &mut [Outcome],
) -> Result<(), Trouble> {
    let mut cursor = Cursor::default();
    for index in directories.iter().rev().copied() {
        if !outcomes[index].is_todo() {
            continue;
        }
        let result = finish_directory(work, index, durable, &mut cursor);
        if let Err(Trouble::Entry(reason)) = &result {
            work.abandon(index, reason, outcomes)?;
        }
        note(index, result, outcomes)?;
    }
    Ok(())
}

fn finish_directory(
    work: &Work<'_>,
    index: usize,
    durable: bool,
    cursor: &mut Cursor,
) -> Result<(), Trouble> {
    let Some(desired) = &work.plan.entries[index].desired else {
        return Ok(());
    };
    let path = work.layout.staged(index)?;
    let mut wanted = desired.clone();
    // A locked directory could not be moved into place.
    wanted.flags &= !flags::LOCKING;
    let dir = cursor.dir(&path)?;
    if durable {
        dir.sync()?;
    }
    let pinned = Pinned::of(&dir.fd())?;
    metadata::change(&pinned, &wanted, None, work.fault)
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
