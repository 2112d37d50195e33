//! The list, the index behind it, and what text names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::error::ErrorKind;
use crate::store::testing::{begin, json as json_of, names, options, sealed, store};
use crate::store::{
    ListFilter, ROLLBACK_OF, Selection, SnapshotId, SnapshotMeta, SnapshotState, Store,
    StoreOptions,
};

fn all(store: &Store) -> Vec<SnapshotMeta> {
    let (found, damaged) = store.list(&ListFilter::default()).unwrap();
    assert!(damaged.is_empty(), "{damaged:?}");
    found
}

/// A snapshot with this timestamp, its file old enough for the index.
fn at(store: &Store, timestamp: f64) -> SnapshotMeta {
    sealed(store, 1, |meta| meta.timestamp = timestamp)
}

/// Waits until the files' changes are old enough to be cached.
fn settle() {
    std::thread::sleep(std::time::Duration::from_millis(60));
}

/// Gives a snapshot another id on disk.
fn with_id(store: &Store, id: &str) {
    let old = sealed(store, 0, |_| {}).snapshot_id;
    let id = SnapshotId::parse(id).unwrap();
    let mut meta = store.meta(&old).unwrap();
    meta.snapshot_id = id.clone();
    let bytes = crate::store::meta_file::encode(&meta, &store.inner.sealing).unwrap();
    fs::write(json_of(store, &id), bytes).unwrap();
    fs::remove_file(json_of(store, &old)).unwrap();
}

/// How many rows the index has.
fn cached(index: &std::path::Path) -> i64 {
    rusqlite::Connection::open(index)
        .unwrap()
        .query_row("SELECT count(*) FROM snapshots", [], |row| row.get(0))
        .unwrap()
}

fn kind(result: crate::Result<Selection>) -> ErrorKind {
    result.expect_err("was resolved").kind()
}

#[test]
fn newest_come_first_and_filters_hold() {
    let (_temp, store) = store();
    for timestamp in [20.0, 30.0, 10.0] {
        sealed(&store, 0, |meta| {
            meta.timestamp = timestamp;
            meta.batch_id = (timestamp > 15.0).then(|| "deploy".into());
        });
    }
    for _ in 0..2 {
        let times = |filter: ListFilter| -> Vec<f64> {
            let (found, _) = store.list(&filter).unwrap();
            found.iter().map(|meta| meta.timestamp).collect()
        };
        assert_eq!(times(ListFilter::default()), [30.0, 20.0, 10.0]);
        let batch_id = Some("deploy".into());
        let filter = ListFilter {
            batch_id,
            ..ListFilter::default()
        };
        assert_eq!(times(filter), [30.0, 20.0]);
        let filter = ListFilter {
            since: Some(20.0),
            ..ListFilter::default()
        };
        assert_eq!(times(filter), [30.0, 20.0]);
        let filter = ListFilter {
            limit: Some(1),
            ..ListFilter::default()
        };
        assert_eq!(times(filter), [30.0]);
        settle();
    }
}

