//! What takes a rollback back: the current content, saved before anything is changed, and the
//! undo record of the rollback itself.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::apply::{Outcome, is_still};
use super::cursor::Cursor;
use super::judge::same;
use super::made::{Made, Version};
use super::plan::{Finding, PlannedEntry, RollbackPlan, Step};
use super::stage::SYNC_EACH_UP_TO;
use super::verify::{VerifiedPlan, open_files};
use crate::entry::{ContentHash, EntryState};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::Cancel;
use crate::progress::{Event, Phase, Progress};
use crate::seal::{Change, PreImage, RecordedVolume, UndoRecord};
use crate::sys::{Dir, Pinned, Stat, clone_content, copy_content, sync_volume};

/// Files that one thread saves in a row.
const IN_A_ROW: usize = 64;

/// From this size on blocks are shared where that is possible.
const CLONED_FROM: u64 = 64 << 10;

/// How saving one file went.
enum Saving {
    Saved {
        hash: ContentHash,
        bytes: u64,
    },
    /// It is not the file that was looked at any more.
    Changed,
    /// It cannot be read.
    Unreadable(io::Error),
    /// The redo snapshot cannot take it.
    Full(io::Error),
}

/// Copies the content of every file that the plan replaces or removes into `files`.
///
/// Names and hashes are noted in the plan. A file that is not the one that was looked at becomes a
/// conflict, one that cannot be read a failure. Gives the bytes saved; durable on return. Where
/// the content does not fit nothing may be applied, which is the error.
pub(crate) fn save(
    plan: &mut VerifiedPlan,
    files: &Path,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<u64> {
    let (names, victims) = victims(plan.plan());
    if victims.is_empty() {
        return Ok(0);
    }
    let total = victims.iter().map(|v| live_size(&plan.plan().entries[*v]));
    progress.event(Event::Begin {
        phase: Phase::SaveCurrent,
        total: Some(total.sum()),
    });
    let to = open_files(files).map_err(|e| refused(&e))?;
    let entries = &plan.plan().entries;
    let durable_each = victims.len() <= SYNC_EACH_UP_TO;
    let save_piece = |piece: &[usize]| {
        let mut cursor = Cursor::default();
        let mut save_one = |index: usize| {
            if cancel.is_cancelled() {
                return (index, None);
            }
            let saving = save_file(&entries[index], index, &to, durable_each, &mut cursor);
            progress.event(Event::Advance {
                by: live_size(&entries[index]),
            });
            (index, Some(saving))
        };
        piece
            .iter()
            .map(|index| save_one(*index))
            .collect::<Vec<_>>()
    };
    let results: Vec<(usize, Option<Saving>)> = victims
        .par_chunks(IN_A_ROW)
        .flat_map_iter(save_piece)
        .collect();
    progress.event(Event::End);
    let bytes = note(plan, &names, results)?;
    let synced = if durable_each {
        to.sync()
    } else {
        sync_volume(&to.fd())
    };
    synced.map_err(|e| refused(&e))?;
    Ok(bytes)
}

fn live_size(entry: &PlannedEntry) -> u64 {
    entry.live.as_deref().map_or(0, |l| l.size)
}

fn refused(error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::Io,
        Stage::Rollback,
        format!("the current state cannot be saved, so nothing was changed: {error}"),
    )
}

fn file_name(index: usize) -> String {
    format!("{index:08x}")
}

/// For each entry whose content is saved the entry under whose name it is, and those entries: an
/// inode with several names is saved once.
fn victims(plan: &RollbackPlan) -> (HashMap<usize, usize>, Vec<usize>) {
    let mut inodes: HashMap<(u64, u64), usize> = HashMap::new();
    let mut names = HashMap::new();
    for (index, entry) in plan.entries.iter().enumerate() {
        let goes = entry.step.places() || entry.step.removes();
        let Some(live) = entry
            .live
            .as_deref()
            .filter(|l| goes && l.is_file() && l.size > 0)
        else {
            continue;
        };
        let key = (live.identity.device, live.identity.inode);
        names.insert(index, *inodes.entry(key).or_insert(index));
    }
    let mut victims: Vec<usize> = inodes.into_values().collect();
    victims.sort_unstable();
    (names, victims)
}

