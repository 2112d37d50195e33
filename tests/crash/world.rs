//! What the campaign works on: a small tree with everything in it, a store with a snapshot that
//! must survive it all, and the ways to look at them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Site, differences, shell, text};
use crate::tracer::{self, Injection, PATIENCE, Traced};

/// Makes the tree.
const FIXTURE: &str = "mkdir -p kept gone/deep dir-to-file sub
    for i in 1 2 3; do echo \"kept $i\" > kept/$i; echo \"gone $i\" > gone/deep/$i; done
    echo a > a.txt; echo b > b.txt; echo m > mode.txt; echo s > sub/s; : > gone/empty
    echo h > hard1; ln hard1 sub/hard2; ln -s a.txt link; ln -s /nonexistent gone/dangling
    echo d > dir-to-file/d; echo f > file-to-dir; mkfifo gone/pipe; chmod 2750 gone/deep
    head -c 200000 /dev/zero | tr '\\0' x > large
    setfattr -n user.note -v hello b.txt 2>/dev/null || true
    find . -depth -exec touch -h -d '2021-03-04 05:06:07.123456789' {} +";

/// The command of the snapshot that has to survive everything.
const KEPT: &str = "echo changed > kept/1; rm kept/2; echo new > kept/4; chmod 600 kept/3";

/// The command that is interrupted or undone: a change of every kind.
pub(crate) const COMMAND: &str = "echo more >> a.txt; rm -rf gone; mkdir -p new/deep; echo n > new/deep/n; \
    chmod 600 mode.txt; echo w >> hard1; ln -sfn b.txt link; rm -rf dir-to-file; echo now > dir-to-file; \
    rm file-to-dir; mkdir file-to-dir; echo in > file-to-dir/in; mv b.txt moved.txt; ln a.txt another; \
    echo tail >> large; mknod new/pipe p";

pub(crate) struct World {
    pub(crate) site: Site,
    /// The tree as `COMMAND` leaves it; made anew for each rollback.
    after: PathBuf,
    /// The tree before the kept snapshot's command.
    origin: PathBuf,
    /// The snapshot that must survive; gone when the store begins empty.
    kept: Option<String>,
    marks: std::cell::Cell<u64>,
}

impl World {
    /// A fresh one.
    pub(crate) fn new() -> Self {
        let site = Site::new();
        let beside = |name| site.tree.with_file_name(name);
        let (after, origin) = (beside("after"), beside("origin"));
        shell(&site.tree, FIXTURE);
        copy(&site.tree, &origin);
        let mut world = Self {
            after,
            origin,
            kept: None,
            marks: std::cell::Cell::new(0),
            site,
        };
        world.expect(&["run", "--quiet", "--", KEPT]);
        let id = world.list()[0]["snapshot_id"].as_str().map(str::to_owned);
        world.expect(&["pin", id.as_deref().expect("an id")]);
        world.kept = id;
        world.site.remember();
        shell(&world.site.tree, COMMAND);
        world.remember_after();
        world.reset_tree();
        world
    }

    /// The same with a store that does not exist yet.
    pub(crate) fn forget_store(&mut self) {
        self.kept = None;
        let _ = fs::remove_dir_all(&self.site.store);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.site.deployx();
        command
            .args(arguments)
            .env("RAYON_NUM_THREADS", "1")
            .env("RUST_BACKTRACE", "0")
            .current_dir(&self.site.tree);
        command
    }

    /// Runs the program undisturbed.
    pub(crate) fn deployx(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("deployx")
    }

