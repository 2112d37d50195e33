//! What the agent takes while it is asked for far too much.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, PATIENCE, kinds};

/// Megabytes that the agent may keep.
const MEMORY: u64 = 128;

#[test]
fn an_event_of_a_million_values_is_refused_and_its_memory_given_back() {
    for kind in kinds("an_event_of_a_million_values_is_refused_and_its_memory_given_back") {
        let mut backend = Backend::start(kind, json!({}));
        let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("join_room");
        let many = vec![json!({ "": 0 }); 1_000_000];
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "many", "command": "true", "shell": "sh", "y": many }),
        );
        let told = backend.event_of("deployment_command_completed", "command_id", "many");
        assert_eq!(told["success"], false);
        let deadline = Instant::now() + PATIENCE;
        while agent.resident_megabytes() > MEMORY {
            assert!(
                Instant::now() < deadline,
                "{kind:?}: it keeps {} MB",
                agent.resident_megabytes()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{kind:?}: {} MB at most, {} MB kept",
            agent.peak_megabytes(),
            agent.resident_megabytes()
        );
    }
}

#[test]
fn what_waits_is_bounded_by_all_that_it_holds() {
    for kind in kinds("what_waits_is_bounded_by_all_that_it_holds") {
        let mut backend = Backend::start(kind, json!({}));
        let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let send = |backend: &mut Backend, id: &str, command: &str, execution: &str| {
            backend.emit(
                "execute_deployment_command",
                json!({
                    "command_id": id, "command": command, "shell": "sh", "cwd": tree.path(),
                    "execution_id": execution,
                }),
            );
        };
        send(
            &mut backend,
            "first",
            "while ! test -e go; do sleep 0.1; done",
            "",
        );
        let large = "x".repeat(1_800_000);
        for n in 0..40 {
            send(&mut backend, &format!("c{n}"), "true", &large);
        }
        let refused = backend.event("deployment_command_completed");
        assert_eq!(refused["success"], false);
        let error = refused["error"].as_str().unwrap_or_default();
        assert!(error.contains("wait already"), "{error}");
        assert!(
            agent.peak_megabytes() <= MEMORY + 64,
            "{} MB",
            agent.peak_megabytes()
        );
        std::fs::write(tree.path().join("go"), "").expect("a file");
        let first = backend.event_of("deployment_command_completed", "command_id", "first");
        assert_eq!(first["success"], true);
    }
}
