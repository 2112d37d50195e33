//! Opening and creating stores.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::store::testing::{begin, names, options, sealed, store};
use crate::store::{ListFilter, Store, StoreOptions};
use crate::sys::durable;

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
    let written = fs::read_to_string(&marker).unwrap();
    let start = "{\"format_version\":2,\"name\":\"store-";
    assert!(written.starts_with(start), "{written}");
    fs::write(&marker, "{\"format_version\":1}").unwrap();
    assert_eq!(
        kind(Store::open(store.path(), options())),
        ErrorKind::Unsupported
    );
    for name in ["", "x", "store-", "store-../etc", "00000000deadbeef"] {
        let text = format!("{{\"format_version\":2,\"name\":\"{name}\"}}");
        fs::write(&marker, text).unwrap();
        assert_eq!(
            kind(Store::open(store.path(), options())),
            ErrorKind::Corrupt,
            "{name}"
        );
    }
    fs::write(&marker, "{\"format_version\":3}").unwrap();
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
    assert_eq!(store.list(&ListFilter::default()).unwrap().0.len(), 8);
}

#[test]
fn a_swapped_path_does_not_redirect_an_open_store() {
    let (temp, store) = store();
    let moved = temp.path().join("moved");
    fs::rename(store.path(), &moved).unwrap();
    let other = temp.path().join("other");
    fs::create_dir(&other).unwrap();
    symlink(&other, store.path()).unwrap();
    let open = begin(&store, "true");
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
