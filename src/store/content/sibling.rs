//! Siblings of the store: its directories on other volumes.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Place, SIBLINGS};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::{AbsPath, WirePath};
use crate::store::layout::{BASELINE, FILES, InStore, Inner, LOCK, corrupt};
use crate::store::lock::Mode;
use crate::store::{OpenSnapshot, SnapshotId, Store};
use crate::sys::durable::{self, Directory, Durability};

/// The store's list of volumes on which it has a sibling.
const LIST: &str = "siblings";
const LIST_TEMPORARY: &str = ".siblings.tmp";
/// The most bytes of that list.
const MAX_LIST: u64 = 16 << 20;

/// In a sibling: which store it is of.
const OWNER: &str = "owner";
const OWNER_TEMPORARY: &str = ".owner.tmp";
const MAX_OWNER: u64 = 1 << 20;

#[derive(Default, Serialize, Deserialize)]
struct Volumes {
    volumes: Vec<AbsPath>,
}

#[derive(Serialize, Deserialize)]
struct Owner {
    store: WirePath,
}

impl Store {
    /// The store's directory on the volume that is mounted at `volume`, made where it is not there
    /// yet: `<volume>/.deployx_snapshots/<store name>`. Strategies may keep a cache in its
    /// subdirectory `baseline`, which exists.
    ///
    /// # Errors
    /// [`ErrorKind::UnsafeStore`] where somebody else could replace or change it, or where it belongs
    /// to a copy of this store; [`ErrorKind::PermissionDenied`], also on a read-only volume.
    pub fn sibling(&self, volume: &AbsPath) -> Result<PathBuf> {
        self.inner.make_sibling(volume)?;
        Ok(self.inner.sibling_path(volume))
    }

    /// The volumes on which the store has, or had, a sibling.
    pub fn sibling_volumes(&self) -> Result<Vec<AbsPath>> {
        self.inner.volumes()
    }
}

impl OpenSnapshot {
    /// A directory for this snapshot's content on the volume that is mounted at `volume`; what is
    /// stored under names that begin with `prefix` has to lie there. It is on stable storage, and
    /// [`seal`](Self::seal) writes it into the metadata. May be called again.
    ///
    /// # Errors
    /// As for [`Store::sibling`]; [`ErrorKind::InvalidRequest`] where the prefix cannot be told from
    /// that of another place.
    pub fn place_on(&mut self, volume: &AbsPath, prefix: &str) -> Result<PathBuf> {
        let inner = &self.store().inner;
        let id = self.id();
        let path = inner.sibling_path(volume).join(id.as_str()).join(FILES);
        let directory = AbsPath::new(path.clone())
            .map_err(|e| Error::new(ErrorKind::InvalidRequest, Stage::Store, e.to_string()))?;
        let place = Place {
            prefix: prefix.to_owned(),
            directory,
        };
        let mut places = self.places().to_vec();
        if !places.contains(&place) {
            places.push(place);
        }
        super::check_places(id, &places).map_err(|what| {
            let context = format!("snapshot {id} {what}");
            Error::new(ErrorKind::InvalidRequest, Stage::Store, context)
        })?;
        let context = || format!("cannot make {}", path.display());
        let sibling = inner.make_sibling(volume)?;
        let snapshot = sibling.open_or_create_at(id.as_str()).in_store(context)?;
        snapshot.open_or_create_at(FILES).in_store(context)?;
        snapshot.sync().in_store(context)?;
        sibling.sync().in_store(context)?;
        self.set_places(places);
        Ok(path)
    }
}

impl Inner {
    fn sibling_path(&self, volume: &AbsPath) -> PathBuf {
        volume.as_path().join(SIBLINGS).join(&self.name)
    }

