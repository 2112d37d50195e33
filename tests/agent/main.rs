//! The agent over a transport in memory: order, at most once, outbox, concurrency, sessions.

mod line;
mod rollbacks;
mod sessions;
mod site;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployx::AbsPath;
use deployx::agent::AgentConfig;
use deployx::agent::transport::memory::Sent;
use deployx::agent::transport::{Connection, Inbound, Transport};
use serde_json::{Value, json};

use site::{PATIENCE, Site};

#[test]
fn commands_of_one_shell_keep_their_order_and_sessions_run_side_by_side() {
    let site = Site::new();
    site.execute("1", "sleep 0.3; echo 1 >> log");
    site.execute("2", "echo 2 >> log");
    site.send(
        "execute_deployment_command",
        json!({ "command_id": "3", "command": "echo 3 >> log", "shell": "sh", "session": "other" }),
    );
    for id in ["1", "2", "3"] {
        assert_eq!(site.completed(id)["success"], true);
    }
    assert_eq!(site.read("log"), "3\n1\n2\n");
}

#[test]
fn output_comes_in_order_before_its_result() {
    let site = Site::new();
    site.execute(
        "out",
        "for i in 1 2 3; do echo $i; echo e$i >&2; sleep 0.05; done",
    );
    site.completed("out");
    let sent = site.backend.sent();
    let mine: Vec<&Sent> = sent
        .iter()
        .filter(|one| one.payload["command_id"] == "out")
        .collect();
    assert_eq!(
        mine.last().expect("events").event,
        "deployment_command_completed"
    );
    let pieces: Vec<&Value> = mine
        .iter()
        .filter(|one| one.event == "deployment_command_output")
        .map(|one| &one.payload)
        .collect();
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(piece["seq"], index);
    }
    let text = |stream: &str| -> String {
        pieces
            .iter()
            .filter(|p| p["stream"] == stream)
            .filter_map(|p| p["output"].as_str())
            .collect()
    };
    assert_eq!(
        (text("stdout").as_str(), text("stderr").as_str()),
        ("1\n2\n3\n", "e1\ne2\ne3\n")
    );
}

#[test]
fn an_id_runs_once_and_its_result_comes_again() {
    let site = Site::new();
    site.execute("one", "echo x >> log");
    let first = site.completed("one");
    site.execute("one", "echo y >> log");
    let count = |sent: &[Sent]| {
        sent.iter()
            .filter(|one| one.event == "deployment_command_completed")
            .count()
    };
    site.wait(|sent| (count(sent) == 2).then_some(()));
    let all = site.backend.sent();
    assert!(
        all.iter()
            .filter(|one| one.event == "deployment_command_completed")
            .all(|one| one.payload == first)
    );
    assert_eq!(site.read("log"), "x\n");
}

#[test]
fn a_batch_that_is_not_taken_back_whole_says_which_snapshots_are() {
    let site = Site::new();
    let lines = ["echo 1 > one", "echo 2 > two"];
    let payload = json!({ "batch_id": "b", "commands": lines, "shell": "sh" });
    site.send("execute_batch_persistent", payload);
    let done = site.result("batch_execution_completed", "batch_id", "b");
    fs::write(site.tree.join("two"), "changed since").expect("a file");
    let undo = |on_conflict: &str| {
        let before = site.backend.sent().len();
        site.send(
            "rollback_batch",
            json!({ "batch_id": "b", "on_conflict": on_conflict }),
        );
        let result = site.wait(|sent| {
            let mut new = sent.iter().skip(before);
            let one = new.find(|one| one.event == "batch_rollback_result")?;
            Some(one.payload.clone())
        });
        let ids = ["/snapshots/0/snapshot_id", "/snapshots/1/snapshot_id"];
        assert_eq!(
            ids.map(|id| result.pointer(id)),
            [
                done.pointer("/snapshot_ids/1"),
                done.pointer("/snapshot_ids/0")
            ],
            "in the order undone: {result}"
        );
        ["/snapshots/0/success", "/snapshots/1/success"]
            .map(|success| result.pointer(success).and_then(Value::as_bool))
    };
    assert_eq!(undo("abort"), [Some(false), Some(false)]);
    assert_eq!(site.read("one"), "1\n");
    assert_eq!(undo("skip"), [Some(false), Some(true)]);
    assert_eq!(site.read("two"), "changed since");
    assert_eq!(undo("overwrite"), [Some(true), Some(true)]);
    assert!(!site.tree.join("one").exists() && !site.tree.join("two").exists());
}

