//! Making stored content smaller: new files beside the old ones, and a record that names them.
//!
//! A file of the store is never changed in place, as it may be linked with the baseline or be
//! another snapshot's base. Nothing here is an error for the snapshot: what cannot be made smaller
//! stays as it is.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;

use rayon::prelude::*;

use super::bases::Bases;
use super::compress::{self, Compressed};
use super::read::Stored;
use super::{OpenDirs, delta};
use crate::entry::ContentHash;
use crate::path::AbsPath;
use crate::seal::{Base, Form, PreImage, UndoRecord};
use crate::store::SnapshotId;
use crate::sys::{self, Dir};

/// Up to so many new files one sync each is cheaper than one of the whole volume.
const SYNC_EACH_UP_TO: usize = 32;
/// Files from this size on are compared with an earlier version.
const DELTA_FROM: u64 = 1 << 20;

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Effort {
    /// Bytes of content that are compressed.
    pub(in crate::store) compress: u64,
    /// Files that are.
    pub(in crate::store) files: usize,
    /// Bytes of content that are compared with earlier versions.
    pub(in crate::store) compare: u64,
    /// The compressor's level.
    pub(in crate::store) level: i32,
    /// Also large files that have other names. While a snapshot is sealed its content is linked with
    /// the baseline, which lets go of it soon. Later another snapshot's delta may need it, and then
    /// nothing would be saved.
    pub(in crate::store) linked: bool,
}

impl Effort {
    /// While somebody waits for a command's end.
    pub(in crate::store) const AT_SEAL: Self = Self {
        compress: 64 << 20,
        files: 64,
        compare: 128 << 20,
        level: 1,
        linked: true,
    };
    /// In a cleanup.
    pub(in crate::store) const THOROUGH: Self = Self {
        compress: u64::MAX,
        files: usize::MAX,
        compare: u64::MAX,
        level: 3,
        linked: false,
    };
}

/// What was made of a record's content.
#[derive(Debug, Default)]
pub(in crate::store) struct Shrunk {
    /// Files that the record no longer names.
    pub(in crate::store) replaced: Vec<String>,
    /// Bytes that these had more than those that stand for them.
    pub(in crate::store) saved: u64,
    /// Bytes of content that was left for later.
    pub(in crate::store) left: u64,
}

/// What shrinking works with.
pub(in crate::store) struct Work<'a> {
    pub(in crate::store) id: &'a SnapshotId,
    pub(in crate::store) dirs: &'a OpenDirs,
    /// Names that begin with one of these share their blocks with other files and stay.
    pub(in crate::store) clones: &'a [String],
    pub(in crate::store) bases: &'a Bases<'a>,
    pub(in crate::store) effort: Effort,
}

/// A file that might become smaller.
struct Candidate {
    name: String,
    /// One of the paths that had the content.
    path: AbsPath,
    size: u64,
    hash: ContentHash,
}

/// The form that a file got, with its new name and the bytes it has.
struct Made {
    name: String,
    form: Form,
    bytes: u64,
}

