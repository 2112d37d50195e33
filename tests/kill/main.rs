//! Kills at random instants: whatever the moment, the tree ends before, after, or rolled back.
//!
//! `DEPLOYX_TEST_KILLS` says how many (default 200, half of them during runs, half during
//! rollbacks); `DEPLOYX_TEST_SEED` makes a run repeatable as far as timing allows.

#[path = "../common/mod.rs"]
mod common;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Site, fixture, has_program, require, size, text};

/// Changes something of every kind, in many steps.
const COMMAND: &str = "for i in 1 2 3 4 5 6 7 8; do echo $i >> src/file$i.txt; mkdir -p new/$i; \
    cp src/file$i.txt new/$i/; rm -f src/file1$i.txt; chmod 600 src/file2$i.txt; mv src/file3$i.txt new/; done; \
    rm -rf docs; mkdir docs; echo x > docs/y; ln -f src/file9.txt hard2";

/// A small generator: the instants need no quality, only to be repeatable.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

fn seed() -> Random {
    let seed = size("DEPLOYX_TEST_SEED", 1) as u64;
    println!("seed {seed}");
    Random(seed)
}

/// Starts the program so that everything it starts can be found again by `marker`.
fn start(site: &Site, marker: &str, arguments: &[&str]) -> Child {
    let mut command: Command = site.deployx();
    command
        .args(arguments)
        .env("DEPLOYX_KILL_TEST", marker)
        .current_dir(&site.tree);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("deployx")
}

/// Waits until nothing that carries the marker runs any more.
fn wait_for_end(marker: &str) {
    let needle = format!("DEPLOYX_KILL_TEST={marker}");
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let alive = std::fs::read_dir("/proc")
            .expect("/proc")
            .flatten()
            .any(|process| {
                std::fs::read(process.path().join("environ"))
                    .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == needle.as_bytes()))
            });
        if !alive {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the command goes on although its agent was killed");
}

fn recover(site: &Site) {
    let output = site.deployx().arg("recover").output().expect("recover");
    assert!(
        output.status.success(),
        "recover failed:\n{}",
        text(&output)
    );
}

fn kill_after(mut child: Child, delay: Duration) {
    std::thread::sleep(delay);
    child.kill().expect("kill");
    child.wait().expect("wait");
}

fn duration_of(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Undoes whatever can be undone and checks that the tree is as it was in the beginning.
fn back_to_the_beginning(site: &Site, what: &str) {
    let list = site.json(&["list"]);
    let sealed = list.as_array().expect("a list").iter().any(|s| {
        s["state"] == "sealed"
            && s["changes"]
                != serde_json::json!({"created":0,"modified":0,"deleted":0,"metadata":0})
    });
    if sealed && !site.differences().is_empty() {
        println!("{what}: rolling it back");
        site.undo();
    }
    assert_eq!(site.differences(), "", "{what}");
}

#[test]
fn a_kill_during_a_run_loses_nothing() {
    if !require(
        "a_kill_during_a_run_loses_nothing",
        "rsync",
        has_program("rsync"),
    ) {
        return;
    }
    let mut random = seed();
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    let whole = duration_of(|| assert!(site.run(COMMAND).status.success()));
    site.undo();
    assert_eq!(site.differences(), "");
    let kills = size("DEPLOYX_TEST_KILLS", 200) / 2;
    for number in 0..kills {
        let marker = format!("run-{}-{number}", std::process::id());
        let delay = Duration::from_micros(random.below(whole.as_micros() as u64 * 11 / 10));
        kill_after(
            // The whole tree: a program that is killed leaves names which no rule can know (`ln -f`
            // links to a temporary name first).
            start(
                &site,
                &marker,
                &["run", "--quiet", "--path", ".", "--", COMMAND],
            ),
            delay,
        );
        wait_for_end(&marker);
        recover(&site);
        back_to_the_beginning(&site, &format!("killed {delay:?} into run {number}"));
    }
    println!("{kills} kills during runs: nothing lost");
}

#[test]
fn a_kill_during_a_rollback_is_made_good() {
    if !require(
        "a_kill_during_a_rollback_is_made_good",
        "rsync",
        has_program("rsync"),
    ) {
        return;
    }
    let mut random = seed();
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    assert!(site.run(COMMAND).status.success());
    let whole = duration_of(|| site.undo());
    let kills = size("DEPLOYX_TEST_KILLS", 200) / 2;
    let mut finished = 0;
    for number in 0..kills {
        assert!(site.run(COMMAND).status.success());
        let marker = format!("rollback-{}-{number}", std::process::id());
        let delay = Duration::from_micros(random.below(whole.as_micros() as u64 * 11 / 10));
        kill_after(start(&site, &marker, &["rollback", "last", "--yes"]), delay);
        recover(&site);
        finished += usize::from(site.differences().is_empty());
        back_to_the_beginning(&site, &format!("killed {delay:?} into rollback {number}"));
    }
    println!("{kills} kills during rollbacks: {finished} had been finished by recovery or before");
}

#[test]
fn what_a_command_does_when_its_program_was_killed_is_taken_back_as_well() {
    let line = "trap 'sleep 0.5; echo late > late; exit 0' TERM; touch begun; \
                while :; do sleep 0.1; done";
    let site = Site::new();
    let arguments = ["run", "--quiet", "--path", ".", "--", line];
    killed_at_the_end(&site, "run", &arguments);
    // In a shell that was started for it, as the command before ended the first.
    let site = Site::new();
    let file = site.tree.with_file_name("lines");
    std::fs::write(&file, format!("exit 0\n{line}\n")).expect("a file");
    let file = file.to_str().expect("a path");
    let arguments = ["batch", "--quiet", "--path", ".", file];
    killed_at_the_end(&site, "batch", &arguments);
}

/// Kills a program whose command has begun, and takes the command back at once.
fn killed_at_the_end(site: &Site, what: &str, arguments: &[&str]) {
    let marker = format!("term-{what}-{}", std::process::id());
    let child = start(site, &marker, arguments);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !site.tree.join("begun").exists() {
        assert!(Instant::now() < deadline, "the command does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_after(child, Duration::ZERO);
    // Its supervisor has only begun to end it.
    recover(site);
    site.undo();
    wait_for_end(&marker);
    for name in ["begun", "late"] {
        assert!(!site.tree.join(name).exists(), "{what}: {name} is left");
    }
}
