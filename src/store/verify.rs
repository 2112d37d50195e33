//! Re-hashing everything that snapshots hold.

use std::collections::BTreeMap;
use std::io::{self, Read};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::content::{ContentDirs, OpenDirs, Place};
use super::layout::{FILES, InStore, Inner, MANIFEST, corrupt, not_found};
use super::manifest::{self, ManifestError};
use super::{SnapshotId, SnapshotMeta, SnapshotState, Store, VerifyProblem, checksum};
use crate::entry::ContentHash;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::progress::{Event, Phase, Progress};
use crate::seal::{PreImage, UndoRecord};
use crate::sys::Dir;

/// Bytes hashed at a time.
const PIECE: usize = 128 << 10;

/// The most bytes of a manifest that are read.
const MAX_MANIFEST: u64 = 4 << 30;

impl Store {
    /// Re-hashes everything that these snapshots hold (all of them when empty).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where a named snapshot does not exist. Damage is no error but in the
    /// list.
    pub fn verify(
        &self,
        ids: &[SnapshotId],
        progress: &dyn Progress,
    ) -> Result<Vec<VerifyProblem>> {
        let named = !ids.is_empty();
        let mut ids = ids.to_vec();
        if !named {
            ids = self.inner.ids()?;
            ids.sort();
        }
        let mut read = Vec::with_capacity(ids.len());
        for id in ids {
            match self.inner.read_meta(&id) {
                Err(error) if error.kind() == ErrorKind::NotFound && named => return Err(error),
                // Deleted since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                meta => read.push((id, meta)),
            }
        }
        let total = read
            .iter()
            .filter_map(|(_, meta)| meta.as_ref().ok())
            .fold(0_u64, |sum, meta| sum.saturating_add(meta.stored_bytes));
        progress.event(Event::Begin {
            phase: Phase::Verify,
            total: Some(total),
        });
        let mut problems = Vec::new();
        for (id, meta) in read {
            let mut found = Findings::new(id.clone());
            match meta {
                Ok(meta) => {
                    let dirs = self.content_dirs(&meta);
                    self.inner.verify_one(&meta, &dirs, progress, &mut found);
                }
                Err(error) => found.add(format!("{id}.json"), error.to_string()),
            }
            if found.problems.is_empty() {
                continue;
            }
            // What was deleted while it was looked at is not damaged.
            if self.inner.has_json(&id)? {
                problems.append(&mut found.problems);
            }
        }
        progress.event(Event::End);
        Ok(problems)
    }

    /// One snapshot's undo record, checksum verified. Empty for a sealed one without changes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the snapshot has no undo record (its command still runs,
    /// was interrupted, or the snapshot failed); [`ErrorKind::Corrupt`] where the manifest is
    /// missing or damaged; [`ErrorKind::NewerFormat`].
    pub fn record(&self, id: &SnapshotId) -> Result<UndoRecord> {
        let meta = self.inner.read_meta(id)?;
        match meta.state {
            SnapshotState::Sealed | SnapshotState::RollingBack | SnapshotState::RolledBack => {
                self.inner.read_record(&meta)
            }
            SnapshotState::Capturing | SnapshotState::Captured | SnapshotState::Failed => {
                Err(Error::new(
                    ErrorKind::InvalidRequest,
                    Stage::Store,
                    format!("snapshot {id} is not sealed: it has no undo record"),
                ))
            }
        }
    }
}

/// The problems found in one snapshot.
struct Findings {
    id: SnapshotId,
    problems: Vec<VerifyProblem>,
}

impl Findings {
    fn new(id: SnapshotId) -> Self {
        Self {
            id,
            problems: Vec::new(),
        }
    }

    /// The name of a directory of content in messages.
    fn directory(&self, place: Option<&Place>) -> String {
        place.map_or_else(
            || format!("{}/{FILES}", self.id),
            |place| place.directory.to_string(),
        )
    }

    /// Adds a problem of a stored file.
    fn add_stored(&mut self, dirs: &ContentDirs, name: &str, problem: impl Into<String>) {
        let directory = self.directory(dirs.place_of(name));
        self.add(format!("{directory}/{name}"), problem);
    }

    fn add(&mut self, file: String, problem: impl Into<String>) {
        self.problems.push(VerifyProblem {
            snapshot_id: self.id.to_string(),
            file,
            problem: problem.into(),
        });
    }
}

