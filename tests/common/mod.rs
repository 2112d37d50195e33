//! What the campaigns share: a fixture tree, the program under test, and an independent judge.
#![allow(dead_code, unreachable_pub, unused_imports)]

mod fixture;

pub use fixture::{Keeps, fixture, fixture_of};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The program under test.
pub fn deployx() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deployx"));
    command
        .env_remove("DEPLOYX_SNAPSHOT_DIR")
        .env_remove("DEPLOYX_CONFIG")
        .env("NO_COLOR", "1");
    command
}

/// A size from the environment, for campaigns that can be made longer.
pub fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// Whether the test may go on; says loudly when not, so that a run shows what it left out.
pub fn require(test: &str, what: &str, there: bool) -> bool {
    if !there {
        println!("SKIPPED {test}: needs {what}");
    }
    there
}

/// Whether this process is the administrator.
pub fn is_root() -> bool {
    rustix_geteuid() == 0
}

fn rustix_geteuid() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(u32::MAX)
}

/// Whether a program is on this machine.
pub fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

/// A place of its own for one test: a tree to work in, a copy to compare with, and a store.
pub struct Site {
    keep: Option<tempfile::TempDir>,
    /// The tree in which commands run.
    pub tree: PathBuf,
    /// An exact copy of it, made by [`remember`](Self::remember).
    pub copy: PathBuf,
    /// The store.
    pub store: PathBuf,
}

impl Site {
    /// Everything on one filesystem, below the system's temporary directory.
    pub fn new() -> Self {
        let keep = tempfile::tempdir().expect("a temporary directory");
        let root = keep.path().canonicalize().expect("its physical path");
        let site = Self::at(&root, &root.join("store"));
        Self {
            keep: Some(keep),
            ..site
        }
    }

    /// With the tree in `root` and the store elsewhere.
    pub fn at(root: &Path, store: &Path) -> Self {
        fs::create_dir_all(root.join("tree")).expect("a tree");
        Self {
            keep: None,
            tree: root.join("tree"),
            copy: root.join("copy"),
            store: store.to_owned(),
        }
    }

    /// Makes the copy that the tree is compared with later.
    pub fn remember(&self) {
        let _ = fs::remove_dir_all(&self.copy);
        let done = Command::new("cp")
            .arg("-a")
            .arg(&self.tree)
            .arg(&self.copy)
            .status()
            .expect("cp");
        assert!(done.success(), "cp could not copy the tree");
    }

    /// Runs a command line under `deployx run` in the tree.
    pub fn run(&self, line: &str) -> Output {
        self.run_with(&[], line)
    }

    /// The same with further options.
    pub fn run_with(&self, options: &[&str], line: &str) -> Output {
        self.deployx()
            .args(["run", "--quiet", "--cwd"])
            .arg(&self.tree)
            .args(options)
            .arg("--")
            .arg(line)
            .output()
            .expect("deployx run")
    }

    /// The program with this site's store.
    pub fn deployx(&self) -> Command {
        let mut command = deployx();
        command.arg("--snapshot-dir").arg(&self.store);
        command
    }

    /// Runs a command of the program and gives its JSON.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self
            .deployx()
            .args(arguments)
            .arg("--json")
            .output()
            .expect("deployx");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!(
                "{arguments:?} gave no JSON ({e}): {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })
    }

    /// Rolls the last command back and fails unless that worked completely.
    pub fn undo(&self) {
        let output = self
            .deployx()
            .args(["rollback", "last", "--yes"])
            .output()
            .expect("rollback");
        assert!(
            output.status.success(),
            "the rollback failed:\n{}",
            text(&output)
        );
    }

    /// What differs between the tree and its copy, judged by other programs: content, kind, mode,
    /// owner, times of files and directories, ACLs, attributes, link structure. Empty: nothing.
    pub fn differences(&self) -> String {
        differences(&self.copy, &self.tree)
    }
}

/// What differs between two trees, judged by `rsync` and `find`.
pub fn differences(expected: &Path, found: &Path) -> String {
    let mut differences = rsync_differences(expected, found);
    // rsync says nothing of the number of names, nanoseconds on all kinds, and devices.
    let (one, other) = (listing(expected), listing(found));
    for line in one.iter().filter(|l| !other.contains(*l)) {
        differences.extend(["- ", line, "\n"]);
    }
    for line in other.iter().filter(|l| !one.contains(*l)) {
        differences.extend(["+ ", line, "\n"]);
    }
    differences
}

/// What `rsync` would have to do to make `found` as `expected`.
pub fn rsync_differences(expected: &Path, found: &Path) -> String {
    let rsync = Command::new("rsync")
        .args(["-aHAXnic", "--delete", "--numeric-ids"])
        .arg(format!("{}/", expected.display()))
        .arg(format!("{}/", found.display()))
        .output()
        .expect("rsync");
    assert!(rsync.status.success(), "rsync: {}", text(&rsync));
    String::from_utf8_lossy(&rsync.stdout).into_owned()
}

fn listing(root: &Path) -> std::collections::BTreeSet<String> {
    // Times of symbolic links and everything else in full; a directory's size means nothing.
    let found = Command::new("find")
        .arg(root)
        .args([
            "(",
            "-type",
            "d",
            "-printf",
            "%P|%y|%m|%U|%G|%T@\\0",
            ")",
            "-o",
        ])
        .args(["-printf", "%P|%y|%m|%U|%G|%T@|%s|%n|%l\\0"])
        .output()
        .expect("find");
    let mut lines: std::collections::BTreeSet<String> = String::from_utf8_lossy(&found.stdout)
        .split('\0')
        .map(str::to_owned)
        .collect();
    lines.extend(inode_flags(root));
    lines
}

/// Every file and directory with a flag that a command can set, as `lsattr` shows it.
fn inode_flags(root: &Path) -> Vec<String> {
    let found = Command::new("find")
        .args([
            ".", "(", "-type", "f", "-o", "-type", "d", ")", "-exec", "lsattr", "-d", "{}", "+",
        ])
        .current_dir(root)
        .output()
        .expect("find");
    let text = String::from_utf8_lossy(&found.stdout).into_owned();
    let flagged = text.lines().filter_map(|line| {
        let (flags, name) = line.split_once(' ')?;
        let flags: String = flags.chars().filter(|c| "sSiadAD".contains(*c)).collect();
        (!flags.is_empty() && name.starts_with("./")).then(|| format!("{name}|flags {flags}"))
    });
    flagged.collect()
}

/// Both streams of an output, for messages.
pub fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Runs a line with the system's shell, not under test.
pub fn shell(dir: &Path, line: &str) {
    let output = Command::new("sh")
        .arg("-c")
        .arg(line)
        .current_dir(dir)
        .output()
        .expect("sh");
    assert!(output.status.success(), "{line}: {}", text(&output));
}
