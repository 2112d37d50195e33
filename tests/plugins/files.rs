//! Files that are no plugins, or could be somebody else's.

use std::fs;
use std::os::unix::fs::symlink;

use deployx::plugin::{self, CheckOutcome, PluginState, Reason};

use crate::common;
use crate::site::{Site, compile, host, refusal, set_mode};

#[test]
fn a_text_file_is_refused() {
    let site = Site::new();
    let file = site.put("libtext.so", b"#!/bin/sh\necho a rule set\n");
    let (reason, message) = refusal(&file, &host());
    assert_eq!(reason, Reason::Library);
    assert_eq!(message, "the file is not a library");
}

#[test]
fn an_empty_file_is_refused() {
    let site = Site::new();
    let (reason, message) = refusal(&site.put("libempty.so", b""), &host());
    assert_eq!(reason, Reason::Library);
    assert_eq!(message, "the file is empty");
}

/// The system's loader would be ended by a signal.
#[test]
fn a_truncated_library_is_refused_wherever_it_is_cut() {
    let site = Site::new();
    let whole = fs::read(site.hostile("good")).unwrap();
    for length in [20, 64, 1000, whole.len() / 2, whole.len() - 1] {
        let file = site.put("libcut.so", &whole[..length]);
        let (reason, message) = refusal(&file, &host());
        assert_eq!(reason, Reason::Library);
        assert!(
            message.starts_with("the library is cut short or damaged"),
            "{length}: {message}"
        );
    }
}

#[test]
fn a_program_and_a_foreign_library_are_refused() {
    let site = Site::new();
    let mut foreign = fs::read(site.hostile("good")).unwrap();
    // The machine in the header: SPARC.
    foreign[18..20].copy_from_slice(&2_u16.to_le_bytes());
    let file = site.put("libforeign.so", &foreign);
    let (reason, message) = refusal(&file, &host());
    assert_eq!(reason, Reason::Library);
    assert!(message.contains("another processor"), "{message}");
}

#[test]
fn a_library_without_the_entry_is_refused_before_its_code_runs() {
    let site = Site::new();
    let source = site.put(
        "plain.c",
        b"__attribute__((constructor)) static void run(void) { __builtin_trap(); }\n\
          int other(void) { return 1; }\n",
    );
    let library = site.at("libplain.so");
    let test = "a_library_without_the_entry_is_refused_before_its_code_runs";
    if compile(test, &source, &library).is_none() {
        return;
    }
    let (reason, message) = refusal(&library, &host());
    assert_eq!(reason, Reason::Library);
    assert!(
        message.starts_with("the library does not export 'deployx_plugin'"),
        "{message}"
    );
}

#[test]
fn a_symlinked_file_is_refused() {
    let site = Site::new();
    site.hostile("good");
    symlink("libgood.so", site.at("liblink.so")).unwrap();
    let (reason, message) = refusal(&site.at("liblink.so"), &host());
    assert_eq!(reason, Reason::File);
    assert!(message.ends_with("a symbolic link is not accepted"));
}

#[test]
fn what_others_can_write_is_refused() {
    let site = Site::new();
    let file = site.hostile("good");
    set_mode(&file, 0o666);
    let (reason, message) = refusal(&file, &host());
    assert_eq!(reason, Reason::File);
    assert!(message.ends_with("libgood.so: the file is writable by everybody"));
    set_mode(&file, 0o644);
    set_mode(site.path(), 0o777);
    let (reason, message) = refusal(&file, &host());
    assert_eq!(reason, Reason::File);
    assert!(message.ends_with("the directory is writable by everybody"));
    set_mode(site.path(), 0o755);
    assert_eq!(plugin::check(&file, &host()).state, PluginState::Active);
}

#[test]
fn what_belongs_to_somebody_else_is_refused() {
    let test = "what_belongs_to_somebody_else_is_refused";
    if !common::require(test, "root", common::is_root()) {
        return;
    }
    let site = Site::new();
    let file = site.hostile("good");
    std::os::unix::fs::chown(&file, Some(65_534), None).unwrap();
    let (reason, message) = refusal(&file, &host());
    assert_eq!(reason, Reason::File);
    assert!(message.contains("owned by user 65534"), "{message}");
}

#[test]
fn every_check_is_reported() {
    let site = Site::new();
    let report = plugin::check(&site.hostile("good"), &host());
    assert_eq!(
        (report.name.as_str(), report.version.as_str()),
        ("hostile", "6.6.6")
    );
    assert_eq!(report.shells, ["toy"]);
    assert_eq!(report.checks.len(), 5);
    let passed = |check: &plugin::CheckReport| check.outcome == CheckOutcome::Passed;
    assert!(report.checks.iter().all(passed));
    let report = plugin::check(&site.hostile("abi"), &host());
    let outcomes: Vec<CheckOutcome> = report.checks.iter().map(|check| check.outcome).collect();
    assert_eq!(
        outcomes,
        [
            CheckOutcome::Passed,
            CheckOutcome::Passed,
            CheckOutcome::Failed,
            CheckOutcome::NotReached,
            CheckOutcome::NotReached
        ]
    );
}

#[test]
fn the_command_line_explains_a_refusal() {
    let site = Site::new();
    let check = |name: &str| {
        common::deployx()
            .args(["plugins", "check"])
            .arg(site.hostile(name))
            .output()
            .unwrap()
    };
    let refused = check("abi");
    let text = String::from_utf8_lossy(&refused.stdout);
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("no  interface"), "{text}");
    assert!(text.contains("speaks version 7 to 9"), "{text}");
    let good = check("good");
    let text = String::from_utf8_lossy(&good.stdout);
    assert_eq!(good.status.code(), Some(0), "{text}");
    assert!(text.contains("hostile 6.6.6 for toy"), "{text}");
}
