//! What the lists of allowed things keep a backend from.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, PATIENCE, kinds};
use crate::common;

/// An agent with these options, and a tree to work in.
fn start(test: &str, options: &[&str]) -> Option<(Backend, Agent, tempfile::TempDir)> {
    let kind = kinds(test).into_iter().next()?;
    let tree = tempfile::tempdir().expect("a tree");
    let path = tree.path().canonicalize().expect("a path");
    let path = path.display().to_string();
    let options: Vec<&str> = options
        .iter()
        .map(|option| if *option == "TREE" { &path } else { *option })
        .collect();
    let mut backend = Backend::start(kind, json!({}));
    let agent = Agent::start(&format!("http://127.0.0.1:{}", backend.port), &options);
    backend.event("join_room");
    Some((backend, agent, tree))
}

/// A command of the administrator's in the agent's store; gives its snapshot.
fn by_hand(agent: &Agent, cwd: &Path, line: &str, options: &[&str]) -> String {
    let output = common::deployx()
        .arg("--snapshot-dir")
        .arg(agent.dir.path().join("store"))
        .args(["--json", "run", "--cwd"])
        .arg(cwd)
        .args(options)
        .args(["--", line])
        .output()
        .expect("deployx run");
    assert!(output.status.success(), "{}", common::text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    report["snapshot_id"].as_str().expect("a snapshot").into()
}

/// The answer to a request about a snapshot or a batch.
fn ask(backend: &mut Backend, event: &str, payload: Value, answer: &str) -> Value {
    backend.emit(event, payload);
    backend.event(answer)
}

fn assert_refused(told: &Value, because: &str) {
    let error = told["error"].as_str().unwrap_or_default();
    assert!(
        told["success"] == false && error.contains(because),
        "not refused because of {because}: {told}"
    );
}

#[test]
fn variables_that_are_not_named_are_refused_while_lines_are_listed() {
    let test = "variables_that_are_not_named_are_refused_while_lines_are_listed";
    let options = ["--allow-command", "ls*", "--allow-env", "GREETING"];
    let Some((mut backend, _agent, tree)) = start(test, &options) else {
        return;
    };
    let tree = tree.path();
    let function = "() { touch wrong; }";
    for (id, name, value) in [
        ("1", "BASH_FUNC_ls%%", function),
        ("2", "PATH", "/tmp"),
        ("3", "LD_PRELOAD", "/tmp/x.so"),
    ] {
        let env = json!({ "GREETING": "hello", name: value });
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": id, "command": "ls", "shell": "bash", "cwd": tree, "env": env }),
        );
        let told = backend.event_of("deployment_command_completed", "command_id", id);
        assert_refused(&told, name);
        backend.emit(
            "execute_batch_persistent",
            json!({ "batch_id": id, "commands": ["ls"], "shell": "bash", "cwd": tree, "env": env }),
        );
        let told = backend.event_of("batch_execution_completed", "batch_id", id);
        assert_refused(&told, name);
    }
    assert!(!tree.join("wrong").exists());
    backend.emit(
        "execute_deployment_command",
        json!({ "command_id": "4", "command": "ls", "shell": "bash", "cwd": tree, "env": { "GREETING": "a" } }),
    );
    let done = backend.event_of("deployment_command_completed", "command_id", "4");
    assert_eq!(done["success"], true, "{done}");
}

#[test]
fn snapshots_with_entries_outside_of_the_directories_are_out_of_reach() {
    let test = "snapshots_with_entries_outside_of_the_directories_are_out_of_reach";
    let Some((mut backend, agent, tree)) = start(test, &["--allow-path", "TREE"]) else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a tree");
    let file = elsewhere.path().join("file");
    fs::write(&file, "before").expect("a file");
    let outside = by_hand(&agent, elsewhere.path(), "echo after > file", &[]);
    for (event, payload, answer) in [
        (
            "rollback_command",
            json!({ "snapshot_id": outside }),
            "rollback_result",
        ),
        (
            "rollback_command",
            json!({ "snapshot_id": outside, "dry_run": true }),
            "rollback_result",
        ),
        (
            "get_snapshot_diff",
            json!({ "snapshot_id": outside }),
            "snapshot_diff_result",
        ),
        (
            "pin_snapshot",
            json!({ "snapshot_id": outside, "pinned": true }),
            "pin_result",
        ),
        (
            "cleanup_snapshot",
            json!({ "snapshot_id": outside }),
            "cleanup_result",
        ),
    ] {
        let told = ask(&mut backend, event, payload, answer);
        assert_refused(&told, "may not touch");
        assert!(!told.to_string().contains("before"), "{told}");
    }
    assert_eq!(fs::read_to_string(&file).expect("the file"), "after\n");
    let info = json!({ "snapshot_id": outside });
    let info = ask(
        &mut backend,
        "get_snapshot_info",
        info,
        "snapshot_info_result",
    );
    assert_eq!(info["info"]["pinned"], false, "{info}");

    // Of one with entries on both sides only the inner ones can be had.
    let inner = tree.path().canonicalize().expect("a path").join("inner");
    fs::write(&inner, "before").expect("a file");
    let line = format!("echo after > {}; echo later > file", inner.display());
    let both = by_hand(&agent, elsewhere.path(), &line, &[]);
    let rollback = json!({ "snapshot_id": both });
    let told = ask(
        &mut backend,
        "rollback_command",
        rollback,
        "rollback_result",
    );
    assert_refused(&told, "may not touch");
    let diff = json!({ "snapshot_id": both, "paths": [elsewhere.path()] });
    let told = ask(
        &mut backend,
        "get_snapshot_diff",
        diff,
        "snapshot_diff_result",
    );
    assert_refused(&told, "may not touch");
    let diff = json!({ "snapshot_id": both, "paths": [inner] });
    let told = ask(
        &mut backend,
        "get_snapshot_diff",
        diff,
        "snapshot_diff_result",
    );
    assert_eq!(told["files"].as_array().map(Vec::len), Some(1), "{told}");
    let rollback = json!({ "snapshot_id": both, "paths": [inner] });
    let told = ask(
        &mut backend,
        "rollback_command",
        rollback,
        "rollback_result",
    );
    assert_eq!(told["success"], true, "{told}");
    assert_eq!(fs::read_to_string(&inner).expect("the file"), "before");
    assert_eq!(fs::read_to_string(&file).expect("the file"), "later\n");
}

