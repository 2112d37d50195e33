//! The bound on the whole store: room is made before a command, and nothing is kept beyond it.
//!
//! What counts are the bytes that snapshots hold and those of the cache of old content. Where the
//! store's filesystem has clones the cache shares its content with the live files and counts for
//! nothing until a snapshot holds it.

use std::fs::{Metadata, read_dir};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::Engine;
use crate::error::Result;
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::RetentionPolicy;
use crate::snapshot::Room;
use crate::store::{Expiry, ListFilter, SnapshotId};

/// Snapshots that do not expire, whatever room is needed.
#[derive(Debug, Clone, Default)]
pub(super) struct Spared {
    /// All of this batch.
    pub(super) batch: Option<String>,
    /// These.
    pub(super) ids: Vec<SnapshotId>,
}

impl Spared {
    fn covers(&self, id: &SnapshotId, batch: Option<&str>) -> bool {
        self.ids.contains(id) || (batch.is_some() && batch == self.batch.as_deref())
    }
}

/// Room for one snapshot.
pub(super) struct Budget<'e> {
    engine: &'e Engine,
    spared: Spared,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    expired: Vec<Expiry>,
    /// Less was granted than was asked for.
    short: bool,
}

impl<'e> Budget<'e> {
    pub(super) fn new(engine: &'e Engine, spared: Spared) -> Self {
        Self {
            engine,
            spared,
            done: Mutex::default(),
        }
    }

    /// How much of `needed` may be stored, after room was made for it.
    pub(super) fn grant(&self, needed: Room) -> Room {
        let Some(most) = self.engine.config.max_store_bytes else {
            return Room::UNLIMITED;
        };
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = match self.engine.make_room(most, needed.bytes, &self.spared) {
            Ok((room, expired)) => {
                done.expired.extend(expired);
                room
            }
            Err(error) => {
                tracing::warn!(%error, "the size of the store is not known, so nothing is added");
                0
            }
        };
        done.short |= bytes < needed.bytes;
        Room {
            bytes,
            ..Room::UNLIMITED
        }
    }

    /// Whether less was granted than was asked for; forgotten by that.
    pub(super) fn was_short(&self) -> bool {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut done.short)
    }

    /// What was expired, in words.
    pub(super) fn notes(self) -> Vec<String> {
        let done = self.done.into_inner();
        notes(&done.unwrap_or_else(PoisonError::into_inner).expired)
    }
}

impl Engine {
    /// Expires what the store holds beyond its bound. Gives notes on what went.
    pub(super) fn trim(&self, spared: &Spared) -> Vec<String> {
        let Some(most) = self.config.max_store_bytes else {
            return Vec::new();
        };
        match self.make_room(most, 0, spared) {
            Ok((_, expired)) => notes(&expired),
            Err(error) => vec![format!("the store was not trimmed: {error}")],
        }
    }

    /// Expires the oldest snapshots until `needed` more bytes fit into `most`. Gives the bytes that
    /// may be added then, which may be less, and what was expired.
    fn make_room(&self, most: u64, needed: u64, spared: &Spared) -> Result<(u64, Vec<Expiry>)> {
        let mut expired = Vec::new();
        loop {
            // Measured each time: content that the cache has as well is not freed by an expiry.
            let cached = self.cached_bytes();
            let used = cached.saturating_add(self.stored_bytes()?);
            let room = most.saturating_sub(used);
            if used <= most && needed <= room {
                return Ok((room, expired));
            }
            let policy = RetentionPolicy {
                max_bytes: Some(most.saturating_sub(needed).saturating_sub(cached)),
                ..RetentionPolicy::default()
            };
            let spare = |id: &SnapshotId, batch: Option<&str>| spared.covers(id, batch);
            let plan = self.store.plan_expiry_sparing(&policy, &spare)?;
            let report = self.store.expire(&plan, &Silent)?;
            if report.expired.is_empty() {
                return Ok((room, expired));
            }
            expired.extend(report.expired);
        }
    }

    /// Bytes that snapshots hold.
    fn stored_bytes(&self) -> Result<u64> {
        let (metas, _) = self.store.list(&ListFilter::default())?;
        let sizes = metas.iter().map(|meta| meta.stored_bytes);
        Ok(sizes.fold(0, u64::saturating_add))
    }

    /// Bytes that the store's cache holds and no snapshot does.
    fn cached_bytes(&self) -> u64 {
        let clones = AbsPath::new(self.store.path())
            .is_ok_and(|path| self.volumes.probes().clones(&path).is_ok());
        if clones {
            return 0;
        }
        measure(&self.store.baseline_dir().join("objects"))
    }
}

/// Bytes of the files in the directories in `objects` that have no other name.
fn measure(objects: &Path) -> u64 {
    let entries = |directory: &Path| -> Vec<_> {
        read_dir(directory).map_or_else(|_| Vec::new(), |found| found.flatten().collect())
    };
    entries(objects)
        .par_iter()
        .map(|directory| {
            let files = entries(&directory.path());
            let sizes = files.iter().map(|file| own_bytes(file.metadata()));
            sizes.sum::<u64>()
        })
        .sum()
}

fn own_bytes(found: io::Result<Metadata>) -> u64 {
    // One that was just removed holds nothing.
    found
        .ok()
        .filter(|file| file.is_file() && file.nlink() == 1)
        .map_or(0, |file| file.len().min(file.blocks().saturating_mul(512)))
}

fn notes(expired: &[Expiry]) -> Vec<String> {
    let note = |one: &Expiry| {
        format!(
            "snapshot {} ({} bytes) expired to keep the store within max_store_bytes",
            one.snapshot_id, one.bytes
        )
    };
    expired.iter().map(note).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_a_snapshot_holds_is_not_counted_twice() {
        let dir = tempfile::tempdir().unwrap();
        let objects = dir.path().join("objects");
        std::fs::create_dir_all(objects.join("0")).unwrap();
        std::fs::create_dir_all(objects.join("7")).unwrap();
        std::fs::write(objects.join("0/1"), [1; 5000]).unwrap();
        std::fs::write(objects.join("7/2"), [2; 300]).unwrap();
        assert_eq!(measure(&objects), 5300);
        std::fs::hard_link(objects.join("0/1"), dir.path().join("stored")).unwrap();
        assert_eq!(measure(&objects), 300);
        assert_eq!(measure(&dir.path().join("nothing")), 0);
    }

    #[test]
    fn a_batch_and_single_snapshots_are_spared() {
        let (a, b) = (SnapshotId::random(), SnapshotId::random());
        let spared = Spared {
            batch: Some("x".into()),
            ids: vec![a.clone()],
        };
        assert!(spared.covers(&a, None) && spared.covers(&b, Some("x")));
        assert!(!spared.covers(&b, None) && !spared.covers(&b, Some("y")));
        assert!(!Spared::default().covers(&b, None));
    }
}
