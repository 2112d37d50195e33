//! Content on other volumes, for which any directory stands here.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::ErrorKind;
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::store::testing::{begin, fill, json, names, options, record, store};
use crate::store::{
    ExpiryPlan, OpenSnapshot, SIBLINGS, SnapshotId, SnapshotMeta, SnapshotState, Store,
};
use crate::sys::durable::faults;

fn volume() -> (TempDir, AbsPath) {
    let temp = tempfile::tempdir().unwrap();
    let path = AbsPath::new(temp.path().canonicalize().unwrap()).unwrap();
    (temp, path)
}

/// A sealed snapshot with two files, both beside.
fn sealed_beside(store: &Store, volume: &AbsPath) -> (SnapshotMeta, PathBuf) {
    let mut open = begin(store, "rm files");
    let files = open.place_on(volume, "").unwrap();
    fill(&files, 2);
    let meta = open
        .seal(&record(2), |meta| meta.stored_bytes = 16)
        .unwrap();
    (meta, files)
}

fn remove(store: &Store, id: &SnapshotId) {
    let plan = store.plan_removal(std::slice::from_ref(id)).unwrap();
    let report = store.expire(&plan, &Silent).unwrap();
    assert_eq!(report.expired.len(), 1, "{report:?}");
}

fn sweep(store: &Store) {
    store.expire(&ExpiryPlan::default(), &Silent).unwrap();
}

/// What a sibling holds, except for what it always holds.
fn in_sibling(store: &Store, volume: &AbsPath) -> Vec<String> {
    let mut names = names(&store.sibling(volume).unwrap());
    names.retain(|name| !["baseline", "owner"].contains(&name.as_str()));
    names
}

fn crash(open: OpenSnapshot) {
    drop(open);
}

#[test]
fn several_make_the_same_sibling_at_once() {
    let (_temp, store) = store();
    let others: Vec<Store> = (0..3)
        .map(|_| Store::open(store.path(), options()).unwrap())
        .collect();
    for _ in 0..20 {
        let (_volume, volume) = volume();
        let start = std::sync::Barrier::new(others.len());
        std::thread::scope(|scope| {
            for other in &others {
                scope.spawn(|| {
                    start.wait();
                    other.sibling(&volume).unwrap();
                });
            }
        });
        assert_eq!(in_sibling(&store, &volume), Vec::<String>::new());
    }
}

#[test]
fn content_beside_is_listed_private_and_verified() {
    let (_temp, store) = store();
    let (_volume, volume) = volume();
    let (meta, files) = sealed_beside(&store, &volume);
    assert_eq!(meta.places.len(), 1);
    assert_eq!(meta.places[0].directory.as_path(), files);
    assert_eq!(meta.places[0].volume(), Some(volume.as_path()));
    assert_eq!(store.meta(&meta.snapshot_id).unwrap(), meta);
    let backup = meta.file_snapshots[0].backup_path.as_deref().unwrap();
    assert_eq!(fs::read(backup).unwrap(), b"00000000");
    for directory in files.ancestors().take(4) {
        let mode = directory.metadata().unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o700, "{}", directory.display());
    }
    assert!(store.verify(&[], &Silent).unwrap().is_empty());
    fs::write(files.join("00000001"), "11111111").unwrap();
    fs::write(files.join("stray"), "").unwrap();
    let problems = store.verify(&[], &Silent).unwrap();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].file.ends_with("files/00000001"), "{problems:?}");
    assert!(problems[1].problem.contains("not part"), "{problems:?}");
}

