//! Shells that live from command to command.

use std::fs;
use std::time::Duration;

use deployx::agent::transport::memory::Sent;
use serde_json::{Value, json};

use crate::site::Site;

impl Site {
    /// Sends a command of a session, with more fields in `more`.
    fn in_session(&self, session: &str, id: &str, command: &str, more: Value) {
        let mut payload =
            json!({ "command_id": id, "command": command, "shell": "bash", "session": session });
        if let (Value::Object(fields), Value::Object(more)) = (&mut payload, more) {
            fields.extend(more);
        }
        self.send("execute_deployment_command", payload);
    }

    /// The same, with its result.
    fn done_in(&self, session: &str, id: &str, command: &str) -> Value {
        self.in_session(session, id, command, json!({}));
        self.completed(id)
    }

    /// The event that tells of a session's end.
    fn ended(&self, session: &str) -> Value {
        self.result("session_ended", "session", session)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn directory_variables_and_functions_last_and_each_command_has_its_snapshot() {
    let site = Site::new();
    fs::create_dir(site.tree.join("d")).expect("a directory");
    let first = site.done_in("s", "1", "cd d; X=5; f() { echo \"f $1\"; }");
    assert_eq!(
        (&first["success"], &first["session_new"]),
        (&json!(true), &json!(true)),
        "{first}"
    );
    assert_eq!(first["session_cwd"], site.tree.join("d").to_str().unwrap());
    let second = site.done_in("s", "2", "echo $X > x; f $X");
    assert_eq!(second["output"], "f 5\n", "{second}");
    assert_eq!(second["session_shell"], first["session_shell"]);
    assert_eq!(second.get("session_new"), None);
    assert_eq!(site.read("d/x"), "5\n");
    let third = site.done_in("s", "3", "false");
    assert_eq!(third["exit_code"], 1);
    assert_eq!(site.done_in("s", "4", "echo $?")["output"], "1\n");
    // Each command is taken back by itself.
    assert_ne!(first["snapshot_id"], second["snapshot_id"]);
    let id = second["snapshot_id"].clone();
    site.send("rollback_command", json!({ "snapshot_id": id }));
    let undone = site.result("rollback_result", "snapshot_id", text(&id));
    assert_eq!(undone["success"], true, "{undone}");
    assert!(!site.tree.join("d/x").exists());
}

#[test]
fn commands_of_a_session_are_serial_and_sessions_side_by_side() {
    let site = Site::new();
    site.in_session(
        "a",
        "a1",
        "touch begun; until [ -e go ]; do sleep 0.02; done; echo a1 >> log",
        json!({}),
    );
    site.in_session("a", "a2", "echo a2 >> log", json!({}));
    site.wait_for_file("begun");
    // Only another session can let the first one go on.
    site.in_session("b", "b1", "echo b1 >> log; touch go", json!({}));
    for id in ["b1", "a1", "a2"] {
        assert_eq!(site.completed(id)["success"], true);
    }
    assert_eq!(site.read("log"), "b1\na1\na2\n");
}

#[test]
fn a_command_that_ends_the_shell_says_so_and_keeps_what_waits_from_running() {
    let site = Site::new();
    site.in_session(
        "s",
        "1",
        "DIR=/srv; touch begun; until [ -e go ]; do sleep 0.02; done; exit 3",
        json!({}),
    );
    site.wait_for_file("begun");
    site.in_session("s", "2", "touch \"$DIR\"wrong", json!({}));
    fs::write(site.tree.join("go"), "").expect("a file");
    let first = site.completed("1");
    assert_eq!(first["exit_code"], 3);
    assert_eq!(
        first["session_ended"],
        "the command ended it with exit code 3"
    );
    let second = site.completed("2");
    assert_eq!(second["success"], false);
    assert_eq!(second.get("exit_code"), None);
    assert!(text(&second["error"]).contains("not run"), "{second}");
    assert!(text(&second["error"]).contains("exit code 3"), "{second}");
    assert!(!site.tree.join("wrong").exists());
    // What comes after the backend was told has a new shell, in the same directory.
    let third = site.done_in("s", "3", "pwd; echo \"[$DIR]\"");
    assert_eq!(third["session_new"], true, "{third}");
    assert_eq!(
        third["output"],
        format!("{}\n[]\n", site.tree.to_str().unwrap())
    );
    assert_ne!(third["session_shell"], first["session_shell"]);
}

#[test]
fn cancelling_ends_the_tree_and_says_what_became_of_the_session() {
    let site = Site::new();
    site.in_session(
        "s",
        "1",
        "cd /; sleep 300 & echo $! > {}/pid; touch {}/begun; sleep 300"
            .replace("{}", site.tree.to_str().unwrap())
            .as_str(),
        json!({}),
    );
    site.wait_for_file("begun");
    site.send("cancel_command", json!({ "command_id": "1" }));
    let done = site.completed("1");
    assert_eq!(
        (&done["cancelled"], &done["success"]),
        (&json!(true), &json!(false))
    );
    assert!(
        text(&done["session_ended"]).contains("cancelling"),
        "{done}"
    );
    assert_eq!(done["session_cwd"], site.tree.to_str().unwrap());
    let pid = site.read("pid");
    let process = fs::read_to_string(format!("/proc/{}/comm", pid.trim()));
    assert!(process.is_err(), "{process:?}");
}

#[test]
fn a_time_limit_ends_the_session_too() {
    let site = Site::new();
    site.in_session("s", "1", "sleep 300", json!({ "timeout_s": 0.3 }));
    let done = site.completed("1");
    assert_eq!(done["timed_out"], true);
    assert!(
        text(&done["session_ended"]).contains("time limit"),
        "{done}"
    );
}

#[test]
fn a_shell_that_dies_between_commands_keeps_the_next_one_from_running() {
    let site = Site::new();
    let first = site.done_in("s", "1", "X=1; echo $$");
    let pid = text(&first["output"]).trim().to_owned();
    assert!(
        std::process::Command::new("kill")
            .args(["-9", &pid])
            .status()
            .is_ok_and(|status| status.success())
    );
    while fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z ")) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let second = site.done_in("s", "2", "touch \"wrong$X\"");
    assert_eq!(second["success"], false, "{second}");
    assert!(text(&second["error"]).contains("not run"), "{second}");
    assert!(
        text(&second["session_ended"]).contains("between"),
        "{second}"
    );
    assert_eq!(second["session_shell"], first["session_shell"]);
    assert!(!site.tree.join("wrong").exists());
    let third = site.done_in("s", "3", "echo fine");
    assert_eq!(
        (&third["output"], &third["session_new"]),
        (&json!("fine\n"), &json!(true))
    );
}

#[test]
fn idle_sessions_end_and_the_next_command_is_told_once() {
    let site = Site::with(|config| config.session_idle = Duration::from_millis(300));
    let first = site.done_in("s", "1", "trap 'echo bye > trap' EXIT; cd /; X=1; cd -");
    let ended = site.ended("s");
    assert_eq!(ended["session_shell"], first["session_shell"]);
    assert!(text(&ended["reason"]).contains("not used"), "{ended}");
    assert_eq!(site.read("trap"), "bye\n");
    let second = site.done_in("s", "2", "touch \"wrong$X\"");
    assert_eq!(second["success"], false, "{second}");
    assert!(text(&second["error"]).contains("not run"), "{second}");
    assert!(!site.tree.join("wrong").exists());
    let done = site.done_in("s", "3", "touch right");
    assert_eq!(
        (&done["success"], &done["session_new"]),
        (&json!(true), &json!(true)),
        "{done}"
    );
}

#[test]
fn a_session_that_works_or_waits_is_not_idle() {
    let site = Site::with(|config| config.session_idle = Duration::from_millis(100));
    site.in_session("s", "1", "X=1; sleep 0.6", json!({}));
    site.in_session("s", "2", "echo $X; sleep 0.3", json!({}));
    assert_eq!(site.completed("2")["output"], "1\n");
}

#[test]
fn closing_ends_a_session_after_what_came_before() {
    let site = Site::new();
    site.in_session("s", "1", "X=1; sleep 0.2", json!({}));
    site.in_session("s", "2", "echo $X", json!({}));
    site.send("close_session", json!({ "session": "s" }));
    site.in_session("s", "3", "echo \"[$X]\"", json!({}));
    assert_eq!(site.completed("2")["output"], "1\n");
    assert_eq!(site.ended("s")["reason"], "it was closed");
    let third = site.completed("3");
    assert_eq!(
        (&third["output"], &third["session_new"]),
        (&json!("[]\n"), &json!(true))
    );
    site.send("close_session", json!({ "session": "never" }));
    let error = site.result("agent_error", "id", "never");
    assert_eq!(error["event"], "close_session");
}

#[test]
fn a_session_that_ends_tells_so_after_its_last_result() {
    let site = Site::with(|config| config.patience = Duration::from_secs(600));
    let line = "echo $$ > pid; until [ -e go ]; do sleep 0.02; done";
    site.in_session("s", "1", line, json!({}));
    site.wait_for_file("pid");
    // Both wait for the line, and are sent in the order in which they stand there.
    site.backend.stall(true);
    site.send("close_session", json!({ "session": "s" }));
    fs::write(site.tree.join("go"), "").expect("a file");
    let shell = format!("/proc/{}", site.read("pid").trim());
    while std::path::Path::new(&shell).exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    site.backend.stall(false);
    site.ended("s");
    let sent = site.backend.sent();
    let place = |event: &str| sent.iter().position(|one| one.event == event);
    let result = place("deployment_command_completed").expect("a result");
    assert!(result < place("session_ended").expect("the end"));
}

#[test]
fn a_command_may_insist_on_its_shell() {
    let site = Site::new();
    let first = site.done_in("s", "1", "X=1");
    let shell = first["session_shell"].clone();
    site.in_session("s", "2", "echo $X", json!({ "session_shell": shell }));
    assert_eq!(site.completed("2")["output"], "1\n");
    site.done_in("s", "3", "exit");
    site.in_session("s", "4", "touch wrong", json!({ "session_shell": shell }));
    let refused = site.completed("4");
    assert_eq!(refused["success"], false);
    assert!(
        text(&refused["error"]).contains("session_shell"),
        "{refused}"
    );
    assert!(!site.tree.join("wrong").exists());
    // One that was refused opens nothing.
    assert_eq!(site.done_in("s", "5", "true")["session_new"], true);
}

#[test]
fn a_directory_takes_the_shell_there_and_other_variables_are_refused() {
    let site = Site::new();
    let odd = site.tree.join("it's $HOME; `x`");
    fs::create_dir(&odd).expect("a directory");
    site.in_session("s", "1", "echo $A", json!({ "env": { "A": "1" } }));
    assert_eq!(site.completed("1")["output"], "1\n");
    site.in_session("s", "2", "pwd -P; false", json!({ "cwd": odd }));
    let second = site.completed("2");
    assert_eq!(second["output"], format!("{}\n", odd.to_str().unwrap()));
    assert_eq!(second["session_cwd"], odd.to_str().unwrap());
    site.in_session(
        "s",
        "3",
        "touch wrong",
        json!({ "cwd": site.tree.join("none") }),
    );
    let third = site.completed("3");
    assert!(
        text(&third["error"]).contains("working directory"),
        "{third}"
    );
    site.in_session("s", "4", "touch wrong", json!({ "env": { "A": "2" } }));
    assert!(text(&site.completed("4")["error"]).starts_with("env:"));
    site.in_session("s", "5", "touch wrong", json!({ "shell": "sh" }));
    assert!(text(&site.completed("5")["error"]).starts_with("shell:"));
    assert!(!odd.join("wrong").exists() && !site.tree.join("wrong").exists());
    // None of that did anything to the shell.
    let last = site.done_in("s", "6", "echo $A; pwd");
    assert_eq!(last["output"], format!("1\n{}\n", odd.to_str().unwrap()));
}

#[test]
fn there_are_no_more_sessions_than_may_be() {
    let site = Site::with(|config| config.max_sessions = 2);
    for session in ["a", "b"] {
        assert_eq!(site.done_in(session, session, "true")["success"], true);
    }
    let refused = site.done_in("c", "c1", "touch wrong");
    assert!(
        text(&refused["error"]).contains("2 sessions are open"),
        "{refused}"
    );
    site.send("close_session", json!({ "session": "a" }));
    site.ended("a");
    assert_eq!(site.done_in("c", "c2", "true")["success"], true);
    assert!(!site.tree.join("wrong").exists());
}

#[test]
fn sessions_that_are_still_ending_take_a_place() {
    let site = Site::with(|config| config.max_sessions = 1);
    let wait = "touch begun; while ! test -e go; do sleep 0.05; done";
    site.in_session("a", "a1", wait, json!({}));
    site.wait_for_file("begun");
    site.send("close_session", json!({ "session": "a" }));
    let refused = site.done_in("b", "b1", "touch wrong");
    assert!(
        text(&refused["error"]).contains("1 of which are ending"),
        "{refused}"
    );
    fs::write(site.tree.join("go"), "").expect("a file");
    site.ended("a");
    assert_eq!(site.done_in("b", "b2", "true")["success"], true);
    assert!(!site.tree.join("wrong").exists());
}

#[test]
fn a_session_whose_commands_are_all_refused_takes_no_place() {
    let site = Site::with(|config| config.max_sessions = 1);
    site.in_session("a", "a1", "touch wrong", json!({ "session_shell": "none" }));
    assert_eq!(site.completed("a1")["success"], false);
    site.in_session("b", "b1", "touch wrong", json!({ "cwd": "/nonexistent" }));
    assert_eq!(site.completed("b1")["success"], false);
    let deadline = std::time::Instant::now() + crate::site::PATIENCE;
    let mut attempt = 0;
    // The place is given back right after the result.
    while site.done_in("c", &format!("c{attempt}"), "true")["success"] != true {
        assert!(std::time::Instant::now() < deadline);
        attempt += 1;
    }
    assert!(!site.tree.join("wrong").exists());
}

#[test]
fn sessions_end_with_the_agent() {
    let mut site = Site::new();
    let first = site.done_in("s", "1", "trap 'echo bye > trap' EXIT; echo $$");
    let pid = text(&first["output"]).trim().to_owned();
    site.agent.take().expect("an agent").stop();
    assert_eq!(site.ended("s")["reason"], "the agent is being stopped");
    assert_eq!(site.read("trap"), "bye\n");
    assert!(fs::metadata(format!("/proc/{pid}")).is_err());
}

#[test]
fn an_id_that_comes_again_has_its_result_and_uses_up_no_notice() {
    let site = Site::with(|config| config.session_idle = Duration::from_millis(200));
    site.done_in("s", "1", "echo once >> log");
    site.ended("s");
    site.in_session("s", "1", "echo once >> log", json!({}));
    let results = |sent: &[Sent]| -> Option<Vec<Value>> {
        let own: Vec<Value> = sent
            .iter()
            .filter(|one| {
                one.event == "deployment_command_completed" && one.payload["command_id"] == "1"
            })
            .map(|one| one.payload.clone())
            .collect();
        (own.len() == 2).then_some(own)
    };
    let results = site.wait(results);
    assert_eq!(results[0], results[1]);
    assert_eq!(site.read("log"), "once\n");
    let next = site.done_in("s", "2", "true");
    assert!(text(&next["error"]).contains("not run"), "{next}");
}

#[test]
fn late_output_of_an_earlier_command_disturbs_nothing() {
    let site = Site::new();
    site.done_in(
        "s",
        "1",
        "(sleep 0.2; head -c 300000 /dev/zero | tr '\\0' a; touch late) &",
    );
    std::thread::sleep(Duration::from_millis(500));
    let second = site.done_in(
        "s",
        "2",
        "until [ -e late ]; do sleep 0.02; done; echo mine >&2; false",
    );
    assert_eq!(second["exit_code"], 1);
    assert!(
        text(&second["error"]).ends_with("mine"),
        "{}",
        second["error"]
    );
}

#[test]
fn copies_of_a_request_to_a_lost_session_are_all_told_so_and_none_runs() {
    let site = Site::with(|config| config.session_idle = Duration::from_millis(200));
    site.done_in("s", "1", "X=release1");
    site.ended("s");
    for _ in 0..3 {
        site.in_session("s", "2", "echo \"[$X]\" >> log", json!({}));
    }
    let first = site.completed("2");
    assert!(text(&first["error"]).contains("has ended"), "{first}");
    // The notice was given: another command begins a new shell.
    assert_eq!(site.done_in("s", "3", "true")["session_new"], true);
    let sent = site.backend.sent();
    let of = |one: &&Sent| {
        one.event == "deployment_command_completed" && one.payload["command_id"] == "2"
    };
    assert!(sent.iter().filter(of).all(|one| one.payload == first));
    assert_eq!(site.read("log"), "");
}
