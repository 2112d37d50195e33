//! The `journal` strategy in one process that lives on from command to command: storms of changes,
//! changes by others in between, and events that are lost.

mod between;
mod lost;
mod storms;

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use deployx::AbsPath;
use deployx::engine::{Engine, EngineConfig, RunContext, RunReport};
use deployx::execute::{Cancel, Output, OutputSink, OutputStream};
use deployx::progress::Silent;
use deployx::request::{RetentionPolicy, RollbackRequest, RunRequest};
use deployx::snapshot::journal::Events;

use crate::cell::copy;
use crate::common::{differences, has_program, is_root, require, size};

/// The limits of the kernel are those of the whole machine: who changes them is alone.
static MACHINE: RwLock<()> = RwLock::new(());

fn others_may_run() -> RwLockReadGuard<'static, ()> {
    MACHINE
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How often each storm is repeated.
fn rounds() -> usize {
    size("DEPLOYX_TEST_JOURNAL_ROUNDS", 2)
}

/// How many files a storm has.
fn files() -> usize {
    size("DEPLOYX_TEST_JOURNAL_FILES", 1_500)
}

/// Where this round's events come from.
fn source(round: usize) -> Events {
    if round.is_multiple_of(2) && is_root() {
        Events::Fanotify
    } else {
        Events::Inotify
    }
}

/// Whether the judges are there.
fn judged(test: &str) -> bool {
    ["rsync", "git", "python3"]
        .iter()
        .all(|program| require(test, program, has_program(program)))
}

/// Takes what commands print.
struct Nowhere;

impl OutputSink for Nowhere {
    fn write(&self, _: OutputStream, _: &[u8]) {}
}

/// An engine that is kept, and a tree.
pub(crate) struct Bench {
    engine: Engine,
    pub(crate) tree: PathBuf,
    copy: PathBuf,
    root: PathBuf,
    keep: Option<tempfile::TempDir>,
}

impl Bench {
    fn new(events: Events) -> Self {
        let keep = tempfile::tempdir().expect("a directory");
        let root = keep.path().canonicalize().expect("its path");
        let store = root.join("store");
        let mut bench = Self::at(&root, &store, events);
        bench.keep = Some(keep);
        bench
    }

    /// With the tree in `root`, which has one already or gets one.
    fn at(root: &Path, store: &Path, events: Events) -> Self {
        let config = EngineConfig {
            events,
            ..EngineConfig::new(store)
        };
        let tree = root.join("tree");
        std::fs::create_dir_all(&tree).expect("a tree");
        Self {
            engine: Engine::open(config).expect("an engine"),
            tree,
            copy: root.join("copy"),
            root: root.to_owned(),
            keep: None,
        }
    }

    fn remember(&self) {
        copy(&self.tree, &self.copy);
    }

    /// Runs a line with the whole tree in its scope.
    fn run(&self, line: &str) -> RunReport {
        self.run_on(&self.tree, line)
    }

    /// Runs a line with all of `scope` in its scope.
    fn run_on(&self, scope: &Path, line: &str) -> RunReport {
        let cwd = AbsPath::new(&*self.tree).expect("a path");
        let mut request = RunRequest::new(line, cwd);
        request.snapshot.strategies = vec!["journal".into()];
        request.snapshot.replace_paths = vec![AbsPath::new(scope).expect("a path")];
        let cancel = Cancel::default();
        let output = Output::Stream(Arc::new(Nowhere));
        let context = RunContext::new(output, &cancel, &Silent);
        let report = self.engine.run(&request, context).expect("a run");
        assert!(report.success, "{line}: {report:#?}");
        assert_eq!(report.strategy, "journal", "{report:#?}");
        assert!(report.coverage.complete, "{line}: {:#?}", report.coverage);
        report
    }

    fn rollback(&self, report: &RunReport) {
        let id = report.snapshot_id.as_ref().expect("a snapshot");
        let request = RollbackRequest::new(id);
        let done = self.engine.rollback(&request, &Cancel::default(), &Silent);
        let done = done.expect("a rollback");
        assert!(done.success, "{done:#?}");
    }

    fn assert_as_before(&self, what: &str) {
        let found = differences(&self.copy, &self.tree);
        let lines = found.lines().count();
        assert!(
            found.is_empty(),
            "{what}: {lines} differences:\n{}",
            head(&found)
        );
    }

    /// Runs a line, takes it back, and lets the judges compare. Gives the remarks.
    fn undoes(&self, line: &str) -> Vec<String> {
        let report = self.run(line);
        let counts = report.changes;
        let changed = counts.created + counts.modified + counts.deleted + counts.metadata;
        assert!(changed > 0, "{line} changed nothing, so it proves nothing");
        self.rollback(&report);
        self.assert_as_before(line);
        self.forget_snapshots();
        report.coverage.notes
    }

    /// Hundreds of rounds would fill the volume otherwise.
    fn forget_snapshots(&self) {
        let none = RetentionPolicy {
            max_count: Some(0),
            ..RetentionPolicy::default()
        };
        let done = self.engine.cleanup(&[], &none, false, &Silent);
        done.expect("a cleanup");
    }
}

fn head(text: &str) -> String {
    text.lines().take(20).collect::<Vec<_>>().join("\n")
}
