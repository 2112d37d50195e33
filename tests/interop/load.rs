//! Much of everything. Sizes from the environment; figures are printed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, Kind, kinds};
use crate::common::size;

/// Megabytes that the agent may take.
const MEMORY: u64 = 128;

/// A backend that acknowledges, with an agent whose heart beats often.
fn start(kind: Kind) -> (Backend, Agent) {
    let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
    let agent = Agent::start(
        &format!("http://127.0.0.1:{}", backend.port),
        &["--heartbeat", "5"],
    );
    backend.event("join_room");
    (backend, agent)
}

#[test]
fn short_commands_in_a_row() {
    let count = size("DEPLOYX_TEST_AGENT_COMMANDS", 100);
    for kind in kinds("short_commands_in_a_row") {
        let (mut backend, agent) = start(kind);
        let tree = tempfile::tempdir().expect("a tree");
        let begun = Instant::now();
        for n in 0..count {
            backend.emit(
                "execute_deployment_command",
                json!({ "command_id": format!("c{n}"), "command": "true", "shell": "sh", "cwd": tree.path() }),
            );
        }
        let mut left: HashSet<String> = (0..count).map(|n| format!("c{n}")).collect();
        let mut beats = Vec::new();
        while !left.is_empty() {
            let found = backend.find(Duration::from_secs(60), |line| {
                let name = line["event"].as_str()?;
                ["deployment_command_completed", "agent_heartbeat"]
                    .contains(&name)
                    .then(|| line.clone())
            });
            let line = found.unwrap_or_else(|| panic!("{} results are missing", left.len()));
            if line["event"] == "agent_heartbeat" {
                beats.push(line["at"].as_f64().unwrap_or_default());
            } else {
                assert_eq!(line["data"]["success"], true, "{line}");
                left.remove(line["data"]["command_id"].as_str().unwrap_or_default());
            }
        }
        let took = begun.elapsed().as_secs_f64();
        let late = beats
            .windows(2)
            .map(|pair| pair[1] - pair[0] - 5000.0)
            .fold(0.0, f64::max);
        println!(
            "{kind:?}: {count} commands in {took:.1} s ({:.0} a second), peak {} MB, heartbeats at most {late:.0} ms late",
            count as f64 / took,
            agent.peak_megabytes()
        );
        assert!(agent.peak_megabytes() <= MEMORY);
        assert!(late < 2000.0);
    }
}

#[test]
fn much_output_of_one_command() {
    let megabytes = size("DEPLOYX_TEST_AGENT_OUTPUT_MB", 20);
    for kind in kinds("much_output_of_one_command") {
        let (mut backend, agent) = start(kind);
        let tree = tempfile::tempdir().expect("a tree");
        let begun = Instant::now();
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "loud", "command": format!("yes 'a line of output' | head -c {megabytes}M"), "shell": "bash", "cwd": tree.path() }),
        );
        let (mut bytes, mut next, mut beats) = (0, 0, Vec::new());
        let done = loop {
            let line = backend.wait("output", |line| Some(line.clone()));
            match line["event"].as_str() {
                Some("deployment_command_output") => {
                    assert_eq!(line["data"]["seq"], next, "a piece is missing");
                    next += 1;
                    bytes += line["data"]["output"].as_str().map_or(0, str::len);
                }
                Some("agent_heartbeat") => beats.push(line["at"].as_f64().unwrap_or_default()),
                Some("deployment_command_completed") => break line["data"].clone(),
                _ => {}
            }
        };
        assert_eq!(bytes, megabytes << 20);
        assert_eq!(done["success"], true);
        assert!(
            done["output_left_out"]
                .as_u64()
                .is_some_and(|left| left > 0)
        );
        assert!(done["output_file"].is_string());
        let took = begun.elapsed().as_secs_f64();
        let late = beats
            .windows(2)
            .map(|pair| pair[1] - pair[0] - 5000.0)
            .fold(0.0, f64::max);
        println!(
            "{kind:?}: {megabytes} MB in {took:.1} s, {next} pieces, peak {} MB, heartbeats at most {late:.0} ms late",
            agent.peak_megabytes()
        );
        assert!(agent.peak_megabytes() <= MEMORY);
        assert!(late < 2000.0);
    }
}

#[test]
fn many_snapshots_are_listed() {
    let count = size("DEPLOYX_TEST_AGENT_SNAPSHOTS", 50);
    for kind in kinds("many_snapshots_are_listed").into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({}));
        let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let commands: Vec<String> = (0..count).map(|n| format!("echo {n} > file")).collect();
        backend.emit(
            "execute_batch_persistent",
            json!({ "batch_id": "many", "commands": commands, "shell": "bash", "cwd": tree.path() }),
        );
        for _ in 0..count {
            backend.event("batch_command_completed");
        }
        assert_eq!(backend.event("batch_execution_completed")["success"], true);
        let begun = Instant::now();
        backend.emit("list_snapshots", json!({}));
        let mut found = 0;
        loop {
            let part = backend.event("snapshots_list_result");
            found += part["snapshots"].as_array().map_or(0, Vec::len);
            if part["parts"].is_null() || part["part"] == part["parts"] {
                break;
            }
        }
        assert_eq!(found, count);
        println!(
            "{count} snapshots listed in {:.0} ms, peak {} MB",
            begun.elapsed().as_secs_f64() * 1000.0,
            agent.peak_megabytes()
        );
        assert!(agent.peak_megabytes() <= MEMORY);
    }
}
