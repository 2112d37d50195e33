//! Rollbacks of batches, what they wait for, and that each has a result.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployx::AbsPath;
use deployx::agent::AgentConfig;
use deployx::engine::{Engine, EngineConfig};
use deployx::path::WirePath;
use deployx::store::{SnapshotId, SnapshotMeta, SnapshotState};
use serde_json::{Value, json};

use crate::site::{PATIENCE, Site};

impl Site {
    /// Runs a batch in `sh`; gives its result.
    fn batch(&self, id: &str, commands: &[&str]) -> Value {
        let payload = json!({ "batch_id": id, "commands": commands, "shell": "sh" });
        self.send("execute_batch_persistent", payload);
        self.result("batch_execution_completed", "batch_id", id)
    }

    /// Sends a request and gives the next event called `result`.
    fn ask(&self, request: &str, payload: Value, result: &str) -> Value {
        let before = self.backend.sent().len();
        self.send(request, payload);
        self.wait(|sent| {
            let mut new = sent.iter().skip(before);
            new.find(|one| one.event == result)
                .map(|one| one.payload.clone())
        })
    }

    fn undo_batch(&self, id: &str) -> Value {
        let request = json!({ "batch_id": id });
        self.ask("rollback_batch", request, "batch_rollback_result")
    }

    /// Makes a snapshot be in a state, as after something went wrong.
    fn set_state(&self, id: &Value, state: SnapshotState) {
        let config = EngineConfig::new(self.dir.path().join("store"));
        let engine = Engine::open_existing(config).expect("an engine");
        let id = SnapshotId::parse(id.as_str().expect("an id")).expect("an id");
        let set = engine.store().update(&id, &mut |meta| meta.state = state);
        set.expect("the snapshot");
    }

    /// Leaves a snapshot behind as a seal does that fails.
    fn leave_unsealed(&self) -> String {
        let config = EngineConfig::new(self.dir.path().join("store"));
        let engine = Engine::open_existing(config).expect("an engine");
        let cwd = AbsPath::new(&self.tree).expect("a path");
        let meta = SnapshotMeta::new(WirePath::Text("true".into()), "sh", cwd);
        let mut open = engine.store().begin(meta).expect("a snapshot");
        open.update(|meta| meta.state = SnapshotState::Captured)
            .expect("its state");
        open.id().to_string()
    }

    fn files_in(&self, name: &str) -> usize {
        fs::read_dir(self.tree.join(name)).map_or(0, Iterator::count)
    }
}

fn successes(result: &Value) -> Vec<bool> {
    let each = result["snapshots"].as_array().expect("snapshots");
    let success = |one: &Value| one["success"] == true;
    each.iter().map(success).collect()
}

fn contains(value: &Value, part: &str) -> bool {
    value.as_str().is_some_and(|text| text.contains(part))
}

#[test]
fn a_snapshot_that_a_batchs_rollback_leaves_out_is_told_and_is_no_success() {
    let site = Site::new();
    let lines = ["echo 1 > one", "echo 2 > two", "echo 3 > three"];
    let done = site.batch("b", &lines);
    let second = &done["snapshot_ids"][1];
    site.set_state(second, SnapshotState::Failed);
    let undone = site.undo_batch("b");
    assert_eq!(undone["success"], false, "{undone}");
    assert_eq!(undone["message"], "Batch rollback failed");
    assert!(
        contains(&undone["error"], "1 snapshot left out")
            && contains(&undone["error"], "could not be taken completely"),
        "{undone}"
    );
    assert_eq!(successes(&undone), [true, true, false]);
    let left_out = &undone["snapshots"][2];
    assert_eq!(&left_out["snapshot_id"], second);
    assert!(contains(
        &left_out["error"],
        "could not be taken completely"
    ));
    let there = ["one", "two", "three"].map(|name| site.tree.join(name).exists());
    assert_eq!(there, [false, true, false]);
    // Nothing is left to be undone, and that is no success either.
    let again = site.undo_batch("b");
    assert_eq!(again["success"], false, "{again}");
    assert_eq!(successes(&again), [true, true, false]);
}

