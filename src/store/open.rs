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
use super::{Store, StoreOptions};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::escape;
use crate::sys::durable::{self, Directory, Durability};

/// The layout that this program writes.
const LAYOUT_VERSION: u64 = 1;
/// The most bytes of the format marker.
const MAX_FORMAT: u64 = 4096;

/// The marker in the store's root.
#[derive(Serialize, Deserialize)]
struct Format {
    format_version: u64,
}

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
    let open = match root.open_at(OPEN) {
        Ok(open) if has_format(&root, &path)? => open,
        Ok(_) => initialize(&root, &path, create)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => initialize(&root, &path, create)?,
        Err(error) => return Err(unusable(&path, error)),
    };
    Ok(Store {
        inner: Arc::new(Inner {
            root,
            open,
            path,
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
    match fs::create_dir(path) {
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

/// Whether the directory has the marker of a format that this program understands.
fn has_format(root: &Directory, path: &Path) -> Result<bool> {
    let bytes = match root.read(FORMAT, MAX_FORMAT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(path, error)),
    };
    let format: Format = serde_json::from_slice(&bytes).map_err(|_| {
        corrupt(shown(
            "the file 'format' is damaged in the snapshot store",
            path,
        ))
    })?;
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
    Ok(true)
}

/// Lays the store out, or completes what a crash left of that; gives the directory of markers.
fn initialize(root: &Directory, path: &Path, create: bool) -> Result<Directory> {
    let known = has_format(root, path)?;
    if !known && !create {
        return Err(no_store(path));
    }
    refuse_foreign(root, path, known)?;
    lay_out(root).in_store(|| shown("cannot create the snapshot store", path))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::store::testing::{names, options, sealed, store};

    fn looking() -> StoreOptions {
        StoreOptions {
            create: false,
            ..options()
        }
    }

    fn kind(result: Result<Store>) -> ErrorKind {
        result.err().expect("was accepted").kind()
    }

    #[test]
    fn a_new_store_is_private_and_complete() {
        let (_temp, store) = store();
        let mode = fs::metadata(store.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(
            names(store.path()),
            ["baseline", "format", "lock", "open", "rollback"]
        );
        assert!(store.baseline_dir().is_dir() && store.rollback_dir().is_dir());
    }

    #[test]
    fn missing_ancestors_are_created() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/store");
        assert_eq!(Store::open(&path, options()).unwrap().path(), path);
    }

    #[test]
    fn looking_at_a_missing_store_creates_nothing() {
        let temp = tempfile::tempdir().unwrap();
        for path in ["store", "a/b/store"] {
            let result = Store::open(&temp.path().join(path), looking());
            assert_eq!(kind(result), ErrorKind::NotFound);
        }
        assert_eq!(
            kind(Store::open(temp.path(), looking())),
            ErrorKind::NotFound
        );
        assert!(names(temp.path()).is_empty());
    }

    #[test]
    fn a_planted_symbolic_link_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let elsewhere = temp.path().join("elsewhere");
        Store::open(&elsewhere, options()).unwrap();
        let planted = temp.path().join(".deployx_snapshots");
        symlink(&elsewhere, &planted).unwrap();
        let error = Store::open(&planted, options()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore);
        assert!(error.to_string().contains(".deployx_snapshots"), "{error}");
        assert!(error.to_string().contains("--snapshot-dir"), "{error}");
    }

    #[test]
    fn a_dangling_link_a_file_and_a_linked_marker_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        symlink("/nonexistent/target", &path).unwrap();
        assert_eq!(kind(Store::open(&path, options())), ErrorKind::UnsafeStore);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(kind(Store::open(&path, options())), ErrorKind::UnsafeStore);
        fs::remove_file(&path).unwrap();
        Store::open(&path, options()).unwrap();
        fs::remove_dir(path.join("open")).unwrap();
        symlink("/tmp", path.join("open")).unwrap();
        assert_eq!(kind(Store::open(&path, options())), ErrorKind::UnsafeStore);
    }

    #[test]
    fn a_store_that_others_can_write_is_refused() {
        let (_temp, store) = store();
        for mode in [0o770, 0o777, 0o1777, 0o702] {
            fs::set_permissions(store.path(), fs::Permissions::from_mode(mode)).unwrap();
            let result = Store::open(store.path(), options());
            assert_eq!(kind(result), ErrorKind::UnsafeStore, "{mode:o}");
        }
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Store::open(store.path(), options()).unwrap();
    }

    #[test]
    fn a_store_of_another_user_is_refused() {
        if durable::own_uid() != 0 {
            eprintln!("skipped: needs root to give a directory away");
            return;
        }
        let (_temp, store) = store();
        std::os::unix::fs::chown(store.path(), Some(12345), None).unwrap();
        let error = Store::open(store.path(), options()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore);
        assert!(error.to_string().contains("12345"), "{error}");
    }

    #[test]
    fn a_directory_with_other_files_is_not_taken_for_a_store() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("thesis.txt"), "").unwrap();
        let error = Store::open(temp.path(), options()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore);
        assert!(error.to_string().contains("thesis.txt"), "{error}");
        assert_eq!(names(temp.path()), ["thesis.txt"]);
    }

    #[test]
    fn a_crash_while_the_store_is_created_is_made_good() {
        let parts: [&[&str]; 4] = [
            &[],
            &["lock"],
            &["lock", "baseline"],
            &["lock", ".format.tmp"],
        ];
        for left in parts {
            let temp = tempfile::tempdir().unwrap();
            for name in left {
                if *name == "baseline" {
                    fs::create_dir(temp.path().join(name)).unwrap();
                } else {
                    fs::write(temp.path().join(name), "").unwrap();
                }
            }
            let store = Store::open(temp.path(), options()).unwrap();
            sealed(&store, 1, |_| {});
            assert!(!temp.path().join(".format.tmp").exists());
        }
    }

    #[test]
    fn a_lost_marker_directory_is_made_again() {
        let (_temp, store) = store();
        sealed(&store, 0, |_| {});
        fs::remove_dir_all(store.path().join("open")).unwrap();
        let store = Store::open(store.path(), options()).unwrap();
        assert!(store.interrupted().unwrap().is_empty());
    }

    #[test]
    fn a_newer_or_damaged_format_marker_is_refused() {
        let (_temp, store) = store();
        let marker = store.path().join("format");
        assert_eq!(
            fs::read_to_string(&marker).unwrap(),
            "{\"format_version\":1}\n"
        );
        fs::write(&marker, "{\"format_version\":2}").unwrap();
        assert_eq!(
            kind(Store::open(store.path(), options())),
            ErrorKind::NewerFormat
        );
        fs::write(&marker, "nonsense").unwrap();
        assert_eq!(
            kind(Store::open(store.path(), options())),
            ErrorKind::Corrupt
        );
    }

    #[test]
    fn many_first_openings_at_once_agree() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("store");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| sealed(&Store::open(&path, options()).unwrap(), 1, |_| {}));
            }
        });
        let store = Store::open(&path, options()).unwrap();
        assert_eq!(
            store
                .list(&super::super::ListFilter::default())
                .unwrap()
                .0
                .len(),
            8
        );
    }

    #[test]
    fn a_swapped_path_does_not_redirect_an_open_store() {
        let (temp, store) = store();
        let moved = temp.path().join("moved");
        fs::rename(store.path(), &moved).unwrap();
        let other = temp.path().join("other");
        fs::create_dir(&other).unwrap();
        symlink(&other, store.path()).unwrap();
        let open = crate::store::testing::begin(&store, "true");
        let id = open.id().clone();
        open.fail("test").unwrap();
        assert!(moved.join(format!("{id}.json")).exists());
        assert!(names(&other).is_empty());
    }

    #[test]
    fn relative_and_trailing_slash_paths_name_the_same_store() {
        let (_temp, store) = store();
        let with_slash = format!("{}/", store.path().display());
        let again = Store::open(Path::new(&with_slash), looking()).unwrap();
        assert_eq!(again.path(), store.path());
    }
}
