//! Attacks on the promise that after a rollback everything is as it was, and nothing else touched.
//!
//! Each test is a finding that was mended or an attack that was survived. Other programs judge.
//! `DEPLOYX_TEST_HAZARDS=large` makes the trees and loops large; see `size`.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod limits;
mod names;
mod space;
mod volumes;

use std::process::Output;

use common::{Site, has_program, require, text};

/// `small` unless the environment asks for large attacks.
fn scale(small: usize, large: usize) -> usize {
    if std::env::var_os("DEPLOYX_TEST_HAZARDS").is_some_and(|v| v == "large") {
        large
    } else {
        small
    }
}

/// Whether the judges of trees are on this machine.
fn judged(test: &str) -> bool {
    require(test, "rsync", has_program("rsync"))
}

/// Runs `line` in the tree and fails unless the command worked.
fn run(site: &Site, line: &str) {
    let output = site.run(line);
    assert!(output.status.success(), "{line}: {}", text(&output));
}

/// Runs `line`, takes it back, and lets the judges compare.
fn undone(site: &Site, line: &str) {
    run(site, line);
    assert_ne!(
        site.differences(),
        "",
        "{line} changed nothing, so the test proves nothing"
    );
    site.undo();
    assert_eq!(site.differences(), "", "{line} was not undone exactly");
}

/// Rolls back with further arguments.
fn rollback(site: &Site, arguments: &[&str]) -> Output {
    site.deployx()
        .arg("rollback")
        .args(arguments)
        .arg("--yes")
        .output()
        .expect("rollback")
}

/// The ids of all snapshots, newest first.
fn ids(site: &Site) -> Vec<String> {
    let list = site.json(&["list"]);
    let list = list.as_array().expect("a list");
    list.iter()
        .map(|s| s["snapshot_id"].as_str().expect("an id").to_owned())
        .collect()
}