#[test]
fn rollbacks_leave_what_the_agent_remembers_alone() {
    let mut site = Site::new();
    // A line that covers everything here, the agent's directory too.
    site.send(
        "execute_deployment_command",
        json!({
            "command_id": "wide", "command": "touch begun; while ! test -e go; do sleep 0.1; done",
            "shell": "sh", "monitored_paths": [site.dir.path()],
        }),
    );
    site.wait_for_file("begun");
    site.send(
        "execute_deployment_command",
        json!({
            "command_id": "beside", "command": "echo x >> ../log", "shell": "sh",
            "session": "other", "snapshot": false,
        }),
    );
    site.completed("beside");
    fs::write(site.tree.join("go"), "").expect("a file");
    let done = site.completed("wide");
    site.send(
        "rollback_command",
        json!({ "snapshot_id": done["snapshot_id"] }),
    );
    let undone = site.result(
        "rollback_result",
        "snapshot_id",
        done["snapshot_id"].as_str().expect("an id"),
    );
    assert_eq!(undone["success"], true, "{undone}");
    assert!(!undone.to_string().contains("agent.sqlite"), "{undone}");
    assert!(!site.tree.join("begun").exists());
    let log = site.dir.path().join("log");
    assert!(!log.exists(), "what was covered is taken back");
    site.agent.take().expect("an agent").stop();
    site.start(|_| {});
    site.send(
        "execute_deployment_command",
        json!({ "command_id": "beside", "command": "echo x >> ../log", "shell": "sh" }),
    );
    site.execute("last", "true");
    site.completed("last");
    assert!(!log.exists(), "it was carried out again");
}

