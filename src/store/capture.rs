//! Snapshots that are being made: begin, update, seal, and taking up what a crash left.
//!
//! The order of steps is what makes a crash at any instant harmless; `src/docs/store_format.md`
//! goes through them one by one.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::layout::{
    FILES, InStore, Inner, LOCK, MANIFEST, MANIFEST_TEMPORARY, corrupt, json_name, json_temporary,
};
use super::lock::{Attempt, Mode, attempt};
use super::validate::validate;
use super::{
    ContentDirs, FileSnapshot, Place, SnapshotId, SnapshotMeta, SnapshotState, Store, checksum,
    clock, manifest, meta_file,
};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::seal::{Change, ChangeCounts, PreImage, UndoRecord};
use crate::sys::durable::{Directory, Durability};

/// How often a taken id is drawn again; twice in a row is already beyond chance.
const MAX_DRAWS: usize = 16;

/// A snapshot that is being made (or undone) by this process: holds its lock until dropped.
///
/// Dropping it without [`seal`](Self::seal), [`fail`](Self::fail) or [`discard`](Self::discard)
/// leaves it to [`Store::interrupted`], as a crash would.
pub struct OpenSnapshot {
    store: Store,
    directory: Directory,
    _lock: File,
    meta: SnapshotMeta,
    /// The marker is known to be on stable storage.
    marker_synced: bool,
    /// Where content lies that is not in the store.
    places: Vec<Place>,
    /// Prefixes of names of content that shares blocks with other files.
    clones: Vec<String>,
    /// Bytes that were left to be compressed later.
    uncompressed: u64,
    /// An earlier process may have begun to seal it.
    taken_up: bool,
}

impl Store {
    /// Begins a snapshot: takes an id, its lock and its marker, writes the metadata with state
    /// `capturing` (not yet durable). `meta.snapshot_id`, `meta.state` and `meta.monotonic` are set
    /// here.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`], [`ErrorKind::PermissionDenied`] (also on a read-only filesystem),
    /// [`ErrorKind::Busy`] when the store stays locked; nothing is left behind.
    pub fn begin(&self, mut meta: SnapshotMeta) -> Result<OpenSnapshot> {
        // As long as this is held nobody takes the unfinished directory for an orphan.
        let _set = self.inner.join_set()?;
        let (id, directory) = self.claim()?;
        meta.snapshot_id = id.clone();
        meta.state = SnapshotState::Capturing;
        meta.format_version = SnapshotMeta::FORMAT_VERSION;
        meta.monotonic = clock::since_boot();
        self.establish(directory, meta).inspect_err(|_| {
            // The error that is reported says what is wrong; a rest is swept like an orphan.
            let _ = self.inner.erase(&id);
        })
    }

