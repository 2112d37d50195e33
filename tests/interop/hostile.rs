//! A server that sends what makes no sense: the agent answers with errors and lives.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, Kind, kinds};

fn start(kind: Kind) -> (Backend, Agent, tempfile::TempDir) {
    let mut backend = Backend::start(kind, json!({}));
    let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
    backend.event("join_room");
    (backend, agent, tempfile::tempdir().expect("a tree"))
}

#[test]
fn wrong_types_and_missing_fields_are_answered() {
    for kind in kinds("wrong_types_and_missing_fields_are_answered") {
        let (mut backend, _agent, tree) = start(kind);
        for (event, payload, answer) in [
            (
                "execute_deployment_command",
                json!({}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!("text"),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": 5, "command": "ls"}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "a", "command": ["ls"]}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "b", "command": "ls", "shell": "tcsh"}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "c", "command": "ls", "shell": "cmd"}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "d", "command": "ls", "cwd": "relative"}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "e", "command": "ls", "cwd": "/nonexistent"}),
                "deployment_command_completed",
            ),
            (
                "execute_deployment_command",
                json!({"command_id": "f", "command": "ls", "strategy": "magic"}),
                "deployment_command_completed",
            ),
            (
                "execute_batch_persistent",
                json!({"batch_id": "../../etc", "commands": ["ls"]}),
                "batch_execution_completed",
            ),
            (
                "execute_batch_persistent",
                json!({"batch_id": "b", "commands": "ls"}),
                "batch_execution_completed",
            ),
            (
                "rollback_command",
                json!({"snapshot_id": "last"}),
                "rollback_result",
            ),
            (
                "rollback_command",
                json!({"snapshot_id": "../../../etc/passwd"}),
                "rollback_result",
            ),
            (
                "rollback_batch",
                json!({"batch_id": "last"}),
                "batch_rollback_result",
            ),
            ("rollback_batch", json!([]), "batch_rollback_result"),
            (
                "get_snapshot_info",
                json!({"snapshot_id": null}),
                "snapshot_info_result",
            ),
            (
                "get_batch_snapshots",
                json!({"batch_id": {}}),
                "batch_snapshots_result",
            ),
            (
                "cleanup_snapshot",
                json!({"snapshot_id": "0000000000000000"}),
                "cleanup_result",
            ),
            ("cleanup_batch", json!({"batch_id": "/"}), "cleanup_result"),
            (
                "get_snapshot_diff",
                json!({"snapshot_id": "x", "max_bytes": -1}),
                "snapshot_diff_result",
            ),
            ("pin_snapshot", json!({"snapshot_id": "x"}), "pin_result"),
            (
                "cancel_command",
                json!({"command_id": "unknown"}),
                "agent_error",
            ),
        ] {
            backend.emit(event, payload.clone());
            let told = backend.event(answer);
            assert_ne!(told["error"], "", "{event} {payload}");
            assert!(told["error"].is_string(), "{event} {payload}: {told}");
            if answer != "agent_error" {
                assert_eq!(told["success"], false, "{event} {payload}");
            }
        }
        // An id with path characters is as good as any other.
        let done = backend.run("../../../etc/x y", "echo fine", tree.path());
        assert_eq!(done["output"], "fine\n");
        backend.emit("no_such_event", json!({"a": 1}));
        backend.order(json!({ "emit": ["get_shells"], "room": "agent-under-test" }));
        assert_eq!(backend.event("get_shells_ack")["status"], "success");
    }
}

#[test]
fn events_before_the_registration_are_answered_after_it() {
    for kind in kinds("events_before_the_registration_are_answered_after_it") {
        let tree = tempfile::tempdir().expect("a tree");
        let early = json!([
            ["execute_deployment_command",
             { "command_id": "early", "command": "echo x >> log", "shell": "sh", "cwd": tree.path() }],
            ["execute_deployment_command", { "command_id": "wrong", "command": 5 }],
            ["rollback_command", { "snapshot_id": "0000000000000000" }],
            ["registration_success", [[]]],
            ["join_room", null],
            ["get_shells", {}],
        ]);
        let mut backend = Backend::start(kind, json!({ "early": early, "acknowledge": true }));
        let mut agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("agent_register");
        let done = backend.event_of("deployment_command_completed", "command_id", "early");
        assert_eq!(done["success"], true, "{done}");
        let wrong = backend.event_of("deployment_command_completed", "command_id", "wrong");
        assert_eq!(wrong["success"], false);
        assert_eq!(backend.event("rollback_result")["success"], false);
        // Again on every line, and run once.
        agent.crash();
        backend.event("agent_register");
        let again = backend.event_of("deployment_command_completed", "command_id", "early");
        assert_eq!(again["snapshot_id"], done["snapshot_id"]);
        let ran = std::fs::read_to_string(tree.path().join("log")).expect("a log");
        assert_eq!(ran, "x\n");
    }
}

#[test]
fn large_payloads_and_floods_are_survived() {
    for kind in kinds("large_payloads_and_floods_are_survived") {
        let (mut backend, agent, tree) = start(kind);
        let megabytes = |n: usize| "x".repeat(n << 20);
        backend.emit(
            "execute_deployment_command",
            json!({"command_id": "big", "command": megabytes(10), "shell": "bash"}),
        );
        let told = backend.event_of("deployment_command_completed", "command_id", "big");
        assert_eq!(told["success"], false);
        for _ in 0..2000 {
            backend.emit("get_snapshot_info", json!({"snapshot_id": "x"}));
        }
        for _ in 0..2000 {
            backend.event("snapshot_info_result");
        }
        backend.emit("anything", json!({ "data": megabytes(50) }));
        let huge = format!("touch {}/wrong; : {}", tree.path().display(), megabytes(50));
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "huge", "command": huge, "shell": "bash" }),
        );
        std::thread::sleep(Duration::from_secs(2));
        // It may have dropped the line over that; it comes back and works.
        let mut done = Value::Null;
        for attempt in 0..10 {
            backend.emit(
                "execute_deployment_command",
                json!({"command_id": format!("after-{attempt}"), "command": "echo alive", "shell": "bash", "cwd": tree.path()}),
            );
            let found = backend.find(Duration::from_secs(8), |line| {
                (line["event"] == "deployment_command_completed").then(|| line["data"].clone())
            });
            if let Some(found) = found {
                done = found;
                break;
            }
        }
        assert_eq!(done["output"], "alive\n");
        assert!(!tree.path().join("wrong").exists());
        println!(
            "{kind:?}: peak {} MB after payloads of 50 MB",
            agent.peak_megabytes()
        );
    }
}

