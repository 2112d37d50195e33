//! What stays on disk: after a kill, when it is verified, and when it is deleted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Case;
use crate::cell::Cell;
use crate::common::{shell, text};
use crate::judge::State;
use crate::volumes::Filesystem;

/// The cases of this file.
pub(crate) const LASTING: &[Case] = &[
    Case::own("killed_in_the_middle", killed_in_the_middle),
    Case::own("killed_before_the_command", killed_before_the_command),
    Case::own("verified_and_deleted", verified_and_deleted),
    Case::own("damage_is_found", damage_is_found),
    Case::own("old_state_copied_out", old_state_copied_out),
];

fn plant(cell: &Cell) -> State {
    shell(
        &cell.site.tree,
        "mkdir -p a/b; for i in $(seq 20); do head -c 3000 /dev/urandom > a/$i; done; echo x > a/b/x; \
         find . -depth -exec touch -d '2021-03-04 05:06:07.1234567' {} +",
    );
    cell.site.remember();
    State::of(&cell.site.tree)
}

fn killed_in_the_middle(cell: &Cell) {
    let before = plant(cell);
    for _ in 0..2 {
        let marker = cell.place.root.join("reached");
        let line = format!(
            "rm -r a/b; echo x >> a/1; mv a/2 a/moved; echo > '{}'; sleep 60",
            marker.display()
        );
        let mut child = cell
            .site
            .deployx()
            .args(["run", "--quiet", "--strategy", cell.strategy, "--cwd"])
            .arg(&cell.site.tree)
            .args(["--", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the command got there", || marker.exists());
        child.kill().unwrap();
        child.wait().unwrap();
        let needle = marker.to_str().unwrap().as_bytes().to_vec();
        wait_until("the command was ended", || !running(&needle));
        let report = cell.site.json(&["recover"]);
        assert_eq!(
            report["sealed"]
                .as_array()
                .map(Vec::len)
                .or_else(|| report["sealed"].as_u64().map(|n| n as usize)),
            Some(1),
            "{report:#}"
        );
        fs::remove_file(&marker).unwrap();
        cell.rollback(&["last"]);
        cell.assert_as_before(&before, "after the recovery");
    }
    is_empty_after_cleanup(cell);
}

fn wait_until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !reached() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process has this in its arguments.
fn running(needle: &[u8]) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|p| fs::read(p.path().join("cmdline")).ok())
        .any(|line| line.windows(needle.len()).any(|w| w == needle))
}