    /// Creates the directory of an id that is not in use.
    fn claim(&self) -> Result<(SnapshotId, Directory)> {
        for _ in 0..MAX_DRAWS {
            let id = SnapshotId::random();
            if self.inner.has_json(&id)? {
                continue;
            }
            match self.inner.root.create_at(id.as_str()) {
                Ok(directory) => return Ok((id, directory)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).in_store(|| "cannot create a snapshot".into());
                }
            }
        }
        Err(corrupt("every id drawn for a new snapshot is in use"))
    }

    fn establish(&self, directory: Directory, meta: SnapshotMeta) -> Result<OpenSnapshot> {
        let id = &meta.snapshot_id;
        let context = || format!("cannot create snapshot {id}");
        // The lock before the marker: a marker without a holder means that the holder died.
        let taken = attempt(&directory, Mode::Exclusive, Duration::ZERO).in_store(context)?;
        let Attempt::Taken(lock) = taken else {
            return Err(super::lock::busy(id, None));
        };
        directory.create_at(FILES).in_store(context)?;
        self.inner.open.create_file(id.as_str()).in_store(context)?;
        self.inner
            .write_meta(&meta, Durability::Atomic, || Ok(()))?;
        Ok(OpenSnapshot {
            store: self.clone(),
            directory,
            _lock: lock,
            meta,
            marker_synced: false,
            places: Vec::new(),
            clones: Vec::new(),
            uncompressed: 0,
            taken_up: false,
        })
    }

    /// Snapshots whose process died before sealing (state capturing or captured), locked for the
    /// caller. Costs a look at `open/` only.
    ///
    /// What a crash left of a snapshot that never reached `captured` on disk is swept here.
    pub fn interrupted(&self) -> Result<Vec<OpenSnapshot>> {
        let mut found = Vec::new();
        for id in self.inner.marked()? {
            match self.take_up(&id) {
                Ok(Some(open)) => found.push(open),
                Ok(None) => {}
                // One damaged snapshot must not keep the others from being recovered; `list`
                // and `verify` name it.
                Err(error) => tracing::warn!(%id, %error, "an interrupted snapshot is unreadable"),
            }
        }
        Ok(found)
    }

    /// Takes up the snapshot of a marker; `None` where it is in use or was cleaned up.
    fn take_up(&self, id: &SnapshotId) -> Result<Option<OpenSnapshot>> {
        let inner = &self.inner;
        let directory = match inner.directory_of(id)? {
            Some(directory) => directory,
            None if !inner.has_json(id)? => return inner.unmark(id).map(|()| None),
            None => inner
                .root
                .open_or_create_at(id.as_str())
                .in_store(|| format!("cannot restore the directory of snapshot {id}"))?,
        };
        let taken = attempt(&directory, Mode::Exclusive, Duration::ZERO)
            .in_store(|| format!("cannot lock snapshot {id}"))?;
        let Attempt::Taken(lock) = taken else {
            return Ok(None);
        };
        let meta = match inner.read_meta(id) {
            Ok(meta) => meta,
            Err(error) if inner.is_unborn(id, &error) => {
                return inner.erase(id).map(|()| None);
            }
            Err(error) => return Err(error),
        };
        if !matches!(
            meta.state,
            SnapshotState::Capturing | SnapshotState::Captured
        ) {
            return inner.unmark(id).map(|()| None);
        }
        directory
            .open_or_create_at(FILES)
            .in_store(|| format!("cannot restore the directory of snapshot {id}"))?;
        Ok(Some(OpenSnapshot {
            store: self.clone(),
            directory,
            _lock: lock,
            meta,
            marker_synced: false,
            places: Vec::new(),
            clones: Vec::new(),
            uncompressed: 0,
            taken_up: true,
        }))
    }

    /// Ids of snapshots that are being made by live processes now.
    pub fn running(&self) -> Result<Vec<SnapshotId>> {
        let mut running = Vec::new();
        for id in self.inner.marked()? {
            let Some(directory) = self.inner.directory_of(&id)? else {
                continue;
            };
            // Shared, so that two that look at the same time do not see each other.
            let held = attempt(&directory, Mode::Shared, Duration::ZERO)
                .in_store(|| format!("cannot look at the lock of snapshot {id}"))?;
            if matches!(held, Attempt::Held(_)) {
                running.push(id);
            }
        }
        Ok(running)
    }
}

impl Inner {
    /// Ids that have a marker.
    fn marked(&self) -> Result<Vec<SnapshotId>> {
        let mut ids = Vec::new();
        self.open
            .each_name(|name| ids.extend(SnapshotId::from_name(name.to_bytes())))
            .in_store(|| "cannot read the markers of open snapshots".into())?;
        ids.sort();
        Ok(ids)
    }

    /// Whether a snapshot has a marker.
    pub(super) fn is_marked(&self, id: &SnapshotId) -> Result<bool> {
        self.open
            .contains(id.as_str())
            .in_store(|| format!("cannot look for the marker of snapshot {id}"))
    }

    /// Removes a snapshot's marker.
    pub(super) fn unmark(&self, id: &SnapshotId) -> Result<()> {
        self.open
            .remove_file_if_present(id.as_str())
            .map(drop)
            .in_store(|| format!("cannot remove the marker of snapshot {id}"))
    }

    /// Whether metadata that gave `error` never reached the disk: the process died before its
    /// snapshot was acknowledged.
    fn is_unborn(&self, id: &SnapshotId, error: &Error) -> bool {
        match error.kind() {
            ErrorKind::NotFound => true,
            ErrorKind::Corrupt => self
                .read_json(id)
                .is_ok_and(|bytes| meta_file::was_never_synced(&bytes)),
            _ => false,
        }
    }

