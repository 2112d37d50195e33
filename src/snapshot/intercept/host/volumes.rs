//! Which filesystems are looked after, and where content of each is kept.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use crate::path::AbsPath;
use crate::snapshot::intercept::protocol::{Begin, CONTENT};
use crate::snapshot::intercept::session::{DIRECTORY, make};
use crate::store::{Store, StoreOptions};
use crate::sys::{self, Dir, Mount};

/// How long to wait for other users of the store when a directory on another volume is made.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// What is known of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Volume {
    /// Changes there are not followed.
    LeftAlone,
    /// It is seen by the command only.
    Hidden,
    /// Changes are followed; content is kept in the place of this number, once there is one.
    Followed(Option<u32>),
}

/// The mounts that were met.
#[derive(Debug, Default)]
pub(super) struct Volumes {
    mounts: Vec<Mount>,
    known: HashMap<u64, Volume>,
}

impl Volumes {
    /// What the mount of this number is; where files on it are left alone, which, and why.
    pub(super) fn of(&mut self, id: u64) -> (Volume, Option<(AbsPath, String)>) {
        if let Some(known) = self.known.get(&id) {
            return (*known, None);
        }
        if self.mounts.iter().all(|mount| mount.id != id) {
            self.mounts = sys::mounts().unwrap_or_default();
        }
        let mount = self.mounts.iter().find(|mount| mount.id == id);
        let (volume, remark) = match mount {
            None => (Volume::Hidden, None),
            Some(mount) if mount.is_pseudo() => (Volume::LeftAlone, None),
            Some(mount) if is_foreign(mount) => {
                let reason = format!("changes on {} are not followed", mount.filesystem);
                let at = AbsPath::new(&*mount.mount_point).ok();
                (Volume::LeftAlone, at.map(|at| (at, reason)))
            }
            Some(_) => (Volume::Followed(None), None),
        };
        self.known.insert(id, volume);
        (volume, remark)
    }

    /// Whether files on the mount may get another inode.
    pub(super) fn renumbers(&self, id: u64) -> bool {
        let mount = self.mounts.iter().find(|mount| mount.id == id);
        mount.is_some_and(|mount| mount.filesystem == "overlay")
    }

    /// Whether a file on the mount is known to keep its inode.
    pub(super) fn tells_apart(&self, id: u64) -> bool {
        let mount = self.mounts.iter().find(|mount| mount.id == id);
        mount.is_some_and(|mount| mount.filesystem != "overlay")
    }

    /// Remembers the place for content of a mount.
    pub(super) fn settle(&mut self, id: u64, place: u32) {
        self.known.insert(id, Volume::Followed(Some(place)));
    }

    /// Makes a directory for content of a mount: on its own filesystem, or else in the store.
    pub(super) fn make_place(&self, id: u64, begin: &Begin) -> io::Result<(AbsPath, Dir)> {
        let mount = self.mounts.iter().find(|mount| mount.id == id);
        let beside = mount.filter(|mount| !self.is_beside_store(mount, begin));
        if let Some(mount) = beside
            && let Ok(place) = make_beside(mount, begin)
        {
            return Ok(place);
        }
        let dir = make(&Dir::open(&begin.directory)?, CONTENT)?;
        let path = begin.directory.join(CONTENT.as_ref());
        Ok((path.map_err(io::Error::other)?, dir))
    }

    fn is_beside_store(&self, mount: &Mount, begin: &Begin) -> bool {
        sys::mount_of(begin.store.as_path(), &self.mounts)
            .is_some_and(|own| own.device == mount.device && own.filesystem == mount.filesystem)
    }
}

/// Names on such a filesystem may have several spellings, and what is on it changes without calls here.
pub(in crate::snapshot::intercept) fn is_foreign(mount: &Mount) -> bool {
    mount.is_network() || mount.filesystem.starts_with("fuse")
}

/// A directory in the store's sibling on the volume.
fn make_beside(mount: &Mount, begin: &Begin) -> crate::Result<(AbsPath, Dir)> {
    let failed =
        |e: io::Error| crate::Error::io(crate::error::Stage::Capture, "cannot keep content", e);
    let options = StoreOptions {
        create: false,
        key: None,
        lock_timeout: LOCK_TIMEOUT,
    };
    let store = Store::open(begin.store.as_path(), options)?;
    let volume = AbsPath::new(&*mount.mount_point).map_err(|e| failed(io::Error::other(e)))?;
    let sibling = AbsPath::new(store.sibling(&volume)?).map_err(|e| failed(io::Error::other(e)))?;
    let made = || -> io::Result<(AbsPath, Dir)> {
        let all = make(&Dir::open(&sibling)?, DIRECTORY)?;
        let name = place_name(&begin.directory);
        let dir = make(&all, &name)?;
        let path = sibling.as_path().join(DIRECTORY).join(name);
        Ok((AbsPath::new(path).map_err(io::Error::other)?, dir))
    };
    made().map_err(failed)
}

/// The name of the directory on another volume for a command whose own directory this is.
fn place_name(directory: &AbsPath) -> String {
    let session = directory
        .as_path()
        .parent()
        .and_then(|session| session.file_name());
    let session = session.unwrap_or_default().to_string_lossy();
    let number = directory.name().unwrap_or_default().to_string_lossy();
    format!("{session}-{number}")
}
