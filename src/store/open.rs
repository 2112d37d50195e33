//! Opening and creating the store's directory.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::checksum::Sealing;
use super::layout::{
    BASELINE, FORMAT, FORMAT_TEMPORARY, INDEX, InStore, Inner, LOCK, OPEN, ROLLBACK, corrupt,
};
use super::lock::Mode;
use super::{SnapshotId, Store, StoreOptions};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::escape;
use crate::sys::durable::{self, Directory, Durability};

/// The layout that this program writes.
const LAYOUT_VERSION: u64 = 2;
/// The most bytes of the format marker.
const MAX_FORMAT: u64 = 4096;

/// The marker in the store's root.
#[derive(Serialize, Deserialize)]
struct Format {
    format_version: u64,
    /// The store's name on other volumes.
    #[serde(default)]
    name: String,
}

/// What a store's name begins with, so that it is not taken for a snapshot's.
const NAME_PREFIX: &str = "store-";

/// Opens the store at `path` as `options` say.
pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Store> {
    let StoreOptions {
        create,
        key,
        lock_timeout,
    } = options;
    let sealing = Sealing::new(key.as_deref())?;
    let path = physical(path, create)?;
    let root = open_root(&path, create)?;
    let known = read_format(&root, &path)?;
    let (open, name) = match (root.open_at(OPEN), known) {
        (Ok(open), Some(name)) => (open, name),
        (Ok(_), None) => initialize(&root, &path, create)?,
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {
            initialize(&root, &path, create)?
        }
        (Err(error), _) => return Err(unusable(&path, error)),
    };
    Ok(Store {
        inner: Arc::new(Inner {
            root,
            open,
            path,
            name,
            sealing,
            lock_timeout,
        }),
    })
}

/// The path with the symbolic links of all but its last component resolved.
fn physical(path: &Path, create: bool) -> Result<PathBuf> {
    let absolute = std::path::absolute(path).in_store(|| shown("cannot find", path))?;
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return absolute
            .canonicalize()
            .in_store(|| shown("cannot find", path));
    };
    if create {
        create_ancestors(parent).in_store(|| shown("cannot create the directory of", path))?;
    }
    match parent.canonicalize() {
        Ok(parent) => Ok(parent.join(name)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_store(path)),
        Err(error) => Err(unusable(path, error)),
    }
}

/// Creates a directory with its ancestors, each on stable storage: a store that vanishes in a
/// power cut takes acknowledged snapshots with it.
fn create_ancestors(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(path);
    create_ancestors(parent)?;
    // Not writable for others, whatever the umask is.
    #[cfg(unix)]
    let made = {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o755).create(path)
    };
    #[cfg(not(unix))]
    let made = fs::create_dir(path);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::File::open(parent)?.sync_all()
}

/// Opens the store's directory and checks that it is safe to work in.
fn open_root(path: &Path, create: bool) -> Result<Directory> {
    let root = match Directory::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !create {
                return Err(no_store(path));
            }
            create_root(path).in_store(|| shown("cannot create the snapshot store", path))?
        }
        Err(error) => return Err(unusable(path, error)),
        Ok(root) => root,
    };
    let ownership = root
        .ownership()
        .in_store(|| shown("cannot examine the snapshot store", path))?;
    let own = durable::own_uid();
    let advice = "choose another directory with --snapshot-dir";
    if ownership.uid != own {
        return Err(unsafe_store(
            path,
            &format!(
                "belongs to user {}, not to user {own}: {advice}",
                ownership.uid
            ),
        ));
    }
    if ownership.mode & 0o022 != 0 {
        return Err(unsafe_store(
            path,
            &format!(
                "can be written by others (mode {:04o}): if nobody else has put files there, \
                 make it private with `chmod 700`, otherwise {advice}",
                ownership.mode
            ),
        ));
    }
    Ok(root)
}

fn create_root(path: &Path) -> io::Result<Directory> {
    let parent = Directory::open(path.parent().unwrap_or(path))?;
    let root = parent.open_or_create_at(path.file_name().unwrap_or(OsStr::new(".")))?;
    parent.sync()?;
    Ok(root)
}

/// The store's name, where the directory has the marker of a format that this program understands.
fn read_format(root: &Directory, path: &Path) -> Result<Option<String>> {
    let bytes = match root.read(FORMAT, MAX_FORMAT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(path, error)),
    };
    let damaged = || {
        corrupt(shown(
            "the file 'format' is damaged in the snapshot store",
            path,
        ))
    };
    let format: Format = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if format.format_version > LAYOUT_VERSION {
        return Err(Error::new(
            ErrorKind::NewerFormat,
            Stage::Store,
            format!(
                "the snapshot store {} has format {}, this program knows up to {LAYOUT_VERSION}: \
                 use the newer version of deployx, or another --snapshot-dir",
                escape(path),
                format.format_version,
            ),
        ));
    }
    if format.format_version < LAYOUT_VERSION {
        return Err(Error::new(
            ErrorKind::Unsupported,
            Stage::Store,
            format!(
                "the snapshot store {} has format {}, from before the first release, which this \
                 program does not read: delete it, or choose another --snapshot-dir",
                escape(path),
                format.format_version,
            ),
        ));
    }
    if !is_store_name(&format.name) {
        return Err(damaged());
    }
    Ok(Some(format.name))
}

