//! Content that is made smaller when a snapshot is sealed.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;

use crate::path::AbsPath;
use crate::progress::Silent;
use crate::seal::{Form, PreImage, UndoRecord};
use crate::store::content::{self, Stored};
use crate::store::testing::{begin, deleted, names, store};
use crate::store::{Compression, SnapshotId, SnapshotMeta, SnapshotState, Store};

/// Content that can be compressed to about a half.
pub(super) fn text(seed: u64, size: usize) -> Vec<u8> {
    let letters = |byte: u8| b"0123456789abcdef"[usize::from(byte & 15)];
    noise(seed, size).into_iter().map(letters).collect()
}

/// Content that cannot be compressed.
pub(super) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..size)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}

/// A snapshot of deleted files, sealed as the engine does it.
pub(super) fn snapshot(
    store: &Store,
    files: &[(&str, &[u8])],
    compression: Compression,
) -> SnapshotMeta {
    let mut open = begin(store, "rm files");
    let mut record = UndoRecord::default();
    for (name, content) in files {
        fs::write(open.files_dir().join(name), content).unwrap();
        let at = format!("/srv/{name}");
        let mut change = deleted(&at, name, content);
        change.before.as_mut().unwrap().allocated = content.len() as u64;
        record.changes.push(change);
    }
    let saved = open.shrink(&mut record, compression).unwrap();
    let bytes: usize = files.iter().map(|(_, content)| content.len()).sum();
    open.seal(&record, |meta| meta.stored_bytes = bytes as u64 - saved)
        .unwrap()
}

/// The content of `/srv/<name>` as a snapshot keeps it.
pub(super) fn content(store: &Store, id: &SnapshotId, name: &str) -> Vec<u8> {
    let meta = store.meta(id).unwrap();
    let record = store.record(id).unwrap();
    let at = AbsPath::new(format!("/srv/{name}")).unwrap();
    let change = record.changes.iter().find(|c| c.path == at).unwrap();
    let mut read = Vec::new();
    content::open(
        &store.content_dirs(&meta).open(),
        &Stored::of(change).unwrap(),
    )
    .unwrap()
    .read_to_end(&mut read)
    .unwrap();
    read
}

pub(super) fn form(store: &Store, id: &SnapshotId, name: &str) -> Form {
    let record = store.record(id).unwrap();
    let at = AbsPath::new(format!("/srv/{name}")).unwrap();
    let change = record.changes.iter().find(|c| c.path == at).unwrap();
    match &change.content {
        PreImage::Stored { form, .. } => form.clone(),
        other => panic!("{other:?}"),
    }
}

