//! What crashes leave, instant by instant.

use std::fs;
use std::path::Path;

use crate::progress::Silent;
use crate::store::ExpiryPlan;
use crate::store::testing::{begin, fill, json, names, record, sealed, store};
use crate::store::{ListFilter, OpenSnapshot, SnapshotId, SnapshotState, Store};

const ID: &str = "00000000deadbeef";

/// Dies: the lock is let go of, everything else stays as it is.
fn crash(open: OpenSnapshot) -> SnapshotId {
    let id = open.id().clone();
    drop(open);
    id
}

fn is_listed(store: &Store) -> bool {
    let (found, damaged) = store.list(&ListFilter::default()).unwrap();
    !found.is_empty() || !damaged.is_empty()
}

/// Runs the sweep that goes with every cleanup.
fn sweep(store: &Store) {
    store.expire(&ExpiryPlan::default(), &Silent).unwrap();
}

fn assert_nothing_left(store: &Store, case: &str) {
    let mut left = names(store.path());
    left.retain(|name| !name.starts_with("index.sqlite"));
    assert_eq!(
        left,
        ["baseline", "format", "lock", "open", "rollback"],
        "{case}"
    );
    assert!(names(&store.path().join("open")).is_empty(), "{case}");
}

#[test]
fn a_dead_capture_is_found_once_and_can_be_sealed() {
    let (_temp, store) = store();
    let mut open = begin(&store, "rm files");
    open.update(|meta| {
        meta.state = SnapshotState::Captured;
        meta.capture_tokens = vec![("copy".into(), "AAAA".into())];
    })
    .unwrap();
    fill(&open.files_dir(), 1);
    let id = crash(open);
    let mut found = store.interrupted().unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id(), &id);
    assert_eq!(found[0].meta().capture_tokens[0].1, "AAAA");
    // It is locked for whoever took it up.
    assert!(store.interrupted().unwrap().is_empty());
    assert_eq!(store.running().unwrap(), std::slice::from_ref(&id));
    found.remove(0).seal(&record(1), |_| {}).unwrap();
    assert!(store.interrupted().unwrap().is_empty());
    assert!(store.running().unwrap().is_empty());
    assert_eq!(store.record(&id).unwrap(), record(1));
}

#[test]
fn a_live_capture_is_running_and_not_interrupted() {
    let (_temp, store) = store();
    let open = begin(&store, "sleep 1");
    assert!(store.interrupted().unwrap().is_empty());
    assert_eq!(store.running().unwrap(), [open.id().clone()]);
}

#[test]
fn a_crash_at_any_step_of_begin_is_swept_and_never_listed() {
    type Step = fn(&Path);
    let steps: [(&str, Step); 6] = [
        ("directory", |root| {
            fs::create_dir(root.join(ID)).unwrap();
        }),
        ("lock", |root| {
            fs::write(root.join(ID).join("lock"), "").unwrap();
        }),
        ("holder", |root| {
            fs::write(root.join(ID).join("lock"), "4194304\n").unwrap();
        }),
        ("files", |root| {
            fs::create_dir(root.join(ID).join("files")).unwrap();
        }),
        ("marker", |root| {
            fs::write(root.join("open").join(ID), "").unwrap();
        }),
        ("temporary", |root| {
            fs::write(root.join(format!(".{ID}.json.tmp")), "{\"chec").unwrap();
        }),
    ];
    for count in 1..=steps.len() {
        let (_temp, store) = store();
        let case = steps[count - 1].0;
        for (_, step) in &steps[..count] {
            step(store.path());
        }
        assert!(!is_listed(&store), "{case}");
        assert!(store.interrupted().unwrap().is_empty(), "{case}");
        assert!(!is_listed(&store), "{case}");
        sweep(&store);
        assert_nothing_left(&store, case);
    }
}

#[test]
fn metadata_that_never_reached_the_disk_is_swept() {
    for torn in [
        Vec::new(),
        vec![0; 900],
        [b"{\"checksum\":\"".as_slice(), &[0; 700]].concat(),
    ] {
        let (_temp, store) = store();
        let id = crash(begin(&store, "true"));
        fs::write(json(&store, &id), torn).unwrap();
        assert!(store.interrupted().unwrap().is_empty());
        assert_nothing_left(&store, "torn");
    }
}