#[test]
fn the_index_gives_the_same_as_the_files() {
    let (_temp, store) = store();
    for number in 0..20 {
        at(&store, f64::from(number));
    }
    settle();
    let from_files = all(&store);
    let from_index = all(&store);
    let index = store.path().join("index.sqlite");
    assert_eq!(cached(&index), 20);
    assert_eq!(
        fs::metadata(&index).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(from_index, from_files);
    let mut whole = store.meta(&from_files[0].snapshot_id).unwrap();
    crate::store::row::thin(&mut whole);
    assert_eq!(from_index[0], whole);
}

#[test]
fn changes_and_deletions_show_at_once() {
    let (_temp, store) = store();
    let first = at(&store, 1.0).snapshot_id;
    let second = at(&store, 2.0).snapshot_id;
    settle();
    all(&store);
    for pinned in [true, false, true] {
        store
            .update(&first, &mut |meta| meta.pinned = pinned)
            .unwrap();
        assert_eq!(all(&store)[1].pinned, pinned);
    }
    fs::remove_file(json_of(&store, &second)).unwrap();
    assert_eq!(all(&store).len(), 1);
}

#[test]
fn a_damaged_missing_or_older_index_is_made_anew() {
    let (_temp, store) = store();
    at(&store, 1.0);
    settle();
    let expected = all(&store);
    let index = store.path().join("index.sqlite");
    let healthy = fs::read(&index).unwrap();
    for damage in [
        b"not a database at all, but long enough to be taken for one".repeat(100),
        Vec::new(),
        healthy[..healthy.len() / 2].to_vec(),
        healthy.iter().map(|b| b ^ 0x55).collect(),
    ] {
        fs::write(&index, damage).unwrap();
        assert_eq!(all(&store), expected);
        assert_eq!(all(&store), expected);
        assert_eq!(cached(&index), 1, "made anew");
    }
    fs::remove_file(&index).unwrap();
    assert_eq!(all(&store), expected);
    let other = rusqlite::Connection::open(&index).unwrap();
    other
        .execute_batch(
            "DROP TABLE snapshots; CREATE TABLE snapshots (x); PRAGMA user_version = 99;",
        )
        .unwrap();
    drop(other);
    assert_eq!(all(&store), expected);
}

#[test]
fn no_flipped_bit_in_the_index_changes_what_is_listed() {
    let (_temp, store) = store();
    at(&store, 1.0);
    settle();
    let expected = all(&store);
    let index = store.path().join("index.sqlite");
    let healthy = fs::read(&index).unwrap();
    for byte in (0..healthy.len()).step_by(23) {
        let mut damaged = healthy.clone();
        damaged[byte] ^= 1 << (byte % 8);
        fs::write(&index, damaged).unwrap();
        assert_eq!(all(&store), expected, "byte {byte}");
    }
}

#[test]
fn a_locked_index_or_one_that_is_no_file_costs_nothing_but_time() {
    let (_temp, store) = store();
    at(&store, 1.0);
    settle();
    let expected = all(&store);
    let index = store.path().join("index.sqlite");
    let mut other = rusqlite::Connection::open(&index).unwrap();
    let transaction = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Exclusive)
        .unwrap();
    at(&store, 2.0);
    assert_eq!(all(&store).len(), 2);
    drop(transaction);
    drop(other);
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(store.path().join(name));
    }
    fs::create_dir(&index).unwrap();
    assert_eq!(all(&store)[1], expected[0]);
}

#[test]
fn an_index_made_without_the_key_is_not_believed() {
    let (_temp, plain) = store();
    at(&plain, 1.0);
    settle();
    all(&plain);
    let options = StoreOptions {
        key: Some(vec![1; 32]),
        ..options()
    };
    let keyed = Store::open(plain.path(), options).unwrap();
    let (found, damaged) = keyed.list(&ListFilter::default()).unwrap();
    assert!(found.is_empty());
    assert_eq!(damaged.len(), 1);
}

#[test]
fn damaged_and_newer_files_come_second_and_strange_names_not_at_all() {
    let (_temp, store) = store();
    let good = at(&store, 1.0);
    let bad = at(&store, 2.0).snapshot_id;
    fs::write(json_of(&store, &bad), "{}").unwrap();
    let newer = at(&store, 3.0).snapshot_id;
    fs::write(json_of(&store, &newer), "{\"format_version\":9}").unwrap();
    fs::write(store.path().join("notes.json"), "{}").unwrap();
    let (found, mut damaged) = store.list(&ListFilter::default()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].snapshot_id, good.snapshot_id);
    damaged.sort_by_key(|(_, error)| error.kind() == ErrorKind::NewerFormat);
    assert_eq!(damaged[0].0, bad.as_str());
    assert_eq!(damaged[1].1.kind(), ErrorKind::NewerFormat);
}