impl Inner {
    /// Reads the undo record that the metadata speaks of.
    fn read_record(&self, meta: &SnapshotMeta) -> Result<UndoRecord> {
        let Some(expected) = &meta.manifest_checksum else {
            return Ok(UndoRecord::default());
        };
        let id = &meta.snapshot_id;
        let name = format!("{id}/{MANIFEST}");
        let missing = || corrupt(format!("{name} is missing (see `deployx verify {id}`)"));
        let Some(directory) = self.directory_of(id)? else {
            // Deleted meanwhile, or damaged.
            return Err(if self.has_json(id)? {
                missing()
            } else {
                not_found(id.as_str())
            });
        };
        let bytes = match directory.read(MANIFEST, MAX_MANIFEST) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(if self.has_json(id)? {
                    missing()
                } else {
                    not_found(id.as_str())
                });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(corrupt(format!("{name} is damaged ({error})")));
            }
            other => other.in_store(|| format!("cannot read {name}"))?,
        };
        let damaged = |what: &str| corrupt(format!("{name} {what} (see `deployx verify {id}`)"));
        match manifest::read(&bytes, id, &self.sealing) {
            Ok((record, checksum)) if checksum::hex(&checksum) == *expected => Ok(record),
            Ok(_) => Err(damaged("is not the one that the metadata speaks of")),
            Err(ManifestError::Damaged(what)) => Err(damaged(&what)),
            Err(ManifestError::Newer) => Err(Error::new(
                ErrorKind::NewerFormat,
                Stage::Store,
                format!("{name} was written by a newer version of deployx; use that version"),
            )),
        }
    }

    fn verify_one(
        &self,
        meta: &SnapshotMeta,
        dirs: &ContentDirs,
        progress: &dyn Progress,
        found: &mut Findings,
    ) {
        if !matches!(
            meta.state,
            SnapshotState::Sealed | SnapshotState::RollingBack | SnapshotState::RolledBack
        ) {
            // Without an undo record there is nothing that the content could be compared with.
            return;
        }
        let id = &meta.snapshot_id;
        let record = match self.read_record(meta) {
            Ok(record) => record,
            Err(error) => return found.add(format!("{id}/{MANIFEST}"), error.context()),
        };
        let stored = stored_files(&record);
        let opened = dirs.open();
        let bad: Vec<(&str, String)> = stored
            .par_iter()
            .filter_map(|(name, (size, hash))| {
                // What is wrong with a whole directory is said once.
                let dir = opened.of(name).ok()?;
                let what = check(dir, name, *size, hash, progress).err()?;
                Some((*name, what))
            })
            .collect();
        report_unreachable(&opened, &stored, found);
        for (name, what) in bad {
            found.add_stored(dirs, name, what);
        }
        report_extra(&opened, dirs, &stored, found);
    }
}

/// Name, size and hash of every stored file; hard links share one.
fn stored_files(record: &UndoRecord) -> BTreeMap<&str, (u64, ContentHash)> {
    record
        .changes
        .iter()
        .filter_map(|change| match (&change.content, &change.before) {
            (PreImage::Stored { name, hash }, Some(before)) => {
                Some((name.as_str(), (before.size, *hash)))
            }
            _ => None,
        })
        .collect()
}

/// Says what is wrong with a stored file.
fn check(
    files: &Dir,
    name: &str,
    size: u64,
    hash: &ContentHash,
    progress: &dyn Progress,
) -> std::result::Result<(), String> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "is missing".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let mut file = files.open_file(name.as_ref()).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?.len();
    if found != size {
        return Err(format!("has {found} bytes instead of {size}"));
    }
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE.min(size as usize + 1)];
    loop {
        let n = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        hasher.update(&piece[..n]);
        progress.event(Event::Advance { by: n as u64 });
    }
    if ContentHash(hasher.finalize().into()) == *hash {
        Ok(())
    } else {
        Err("has other content than was stored".into())
    }
}

/// Names directories that cannot be reached although something lies in them.
fn report_unreachable(
    opened: &OpenDirs,
    stored: &BTreeMap<&str, (u64, ContentHash)>,
    found: &mut Findings,
) {
    for (place, dir) in opened.each() {
        let Err(why) = dir else { continue };
        let lies_here = |name: &&str| opened.place_of(name) == place;
        let count = stored.keys().filter(|name| lies_here(name)).count() as u64;
        if count > 0 {
            let file = found.directory(place);
            let files = crate::plural(count, "file is", "files are");
            found.add(
                file,
                format!("cannot be reached, so {files} missing: {why}"),
            );
        }
    }
}

/// Names what lies in the directories and is not part of the record.
fn report_extra(
    opened: &OpenDirs,
    dirs: &ContentDirs,
    stored: &BTreeMap<&str, (u64, ContentHash)>,
    found: &mut Findings,
) {
    for (place, dir) in opened.each() {
        let Ok(dir) = dir else { continue };
        let names = match dir.names() {
            Ok(names) => names,
            Err(error) => {
                let file = found.directory(place);
                found.add(file, format!("cannot be read: {error}"));
                continue;
            }
        };
        for name in names {
            let known = name.to_str().is_some_and(|name| stored.contains_key(name));
            if !known {
                let name = name.to_string_lossy().escape_debug().to_string();
                found.add_stored(dirs, &name, "is not part of the undo record");
            }
        }
    }
}
