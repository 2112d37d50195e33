//! Plugins that are accepted and go wrong later.

use std::time::Duration;

use deployx::infer::PathInference as _;
use deployx::plugin::{LoadedPlugin, PluginHost, PluginState, Reason};

use crate::site::{Site, ask, because, host};

/// Loads a plugin, has it do `command`, and gives why it was disabled. Whatever it did, the line
/// counts as not understood and the plugin is not asked again.
fn disabled_by(command: &str, host: &PluginHost) -> (Reason, String) {
    let site = Site::new();
    site.hostile("good");
    let plugin = site.load(host);
    assert_eq!(plugin.report().state, PluginState::Active);
    let answer = ask(&plugin, command);
    assert_eq!(answer.paths, []);
    assert_eq!(answer.unclear.len(), 1, "{command}");
    assert_eq!(answer.unclear[0].text, command.as_bytes());
    assert!(
        answer.unclear[0]
            .reason
            .starts_with("the plugin 'hostile' is disabled: ")
    );
    assert!(answer.session.unknown);
    let report = plugin.report();
    assert_eq!(report.state, PluginState::Disabled);
    assert_eq!(ask(&plugin, "drop").unclear.len(), 1);
    because(&report)
}

fn active() -> (Site, LoadedPlugin) {
    let site = Site::new();
    site.hostile("good");
    let plugin = site.load(&host());
    (site, plugin)
}

#[test]
fn a_good_answer_is_passed_on() {
    let (_site, plugin) = active();
    assert_eq!(plugin.name(), "hostile");
    assert_eq!(plugin.shells(), ["toy"]);
    let answer = ask(&plugin, "drop");
    assert_eq!(answer.paths[0].path, b"/srv/dropped");
    assert_eq!(answer.unclear, []);
}

#[test]
fn crashes_are_survived() {
    for (command, how) in [
        ("abort", "SIGABRT"),
        ("segfault", "SIGSEGV"),
        ("overflow", "SIG"),
        ("wild", "SIGSEGV"),
        ("unwind", "SIGABRT"),
        ("allocate", "SIG"),
        ("exit", "exit status: 0"),
    ] {
        let (reason, message) = disabled_by(command, &host());
        assert_eq!(reason, Reason::Crashed, "{command}: {message}");
        assert!(message.contains(how), "{command}: {message}");
    }
}

#[test]
fn a_panic_is_reported_with_its_message() {
    let (reason, message) = disabled_by("panic", &host());
    assert_eq!(reason, Reason::Failed);
    assert_eq!(message, "it panicked: lost its head");
}

#[test]
fn an_endless_call_is_given_up() {
    let (reason, message) = disabled_by(
        "hang",
        &PluginHost {
            call_limit: Duration::from_secs(3),
            ..host()
        },
    );
    assert_eq!(reason, Reason::TimedOut);
    assert_eq!(message, "it gave no answer within 3 s");
}

#[test]
fn hostile_answers_are_refused() {
    for (command, expected) in [
        ("null", "it returned a null pointer with a length of 7"),
        (
            "huge",
            "it returned 18446744073709551615 bytes, more than the 16777216 allowed",
        ),
        (
            "long",
            "it returned 16777217 bytes, more than the 16777216 allowed",
        ),
        ("status", "it returned the status 99, which is none"),
        (
            "garbage",
            "its answer is malformed: the record at byte 0 is cut short",
        ),
        (
            "many",
            "its answer is malformed: inference.path stands more than 100000 times",
        ),
        (
            "not-utf8",
            "its answer is malformed: path.reason is not UTF-8",
        ),
        (
            "relative",
            "its answer is malformed: path.path is not absolute: \"srv/dropped\"",
        ),
        (
            "dots",
            "its answer is malformed: path.path has a '.' or '..' component: \"/srv/../etc\"",
        ),
    ] {
        let (reason, message) = disabled_by(command, &host());
        assert_eq!((reason, message.as_str()), (Reason::BadAnswer, expected));
    }
}

#[test]
fn a_plugin_that_writes_into_the_connection_is_found_out() {
    let (reason, _) = disabled_by("scribble", &host());
    assert_eq!(reason, Reason::BadAnswer);
}

#[test]
fn a_plugin_may_decline_a_line() {
    let (_site, plugin) = active();
    let answer = ask(&plugin, "refuse");
    assert_eq!(
        answer.unclear[0].reason,
        "the plugin 'hostile' declined: it refused: will not"
    );
    assert_eq!(plugin.report().state, PluginState::Active);
    assert_eq!(ask(&plugin, "drop").paths.len(), 1);
}

#[test]
fn what_a_plugin_prints_or_reads_is_no_part_of_the_connection() {
    let (_site, plugin) = active();
    assert_eq!(ask(&plugin, "print").paths[0].path, b"/srv/printed");
    assert_eq!(ask(&plugin, "read").paths[0].path, b"/srv/read");
    assert_eq!(ask(&plugin, "drop").paths[0].path, b"/srv/dropped");
}

#[test]
fn a_line_that_is_too_long_does_not_disable() {
    let (_site, plugin) = active();
    let answer = ask(&plugin, &"x".repeat(17 << 20));
    assert!(answer.unclear[0].reason.contains("too long"));
    assert_eq!(ask(&plugin, "drop").paths.len(), 1);
}

#[test]
fn a_plugin_without_tables_takes_none() {
    let (_site, mut plugin) = active();
    let error = plugin.add_rules("own.toml", "[x]").unwrap_err();
    assert_eq!(error.source, "own.toml");
    assert!(error.message.ends_with("it takes no rules of this form"));
    assert_eq!(plugin.report().state, PluginState::Active);
}

#[test]
fn several_threads_may_ask() {
    let (_site, plugin) = active();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(ask(&plugin, "drop").paths.len(), 1);
                }
            });
        }
    });
}

/// The host process ends with the value that stands for it, even while it is busy.
#[test]
fn no_process_is_left_behind() {
    let site = Site::new();
    let file = site.hostile("good");
    let plugin = site.load(&host());
    let quick = PluginHost {
        call_limit: Duration::from_secs(3),
        ..host()
    };
    let busy = site.load(&quick);
    assert_eq!(processes_with(&file), 2);
    ask(&busy, "hang");
    assert_eq!(processes_with(&file), 1);
    drop(plugin);
    assert_eq!(processes_with(&file), 0);
}

/// How many processes were started with `path` as an argument.
fn processes_with(path: &std::path::Path) -> usize {
    let wanted = path.as_os_str().as_encoded_bytes();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.split(|byte| *byte == 0).any(|part| part == wanted))
        .count()
}
