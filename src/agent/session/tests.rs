//! What is told after an agent was killed, from states left by hand.

use serde_json::{Value, json};

use super::*;
use crate::agent::config::AgentConfig;
use crate::agent::identity::Identity;
use crate::agent::state::State;
use crate::engine::{Engine, EngineConfig};
use crate::execute::Output;
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::{BatchRequest, RollbackRequest, RunRequest};

/// What the threads of an agent share that does not run, with a place for it.
pub(super) fn shared() -> (tempfile::TempDir, Arc<Shared>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tree")).unwrap();
    let shared = reopened(dir.path());
    (dir, shared)
}

fn reopened(dir: &std::path::Path) -> Arc<Shared> {
    let engine = Engine::open(EngineConfig::new(dir.join("store"))).unwrap();
    let state = State::open(&dir.join("state")).unwrap();
    let cwd = AbsPath::new(dir.canonicalize().unwrap().join("tree")).unwrap();
    let config = AgentConfig::new(dir.join("state"), cwd);
    let identity = Identity::read("127.0.0.1:1");
    Arc::new(Shared::new(engine, state, config, "a".into(), identity))
}

/// Runs commands as the batch `b`, of which the agent notes nothing; gives the snapshots.
fn run(shared: &Shared, lines: &[&str]) -> Vec<String> {
    let mut run = RunRequest::new("", shared.config().cwd.clone());
    run.shell = parts::shell(Some("sh"));
    let request = BatchRequest {
        batch_id: Some("b".into()),
        commands: lines.iter().map(Into::into).collect(),
        run,
        keep_going: true,
    };
    let cancel = Cancel::default();
    let output = Output::Stream(Arc::new(Nowhere));
    let context = crate::engine::RunContext::new(output, &cancel, &Silent);
    let report = shared.engine.batch(&request, context).unwrap();
    let ids = report.results.into_iter().map(|one| one.snapshot_id);
    ids.flatten().collect()
}

struct Nowhere;

impl crate::execute::OutputSink for Nowhere {
    fn write(&self, _: crate::execute::OutputStream, _: &[u8]) {}
}

/// Everything that waits to be sent.
fn told(shared: &Shared) -> Vec<(String, Value)> {
    let stored = shared.state.undelivered(0, 100).unwrap();
    let read = |json: &str| serde_json::from_str(json).unwrap();
    let both = |one: crate::agent::state::Stored| (one.event, read(&one.payload));
    stored.into_iter().map(both).collect()
}

fn accept(shared: &Shared, lines: &[&str], more: Value) {
    let mut request = json!({ "batch_id": "b", "commands": lines });
    if let (Value::Object(fields), Value::Object(more)) = (&mut request, more) {
        fields.extend(more);
    }
    let ids = [(Kind::Batch, "b", request.to_string())];
    shared.state.accept(&ids).unwrap();
}

