//! A snapshot's ordinary life, and what makes it durable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::error::ErrorKind;
use crate::seal::{ChangeCounts, UndoRecord};
use crate::store::testing::{
    begin, deleted, fill, json, meta, names, options, record, sealed, store,
};
use crate::store::{SnapshotId, SnapshotMeta, SnapshotState, Store, StoreOptions};
use crate::sys::durable::faults;

#[test]
fn a_sealed_snapshot_is_read_back_by_another_opening() {
    let (_temp, store) = store();
    let mut open = begin(&store, "rm files");
    let id = open.id().clone();
    assert_eq!(open.meta().state, SnapshotState::Capturing);
    open.update(|meta| {
        meta.state = SnapshotState::Captured;
        meta.capture_tokens = vec![("copy".into(), "dG9rZW4=".into())];
    })
    .unwrap();
    fill(&open.files_dir(), 150);
    let returned = open
        .seal(&record(150), |meta| meta.stored_bytes = 1200)
        .unwrap();
    let store = Store::open(store.path(), options()).unwrap();
    let meta = store.meta(&id).unwrap();
    assert_eq!(meta, returned);
    assert_eq!(meta.state, SnapshotState::Sealed);
    assert_eq!(meta.file_count, 150);
    assert_eq!(meta.file_snapshots.len(), SnapshotMeta::MAX_FILE_SNAPSHOTS);
    assert_eq!(
        meta.changes,
        ChangeCounts {
            deleted: 150,
            ..ChangeCounts::default()
        }
    );
    assert!(meta.capture_tokens.is_empty() && meta.monotonic.is_some());
    let first = &meta.file_snapshots[0];
    assert_eq!(first.permissions.as_deref(), Some("0644"));
    assert_eq!(first.backup_path.as_deref(), Some("files/00000000"));
    assert_eq!(store.record(&id).unwrap(), record(150));
    assert!(names(&store.path().join("open")).is_empty());
    assert_eq!(
        fs::read(store.files_dir(&id).join("00000007")).unwrap(),
        b"00000007"
    );
}

#[test]
fn a_snapshot_without_changes_has_no_manifest_and_an_empty_record() {
    let (_temp, store) = store();
    let meta = sealed(&store, 0, |_| {});
    assert_eq!(meta.manifest_checksum, None);
    assert_eq!(
        store.record(&meta.snapshot_id).unwrap(),
        UndoRecord::default()
    );
    assert!(
        !store
            .path()
            .join(meta.snapshot_id.as_str())
            .join("manifest")
            .exists()
    );
}