/// Whether a name is one that [`lay_out`] gives.
fn is_store_name(name: &str) -> bool {
    name.strip_prefix(NAME_PREFIX)
        .is_some_and(|id| SnapshotId::from_name(id.as_bytes()).is_some())
}

/// Lays the store out, or completes what a crash left of that; gives the directory of markers and
/// the store's name.
fn initialize(root: &Directory, path: &Path, create: bool) -> Result<(Directory, String)> {
    let known = read_format(root, path)?.is_some();
    if !known && !create {
        return Err(no_store(path));
    }
    refuse_foreign(root, path, known).or_else(|error| match read_format(root, path)? {
        // Another process has laid it out since.
        Some(_) => Ok(()),
        None => Err(error),
    })?;
    let open = lay_out(root).in_store(|| shown("cannot create the snapshot store", path))?;
    // Whoever was first has given it its name.
    let name = read_format(root, path)?.ok_or_else(|| no_store(path))?;
    Ok((open, name))
}

fn lay_out(root: &Directory) -> io::Result<Directory> {
    // Two processes may come here at once; every step is the same for both.
    let lock = root.open_lock(LOCK)?;
    lock.lock()?;
    root.open_or_create_at(BASELINE)?;
    root.open_or_create_at(ROLLBACK)?;
    let open = root.open_or_create_at(OPEN)?;
    if !root.contains(FORMAT)? {
        let mut text = serde_json::to_vec(&Format {
            format_version: LAYOUT_VERSION,
            name: format!("{NAME_PREFIX}{}", SnapshotId::random()),
        })?;
        text.push(b'\n');
        root.replace(FORMAT_TEMPORARY, FORMAT, Durability::Durable, |file| {
            io::Write::write_all(file, &text)
        })?;
    }
    root.sync()?;
    Ok(open)
}

/// A directory with other things in it is somebody's data, not a store to be.
fn refuse_foreign(root: &Directory, path: &Path, known: bool) -> Result<()> {
    const OWN: [&str; 5] = [LOCK, OPEN, BASELINE, ROLLBACK, FORMAT_TEMPORARY];
    let mut foreign = None;
    root.each_name(|name| {
        let name = name.to_bytes();
        let own =
            OWN.iter().any(|own| own.as_bytes() == name) || name.starts_with(INDEX.as_bytes());
        // Where the mount point is above, stores on other volumes may have siblings here.
        let own = own || str::from_utf8(name).is_ok_and(is_store_name);
        if !own {
            foreign = Some(String::from_utf8_lossy(name).escape_debug().to_string());
        }
    })
    .in_store(|| shown("cannot read the snapshot store", path))?;
    match foreign {
        Some(name) if !known => Err(unsafe_store(
            path,
            &format!(
                "is not a snapshot store and not empty (it has '{name}'): choose another \
                 directory with --snapshot-dir"
            ),
        )),
        _ => Ok(()),
    }
}

fn shown(what: &str, path: &Path) -> String {
    format!("{what} {}", escape(path))
}

fn no_store(path: &Path) -> Error {
    Error::new(
        ErrorKind::NotFound,
        Stage::Store,
        format!(
            "there is no snapshot store at {}: nothing was recorded there yet, or it is elsewhere \
             (--snapshot-dir)",
            escape(path)
        ),
    )
}

fn unsafe_store(path: &Path, why: &str) -> Error {
    Error::new(
        ErrorKind::UnsafeStore,
        Stage::Store,
        format!("the snapshot store {} {why}", escape(path)),
    )
}

/// The store's directory, or something in it, cannot be opened.
fn unusable(path: &Path, error: io::Error) -> Error {
    if durable::is_no_directory(&error) {
        return unsafe_store(
            path,
            "is not a directory, or a symbolic link stands in its place: remove that, or choose \
             another directory with --snapshot-dir",
        );
    }
    super::layout::in_store(shown("cannot open the snapshot store", path), error)
}

impl Inner {
    /// Takes the set's lock shared, waiting as long as the options say.
    pub(super) fn join_set(&self) -> Result<fs::File> {
        self.lock_set(Mode::Shared, self.lock_timeout)?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Busy,
                    Stage::Store,
                    "the snapshot store is locked by another process; try again later",
                )
            })
    }
}
