//! Rollbacks of snapshots in a store, and what is left of interrupted ones.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::fault::testing::After;
use super::super::run::rollback_until;
use super::super::{RollbackReport, RollbackSpec, resume, rollback};
use super::world::{Scan, World, assert_same};
use crate::error::ErrorKind;
use crate::execute::Cancel;
use crate::path::WirePath;
use crate::progress::Silent;
use crate::request::OnConflict;
use crate::store::{ListFilter, SnapshotId, SnapshotMeta, SnapshotState, Store, StoreOptions};

struct Host {
    world: World,
    store: Store,
}

impl Host {
    fn new() -> Self {
        let world = World::new();
        let path = world.root.as_path().parent().unwrap().join("store");
        let options = StoreOptions {
            create: true,
            key: None,
            lock_timeout: Duration::from_secs(20),
        };
        let store = Store::open(&path, options).unwrap();
        Self { world, store }
    }

    /// Runs a command with a snapshot around it.
    fn run(&self, command: impl FnOnce()) -> SnapshotId {
        let source = self.world.snapshot(command);
        let mut open = self.store.begin(self.meta()).unwrap();
        open.update(|meta| meta.state = SnapshotState::Captured)
            .unwrap();
        for entry in fs::read_dir(self.world.files(&source.id)).unwrap() {
            let from = entry.unwrap().path();
            let name = from.file_name().unwrap().to_owned();
            fs::copy(&from, Path::new(&open.files_dir()).join(name)).unwrap();
        }
        open.seal(&source.record, |_| {}).unwrap().snapshot_id
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            monitored_paths: vec![self.world.root.clone()],
            ..SnapshotMeta::new(
                WirePath::Text("test".into()),
                "bash",
                self.world.root.clone(),
            )
        }
    }

    fn undo(&self, spec: &RollbackSpec) -> RollbackReport {
        rollback(&self.store, spec, &Cancel::default(), &Silent).unwrap()
    }

    fn state(&self, id: &SnapshotId) -> SnapshotState {
        self.store.meta(id).unwrap().state
    }

    fn journals(&self) -> usize {
        let names = fs::read_dir(self.store.rollback_dir()).unwrap();
        names
            .filter(|n| n.as_ref().unwrap().path().extension().is_some())
            .count()
    }
}

fn spec(ids: &[&SnapshotId]) -> RollbackSpec {
    RollbackSpec {
        snapshots: ids.iter().copied().cloned().collect(),
        on_conflict: OnConflict::Abort,
        paths: Vec::new(),
        dry_run: false,
    }
}

fn redo_of(report: &RollbackReport) -> SnapshotId {
    SnapshotId::parse(report.redo_snapshot_id.as_deref().unwrap()).unwrap()
}

#[test]
fn states_and_the_redo_snapshot_are_recorded() {
    let host = Host::new();
    host.world.write("file", "old");
    let before = host.world.scan();
    let id = host.run(|| host.world.write("file", "newer"));
    let after = host.world.scan();
    let report = host.undo(&spec(&[&id]));
    assert!(report.success, "{report:#?}");
    assert_same(&before, &host.world.scan());
    let redo = redo_of(&report);
    assert_eq!(host.state(&id), SnapshotState::RolledBack);
    assert_eq!(host.state(&redo), SnapshotState::Sealed);
    assert_eq!(
        host.store.meta(&id).unwrap().redo_snapshot_id.as_ref(),
        Some(&redo)
    );
    assert_eq!(host.journals(), 0);
    assert!(host.store.verify(&[], &Silent).unwrap().is_empty());
    let again = host.undo(&spec(&[&redo]));
    assert!(again.success, "{again:#?}");
    assert_same(&after, &host.world.scan());
    assert_eq!(host.state(&redo), SnapshotState::RolledBack);
    assert_eq!(host.state(&id), SnapshotState::Sealed);
}

#[test]
fn nothing_is_written_when_conflicts_abort_or_nothing_is_to_do() {
    let host = Host::new();
    host.world.write("file", "old");
    let id = host.run(|| host.world.write("file", "newer"));
    let later = host.run(|| host.world.write("file", "newest"));
    let report = host.undo(&spec(&[&id]));
    assert!(!report.success);
    let reason = format!("changed later by {later}");
    assert!(report.conflicts[0].reason.contains(&reason), "{report:#?}");
    assert_eq!(report.redo_snapshot_id, None);
    assert_eq!(host.state(&id), SnapshotState::Sealed);
    let report = host.undo(&spec(&[&later, &id]));
    assert!(report.success, "{report:#?}");
    assert_eq!(host.world.read("file"), "old");
    let count = || host.store.list(&ListFilter::default()).unwrap().0.len();
    let snapshots = count();
    let idle = host.undo(&spec(&[&id]));
    assert!(idle.success && idle.redo_snapshot_id.is_none(), "{idle:#?}");
    assert_eq!((idle.unchanged, count()), (1, snapshots));
}

