//! Receipts under strategies that trust a scope: what is preserved, what was watched, and what was not.

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use common::{Site, is_root, require, text};

const COPY: &[&str] = &["--strategy", "copy"];
const WATCHED: &[&str] = &["--strategy", "copy", "--watch-outside"];

fn shown(site: &Site) -> Value {
    site.json(&["show", "last"])["receipt"].clone()
}

fn run(site: &Site, options: &[&str], line: &str) -> String {
    let output = site.run_with(options, line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    text(&output)
}

/// A script of which no rule knows what it does, and what it writes outside of its directory. It waits
/// a moment, so that whoever wonders finds it alive.
fn script(site: &Site) -> (String, PathBuf) {
    let script = site.tree.with_file_name("script");
    let elsewhere = site.tree.with_file_name("elsewhere");
    let text = format!(
        "echo x > '{0}'; echo x > here; echo x > '{0}.temp'; rm '{0}.temp'; sleep 0.3\n",
        elsewhere.display()
    );
    fs::write(&script, text).unwrap();
    (format!("sh '{}'", script.display()), elsewhere)
}

#[test]
fn what_is_preserved_and_expected_is_in_the_receipt() {
    let site = Site::new();
    fs::write(site.tree.join("f"), "12345").unwrap();
    fs::write(site.tree.join("g"), "1234567").unwrap();
    run(
        &site,
        COPY,
        "rm f; echo x > g; echo y > h; systemctl --version || true",
    );
    let receipt = shown(&site);
    let expected = serde_json::json!({"entries": 2, "bytes": 12, "created": 1, "lost": 0});
    assert_eq!(receipt["preserved"], expected);
    assert_eq!(receipt["outside"]["watch"], "not_watched");
    assert_eq!(receipt["expected"], Value::Null, "nobody saw every call");
}

#[test]
fn effects_that_rules_expect_are_named_as_such() {
    let site = Site::new();
    run(
        &site,
        COPY,
        "[ -e nothing ] && curl -s http://192.0.2.1/; echo x > f",
    );
    let receipt = shown(&site);
    let effect = &receipt["not_undoable"][0];
    assert_eq!(
        (&effect["what"], &effect["known_by"]),
        (&"network".into(), &"rule".into())
    );
    assert_eq!(receipt["limits"][0]["kind"], "work_of_others");
    let output = site.deployx().args(["show", "last"]).output().unwrap();
    let line = "network: a request is sent (expected)";
    assert!(text(&output).contains(line), "{}", text(&output));
}

#[test]
fn nothing_is_said_of_what_was_not_watched() {
    let site = Site::new();
    let (line, elsewhere) = script(&site);
    let output = site
        .deployx()
        .args(["run", "--cwd"])
        .arg(&site.tree)
        .args(COPY)
        .args(["--", &line])
        .output()
        .unwrap();
    assert!(
        text(&output).contains("; outside not watched\n"),
        "{}",
        text(&output)
    );
    let outside = &shown(&site)["outside"];
    assert_eq!(outside["watch"], "not_watched");
    assert_eq!(outside["count"], 0);
    assert!(elsewhere.exists());
}

#[test]
fn the_administrator_sees_what_changes_outside_of_the_scope() {
    let test = "the_administrator_sees_what_changes_outside_of_the_scope";
    if !require(test, "the administrator's rights", is_root()) {
        return;
    }
    let site = Site::new();
    let (line, elsewhere) = script(&site);
    run(&site, WATCHED, &line);
    let outside = &shown(&site)["outside"];
    assert_eq!(outside["watch"], "events", "{outside:#}");
    let changed = outside["changed"].as_array().unwrap();
    let of = |path: &PathBuf| {
        changed
            .iter()
            .find(|one| one["path"] == path.to_str().unwrap())
    };
    let found = of(&elsewhere).unwrap_or_else(|| panic!("{outside:#}"));
    assert_eq!(found["by"], "command", "{outside:#}");
    assert!(of(&site.tree.join("here")).is_none(), "it is covered");
    assert!(
        of(&elsewhere.with_extension("temp")).is_none(),
        "it went again"
    );
    let store = site.store.to_str().unwrap();
    let of_store = changed
        .iter()
        .any(|one| one["path"].as_str().unwrap().starts_with(store));
    assert!(!of_store, "{outside:#}");
}

#[test]
fn after_many_events_the_watch_ends_and_says_so() {
    let test = "after_many_events_the_watch_ends_and_says_so";
    if !require(test, "the administrator's rights", is_root()) {
        return;
    }
    let site = Site::new();
    run(&site, WATCHED, "for i in $(seq 6000); do : > f$i; done");
    let reason = shown(&site)["outside"]["reason"].to_string();
    assert!(reason.contains("not all of them"), "{reason}");
}

#[test]
fn processes_that_go_on_are_a_limit() {
    let site = Site::new();
    run(
        &site,
        COPY,
        "(while [ ! -e ../stop ]; do sleep 0.05; done) >/dev/null 2>&1 & :",
    );
    let limits = shown(&site)["limits"].clone();
    assert_eq!(limits[0]["kind"], "survivors", "{limits:#}");
    fs::write(site.tree.with_file_name("stop"), "").unwrap();
}

#[test]
fn a_snapshot_without_a_receipt_is_shown_all_the_same() {
    let site = Site::new();
    run(&site, COPY, "echo x > f");
    site.undo();
    // What a rollback makes of the state before it.
    let redo = site.json(&["show", "last"])["redo_snapshot_id"].clone();
    let redo = match redo.as_str() {
        Some(redo) => redo.to_owned(),
        None => site.json(&["list"])[0]["snapshot_id"]
            .as_str()
            .unwrap()
            .to_owned(),
    };
    let detail = site.json(&["show", &redo]);
    assert_eq!(detail["receipt"], Value::Null, "{detail:#}");
    assert!(
        site.deployx()
            .args(["show", &redo])
            .status()
            .unwrap()
            .success()
    );
}
