//! Expiry on disk.

use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::progress::{Event, Phase, Silent};
use crate::request::RetentionPolicy;
use crate::store::testing::{begin, json, names, options, sealed, store};
use crate::store::{ExpiryPlan, ListFilter, SnapshotId, SnapshotMeta, SnapshotState, Store, clock};
use crate::sys::durable::faults;

/// Everything, however young.
fn everything() -> RetentionPolicy {
    RetentionPolicy {
        max_age: Some(Duration::ZERO),
        ..RetentionPolicy::default()
    }
}

fn ids(plan: &ExpiryPlan) -> Vec<SnapshotId> {
    plan.expire
        .iter()
        .map(|one| one.snapshot_id.clone())
        .collect()
}

fn kept(store: &Store, id: &SnapshotId) -> String {
    let plan = store.plan_removal(std::slice::from_ref(id)).unwrap();
    let report = store.expire(&plan, &Silent).unwrap();
    assert!(report.expired.is_empty() && report.failures.is_empty());
    assert!(store.meta(id).is_ok());
    report.kept[0].1.clone()
}

#[test]
fn an_expired_snapshot_is_gone_and_its_bytes_are_reported() {
    let (_temp, store) = store();
    let before = names(store.path());
    sealed(&store, 3, |_| {});
    sealed(&store, 2, |_| {});
    let seen = Mutex::new(Vec::new());
    let progress = |event: Event| seen.lock().unwrap().push(event);
    let plan = store.plan_expiry(&everything()).unwrap();
    let report = store.expire(&plan, &progress).unwrap();
    assert_eq!(report.expired, plan.expire);
    assert_eq!(report.freed_bytes, 40);
    let mut left = names(store.path());
    left.retain(|name| !name.starts_with("index.sqlite"));
    assert_eq!(left, before);
    let seen = seen.into_inner().unwrap();
    assert!(matches!(
        seen[0],
        Event::Begin {
            phase: Phase::Expire,
            total: Some(2)
        }
    ));
    assert!(matches!(seen[1], Event::Advance { by: 2 }));
    assert!(matches!(seen[2], Event::End));
}

#[test]
fn a_plan_changes_nothing() {
    let (_temp, store) = store();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    assert_eq!(
        ids(&store.plan_expiry(&everything()).unwrap()),
        std::slice::from_ref(&id)
    );
    assert_eq!(
        ids(&store.plan_removal(&[id.clone(), id.clone()]).unwrap()),
        std::slice::from_ref(&id)
    );
    assert!(store.record(&id).is_ok());
}

#[test]
fn pinned_unfinished_and_rolling_back_ones_never_go() {
    let (_temp, store) = store();
    let pinned = sealed(&store, 0, |meta| meta.pinned = true).snapshot_id;
    let rolling = sealed(&store, 0, |_| {}).snapshot_id;
    store
        .update(&rolling, &mut |meta| {
            meta.state = SnapshotState::RollingBack;
        })
        .unwrap();
    let interrupted = begin(&store, "x").id().clone();
    assert!(store.plan_expiry(&everything()).unwrap().expire.is_empty());
    assert_eq!(kept(&store, &pinned), "pinned");
    assert!(kept(&store, &rolling).contains("rollback"));
    assert!(kept(&store, &interrupted).contains("not recovered"));
    assert_eq!(store.interrupted().unwrap().len(), 1);
}

#[test]
fn one_in_use_is_left_out_of_the_plan_and_kept_by_its_execution() {
    let (_temp, store) = store();
    let (old, young) = (sealed(&store, 0, |_| {}), sealed(&store, 0, |_| {}));
    let policy = RetentionPolicy {
        max_count: Some(1),
        ..RetentionPolicy::default()
    };
    let plan = store.plan_expiry(&policy).unwrap();
    assert_eq!(ids(&plan), std::slice::from_ref(&old.snapshot_id));
    let in_use = store.acquire(&old.snapshot_id).unwrap();
    assert_eq!(
        ids(&store.plan_expiry(&policy).unwrap()),
        [young.snapshot_id]
    );
    assert!(kept(&store, &old.snapshot_id).contains(&std::process::id().to_string()));
    drop(in_use);
    let _reading = store.acquire_shared(&old.snapshot_id).unwrap();
    assert!(kept(&store, &old.snapshot_id).contains("in use"));
}