#[test]
fn frames_that_are_no_text_or_no_packets_are_survived() {
    let test = "frames_that_are_no_text_or_no_packets_are_survived";
    let Some(kind) = kinds(test).into_iter().find(|kind| *kind == Kind::Node) else {
        return;
    };
    let (mut backend, _agent, tree) = start(kind);
    for raw in [
        "42[\"get_shells\",{\"a\":\"\\ud800\"}]",
        "42[\"execute_deployment_command\",{\"command_id\":\"\\ud800\",\"command\":\"ls\"}]",
        "42[",
        "42[]",
        "42{}",
        "9",
        "",
        "451-[\"x\"]",
        "4999999999999999999999[\"x\"]",
        "42[[[[[[",
        "b4x",
    ] {
        backend.order(json!({ "raw": raw }));
    }
    // A text frame with bytes that are no text.
    backend.order(json!({ "bytes": "8104ff343280" }));
    std::thread::sleep(Duration::from_secs(8));
    for attempt in 0..5 {
        backend.emit(
            "execute_deployment_command",
            json!({"command_id": format!("still-{attempt}"), "command": "echo alive", "shell": "bash", "cwd": tree.path()}),
        );
        let found = backend.find(Duration::from_secs(8), |line| {
            (line["event"] == "deployment_command_completed" && line["data"]["success"] == true)
                .then_some(())
        });
        if found.is_some() {
            return;
        }
    }
    panic!("the agent did not come back");
}

#[test]
fn log_lines_are_json_objects_whatever_is_in_the_ids() {
    let test = "log_lines_are_json_objects_whatever_is_in_the_ids";
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({}));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let agent = Agent::start(&server, &["--log-format", "json"]);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let odd = "a\"b\\c\u{2028}{\"level\":\"x\"} %0a é \u{202e}";
        assert_eq!(backend.run(odd, "true", tree.path())["success"], true);
        for id in ["line\nbreak", "\u{1b}[31mred", "\r\u{0}"] {
            backend.emit(
                "execute_deployment_command",
                json!({ "command_id": id, "command": "true", "shell": "bash" }),
            );
            backend.event_of("deployment_command_completed", "command_id", id);
        }
        backend.emit("no\nsuch\u{1b}event", json!({}));
        backend.emit("close_session", json!({ "session": format!("s{odd}") }));
        backend.event("agent_error");
        let log = agent.log();
        let mut refusals = 0;
        for line in log.lines() {
            let entry: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for field in ["timestamp", "level", "message"] {
                assert!(entry[field].is_string(), "{field} is missing: {line}");
            }
            let control = |text: &str| text.chars().any(char::is_control);
            for (name, value) in entry.as_object().expect("an object") {
                assert!(!value.as_str().is_some_and(control), "{name}: {line}");
            }
            refusals += usize::from(entry["message"] == "a request is refused");
        }
        assert_eq!(refusals, 4, "{log}");
        let named = |line: &str| line.contains("a command has ended") && line.contains("%0a");
        assert!(log.lines().any(named), "{log}");
    }
}