fn assert_sound(store: &Store) {
    let problems = store.verify(&[], &Silent).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn what_can_be_compressed_is_and_the_rest_is_left() {
    let (_temp, store) = store();
    let (large, small, random) = (text(1, 300_000), text(2, 8_000), noise(3, 300_000));
    let files: [(&str, &[u8]); 4] = [
        ("large", &large),
        ("random", &random),
        ("small", &small),
        ("tiny", b"tiny"),
    ];
    let meta = snapshot(&store, &files, Compression::Auto);
    let id = &meta.snapshot_id;
    assert_eq!(
        names(&store.files_dir(id)),
        ["large.zst", "random", "small.zst", "tiny"]
    );
    for (name, expected) in files {
        assert_eq!(content(&store, id, name), expected, "{name}");
    }
    let on_disk: u64 = fs::read_dir(store.files_dir(id))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(meta.stored_bytes, on_disk);
    assert_eq!(meta.uncompressed_bytes, 0);
    let backup = meta.file_snapshots[0].backup_path.as_deref();
    assert_eq!(backup, Some("files/large.zst"));
    assert_sound(&store);
}

#[test]
fn nothing_is_compressed_when_that_is_off() {
    let (_temp, store) = store();
    let meta = snapshot(&store, &[("a", &text(1, 300_000))], Compression::Off);
    assert_eq!(names(&store.files_dir(&meta.snapshot_id)), ["a"]);
    assert_sound(&store);
}

#[test]
fn clones_stay_as_they_are() {
    let (_temp, store) = store();
    let content = text(1, 300_000);
    let mut open = begin(&store, "rm files");
    open.keep_clones("1-");
    let mut record = UndoRecord::default();
    for name in ["0-a", "1-a"] {
        fs::write(open.files_dir().join(name), &content).unwrap();
        record
            .changes
            .push(deleted(&format!("/srv/{name}"), name, &content));
    }
    open.shrink(&mut record, Compression::Auto).unwrap();
    let files = open.files_dir();
    let meta = open.seal(&record, |_| {}).unwrap();
    assert_eq!(names(&files), ["0-a.zst", "1-a"]);
    assert_eq!(meta.clones, ["1-"]);
    assert_sound(&store);
}

#[test]
fn a_file_that_is_linked_elsewhere_is_not_changed() {
    let (temp, store) = store();
    let content = text(1, 300_000);
    let elsewhere = temp.path().join("object");
    fs::write(&elsewhere, &content).unwrap();
    let mut open = begin(&store, "rm a");
    fs::hard_link(&elsewhere, open.files_dir().join("a")).unwrap();
    let mut record = UndoRecord {
        changes: vec![deleted("/srv/a", "a", &content)],
        ..UndoRecord::default()
    };
    open.shrink(&mut record, Compression::Auto).unwrap();
    assert_eq!(names(&open.files_dir()), ["a.zst"]);
    assert!(fs::read(&elsewhere).unwrap() == content);
    assert_eq!(elsewhere.metadata().unwrap().nlink(), 1);
}

#[test]
fn content_that_is_not_what_was_recorded_is_left_for_verify_to_find() {
    let (_temp, store) = store();
    let mut open = begin(&store, "rm files");
    let mut record = UndoRecord::default();
    for (name, size) in [("a", 8_000), ("b", 300_000)] {
        let content = text(1, size);
        let mut rotten = content.clone();
        rotten[size / 2] ^= 1;
        fs::write(open.files_dir().join(name), rotten).unwrap();
        record
            .changes
            .push(deleted(&format!("/srv/{name}"), name, &content));
    }
    open.shrink(&mut record, Compression::Auto).unwrap();
    assert_eq!(names(&open.files_dir()), ["a", "b"]);
    open.seal(&record, |_| {}).unwrap();
    assert_eq!(store.verify(&[], &Silent).unwrap().len(), 2);
}

#[test]
fn a_seal_that_was_interrupted_after_compressing_is_repeated() {
    let (_temp, store) = store();
    let first = text(1, 300_000);
    let mut open = begin(&store, "rm a");
    open.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    fs::write(open.files_dir().join("a"), &first).unwrap();
    let mut record = UndoRecord {
        changes: vec![deleted("/srv/a", "a", &first)],
        ..UndoRecord::default()
    };
    open.shrink(&mut record, Compression::Auto).unwrap();
    drop(open);
    // The strategy places everything once more, and finds something else changed.
    let second = text(2, 200_000);
    let mut open = store.interrupted().unwrap().remove(0);
    fs::write(open.files_dir().join("b"), &second).unwrap();
    let mut record = UndoRecord {
        changes: vec![deleted("/srv/b", "b", &second)],
        ..UndoRecord::default()
    };
    open.shrink(&mut record, Compression::Auto).unwrap();
    let meta = open.seal(&record, |_| {}).unwrap();
    assert_eq!(names(&store.files_dir(&meta.snapshot_id)), ["b.zst"]);
    assert_sound(&store);
}

#[test]
fn compressed_content_that_cannot_be_made_durable_is_given_up() {
    let (_temp, store) = store();
    let content = text(1, 300_000);
    let mut open = begin(&store, "rm a");
    fs::write(open.files_dir().join("a"), &content).unwrap();
    let mut record = UndoRecord {
        changes: vec![deleted("/srv/a", "a", &content)],
        ..UndoRecord::default()
    };
    crate::sys::durable::faults::fail_sync(0);
    assert_eq!(open.shrink(&mut record, Compression::Auto).unwrap(), 0);
    assert_eq!(names(&open.files_dir()), ["a"]);
    open.seal(&record, |_| {}).unwrap();
    assert_sound(&store);
}

#[test]
fn names_that_others_have_already_are_not_taken() {
    let (_temp, store) = store();
    let (one, other) = (text(1, 300_000), noise(2, 9_000));
    let files: [(&str, &[u8]); 2] = [("a", &one), ("a.zst", &other)];
    let meta = snapshot(&store, &files, Compression::Auto);
    assert_eq!(names(&store.files_dir(&meta.snapshot_id)), ["a", "a.zst"]);
    assert_sound(&store);
}

#[test]
fn a_large_file_changed_a_little_is_kept_as_its_difference() {
    let (_temp, store) = store();
    let mut content_now = noise(1, 3 << 20);
    let mut ids = Vec::new();
    let mut versions = Vec::new();
    for edit in 0..4 {
        content_now[edit * 700_000] ^= 0xff;
        let meta = snapshot(&store, &[("db", &content_now)], Compression::Auto);
        ids.push(meta.snapshot_id.clone());
        versions.push(content_now.clone());
        if edit > 0 {
            assert!(meta.stored_bytes < 400_000, "{}", meta.stored_bytes);
        }
    }
    assert_eq!(form(&store, &ids[0], "db"), Form::Raw);
    for id in &ids[1..] {
        assert!(matches!(form(&store, id, "db"), Form::Delta(_)));
        assert_eq!(names(&store.files_dir(id)), ["db.base", "db.delta"]);
    }
    assert_sound(&store);
    // Each is complete in itself, whatever becomes of the others.
    for gone in [0, 2] {
        let plan = store.plan_removal(&ids[gone..=gone]).unwrap();
        store.expire(&plan, &Silent).unwrap();
    }
    for kept in [1, 3] {
        assert!(content(&store, &ids[kept], "db") == versions[kept]);
    }
    assert_sound(&store);
}

#[test]
fn a_version_too_different_is_kept_in_full_and_the_next_differs_from_it() {
    let (_temp, store) = store();
    let (first, mut second) = (text(1, 2 << 20), text(2, 2 << 20));
    snapshot(&store, &[("db", &first)], Compression::Auto);
    let meta = snapshot(&store, &[("db", &second)], Compression::Auto);
    assert_eq!(form(&store, &meta.snapshot_id, "db"), Form::Zstd);
    second[5] ^= 1;
    let meta = snapshot(&store, &[("db", &second)], Compression::Auto);
    match form(&store, &meta.snapshot_id, "db") {
        Form::Delta(base) => assert!(base.compressed),
        other => panic!("{other:?}"),
    }
    assert!(content(&store, &meta.snapshot_id, "db") == second);
    assert_sound(&store);
}

#[test]
fn without_the_cache_or_with_a_damaged_one_versions_are_kept_in_full() {
    let (_temp, store) = store();
    let content_now = noise(1, 2 << 20);
    snapshot(&store, &[("db", &content_now)], Compression::Auto);
    let bases = store.path().join("bases");
    let entry = fs::read_dir(&bases).unwrap().next().unwrap().unwrap();
    fs::write(entry.path(), "nonsense").unwrap();
    let meta = snapshot(&store, &[("db", &content_now)], Compression::Auto);
    assert_eq!(form(&store, &meta.snapshot_id, "db"), Form::Raw);
    fs::remove_dir_all(&bases).unwrap();
    let meta = snapshot(&store, &[("db", &content_now)], Compression::Auto);
    assert_eq!(form(&store, &meta.snapshot_id, "db"), Form::Raw);
    assert_sound(&store);
}

#[test]
fn versions_of_deleted_snapshots_are_forgotten() {
    let (_temp, store) = store();
    let meta = snapshot(&store, &[("db", &noise(1, 2 << 20))], Compression::Auto);
    let bases = store.path().join("bases");
    assert_eq!(names(&bases).len(), 1);
    let plan = store
        .plan_removal(std::slice::from_ref(&meta.snapshot_id))
        .unwrap();
    store.expire(&plan, &Silent).unwrap();
    assert!(names(&bases).is_empty());
}
