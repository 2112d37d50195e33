//! What a killed agent was in the middle of, as the next one tells it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, kinds};

const PATIENCE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn files_in(directory: &Path) -> usize {
    fs::read_dir(directory).map_or(0, Iterator::count)
}

#[test]
fn a_rollback_that_a_kill_cut_short_is_finished_and_told() {
    let test = "a_rollback_that_a_kill_cut_short_is_finished_and_told";
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let mut agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let many = tree.path().join("d");
        for (event, key, result) in [
            ("rollback_command", "snapshot_id", "rollback_result"),
            ("rollback_batch", "batch_id", "batch_rollback_result"),
        ] {
            let line = "mkdir d; for i in $(seq 3000); do echo $i > d/$i; done";
            let id = if event == "rollback_batch" {
                backend.emit(
                    "execute_batch_persistent",
                    json!({ "batch_id": "b", "commands": [line], "shell": "bash", "cwd": tree.path() }),
                );
                backend.event("batch_execution_completed");
                json!("b")
            } else {
                backend.run("many", line, tree.path())["snapshot_id"].clone()
            };
            assert_eq!(files_in(&many), 3000);
            let mut payload = json!({});
            payload[key] = id.clone();
            backend.emit(event, payload);
            wait_until("the rollback does not begin", || files_in(&many) < 3000);
            agent.crash();
            let told = backend.event_of(result, key, id.as_str().expect("an id"));
            assert_eq!(told["success"], true, "{told}");
            assert!(!many.exists(), "{told}");
            backend.event("join_room");
        }
    }
}

#[test]
fn a_batch_that_a_kill_cut_short_is_told_command_by_command() {
    let test = "a_batch_that_a_kill_cut_short_is_told_command_by_command";
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let mut agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
        backend.event("join_room");
        for snapshot in [true, false] {
            let tree = tempfile::tempdir().expect("a tree");
            let id = format!("b-{snapshot}");
            let commands = [
                "echo 1 > one",
                "false",
                "touch begun; sleep 600",
                "touch never",
            ];
            backend.emit(
                "execute_batch_persistent",
                json!({
                    "batch_id": id, "commands": commands, "shell": "bash", "cwd": tree.path(),
                    "snapshot": snapshot, "stop_on_failure": false,
                }),
            );
            wait_until("it does not begin", || tree.path().join("begun").exists());
            agent.crash();
            let told = backend.event_of("batch_execution_completed", "batch_id", &id);
            assert_eq!(
                (&told["interrupted"], &told["successful_commands"]),
                (&json!(true), &json!(1)),
                "{told}"
            );
            let each = |field: &str| -> Vec<Value> {
                let results = told["execution_results"].as_array().expect("results");
                results.iter().map(|one| one[field].clone()).collect()
            };
            assert_eq!(
                each("exit_code"),
                [json!(0), json!(1), json!(null), json!(null)]
            );
            let has = each("snapshot_id")
                .iter()
                .map(Value::is_string)
                .collect::<Vec<_>>();
            assert_eq!(has, [snapshot, snapshot, snapshot, false], "{told}");
            let errors = each("error");
            assert_eq!(errors[0], "");
            let text = |index: usize| errors[index].as_str().unwrap_or_default();
            assert!(text(2).contains("interrupted while it ran"), "{told}");
            assert!(text(3).contains("was not run"), "{told}");
            assert!(!tree.path().join("never").exists());
            backend.event("join_room");
        }
    }
}
