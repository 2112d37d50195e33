//! Compressing later what there was no time for when a command ended.

use super::bases::Bases;
use super::shrink::{Effort, Shrunk, Work, remove_unnamed};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::progress::{Event, Phase, Progress};
use crate::seal::UndoRecord;
use crate::store::layout::{InStore, Inner, MANIFEST, MANIFEST_NEXT};
use crate::store::lock::{Attempt, Mode, attempt};
use crate::store::{OpenSnapshot, SnapshotId, SnapshotMeta, SnapshotState, Store, capture};
use crate::sys::durable::{Directory, Durability};

use serde::Serialize;
use std::fs::File;
use std::time::Duration;

/// Whether stored content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Where that saves space.
    #[default]
    Auto,
    /// Never; what is compressed already is read all the same.
    Off,
}

/// What a compaction did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Compaction {
    /// Snapshots whose content was gone through.
    pub snapshots: u64,
    /// Bytes that were saved.
    pub saved_bytes: u64,
}

impl OpenSnapshot {
    /// Compresses as much of what `record` keeps as can be done while somebody waits, and changes
    /// the record to say so. To be called between the captures' seal and [`seal`](Self::seal).
    /// Gives the bytes that were saved.
    ///
    /// # Errors
    /// Where files that an earlier attempt to seal left cannot be removed.
    pub fn shrink(&mut self, record: &mut UndoRecord, compression: Compression) -> Result<u64> {
        let dirs = self.content_dirs().open();
        let context = || format!("cannot tidy the content of snapshot {}", self.id());
        if self.was_taken_up() {
            remove_unnamed(&dirs, record).in_store(context)?;
        }
        if compression == Compression::Off {
            return Ok(0);
        }
        let work = Work {
            id: self.id(),
            dirs: &dirs,
            clones: self.clones(),
            bases: &Bases::open(self.store()),
            effort: Effort::AT_SEAL,
        };
        let shrunk = work.shrink(record);
        if !shrunk.replaced.is_empty() {
            remove_unnamed(&dirs, record).in_store(context)?;
        }
        self.set_uncompressed(shrunk.left);
        Ok(shrunk.saved)
    }
}

impl Store {
    /// Compresses content that was left as it is when its command ended, one snapshot after the
    /// other, the oldest first. Snapshots that are in use are passed over.
    ///
    /// # Errors
    /// Where the list of snapshots cannot be read. What goes wrong with one snapshot is a warning to
    /// `progress`, and leaves it as it was.
    pub fn compact(&self, progress: &dyn Progress) -> Result<Compaction> {
        let mut todo = self.inner.uncompressed()?;
        todo.reverse();
        let mut done = Compaction::default();
        if todo.is_empty() {
            return Ok(done);
        }
        progress.event(Event::Begin {
            phase: Phase::Compress,
            total: Some(todo.len() as u64),
        });
        for id in todo {
            match self.compact_one(&id) {
                Ok(Some(saved)) => {
                    done.snapshots += 1;
                    done.saved_bytes += saved;
                }
                Ok(None) => {}
                Err(error) => progress.event(Event::Warning {
                    path: None,
                    message: format!("snapshot {id} stays as it is: {error}"),
                }),
            }
            progress.event(Event::Advance { by: 1 });
        }
        progress.event(Event::End);
        Ok(done)
    }

    /// Compresses one snapshot's content. `None`: it is in use, gone, or in a state in which its
    /// record must not change.
    fn compact_one(&self, id: &SnapshotId) -> Result<Option<u64>> {
        let Some((directory, _lock)) = self.inner.take_for_compaction(id)? else {
            return Ok(None);
        };
        let meta = self.inner.read_meta(id)?;
        if !matches!(
            meta.state,
            SnapshotState::Sealed | SnapshotState::RolledBack
        ) {
            return Ok(None);
        }
        let mut record = self.record(id)?;
        let dirs = self.content_dirs(&meta).open();
        let context = || format!("cannot tidy the content of snapshot {id}");
        if let Some((_, Err(why))) = dirs.each().find(|(_, dir)| dir.is_err()) {
            return Err(Error::new(ErrorKind::NotFound, Stage::Store, why));
        }
        // What an earlier attempt left.
        self.inner.settle_manifest(&directory, &meta)?;
        remove_unnamed(&dirs, &record).in_store(context)?;
        let work = Work {
            id,
            dirs: &dirs,
            clones: &meta.clones,
            bases: &Bases::open(self),
            effort: Effort::THOROUGH,
        };
        let shrunk = work.shrink(&mut record);
        self.adopt(&directory, &meta, &record, &shrunk)?;
        remove_unnamed(&dirs, &record).in_store(context)?;
        Ok(Some(shrunk.saved))
    }

    /// Makes a changed record the snapshot's. The rename of the metadata is the step that counts:
    /// before it the old manifest is the one it names, after it the new one is.
    fn adopt(
        &self,
        directory: &Directory,
        meta: &SnapshotMeta,
        record: &UndoRecord,
        shrunk: &Shrunk,
    ) -> Result<()> {
        let id = &meta.snapshot_id;
        let changed = !shrunk.replaced.is_empty();
        let checksum = if changed {
            self.inner
                .write_manifest(directory, MANIFEST_NEXT, id, record)?
        } else {
            meta.manifest_checksum.clone()
        };
        let meta = self.update(id, &mut |meta| {
            meta.manifest_checksum.clone_from(&checksum);
            meta.stored_bytes = meta.stored_bytes.saturating_sub(shrunk.saved);
            meta.uncompressed_bytes = shrunk.left;
            capture::describe(meta, &record.changes);
        })?;
        if changed {
            self.inner.settle_manifest(directory, &meta)?;
        }
        Ok(())
    }
}

impl Inner {
    /// Takes the lock of a snapshot that nobody uses.
    fn take_for_compaction(&self, id: &SnapshotId) -> Result<Option<(Directory, File)>> {
        let Some(directory) = self.directory_of(id)? else {
            return Ok(None);
        };
        let attempt = attempt(&directory, Mode::Exclusive, Duration::ZERO)
            .in_store(|| format!("cannot lock snapshot {id}"))?;
        Ok(match attempt {
            Attempt::Taken(lock) if self.has_json(id)? => Some((directory, lock)),
            _ => None,
        })
    }

    /// Gives the manifest that the metadata names its usual name, and removes the other one. The
    /// caller holds the snapshot's lock.
    fn settle_manifest(&self, directory: &Directory, meta: &SnapshotMeta) -> Result<()> {
        let id = &meta.snapshot_id;
        let context = || format!("cannot put the manifest of snapshot {id} into place");
        if !directory.contains(MANIFEST_NEXT).in_store(context)? {
            return Ok(());
        }
        if self.manifest_is(directory, MANIFEST_NEXT, meta) {
            directory
                .rename(MANIFEST_NEXT, MANIFEST, Durability::Durable)
                .in_store(context)
        } else {
            directory
                .remove_file_if_present(MANIFEST_NEXT)
                .map(drop)
                .in_store(context)
        }
    }
}