#[test]
fn a_conflict_that_stops_a_batchs_rollback_is_named_once() {
    let site = Site::new();
    site.batch("b", &["echo 1 > one", "echo 2 > two"]);
    fs::write(site.tree.join("two"), "changed since").expect("a file");
    let request = json!({ "batch_id": "b", "on_conflict": "abort" });
    let refused = site.ask("rollback_batch", request, "batch_rollback_result");
    let path = site.tree.join("two").display().to_string();
    let why = format!("nothing was changed, because of {path}: ");
    assert!(contains(&refused["error"], &why), "{refused}");
    for one in refused["snapshots"].as_array().expect("snapshots") {
        assert_eq!(one["error"], "nothing was changed");
    }
    assert_eq!(site.read("one"), "1\n");
}

#[test]
fn a_batch_that_was_rolled_back_is_left_as_it_is() {
    let site = Site::new();
    site.batch("b", &["echo 1 > one", "echo 2 > two"]);
    assert_eq!(site.undo_batch("b")["success"], true);
    fs::write(site.tree.join("one"), "later").expect("a file");
    let again = site.undo_batch("b");
    assert_eq!(again["success"], true, "{again}");
    assert_eq!(successes(&again), [true, true]);
    assert_eq!(site.read("one"), "later");
}

#[test]
fn a_rollback_that_waits_for_its_batch_takes_back_what_came_about_meanwhile() {
    let site = Site::new();
    let lines = [
        "echo 1 > one",
        "touch begun; until [ -e go ]; do sleep 0.02; done; echo 2 > two",
        "echo 3 > three",
    ];
    let payload = json!({ "batch_id": "b", "commands": lines, "shell": "sh" });
    site.send("execute_batch_persistent", payload);
    site.wait_for_file("begun");
    site.send("rollback_batch", json!({ "batch_id": "b" }));
    site.wait(|sent| {
        sent.iter()
            .any(|one| contains(&one.payload["message"], "Waiting for batch b"))
            .then_some(())
    });
    fs::write(site.tree.join("go"), "").expect("a file");
    let undone = site.result("batch_rollback_result", "batch_id", "b");
    assert_eq!(undone["success"], true, "{undone}");
    assert_eq!(successes(&undone), [true; 3]);
    for name in ["one", "two", "three", "begun"] {
        assert!(!site.tree.join(name).exists(), "{name}");
    }
}

#[test]
fn a_batch_may_be_called_like_the_begin_of_a_snapshots_id() {
    let site = Site::new();
    site.execute("c", "echo 1 > one");
    let snapshot = site.completed("c")["snapshot_id"].clone();
    let id = &snapshot.as_str().expect("an id")[..4];
    site.batch(id, &["echo 2 > two", "echo 3 > three"]);
    let request = json!({ "batch_id": id });
    let info = site.ask("get_batch_snapshots", request, "batch_snapshots_result");
    assert_eq!(info["info"]["snapshot_count"], 2, "{info}");
    let undone = site.undo_batch(id);
    assert_eq!(undone["success"], true, "{undone}");
    assert!(site.tree.join("one").exists() && !site.tree.join("two").exists());
    let request = json!({ "batch_id": id });
    let removed = site.ask("cleanup_batch", request, "cleanup_result");
    assert_eq!(removed["removed"], 2, "{removed}");
}

#[test]
fn a_rollback_that_waits_for_a_command_holds_up_no_other() {
    let site = Site::new();
    for (id, command) in [("a", "echo a > a/x"), ("b", "echo b > b/x")] {
        fs::create_dir(site.tree.join(id)).expect("a directory");
        site.execute(id, command);
    }
    let [a, b] = ["a", "b"].map(|id| site.completed(id)["snapshot_id"].clone());
    site.execute(
        "long",
        "touch a/begun; until [ -e a/go ]; do sleep 0.02; done",
    );
    site.wait_for_file("a/begun");
    site.send("rollback_command", json!({ "snapshot_id": a }));
    site.wait(|sent| {
        sent.iter()
            .any(|one| contains(&one.payload["message"], "Waiting for command long"))
            .then_some(())
    });
    // In the order asked for where it is about the same, and past it where it is not.
    site.send("cleanup_snapshot", json!({ "snapshot_id": a }));
    let request = json!({ "snapshot_id": b });
    let undone = site.ask("rollback_command", request.clone(), "rollback_result");
    assert_eq!(undone["snapshot_id"], b, "{undone}");
    assert_eq!(undone["success"], true, "{undone}");
    let removed = site.ask("cleanup_snapshot", request, "cleanup_result");
    assert_eq!(
        (&removed["snapshot_id"], &removed["success"]),
        (&b, &json!(true))
    );
    fs::write(site.tree.join("a/go"), "").expect("a file");
    let id = a.as_str().expect("an id");
    assert_eq!(
        site.result("rollback_result", "snapshot_id", id)["success"],
        true
    );
    assert_eq!(
        site.result("cleanup_result", "snapshot_id", id)["success"],
        true
    );
    assert!(!site.tree.join("a/x").exists());
}