#[test]
fn a_dry_run_shows_the_plan_and_changes_nothing() {
    let host = Host::new();
    let id = host.run(|| host.world.write("file", "new"));
    let mut dry = spec(&[&id]);
    dry.dry_run = true;
    let report = host.undo(&dry);
    let plan = report.plan.unwrap();
    assert_eq!(
        (plan[0].action.as_str(), &plan[0].path),
        ("remove", &host.world.abs("file"))
    );
    assert!(report.success && report.dry_run && report.removed == 1);
    assert!(host.world.exists("file"));
    assert_eq!(host.state(&id), SnapshotState::Sealed);
}

#[test]
fn part_of_a_snapshot_can_be_undone_and_the_rest_later() {
    let host = Host::new();
    let id = host.run(|| {
        host.world.write("a", "new");
        host.world.write("b", "new");
    });
    let mut part = spec(&[&id]);
    part.paths = vec![host.world.abs("a")];
    assert!(host.undo(&part).success);
    assert!(!host.world.exists("a") && host.world.exists("b"));
    assert_eq!(host.state(&id), SnapshotState::Sealed);
    assert!(host.undo(&spec(&[&id])).success);
    assert!(!host.world.exists("b"));
    assert_eq!(host.state(&id), SnapshotState::RolledBack);
}

/// A rollback that stops after `points`; gives the tree before the command, or `None` when the
/// rollback ended by itself.
fn interrupted(host: &Host, points: u64) -> (Scan, SnapshotId, bool) {
    host.world.mkdir("d/e");
    host.world.write("d/e/file", "old");
    host.world.write("changed", "old");
    let before = host.world.scan();
    let id = host.run(|| {
        fs::remove_dir_all(host.world.path("d")).unwrap();
        host.world.write("changed", "newer");
        host.world.write("created", "created");
    });
    let fault = After::new(points);
    let result = rollback_until(
        &host.store,
        &spec(&[&id]),
        &Cancel::default(),
        &Silent,
        &fault,
    );
    (before, id, result.is_ok())
}

#[test]
fn the_next_start_finishes_what_was_interrupted_anywhere() {
    for points in 0.. {
        let host = Host::new();
        let (before, id, ended) = interrupted(&host, points);
        if ended {
            assert!(points > 10);
            break;
        }
        assert_eq!(host.state(&id), SnapshotState::RollingBack);
        let error = rollback(&host.store, &spec(&[&id]), &Cancel::default(), &Silent);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Busy);
        let reports = resume(&host.store, &Silent).unwrap();
        assert!(
            reports.len() == 1 && reports[0].success,
            "{points}: {reports:#?}"
        );
        assert_same(&before, &host.world.scan());
        host.world.assert_tidy();
        assert_eq!(host.state(&id), SnapshotState::RolledBack);
        assert_eq!(host.journals(), 0);
        assert!(resume(&host.store, &Silent).unwrap().is_empty());
        assert!(host.undo(&spec(&[&redo_of(&reports[0])])).success);
        assert_eq!(host.world.read("changed"), "newer");
    }
}

#[test]
fn a_damaged_journal_is_named_and_nothing_is_touched() {
    let host = Host::new();
    interrupted(&host, 8);
    let tree = host.world.scan();
    let journal = fs::read_dir(host.store.rollback_dir())
        .unwrap()
        .map(|n| n.unwrap().path())
        .find(|p| p.extension().is_some())
        .unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let reports = resume(&host.store, &Silent).unwrap();
    assert!(!reports[0].success);
    assert_eq!(reports[0].failures[0].path.as_path(), journal);
    assert_same(&tree, &host.world.scan());
}

#[test]
fn a_redo_snapshot_without_a_journal_is_dropped() {
    let host = Host::new();
    let mut meta = host.meta();
    meta.metadata = [(
        "rollback_of".to_owned(),
        serde_json::json!(["0123456789abcdef"]),
    )]
    .into();
    drop(host.store.begin(meta).unwrap());
    assert!(resume(&host.store, &Silent).unwrap().is_empty());
    assert!(host.store.interrupted().unwrap().is_empty());
    assert!(
        host.store
            .list(&ListFilter::default())
            .unwrap()
            .0
            .is_empty()
    );
}

#[test]
fn a_cancelled_rollback_changes_nothing() {
    let host = Host::new();
    let id = host.run(|| host.world.write("file", "new"));
    let cancel = Cancel::default();
    cancel.cancel();
    let error = rollback(&host.store, &spec(&[&id]), &cancel, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(host.world.exists("file"));
    assert_eq!(host.state(&id), SnapshotState::Sealed);
    assert_eq!(host.journals(), 0);
}