fn save_file(
    entry: &PlannedEntry,
    index: usize,
    to: &Dir,
    durable: bool,
    cursor: &mut Cursor,
) -> Saving {
    let file = match cursor
        .parent(&entry.path)
        .and_then(|(dir, name)| dir.open_file(name))
    {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Saving::Changed,
        Err(e) => return Saving::Unreadable(e),
    };
    let still = || -> io::Result<bool> {
        let now: Stat = Pinned::of(&file)?.stat()?;
        let now = EntryState::from_stat(&now);
        Ok(entry
            .live
            .as_deref()
            .is_some_and(|live| live.same_version(&now)))
    };
    match still() {
        Ok(true) => {}
        Ok(false) => return Saving::Changed,
        Err(e) => return Saving::Unreadable(e),
    }
    let name = file_name(index);
    let copy = match to.create_file(name.as_ref()) {
        Ok(copy) => copy,
        Err(e) => return Saving::Full(e),
    };
    let saved = copy_live(entry, &file, &copy);
    let saving = match (saved, still()) {
        (Ok((bytes, hash)), Ok(true)) => match durable.then(|| copy.sync_all()).transpose() {
            Ok(_) => return Saving::Saved { hash, bytes },
            Err(e) => Saving::Full(e),
        },
        (Ok(_), Ok(false)) => Saving::Changed,
        (Err(e), _) if is_full(&e) => Saving::Full(e),
        (Err(e), _) | (Ok(_), Err(e)) => Saving::Unreadable(e),
    };
    // Whatever is left of it is removed with the redo snapshot at the latest.
    let _ = to.unlink(name.as_ref());
    saving
}

