//! What existing backends send, as they send it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, Kind, kinds};
use crate::common;

/// A connected pair and a tree to work in.
fn pair(kind: Kind, settings: Value) -> (Backend, Agent, tempfile::TempDir) {
    let mut backend = Backend::start(kind, settings);
    let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &[]);
    let register = backend.event("agent_register");
    assert_eq!(register["agent_id"], "agent-under-test");
    for field in [
        "machine_id",
        "device_name",
        "os",
        "shells",
        "system_info",
        "ip_address",
    ] {
        assert!(!register[field].is_null(), "{field} is missing");
    }
    assert_eq!(backend.event("join_room")["room"], "agent-under-test");
    (backend, agent, tempfile::tempdir().expect("a tree"))
}

#[test]
fn the_documented_payloads_work_with_both_servers_and_both_orders_of_transports() {
    for kind in
        kinds("the_documented_payloads_work_with_both_servers_and_both_orders_of_transports")
    {
        for transports in [["polling", "websocket"], ["websocket", "polling"]] {
            let (mut backend, _agent, tree) = pair(kind, json!({ "transports": transports }));
            walk_through(&mut backend, &tree.path().canonicalize().expect("a path"));
        }
    }
}

fn walk_through(backend: &mut Backend, tree: &Path) {
    backend.emit("get_shells", json!({}));
    let shells = backend.event("get_shells_ack");
    assert_eq!(shells["status"], "success");
    assert!(
        shells["data"]
            .as_array()
            .is_some_and(|names| names.contains(&"bash".into()))
    );

    // A single command with the fields of the seed, and one that fails.
    let done = backend.run("cmd_123", "mkdir new_folder; echo made; echo odd >&2", tree);
    assert_eq!(done["success"], true, "{done}");
    assert_eq!(done["error"], "");
    assert!(
        done["output"]
            .as_str()
            .is_some_and(|text| text.contains("made\n") && text.contains("odd\n"))
    );
    assert_eq!(done["changes"]["created"], 1);
    assert_eq!(done["agent_id"], "agent-under-test");
    assert!(done.get("execution_id").is_some() && done.get("group_execution").is_some());
    let snapshot = done["snapshot_id"].as_str().expect("a snapshot").to_owned();
    let failed = backend.run("cmd_124", "echo why >&2; exit 3", tree);
    assert_eq!(
        (&failed["success"], &failed["exit_code"]),
        (&json!(false), &json!(3))
    );
    assert_eq!(failed["error"], "why");

    backend.emit("get_snapshot_info", json!({ "snapshot_id": snapshot }));
    let info = backend.event("snapshot_info_result");
    assert_eq!(info["success"], true);
    for field in [
        "snapshot_id",
        "timestamp",
        "age_hours",
        "command",
        "working_directory",
        "file_count",
        "monitored_paths",
        "metadata",
        "state",
        "strategy",
        "size_bytes",
        "pinned",
    ] {
        assert!(
            !info["info"][field].is_null(),
            "{field} is missing in {info}"
        );
    }
    backend.emit(
        "get_snapshot_info",
        json!({ "snapshot_id": "abc123def456" }),
    );
    let info = backend.event("snapshot_info_result");
    assert_eq!(
        (&info["success"], &info["error"]),
        (&json!(false), &json!("Snapshot not found"))
    );

    // A batch with `cd`, `mkdir`, a redirection and a failure.
    backend.emit(
        "execute_batch_persistent",
        json!({
            "batch_id": "batch_456",
            "commands": ["mkdir backend", "cd backend", "mkdir test_folder", "echo \"test\" > test.txt",
                         "ls /nonexistent", "echo never"],
            "shell": "bash",
            "stop_on_failure": true,
            "cwd": tree,
        }),
    );
    let progress = backend.event("batch_command_progress");
    assert_eq!(progress["status"], "running");
    assert_eq!(progress["command_index"], 0);
    let first = backend.event("batch_command_completed");
    assert_eq!(
        (&first["command_index"], &first["success"]),
        (&json!(0), &json!(true))
    );
    let batch = backend.event("batch_execution_completed");
    assert_eq!(batch["success"], false);
    assert_eq!(batch["total_commands"], 6);
    assert_eq!(batch["successful_commands"], 4);
    let results = batch["execution_results"].as_array().expect("results");
    assert_eq!(results.len(), 6);
    assert_eq!(results[5]["error"], "Skipped due to previous failure");
    assert_ne!(results[4]["error"], "");
    assert_eq!(
        fs::read_to_string(tree.join("backend/test.txt")).expect("a file"),
        "test\n"
    );

    backend.emit("get_batch_snapshots", json!({ "batch_id": "batch_456" }));
    let snapshots = backend.event("batch_snapshots_result");
    assert_eq!(snapshots["info"]["snapshot_count"], 5);
    backend.emit("get_batch_snapshots", json!({ "batch_id": "nope" }));
    assert_eq!(
        backend.event("batch_snapshots_result")["error"],
        "Batch not found"
    );
    backend.emit("list_snapshots", json!({}));
    let list = backend.event("snapshots_list_result");
    assert_eq!(list["snapshots"].as_array().map(Vec::len), Some(7));
    assert_eq!(list["batches"][0]["batch_id"], "batch_456");

    // Rollbacks: of the batch, of the command.
    backend.emit("rollback_batch", json!({ "batch_id": "batch_456" }));
    assert_eq!(
        backend.event("batch_rollback_status")["message"],
        "Starting batch rollback..."
    );
    let undone = backend.event("batch_rollback_result");
    assert_eq!(
        undone["message"], "Batch rollback completed successfully",
        "{undone}"
    );
    assert_eq!(undone["success"], true);
    assert!(!tree.join("backend").exists());
    assert_eq!(backend.event("batch_rollback_completed")["success"], true);
    backend.emit("get_snapshot_diff", json!({ "snapshot_id": snapshot }));
    assert_eq!(backend.event("snapshot_diff_result")["success"], true);
    backend.emit(
        "pin_snapshot",
        json!({ "snapshot_id": snapshot, "pinned": true }),
    );
    assert_eq!(backend.event("pin_result")["success"], true);
    backend.emit("rollback_command", json!({ "snapshot_id": snapshot }));
    let status = backend.event("rollback_status");
    assert_eq!(
        (&status["status"], &status["message"]),
        (&json!("in_progress"), &json!("Starting rollback..."))
    );
    let undone = backend.event("rollback_result");
    assert_eq!(
        undone["message"], "Rollback completed successfully",
        "{undone}"
    );
    assert!(!tree.join("new_folder").exists());
    assert_eq!(
        backend.event("rollback_completed")["snapshot_id"],
        snapshot.as_str()
    );

    // Cleanup: what is pinned stays.
    backend.emit("cleanup_snapshot", json!({ "snapshot_id": snapshot }));
    let cleaned = backend.event("cleanup_result");
    assert_eq!(cleaned["success"], false, "{cleaned}");
    let message = cleaned["message"].as_str().unwrap_or_default();
    assert!(message.contains("pinned"), "{cleaned}");
    backend.emit("cleanup_batch", json!({ "batch_id": "batch_456" }));
    assert_eq!(backend.event("cleanup_result")["success"], true);
    backend.emit("list_snapshots", json!({}));
    let left = backend.event("snapshots_list_result");
    let left = left["snapshots"].as_array().expect("a list");
    let pinned = left
        .iter()
        .find(|one| one["snapshot_id"] == snapshot.as_str());
    assert_eq!(pinned.map(|one| &one["pinned"]), Some(&json!(true)));
    assert!(
        left.iter().all(|one| one["batch_id"] != "batch_456"),
        "{left:?}"
    );
}

