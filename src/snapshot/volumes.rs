//! Where the content of each volume is kept: clones and links do not leave a filesystem.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::baseline::Baseline;
use super::tree::walk::lock;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::{self, Dir, Mount};

/// Gives the directory of a store on the volume that is mounted at a path, made where it is missing.
type Sibling = dyn Fn(&Path) -> Result<PathBuf> + Send + Sync;

/// The baselines of one store: its own, and one on every other volume that needs it.
pub struct Volumes {
    store: PathBuf,
    own: Baseline,
    sibling: Box<Sibling>,
    beside: Mutex<HashMap<PathBuf, Baseline>>,
}

impl Volumes {
    /// The volumes of the store in the directory `store` with the baseline `own`. `sibling` gives a
    /// directory for the store on another volume, by that volume's mount point.
    pub fn new(
        store: impl Into<PathBuf>,
        own: Baseline,
        sibling: impl Fn(&Path) -> Result<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        Self {
            store: store.into(),
            own,
            sibling: Box::new(sibling),
            beside: Mutex::default(),
        }
    }

    /// The store's own baseline.
    pub fn own(&self) -> &Baseline {
        &self.own
    }

    /// The store's directory.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The baseline on the filesystem that holds `path`.
    pub fn baseline_near(&self, path: &AbsPath) -> Result<Baseline> {
        if self.holds_store(path)? {
            return Ok(self.own.clone());
        }
        let mount = mount_of(path)?;
        self.baseline_at(&mount.mount_point)
    }

    /// The baseline beside the volume that is mounted at `mount_point`.
    pub fn baseline_at(&self, mount_point: &Path) -> Result<Baseline> {
        if let Some(known) = lock(&self.beside).get(mount_point) {
            return Ok(known.clone());
        }
        let directory = (self.sibling)(mount_point)?;
        let volume = AbsPath::new(mount_point)
            .map_err(|e| Error::new(ErrorKind::InvalidRequest, Stage::Capture, e.to_string()))?;
        let baseline = Baseline::beside(directory.join("baseline"), volume);
        lock(&self.beside).insert(mount_point.to_owned(), baseline.clone());
        Ok(baseline)
    }

    /// Every baseline that is in use.
    pub fn all(&self) -> Vec<Baseline> {
        let mut all = vec![self.own.clone()];
        all.extend(lock(&self.beside).values().cloned());
        all
    }

    /// Whether the store is on the filesystem that holds `path`.
    pub fn holds_store(&self, path: &AbsPath) -> Result<bool> {
        let store = AbsPath::new(&*self.store)
            .map_err(io::Error::other)
            .and_then(|store| device(&store));
        let store = store.context(Stage::Capture, || "cannot look at the store")?;
        let here = device(path).context(Stage::Capture, || format!("cannot look at {path}"))?;
        Ok(store == here)
    }
}

/// The device of the nearest directory at or above `path`.
fn device(path: &AbsPath) -> io::Result<u64> {
    let mut at = path.clone();
    loop {
        match Dir::open_path(&at).and_then(|dir| dir.stat_self()) {
            Ok(stat) => return Ok(stat.identity.device),
            Err(error) => at = at.parent().ok_or(error)?,
        }
    }
}

/// The mount that holds `path`.
pub(in crate::snapshot) fn mount_of(path: &AbsPath) -> Result<Mount> {
    let mounts = sys::mounts().context(Stage::Capture, || "cannot read the mount table")?;
    mounts
        .into_iter()
        .filter(|mount| path.as_path().starts_with(&mount.mount_point))
        // Of several at one place the latest is seen.
        .max_by_key(|mount| mount.mount_point.as_os_str().len())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                Stage::Capture,
                format!("{path} lies on no volume in the mount table"),
            )
        })
}