#[test]
fn batches_with_entries_outside_of_the_directories_are_out_of_reach() {
    let test = "batches_with_entries_outside_of_the_directories_are_out_of_reach";
    let Some((mut backend, agent, tree)) = start(test, &["--allow-path", "TREE"]) else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a tree");
    let lines = agent.dir.path().join("lines");
    fs::write(&lines, "echo a > a\necho b > b\n").expect("a file");
    let output = common::deployx()
        .arg("--snapshot-dir")
        .arg(agent.dir.path().join("store"))
        .args(["batch", "--batch-id", "by-hand", "--cwd"])
        .arg(elsewhere.path())
        .arg(&lines)
        .output()
        .expect("deployx batch");
    assert!(output.status.success(), "{}", common::text(&output));
    for (event, answer) in [
        ("rollback_batch", "batch_rollback_result"),
        ("cleanup_batch", "cleanup_result"),
    ] {
        let told = ask(
            &mut backend,
            event,
            json!({ "batch_id": "by-hand" }),
            answer,
        );
        assert_refused(&told, "may not touch");
    }
    assert!(elsewhere.path().join("a").exists());
    // One of its own is not.
    backend.emit(
        "execute_batch_persistent",
        json!({ "batch_id": "own", "commands": ["echo a > a"], "shell": "bash", "cwd": tree.path() }),
    );
    assert_eq!(backend.event("batch_execution_completed")["success"], true);
    for (event, answer) in [
        ("rollback_batch", "batch_rollback_result"),
        ("cleanup_batch", "cleanup_result"),
    ] {
        let told = ask(&mut backend, event, json!({ "batch_id": "own" }), answer);
        assert_eq!(told["success"], true, "{told}");
    }
    assert!(!tree.path().join("a").exists());
}

