//! What a volume can do, found out by doing it.
//!
//! A strategy that needs something of a filesystem asks [`Probes`]: the thing itself is done once,
//! in a private directory that is removed again, and the answer is remembered: in memory, and in
//! the store's file `probes.json` for other processes. It holds for one filesystem at one mount
//! point until the system is started again, at most for a day.
//!
//! [`Fidelity`] asks what a filesystem keeps of an entry. It is for people, never for a choice.

mod cache;
mod clones;
mod fidelity;
mod scratch;
#[cfg(test)]
mod tests;

pub use fidelity::Fidelity;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::cache::{Key, Record};
use self::scratch::Scratch;
use crate::path::{AbsPath, escape};
use crate::store::SIBLINGS;
use crate::sys::{self, Mount};

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It works.
    Works,
    /// It does not work on this volume, for this reason.
    Never(String),
    /// It could not be tried, or did not work for a reason that may pass: no permission, a full
    /// disk, a limit. Soon tried again.
    NotNow(String),
}

impl From<Result<(), String>> for Finding {
    /// A reason without more is taken to last.
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Finding::Works,
            Err(reason) => Finding::Never(reason),
        }
    }
}

/// What probes found on the volumes of this host. One for each store; may be shared by threads.
#[derive(Debug)]
pub struct Probes {
    store: PathBuf,
    records: Mutex<Option<Vec<Record>>>,
}

impl Probes {
    /// The probes of the store in the directory `store` (absolute), which exists.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            records: Mutex::default(),
        }
    }

    /// Whether files on the volume of `path` can be cloned to where their content would be kept:
    /// the reason where not. The clone is made, read back, changed, and the original looked at.
    pub fn clones(&self, path: &AbsPath) -> Result<(), String> {
        let mounts = sys::mounts().map_err(|e| format!("the mount table cannot be read: {e}"))?;
        let mount = sys::mount_of(path.as_path(), &mounts)
            .ok_or_else(|| format!("no volume holds {path}"))?;
        let directory = self.content_directory(mount, &mounts);
        self.cached("clones", mount, || {
            if mount.read_only {
                return Finding::NotNow("mounted for reading only".into());
            }
            if directory != self.store && clones::is_hopeless(&mount.filesystem) {
                return Finding::Never(format!("{} has no clones", mount.filesystem));
            }
            match Scratch::new(&directory) {
                Ok(scratch) => clones::try_out(&scratch, &mount.filesystem),
                Err(error) => {
                    Finding::NotNow(format!("cannot write in {}: {error}", escape(&directory)))
                }
            }
        })
    }

    /// The answer of the probe `kind` on a volume: the remembered one, or what `probe` finds now.
    pub fn cached<F: Into<Finding>>(
        &self,
        kind: &str,
        mount: &Mount,
        probe: impl FnOnce() -> F,
    ) -> Result<(), String> {
        let key = Key::new(kind, mount);
        let now = cache::now();
        let known = self
            .records()
            .get_or_insert_with(|| cache::load(&self.store))
            .iter()
            .find(|record| record.key == key && record.holds(now))
            .map(Record::answer);
        if let Some(answer) = known {
            return answer;
        }
        // Without the lock: a volume that does not answer holds up nobody who asks for another.
        let record = Record::new(key, &probe().into(), now);
        let answer = record.answer();
        let mut records = self.records();
        let records = records.get_or_insert_default();
        records.retain(|other| other.key != record.key && other.holds(now));
        records.push(record);
        if let Err(error) = cache::save(&self.store, records, now) {
            tracing::debug!(%error, "what probes found is not remembered");
        }
        answer
    }

    /// Whether content of the volume can lie in the store's directory itself, because that is on
    /// the same filesystem.
    pub fn is_beside_store(&self, mount: &Mount, mounts: &[Mount]) -> bool {
        sys::mount_of(&self.store, mounts)
            .is_some_and(|own| own.device == mount.device && own.filesystem == mount.filesystem)
    }

    /// Where to try out: in the store, or on the volume.
    fn content_directory(&self, mount: &Mount, mounts: &[Mount]) -> PathBuf {
        if self.is_beside_store(mount, mounts) {
            return self.store.clone();
        }
        let sibling = mount.mount_point.join(SIBLINGS);
        if is_private(&sibling) {
            sibling
        } else {
            mount.mount_point.clone()
        }
    }

    fn records(&self) -> MutexGuard<'_, Option<Vec<Record>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `path` is a directory of this user that nobody else may write in.
fn is_private(path: &Path) -> bool {
    let stat = AbsPath::new(path)
        .ok()
        .and_then(|path| sys::Dir::open(&path).ok()?.stat_self().ok());
    stat.is_some_and(|stat| stat.uid == sys::user_id() && stat.mode & 0o022 == 0)
}