fn errors(told: &Value) -> Vec<&str> {
    let results = told["execution_results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["error"].as_str().unwrap())
        .collect()
}

#[test]
fn a_batch_that_was_not_begun_says_so_of_every_command() {
    let (dir, shared) = shared();
    accept(&shared, &["true", "true"], json!({}));
    drop(shared);
    let shared = reopened(dir.path());
    report_interrupted(&shared).unwrap();
    let (_, told) = &told(&shared)[0];
    let not_run = "The agent was restarted before it started; it was not run";
    assert_eq!(errors(told), [not_run; 2]);
    assert_eq!(
        (&told["error"], told.get("interrupted")),
        (&json!(not_run), None)
    );
}

#[test]
fn a_batch_that_was_cut_off_between_two_commands_blames_neither() {
    let (_dir, shared) = shared();
    accept(
        &shared,
        &["true", "true", "true"],
        json!({ "snapshot": false }),
    );
    shared.state.start(Kind::Batch, "b").unwrap();
    let outcome = json!({
        "command": "", "index": 0, "success": true, "output": "", "execution_time": 0.5,
        "error": "", "snapshot_id": null, "exit_code": 0,
    });
    shared.state.begin_step("b", 0).unwrap();
    shared.state.end_step("b", 0, &outcome.to_string()).unwrap();
    report_interrupted(&shared).unwrap();
    let (_, told) = &told(&shared)[0];
    let not_run = "The agent was restarted before it started; it was not run";
    assert_eq!(errors(told), ["", not_run, not_run]);
    assert_eq!(told["execution_results"][0]["command"], "true");
    assert_eq!(told["interrupted"], true);
    assert!(told["error"].as_str().unwrap().contains("between two"));
}

#[test]
fn a_batch_that_was_over_is_no_interrupted_one() {
    let (_dir, shared) = shared();
    let lines = ["echo 1 > one", "false", "true"];
    accept(&shared, &lines, json!({}));
    shared.state.start(Kind::Batch, "b").unwrap();
    let ids = run(&shared, &lines[..2]);
    // Noted as begun, and the second one's end was not.
    shared.state.begin_step("b", 1).unwrap();
    report_interrupted(&shared).unwrap();
    let (_, told) = &told(&shared)[0];
    assert_eq!(errors(told), ["", "exit code 1", batch::SKIPPED]);
    assert_eq!(told["snapshot_ids"], json!(ids));
    assert_eq!(
        (&told["error"], told.get("interrupted")),
        (&json!("command 2 failed: exit code 1"), None)
    );
}

#[test]
fn a_command_that_had_ended_is_no_interrupted_one() {
    let (_dir, shared) = shared();
    let request = json!({ "command_id": "c", "command": "true" }).to_string();
    let ids = [(Kind::Command, "c", request)];
    shared.state.accept(&ids).unwrap();
    shared.state.start(Kind::Command, "c").unwrap();
    let mut run = RunRequest::new("echo 1 > one", shared.config().cwd.clone());
    run.shell = parts::shell(Some("sh"));
    run.snapshot.metadata = [("command_id".to_owned(), json!("c"))].into();
    let cancel = Cancel::default();
    let output = Output::Stream(Arc::new(Nowhere));
    let context = crate::engine::RunContext::new(output, &cancel, &Silent);
    let report = shared.engine.run(&run, context).unwrap();
    report_interrupted(&shared).unwrap();
    let (_, told) = &told(&shared)[0];
    assert_eq!(
        (&told["success"], &told["error"], told.get("interrupted")),
        (&json!(true), &json!(""), None),
        "{told}"
    );
    assert_eq!(told["snapshot_id"], json!(report.snapshot_id));
}

#[test]
fn changes_without_results_are_judged_by_the_states_of_the_snapshots() {
    let (_dir, shared) = shared();
    let ids = run(&shared, &["echo 1 > one", "echo 2 > two"]);
    let engine = &shared.engine;
    let request = RollbackRequest::new(&ids[1]);
    engine
        .rollback(&request, &Cancel::default(), &Silent)
        .unwrap();
    for (event, request, started) in [
        ("rollback_command", json!({ "snapshot_id": ids[1] }), true),
        ("rollback_command", json!({ "snapshot_id": ids[0] }), true),
        ("rollback_command", json!({ "snapshot_id": ids[0] }), false),
        (
            "rollback_command",
            json!({ "snapshot_id": ids[1], "paths": ["/x"] }),
            true,
        ),
        ("rollback_batch", json!({ "batch_id": "b" }), true),
        (
            "cleanup_snapshot",
            json!({ "snapshot_id": "0123456789abcdef" }),
            true,
        ),
        ("cleanup_batch", json!({ "batch_id": "b" }), false),
        (
            "pin_snapshot",
            json!({ "snapshot_id": ids[0], "pinned": true }),
            true,
        ),
        (
            "pin_snapshot",
            json!({ "snapshot_id": ids[0], "pinned": false }),
            false,
        ),
    ] {
        let number = shared
            .state
            .begin_change(event, &request.to_string())
            .unwrap();
        if started {
            shared.state.start_change(number).unwrap();
        }
    }
    report_interrupted_changes(&shared).unwrap();
    let all = told(&shared);
    let results = all.iter().filter(|(event, _)| event.ends_with("_result"));
    let told: Vec<(bool, &str)> = results
        .map(|(_, told)| {
            let error = told["error"].as_str().unwrap();
            let word = ["may have been done", "nothing was changed"]
                .into_iter()
                .find(|word| error.contains(word));
            (told["success"] == true, word.unwrap_or(error))
        })
        .collect();
    assert_eq!(
        told,
        [
            (true, ""),
            (false, "may have been done"),
            (false, "nothing was changed"),
            (false, "may have been done"),
            (false, "may have been done"),
            (true, ""),
            (false, "nothing was changed"),
            (false, "may have been done"),
            (true, ""),
        ]
    );
    let (_, batch) = all
        .iter()
        .find(|(event, _)| event == "batch_rollback_result")
        .unwrap();
    let success = |at: usize| batch["snapshots"][at]["success"] == true;
    assert_eq!([success(0), success(1)], [true, false], "{batch}");
    let (_, first) = &all[0];
    assert_eq!(
        (&first["interrupted"], &first["redo_snapshot_id"]),
        (
            &json!(true),
            &json!(
                engine
                    .meta(&crate::store::SnapshotId::parse(&ids[1]).unwrap())
                    .unwrap()
                    .redo_snapshot_id
            )
        )
    );
    assert_eq!(shared.state.unfinished_changes().unwrap(), []);
}
