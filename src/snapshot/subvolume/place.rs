//! Completes what differs, and puts old content out of the snapshots into the stored snapshot.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;

use rayon::prelude::*;

use super::view::{Roots, View};
use crate::entry::{ContentHash, EntryKind, EntryState, flags};
use crate::error::{IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::request::Limits;
use crate::seal::{Change, PreImage};
use crate::snapshot::Placement;
use crate::snapshot::tree::compare::{Difference, is_equal};
use crate::snapshot::tree::record::{Record, Unkept};
use crate::snapshot::tree::stored::stored_name;
use crate::sys::{self, Dir, Pinned, clone_content, copy_content, hash_file};
use crate::sys::{read_open_state, read_state};

/// Above this many new files one flush of the whole volume is cheaper than one for each.
const SYNC_EACH_BELOW: usize = 48;
/// Up to this size a copy takes less time than a clone and a hash of it.
const COPY_UP_TO: u64 = 16 * 1024;
/// Entries that one task completes.
const CHUNK: usize = 64;

/// An entry that differs, with its whole state before.
struct Differing {
    path: AbsPath,
    before: Option<EntryState>,
    after: Option<EntryState>,
    /// The subvolume and inode of old content that has to be kept.
    wanted: Option<(usize, u64)>,
}

/// What placing gives.
pub(super) struct Placed {
    pub(super) changes: Vec<Change>,
    pub(super) stored_bytes: u64,
}

/// Makes changes of differences, with the old content on stable storage on return.
pub(super) fn place(
    views: &[View<'_>],
    roots: &Roots,
    differences: Vec<(AbsPath, Difference)>,
    placement: Placement<'_>,
    limits: &Limits,
) -> Result<Placed> {
    let mut differing: Vec<Differing> = differences
        .into_par_iter()
        .with_min_len(CHUNK)
        .filter_map(|(path, difference)| complete(views, roots, path, difference).transpose())
        .collect::<Result<_>>()?;
    let mut wanted: Vec<&Differing> = Vec::new();
    let mut names: HashMap<(usize, u64), String> = HashMap::new();
    for entry in &differing {
        // One stored file for every inode, however many names it had.
        let Some(inode) = entry.wanted else { continue };
        let next = names.len();
        names.entry(inode).or_insert_with(|| {
            wanted.push(entry);
            format!("{}{}", placement.prefix, stored_name(next, &entry.path))
        });
    }
    let kept = store(views, &wanted, &names, placement, limits)?;
    let mut stored_bytes = 0;
    for (inode, size) in wanted
        .iter()
        .filter_map(|w| Some((w.wanted?, w.before.as_ref()?.size)))
    {
        stored_bytes += if kept.get(&inode).is_some_and(Result::is_ok) {
            size
        } else {
            0
        };
    }
    let changes = differing
        .drain(..)
        .map(|entry| finish(entry, &names, &kept))
        .collect();
    Ok(Placed {
        changes,
        stored_bytes,
    })
}

/// Content that was stored, by its inode, or why it was not.
type Kept = HashMap<(usize, u64), std::result::Result<ContentHash, Unkept>>;

fn finish(entry: Differing, names: &HashMap<(usize, u64), String>, kept: &Kept) -> Change {
    let Differing {
        path,
        mut before,
        after,
        wanted,
    } = entry;
    let content = match wanted.and_then(|inode| Some((names.get(&inode)?, kept.get(&inode)?))) {
        None => PreImage::NotNeeded,
        Some((name, Ok(hash))) => {
            if let Some(state) = &mut before {
                state.hash = Some(*hash);
            }
            PreImage::raw(name.clone(), *hash)
        }
        Some((_, Err(why))) => PreImage::Lost {
            reason: why.reason().to_owned(),
        },
    };
    Change {
        path,
        before,
        after,
        content,
    }
}

/// Reads the whole state before; `None` where it then turns out that nothing differs.
fn complete(
    views: &[View<'_>],
    roots: &Roots,
    path: AbsPath,
    Difference { before, after }: Difference,
) -> Result<Option<Differing>> {
    let Some(record) = before else {
        return Ok(Some(Differing {
            path,
            before: None,
            after,
            wanted: None,
        }));
    };
    let Some(covered) = roots.covering(&path) else {
        return Ok(None);
    };
    let view = &views[covered.volume];
    let before = whole_state(view, &path, &record, after.as_ref())
        .context(Stage::Seal, || format!("cannot read what was at {path}"))?;
    if let Some(after) = &after
        && after.identity.inode == before.identity.inode
        && is_equal(&before, after)
    {
        return Ok(None);
    }
    let same = after
        .as_ref()
        .is_some_and(|after| before.same_content(after));
    let needed = before.is_file() && before.size > 0 && !same;
    Ok(Some(Differing {
        wanted: needed.then_some((covered.volume, before.identity.inode)),
        path,
        before: Some(before),
        after,
    }))
}

/// The state of an entry in a snapshot; with the hash of its content where only that tells whether
/// it is the same as the state after.
fn whole_state(
    view: &View<'_>,
    path: &AbsPath,
    record: &Record,
    after: Option<&EntryState>,
) -> io::Result<EntryState> {
    if !matches!(record.kind(), EntryKind::File | EntryKind::Symlink) {
        return Ok(record.state());
    }
    let (dir, name) = parent_of(view, path)?;
    if record.kind() == EntryKind::Symlink {
        let stat = view.as_live(dir.stat(name)?);
        return read_state(&dir, name, &stat);
    }
    let (file, stat) = dir.open_file_with_stat(name)?;
    let mut state = read_open_state(&file, &view.as_live(stat))?;
    if state.size == 0 {
        state.hash = Some(ContentHash::EMPTY);
    } else if after.is_some_and(|after| after.is_file() && after.size == state.size) {
        state.hash = Some(hash_file(&file)?);
    }
    Ok(state)
}

fn parent_of<'p>(view: &View<'_>, path: &'p AbsPath) -> io::Result<(Dir, &'p OsStr)> {
    let (Some(parent), Some(name)) = (path.parent(), path.name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let dir = view.open(&parent)?;
    Ok((dir.ok_or(io::ErrorKind::NotFound)?, name))
}

/// Stores the content of every wanted inode.
fn store(
    views: &[View<'_>],
    wanted: &[&Differing],
    names: &HashMap<(usize, u64), String>,
    placement: Placement<'_>,
    limits: &Limits,
) -> Result<Kept> {
    let files = placement.files;
    let context = || format!("cannot keep old content in {}", files.display());
    let jobs: Vec<Job<'_>> = wanted
        .iter()
        .filter_map(|entry| Job::new(entry, names))
        .collect();
    let plain = |job: &&Job<'_>| job.state.flags & flags::NOCOW == 0;
    let Some(first) = jobs.iter().find(plain).or(jobs.first()) else {
        return Ok(Kept::new());
    };
    let to = AbsPath::new(files)
        .map_err(io::Error::other)
        .and_then(|path| Dir::open(&path))
        .context(Stage::Seal, context)?;
    let clones = first
        .open(views)
        .and_then(|from| first.clone_to(&from, &to))
        .context(Stage::Seal, context)?;
    let left_out = if clones {
        HashMap::new()
    } else {
        fit(&jobs, files, limits)
    };
    let sync_each = jobs.len() <= SYNC_EACH_BELOW;
    let kept = jobs
        .par_iter()
        .map(|job| {
            if let Some(why) = left_out.get(&job.inode) {
                return Ok((job.inode, Err(*why)));
            }
            let kept = job.keep(views, &to, clones.then_some(limits), sync_each)?;
            Ok((job.inode, kept))
        })
        .collect::<io::Result<Kept>>()
        .context(Stage::Seal, context)?;
    let flushed = if sync_each {
        to.sync()
    } else {
        sys::sync_volume(&to)
    };
    flushed.context(Stage::Seal, context)?;
    Ok(kept)
}

/// Old content that is to be stored.
struct Job<'a> {
    inode: (usize, u64),
    path: &'a AbsPath,
    state: &'a EntryState,
    name: &'a OsStr,
}

impl<'a> Job<'a> {
    fn new(entry: &'a Differing, names: &'a HashMap<(usize, u64), String>) -> Option<Self> {
        let inode = entry.wanted?;
        Some(Self {
            inode,
            path: &entry.path,
            state: entry.before.as_ref()?,
            name: OsStr::new(names.get(&inode)?),
        })
    }

    fn open(&self, views: &[View<'_>]) -> io::Result<File> {
        let (dir, name) = parent_of(&views[self.inode.0], self.path)?;
        dir.open_file(name)
    }

    /// Stores the content. Where `clones` says that content can be cloned, what cannot is copied
    /// within these limits.
    fn keep(
        &self,
        views: &[View<'_>],
        to: &Dir,
        clones: Option<&Limits>,
        sync: bool,
    ) -> io::Result<std::result::Result<ContentHash, Unkept>> {
        let from = self.open(views)?;
        let small = self.state.size <= COPY_UP_TO;
        let cloned = clones.is_some() && !small && self.clone_to(&from, to)?;
        let hash = if cloned {
            hash_file(&from)?
        } else if !small && clones.is_some_and(|limits| self.state.size > limits.max_file_bytes) {
            return Ok(Err(Unkept::TooLarge));
        } else {
            copy_content(&from, &new_file(to, self.name)?)?.1
        };
        if sync {
            to.open_file(self.name)?.sync_all()?;
        }
        Ok(Ok(hash))
    }

    /// Clones the content; `false` where that is not possible.
    fn clone_to(&self, from: &File, to: &Dir) -> io::Result<bool> {
        let clone = new_file(to, self.name)?;
        if self.state.flags & flags::NOCOW != 0 {
            // Blocks without checksums can only be shared by a file that has none either. Where this
            // does not work, neither does the clone.
            let _ = Pinned::of(&clone).and_then(|pinned| pinned.set_flags(flags::NOCOW));
        }
        let cloned = clone_content(from, &clone)?;
        if !cloned {
            to.unlink(self.name)?;
        }
        Ok(cloned)
    }

    /// Bytes that a copy occupies: holes are not copied.
    fn weight(&self) -> u64 {
        self.state.allocated.min(self.state.size)
    }
}

/// Makes the file `name`; what an earlier attempt to seal left of that name goes.
fn new_file(to: &Dir, name: &OsStr) -> io::Result<File> {
    match to.create_file(name) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            to.unlink(name)?;
            to.create_file(name)
        }
        other => other,
    }
}

/// Leaves out what the limits do not allow to be copied: files above the limit for one, then the
/// largest until the rest fits.
fn fit(
    jobs: &[Job<'_>],
    files: &std::path::Path,
    limits: &Limits,
) -> HashMap<(usize, u64), Unkept> {
    let mut left_out = HashMap::new();
    let mut copies: Vec<&Job<'_>> = Vec::with_capacity(jobs.len());
    for job in jobs {
        if job.state.size > limits.max_file_bytes {
            left_out.insert(job.inode, Unkept::TooLarge);
        } else {
            copies.push(job);
        }
    }
    let free = sys::space(files).map_or(u64::MAX, |space| {
        let reserve = limits.min_free_bytes.min(space.total_bytes / 20);
        space.free_bytes.saturating_sub(reserve)
    });
    let room = limits.max_bytes.min(free);
    let mut needed: u64 = copies.iter().map(|job| job.weight()).sum();
    copies.sort_by_key(|job| std::cmp::Reverse(job.weight()));
    for job in copies {
        if needed <= room {
            break;
        }
        needed -= job.weight();
        left_out.insert(job.inode, Unkept::NoRoom);
    }
    left_out
}