/// A tree with a site in it, remembered, and the command lines of a deployment.
fn deployment() -> (common::Site, Vec<String>) {
    let site = common::Site::new();
    let repository = site.tree.parent().expect("a parent").join("repo");
    fs::create_dir_all(site.tree.join("www/html/css")).expect("a site");
    fs::write(site.tree.join("www/html/index.html"), "<p>old</p>").expect("a page");
    fs::write(site.tree.join("www/html/css/a.css"), "p{}").expect("a style");
    common::shell(
        repository.parent().expect("a parent"),
        "git init -q repo && cd repo && echo new > index.html && git add . && \
         git -c user.email=a@b -c user.name=n commit -qm one",
    );
    site.remember();
    let commands = vec![
        format!("cd {}/www", site.tree.display()),
        "mkdir backup".into(),
        "cp -r html backup/".into(),
        "rm -rf html".into(),
        format!("git clone -q {} html", repository.display()),
    ];
    (site, commands)
}

#[test]
fn a_deployment_rolled_back_leaves_no_trace() {
    let test = "a_deployment_rolled_back_leaves_no_trace";
    let tools = common::has_program("git") && common::has_program("rsync");
    if !common::require(test, "git and rsync", tools) {
        return;
    }
    for kind in kinds(test) {
        let (mut backend, _agent, _) = pair(kind, json!({}));
        let (site, commands) = deployment();
        backend.emit(
            "execute_batch_persistent",
            json!({
                "batch_id": "deploy_123", "commands": commands, "shell": "bash",
                "stop_on_failure": true, "cwd": site.tree,
            }),
        );
        let done = backend.event("batch_execution_completed");
        assert_eq!(done["success"], true, "{done}");
        let page = fs::read_to_string(site.tree.join("www/html/index.html"));
        assert_eq!(page.expect("a page"), "new\n");
        backend.emit("rollback_batch", json!({ "batch_id": "deploy_123" }));
        let undone = backend.event("batch_rollback_result");
        assert_eq!(undone["success"], true, "{undone}");
        assert_eq!(site.differences(), "");
    }
}

