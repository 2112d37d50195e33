//! Makes files, symbolic links and nodes beside their targets: most of what a rollback does.

use std::ffi::OsStr;
use std::fs::File;

use rayon::prelude::*;

use super::apply::{Outcome, Work, note};
use super::compose::Content;
use super::cursor::Cursor;
use super::fault::Trouble;
use super::judge::placing;
use super::made::Made;
use super::metadata;
use super::plan::{PlannedEntry, Step};
use super::stage::{orphaned, staged_bytes, staging_trouble};
use crate::entry::{ContentHash, EntryState};
use crate::progress::Event;
use crate::store::OpenDirs;
use crate::store::content::{self, CopyError, Stored};
use crate::sys::{Dir, Fresh, Pinned, Stat, copy_content, finish_new, prepare_new_file};

/// Most entries that one thread stages in a row.
const MOST_IN_A_ROW: usize = 256;

/// What came of staging an entry: what it is then, where that was looked at.
type Staged = Result<Option<Stat>, Trouble>;

/// Stages entries whose directories are there already.
pub(super) fn stage_leaves(
    work: &Work<'_>,
    leaves: &[usize],
    durable_each: bool,
    outcomes: &mut [Outcome],
    made: &mut Made,
) -> Result<(), Trouble> {
    let mut staged = Vec::with_capacity(leaves.len());
    for index in leaves.iter().copied() {
        match orphaned(work, index, outcomes) {
            Some(failed) => outcomes[index] = failed,
            None => staged.push(index),
        }
    }
    let piece = (staged.len() / (rayon::current_num_threads() * 8)).clamp(1, MOST_IN_A_ROW);
    let results: Vec<Vec<(usize, Staged)>> = staged
        .par_chunks(piece)
        .map(|piece| {
            let mut bench = Bench::new(work, durable_each);
            let one = |index: usize| {
                let result = bench.stage(index);
                let by = staged_bytes(&work.plan.entries[index]);
                work.progress.event(Event::Advance { by });
                (index, result)
            };
            piece.iter().copied().map(one).collect()
        })
        .collect();
    for (index, result) in results.into_iter().flatten() {
        let result = result.map(|stat| made.note(work, index, stat.as_ref()));
        note(index, result, outcomes)?;
    }
    Ok(())
}

/// Where one thread makes one entry after the other.
pub(super) struct Bench<'w> {
    work: &'w Work<'w>,
    durable: bool,
    sources: Cursor,
    targets: Cursor,
    /// The staged directory that `targets` is at.
    at: Option<usize>,
    /// What new entries in it are like.
    fresh: Option<Fresh>,
}

impl<'w> Bench<'w> {
    /// `durable`: each entry is synced by itself.
    pub(super) fn new(work: &'w Work<'w>, durable: bool) -> Self {
        Self {
            work,
            durable,
            sources: Cursor::default(),
            targets: Cursor::default(),
            at: None,
            fresh: None,
        }
    }

    /// Makes one entry.
    pub(super) fn stage(&mut self, index: usize) -> Staged {
        let work = self.work;
        let entry = &work.plan.entries[index];
        let Some(desired) = &entry.desired else {
            return Ok(None);
        };
        work.fault.point()?;
        let step = placing(desired.kind);
        let source = match step {
            Step::File => open_source(work, entry, &mut self.sources)?,
            _ => None,
        };
        let top_path;
        let (dir, name) = match (work.layout.staged_in(index), entry.path.name()) {
            (Some(directory), Some(name)) => {
                if self.at != Some(directory) {
                    (self.at, self.fresh) = (None, None);
                    self.targets.dir(&work.layout.staged(directory)?)?;
                    self.at = Some(directory);
                }
                (self.targets.here()?, name)
            }
            _ => {
                (self.at, self.fresh) = (None, None);
                top_path = work.layout.staged(index)?;
                self.targets.parent(&top_path)?
            }
        };
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
            Some(file) => {
                // In a staged tree nobody else changes the directory.
                let fresh = self.at.and(self.fresh);
                let filled =
                    fill_file(work, (&file, fresh), desired, source.as_ref(), self.durable);
                filled.map(|(fresh, made)| {
                    self.fresh = Some(fresh);
                    Some(made)
                })
            }
            None => finish_special(work, dir, name, desired).map(|()| None),
        };
        if let Err(Trouble::Entry(_)) = &result {
            // Nothing of an entry that is not exact may be left; a missing one is just as well.
            let _ = dir.unlink(name);
        }
        result
    }
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
    let size = entry.desired.as_deref().map_or(0, |desired| desired.size);
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

/// Fills a new file, of which it may be known what it is like before. Gives that, and what it is now.
fn fill_file(
    work: &Work<'_>,
    (file, fresh): (&File, Option<Fresh>),
    desired: &EntryState,
    source: Option<&Source<'_>>,
    durable: bool,
) -> Result<(Fresh, Stat), Trouble> {
    work.fault.point()?;
    prepare_new_file(file, desired)?;
    if let Some(source) = source {
        fill_content(file, desired, source)?;
    }
    work.fault.point()?;
    let fresh = match fresh {
        Some(fresh) => fresh,
        None => Fresh::of(file)?,
    };
    let made = finish_new(file, fresh, desired)?;
    if let Some(what) = metadata::inexact(&made, desired) {
        return Err(Trouble::Entry(what));
    }
    if durable {
        file.sync_all()?;
    }
    Ok((fresh, made))
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
