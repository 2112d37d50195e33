//! One strategy on one filesystem: the fixture, a store, and the program under test.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine as _;
use serde_json::Value;

use crate::common::{Keeps, Site, fixture_of, rsync_differences, shell, text};
use crate::judge::State;
use crate::keeps;
use crate::volumes::{Filesystem, Place};

/// Where a cell's store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreAt {
    /// On the volume of the tree.
    SameVolume,
    /// On another one.
    OtherVolume,
}

/// A tree on a volume with a store, worked on with one strategy.
pub(crate) struct Cell {
    pub(crate) strategy: &'static str,
    pub(crate) keeps: Keeps,
    pub(crate) site: Site,
    /// The state after the last command, for judging a redo.
    after: PathBuf,
    /// Where the store is if not on the volume. Dropped before the place.
    _elsewhere: Option<tempfile::TempDir>,
    pub(crate) place: Place,
}

impl Cell {
    /// With an empty tree.
    pub(crate) fn empty(strategy: &'static str, kind: Filesystem, store: StoreAt) -> Self {
        Self::with(strategy, kind, store, |_, _| {})
    }

    /// With the fixture in the tree, and a copy of it.
    pub(crate) fn fixture(strategy: &'static str, kind: Filesystem, store: StoreAt) -> Self {
        let cell = Self::with(strategy, kind, store, |tree, keeps| {
            // An overlay's lower layer does not keep its names together when one is written to.
            let hard_links = keeps.hard_links && kind != Filesystem::Overlay;
            fixture_of(
                tree,
                &Keeps {
                    hard_links,
                    ..*keeps
                },
            );
        });
        if kind == Filesystem::Overlay {
            shell(
                &cell.site.tree,
                "ln docs/binary docs/hard; ln docs/binary hard2",
            );
        }
        cell.site.remember();
        cell
    }

    fn with(
        strategy: &'static str,
        kind: Filesystem,
        store: StoreAt,
        plant: impl FnOnce(&Path, &Keeps),
    ) -> Self {
        let mut measured = None;
        let place = Place::new(kind, |tree| {
            plant(
                tree,
                measured.insert(keeps::measure(tree.parent().expect("a directory"))),
            );
        });
        let keeps = keeps::measure(&place.root);
        // Such filesystems keep files that are deleted while they are open under another name, and
        // with them their directories: no place for a store.
        let elsewhere = match store {
            StoreAt::SameVolume if kind != Filesystem::Bind => None,
            _ => Some(tempfile::tempdir().expect("a directory")),
        };
        let store = elsewhere.as_ref().map_or(&*place.root, |d| d.path());
        Self {
            strategy,
            keeps,
            site: Site::at(&place.root, &store.join("store")),
            after: place.root.join("after"),
            _elsewhere: elsewhere,
            place,
        }
    }

    /// Runs a line that has to work and gives the report.
    pub(crate) fn run(&self, line: &str) -> Value {
        self.run_with(&[], line)
    }

