//! The line to the backend: what goes over it when, and what it is found to be.

use std::fs;
use std::time::{Duration, Instant};

use deployx::agent::transport::memory::Sent;
use serde_json::json;

use crate::site::{PATIENCE, Site};

#[test]
fn output_goes_before_its_result_while_a_registration_is_not_answered() {
    let site = Site::new();
    site.execute(
        "c",
        "touch begun; while ! test -e go; do sleep 0.05; done; echo one; echo two >&2",
    );
    site.wait_for_file("begun");
    let before = site.backend.connections();
    site.backend.cut();
    site.wait(|sent| {
        let joined = |one: &Sent| one.event == "join_room" && one.connection > before;
        sent.iter().any(joined).then_some(())
    });
    fs::write(site.tree.join("go"), "").expect("a file");
    site.completed("c");
    let sent = site.backend.sent();
    let events: Vec<&str> = sent
        .iter()
        .filter(|one| one.payload["command_id"] == "c")
        .map(|one| one.event.as_str())
        .collect();
    let (last, pieces) = events.split_last().expect("events");
    assert_eq!(*last, "deployment_command_completed");
    assert!(!pieces.is_empty() && pieces.iter().all(|one| *one == "deployment_command_output"));
}

#[test]
fn results_are_confirmed_long_before_the_next_heartbeat() {
    let site = Site::with(|config| config.heartbeat = Duration::from_secs(3600));
    site.backend.acknowledge(true);
    for id in ["first", "second"] {
        site.execute(id, "true");
        site.completed(id);
        let agent = site.agent.as_ref().expect("an agent");
        let deadline = Instant::now() + PATIENCE;
        while !agent.figures().contains("outbox_depth 0\n") {
            assert!(Instant::now() < deadline, "{id} is not confirmed");
            std::thread::sleep(Duration::from_millis(20));
        }
        let before = site.backend.connections();
        site.backend.cut();
        site.register_again(before);
        site.send("get_shells", json!({}));
        let answered = |one: &Sent| one.event == "get_shells_ack" && one.connection > before;
        site.wait(|sent| sent.iter().any(answered).then_some(()));
        let again = |one: &Sent| one.payload["command_id"] == id && one.connection > before;
        assert!(!site.backend.sent().iter().any(again), "{id} came again");
    }
}

#[test]
fn a_registration_that_is_refused_late_ends_the_line() {
    let site = Site::new();
    let before = site.backend.connections();
    site.backend.cut();
    site.wait(|sent| {
        let joined = |one: &Sent| one.event == "join_room" && one.connection > before;
        sent.iter().any(joined).then_some(())
    });
    // Results go out once the answer was waited for in vain.
    site.execute("c", "true");
    site.completed("c");
    let now = site.backend.connections();
    site.send("registration_error", json!({ "error": "who?" }));
    site.backend
        .wait(PATIENCE, |sent| {
            let joined = |one: &Sent| one.event == "join_room" && one.connection > now;
            sent.iter().any(joined).then_some(())
        })
        .expect("another line");
}

#[test]
fn refusals_give_back_what_backends_go_by() {
    let site = Site::new();
    site.send(
        "execute_deployment_command",
        json!({
            "command_id": "c", "command": "true", "shell": "no such shell",
            "execution_id": "e-1", "group_execution": { "of": 2 },
        }),
    );
    let refused = site.completed("c");
    assert_eq!(refused["success"], false);
    assert_eq!(refused["execution_id"], "e-1");
    assert_eq!(refused["group_execution"], json!({ "of": 2 }));
}

#[test]
fn variables_of_requests_are_not_kept_on_disk() {
    let site = Site::new();
    site.send(
        "execute_deployment_command",
        json!({
            "command_id": "c", "command": "touch begun; sleep 60", "shell": "sh",
            "env": { "HIDDEN": "swordfish-in-the-environment" },
        }),
    );
    site.wait_for_file("begun");
    let state = site.dir.path().join("state");
    let mut kept = Vec::new();
    for entry in fs::read_dir(state).expect("the agent's directory") {
        kept.extend(fs::read(entry.expect("an entry").path()).unwrap_or_default());
    }
    let holds = |text: &[u8]| kept.windows(text.len()).any(|part| part == text);
    assert!(holds(b"touch begun"));
    assert!(!holds(b"swordfish"));
    site.send("cancel_command", json!({ "command_id": "c" }));
    site.completed("c");
}

#[test]
fn output_that_grows_in_json_is_kept_whole_in_a_file_and_what_is_missing_is_counted() {
    let site = Site::new();
    site.execute("c", "head -c 250000 /dev/zero | tr '\\0' '\\1'");
    let done = site.completed("c");
    let shown = done["output"]
        .as_str()
        .expect("text")
        .matches('\u{1}')
        .count();
    let left_out = done["output_left_out"].as_u64().expect("a number") as usize;
    assert!(
        shown < 250_000 && left_out <= 250_000 - shown,
        "{shown} {left_out}"
    );
    assert!(left_out + 200 > 250_000 - shown, "{shown} {left_out}");
    let file = done["output_file"].as_str().expect("a file");
    assert_eq!(fs::read(file).expect("the file"), vec![1; 250_000]);
}

#[test]
fn wrong_paths_are_refused_with_their_fields() {
    let site = Site::new();
    for (id, field, value) in [
        ("a", "cwd", json!("relative")),
        ("b", "cwd", json!("")),
        ("c", "monitored_paths", json!(["relative"])),
    ] {
        let mut payload = json!({ "command_id": id, "command": "true", "shell": "sh" });
        payload[field] = value;
        site.send("execute_deployment_command", payload);
        let error = site.completed(id)["error"].to_string();
        assert!(error.contains(field), "{field}: {error}");
    }
}
