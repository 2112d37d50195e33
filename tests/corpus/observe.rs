//! One line: the rules' answer beside what it touches.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use deployx::AbsPath;
use deployx::engine::{EngineConfig, Rules};
use deployx::infer::Scope;
use deployx::request::ShellName;

use crate::common::{self, Site};
use crate::cover::{self, Cover};
use crate::lines::Line;
use crate::score::Score;
use crate::tree::{self, Template, Tree};
use crate::walk::Walk;

/// Asks the rules, runs the line where it can be run, and compares.
pub(crate) fn score(template: &Template, line: &Line) -> Score {
    let keep = tree::directory();
    let root = keep.path().canonicalize().expect("its physical path");
    let tree = template.place(&root.join("tree"), line);
    let rules = rules(&tree);
    let command = tree.fill(&line.command);
    let started = Instant::now();
    let scope = rules.infer(
        &ShellName::new("bash"),
        OsStr::new(&command),
        tree.cwd().as_os_str(),
    );
    let took = started.elapsed();
    let cover = Cover::new(&scope);
    let mut score = Score::new(line, &scope);
    score.took = took;
    if line.observe {
        let before = Walk::new(&tree.root);
        tree.run(&line.command);
        let after = Walk::new(&tree.root);
        let touched = after.touched_since(&before, &tree.temporary());
        score.ratio = Some(ratio(&tree, &cover, &before, &after, &touched));
        compare(&mut score, &tree, &cover, &touched);
    } else {
        let touched = line
            .touches
            .iter()
            .map(|path| cover::physical(&tree.root.join(path)).0)
            .collect();
        compare(&mut score, &tree, &cover, &touched);
    }
    score
}

fn compare(score: &mut Score, tree: &Tree, cover: &Cover, touched: &BTreeSet<PathBuf>) {
    score.touched = touched.len();
    score.missed = touched
        .iter()
        .filter(|path| !cover.covers(path))
        .map(|path| path.strip_prefix(&tree.root).unwrap_or(path).to_owned())
        .collect();
}

/// The rules with the environment that the line will find.
fn rules(tree: &Tree) -> Rules {
    let mut config = EngineConfig::new(tree.root.join("no-store"));
    config.home = Some(AbsPath::new(tree.root.join("home")).expect("a home"));
    config.environment = tree.environment();
    Rules::new(&config).expect("rules")
}

/// Entries covered for each entry that has to be: those touched, the directories they are in, and
/// the working directory.
fn ratio(
    tree: &Tree,
    cover: &Cover,
    before: &Walk,
    after: &Walk,
    touched: &BTreeSet<PathBuf>,
) -> f64 {
    let mut minimal: BTreeSet<&Path> = touched.iter().map(PathBuf::as_path).collect();
    minimal.extend(touched.iter().filter_map(|path| path.parent()));
    let cwd = tree.cwd();
    minimal.insert(&cwd);
    let entries: BTreeSet<&PathBuf> = before.paths().chain(after.paths()).collect();
    let covered = entries.iter().filter(|path| cover.covers(path)).count();
    (covered + cover.outside(&tree.root)) as f64 / minimal.len() as f64
}

/// What became of a line that was run under DeployX and rolled back.
pub(crate) enum Undone {
    /// It was rolled back.
    Differs {
        /// What is not as it was before; empty: nothing.
        differences: String,
        /// The rules said that they understood the line.
        understood: bool,
    },
    /// The scope has this path outside the tree. A rollback would take back what anybody else did
    /// there in the meantime, so the line is left alone.
    LeadsOut(PathBuf),
}

/// Runs the line under DeployX and rolls it back, if all of its scope lies within the tree.
pub(crate) fn undo(template: &Template, line: &Line) -> Undone {
    let keep = tree::directory();
    let root = keep.path().canonicalize().expect("its physical path");
    let site = Site::at(&root, &root.join("store"));
    let tree = template.place(&site.tree, line);
    let command = tree.fill(&line.command);
    let shell = ShellName::new("bash");
    let scope = rules(&tree).infer(&shell, OsStr::new(&command), tree.cwd().as_os_str());
    if let Some(path) = Cover::new(&scope).leads_out(&root) {
        return Undone::LeadsOut(path);
    }
    site.remember();
    let within = |arguments: &[&str]| {
        let mut deployx = site.deployx();
        deployx.args(arguments).env_clear().envs(tree.environment());
        deployx.env("NO_COLOR", "1").stdin(Stdio::null());
        deployx
    };
    let ran = within(&["run", "--json", "--shell", "bash", "--cwd"])
        .arg(tree.cwd())
        .args(["--", &command])
        .output()
        .expect("deployx run");
    // Once more, from what was really secured.
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout)
        .unwrap_or_else(|e| panic!("{command}: no report ({e}): {}", common::text(&ran)));
    if let Some(path) = secured(&report).find(|path| !path.starts_with(&root)) {
        return Undone::LeadsOut(path);
    }
    let undone = within(&["rollback", "last", "--yes"])
        .output()
        .expect("deployx rollback");
    forget_passing(&site, &tree);
    let mut differences = common::differences(&site.copy, &site.tree);
    if !undone.status.success() {
        differences.push_str(&common::text(&ran));
        differences.push_str(&common::text(&undone));
    }
    Undone::Differs {
        differences,
        understood: scope.not_understood.is_empty(),
    }
}

/// The paths that a report of `run` says were secured.
fn secured(report: &serde_json::Value) -> impl Iterator<Item = PathBuf> + '_ {
    let paths = report["monitored_paths"].as_array();
    let paths = paths.unwrap_or_else(|| panic!("no monitored paths in {report}"));
    paths.iter().map(|path| {
        let text = path.as_str();
        PathBuf::from(text.unwrap_or_default())
    })
}

/// What passed through the directory for temporary files has left its mark on that one's times,
/// which matters to nobody.
fn forget_passing(site: &Site, tree: &Tree) {
    let reset = Command::new("touch")
        .arg("-r")
        .arg(site.copy.join("tmp"))
        .arg(tree.temporary())
        .status();
    assert!(reset.expect("touch").success());
}

/// The parts that were not understood, with their reasons.
pub(crate) fn reasons(scope: &Scope) -> Vec<String> {
    scope
        .not_understood
        .iter()
        .map(|part| format!("{}: {}", part.text, part.reason))
        .collect()
}