#[test]
fn what_others_do_around_a_listed_directory_keeps_nothing_in_it_from_being_taken_back() {
    let test = "what_others_do_around_a_listed_directory_keeps_nothing_in_it_from_being_taken_back";
    let Some((mut backend, _agent, tree)) = start(test, &["--allow-path", "TREE"]) else {
        return;
    };
    let tree = tree.path();
    let line = "touch begun; until [ -e go ]; do sleep 0.02; done; touch made";
    let command = json!({ "command_id": "1", "command": line, "shell": "bash", "cwd": tree });
    backend.emit("execute_deployment_command", command);
    let deadline = Instant::now() + PATIENCE;
    while !tree.join("begun").exists() {
        assert!(Instant::now() < deadline, "the command does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The times of the directory around it move, and are in the record.
    drop(tempfile::tempdir_in(tree.parent().expect("a parent")).expect("a directory"));
    fs::write(tree.join("go"), "").expect("a file");
    let done = backend.event_of("deployment_command_completed", "command_id", "1");
    assert_eq!(done["success"], true, "{done}");
    let id = json!({ "snapshot_id": done["snapshot_id"] });
    let told = ask(&mut backend, "rollback_command", id, "rollback_result");
    assert_eq!(told["success"], true, "{told}");
    assert!(!tree.join("made").exists());
}

#[test]
fn nothing_outside_of_the_directories_is_captured() {
    let test = "nothing_outside_of_the_directories_is_captured";
    let Some((mut backend, _agent, tree)) = start(test, &["--allow-path", "TREE"]) else {
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a tree");
    std::os::unix::fs::symlink(elsewhere.path(), tree.path().join("link")).expect("a link");
    fs::write(elsewhere.path().join("file"), "").expect("a file");
    let through = tree.path().join("link/file");
    for (id, path) in [
        ("1", Path::new("/")),
        ("2", elsewhere.path()),
        ("3", &through),
    ] {
        backend.emit(
            "execute_deployment_command",
            json!({
                "command_id": id, "command": "touch wrong", "shell": "bash", "cwd": tree.path(),
                "monitored_paths": [tree.path(), path],
            }),
        );
        let told = backend.event_of("deployment_command_completed", "command_id", id);
        assert_refused(&told, "may not touch");
    }
    assert!(!tree.path().join("wrong").exists());
    let told = backend.run("4", "touch link/wrong", tree.path());
    assert_refused(&told, "may not touch");
    assert!(!elsewhere.path().join("wrong").exists());
}

#[test]
fn a_backend_with_listed_lines_reaches_only_the_snapshots_of_its_own_commands() {
    let test = "a_backend_with_listed_lines_reaches_only_the_snapshots_of_its_own_commands";
    let Some((mut backend, agent, tree)) = start(test, &["--allow-command", "touch *"]) else {
        return;
    };
    let foreign = by_hand(&agent, tree.path(), "echo secret > key", &[]);
    for (event, answer) in [
        ("get_snapshot_diff", "snapshot_diff_result"),
        ("rollback_command", "rollback_result"),
        ("cleanup_snapshot", "cleanup_result"),
    ] {
        let told = ask(
            &mut backend,
            event,
            json!({ "snapshot_id": foreign }),
            answer,
        );
        assert_refused(&told, "own commands");
        assert!(!told.to_string().contains("+secret"), "{told}");
    }
    let own = backend.run("own", "touch a", tree.path());
    backend.emit(
        "execute_batch_persistent",
        json!({ "batch_id": "b", "commands": ["touch b"], "shell": "bash", "cwd": tree.path() }),
    );
    let batch = backend.event("batch_execution_completed");
    let mut redo = Value::Null;
    for id in [&own["snapshot_id"], &batch["snapshot_ids"][0]] {
        let id = json!({ "snapshot_id": id });
        let told = ask(
            &mut backend,
            "get_snapshot_diff",
            id.clone(),
            "snapshot_diff_result",
        );
        assert_eq!(told["success"], true, "{told}");
        let told = ask(&mut backend, "rollback_command", id, "rollback_result");
        assert_eq!(told["success"], true, "{told}");
        redo = told["redo_snapshot_id"].clone();
    }
    assert!(tree.path().join("key").exists() && !tree.path().join("b").exists());
    // What was taken back can be had again, and so on; but not what somebody else took back.
    for there in [true, false, true] {
        let id = json!({ "snapshot_id": redo });
        let told = ask(&mut backend, "rollback_command", id, "rollback_result");
        assert_eq!(told["success"], true, "{told}");
        assert_eq!(tree.path().join("b").exists(), there);
        redo = told["redo_snapshot_id"].clone();
    }
    let output = common::deployx()
        .arg("--snapshot-dir")
        .arg(agent.dir.path().join("store"))
        .args(["--json", "rollback", &foreign])
        .output()
        .expect("deployx rollback");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let id = json!({ "snapshot_id": report["redo_snapshot_id"] });
    let told = ask(&mut backend, "rollback_command", id, "rollback_result");
    assert_refused(&told, "own commands");
    assert!(!tree.path().join("key").exists());
}

#[test]
fn a_session_is_judged_by_the_shell_it_has() {
    let test = "a_session_is_judged_by_the_shell_it_has";
    let Some(kind) = kinds(test).into_iter().next() else {
        return;
    };
    let mut backend = Backend::start(kind, json!({}));
    let server = format!("http://127.0.0.1:{}", backend.port);
    let agent = Agent::configured(&server, &[], "[agent]\nallow_shell = [\"sh\"]\n");
    backend.event("join_room");
    let run = |backend: &mut Backend, id: &str, shell: Option<&str>| {
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": id, "command": "echo $0", "shell": shell, "session": "s" }),
        );
        backend.event_of("deployment_command_completed", "command_id", id)
    };
    let told = run(&mut backend, "1", None);
    assert_refused(&told, "'bash' is not allowed");
    assert_eq!(run(&mut backend, "2", Some("sh"))["output"], "sh\n");
    assert_eq!(run(&mut backend, "3", None)["output"], "sh\n");
    // Other lists hold for a shell that is open already.
    let config = agent.dir.path().join("config.toml");
    fs::write(config, "[agent]\nallow_shell = [\"bash\"]\n").expect("a configuration");
    agent.signal("HUP");
    backend.event("join_room");
    let told = run(&mut backend, "4", None);
    assert_refused(&told, "'sh' is not allowed");
}