#[test]
fn names_of_several_captures_lie_where_their_prefix_says() {
    let (_temp, store) = store();
    let (_volumes, (one, other)) = {
        let (a, b) = (volume(), volume());
        ((a.0, b.0), (a.1, b.1))
    };
    let mut open = begin(&store, "rm files");
    let one_files = open.place_on(&one, "1-").unwrap();
    let other_files = open.place_on(&other, "10-").unwrap();
    assert_eq!(
        open.place_on(&other, "1").unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
    let mut record = record(0);
    for (name, files) in [
        ("0-x", open.files_dir()),
        ("1-x", one_files),
        ("10-x", other_files),
    ] {
        fs::write(files.join(name), name).unwrap();
        let at = format!("/srv/{name}");
        record
            .changes
            .push(crate::store::testing::deleted(&at, name, name.as_bytes()));
    }
    open.seal(&record, |_| {}).unwrap();
    assert!(store.verify(&[], &Silent).unwrap().is_empty());
}

#[test]
fn deleting_and_discarding_reach_every_place() {
    let (_temp, store) = store();
    let (_volume, volume) = volume();
    let (meta, files) = sealed_beside(&store, &volume);
    let (other, other_files) = sealed_beside(&store, &volume);
    remove(&store, &meta.snapshot_id);
    assert!(!files.exists());
    assert!(other_files.exists());
    let mut open = begin(&store, "true");
    let files = open.place_on(&volume, "").unwrap();
    open.discard().unwrap();
    assert!(!files.exists());
    assert_eq!(in_sibling(&store, &volume), [other.snapshot_id.as_str()]);
}

#[test]
fn what_a_crash_leaves_beside_is_swept_and_nothing_else() {
    let (_temp, store) = store();
    let (_volume, volume) = volume();
    let (kept, _) = sealed_beside(&store, &volume);
    let mut alive = begin(&store, "sleep 1");
    alive.place_on(&volume, "").unwrap();
    let mut dead = begin(&store, "true");
    dead.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    dead.place_on(&volume, "").unwrap();
    let dead_id = dead.id().clone();
    crash(dead);
    // Metadata that was unlinked before its content could be.
    let (gone, _) = sealed_beside(&store, &volume);
    fs::remove_file(json(&store, &gone.snapshot_id)).unwrap();
    fs::create_dir(store.sibling(&volume).unwrap().join("notes")).unwrap();
    sweep(&store);
    let mut expected = [
        kept.snapshot_id.as_str(),
        alive.id().as_str(),
        dead_id.as_str(),
        "notes",
    ];
    expected.sort_unstable();
    assert_eq!(in_sibling(&store, &volume), expected);
    // Taken up again it can be sealed with the same place.
    let mut found = store.interrupted().unwrap().remove(0);
    let files = found.place_on(&volume, "").unwrap();
    fill(&files, 1);
    let meta = found.seal(&record(1), |_| {}).unwrap();
    assert_eq!(meta.places.len(), 1);
}

#[test]
fn a_volume_that_is_not_there_is_named_and_deletions_are_made_good_later() {
    let (_temp, store) = store();
    let (temp, volume) = volume();
    let (meta, _) = sealed_beside(&store, &volume);
    let (other, other_files) = sealed_beside(&store, &volume);
    let (siblings, away) = (temp.path().join(SIBLINGS), temp.path().join("away"));
    fs::rename(&siblings, &away).unwrap();
    let problems = store
        .verify(std::slice::from_ref(&meta.snapshot_id), &Silent)
        .unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problem = &problems[0].problem;
    assert!(
        problem.contains("2 files are missing") && problem.contains("mounted?"),
        "{problem}"
    );
    remove(&store, &meta.snapshot_id);
    fs::rename(&away, &siblings).unwrap();
    assert_eq!(in_sibling(&store, &volume).len(), 2);
    sweep(&store);
    assert_eq!(in_sibling(&store, &volume), [other.snapshot_id.as_str()]);
    assert!(other_files.join("00000001").exists());
}

#[test]
fn two_stores_share_a_volume() {
    let ((_temp, store), (_other_temp, other)) = (store(), store());
    let (_volume, volume) = volume();
    let (meta, files) = sealed_beside(&store, &volume);
    let (_, other_files) = sealed_beside(&other, &volume);
    sweep(&other);
    sweep(&store);
    remove(&store, &meta.snapshot_id);
    assert!(!files.exists());
    assert!(other_files.exists());
}

#[test]
fn a_copy_of_the_store_leaves_the_originals_content_alone() {
    let (temp, store) = store();
    let (_volume, volume) = volume();
    let (meta, files) = sealed_beside(&store, &volume);
    let path = temp.path().join("copy");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([store.path(), &path])
        .status()
        .unwrap();
    assert!(copied.success());
    let copy = Store::open(&path, options()).unwrap();
    let error = copy.sibling(&volume).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsafeStore);
    assert!(error.to_string().contains("copied"), "{error}");
    remove(&copy, &meta.snapshot_id);
    sweep(&copy);
    assert!(files.join("00000001").exists());
    assert!(store.verify(&[], &Silent).unwrap().is_empty());
}