#[test]
fn everything_in_the_store_is_private() {
    let (_temp, store) = store();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    let directory = store.path().join(id.as_str());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&store.files_dir(&id)), 0o700);
    for file in [
        json(&store, &id),
        directory.join("manifest"),
        directory.join("lock"),
    ] {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_snapshot_costs_as_few_syncs_as_it_can() {
    let (_temp, store) = store();
    faults::take_syncs();
    let mut open = begin(&store, "true");
    assert_eq!(faults::take_syncs(), 0, "begin");
    open.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    assert_eq!(faults::take_syncs(), 3, "metadata, markers, store");
    open.seal(&UndoRecord::default(), |_| {}).unwrap();
    assert_eq!(faults::take_syncs(), 2, "metadata, store");
    let open = begin(&store, "rm a");
    fill(&open.files_dir(), 1);
    open.seal(&record(1), |_| {}).unwrap();
    assert_eq!(
        faults::take_syncs(),
        4,
        "manifest, its directory, metadata, store"
    );
}

#[test]
fn a_failed_snapshot_says_why_and_has_no_record() {
    let (_temp, store) = store();
    let open = begin(&store, "true");
    let meta = open.fail("no space").unwrap();
    assert_eq!(meta.state, SnapshotState::Failed);
    assert_eq!(meta.error.as_deref(), Some("no space"));
    let error = store.record(&meta.snapshot_id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(names(&store.path().join("open")).is_empty());
}

#[test]
fn a_discarded_snapshot_leaves_nothing() {
    let (_temp, store) = store();
    let before = names(store.path());
    let mut open = begin(&store, "true");
    let id = open.id().clone();
    open.update(|_| {}).unwrap();
    fill(&open.files_dir(), 3);
    open.discard().unwrap();
    assert_eq!(names(store.path()), before);
    assert!(names(&store.path().join("open")).is_empty());
    assert_eq!(store.meta(&id).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_failed_sync_is_reported_and_the_update_can_be_made_again() {
    let (_temp, store) = store();
    let mut open = begin(&store, "true");
    for at in 0..3 {
        faults::fail_sync(at);
        open.update(|meta| meta.stored_bytes = 7).unwrap_err();
    }
    open.update(|meta| meta.shell = "zsh".into()).unwrap();
    assert_eq!(store.meta(open.id()).unwrap(), *open.meta());
    assert_eq!(open.meta().shell, "zsh");
}

#[test]
fn a_seal_that_fails_at_any_sync_leaves_the_capture_to_recovery() {
    for at in 0..4 {
        let (_temp, store) = store();
        let mut open = begin(&store, "rm a");
        open.update(|meta| meta.state = SnapshotState::Captured)
            .unwrap();
        fill(&open.files_dir(), 1);
        faults::fail_sync(at);
        open.seal(&record(1), |_| {}).unwrap_err();
        // Only the last sync comes after the rename: the new metadata may then be in place.
        let again = store.interrupted().unwrap();
        assert_eq!(again.len(), usize::from(at < 3), "sync {at}");
        for open in again {
            open.seal(&record(1), |_| {}).unwrap();
        }
        let (all, damaged) = store.list(&crate::store::ListFilter::default()).unwrap();
        assert!(damaged.is_empty());
        assert_eq!(store.record(&all[0].snapshot_id).unwrap(), record(1));
    }
}

#[test]
fn a_record_that_breaks_the_rules_is_refused_before_it_is_written() {
    let (_temp, store) = store();
    for name in ["../x", ""] {
        let bad = UndoRecord {
            changes: vec![deleted("/a", name, b"x")],
            ..UndoRecord::default()
        };
        let error = begin(&store, "rm a").seal(&bad, |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

#[test]
fn a_change_cannot_alter_a_snapshots_id() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |meta| meta.snapshot_id = SnapshotId::random()).snapshot_id;
    let meta = store
        .update(&id, &mut |meta| meta.snapshot_id = SnapshotId::random())
        .unwrap();
    assert_eq!(meta.snapshot_id, id);
    assert_eq!(
        store
            .list(&crate::store::ListFilter::default())
            .unwrap()
            .0
            .len(),
        1
    );
}

#[test]
fn a_store_with_a_key_is_closed_to_those_without() {
    let (_temp, plain) = store();
    let keyed = |byte| StoreOptions {
        key: Some(vec![byte; 32]),
        ..options()
    };
    let store = Store::open(plain.path(), keyed(1)).unwrap();
    let id = sealed(&store, 2, |_| {}).snapshot_id;
    assert_eq!(store.record(&id).unwrap(), record(2));
    for other in [plain.clone(), Store::open(plain.path(), keyed(2)).unwrap()] {
        assert_eq!(other.meta(&id).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(other.record(&id).unwrap_err().kind(), ErrorKind::Corrupt);
    }
    let short = StoreOptions {
        key: Some(vec![1; 8]),
        ..options()
    };
    let error = Store::open(plain.path(), short).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_full_filesystem_is_reported_as_such_and_leaves_no_snapshot() {
    let (_temp, store) = store();
    let mut meta = meta("true");
    meta.timestamp = f64::INFINITY;
    let before = names(store.path());
    // Any error after the directory was made takes the same way out as a full disk.
    store.begin(meta).err().unwrap();
    assert_eq!(names(store.path()), before);
    assert!(names(&store.path().join("open")).is_empty());
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert_eq!(
        super::super::layout::in_store("x", full).kind(),
        ErrorKind::NoSpace
    );
    let read_only = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
    let error = super::super::layout::in_store("x", read_only);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
}