    /// The volumes on which there may be a sibling.
    fn volumes(&self) -> Result<Vec<AbsPath>> {
        let bytes = match self.root.read(LIST, MAX_LIST) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).in_store(|| format!("cannot read the file '{LIST}'")),
        };
        serde_json::from_slice::<Volumes>(&bytes)
            .map(|list| list.volumes)
            .map_err(|error| corrupt(format!("the store's file '{LIST}' is damaged ({error})")))
    }

    /// Notes durably that there may be a sibling on a volume.
    fn remember(&self, volume: &AbsPath) -> Result<()> {
        if self.volumes()?.contains(volume) {
            return Ok(());
        }
        let _set = self.lock_siblings()?;
        let mut volumes = self.volumes()?;
        if volumes.contains(volume) {
            return Ok(());
        }
        volumes.push(volume.clone());
        self.write_volumes(volumes)
    }

    /// Keeps other processes from making siblings of this store.
    fn lock_siblings(&self) -> Result<std::fs::File> {
        self.lock_set(Mode::Exclusive, self.lock_timeout)?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Busy,
                    Stage::Store,
                    "the snapshot store is locked by another process; try again later",
                )
            })
    }

    /// Writes the list; the caller holds the set's lock exclusively.
    fn write_volumes(&self, volumes: Vec<AbsPath>) -> Result<()> {
        let context = || format!("cannot write the file '{LIST}'");
        let text = serde_json::to_vec(&Volumes { volumes })
            .map_err(io::Error::from)
            .in_store(context)?;
        self.root
            .replace(LIST_TEMPORARY, LIST, Durability::Durable, |file| {
                io::Write::write_all(file, &text)
            })
            .in_store(context)
    }

    /// Opens the sibling on a volume, making what is missing of it.
    fn make_sibling(&self, volume: &AbsPath) -> Result<Directory> {
        self.remember(volume)?;
        let path = self.sibling_path(volume);
        let context = || format!("cannot make {}", path.display());
        let root = open_volume(volume)?;
        let siblings = root
            .open_or_create_at(SIBLINGS)
            .map_err(|e| unusable(&path, e))?;
        private(&siblings, &path)?;
        let sibling = siblings
            .open_or_create_at(&self.name)
            .map_err(|e| unusable(&path, e))?;
        private(&sibling, &path)?;
        if self.owner_of(&sibling, &path)?.is_none() {
            let _set = self.lock_siblings()?;
            // Another process may have been first.
            if self.owner_of(&sibling, &path)?.is_none() {
                self.claim(&sibling).in_store(context)?;
                siblings.sync().in_store(context)?;
                root.sync().in_store(context)?;
            }
        }
        match self.owner_of(&sibling, &path)? {
            Some(true) => Ok(sibling),
            _ => Err(of_a_copy(&path)),
        }
    }

    /// Fills a new sibling. The caller holds the set's lock exclusively.
    fn claim(&self, sibling: &Directory) -> io::Result<()> {
        sibling.open_or_create_at(BASELINE)?;
        let owner = Owner {
            store: WirePath::from_bytes(self.path.as_os_str().as_encoded_bytes()),
        };
        let text = serde_json::to_vec(&owner)?;
        sibling.replace(OWNER_TEMPORARY, OWNER, Durability::Durable, |file| {
            io::Write::write_all(file, &text)
        })
    }

    /// Opens the sibling on a volume for deleting from it; `None` where there is none that is this
    /// store's.
    fn open_sibling(&self, volume: &AbsPath) -> Result<Option<Directory>> {
        let path = self.sibling_path(volume);
        let opened = AbsPath::new(path.clone())
            .map_err(io::Error::other)
            .and_then(|path| Directory::open_strictly(&path));
        let sibling = match opened {
            Ok(sibling) => sibling,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(&path, error)),
        };
        private(&sibling, &path)?;
        let owned = self.owner_of(&sibling, &path)?;
        Ok((owned == Some(true)).then_some(sibling))
    }

    /// Whether a sibling says that it is this store's; `None` where it says nothing.
    ///
    /// A store that was copied has the same name as the original: without this, one of the two
    /// would take the other's content for what a crash left.
    fn owner_of(&self, sibling: &Directory, path: &Path) -> Result<Option<bool>> {
        let bytes = match sibling.read(OWNER, MAX_OWNER) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(path, error)),
        };
        let owner: Owner = serde_json::from_slice(&bytes)
            .map_err(|_| corrupt(format!("{} is damaged", path.join(OWNER).display())))?;
        let own = WirePath::from_bytes(self.path.as_os_str().as_encoded_bytes());
        Ok(Some(owner.store == own))
    }

    /// Removes what a snapshot has in siblings. What cannot be removed now, because its volume is
    /// not there, is swept by a later cleanup.
    pub(in crate::store) fn erase_beside(&self, id: &SnapshotId) {
        let volumes = match self.volumes() {
            Ok(volumes) => volumes,
            Err(error) => return tracing::warn!(%error, "siblings are unknown"),
        };
        for volume in volumes {
            let erased = self.open_sibling(&volume).and_then(|sibling| {
                sibling.map_or(Ok(()), |sibling| {
                    sibling
                        .remove_tree(id.as_str(), LOCK)
                        .in_store(|| format!("cannot delete content of {id} on {volume}"))
                })
            });
            if let Err(error) = erased {
                tracing::warn!(%error, "content is left for a later cleanup");
            }
        }
    }

    /// Removes from siblings what belongs to no snapshot.
    ///
    /// A snapshot has metadata before it has anything in a sibling, so that a directory without is
    /// left of a deletion or of a capture that a crash ended.
    pub(in crate::store) fn sweep_siblings(&self) -> Result<()> {
        let mut synced = false;
        for volume in self.volumes()? {
            let sibling = match self.open_sibling(&volume) {
                Ok(Some(sibling)) => sibling,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "a sibling was not swept");
                    continue;
                }
            };
            let context = || format!("cannot sweep {}", self.sibling_path(&volume).display());
            let mut ids = Vec::new();
            sibling
                .each_name(|name| ids.extend(SnapshotId::from_name(name.to_bytes())))
                .in_store(context)?;
            for id in ids {
                if self.has_json(&id)? || self.is_marked(&id)? {
                    continue;
                }
                if !synced {
                    // Metadata that was removed must not come back without its content.
                    self.root.sync().in_store(context)?;
                    synced = true;
                }
                sibling.remove_tree(id.as_str(), LOCK).in_store(context)?;
            }
        }
        Ok(())
    }
}