#[test]
fn ids_and_unique_prefixes_name_a_snapshot() {
    let (_temp, store) = store();
    with_id(&store, "abcd000000000001");
    with_id(&store, "abcd000000000002");
    with_id(&store, "ffff000000000003");
    let named = |text: &str| match store.resolve(text).unwrap() {
        Selection::Snapshot(id) => id.to_string(),
        Selection::Batch(..) => panic!("{text} named a batch"),
    };
    assert_eq!(named("ffff000000000003"), "ffff000000000003");
    assert_eq!(named("ffff"), "ffff000000000003");
    assert_eq!(named("FFFF0"), "ffff000000000003");
    assert_eq!(named("abcd000000000002"), "abcd000000000002");
    let error = store.resolve("abcd").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Ambiguous);
    assert!(
        error
            .to_string()
            .contains("abcd000000000001, abcd000000000002")
    );
    for unknown in ["fff", "ffffe", "abcd000000000009", "no-such-batch"] {
        let error = store.resolve(unknown).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{unknown}");
        assert!(error.to_string().contains(unknown) && error.to_string().contains("deployx list"));
    }
}

#[test]
fn text_that_cannot_name_anything_is_refused() {
    let (_temp, store) = store();
    let long = "a".repeat(129);
    for bad in [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\0b",
        "a b",
        "ä",
        "*",
        long.as_str(),
    ] {
        assert_eq!(
            kind(store.resolve(bad)),
            ErrorKind::InvalidRequest,
            "{bad:?}"
        );
    }
}

#[test]
fn a_batch_gives_its_snapshots_in_the_order_of_commands() {
    let (_temp, store) = store();
    let mut expected = vec![None; 12];
    for index in [10, 2, 0, 1, 11, 3, 4, 5, 9, 8, 7, 6] {
        let meta = sealed(&store, 0, |meta| {
            meta.batch_id = Some("release-1.2".into());
            meta.command_index = Some(index);
        });
        expected[index as usize] = Some(meta.snapshot_id);
    }
    sealed(&store, 0, |meta| {
        meta.batch_id = Some("release-1.2".into());
        meta.metadata.insert(ROLLBACK_OF.into(), json!(["x"]));
    });
    let expected = expected.into_iter().flatten().collect();
    assert_eq!(
        store.resolve("release-1.2").unwrap(),
        Selection::Batch("release-1.2".into(), expected)
    );
}

#[test]
fn a_batch_that_looks_like_a_prefix_is_ambiguous() {
    let (_temp, store) = store();
    with_id(&store, "2026000000000001");
    sealed(&store, 0, |meta| meta.batch_id = Some("2026".into()));
    assert_eq!(kind(store.resolve("2026")), ErrorKind::Ambiguous);
    assert!(store.resolve("20260").is_ok());
}

#[test]
fn last_is_the_newest_that_can_be_undone() {
    let (_temp, store) = store();
    assert_eq!(kind(store.resolve("last")), ErrorKind::NotFound);
    let expected = at(&store, 1.0).snapshot_id;
    sealed(&store, 0, |meta| {
        meta.timestamp = 2.0;
        meta.metadata.insert(ROLLBACK_OF.into(), json!("x"));
    });
    let undone = at(&store, 3.0).snapshot_id;
    store
        .update(&undone, &mut |meta| meta.state = SnapshotState::RolledBack)
        .unwrap();
    begin(&store, "false").fail("test").unwrap();
    let _running = begin(&store, "sleep");
    assert_eq!(
        store.resolve("last").unwrap(),
        Selection::Snapshot(expected)
    );
}

#[test]
fn total_bytes_adds_up_what_is_recorded() {
    let (_temp, store) = store();
    assert_eq!(store.total_bytes().unwrap(), 0);
    sealed(&store, 3, |_| {});
    sealed(&store, 2, |_| {});
    assert_eq!(store.total_bytes().unwrap(), 40);
}

#[test]
fn a_read_only_store_can_be_listed() {
    let (_temp, store) = store();
    let id = at(&store, 1.0).snapshot_id;
    // As root permissions do not stop the index; the point is that nothing depends on it.
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let looking = StoreOptions {
        create: false,
        ..options()
    };
    let again = Store::open(store.path(), looking).unwrap();
    assert_eq!(all(&again)[0].snapshot_id, id);
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(names(store.path()).contains(&"format".to_owned()));
}