impl Work<'_> {
    /// Writes smaller files for what `record` keeps as it is, durably, and changes the record to
    /// name them. The old files stay where they are.
    pub(in crate::store) fn shrink(&self, record: &mut UndoRecord) -> Shrunk {
        let names: HashSet<&str> = stored_names(record);
        let (taken, left) = self.pick(self.candidates(record));
        let mut made: Vec<(&Candidate, Made)> = taken
            .par_iter()
            .filter_map(|candidate| Some((candidate, self.make(candidate, &names)?)))
            .collect();
        if let Err(error) = self.sync(&made) {
            tracing::warn!(%error, "compressed content could not be made durable");
            for (candidate, made) in made.drain(..) {
                self.remove_made(candidate, &made);
            }
        }
        let shrunk_names: HashSet<&str> = made.iter().map(|(one, _)| one.name.as_str()).collect();
        let waiting: u64 = taken
            .iter()
            .filter(|one| !shrunk_names.contains(one.name.as_str()) && self.is_left(one))
            .map(|one| one.size)
            .sum();
        let mut shrunk = Shrunk {
            left: left + waiting,
            ..Shrunk::default()
        };
        let mut renamed: HashMap<String, (String, Form)> = HashMap::new();
        for (candidate, made) in made {
            shrunk.saved += candidate.size.saturating_sub(made.bytes);
            shrunk.replaced.push(candidate.name.clone());
            renamed.insert(candidate.name.clone(), (made.name, made.form));
        }
        for change in &mut record.changes {
            if let PreImage::Stored { name, form, .. } = &mut change.content
                && let Some((new_name, new_form)) = renamed.get(name.as_str())
            {
                name.clone_from(new_name);
                form.clone_from(new_form);
            }
        }
        self.note_bases(record);
        shrunk
    }

    /// Remembers the large files that are kept in full, for later versions to differ from.
    fn note_bases(&self, record: &UndoRecord) {
        for change in &record.changes {
            let Some(stored) = Stored::of(change).filter(|stored| stored.size >= DELTA_FROM) else {
                continue;
            };
            let compressed = match stored.form {
                Form::Raw => false,
                Form::Zstd => true,
                Form::Delta(_) => continue,
            };
            if !self.is_clone(stored.name) {
                let base = Base {
                    name: stored.name.to_owned(),
                    size: stored.size,
                    compressed,
                };
                self.bases.note(&change.path, self.id, base);
            }
        }
    }

    fn is_clone(&self, name: &str) -> bool {
        self.clones.iter().any(|prefix| name.starts_with(prefix))
    }

    /// Every file that is kept as it is and is large enough, largest first.
    fn candidates(&self, record: &UndoRecord) -> Vec<Candidate> {
        let mut seen = HashSet::new();
        let mut candidates: Vec<Candidate> = record
            .changes
            .iter()
            .filter_map(|change| Some((change, Stored::of(change)?)))
            .filter(|(_, stored)| *stored.form == Form::Raw && !self.is_clone(stored.name))
            .filter(|(_, stored)| stored.size > compress::SPACE && seen.insert(stored.name))
            .map(|(change, stored)| Candidate {
                name: stored.name.to_owned(),
                path: change.path.clone(),
                size: stored.size,
                hash: *stored.hash,
            })
            .collect();
        candidates.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        candidates
    }

    /// Takes as much as the effort allows. Gives the bytes of what is left, too.
    fn pick(&self, candidates: Vec<Candidate>) -> (Vec<Candidate>, u64) {
        let effort = self.effort;
        let (mut compress, mut compare, mut files) = (effort.compress, effort.compare, 0);
        let mut left = 0;
        let mut taken = Vec::new();
        for candidate in candidates {
            let compared = candidate.size >= DELTA_FROM
                && candidate.size <= compare
                && self.bases.find(&candidate.path, self.id).is_some();
            let budget = if compared {
                &mut compare
            } else {
                &mut compress
            };
            if candidate.size <= *budget && files < effort.files {
                *budget -= candidate.size;
                files += 1;
                taken.push(candidate);
            } else {
                left += candidate.size;
            }
        }
        (taken, left)
    }

    /// Writes the smallest form of a file; `None` where it stays as it is.
    fn make(&self, candidate: &Candidate, names: &HashSet<&str>) -> Option<Made> {
        let dir = self.dirs.of(&candidate.name).ok()?;
        let made = self.make_in(dir, candidate, names);
        made.unwrap_or_else(|error| {
            tracing::debug!(name = candidate.name, %error, "content stays as it is");
            None
        })
    }

    fn make_in(
        &self,
        dir: &Dir,
        candidate: &Candidate,
        names: &HashSet<&str>,
    ) -> io::Result<Option<Made>> {
        let from = dir.open_file(candidate.name.as_ref())?;
        if !compress::is_worth_a_try(&from, candidate.size)? || self.is_held(candidate, &from)? {
            return Ok(None);
        }
        if let Some(made) = self.make_delta(dir, candidate, &from, names)? {
            return Ok(Some(made));
        }
        if candidate.size > self.effort.compress {
            // It was taken for a comparison only.
            return Ok(None);
        }
        let name = format!("{}.zst", candidate.name);
        if names.contains(name.as_str()) {
            return Ok(None);
        }
        let expected = (candidate.size, &candidate.hash);
        let written = write_new(dir, &name, |to| {
            match compress::compress(&from, expected, self.effort.level, to)? {
                Compressed::To(bytes) => Ok(Some(bytes)),
                Compressed::Incompressible | Compressed::Damaged => Ok(None),
            }
        })?;
        Ok(written.map(|bytes| Made {
            name,
            form: Form::Zstd,
            bytes,
        }))
    }

    /// Writes a file's difference from its base, where that takes less than half of the space that
    /// it would take otherwise.
    fn make_delta(
        &self,
        dir: &Dir,
        candidate: &Candidate,
        from: &File,
        names: &HashSet<&str>,
    ) -> io::Result<Option<Made>> {
        let name = format!("{}.delta", candidate.name);
        let base_name = format!("{}.base", candidate.name);
        if candidate.size < DELTA_FROM
            || names.contains(name.as_str())
            || names.contains(base_name.as_str())
        {
            return Ok(None);
        }
        let Some(mut base) = self.bases.find(&candidate.path, self.id) else {
            return Ok(None);
        };
        if !self.bases.link(&base, &candidate.name, dir, &base_name)? {
            return Ok(None);
        }
        base.base.name.clone_from(&base_name);
        let full = candidate.size as f64 * compress::ratio(from, candidate.size)?;
        let written = delta::BaseReader::open(dir, &base.base).and_then(|mut reader| {
            write_new(dir, &name, |to| {
                let written =
                    delta::encode(from, candidate.size, &mut reader, to, full as u64 / 2)?;
                Ok(written.filter(|_| sys::hash_file(from).is_ok_and(|h| h == candidate.hash)))
            })
        });
        let form = Form::Delta(base.base);
        match written {
            Ok(Some(bytes)) => Ok(Some(Made { name, form, bytes })),
            other => {
                let _ = dir.unlink(base_name.as_ref());
                other.map(|_| None)
            }
        }
    }

    /// Whether the file is to wait until nobody else has it.
    fn is_held(&self, candidate: &Candidate, from: &File) -> io::Result<bool> {
        let may_be_base = candidate.size >= DELTA_FROM && !self.effort.linked;
        Ok(may_be_base && from.metadata()?.nlink() > 1)
    }

    /// Whether what stays as it is may be made smaller later.
    fn is_left(&self, candidate: &Candidate) -> bool {
        let held = || -> io::Result<bool> {
            let dir = self.dirs.of(&candidate.name).map_err(io::Error::other)?;
            self.is_held(candidate, &dir.open_file(candidate.name.as_ref())?)
        };
        candidate.size > self.effort.compress || held().unwrap_or(false)
    }

    fn remove_made(&self, candidate: &Candidate, made: &Made) {
        let Ok(dir) = self.dirs.of(&candidate.name) else {
            return;
        };
        let stored = Stored {
            name: &made.name,
            size: candidate.size,
            hash: &candidate.hash,
            form: &made.form,
        };
        for name in stored.files() {
            let _ = dir.unlink(name.as_ref());
        }
    }

    /// Makes what was written durable.
    fn sync(&self, made: &[(&Candidate, Made)]) -> io::Result<()> {
        if made.len() <= SYNC_EACH_UP_TO {
            for (candidate, made) in made {
                let dir = self.dirs.of(&candidate.name).map_err(io::Error::other)?;
                sys::durable::sync(&dir.open_file(made.name.as_ref())?)?;
            }
        }
        for (_, dir) in self.dirs.each() {
            let Ok(dir) = dir else { continue };
            if made.len() > SYNC_EACH_UP_TO {
                sys::sync_volume(&dir.fd())?;
            } else if !made.is_empty() {
                dir.sync()?;
            }
        }
        Ok(())
    }
}