    /// Removes everything of a snapshot. The caller holds its lock.
    pub(super) fn erase(&self, id: &SnapshotId) -> Result<()> {
        let context = || format!("cannot delete snapshot {id}");
        self.erase_json(id)?;
        self.erase_beside(id);
        self.root.remove_tree(id.as_str(), LOCK).in_store(context)?;
        self.unmark(id)
    }

    /// Removes a snapshot's metadata: from then on it does not exist.
    pub(super) fn erase_json(&self, id: &SnapshotId) -> Result<()> {
        let context = || format!("cannot delete the metadata of snapshot {id}");
        self.root
            .remove_file_if_present(json_temporary(id))
            .in_store(context)?;
        self.root
            .remove_file_if_present(json_name(id))
            .map(drop)
            .in_store(context)
    }
}

impl OpenSnapshot {
    /// Its id.
    pub fn id(&self) -> &SnapshotId {
        &self.meta.snapshot_id
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    pub(super) fn set_places(&mut self, places: Vec<Place>) {
        self.places = places;
    }

    /// Notes that content under names with this prefix shares its blocks with other files, so that
    /// it stays as it is.
    pub fn keep_clones(&mut self, prefix: &str) {
        if !self.clones.iter().any(|known| known == prefix) {
            self.clones.push(prefix.to_owned());
        }
    }

    pub(super) fn clones(&self) -> &[String] {
        &self.clones
    }

    pub(super) fn set_uncompressed(&mut self, bytes: u64) {
        self.uncompressed = bytes;
    }

    pub(super) fn was_taken_up(&self) -> bool {
        self.taken_up
    }

    pub(super) fn content_dirs(&self) -> ContentDirs {
        ContentDirs::new(self.files_dir(), self.places.clone())
    }

    /// Its metadata as last written.
    pub fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// Where pre-images go; exists, mode 0700.
    pub fn files_dir(&self) -> PathBuf {
        self.store.files_dir(self.id())
    }

    /// Changes and writes the metadata; on stable storage on return.
    ///
    /// The change is made to what is on disk now, so that a pin by another process is kept.
    ///
    /// # Errors
    /// When it could not be made durable; the metadata is then the old one, and the snapshot may be
    /// updated again or given up.
    pub fn update(&mut self, change: impl FnOnce(&mut SnapshotMeta)) -> Result<()> {
        let inner = &self.store.inner;
        let _guard = inner.lock_meta(self.id(), &self.directory)?;
        let mut meta = match inner.read_meta(self.id()) {
            Ok(meta) => meta,
            // Damaged by someone else while we hold it: ours is the better copy.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {
                self.meta.clone()
            }
            Err(error) => return Err(error),
        };
        change(&mut meta);
        meta.snapshot_id = self.meta.snapshot_id.clone();
        meta.format_version = SnapshotMeta::FORMAT_VERSION;
        // Metadata that survives a power cut without its marker would never be recovered.
        let sync_marker = !self.marker_synced;
        inner.write_meta(&meta, Durability::Durable, || {
            if sync_marker {
                inner.open.sync()
            } else {
                Ok(())
            }
        })?;
        self.marker_synced = true;
        self.meta = meta;
        Ok(())
    }

