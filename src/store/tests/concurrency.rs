//! Several threads and processes in one store.

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::progress::Silent;
use crate::request::RetentionPolicy;
use crate::store::testing::{begin, fill, options, record, sealed, store};
use crate::store::{ListFilter, SnapshotId, SnapshotState, Store};

/// Set for a copy of this test program that plays a second process.
const ROLE: &str = "DEPLOYX_TEST_STORE_ROLE";
const STORE: &str = "DEPLOYX_TEST_STORE_PATH";

/// Runs one of the roles below as another process.
fn process(role: &str, store: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::concurrency::plays_a_role_when_asked",
            "--nocapture",
        ])
        .env(ROLE, role)
        .env(STORE, store)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until `condition` holds; a test that hangs is ended by its runner.
fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Not a test by itself: what the other processes of these tests do.
#[test]
fn plays_a_role_when_asked() {
    let (Ok(role), Ok(path)) = (std::env::var(ROLE), std::env::var(STORE)) else {
        return;
    };
    let store = Store::open(Path::new(&path), options()).unwrap();
    match role.as_str() {
        "capture and hang" => {
            let mut open = begin(&store, "sleep");
            fill(&open.files_dir(), 1);
            open.update(|meta| meta.state = SnapshotState::Captured)
                .unwrap();
            loop {
                std::thread::park();
            }
        }
        "seal many" => {
            for _ in 0..20 {
                sealed(&store, 1, |_| {});
            }
        }
        "count up" => {
            let id = store
                .list(&ListFilter::default())
                .unwrap()
                .0
                .remove(0)
                .snapshot_id;
            for _ in 0..20 {
                store
                    .update(&id, &mut |meta| meta.stored_bytes += 1)
                    .unwrap();
            }
        }
        "expire everything" => {
            let policy = RetentionPolicy {
                max_age: Some(Duration::ZERO),
                ..RetentionPolicy::default()
            };
            for _ in 0..20 {
                let plan = store.plan_expiry(&policy).unwrap();
                let report = store.expire(&plan, &Silent).unwrap();
                assert!(report.failures.is_empty(), "{:?}", report.failures);
            }
        }
        other => panic!("no such role: {other}"),
    }
}

#[test]
fn a_killed_process_leaves_its_capture_to_the_next() {
    let (_temp, store) = store();
    let mut child = process("capture and hang", store.path());
    let captured = || {
        let (found, _) = store.list(&ListFilter::default()).unwrap();
        found
            .iter()
            .any(|meta| meta.state == SnapshotState::Captured)
    };
    until(captured);
    assert!(store.interrupted().unwrap().is_empty());
    let running = store.running().unwrap();
    assert_eq!(running.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(store.running().unwrap().is_empty());
    let open = store.interrupted().unwrap().remove(0);
    assert_eq!(open.id(), &running[0]);
    open.seal(&record(1), |_| {}).unwrap();
    assert!(store.verify(&[], &Silent).unwrap().is_empty());
}

#[test]
fn processes_that_seal_expire_and_list_at_once_do_not_disturb_each_other() {
    let (_temp, store) = store();
    let roles = ["seal many", "expire everything", "seal many"];
    let mut children: Vec<Child> = roles
        .iter()
        .map(|role| process(role, store.path()))
        .collect();
    let mut running = true;
    while running {
        let (_, damaged) = store.list(&ListFilter::default()).unwrap();
        assert!(damaged.is_empty(), "{damaged:?}");
        assert!(store.interrupted().unwrap().is_empty());
        assert!(store.verify(&[], &Silent).unwrap().is_empty());
        running = children
            .iter_mut()
            .any(|child| child.try_wait().unwrap().is_none());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    for meta in store.list(&ListFilter::default()).unwrap().0 {
        assert_eq!(store.record(&meta.snapshot_id).unwrap(), record(1));
    }
}

#[test]
fn no_update_of_several_processes_is_lost() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |_| {}).snapshot_id;
    let children: Vec<Child> = (0..3).map(|_| process("count up", store.path())).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(store.meta(&id).unwrap().stored_bytes, 60);
}

#[test]
fn a_pin_during_a_capture_survives_the_seal() {
    let (_temp, store) = store();
    let mut open = begin(&store, "true");
    let id = open.id().clone();
    store.update(&id, &mut |meta| meta.pinned = true).unwrap();
    open.update(|meta| meta.state = SnapshotState::Captured)
        .unwrap();
    assert!(open.meta().pinned);
    assert!(open.seal(&record(0), |_| {}).unwrap().pinned);
}

#[test]
fn threads_never_get_the_same_id_and_never_see_half_a_snapshot() {
    let (_temp, store) = store();
    let done = AtomicBool::new(false);
    let ids: Vec<SnapshotId> = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (_, damaged) = store.list(&ListFilter::default()).unwrap();
                assert!(damaged.is_empty(), "{damaged:?}");
                assert!(store.interrupted().unwrap().is_empty());
            }
        });
        let makers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| -> Vec<_> {
                    (0..10)
                        .map(|_| sealed(&store, 1, |_| {}).snapshot_id)
                        .collect()
                })
            })
            .collect();
        let ids = makers
            .into_iter()
            .flat_map(|maker| maker.join().unwrap())
            .collect();
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        ids
    });
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 40);
    assert_eq!(store.list(&ListFilter::default()).unwrap().0.len(), 40);
}

#[test]
fn a_pin_and_an_expiry_at_the_same_time_end_in_one_or_the_other() {
    for _ in 0..20 {
        let (_temp, store) = store();
        let id = sealed(&store, 1, |_| {}).snapshot_id;
        let plan = store.plan_removal(std::slice::from_ref(&id)).unwrap();
        let (pinned, report) = std::thread::scope(|scope| {
            let pin = scope.spawn(|| store.update(&id, &mut |meta| meta.pinned = true));
            let expire = scope.spawn(|| store.expire(&plan, &Silent).unwrap());
            (pin.join().unwrap(), expire.join().unwrap())
        });
        assert_eq!(pinned.is_ok(), report.expired.is_empty());
        assert_eq!(store.meta(&id).is_ok(), pinned.is_ok());
        assert!(store.verify(&[], &Silent).unwrap().is_empty());
        assert_eq!(store.path().join(id.as_str()).exists(), pinned.is_ok());
    }
}