/// Opens a volume's root, in which nobody may replace what this user makes.
fn open_volume(volume: &AbsPath) -> Result<Directory> {
    let path = volume.as_path();
    let root = Directory::open_strictly(volume).map_err(|e| unusable(path, e))?;
    let ownership = root.ownership().map_err(|e| unusable(path, e))?;
    let trusted = [0, durable::own_uid()].contains(&ownership.uid);
    let closed = ownership.mode & 0o022 == 0 || ownership.mode & 0o1000 != 0;
    if trusted && closed {
        return Ok(root);
    }
    Err(unsafe_place(
        path,
        "belongs to another user or can be written by others, who could replace what is kept there",
    ))
}

/// Refuses a directory that others own or may write to.
fn private(directory: &Directory, path: &Path) -> Result<()> {
    let ownership = directory.ownership().map_err(|e| unusable(path, e))?;
    if ownership.uid == durable::own_uid() && ownership.mode & 0o022 == 0 {
        return Ok(());
    }
    Err(unsafe_place(
        path,
        "belongs to another user or can be written by others",
    ))
}

fn unusable(path: &Path, error: io::Error) -> Error {
    if durable::is_no_directory(&error) {
        return unsafe_place(path, "is no directory, or a symbolic link leads there");
    }
    crate::store::layout::in_store(format!("cannot use {}", path.display()), error)
}

fn of_a_copy(path: &Path) -> Error {
    let owner = path.join(OWNER);
    unsafe_place(
        path,
        &format!(
            "belongs to a store of the same name elsewhere: was this store copied? Where it was \
             moved, delete {}",
            owner.display()
        ),
    )
}

fn unsafe_place(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::UnsafeStore,
        Stage::Store,
        format!("{} {why}", path.display()),
    )
}