    /// Writes the undo record and the metadata with state `sealed`, removes the marker and lets
    /// go of the lock. Sets changes, `file_count`, `file_snapshots` and `manifest_checksum` itself and
    /// clears the capture tokens; everything is on stable storage on return.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the record breaks the manifest's rules (not sorted, a
    /// name that is not one component, …), else what the system said. The snapshot is then left as
    /// it was, for [`Store::interrupted`].
    pub fn seal(
        mut self,
        record: &UndoRecord,
        change: impl FnOnce(&mut SnapshotMeta),
    ) -> Result<SnapshotMeta> {
        let manifest_checksum =
            self.store
                .inner
                .write_manifest(&self.directory, MANIFEST, self.id(), record)?;
        // The rename of the new metadata is what seals; the marker no longer matters once it is
        // durable, so it need not be made durable first.
        self.marker_synced = true;
        let (places, clones) = (self.places.clone(), self.clones.clone());
        let uncompressed = self.uncompressed;
        self.update(|meta| {
            meta.uncompressed_bytes = uncompressed;
            change(meta);
            meta.places = places;
            meta.clones = clones;
            describe(meta, &record.changes);
            meta.manifest_checksum = manifest_checksum;
            meta.state = SnapshotState::Sealed;
            meta.sealed = Some(Timestamp::now().as_seconds());
            meta.capture_tokens.clear();
            meta.supervisor = None;
        })?;
        Ok(self.close())
    }

    /// Marks the snapshot as failed, with the reason, and lets go of it.
    pub fn fail(mut self, reason: &str) -> Result<SnapshotMeta> {
        self.marker_synced = true;
        self.update(|meta| {
            meta.state = SnapshotState::Failed;
            meta.error = Some(reason.to_owned());
            meta.capture_tokens.clear();
            meta.supervisor = None;
        })?;
        Ok(self.close())
    }

    /// Deletes it as if it had never begun (the command did not run).
    pub fn discard(self) -> Result<()> {
        let inner = &self.store.inner;
        let _guard = inner.lock_meta(self.id(), &self.directory)?;
        inner.erase(self.id())
    }

    fn close(self) -> SnapshotMeta {
        // What is acknowledged is on disk; a marker that stays is removed at the next start.
        if let Err(error) = self.store.inner.unmark(self.id()) {
            tracing::warn!(id = %self.id(), %error, "a marker could not be removed");
        }
        self.meta
    }
}

impl Inner {
    /// Writes a manifest durably as `name`; a record without changes has none.
    pub(super) fn write_manifest(
        &self,
        directory: &Directory,
        name: &str,
        id: &SnapshotId,
        record: &UndoRecord,
    ) -> Result<Option<String>> {
        validate(record).map_err(|what| {
            Error::new(
                ErrorKind::InvalidRequest,
                Stage::Store,
                format!("the undo record of snapshot {id} {what}"),
            )
        })?;
        let context = || format!("cannot write the manifest of snapshot {id}");
        if record.changes.is_empty() {
            directory.remove_file_if_present(name).in_store(context)?;
            return Ok(None);
        }
        directory
            .replace(MANIFEST_TEMPORARY, name, Durability::Durable, |file| {
                manifest::write(file, id, record, &self.sealing)
            })
            .map(|checksum| Some(checksum::hex(&checksum)))
            .in_store(context)
    }
}

/// Fills in what the metadata says of the undo record.
pub(super) fn describe(meta: &mut SnapshotMeta, changes: &[Change]) {
    meta.changes = ChangeCounts::of(changes);
    meta.file_count = changes.len() as u64;
    meta.file_snapshots = changes
        .iter()
        .take(SnapshotMeta::MAX_FILE_SNAPSHOTS)
        .map(|change| file_snapshot(change, &meta.places))
        .collect();
}

fn file_snapshot(change: &Change, places: &[Place]) -> FileSnapshot {
    let before = change.before.as_ref();
    let (stored_hash, backup_path) = match &change.content {
        PreImage::Stored { name, hash, .. } => {
            let place = places.iter().find(|place| place.holds(name));
            let path = place.map_or_else(
                || format!("{FILES}/{name}"),
                |place| format!("{}/{name}", place.directory),
            );
            (Some(*hash), Some(path))
        }
        PreImage::NotNeeded | PreImage::Lost { .. } => (None, None),
    };
    FileSnapshot {
        path: change.path.clone(),
        exists: before.is_some(),
        is_dir: before.is_some_and(crate::entry::EntryState::is_dir),
        content_hash: stored_hash
            .or_else(|| before.and_then(|state| state.hash))
            .map(|hash| hash.to_string()),
        size: before.map(|state| state.size),
        modified_time: before.map(|state| state.modified.as_seconds()),
        permissions: before.map(|state| format!("{:04o}", state.mode)),
        backup_path,
    }
}