    /// The same with further options.
    pub(crate) fn run_with(&self, options: &[&str], line: &str) -> Value {
        // A line may lead to other volumes, where the strategy need not work.
        let strategies = format!("{},auto", self.strategy);
        let mut arguments = vec!["run", "--strategy", &strategies, "--cwd"];
        arguments.push(self.site.tree.to_str().expect("a name"));
        arguments.extend(options);
        // The command's own output goes to standard error.
        let output = self
            .site
            .deployx()
            .args(&arguments)
            .args(["--json", "--", line])
            .output()
            .expect("deployx run");
        assert!(output.status.success(), "{line}: {}", text(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert_eq!(self.used(&report), self.strategy, "{report:#}");
        report
    }

    /// The strategy that was used on the volume of the tree.
    fn used(&self, report: &Value) -> String {
        let uses = report["strategies"].as_array().expect("strategies");
        let volume = |used: &Value| used["volume"].as_str().map(ToOwned::to_owned);
        let here = uses
            .iter()
            .filter(|used| volume(used).is_some_and(|at| self.site.tree.starts_with(at)))
            .max_by_key(|used| volume(used).map(|at| at.len()));
        here.and_then(|used| used["strategy"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    /// The id in a report.
    pub(crate) fn id(report: &Value) -> String {
        report["snapshot_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no snapshot: {report:#}"))
            .to_owned()
    }

    /// Rolls back, fails unless that worked completely, and gives the id that takes it back.
    pub(crate) fn rollback(&self, arguments: &[&str]) -> String {
        let output = self.try_rollback(arguments);
        assert!(output.status.success(), "{}", text(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        let id = report["redo_snapshot_id"].as_str();
        id.unwrap_or_else(|| panic!("nothing to take it back with: {report:#}"))
            .to_owned()
    }

    /// Rolls back.
    pub(crate) fn try_rollback(&self, arguments: &[&str]) -> Output {
        let mut command = self.site.deployx();
        command
            .arg("rollback")
            .args(arguments)
            .args(["--yes", "--json"]);
        command.output().expect("deployx rollback")
    }

    /// Fails unless the tree is as it was when it was remembered.
    pub(crate) fn assert_as_before(&self, before: &State, what: &str) {
        let differences = rsync_differences(&self.site.copy, &self.site.tree);
        assert_eq!(differences, "", "{what}");
        let differences = before.differences(&State::of(&self.site.tree));
        assert_eq!(differences, "", "{what}");
    }

    /// Runs a line on the tree, checks what is reported, takes it back, and back and forth again.
    pub(crate) fn undoes(&self, line: &str) {
        let before = State::of(&self.site.tree);
        let report = self.run(line);
        assert_eq!(report["coverage"]["complete"], true, "{report:#}");
        let after = State::of(&self.site.tree);
        let changed = before.changed(&after);
        assert!(
            !changed.is_empty(),
            "{line} changed nothing, so it proves nothing"
        );
        let id = Self::id(&report);
        self.assert_reported(&id, &changed);
        copy(&self.site.tree, &self.after);
        let redo = self.rollback(&[&id]);
        self.assert_as_before(&before, "after the rollback");
        let undo = self.rollback(&[&redo]);
        let found = rsync_differences(&self.after, &self.site.tree);
        assert_eq!(found, "", "after the rollback of the rollback");
        let found = after.differences(&State::of(&self.site.tree));
        assert_eq!(found, "", "after the rollback of the rollback");
        self.rollback(&[&undo]);
        self.assert_as_before(&before, "after the third rollback");
    }

    /// Fails unless the snapshot names exactly the entries that other programs see changed.
    fn assert_reported(&self, id: &str, changed: &BTreeSet<Vec<u8>>) {
        let shown = self.site.json(&["show", id]);
        let mut reported = BTreeSet::new();
        for entry in shown["entries"].as_array().expect("entries") {
            if entry["change"] != "incidental" {
                reported.insert(relative(&self.site.tree, &entry["path"]));
            }
        }
        // A file is known by every spelling of its name there.
        let fold = |names: &BTreeSet<Vec<u8>>| -> BTreeSet<Vec<u8>> {
            let spelling = |name: &Vec<u8>| {
                if self.keeps.case {
                    name.clone()
                } else {
                    name.to_ascii_lowercase()
                }
            };
            names.iter().map(spelling).collect()
        };
        let (changed, reported) = (fold(changed), fold(&reported));
        let names = |set: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
            set.map(|n| n.escape_ascii().to_string()).collect()
        };
        let missing = names(&mut changed.difference(&reported));
        let surplus = names(&mut reported.difference(&changed));
        assert!(
            missing.is_empty() && surplus.is_empty(),
            "changed but not reported: {missing:?}; reported but not changed: {surplus:?}"
        );
    }
}

/// A path of a report as the judges give it.
fn relative(tree: &Path, path: &Value) -> Vec<u8> {
    let bytes = match path {
        Value::String(text) => text.clone().into_bytes(),
        other => {
            let text = other["bytes"].as_str().expect("a path");
            let decoded = base64::engine::general_purpose::STANDARD.decode(text);
            decoded.expect("base64")
        }
    };
    let root = tree.as_os_str().as_bytes();
    let rest = bytes.strip_prefix(root);
    let rest = rest.unwrap_or_else(|| panic!("{} is not in the tree", bytes.escape_ascii()));
    [b".", rest].concat()
}

/// An exact copy.
pub(crate) fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let done = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .output();
    let done = done.expect("cp");
    assert!(done.status.success(), "{}", text(&done));
}