#[test]
fn a_deployment_in_a_session_is_taken_back_command_by_command() {
    let test = "a_deployment_in_a_session_is_taken_back_command_by_command";
    let tools = common::has_program("git") && common::has_program("rsync");
    if !common::require(test, "git and rsync", tools) {
        return;
    }
    for kind in kinds(test) {
        let (mut backend, _agent, _) = pair(kind, json!({}));
        let (site, mut commands) = deployment();
        // Variables and functions are the session's as well.
        commands.insert(1, "SITE=html; gone() { rm -rf \"$1\"; }".into());
        commands.push("gone \"$SITE/index.html\"".into());
        let mut snapshots = Vec::new();
        for (index, command) in commands.iter().enumerate() {
            let id = format!("d{index}");
            backend.emit(
                "execute_deployment_command",
                json!({
                    "command_id": id, "command": command, "shell": "bash", "session": "deploy",
                    "monitored_paths": [site.tree],
                }),
            );
            let done = backend.event_of("deployment_command_completed", "command_id", &id);
            assert_eq!(done["success"], true, "{done}");
            assert_eq!(done["session_new"] == true, index == 0, "{done}");
            snapshots.push(done["snapshot_id"].clone());
        }
        assert!(!site.tree.join("www/html/index.html").exists());
        assert!(site.tree.join("www/backup/html/index.html").exists());
        for snapshot in snapshots.iter().rev() {
            backend.emit("rollback_command", json!({ "snapshot_id": snapshot }));
            let undone = backend.event("rollback_result");
            assert_eq!(undone["success"], true, "{undone}");
        }
        assert_eq!(site.differences(), "");
        backend.emit("close_session", json!({ "session": "deploy" }));
        assert_eq!(backend.event("session_ended")["session"], "deploy");
    }
}