#[test]
fn one_that_was_pinned_after_the_plan_is_kept() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |_| {}).snapshot_id;
    let plan = store.plan_expiry(&everything()).unwrap();
    store.update(&id, &mut |meta| meta.pinned = true).unwrap();
    let report = store.expire(&plan, &Silent).unwrap();
    assert_eq!(report.kept, [(id, "pinned".to_owned())]);
}

#[test]
fn a_plan_carried_out_twice_finds_nothing_the_second_time() {
    let (_temp, store) = store();
    sealed(&store, 1, |_| {});
    let plan = store.plan_expiry(&everything()).unwrap();
    assert_eq!(store.expire(&plan, &Silent).unwrap().expired.len(), 1);
    let again = store.expire(&plan, &Silent).unwrap();
    assert!(again.expired.is_empty() && again.kept.is_empty() && again.failures.is_empty());
}

#[test]
fn a_damaged_snapshot_goes_only_by_name() {
    let (_temp, store) = store();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    fs::write(json(&store, &id), "{}").unwrap();
    assert!(store.plan_expiry(&everything()).unwrap().expire.is_empty());
    fs::remove_dir_all(store.path().join(id.as_str())).unwrap();
    let plan = store.plan_removal(std::slice::from_ref(&id)).unwrap();
    assert_eq!(store.expire(&plan, &Silent).unwrap().expired.len(), 1);
    assert!(!store.path().join(id.as_str()).exists());
}

#[test]
fn a_snapshot_of_a_newer_format_is_never_deleted() {
    let (_temp, store) = store();
    let id = sealed(&store, 0, |_| {}).snapshot_id;
    let plan = store.plan_removal(std::slice::from_ref(&id)).unwrap();
    fs::write(json(&store, &id), "{\"format_version\":9}").unwrap();
    let error = store.plan_removal(std::slice::from_ref(&id)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    assert_eq!(store.expire(&plan, &Silent).unwrap().kept.len(), 1);
    assert!(json(&store, &id).exists());
}

#[test]
fn an_unknown_snapshot_cannot_be_planned() {
    let (_temp, store) = store();
    let error = store.plan_removal(&[SnapshotId::random()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn content_stays_when_the_deletion_cannot_be_made_durable() {
    let (_temp, store) = store();
    let id = sealed(&store, 2, |_| {}).snapshot_id;
    let plan = store.plan_expiry(&everything()).unwrap();
    faults::fail_sync(0);
    let report = store.expire(&plan, &Silent).unwrap();
    assert_eq!(report.failures.len(), 1);
    assert!(store.files_dir(&id).join("00000001").exists());
}

#[test]
fn links_in_a_snapshots_directory_are_removed_and_not_followed() {
    let (temp, store) = store();
    let outside = temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "").unwrap();
    let id = sealed(&store, 1, |_| {}).snapshot_id;
    std::os::unix::fs::symlink(&outside, store.files_dir(&id).join("link")).unwrap();
    let other = sealed(&store, 1, |_| {}).snapshot_id;
    fs::remove_dir_all(store.files_dir(&other)).unwrap();
    std::os::unix::fs::symlink(&outside, store.files_dir(&other)).unwrap();
    let plan = store.plan_expiry(&everything()).unwrap();
    assert_eq!(store.expire(&plan, &Silent).unwrap().expired.len(), 2);
    assert!(outside.join("precious").exists());
}

#[test]
fn a_wall_clock_in_the_future_expires_nothing_of_this_boot() {
    let (_temp, store) = store();
    sealed(&store, 0, |meta| meta.timestamp = 1.0);
    let policy = RetentionPolicy {
        max_age: Some(Duration::from_secs(3600)),
        ..RetentionPolicy::default()
    };
    // By the wall clock it is decades old, by the boot's clock it was taken just now.
    if clock::since_boot().is_some() {
        assert!(store.plan_expiry(&policy).unwrap().expire.is_empty());
    }
}

#[test]
fn more_than_one_group_goes() {
    let (_temp, store) = store();
    let store = Store::open(store.path(), options()).unwrap();
    for _ in 0..70 {
        sealed(&store, 0, |_: &mut SnapshotMeta| {});
    }
    let plan = store.plan_expiry(&everything()).unwrap();
    assert_eq!(store.expire(&plan, &Silent).unwrap().expired.len(), 70);
    assert!(store.list(&ListFilter::default()).unwrap().0.is_empty());
}