/// Copies the live content and gives its length and hash.
///
/// Nothing is read where blocks can be shared and the file is the version that was recorded: reading
/// large files costs far more than all else. The caller makes sure that it is that version still.
fn copy_live(entry: &PlannedEntry, from: &File, to: &File) -> io::Result<(u64, ContentHash)> {
    if let Some(live) = entry.live.as_deref().filter(|_| entry.as_recorded)
        && let Some(hash) = live.hash.filter(|_| live.size >= CLONED_FROM)
        && clone_content(from, to)?
    {
        return Ok((live.size, hash));
    }
    copy_content(from, to)
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// Writes what saving gave into the plan.
fn note(
    plan: &mut VerifiedPlan,
    names: &HashMap<usize, usize>,
    results: Vec<(usize, Option<Saving>)>,
) -> Result<u64> {
    let mut savings: HashMap<usize, Saving> = HashMap::with_capacity(results.len());
    for (index, saving) in results {
        let cancelled = || {
            Error::new(
                ErrorKind::Cancelled,
                Stage::Rollback,
                "the rollback was cancelled before anything was changed",
            )
        };
        match saving.ok_or_else(cancelled)? {
            Saving::Full(e) => {
                let context = "the current state cannot be saved, so nothing was changed";
                return Err(Error::io(Stage::Rollback, context, e));
            }
            saving => savings.insert(index, saving),
        };
    }
    let mut total = 0;
    for (index, entry) in plan.entries_mut().iter_mut().enumerate() {
        let Some(owner) = names.get(&index) else {
            continue;
        };
        match savings.get(owner) {
            Some(Saving::Saved { hash, bytes }) => {
                total += if *owner == index { *bytes } else { 0 };
                note_saved(entry, *owner, *hash);
            }
            Some(Saving::Unreadable(e)) => {
                entry.failure = Some(format!("its current content cannot be saved: {e}"));
            }
            Some(Saving::Changed | Saving::Full(_)) | None => {
                entry.conflict = Some(Finding {
                    reason: "is being changed right now".into(),
                    overridable: false,
                });
            }
        }
    }
    Ok(total)
}

fn note_saved(entry: &mut PlannedEntry, owner: usize, hash: ContentHash) {
    entry.saved = Some(file_name(owner));
    let Some(live) = &mut entry.live else {
        return;
    };
    // The same times and size as recorded, and yet other content: changed within a clock tick.
    if live.hash.is_some_and(|known| known != hash) {
        entry.conflict = Some(Finding {
            reason: "was changed after the command: its content".into(),
            overridable: true,
        });
    }
    live.hash = Some(hash);
}

/// The undo record of what was done: before is what was live, after is what is live now. What is
/// known of new entries is taken from `made`.
pub(crate) fn record(plan: &RollbackPlan, outcomes: &[Outcome], made: &Made) -> UndoRecord {
    let all = plan.entries.par_iter().zip(outcomes).enumerate();
    let changes: Vec<Option<Change>> = all
        .map_init(Cursor::default, |cursor, (index, (entry, outcome))| {
            change(entry, outcome, made.version(index), cursor)
        })
        .collect();
    let changes: Vec<Change> = changes.into_iter().flatten().collect();
    UndoRecord {
        changes,
        volumes: volumes(plan),
        ..UndoRecord::default()
    }
}

fn change(
    entry: &PlannedEntry,
    outcome: &Outcome,
    made: Option<Version>,
    cursor: &mut Cursor,
) -> Option<Change> {
    let mut now = || {
        let (dir, name) = cursor.parent(&entry.path).ok()?;
        dir.stat_opt(name).ok().flatten()
    };
    if entry.step == Step::Keep {
        return kept(entry, now());
    }
    if *outcome != Outcome::Done {
        return None;
    }
    let after = entry.desired.as_deref().map(|desired| {
        let mut after = desired.clone();
        if after.hash.is_none() && entry.step == Step::Metadata {
            after.hash = entry.live.as_deref().and_then(|l| l.hash);
        }
        if let Some(version) = made.or_else(|| now().map(|stat| Version::of(&stat))) {
            after.identity = version.identity;
            after.allocated = version.allocated;
        }
        after
    });
    let content = match (&entry.saved, entry.live.as_deref().and_then(|l| l.hash)) {
        (Some(name), Some(hash)) => PreImage::raw(name.clone(), hash),
        _ => PreImage::NotNeeded,
    };
    Some(Change {
        path: entry.path.clone(),
        before: entry.live.as_deref().cloned(),
        after,
        content,
    })
}

/// A name of a linked file that was left alone: without it in the record, the rollback of the
/// rollback could not link to it.
fn kept(entry: &PlannedEntry, now: Option<Stat>) -> Option<Change> {
    let live = entry.live.as_deref().filter(|l| !l.is_dir())?;
    let mut after = live.clone();
    let now = EntryState::from_stat(&now?);
    let same_inode = now.identity.inode == live.identity.inode;
    after.identity = now.identity;
    let unchanged = same_inode && now.size == live.size && now.modified == live.modified;
    (unchanged && same(Some(&after), Some(live), true)).then(|| Change {
        path: entry.path.clone(),
        before: Some(live.clone()),
        after: Some(after),
        content: PreImage::NotNeeded,
    })
}

/// Removes saved content that the sealed `record` does not refer to, because its entries failed.
///
/// Only what is certainly not needed goes: every entry it was saved for is still the one that was
/// looked at. A removal that fails costs space, and `verify` names the file.
pub(crate) fn drop_unused(plan: &RollbackPlan, record: &UndoRecord, files: &Path) {
    let used: HashSet<&str> = record
        .changes
        .iter()
        .filter_map(|change| match &change.content {
            PreImage::Stored { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let mut cursor = Cursor::default();
    let mut unused: BTreeMap<&str, bool> = BTreeMap::new();
    for entry in &plan.entries {
        if let Some(name) = entry.saved.as_deref().filter(|name| !used.contains(name)) {
            *unused.entry(name).or_insert(true) &= is_untouched(entry, &mut cursor);
        }
    }
    let Ok(dir) = open_files(files) else { return };
    for (name, _) in unused.into_iter().filter(|(_, untouched)| *untouched) {
        if let Err(error) = dir.unlink(name.as_ref()) {
            tracing::debug!(name, %error, "cannot remove saved content that is not needed");
        }
    }
}

fn is_untouched(entry: &PlannedEntry, cursor: &mut Cursor) -> bool {
    let now = cursor
        .parent(&entry.path)
        .and_then(|(dir, name)| dir.stat_opt(name));
    matches!((&entry.live, now), (Some(live), Ok(Some(now))) if is_still(live, &now, true))
}

/// A directory on each volume that will stay.
fn volumes(plan: &RollbackPlan) -> Vec<RecordedVolume> {
    let goes = |path: &crate::path::AbsPath| {
        let at = plan.entries.binary_search_by(|e| e.path.cmp(path));
        at.is_ok_and(|at| plan.entries[at].desired.is_none())
    };
    let mut volumes: Vec<RecordedVolume> = Vec::new();
    for directory in plan.directories.iter().filter(|d| !goes(&d.path)) {
        if volumes.iter().all(|v| v.device != directory.device) {
            volumes.push(RecordedVolume {
                device: directory.device,
                anchor: directory.path.clone(),
            });
        }
    }
    volumes
}