#[test]
fn planted_and_open_directories_are_refused() {
    type Plant = fn(&Path);
    let plants: [Plant; 4] = [
        |root| symlink("/tmp", root.join(SIBLINGS)).unwrap(),
        |root| fs::write(root.join(SIBLINGS), "").unwrap(),
        |root| {
            fs::create_dir(root.join(SIBLINGS)).unwrap();
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(root.join(SIBLINGS), mode).unwrap();
        },
        |root| fs::set_permissions(root, fs::Permissions::from_mode(0o777)).unwrap(),
    ];
    for (at, plant) in plants.iter().enumerate() {
        let (_temp, store) = store();
        let (temp, volume) = volume();
        plant(temp.path());
        let error = store.sibling(&volume).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{at}: {error}");
        let error = begin(&store, "true").place_on(&volume, "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{at}: {error}");
        sweep(&store);
    }
}

#[test]
fn a_sibling_is_remembered_durably_before_it_is_made() {
    let (_temp, store) = store();
    let (temp, volume) = volume();
    let list = store.path().join("siblings");
    faults::fail_sync(0);
    store.sibling(&volume).unwrap_err();
    assert!(!list.exists());
    assert!(names(temp.path()).is_empty());
    store.sibling(&volume).unwrap();
    assert_eq!(
        store.sibling_volumes().unwrap(),
        std::slice::from_ref(&volume)
    );
    faults::take_syncs();
    store.sibling(&volume).unwrap();
    assert_eq!(faults::take_syncs(), 0, "it is remembered already");
}

#[test]
fn a_damaged_list_of_siblings_is_named_and_does_not_stop_a_deletion() {
    let (_temp, store) = store();
    let (_volume, volume) = volume();
    let (meta, files) = sealed_beside(&store, &volume);
    let list = store.path().join("siblings");
    let good = fs::read(&list).unwrap();
    fs::write(&list, "{\"volumes\":[\"relative\"]}").unwrap();
    let error = store.sibling(&volume).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    remove(&store, &meta.snapshot_id);
    assert!(files.exists());
    fs::write(&list, good).unwrap();
    sweep(&store);
    assert!(!files.exists());
}

#[test]
fn metadata_that_names_a_foreign_directory_as_a_place_is_refused() {
    let (_temp, store) = store();
    let (_volume, volume) = volume();
    let (meta, _) = sealed_beside(&store, &volume);
    let id = &meta.snapshot_id;
    store
        .update(id, &mut |meta| {
            meta.places[0].directory = AbsPath::new("/etc").unwrap();
        })
        .unwrap();
    assert_eq!(store.meta(id).unwrap_err().kind(), ErrorKind::Corrupt);
    remove(&store, id);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_store_can_be_made_where_another_has_its_sibling() {
    let (_temp, store) = store();
    let (temp, volume) = volume();
    let (_, files) = sealed_beside(&store, &volume);
    let inside = Store::open(&temp.path().join(SIBLINGS), options()).unwrap();
    sweep(&inside);
    assert!(files.join("00000001").exists());
}
