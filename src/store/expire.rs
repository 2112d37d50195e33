//! Deleting snapshots, and sweeping what a crash left of a deletion.

use std::collections::HashSet;
use std::fs::File;
use std::time::Duration;

use super::layout::{InStore, Inner, id_of_json, id_of_temporary, json_temporary};
use super::lock::{Attempt, Mode, attempt, in_use};
use super::retention::{self, Candidate};
use super::row::Head;
use super::{
    Expiry, ExpiryPlan, ExpiryReason, ExpiryReport, SnapshotId, SnapshotState, Store, clock,
};
use crate::error::{ErrorKind, Result};
use crate::progress::{Event, Phase, Progress};
use crate::request::RetentionPolicy;

/// How many snapshots are deleted between two syncs of the store's directory. Each holds an open
/// lock meanwhile.
const GROUP: usize = 64;

/// What became of a snapshot that was to be deleted.
enum Fate {
    /// Its metadata is gone; the lock keeps others away from the rest.
    Doomed(File),
    /// It stays, for this reason.
    Kept(String),
    /// It was deleted by someone else.
    Gone,
}

impl Store {
    /// Which snapshots the policy expires now. Pinned ones, unfinished ones and those in use are
    /// left out; so are damaged ones, which only go by name.
    pub fn plan_expiry(&self, policy: &RetentionPolicy) -> Result<ExpiryPlan> {
        self.plan_expiry_sparing(policy, &|_, _| false)
    }

    /// The same without those of which `spared` says so, by their id and batch.
    pub fn plan_expiry_sparing(
        &self,
        policy: &RetentionPolicy,
        spared: &dyn Fn(&SnapshotId, Option<&str>) -> bool,
    ) -> Result<ExpiryPlan> {
        let catalogue = self.inner.catalogue()?;
        let now = clock::Instant::now();
        let mut candidates: Vec<Candidate> = catalogue
            .items()
            .iter()
            .map(|item| Candidate {
                id: item.id.clone(),
                age: now.age_of(&item.head),
                bytes: item.head.stored_bytes,
                kept: reason_to_keep(&item.head).is_some() || spared(item.id, item.head.batch_id),
            })
            .collect();
        // Locks are looked at only for what would go; what turns out to be held makes room for
        // the next oldest.
        let mut checked = HashSet::new();
        loop {
            let plan = retention::plan(policy, candidates.clone());
            let mut held = HashSet::new();
            for one in &plan.expire {
                if checked.insert(one.snapshot_id.clone())
                    && self.inner.is_held(&one.snapshot_id)?
                {
                    held.insert(one.snapshot_id.clone());
                }
            }
            if held.is_empty() {
                return Ok(plan);
            }
            for candidate in &mut candidates {
                candidate.kept |= held.contains(&candidate.id);
            }
        }
    }

    /// A plan that deletes the named snapshots, damaged ones too.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where one does not exist.
    pub fn plan_removal(&self, ids: &[SnapshotId]) -> Result<ExpiryPlan> {
        let mut named = HashSet::new();
        let mut plan = ExpiryPlan::default();
        for id in ids.iter().filter(|id| named.insert(*id)) {
            let bytes = match self.meta(id) {
                Ok(meta) => meta.stored_bytes,
                Err(error) if error.kind() == ErrorKind::Corrupt => 0,
                Err(error) => return Err(error),
            };
            plan.expire.push(Expiry {
                snapshot_id: id.clone(),
                reason: ExpiryReason::Named,
                bytes,
            });
        }
        Ok(plan)
    }

    /// Carries a plan out. Takes time in proportion to what is deleted.
    ///
    /// What crashes left of earlier deletions is swept on the way.
    ///
    /// Every snapshot is looked at again under its lock: one that was pinned or taken into use
    /// since the plan was made is kept. Single failures do not stop the rest; they are in the
    /// report.
    pub fn expire(&self, plan: &ExpiryPlan, progress: &dyn Progress) -> Result<ExpiryReport> {
        progress.event(Event::Begin {
            phase: Phase::Expire,
            total: Some(plan.expire.len() as u64),
        });
        let mut report = ExpiryReport::default();
        let mut durable = true;
        for group in plan.expire.chunks(GROUP) {
            durable &= self.expire_group(group, &mut report);
            progress.event(Event::Advance {
                by: group.len() as u64,
            });
        }
        progress.event(Event::End);
        if durable && let Err(error) = self.sweep() {
            progress.event(Event::Warning {
                path: None,
                message: format!("what a crash left could not be swept: {error}"),
            });
        }
        Ok(report)
    }

