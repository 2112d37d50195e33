//! `bases/`: for each large file the newest version that some snapshot keeps in full.
//!
//! A cache: without it later versions are kept in full too. An entry whose file is gone counts for
//! nothing. What a delta needs of it is linked beside the delta, so that every snapshot stays
//! complete in itself, whatever is deleted.

use std::io;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::entry::ContentHash;
use crate::path::AbsPath;
use crate::seal::Base;
use crate::store::layout::{BASES, Inner};
use crate::store::{SnapshotId, Store};
use crate::sys::Dir;
use crate::sys::durable::{Directory, Durability};

/// The most bytes of an entry.
const MAX_ENTRY: u64 = 8 << 20;

/// A version that is kept in full.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    /// The path, as entries are found by its hash.
    path: AbsPath,
    /// The snapshot that keeps it.
    snapshot: SnapshotId,
    /// Its file there.
    pub(super) base: Base,
}

/// The cache of one store.
pub(in crate::store) struct Bases<'a> {
    store: &'a Store,
    directory: Option<Directory>,
}

impl<'a> Bases<'a> {
    /// Opens the cache, making it where it is not there.
    pub(in crate::store) fn open(store: &'a Store) -> Self {
        let directory = store.inner.root.open_or_create_at(BASES);
        Self {
            store,
            directory: directory.ok(),
        }
    }

    /// The version that `path`'s content in snapshot `id` may differ from.
    pub(super) fn find(&self, path: &AbsPath, id: &SnapshotId) -> Option<Kept> {
        let bytes = self
            .directory
            .as_ref()?
            .read(&name_of(path), MAX_ENTRY)
            .ok()?;
        let kept: Kept = postcard::from_bytes(&bytes).ok()?;
        let usable = kept.path == *path && kept.snapshot != *id;
        usable.then_some(kept)
    }

    /// Gives the base the name `to` in `dir`, where the content `name` of another snapshot lies.
    /// `false` where it is gone or lies on another volume.
    pub(super) fn link(&self, kept: &Kept, name: &str, dir: &Dir, to: &str) -> io::Result<bool> {
        let Ok(meta) = self.store.meta(&kept.snapshot) else {
            return Ok(false);
        };
        let dirs = self.store.content_dirs(&meta).open();
        let Ok(from) = dirs.of(&kept.base.name) else {
            return Ok(false);
        };
        match dir.unlink(to.as_ref()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        match from.link(kept.base.name.as_ref(), dir, to.as_ref()) {
            Ok(()) => Ok(true),
            Err(error) => {
                tracing::debug!(name, %error, "an earlier version cannot be linked");
                Ok(false)
            }
        }
    }

    /// Remembers that `base` of snapshot `id` is a version of `path` in full.
    pub(super) fn note(&self, path: &AbsPath, id: &SnapshotId, base: Base) {
        let Some(directory) = &self.directory else {
            return;
        };
        let name = name_of(path);
        let kept = Kept {
            path: path.clone(),
            snapshot: id.clone(),
            base,
        };
        let temporary = format!(".{id}.{name}");
        let noted = postcard::to_stdvec(&kept)
            .map_err(io::Error::other)
            .and_then(|bytes| {
                directory.replace(&temporary, &name, Durability::Atomic, |file| {
                    io::Write::write_all(file, &bytes)
                })
            });
        if let Err(error) = noted {
            tracing::debug!(%path, %error, "a version is not remembered");
        }
    }
}

impl Inner {
    /// Forgets versions of snapshots that are gone.
    pub(in crate::store) fn sweep_bases(&self) -> io::Result<()> {
        let directory = match self.root.open_at(BASES) {
            Ok(directory) => directory,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        directory.each_name(|name| names.extend(name.to_str().map(str::to_owned)))?;
        for name in names {
            let kept = directory
                .read(&name, MAX_ENTRY)
                .ok()
                .and_then(|bytes| postcard::from_bytes::<Kept>(&bytes).ok());
            let alive = kept.is_some_and(|kept| self.has_json(&kept.snapshot).unwrap_or(true));
            if !alive {
                directory.remove_file_if_present(&name)?;
            }
        }
        Ok(())
    }
}

/// The name of a path's entry.
fn name_of(path: &AbsPath) -> String {
    ContentHash(Sha256::digest(path.to_bytes()).into()).to_string()
}
