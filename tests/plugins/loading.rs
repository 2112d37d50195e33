//! Plugins that are wrong when they are loaded.

use std::process::{Command, Stdio};
use std::time::Duration;

use deployx::plugin::{self, PluginHost, PluginState, Reason};

use crate::site::{Site, because, host, refusal};

/// A host that does not wait long.
fn impatient() -> PluginHost {
    PluginHost {
        start_limit: Duration::from_millis(300),
        ..host()
    }
}

#[test]
fn a_wrong_description_is_refused() {
    let site = Site::new();
    for (behaviour, expected) in [
        (
            "null",
            "it gives no description for version 1 to 1 of the interface",
        ),
        (
            "magic",
            "its description does not begin with the magic bytes",
        ),
        ("size", "its description has 8 bytes, which is too few"),
        (
            "abi",
            "it speaks version 7 to 9 of the interface, DeployX 1 to 1",
        ),
        ("function", "its function 'infer' is missing"),
        ("bad-shell", "its shell is not a name"),
        ("create", "it could not be started: it refused: not today"),
    ] {
        let (reason, message) = refusal(&site.hostile(behaviour), &host());
        assert_eq!((reason, message.as_str()), (Reason::Interface, expected));
    }
}

#[test]
fn a_crash_at_loading_is_survived() {
    let site = Site::new();
    let (reason, message) = refusal(&site.hostile("abort-at-entry"), &host());
    assert_eq!(reason, Reason::Crashed);
    assert!(message.contains("SIGABRT"), "{message}");
}

#[test]
fn a_plugin_that_never_finishes_loading_is_given_up() {
    let site = Site::new();
    let (reason, message) = refusal(&site.hostile("hang-at-entry"), &impatient());
    assert_eq!(reason, Reason::TimedOut);
    assert_eq!(message, "it gave no answer within 0.3 s");
}

#[test]
fn a_plugin_that_claims_to_know_everything_is_refused() {
    let site = Site::new();
    let (reason, message) = refusal(&site.hostile("lies"), &host());
    assert_eq!(reason, Reason::Lies);
    assert!(
        message.contains("a program that does not exist"),
        "{message}"
    );
}

#[test]
fn a_plugin_that_garbage_ends_is_refused() {
    let site = Site::new();
    let (reason, message) = refusal(&site.hostile("crash-on-garbage"), &host());
    assert_eq!(reason, Reason::Crashed);
    assert!(message.contains("SIGSEGV"), "{message}");
    let quick = PluginHost {
        call_limit: Duration::from_millis(300),
        ..host()
    };
    let (reason, _) = refusal(&site.hostile("hang-on-garbage"), &quick);
    assert_eq!(reason, Reason::TimedOut);
}

#[test]
fn a_host_that_is_not_there_is_said() {
    let site = Site::new();
    let missing = PluginHost::new("/no/such/program", &[]);
    let (reason, _) = refusal(&site.hostile("good"), &missing);
    assert_eq!(reason, Reason::Host);
    // A program that speaks something else.
    let other = PluginHost::new("/bin/echo", &["a text that is long enough for a frame"]);
    let (reason, _) = refusal(&site.at("libgood.so"), &other);
    assert_eq!(reason, Reason::BadAnswer);
    let nothing = PluginHost::new("/bin/true", &[]);
    let (reason, _) = refusal(&site.at("libgood.so"), &nothing);
    assert_eq!(reason, Reason::Crashed);
}

#[test]
fn a_refused_plugin_does_not_keep_others_out() {
    let site = Site::new();
    for behaviour in ["abi", "good", "lies"] {
        site.hostile(behaviour);
    }
    site.put("notes.txt", b"no library");
    let plugins = plugin::load(&[site.at("none"), site.path().to_owned()], &host());
    assert_eq!(plugins.active.len(), 1);
    assert_eq!(plugins.active[0].path(), site.at("libgood.so"));
    assert_eq!(plugins.active[0].report().state, PluginState::Active);
    let reasons: Vec<Reason> = plugins.refused.iter().map(|r| because(r).0).collect();
    assert_eq!(reasons, [Reason::Interface, Reason::Lies]);
}

/// Whoever asked may have been killed while the plugin was busy.
#[test]
fn the_host_process_ends_with_its_input() {
    let site = Site::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_deployx"))
        .arg("plugin-host")
        .arg(site.hostile("hang-at-entry"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
