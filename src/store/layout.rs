//! Names within the store, and what every operation on it shares.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::checksum::Sealing;
use super::{SnapshotId, SnapshotMeta, meta_file};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::sys::durable::{Directory, Durability};

pub(super) const FORMAT: &str = "format";
pub(super) const FORMAT_TEMPORARY: &str = ".format.tmp";
pub(super) const LOCK: &str = "lock";
pub(super) const OPEN: &str = "open";
pub(super) const BASELINE: &str = "baseline";
pub(super) const ROLLBACK: &str = "rollback";
pub(super) const INDEX: &str = "index.sqlite";
pub(super) const FILES: &str = "files";
pub(super) const MANIFEST: &str = "manifest";
/// A manifest that may or may not be the one that the metadata names.
pub(super) const MANIFEST_NEXT: &str = "manifest.next";
pub(super) const BASES: &str = "bases";
pub(super) const MANIFEST_TEMPORARY: &str = ".manifest.tmp";

const JSON_SUFFIX: &[u8] = b".json";

/// The name of a snapshot's metadata file.
pub(super) fn json_name(id: &SnapshotId) -> String {
    format!("{id}.json")
}

/// The name under which it is written. Only whoever holds the snapshot's metadata lock uses it, so
/// a leftover of a crash is simply overwritten.
pub(super) fn json_temporary(id: &SnapshotId) -> String {
    format!(".{id}.json.tmp")
}

/// The snapshot whose metadata file has this name.
pub(super) fn id_of_json(name: &[u8]) -> Option<SnapshotId> {
    SnapshotId::from_name(name.strip_suffix(JSON_SUFFIX)?)
}

/// The snapshot whose temporary metadata file has this name.
pub(super) fn id_of_temporary(name: &[u8]) -> Option<SnapshotId> {
    id_of_json(name.strip_prefix(b".")?.strip_suffix(b".tmp")?)
}

/// An open store; shared by its clones.
pub(super) struct Inner {
    /// The store's directory, pinned.
    pub(super) root: Directory,
    /// Markers of snapshots that are being made.
    pub(super) open: Directory,
    /// Where the directory was when it was opened: absolute and physical.
    pub(super) path: PathBuf,
    /// Tells this store's directories on other volumes from those of other stores.
    pub(super) name: String,
    pub(super) sealing: Sealing,
    pub(super) lock_timeout: Duration,
}

impl Inner {
    /// Reads and checks a snapshot's metadata.
    pub(super) fn read_meta(&self, id: &SnapshotId) -> Result<SnapshotMeta> {
        let bytes = self.read_json(id)?;
        meta_file::decode(id, &bytes, &self.sealing)
    }

    /// A metadata file's bytes, unchecked.
    pub(super) fn read_json(&self, id: &SnapshotId) -> Result<Vec<u8>> {
        self.root
            .read(&json_name(id), meta_file::MAX_BYTES)
            .map_err(|error| reading_json(id, error))
    }

    /// Writes a snapshot's metadata; the caller holds its metadata lock. `before_rename` runs once
    /// the new content is on stable storage and before it takes effect.
    pub(super) fn write_meta(
        &self,
        meta: &SnapshotMeta,
        durability: Durability,
        before_rename: impl FnOnce() -> io::Result<()>,
    ) -> Result<()> {
        let id = &meta.snapshot_id;
        let bytes = meta_file::encode(meta, &self.sealing)?;
        let temporary = json_temporary(id);
        self.root
            .stage(&temporary, durability, |file| {
                io::Write::write_all(file, &bytes)
            })
            .and_then(|(staged, ())| {
                before_rename()?;
                staged.commit(&json_name(id))
            })
            .in_store(|| format!("cannot write the metadata of snapshot {id}"))
    }

    /// Opens a snapshot's directory; `None` where it has none.
    pub(super) fn directory_of(&self, id: &SnapshotId) -> Result<Option<Directory>> {
        match self.root.open_at(id.as_str()) {
            Ok(directory) => Ok(Some(directory)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(in_store(
                format!("cannot open the directory of snapshot {id}"),
                error,
            )),
        }
    }

    /// Opens the directory of a snapshot that must have one.
    pub(super) fn required_directory(&self, id: &SnapshotId) -> Result<Directory> {
        match self.directory_of(id)? {
            Some(directory) => Ok(directory),
            None if self.has_json(id)? => {
                Err(corrupt(format!("snapshot {id} has lost its directory")))
            }
            None => Err(not_found(id.as_str())),
        }
    }

    /// Whether a snapshot has a metadata file.
    pub(super) fn has_json(&self, id: &SnapshotId) -> Result<bool> {
        self.root
            .contains(&json_name(id))
            .in_store(|| format!("cannot look for snapshot {id}"))
    }
}

/// An error while reading a metadata file.
pub(super) fn reading_json(id: &SnapshotId, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(id.as_str()),
        io::ErrorKind::InvalidData => corrupt(format!("{id}.json is damaged ({error})")),
        _ => in_store(format!("cannot read {id}.json"), error),
    }
}

/// There is no such snapshot.
pub(super) fn not_found(text: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        Stage::Store,
        format!("there is no snapshot or batch '{text}' (see `deployx list`)"),
    )
}

/// Stored data is damaged.
pub(super) fn corrupt(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, Stage::Store, context)
}

/// An error of the operating system while working in the store.
pub(super) fn in_store(context: impl Into<String>, error: io::Error) -> Error {
    let read_only = error.kind() == io::ErrorKind::ReadOnlyFilesystem;
    let error = Error::io(Stage::Store, context, error);
    if read_only {
        error.with_kind(ErrorKind::PermissionDenied)
    } else {
        error
    }
}

/// Adds the stage and a context to results of work in the store.
pub(super) trait InStore<T> {
    /// Turns a system error into the library's; `context` is only built on failure.
    fn in_store(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T> InStore<T> for io::Result<T> {
    fn in_store(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| in_store(context(), error))
    }
}