#[test]
fn a_stalled_line_does_not_hold_up_a_rollback() {
    let site = Site::with(|config| config.patience = Duration::from_secs(600));
    site.execute(
        "many",
        "mkdir d; for i in $(seq 500); do echo $i > d/$i; done",
    );
    let snapshot = site.completed("many")["snapshot_id"].clone();
    site.execute(
        "loud",
        "touch begun; until [ -e go ]; do sleep 0.02; done; yes | head -c 9000000",
    );
    site.wait_for_file("begun");
    site.backend.stall(true);
    fs::write(site.tree.join("go"), "").expect("a file");
    // The line took this before; the queue of live output is full by the time that it is read.
    site.send("cancel_command", json!({ "command_id": "loud" }));
    site.send("rollback_command", json!({ "snapshot_id": snapshot }));
    let deadline = Instant::now() + PATIENCE;
    while site.files_in("d") > 0 {
        assert!(Instant::now() < deadline, "the rollback waits for the line");
        std::thread::sleep(Duration::from_millis(20));
    }
    site.backend.stall(false);
    let id = snapshot.as_str().expect("an id");
    assert_eq!(
        site.result("rollback_result", "snapshot_id", id)["success"],
        true
    );
}

#[test]
fn what_failed_to_be_sealed_is_sealed_when_it_is_asked_for_or_at_a_cleanup() {
    let site = Site::new();
    let id = site.leave_unsealed();
    let request = json!({ "snapshot_id": id });
    let undone = site.ask("rollback_command", request, "rollback_result");
    assert_eq!(undone["success"], true, "{undone}");
    let id = site.leave_unsealed();
    // The interval was an hour until now.
    let mut config = AgentConfig::new(
        site.dir.path().join("state"),
        AbsPath::new(&site.tree).expect("a path"),
    );
    config.cleanup_interval = Duration::from_millis(200);
    let before = site.backend.connections();
    let agent = site.agent.as_ref().expect("an agent");
    agent.reload(config, Arc::new(site.backend.clone()));
    site.register_again(before);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let request = json!({ "snapshot_id": id });
        let info = site.ask("get_snapshot_info", request, "snapshot_info_result");
        if info["info"]["state"] == "sealed" {
            return;
        }
        assert!(Instant::now() < deadline, "{info}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_that_is_stopped_waits_for_a_rollback_and_tells_its_result() {
    let mut site = Site::new();
    site.execute(
        "many",
        "mkdir d; for i in $(seq 3000); do echo $i > d/$i; done",
    );
    let snapshot = site.completed("many")["snapshot_id"].clone();
    site.send("rollback_command", json!({ "snapshot_id": snapshot }));
    let deadline = Instant::now() + PATIENCE;
    while site.files_in("d") == 3000 {
        assert!(Instant::now() < deadline, "the rollback does not begin");
        std::thread::yield_now();
    }
    site.agent.take().expect("an agent").stop();
    let sent = site.backend.sent();
    let result = sent.iter().find(|one| one.event == "rollback_result");
    let result = &result.expect("a result").payload;
    assert_eq!(result["success"], true, "{result}");
    assert!(!site.tree.join("d").exists());
}

#[test]
fn an_agent_that_is_stopped_begins_nothing_any_more() {
    let mut site = Site::new();
    site.execute("before", "echo 1 > one");
    let snapshot = site.completed("before")["snapshot_id"].clone();
    site.execute("holds", "touch begun; until [ -e go ]; do sleep 0.02; done");
    site.wait_for_file("begun");
    site.execute("queued", "touch never");
    let batch = [
        "echo kept; touch bbegun; until [ -e go ]; do sleep 0.02; done",
        "touch never",
    ];
    let payload = json!({ "batch_id": "b", "commands": batch, "shell": "sh" });
    site.send("execute_batch_persistent", payload);
    site.wait_for_file("bbegun");
    let agent = site.agent.take().expect("an agent");
    let stopping = std::thread::spawn(move || agent.stop());
    // It has begun to stop when it refuses new commands.
    let refused = (0..).find_map(|n| {
        let id = format!("probe{n}");
        site.execute(&id, "true");
        site.send("get_shells", json!({}));
        std::thread::sleep(Duration::from_millis(20));
        let sent = site.backend.sent();
        let own = sent
            .iter()
            .find(|one| one.payload["command_id"] == id.as_str());
        own.map(|one| one.payload.clone())
    });
    assert!(contains(
        &refused.expect("a refusal")["error"],
        "being stopped"
    ));
    for (request, key, id, result) in [
        (
            "rollback_command",
            "snapshot_id",
            &snapshot,
            "rollback_result",
        ),
        ("pin_snapshot", "snapshot_id", &snapshot, "pin_result"),
        ("cleanup_batch", "batch_id", &json!("b"), "cleanup_result"),
    ] {
        let mut payload = json!({ "pinned": true });
        payload[key] = id.clone();
        let refused = site.ask(request, payload, result);
        assert_eq!(refused["success"], false, "{refused}");
        assert!(contains(&refused["error"], "being stopped"), "{refused}");
    }
    fs::write(site.tree.join("go"), "").expect("a file");
    stopping.join().expect("it stops");
    assert_eq!(site.completed("holds")["success"], true);
    let queued = site.completed("queued");
    assert_eq!(
        queued["error"], "not run: the agent is being stopped",
        "{queued}"
    );
    assert_eq!(queued.get("cancelled"), None, "the backend did not");
    let batch = site.result("batch_execution_completed", "batch_id", "b");
    let errors = ["/execution_results/0/error", "/execution_results/1/error"];
    assert_eq!(
        errors.map(|error| batch.pointer(error).and_then(Value::as_str)),
        [Some(""), Some("not run: the agent is being stopped")],
        "{batch}"
    );
    assert_eq!(
        (&batch["interrupted"], batch.get("cancelled")),
        (&json!(true), None)
    );
    assert_eq!(batch["output"], "kept\n");
    let why = "the agent is being stopped; commands that ran: 1";
    assert_eq!(batch["error"], why, "{batch}");
    assert!(!site.tree.join("never").exists());
    assert_eq!(site.read("one"), "1\n");
}

#[test]
fn a_command_that_the_agents_end_cuts_short_was_not_cancelled_by_the_backend() {
    let mut site = Site::with(|config| config.stop_grace = Duration::from_millis(50));
    site.execute("runs", "touch begun; sleep 600");
    site.wait_for_file("begun");
    site.agent.take().expect("an agent").stop();
    let done = site.completed("runs");
    assert_eq!(
        (&done["interrupted"], done.get("cancelled")),
        (&json!(true), None),
        "{done}"
    );
    assert!(contains(&done["error"], "being stopped"), "{done}");
    assert!(done["snapshot_id"].is_string());
}

#[test]
fn long_output_of_a_batchs_command_is_told_where_it_is() {
    let site = Site::new();
    let done = site.batch("b", &["yes | head -c 2000000", "cd nowhere"]);
    let long = &done["execution_results"][0];
    assert!(
        long["output_left_out"]
            .as_u64()
            .is_some_and(|bytes| bytes > 1_400_000)
    );
    let file = long["output_file"].as_str().expect("a file");
    assert_eq!(fs::metadata(file).expect("the output").len(), 2_000_000);
    let one = site.result("batch_command_completed", "batch_id", "b");
    assert_eq!(one["output_file"], long["output_file"]);
    assert!(
        one["output_left_out"]
            .as_u64()
            .is_some_and(|bytes| bytes > 1_400_000)
    );
    assert!(
        done["output_left_out"]
            .as_u64()
            .is_some_and(|bytes| bytes > 1_000_000)
    );
    assert_eq!(done["execution_results"][1].get("output_file"), None);
}

#[test]
fn snapshots_expire_soon_after_the_start() {
    let mut site = Site::new();
    site.execute("one", "echo a > file");
    site.completed("one");
    site.agent.take().expect("an agent").stop();
    // No interval ends while this runs.
    site.start(|config| {
        config.cleanup_interval = Duration::from_secs(24 * 3600);
        config.retention.max_age = Some(Duration::from_millis(1));
    });
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = site.ask("list_snapshots", json!({}), "snapshots_list_result");
        if list["snapshot_count"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{list}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