/// Every name in a record's content.
pub(in crate::store) fn stored_names(record: &UndoRecord) -> HashSet<&str> {
    record
        .changes
        .iter()
        .filter_map(Stored::of)
        .flat_map(Stored::files)
        .collect()
}

/// Removes files that the record does not name, durably. What cannot be removed is left to the
/// next attempt.
pub(in crate::store) fn remove_unnamed(dirs: &OpenDirs, record: &UndoRecord) -> io::Result<()> {
    let names = stored_names(record);
    for (_, dir) in dirs.each() {
        let Ok(dir) = dir else { continue };
        let mut removed = false;
        for name in dir.names()? {
            if name.to_str().is_none_or(|name| !names.contains(name)) {
                dir.unlink(&name)?;
                removed = true;
            }
        }
        if removed {
            dir.sync()?;
        }
    }
    Ok(())
}

/// Writes the new file `name`; it is removed again where `write` gives nothing. One that an earlier
/// attempt left is replaced.
fn write_new(
    dir: &Dir,
    name: &str,
    write: impl FnOnce(&File) -> io::Result<Option<u64>>,
) -> io::Result<Option<u64>> {
    match dir.unlink(name.as_ref()) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = dir.create_file(name.as_ref())?;
    let written = write(&file);
    if !matches!(written, Ok(Some(_))) {
        let _ = dir.unlink(name.as_ref());
    }
    written
}
