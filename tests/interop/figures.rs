//! The figures of an agent that has done something of everything.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, PATIENCE, kinds};

/// The figures that the agent serves.
fn scrape(agent: &Agent) -> BTreeMap<String, u64> {
    use std::io::{Read as _, Write as _};
    let log = agent.log();
    let started = log.lines().find(|line| line.contains("metrics="));
    let address = started.and_then(|line| line.split("metrics=").nth(1)?.split_whitespace().next());
    let address = address.expect("an address in the log").trim_matches('"');
    let mut stream = std::net::TcpStream::connect(address).expect("the endpoint");
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let figures = body.lines().filter(|line| !line.starts_with('#'));
    figures
        .map(|line| {
            let (name, value) = line.split_once(' ').expect("a figure");
            let name = name.strip_prefix("deployx_agent_").expect("a prefix");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn the_figures_that_are_served_tell_what_was_done() {
    let test = "the_figures_that_are_served_tell_what_was_done";
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let options = [
            "--metrics",
            "127.0.0.1:0",
            "--allow-shell",
            "bash",
            "--heartbeat",
            "1",
        ];
        let agent = Agent::start(&server, &options);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let tree = tree.path();
        std::fs::write(tree.join("a"), vec![b'a'; 100_000]).expect("a file");
        let done = backend.run("1", "echo a > a", tree);
        assert_eq!(backend.run("2", "false", tree)["success"], false);
        assert_eq!(backend.run("1", "echo a > a", tree)["success"], true);
        let id = done["snapshot_id"].clone();
        backend.emit("rollback_command", json!({ "snapshot_id": id }));
        assert_eq!(backend.event("rollback_result")["success"], true);
        backend.emit(
            "rollback_command",
            json!({ "snapshot_id": "0000000000000000" }),
        );
        assert_eq!(backend.event("rollback_result")["success"], false);
        // Refused though it makes sense; without sense; accepted and never begun; skipped in a batch.
        let command = |id: &str, line: &str, shell: &str| json!({ "command_id": id, "command": line, "shell": shell, "cwd": tree });
        backend.emit("execute_deployment_command", command("3", "true", "sh"));
        backend.event_of("deployment_command_completed", "command_id", "3");
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "4", "command": 5 }),
        );
        backend.event_of("deployment_command_completed", "command_id", "4");
        let lines = ["true", "false", "true", "true"];
        let batch = json!({ "batch_id": "b", "commands": lines, "shell": "bash", "cwd": tree });
        backend.emit("execute_batch_persistent", batch);
        backend.event("batch_execution_completed");
        let line = "touch begun; until [ -e go ]; do sleep 0.02; done";
        backend.emit("execute_deployment_command", command("5", line, "bash"));
        for id in ["6", "7"] {
            backend.emit("execute_deployment_command", command(id, "true", "bash"));
        }
        let deadline = Instant::now() + PATIENCE;
        while scrape(&agent)["queue_depth"] != 2 || !tree.join("begun").exists() {
            assert!(Instant::now() < deadline, "{:?}", scrape(&agent));
            std::thread::sleep(Duration::from_millis(20));
        }
        backend.emit("cancel_command", json!({ "command_id": "6" }));
        // Taken in before the next command is answered.
        backend.emit("get_shells", json!({}));
        backend.event("get_shells_ack");
        std::fs::write(tree.join("go"), "").expect("a file");
        for id in ["5", "6", "7"] {
            backend.event_of("deployment_command_completed", "command_id", id);
        }
        backend.order(json!({ "disconnect": true }));
        backend.event("join_room");
        backend.event("agent_heartbeat");
        // The outbox is empty when the next acknowledgement is there.
        while scrape(&agent)["outbox_depth"] != 0 {
            assert!(Instant::now() < deadline, "{:?}", scrape(&agent));
            std::thread::sleep(Duration::from_millis(50));
        }
        let figures = scrape(&agent);
        for (name, value) in [
            ("connected", 1),
            ("connections_total", 2),
            ("events_rejected_total", 1),
            ("requests_refused_total", 1),
            ("commands_total", 6),
            ("commands_failed_total", 2),
            ("commands_not_run_total", 3),
            ("batches_total", 1),
            ("duplicates_total", 1),
            ("snapshots_total", 6),
            ("rollbacks_total", 1),
            ("rollbacks_failed_total", 1),
            ("queue_depth", 0),
            ("sessions", 0),
            ("outbox_dropped_total", 0),
        ] {
            assert_eq!(figures.get(name), Some(&value), "{name} in {figures:#?}");
        }
        for name in ["events_total", "events_sent_total", "snapshot_bytes_total"] {
            assert!(figures[name] > 0, "{name} in {figures:#?}");
        }
    }
}