#[test]
fn results_wait_for_the_line_and_outlive_the_agent() {
    let mut site = Site::new();
    site.execute("before", "true");
    site.completed("before");
    site.execute("cut", "touch begun; sleep 0.5; echo done");
    site.wait_for_file("begun");
    site.backend.refuse(true);
    site.backend.cut();
    std::thread::sleep(Duration::from_secs(1));
    // The agent goes without having had a line, and another one comes.
    site.agent.take().expect("an agent").stop();
    let sent = site.backend.sent();
    assert!(!sent.iter().any(
        |one| one.payload["command_id"] == "cut" && one.event == "deployment_command_completed"
    ));
    site.backend.refuse(false);
    site.start(|_| {});
    let done = site.completed("cut");
    assert_eq!(
        (&done["success"], &done["output"]),
        (&json!(true), &json!("done\n"))
    );
    // In the order in which they came about: nothing proved that the first had arrived.
    let connection = site.backend.connections();
    let order: Vec<String> = site.wait(|sent| {
        let ids: Vec<String> = sent
            .iter()
            .filter(|one| {
                one.connection == connection && one.event == "deployment_command_completed"
            })
            .map(|one| {
                one.payload["command_id"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        (ids.len() == 2).then_some(ids)
    });
    assert_eq!(order, ["before", "cut"]);
}

#[test]
fn what_was_acknowledged_does_not_come_again() {
    let site = Site::with(|config| config.heartbeat = Duration::from_millis(200));
    site.backend.acknowledge(true);
    site.execute("one", "true");
    site.completed("one");
    let beats = |sent: &[Sent]| {
        sent.iter()
            .filter(|one| one.event == "agent_heartbeat")
            .count()
    };
    let now = beats(&site.backend.sent());
    site.wait(|sent| (beats(sent) >= now + 3).then_some(()));
    let before = site.backend.connections();
    site.backend.cut();
    site.register_again(before);
    site.execute("two", "true");
    site.completed("two");
    let sent = site.backend.sent();
    let ones = sent.iter().filter(|one| {
        one.event == "deployment_command_completed" && one.payload["command_id"] == "one"
    });
    assert_eq!(ones.count(), 1);
}

#[test]
fn a_backend_that_stops_acknowledging_is_left() {
    let site = Site::with(|config| {
        config.heartbeat = Duration::from_millis(200);
        config.patience = Duration::from_millis(500);
    });
    site.backend.acknowledge(true);
    site.wait(|sent| {
        (sent
            .iter()
            .filter(|one| one.event == "agent_heartbeat")
            .count()
            > 2)
        .then_some(())
    });
    site.backend.acknowledge(false);
    site.wait(|sent| {
        sent.iter()
            .any(|one| one.event == "agent_register" && one.connection == 2)
            .then_some(())
    });
}

#[test]
fn a_backend_that_never_acknowledges_is_kept() {
    let site = Site::with(|config| {
        config.heartbeat = Duration::from_millis(50);
        config.patience = Duration::from_millis(100);
    });
    site.wait(|sent| {
        (sent
            .iter()
            .filter(|one| one.event == "agent_heartbeat")
            .count()
            > 30)
            .then_some(())
    });
    assert_eq!(site.backend.connections(), 1);
}

#[test]
fn a_stalled_line_slows_the_command_only_until_it_is_given_up() {
    let site = Site::with(|config| config.patience = Duration::from_secs(1));
    site.backend.stall(true);
    site.execute("loud", "yes | head -c 20000000; echo end >&2; touch done");
    site.wait_for_file("done");
    site.backend.stall(false);
    let before = 1;
    site.register_again(before);
    let done = site.completed("loud");
    assert_eq!(done["success"], true);
    assert!(
        done["output_left_out"]
            .as_u64()
            .is_some_and(|bytes| bytes > 19_000_000)
    );
    let file = done["output_file"].as_str().expect("a file");
    assert_eq!(fs::metadata(file).expect("the output").len(), 20_000_004);
}

#[test]
fn cancelling_ends_what_runs_and_what_waits() {
    let site = Site::new();
    site.execute("runs", "touch begun; sleep 60");
    site.execute("waits", "touch never");
    site.wait_for_file("begun");
    site.send("cancel_command", json!({ "command_id": "waits" }));
    site.send("cancel_command", json!({ "command_id": "runs" }));
    for id in ["runs", "waits"] {
        let done = site.completed(id);
        assert_eq!(
            (&done["success"], &done["cancelled"]),
            (&json!(false), &json!(true)),
            "{done}"
        );
    }
    assert!(!site.tree.join("never").exists());
    site.send(
        "execute_batch_persistent",
        json!({ "batch_id": "b", "commands": ["touch b1", "sleep 60", "touch b2"], "shell": "sh" }),
    );
    site.wait_for_file("b1");
    std::thread::sleep(Duration::from_millis(300));
    site.send("cancel_batch", json!({ "batch_id": "b" }));
    let done = site.result("batch_execution_completed", "batch_id", "b");
    assert_eq!(done["cancelled"], true);
    assert_eq!(done["execution_results"].as_array().map(Vec::len), Some(3));
    assert!(!site.tree.join("b2").exists());
}

#[test]
fn a_time_limit_ends_a_command() {
    let site = Site::new();
    site.send(
        "execute_deployment_command",
        json!({ "command_id": "slow", "command": "sleep 60", "shell": "sh", "timeout_s": 0.5 }),
    );
    let done = site.completed("slow");
    assert_eq!(
        (&done["timed_out"], &done["exit_code"]),
        (&json!(true), &json!(124))
    );
    assert!(
        done["error"]
            .as_str()
            .is_some_and(|text| text.starts_with("timed out"))
    );
}

#[test]
fn a_rollback_waits_for_a_command_on_the_same_entries_or_is_refused() {
    let site = Site::with(|config| config.rollback_patience = Duration::from_millis(700));
    site.execute("first", "echo a > file");
    let snapshot = site.completed("first")["snapshot_id"].clone();
    // Refused while a command works on the same file for long, and said which.
    site.execute("long", "touch begun; sleep 3; echo b > file");
    site.wait_for_file("begun");
    site.send("rollback_command", json!({ "snapshot_id": snapshot }));
    let refused = site.result(
        "rollback_result",
        "snapshot_id",
        snapshot.as_str().expect("an id"),
    );
    assert_eq!(refused["success"], false);
    assert!(
        refused["error"]
            .as_str()
            .is_some_and(|text| text.contains("command long")),
        "{refused}"
    );
    assert_eq!(site.read("file"), "a\n");
    site.completed("long");
    site.send("rollback_command", json!({ "snapshot_id": snapshot }));
    let undone = site.wait(|sent| {
        let one = sent
            .iter()
            .filter(|one| one.event == "rollback_result")
            .nth(1)?;
        Some(one.payload.clone())
    });
    assert_eq!(undone["success"], true, "{undone}");
    assert!(!site.tree.join("file").exists());
}

#[test]
fn queries_are_answered_while_commands_run() {
    let site = Site::new();
    site.execute("long", "touch begun; sleep 5");
    site.wait_for_file("begun");
    let begun = Instant::now();
    site.send("list_snapshots", json!({}));
    site.wait(|sent| {
        sent.iter()
            .any(|one| one.event == "snapshots_list_result")
            .then_some(())
    });
    assert!(begun.elapsed() < Duration::from_secs(4));
    site.send("cancel_command", json!({ "command_id": "long" }));
    site.completed("long");
}

#[test]
fn a_batch_keeps_its_shell_and_a_second_one_waits() {
    let site = Site::new();
    for (id, commands) in [
        (
            "b1",
            vec!["mkdir d", "cd d", "X=5", "sleep 0.3", "echo $X > x"],
        ),
        ("b2", vec!["cat d/x"]),
    ] {
        site.send(
            "execute_batch_persistent",
            json!({ "batch_id": id, "commands": commands, "shell": "sh" }),
        );
    }
    let first = site.result("batch_execution_completed", "batch_id", "b1");
    assert_eq!(first["success"], true, "{first}");
    assert_eq!(first["snapshot_ids"].as_array().map(Vec::len), Some(5));
    let second = site.result("batch_execution_completed", "batch_id", "b2");
    assert_eq!(second["output"], "5\n");
    let sent = site.backend.sent();
    let statuses: Vec<(Value, Value)> = sent
        .iter()
        .filter(|one| one.event == "batch_command_progress" && one.payload["batch_id"] == "b1")
        .map(|one| {
            (
                one.payload["command_index"].clone(),
                one.payload["status"].clone(),
            )
        })
        .collect();
    assert_eq!(
        statuses,
        (0..5)
            .map(|n| (json!(n), json!("running")))
            .collect::<Vec<_>>()
    );
}

#[test]
fn snapshots_expire_at_intervals() {
    let site = Site::with(|config| {
        config.cleanup_interval = Duration::from_millis(300);
        config.retention.max_age = Some(Duration::from_millis(1));
    });
    site.execute("one", "echo a > file");
    site.completed("one");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = site.backend.sent().len();
        site.send("list_snapshots", json!({}));
        let list = site.wait(|sent| {
            let one = sent
                .iter()
                .skip(before)
                .find(|one| one.event == "snapshots_list_result")?;
            Some(one.payload.clone())
        });
        if list["snapshot_count"] == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "{list}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_cleanup_beside_a_rollback_leaves_the_tree_as_it_was_or_as_it_is() {
    let site = Site::with(|config| {
        config.cleanup_interval = Duration::from_millis(3);
        config.retention.max_age = Some(Duration::from_millis(500));
    });
    let (mut undone, mut gone) = (0, 0);
    for round in 0..12 {
        fs::write(site.tree.join("old"), "before").expect("a file");
        let id = format!("r{round}");
        site.execute(
            &id,
            "echo after > old; mkdir d; for i in $(seq 200); do echo $i > d/$i; done",
        );
        let snapshot = site.completed(&id)["snapshot_id"].clone();
        // Sometimes before it expires, sometimes after, sometimes while it does.
        std::thread::sleep(Duration::from_millis(round * 50));
        site.send("rollback_command", json!({ "snapshot_id": snapshot }));
        let id = snapshot.as_str().expect("an id");
        let result = site.result("rollback_result", "snapshot_id", id);
        let files = fs::read_dir(site.tree.join("d")).map_or(0, Iterator::count);
        if result["success"] == true {
            assert_eq!(
                (site.read("old").as_str(), files),
                ("before", 0),
                "{result}"
            );
            undone += 1;
        } else {
            assert_eq!(
                (site.read("old").as_str(), files),
                ("after\n", 200),
                "{result}"
            );
            assert!(!site.tree.join("d/.deployx").exists());
            fs::remove_dir_all(site.tree.join("d")).expect("the files");
            gone += 1;
        }
    }
    println!("{undone} rolled back, {gone} had expired");
}

/// A transport with a defect.
struct Defective;

impl Transport for Defective {
    fn connect(&self, _: Inbound, _: Duration) -> deployx::Result<Box<dyn Connection>> {
        panic!("a defect that a test made")
    }
}

#[test]
fn an_agent_tells_that_a_defect_has_ended_a_part_of_it() {
    let site = Site::new();
    let agent = site.agent.as_ref().expect("an agent");
    assert!(agent.is_whole());
    let mut config = AgentConfig::new(
        site.dir.path().join("state"),
        AbsPath::new(&site.tree).expect("a path"),
    );
    config.retry = (Duration::from_millis(10), Duration::from_millis(10));
    agent.reload(config, Arc::new(Defective));
    let deadline = Instant::now() + PATIENCE;
    while agent.is_whole() {
        assert!(Instant::now() < deadline, "nobody sees it");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_agent_that_is_closed_under_a_flood_ends() {
    for _ in 0..20 {
        let mut site = Site::new();
        for _ in 0..10 {
            site.send("list_snapshots", json!({}));
        }
        drop(site.agent.take());
    }
}

#[test]
fn a_result_is_sent_again_even_where_requests_are_refused_by_now() {
    let site = Site::with(|config| config.max_waiting = 1);
    site.execute("done", "echo x");
    let first = site.completed("done");
    site.execute("holds", "touch begun; until [ -e go ]; do sleep 0.02; done");
    site.wait_for_file("begun");
    site.execute("waits", "true");
    // Answered in the order of events: now the one before is in its queue.
    site.send("get_shells", json!({}));
    site.wait(|sent| {
        sent.iter()
            .any(|one| one.event == "get_shells_ack")
            .then_some(())
    });
    site.execute("refused", "true");
    assert_eq!(site.completed("refused")["success"], false);
    site.execute("done", "echo x");
    let again = site.wait(|sent| {
        let mut own = sent.iter().filter(|one| {
            one.event == "deployment_command_completed" && one.payload["command_id"] == "done"
        });
        own.nth(1).map(|one| one.payload.clone())
    });
    assert_eq!(again, first);
    site.execute("waits", "true");
    let told = site.result("agent_error", "id", "waits");
    assert!(
        told["error"]
            .as_str()
            .is_some_and(|text| text.contains("still running"))
    );
    fs::write(site.tree.join("go"), "").expect("a file");
    assert_eq!(site.completed("waits")["success"], true);
}

#[test]
fn too_many_requests_are_refused_and_the_others_run() {
    let site = Site::with(|config| config.max_waiting = 3);
    site.execute("holds", "touch begun; sleep 1");
    site.wait_for_file("begun");
    for n in 0..10 {
        site.execute(&format!("n{n}"), "true");
        std::thread::sleep(Duration::from_millis(20));
    }
    let outcomes: Vec<bool> = (0..10)
        .map(|n| site.completed(&format!("n{n}"))["success"] == true)
        .collect();
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 3, "{outcomes:?}");
}

#[test]
fn results_and_answers_carry_receipts() {
    let site = Site::new();
    std::fs::write(site.tree.join("old"), "12345").unwrap();
    let line = "rm old; [ -e nothing ] && curl -s http://192.0.2.1/; echo x > new";
    site.execute("c", line);
    let done = site.completed("c");
    let receipt = &done["receipt"];
    let preserved = json!({ "entries": 1, "bytes": 5, "created": 1, "lost": 0 });
    assert_eq!(receipt["preserved"], preserved, "{done:#}");
    // Whether the filesystems can be watched depends on who runs this.
    let words = ["events", "not_watched"];
    assert!(words.contains(&receipt["outside"]["watch"].as_str().unwrap()));
    assert_eq!(receipt["not_undoable"][0]["what"], "network");
    assert_eq!(receipt["expected"], Value::Null, "it is not for the line");
    let id = &done["snapshot_id"];
    site.send("get_snapshot_info", json!({ "snapshot_id": id }));
    let info = site.result("snapshot_info_result", "snapshot_id", id.as_str().unwrap());
    assert_eq!(&info["info"]["receipt"], receipt);
    site.send(
        "execute_batch_persistent",
        json!({ "batch_id": "b", "commands": ["echo y > y"], "shell": "sh" }),
    );
    let one = site.result("batch_command_completed", "batch_id", "b");
    assert_eq!(one["receipt"]["preserved"]["created"], 1, "{one:#}");
    site.send("list_snapshots", json!({}));
    let list = site.wait(|sent| {
        let found = sent.iter().find(|one| one.event == "snapshots_list_result");
        found.map(|one| one.payload.clone())
    });
    assert_eq!(
        list["snapshots"][0]["receipt"],
        Value::Null,
        "lists are short"
    );
}