    /// Deletes some snapshots. `false` when that could not be made durable: their metadata may come
    /// back with the next start of the system, so their content has to stay.
    fn expire_group(&self, group: &[Expiry], report: &mut ExpiryReport) -> bool {
        let mut doomed = Vec::new();
        for one in group {
            match self.inner.doom(&one.snapshot_id, one.reason) {
                Ok(Fate::Doomed(lock)) => doomed.push((one, lock)),
                Ok(Fate::Kept(reason)) => report.kept.push((one.snapshot_id.clone(), reason)),
                Ok(Fate::Gone) => {}
                Err(error) => report
                    .failures
                    .push((one.snapshot_id.clone(), error.to_string())),
            }
        }
        if doomed.is_empty() {
            return true;
        }
        // Content goes only once no power cut can bring the metadata back.
        let synced = self
            .inner
            .root
            .sync()
            .in_store(|| "cannot make the deletion of snapshots durable".into());
        for (one, lock) in doomed {
            let id = &one.snapshot_id;
            let deleted = match &synced {
                Ok(()) => self.inner.erase(id).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            drop(lock);
            match deleted {
                Ok(()) => {
                    report.freed_bytes = report.freed_bytes.saturating_add(one.bytes);
                    report.expired.push(one.clone());
                }
                Err(error) => report.failures.push((id.clone(), error)),
            }
        }
        synced.is_ok()
    }

    /// Deletes what crashes left: directories without metadata whose process is gone, and
    /// temporary files without a snapshot. Never touches what a live process is making.
    fn sweep(&self) -> Result<()> {
        self.sweep_own()?;
        self.inner.sweep_siblings()?;
        self.inner
            .sweep_bases()
            .in_store(|| "cannot sweep the cache of earlier versions".into())
    }

    fn sweep_own(&self) -> Result<()> {
        let (suspects, temporaries) = self.inner.suspects()?;
        if suspects.is_empty() && temporaries.is_empty() {
            return Ok(());
        }
        // Without this lock a snapshot that is just being begun looks like an orphan. Whoever has
        // it is busy creating one: the next cleanup is soon enough.
        let Some(set) = self.inner.lock_set(Mode::Exclusive, Duration::ZERO)? else {
            return Ok(());
        };
        let mut orphans = Vec::new();
        for id in suspects {
            orphans.extend(self.inner.claim_orphan(&id)?.map(|lock| (id, lock)));
        }
        for id in temporaries {
            if self.inner.directory_of(&id)?.is_none() {
                self.inner
                    .root
                    .remove_file_if_present(json_temporary(&id))
                    .in_store(|| format!("cannot remove a leftover of snapshot {id}"))?;
            }
        }
        drop(set);
        orphans
            .into_iter()
            .try_for_each(|(id, _lock)| self.inner.erase(&id))
    }
}

impl Inner {
    /// Whether anyone holds the snapshot's lock now.
    fn is_held(&self, id: &SnapshotId) -> Result<bool> {
        let Some(directory) = self.directory_of(id)? else {
            return Ok(false);
        };
        let attempt = attempt(&directory, Mode::Shared, Duration::ZERO)
            .in_store(|| format!("cannot look at the lock of snapshot {id}"))?;
        Ok(matches!(attempt, Attempt::Held(_)))
    }

    /// Takes a snapshot's lock and removes its metadata, unless it is to be kept.
    fn doom(&self, id: &SnapshotId, reason: ExpiryReason) -> Result<Fate> {
        if !self.has_json(id)? {
            return Ok(Fate::Gone);
        }
        // A damaged snapshot may have lost its directory; it needs one to be locked.
        let directory = self
            .root
            .open_or_create_at(id.as_str())
            .in_store(|| format!("cannot open the directory of snapshot {id}"))?;
        let attempt = attempt(&directory, Mode::Exclusive, Duration::ZERO)
            .in_store(|| format!("cannot lock snapshot {id}"))?;
        let lock = match attempt {
            Attempt::Taken(lock) => lock,
            Attempt::Held(holder) => return Ok(Fate::Kept(in_use(holder))),
            Attempt::Gone => return Ok(Fate::Gone),
        };
        // Against a pin at the same moment.
        let _guard = self.lock_meta(id, &directory)?;
        match self.read_meta(id) {
            Ok(meta) => {
                if let Some(reason) = reason_to_keep(&Head::of(&meta)) {
                    return Ok(Fate::Kept(reason.into()));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Fate::Gone),
            Err(error) if error.kind() == ErrorKind::Corrupt && reason == ExpiryReason::Named => {}
            Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat) => {
                return Ok(Fate::Kept(error.to_string()));
            }
            // Not kept for a reason of its own: it only could not be read this time.
            Err(error) => return Err(error),
        }
        self.erase_json(id)?;
        Ok(Fate::Doomed(lock))
    }

    /// Snapshot directories without metadata, and snapshots with a temporary file but no metadata.
    fn suspects(&self) -> Result<(Vec<SnapshotId>, Vec<SnapshotId>)> {
        let mut directories = Vec::new();
        let mut temporaries = Vec::new();
        let mut known = HashSet::new();
        self.root
            .each_name(|name| {
                let name = name.to_bytes();
                known.extend(id_of_json(name).map(|id| id.number()));
                directories.extend(SnapshotId::from_name(name));
                temporaries.extend(id_of_temporary(name));
            })
            .in_store(|| "cannot read the snapshot store".into())?;
        directories.retain(|id| !known.contains(&id.number()));
        temporaries.retain(|id| !known.contains(&id.number()));
        Ok((directories, temporaries))
    }

    /// Locks a directory that is nobody's; `None` where it is somebody's after all. The caller
    /// holds the set's lock.
    fn claim_orphan(&self, id: &SnapshotId) -> Result<Option<File>> {
        if self.has_json(id)? || self.is_marked(id)? {
            return Ok(None);
        }
        // An error: it is no directory, and so nothing that the store made.
        let Ok(Some(directory)) = self.directory_of(id) else {
            return Ok(None);
        };
        let attempt = attempt(&directory, Mode::Exclusive, Duration::ZERO)
            .in_store(|| format!("cannot lock the remains of snapshot {id}"))?;
        Ok(match attempt {
            Attempt::Taken(lock) => Some(lock),
            Attempt::Held(_) | Attempt::Gone => None,
        })
    }
}

/// Why a snapshot must not be deleted, whoever asks.
fn reason_to_keep(head: &Head<'_>) -> Option<&'static str> {
    if head.pinned {
        return Some("pinned");
    }
    match head.state {
        SnapshotState::Sealed | SnapshotState::RolledBack | SnapshotState::Failed => None,
        SnapshotState::Capturing | SnapshotState::Captured => {
            Some("its command has not ended, or was interrupted and not recovered yet")
        }
        SnapshotState::RollingBack => Some("a rollback of it has not ended"),
    }
}
