//! Damage on disk is found and named.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::ErrorKind;
use crate::progress::{Event, Silent};
use crate::store::testing::{begin, json, sealed, store};
use crate::store::{SnapshotId, SnapshotState, Store};

fn problems(store: &Store) -> Vec<(String, String)> {
    store
        .verify(&[], &Silent)
        .unwrap()
        .into_iter()
        .map(|one| (one.file, one.problem))
        .collect()
}

#[test]
fn a_sound_store_has_no_problems_and_every_byte_is_read() {
    let (_temp, store) = store();
    sealed(&store, 30, |_| {});
    sealed(&store, 0, |_| {});
    begin(&store, "true").fail("test").unwrap();
    let _running = begin(&store, "sleep");
    let bytes = AtomicU64::new(0);
    let total = AtomicU64::new(0);
    let progress = |event: Event| match event {
        Event::Begin { total: Some(n), .. } => total.store(n, Ordering::Relaxed),
        Event::Advance { by } => drop(bytes.fetch_add(by, Ordering::Relaxed)),
        _ => {}
    };
    assert!(store.verify(&[], &progress).unwrap().is_empty());
    assert_eq!(bytes.into_inner(), 240);
    assert_eq!(total.into_inner(), 240);
}

#[test]
fn missing_changed_short_and_extra_files_are_named() {
    let (_temp, store) = store();
    let id = sealed(&store, 4, |_| {}).snapshot_id;
    let files = store.files_dir(&id);
    fs::remove_file(files.join("00000000")).unwrap();
    fs::write(files.join("00000001"), "10000000").unwrap();
    fs::write(files.join("00000002"), "short").unwrap();
    fs::write(files.join("stray"), "").unwrap();
    let expect = [
        ("00000000", "is missing"),
        (
            "00000001",
            "is damaged: it has other content than was stored",
        ),
        ("00000002", "is damaged: it has 5 instead of 8 bytes"),
        ("stray", "is not part of the undo record"),
    ]
    .map(|(name, what)| (format!("{id}/files/{name}"), what.to_owned()));
    assert_eq!(problems(&store), expect);
}

#[test]
fn a_stored_file_swapped_for_a_link_is_not_followed() {
    let (_temp, store) = store();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    let file = store.files_dir(&id).join("00000000");
    let elsewhere = store.path().join("baseline/same");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    assert!(problems(&store)[0].1.starts_with("cannot be read"));
}

#[test]
fn a_missing_or_damaged_manifest_is_corrupt_for_readers_too() {
    let (_temp, store) = store();
    let id = sealed(&store, 2, |_| {}).snapshot_id;
    let manifest = store.path().join(id.as_str()).join("manifest");
    let healthy = fs::read(&manifest).unwrap();
    let mut flipped = healthy.clone();
    flipped[60] ^= 4;
    let truncated = healthy[..healthy.len() - 1].to_vec();
    for damage in [Some(flipped), Some(truncated), Some(Vec::new()), None] {
        match damage {
            Some(bytes) => fs::write(&manifest, bytes).unwrap(),
            None => fs::remove_file(&manifest).unwrap(),
        }
        let error = store.record(&id).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("manifest"), "{error}");
        assert_eq!(problems(&store)[0].0, format!("{id}/manifest"));
    }
}

#[test]
fn the_sound_manifest_of_an_earlier_seal_is_not_taken() {
    let (_temp, store) = store();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    let manifest = store.path().join(id.as_str()).join("manifest");
    let mut file = fs::File::create(&manifest).unwrap();
    let other = crate::store::testing::record(2);
    crate::store::manifest::write(&mut file, &id, &other, &store.inner.sealing).unwrap();
    assert_eq!(store.record(&id).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn damaged_metadata_is_named() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |_| {}).snapshot_id;
    let mut bytes = fs::read(json(&store, &id)).unwrap();
    bytes[300] ^= 1;
    fs::write(json(&store, &id), bytes).unwrap();
    assert_eq!(problems(&store)[0].0, format!("{id}.json"));
    assert_eq!(store.meta(&id).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_named_snapshot_that_does_not_exist_is_an_error() {
    let (_temp, store) = store();
    let error = store.verify(&[SnapshotId::random()], &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn an_unsealed_snapshot_has_no_record() {
    let (_temp, store) = store();
    let mut open = begin(&store, "sleep");
    for state in [SnapshotState::Capturing, SnapshotState::Captured] {
        open.update(|meta| meta.state = state).unwrap();
        let error = store.record(open.id()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}