/// Kills at instants from the start on, so that some come while the state is secured.
fn killed_before_the_command(cell: &Cell) {
    let before = plant(cell);
    cell.run("true");
    for milliseconds in [2, 5, 10, 20, 40] {
        let mut child = cell
            .site
            .deployx()
            .args(["run", "--quiet", "--strategy", cell.strategy, "--cwd"])
            .arg(&cell.site.tree)
            .args(["--", "rm -r a"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        let _ = child.kill();
        child.wait().unwrap();
        // Whatever of the command still runs is ended by its supervisor.
        let needle = cell.site.tree.to_str().unwrap().as_bytes().to_vec();
        wait_until("everything was ended", || !running(&needle));
        cell.site.json(&["recover"]);
        let list = cell.site.json(&["list"]);
        let newest = &list.as_array().unwrap().first();
        // It may have got anywhere.
        if newest.is_some_and(|s| s["state"] == "sealed" && s["command"] == "rm -r a") {
            let output = cell.try_rollback(&["last"]);
            assert!(output.status.success(), "{}", text(&output));
        }
        cell.assert_as_before(&before, &format!("killed after {milliseconds} ms"));
    }
    is_empty_after_cleanup(cell);
}

fn verified_and_deleted(cell: &Cell) {
    plant(cell);
    cell.run("echo x >> a/1; rm a/2");
    let id = Cell::id(&cell.run("rm -r a/b; mv a c"));
    cell.rollback(&[&id]);
    cell.run("true");
    let report = cell.site.json(&["verify"]);
    assert_eq!(report["problems"], serde_json::json!([]), "{report:#}");
    assert!(
        report["checked"].as_u64().is_some_and(|n| n >= 3),
        "{report:#}"
    );
    is_empty_after_cleanup(cell);
}

/// Deletes all snapshots and looks for anything that was left of them.
fn is_empty_after_cleanup(cell: &Cell) {
    let report = cell.site.json(&["cleanup", "--max-count", "0"]);
    assert_eq!(report["kept"], serde_json::json!([]), "{report:#}");
    assert_eq!(cell.site.json(&["list"]), serde_json::json!([]));
    let store = &cell.site.store;
    assert_eq!(snapshots_in(store), Vec::<String>::new(), "in the store");
    assert_eq!(
        fs::read_dir(store.join("open")).unwrap().count(),
        0,
        "markers"
    );
    let journals = fs::read_dir(store.join("rollback")).unwrap().flatten();
    let journals: Vec<_> = journals
        .map(|e| e.file_name())
        .filter(|n| n != "lock")
        .collect();
    assert!(journals.is_empty(), "journals: {journals:?}");
    let format = fs::read_to_string(store.join("format")).unwrap();
    let format: serde_json::Value = serde_json::from_str(&format).unwrap();
    let siblings = cell.place.volume.mount_point.join(".deployx_snapshots");
    let sibling = siblings.join(format["name"].as_str().unwrap());
    if sibling.exists() {
        assert_eq!(
            snapshots_in(&sibling),
            Vec::<String>::new(),
            "in {}",
            sibling.display()
        );
    }
    if cell.place.kind == Filesystem::Btrfs {
        let roots = [
            cell.place.root.as_path(),
            store.as_path(),
            sibling.as_path(),
        ];
        assert_eq!(
            subvolumes_in(&roots),
            vec![cell.site.tree.display().to_string()]
        );
    }
    let left: Vec<_> = walkdir::WalkDir::new(&cell.site.tree)
        .into_iter()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with(".deployx"))
        .collect();
    assert!(left.is_empty(), "in the tree: {left:?}");
}

/// Entries whose names are snapshots' or begin with one.
fn snapshots_in(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().flatten();
    names
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| n.len() >= 16 && n.as_bytes()[..16].iter().all(u8::is_ascii_hexdigit))
        .collect()
}

/// The roots of subvolumes at and below these directories: their inode has this number.
fn subvolumes_in(roots: &[&Path]) -> Vec<String> {
    let found = Command::new("find")
        .args(roots)
        .args(["-type", "d", "-inum", "256", "-print"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&found.stdout)
        .lines()
        .map(str::to_owned)
        .collect()
}

fn damage_is_found(cell: &Cell) {
    plant(cell);
    let report = cell.run("for i in 1 2 3; do echo new > a/$i; done");
    let id = Cell::id(&report);
    let files = walkdir::WalkDir::new(&cell.site.store)
        .into_iter()
        .chain(walkdir::WalkDir::new(
            cell.place.volume.mount_point.join(".deployx_snapshots"),
        ))
        .chain(walkdir::WalkDir::new(&cell.place.root))
        .flatten()
        .find(|e| {
            e.file_type().is_file()
                && e.path().components().any(|c| c.as_os_str() == id.as_str())
                && e.path().components().any(|c| c.as_os_str() == "files")
        });
    let file = files.expect("kept content").into_path();
    let mut bytes = fs::read(&file).unwrap();
    bytes[0] ^= 1;
    fs::write(&file, bytes).unwrap();
    let output = cell.site.deployx().arg("verify").output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let output = cell.try_rollback(&[&id]);
    assert!(!output.status.success(), "{}", text(&output));
}

fn old_state_copied_out(cell: &Cell) {
    let before = plant(cell);
    let id = Cell::id(&cell.run("rm -r a"));
    let to = cell.place.root.join("out");
    let output = cell
        .site
        .deployx()
        .args(["restore", &id])
        .arg(cell.site.tree.join("a"))
        .arg("--to")
        .arg(&to)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let found = crate::common::rsync_differences(&cell.site.copy.join("a"), &to.join("a"));
    assert_eq!(found, "");
    assert!(!cell.site.tree.join("a").exists());
    cell.rollback(&[&id]);
    cell.assert_as_before(&before, "after the rollback");
}