#[test]
fn damaged_metadata_of_a_capture_is_kept_and_named() {
    let (_temp, store) = store();
    let id = crash(begin(&store, "true"));
    let healthy = crash(begin(&store, "true"));
    let mut bytes = fs::read(json(&store, &id)).unwrap();
    bytes[200] ^= 1;
    fs::write(json(&store, &id), bytes).unwrap();
    let found: Vec<_> = store.interrupted().unwrap();
    assert_eq!(found.len(), 1, "the healthy one is recovered all the same");
    assert_eq!(found[0].id(), &healthy);
    let (_, damaged) = store.list(&ListFilter::default()).unwrap();
    assert_eq!(damaged[0].0, id.as_str());
}

#[test]
fn a_marker_that_outlived_its_snapshots_seal_is_removed() {
    let (_temp, store) = store();
    let meta = sealed(&store, 1, |_| {});
    let marker = store.path().join("open").join(meta.snapshot_id.as_str());
    fs::write(&marker, "").unwrap();
    assert!(store.interrupted().unwrap().is_empty());
    assert!(!marker.exists());
    assert_eq!(store.meta(&meta.snapshot_id).unwrap(), meta);
}

#[test]
fn a_marker_of_nothing_and_foreign_names_do_no_harm() {
    let (_temp, store) = store();
    fs::write(store.path().join("open").join(ID), "").unwrap();
    fs::write(store.path().join("open/README"), "").unwrap();
    assert!(store.running().unwrap().is_empty());
    assert!(store.interrupted().unwrap().is_empty());
    assert_eq!(names(&store.path().join("open")), ["README"]);
}

#[test]
fn a_captured_snapshot_that_lost_its_directory_is_still_given_back() {
    let (_temp, store) = store();
    let mut open = begin(&store, "true");
    open.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    let id = crash(open);
    fs::remove_dir_all(store.path().join(id.as_str())).unwrap();
    let found = store.interrupted().unwrap();
    assert_eq!(found[0].id(), &id);
    assert!(found[0].files_dir().is_dir());
}

#[test]
fn a_crash_while_the_manifest_is_written_is_overcome() {
    let (_temp, store) = store();
    let mut open = begin(&store, "rm a");
    open.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    fill(&open.files_dir(), 2);
    let id = crash(open);
    let directory = store.path().join(id.as_str());
    fs::write(directory.join(".manifest.tmp"), "half").unwrap();
    fs::write(directory.join("manifest"), "of an earlier try").unwrap();
    let open = store.interrupted().unwrap().remove(0);
    open.seal(&record(2), |_| {}).unwrap();
    assert_eq!(store.record(&id).unwrap(), record(2));
    assert_eq!(names(&directory), ["files", "lock", "manifest"]);
}

#[test]
fn a_crash_between_the_steps_of_a_deletion_leaves_an_orphan_that_is_swept() {
    let (_temp, store) = store();
    let id = sealed(&store, 5, |_| {}).snapshot_id;
    fs::remove_file(json(&store, &id)).unwrap();
    assert!(!is_listed(&store));
    sweep(&store);
    assert_nothing_left(&store, "orphan");
}

#[test]
fn the_sweep_spares_what_is_alive_marked_or_not_the_stores() {
    let (_temp, store) = store();
    let live = begin(&store, "true");
    let sealed = sealed(&store, 1, |_| {}).snapshot_id;
    // A snapshot that is being deleted by a live process: no metadata, no marker, lock held.
    let doomed = begin(&store, "true");
    fs::remove_file(json(&store, doomed.id())).unwrap();
    fs::remove_file(store.path().join("open").join(doomed.id().as_str())).unwrap();
    // A file and a link with names like an orphan's.
    fs::write(store.path().join(ID), "").unwrap();
    std::os::unix::fs::symlink("/etc", store.path().join("00000000deadbee0")).unwrap();
    sweep(&store);
    assert!(live.files_dir().is_dir());
    assert!(store.files_dir(&sealed).is_dir());
    assert!(doomed.files_dir().is_dir());
    assert!(store.path().join(ID).exists());
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_leftover_of_an_update_is_overwritten_by_the_next() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |_| {}).snapshot_id;
    let temporary = store.path().join(format!(".{id}.json.tmp"));
    fs::write(&temporary, "half").unwrap();
    store.update(&id, &mut |meta| meta.pinned = true).unwrap();
    assert!(!temporary.exists());
    assert!(store.meta(&id).unwrap().pinned);
}
