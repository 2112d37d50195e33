//! Re-hashing everything that snapshots hold.

use std::collections::{BTreeMap, HashSet};
use std::io;

use rayon::prelude::*;

use super::content::{self, ContentDirs, OpenDirs, Place, Stored, stored_names};
use super::layout::{FILES, InStore, Inner, MANIFEST, MANIFEST_NEXT, corrupt, not_found};
use super::manifest::{self, ManifestError};
use super::{SnapshotId, SnapshotMeta, SnapshotState, Store, VerifyProblem, checksum};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::progress::{Event, Phase, Progress};
use crate::seal::UndoRecord;
use crate::sys::durable::Directory;

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
            let mut found = match meta {
                Ok(meta) => self.verify_settled(meta, progress),
                Err(error) => {
                    let mut found = Findings::new(id.clone());
                    found.add(format!("{id}.json"), error.to_string());
                    found
                }
            };
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
                match self.inner.read_record(&meta) {
                    Ok(record) => Ok(record),
                    // Compressed meanwhile.
                    Err(_) if self.inner.has_moved_on(&meta) => self.record(id),
                    Err(error) => Err(error),
                }
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

impl Store {
    /// Goes through a snapshot, again where its content was compressed meanwhile.
    fn verify_settled(&self, mut meta: SnapshotMeta, progress: &dyn Progress) -> Findings {
        loop {
            let mut found = Findings::new(meta.snapshot_id.clone());
            let dirs = self.content_dirs(&meta);
            self.inner.verify_one(&meta, &dirs, progress, &mut found);
            if found.problems.is_empty() || !self.inner.has_moved_on(&meta) {
                return found;
            }
            match self.inner.read_meta(&meta.snapshot_id) {
                Ok(now) => meta = now,
                Err(_) => return found,
            }
        }
    }
}

/// Why a manifest was not read.
enum NotRead {
    Missing,
    Damaged(String),
    Newer,
    System(io::Error),
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
        if meta.manifest_checksum.is_none() {
            return Ok(UndoRecord::default());
        }
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
        // A compaction has the one that is named under its other name for a while, or leaves it there
        // when it is interrupted. It may get its name between the first two looks.
        let found = self
            .read_manifest(&directory, MANIFEST, meta)
            .or_else(|_| self.read_manifest(&directory, MANIFEST_NEXT, meta))
            .or_else(|_| self.read_manifest(&directory, MANIFEST, meta));
        match found {
            Ok(record) => Ok(record),
            Err(NotRead::Missing) if self.has_json(id)? => Err(missing()),
            Err(NotRead::Missing) => Err(not_found(id.as_str())),
            Err(NotRead::Damaged(what)) => Err(corrupt(format!(
                "{name} {what} (see `deployx verify {id}`)"
            ))),
            Err(NotRead::Newer) => Err(Error::new(
                ErrorKind::NewerFormat,
                Stage::Store,
                format!("{name} was written by a newer version of deployx; use that version"),
            )),
            Err(NotRead::System(error)) => Err(error).in_store(|| format!("cannot read {name}")),
        }
    }

    /// Whether the snapshot has another manifest by now.
    fn has_moved_on(&self, meta: &SnapshotMeta) -> bool {
        self.read_meta(&meta.snapshot_id)
            .is_ok_and(|now| now.manifest_checksum != meta.manifest_checksum)
    }

    /// Reads the file `name` as the manifest that the metadata speaks of.
    fn read_manifest(
        &self,
        directory: &Directory,
        name: &str,
        meta: &SnapshotMeta,
    ) -> std::result::Result<UndoRecord, NotRead> {
        let bytes = directory
            .read(name, MAX_MANIFEST)
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => NotRead::Missing,
                io::ErrorKind::InvalidData => NotRead::Damaged(format!("is damaged ({error})")),
                _ => NotRead::System(error),
            })?;
        match manifest::read(&bytes, &meta.snapshot_id, &self.sealing) {
            Ok((record, found)) if meta.manifest_checksum == Some(checksum::hex(&found)) => {
                Ok(record)
            }
            Ok(_) => Err(NotRead::Damaged(
                "is not the one that the metadata speaks of".into(),
            )),
            Err(ManifestError::Damaged(what)) => Err(NotRead::Damaged(what)),
            Err(ManifestError::Newer) => Err(NotRead::Newer),
        }
    }

    /// Whether the file `name` is the manifest that the metadata speaks of.
    pub(super) fn manifest_is(
        &self,
        directory: &Directory,
        name: &str,
        meta: &SnapshotMeta,
    ) -> bool {
        self.read_manifest(directory, name, meta).is_ok()
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
        let stored = stored_content(&record);
        let opened = dirs.open();
        let bad: Vec<(&str, String)> = stored
            .par_iter()
            // What is wrong with a whole directory is said once.
            .filter(|(name, _)| opened.of(name).is_ok())
            .filter_map(|(name, stored)| Some((*name, check(&opened, stored, progress).err()?)))
            .collect();
        let names = stored_names(&record);
        report_unreachable(&opened, &names, found);
        for (name, what) in bad {
            found.add_stored(dirs, name, what);
        }
        report_extra(&opened, dirs, &names, found);
    }
}

/// Every stored content; hard links share one.
fn stored_content(record: &UndoRecord) -> BTreeMap<&str, Stored<'_>> {
    let stored = record.changes.iter().filter_map(Stored::of);
    stored.map(|stored| (stored.name, stored)).collect()
}

/// Says what is wrong with stored content.
fn check(
    dirs: &OpenDirs,
    stored: &Stored<'_>,
    progress: &dyn Progress,
) -> std::result::Result<(), String> {
    content::inspect(dirs, stored)?;
    let mut reader = content::open(dirs, stored)?;
    let advance = |by| progress.event(Event::Advance { by });
    let hash = content::hash(&mut reader, advance).map_err(|e| content::unreadable(&e))?;
    if hash == *stored.hash {
        Ok(())
    } else {
        Err("is damaged: it has other content than was stored".into())
    }
}

/// Names directories that cannot be reached although something lies in them.
fn report_unreachable(opened: &OpenDirs, stored: &HashSet<&str>, found: &mut Findings) {
    for (place, dir) in opened.each() {
        let Err(why) = dir else { continue };
        let lies_here = |name: &&str| opened.place_of(name) == place;
        let count = stored.iter().filter(|name| lies_here(name)).count() as u64;
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
    stored: &HashSet<&str>,
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
            let known = name.to_str().is_some_and(|name| stored.contains(name));
            if !known {
                let name = name.to_string_lossy().escape_debug().to_string();
                found.add_stored(dirs, &name, "is not part of the undo record");
            }
        }
    }
}