    /// The same, and it has to succeed.
    pub(crate) fn expect(&self, arguments: &[&str]) {
        let output = self.deployx(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    }

    /// Runs the program under the tracer and waits until nothing of it is left.
    pub(crate) fn traced(&self, arguments: &[&str], injection: Option<Injection>) -> Traced {
        let marker = self.next_marker();
        let mut command = self.command(arguments);
        command.env("DEPLOYX_CRASH_TEST", &marker);
        let traced = tracer::run(command, injection).expect("the tracer");
        wait_for_end(&marker);
        traced
    }

    /// Kills the program as soon as its command has done everything and before it is sealed.
    pub(crate) fn interrupted_run(&self, options: &[&str]) {
        let marker = self.next_marker();
        let done = self.site.tree.with_file_name("done");
        let _ = fs::remove_file(&done);
        let line = format!("{COMMAND}; : > '{}'; sleep 60", done.display());
        let mut child: Child = self
            .command(&["run", "--quiet", "--path", "."])
            .args(options)
            .args(["--", &line])
            .env("DEPLOYX_CRASH_TEST", &marker)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("deployx");
        wait_until("the command is done", || done.exists());
        child.kill().expect("kill");
        child.wait().expect("wait");
        wait_for_end(&marker);
    }

    fn next_marker(&self) -> String {
        self.marks.set(self.marks.get() + 1);
        format!("{}-{}", self.site.tree.display(), self.marks.get())
    }

    /// Whether there is a store: a kill may have come before.
    fn has_store(&self) -> bool {
        self.site.store.join("format").exists()
    }

    /// All snapshots, newest first.
    pub(crate) fn list(&self) -> Vec<serde_json::Value> {
        if !self.has_store() {
            return Vec::new();
        }
        match self.site.json(&["list"]) {
            serde_json::Value::Array(list) => list,
            other => panic!("no list: {other}"),
        }
    }

    /// The newest snapshot of a command, not of a rollback and not the kept one: id and state.
    pub(crate) fn newest_command(&self) -> Option<(String, String)> {
        let list = self.list();
        let of_command = |s: &&serde_json::Value| {
            let of_rollback = s["command"]
                .as_str()
                .is_some_and(|c| c.starts_with("rollback of"));
            !of_rollback && self.kept.as_deref() != s["snapshot_id"].as_str()
        };
        let newest = list.iter().find(of_command)?;
        let text = |field: &str| newest[field].as_str().map(str::to_owned);
        Some((text("snapshot_id")?, text("state")?))
    }

    pub(crate) fn remember_after(&self) {
        copy(&self.site.tree, &self.after);
    }

    /// What differs from the state after the command.
    pub(crate) fn differences_to_after(&self) -> String {
        differences(&self.after, &self.site.tree)
    }

    /// Puts the tree back by other means, where a loss was reported.
    pub(crate) fn reset_tree(&self) {
        copy(&self.site.copy, &self.site.tree);
    }

    /// Whether the command's work is there completely, or not at all: names and contents.
    pub(crate) fn work_is_whole(&self) -> bool {
        let same = |expected: &PathBuf| {
            let output = Command::new("rsync")
                .args(["-rlHnic", "--devices", "--specials", "--delete"])
                .arg(format!("{}/", expected.display()))
                .arg(format!("{}/", self.site.tree.display()))
                .output()
                .expect("rsync");
            let lines = String::from_utf8_lossy(&output.stdout).into_owned();
            // A dot in front: only times or such, which were not asked for.
            output.status.success() && lines.lines().all(|line| line.starts_with('.'))
        };
        same(&self.site.copy) || same(&self.after)
    }

    /// Entries that are neither exactly as before nor exactly as after the command. Times of
    /// directories are left out: they tell of what happened to the entries in them.
    pub(crate) fn torn_entries(&self) -> Vec<String> {
        let (before, after) = (entries(&self.site.copy), entries(&self.after));
        let mut now = entries(&self.site.tree);
        now.retain(|entry| !before.contains(entry) && !after.contains(entry));
        now.into_iter().collect()
    }

    /// Whether everything is as before but for times of directories.
    pub(crate) fn entries_are_as_before(&self) -> bool {
        entries(&self.site.copy) == entries(&self.site.tree)
    }

    /// Deletes everything but the kept snapshot, and says what is left that should not be.
    pub(crate) fn tidy(&self) -> Result<(), String> {
        let list = self.list();
        if let Some(kept) = &self.kept
            && !list
                .iter()
                .any(|s| s["snapshot_id"] == kept.as_str() && s["state"] == "sealed")
        {
            return Err(format!(
                "the kept snapshot is not listed as sealed: {list:?}"
            ));
        }
        let verify = self.deployx(&["verify"]);
        if self.has_store() && !verify.status.success() {
            return Err(format!("verify: {}", text(&verify)));
        }
        let ids: Vec<&str> = list
            .iter()
            .filter_map(|s| s["snapshot_id"].as_str())
            .filter(|id| Some(*id) != self.kept.as_deref())
            .collect();
        // Without ids, a cleanup expires by age, which sweeps what crashes left.
        for arguments in [[&["cleanup"], &ids[..]].concat(), vec!["cleanup"]] {
            let cleanup = self.deployx(&arguments);
            if !cleanup.status.success() {
                return Err(format!("{arguments:?}: {}", text(&cleanup)));
            }
        }
        self.leftovers()
    }

    fn leftovers(&self) -> Result<(), String> {
        const FIXED: [&str; 12] = [
            "baseline",
            // Caches.
            "bases",
            "probes.json",
            "format",
            "index.sqlite",
            "index.sqlite-wal",
            "index.sqlite-shm",
            "intercept",
            "late",
            "lock",
            "open",
            "rollback",
        ];
        let mut found = Vec::new();
        for name in names(&self.site.store) {
            let of_kept = self.kept.as_ref().is_some_and(|id| name.starts_with(id));
            if !of_kept && !FIXED.contains(&name.as_str()) {
                found.push(name);
            }
        }
        for directory in ["intercept", "late"] {
            found.extend(names(&self.site.store.join(directory)));
        }
        found.extend(names(&self.site.store.join("open")));
        found.extend(names(&self.site.store.join("rollback")).filter(|name| name != "lock"));
        if found.is_empty() {
            return Ok(());
        }
        Err(format!("left in the store: {}", found.join(", ")))
    }

    /// Rolls the kept snapshot back: the proof that it survived.
    pub(crate) fn roll_back_kept(&self) -> Result<(), String> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let output = self.deployx(&["rollback", kept, "--yes"]);
        let differences = differences(&self.origin, &self.site.tree);
        if output.status.success() && differences.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the kept snapshot cannot be rolled back: {}{differences}",
            text(&output)
        ))
    }
}

/// Every entry below `root` with its state and content.
fn entries(root: &std::path::Path) -> BTreeSet<String> {
    let script = r"find . -mindepth 1 -type d -printf '%P %y %m %U %G\n' -o -printf '%P %y %m %U %G %T@ %s %l\n'
        find . -type f -exec sha256sum {} +";
    let output = Command::new("sh")
        .args(["-c", script])
        .current_dir(root)
        .output()
        .expect("sh");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

fn names(dir: &std::path::Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    let _ = fs::remove_dir_all(to);
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.expect("cp").success(), "cp -a failed");
}

/// Waits until nothing that carries the marker runs any more.
fn wait_for_end(marker: &str) {
    let needle = format!("DEPLOYX_CRASH_TEST={marker}");
    wait_until(
        "the command has ended although its agent was killed",
        || {
            let processes = fs::read_dir("/proc").expect("/proc").flatten();
            !processes
                .filter_map(|process| fs::read(process.path().join("environ")).ok())
                .any(|environ| environ.split(|b| *b == 0).any(|v| v == needle.as_bytes()))
        },
    );
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
