//! Where the content of each volume is kept: clones and links do not leave a filesystem.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::baseline::{Baseline, BaselineCapture};
use super::probe::Probes;
use super::tree::walk::lock;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::store::Store;
use crate::sys::{self, Mount};

/// The baselines of one store: its own, and one on every other volume that needs it.
pub struct Volumes {
    store: Store,
    probes: Arc<Probes>,
    own: Baseline,
    beside: Mutex<HashMap<AbsPath, Baseline>>,
}

impl Volumes {
    /// The volumes of `store`.
    pub fn new(store: Store, probes: Arc<Probes>) -> Self {
        Self {
            own: Baseline::new(store.baseline_dir()),
            store,
            probes,
            beside: Mutex::default(),
        }
    }

    /// What was found out about volumes.
    pub fn probes(&self) -> &Probes {
        &self.probes
    }

    /// The store's own baseline.
    pub fn own(&self) -> &Baseline {
        &self.own
    }

    /// The store whose volumes these are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The baseline on the filesystem that holds `path`.
    pub fn baseline_near(&self, path: &AbsPath) -> Result<Baseline> {
        let mounts = sys::mounts().context(Stage::Capture, || "cannot read the mount table")?;
        let mount = sys::mount_of(path.as_path(), &mounts).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                Stage::Capture,
                format!("{path} lies on no volume in the mount table"),
            )
        })?;
        if self.probes.is_beside_store(mount, &mounts) {
            return Ok(self.own.clone());
        }
        self.baseline_at(&volume(mount)?)
    }

    /// The baseline beside the volume that is mounted at `volume`.
    pub fn baseline_at(&self, volume: &AbsPath) -> Result<Baseline> {
        if let Some(known) = lock(&self.beside).get(volume) {
            return Ok(known.clone());
        }
        let directory = self.store.sibling(volume)?;
        let baseline = Baseline::beside(directory.join("baseline"), volume.clone());
        lock(&self.beside).insert(volume.clone(), baseline.clone());
        Ok(baseline)
    }

    /// Takes up a capture of a process that died, on the baseline that it was begun on.
    pub fn resume(&self, token: &[u8]) -> Result<BaselineCapture> {
        let baseline = match Baseline::volume_of(token)? {
            Some(volume) => self.baseline_at(&volume)?,
            None => self.own.clone(),
        };
        baseline.resume(token)
    }

    /// Every baseline that the store may have. One on a volume that is not there now is left out.
    pub fn all(&self) -> Result<Vec<Baseline>> {
        let mut all = vec![self.own.clone()];
        for volume in self.store.sibling_volumes()? {
            match self.baseline_at(&volume) {
                Ok(baseline) => all.push(baseline),
                Err(error) => tracing::debug!(%volume, %error, "a baseline is not there"),
            }
        }
        Ok(all)
    }
}

fn volume(mount: &Mount) -> Result<AbsPath> {
    AbsPath::new(&*mount.mount_point)
        .map_err(|e| Error::new(ErrorKind::InvalidRequest, Stage::Capture, e.to_string()))
}
