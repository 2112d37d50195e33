//! The line breaks, the server dies, the agent is killed.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, Kind, kinds};
use crate::common::size;

/// A connected pair with probes so frequent that a test need not wait long, and a tree.
fn start(kind: Kind, settings: serde_json::Value) -> (Backend, Agent, tempfile::TempDir) {
    let mut backend = Backend::start(kind, settings);
    let config = "[agent]\nheartbeat_seconds = 1\nprobe_seconds = 1\npatience_seconds = 2\n";
    let agent = Agent::configured(&format!("http://127.0.0.1:{}", backend.port), &[], config);
    backend.event("join_room");
    (backend, agent, tempfile::tempdir().expect("a tree"))
}

#[test]
fn every_way_of_losing_the_line_is_noticed_and_the_agent_comes_back() {
    for kind in kinds("every_way_of_losing_the_line_is_noticed_and_the_agent_comes_back") {
        let (mut backend, mut agent, tree) =
            start(kind, json!({ "pingInterval": 2000, "pingTimeout": 2000 }));
        for (how, order) in [
            ("closed", json!({ "disconnect": true })),
            ("left", json!({ "disconnect": false })),
        ] {
            let begun = Instant::now();
            backend.order(order);
            backend.event("agent_register");
            backend.event("join_room");
            let took = begun.elapsed();
            println!("{kind:?} {how}: back after {:.1} s", took.as_secs_f64());
            // Noticed at once, and at most 5 s until the next attempt.
            assert!(took < Duration::from_secs(8), "{how}: {took:?}");
        }
        let comes_back = |backend: &mut Backend, how: &str, begun: Instant| {
            backend.event("agent_register");
            backend.event("join_room");
            let took = begun.elapsed().as_secs_f64();
            println!("{kind:?} {how}: back after {took:.1} s");
        };
        let begun = Instant::now();
        backend.restart();
        comes_back(&mut backend, "killed", begun);
        // A server that is stopped keeps the line and says nothing: its pings stay away.
        agent.skip_log();
        let begun = Instant::now();
        signal(&backend, "STOP");
        agent.wait_for_log("the line is down: ");
        let took = begun.elapsed().as_secs_f64();
        println!("{kind:?} stopped: noticed after {took:.1} s");
        // Only now is it gone, and another one in its place.
        backend.restart();
        comes_back(&mut backend, "stopped", begun);
        let done = backend.run("after-all-that", "echo alive", tree.path());
        assert_eq!(done["output"], "alive\n");
    }
}

fn signal(backend: &Backend, name: &str) {
    let status = std::process::Command::new("kill")
        .args([&format!("-{name}"), &backend.pid().to_string()])
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

#[test]
fn results_survive_a_server_that_is_away_and_ids_run_once() {
    for kind in kinds("results_survive_a_server_that_is_away_and_ids_run_once") {
        let (mut backend, _agent, tree) = start(kind, json!({}));
        let log = tree.path().join("log");
        let slow = format!("sleep 2; echo ran >> {}", log.display());
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "away", "command": slow, "shell": "bash", "cwd": tree.path() }),
        );
        std::thread::sleep(Duration::from_millis(700));
        backend.kill();
        std::thread::sleep(Duration::from_secs(3));
        backend.restart();
        backend.event("agent_register");
        let done = backend.event_of("deployment_command_completed", "command_id", "away");
        assert_eq!(done["success"], true, "{done}");
        // The same id again: the same result, and nothing runs.
        let again = backend.run("away", &slow, tree.path());
        assert_eq!(again["snapshot_id"], done["snapshot_id"]);
        assert_eq!(fs::read_to_string(&log).expect("a log"), "ran\n");
    }
}

#[test]
fn an_id_that_still_runs_is_not_run_twice() {
    for kind in kinds("an_id_that_still_runs_is_not_run_twice")
        .into_iter()
        .take(1)
    {
        let (mut backend, _agent, tree) = start(kind, json!({}));
        let payload = json!({ "command_id": "twice", "command": "sleep 1; echo x >> log", "shell": "bash", "cwd": tree.path() });
        backend.emit("execute_deployment_command", payload.clone());
        backend.emit("execute_deployment_command", payload);
        let told = backend.event("agent_error");
        assert_eq!(told["id"], "twice");
        assert!(
            told["error"]
                .as_str()
                .is_some_and(|text| text.contains("still running"))
        );
        backend.event_of("deployment_command_completed", "command_id", "twice");
        assert_eq!(
            fs::read_to_string(tree.path().join("log")).expect("a log"),
            "x\n"
        );
    }
}

#[test]
fn an_agent_killed_during_a_command_reports_it_and_rolls_it_back() {
    for kind in kinds("an_agent_killed_during_a_command_reports_it_and_rolls_it_back") {
        let (mut backend, mut agent, tree) = start(kind, json!({}));
        fs::write(tree.path().join("precious"), "old").expect("a file");
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "cut", "command": "echo new > precious; touch begun; sleep 60", "shell": "bash", "cwd": tree.path() }),
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while !tree.path().join("begun").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        agent.crash();
        let done = backend.event_of("deployment_command_completed", "command_id", "cut");
        assert_eq!(
            (&done["success"], &done["interrupted"]),
            (&json!(false), &json!(true)),
            "{done}"
        );
        let snapshot = done["snapshot_id"].as_str().expect("a snapshot").to_owned();
        backend.emit("rollback_command", json!({ "snapshot_id": snapshot }));
        let undone = backend.event("rollback_result");
        assert_eq!(undone["success"], true, "{undone}");
        assert_eq!(
            fs::read_to_string(tree.path().join("precious")).expect("a file"),
            "old"
        );
        assert!(!tree.path().join("begun").exists());
    }
}

/// `DEPLOYX_TEST_SECONDS` says for how long it writes on.
#[test]
fn a_daemon_of_an_intercepted_command_writes_on_after_its_agent_was_killed() {
    let test = "a_daemon_of_an_intercepted_command_writes_on_after_its_agent_was_killed";
    for kind in kinds(test).into_iter().take(1) {
        let (mut backend, mut agent, tree) = start(kind, json!({}));
        // A new file, a rename and a removal each time; it says when a call fails, and ends with its tree.
        let daemon = "nohup sh -c 'while [ -e up ]; do echo beat > new && mv new beat && rm -f old && \
             : > old || echo failed >> failed; sleep 0.02; done' >/dev/null 2>&1 & echo $! > pid";
        fs::write(tree.path().join("up"), "").expect("a file");
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "daemon", "command": daemon, "shell": "bash", "cwd": tree.path(), "strategy": "intercept" }),
        );
        let done = backend.event_of("deployment_command_completed", "command_id", "daemon");
        assert_eq!(done["success"], true, "{done}");
        assert_eq!(done["receipt"]["outside"]["watch"], "calls", "{done}");
        agent.kill();
        let beat = tree.path().join("beat");
        let until = Instant::now() + Duration::from_secs(size("DEPLOYX_TEST_SECONDS", 2) as u64);
        while Instant::now() < until {
            let _ = fs::remove_file(&beat);
            let patience = Instant::now() + Duration::from_secs(20);
            while !beat.exists() {
                assert!(Instant::now() < patience, "it does not write any more");
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(!tree.path().join("failed").exists(), "a call failed");
        // Another agent takes over beside it, and takes the command back once the daemon has ended.
        fs::remove_file(tree.path().join("up")).expect("the file");
        let pid = fs::read_to_string(tree.path().join("pid")).expect("a number");
        let process = std::path::PathBuf::from(format!("/proc/{}", pid.trim()));
        while process.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        agent.launch();
        backend.event("join_room");
        let next = backend.run("next", "echo alive", tree.path());
        assert_eq!(next["output"], "alive\n");
    }
}

#[test]
fn many_reconnects_lose_nothing() {
    let cuts = size("DEPLOYX_TEST_RECONNECTS", 4);
    for kind in kinds("many_reconnects_lose_nothing").into_iter().take(1) {
        let (mut backend, _agent, tree) = start(kind, json!({ "acknowledge": true }));
        let mut wanted = HashSet::new();
        for cut in 0..cuts {
            for n in 0..3 {
                let id = format!("c{cut}-{n}");
                backend.emit(
                    "execute_deployment_command",
                    json!({ "command_id": id, "command": format!("echo {id} >> log"), "shell": "sh", "cwd": tree.path(), "snapshot": false }),
                );
                wanted.insert(id);
            }
            backend.order(json!({ "disconnect": cut % 2 == 0 }));
            backend.event("join_room");
            // What is sent on the new line runs, after whatever came before.
            let id = format!("after{cut}");
            let command = format!("echo {id} >> log");
            backend.emit(
                "execute_deployment_command",
                json!({ "command_id": id, "command": command, "shell": "sh", "cwd": tree.path(), "snapshot": false }),
            );
            backend.event_of("deployment_command_completed", "command_id", &id);
        }
        // What was sent while nobody was in the room never reached the agent; what ran has a result.
        let ran = fs::read_to_string(tree.path().join("log")).expect("a log");
        let (after, ran): (Vec<&str>, Vec<&str>) =
            ran.lines().partition(|id| id.starts_with("after"));
        let expected: Vec<String> = (0..cuts).map(|cut| format!("after{cut}")).collect();
        assert_eq!(after, expected);
        let mut results: BTreeMap<String, usize> = BTreeMap::new();
        for line in backend.drain(Duration::from_secs(3)) {
            if line["event"] == "deployment_command_completed" {
                let id = line["data"]["command_id"].as_str().unwrap_or_default();
                *results.entry(id.to_owned()).or_default() += 1;
            }
        }
        let unique: HashSet<&&str> = ran.iter().collect();
        assert_eq!(unique.len(), ran.len(), "a command ran twice");
        for id in &ran {
            assert!(wanted.contains(*id), "{id} was not sent");
            assert!(results.contains_key(*id), "the result of {id} is lost");
        }
        for id in results.keys().filter(|id| !id.starts_with("after")) {
            assert!(
                ran.contains(&id.as_str()),
                "{id} has a result and did not run"
            );
        }
        println!(
            "{cuts} reconnects: {} commands ran, {} results, {} sent",
            ran.len(),
            results.len(),
            wanted.len()
        );
    }
}

#[test]
fn kills_at_random_moments_lose_nothing_and_run_nothing_twice() {
    let count = size("DEPLOYX_TEST_AGENT_KILL_COMMANDS", 12);
    for kind in kinds("kills_at_random_moments_lose_nothing_and_run_nothing_twice")
        .into_iter()
        .take(1)
    {
        let (mut backend, mut agent, tree) = start(kind, json!({ "acknowledge": true }));
        let mut random = size("DEPLOYX_TEST_SEED", 1) as u64;
        let mut kills = 0;
        let payload = |n: &str| {
            let line = format!("echo {n} >> log; echo {n} > file{n}; sleep 0.05");
            json!({ "command_id": format!("k{n}"), "command": line, "shell": "bash", "cwd": tree.path() })
        };
        let mut results: BTreeMap<String, Value> = BTreeMap::new();
        for n in 0..count {
            backend.emit("execute_deployment_command", payload(&n.to_string()));
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            if (random >> 33).is_multiple_of(3) {
                std::thread::sleep(Duration::from_millis((random >> 40) % 400));
                agent.crash();
                backend.event("join_room");
                kills += 1;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while results.len() < count && Instant::now() < deadline {
            for line in backend.drain(Duration::from_secs(1)) {
                if line["event"] == "deployment_command_completed" {
                    let id = line["data"]["command_id"].as_str().unwrap_or_default();
                    let earlier = results.insert(id.to_owned(), line["data"].clone());
                    assert!(
                        earlier
                            .as_ref()
                            .is_none_or(|earlier| *earlier == line["data"]),
                        "{id} has two different results: {earlier:?}, {line}"
                    );
                }
            }
            // What was lost on the way to the agent is sent again, as a backend would.
            for n in (0..count).map(|n| n.to_string()) {
                if !results.contains_key(&format!("k{n}")) {
                    backend.emit("execute_deployment_command", payload(&n));
                }
            }
        }
        assert_eq!(results.len(), count, "results are missing");
        let log = fs::read_to_string(tree.path().join("log")).unwrap_or_default();
        let mut runs: Vec<&str> = log.lines().collect();
        let all = runs.len();
        runs.sort_unstable();
        runs.dedup();
        assert_eq!(runs.len(), all, "a command ran twice: {log}");
        let mut kinds = [0; 3];
        for n in (0..count).map(|n| n.to_string()) {
            let result = &results[&format!("k{n}")];
            let ran = runs.contains(&n.as_str());
            let error = result["error"].as_str().unwrap_or_default();
            let kind = if result["success"] == true {
                assert!(ran, "{n} succeeded without running: {result}");
                0
            } else if result["interrupted"] == true {
                take_back(&mut backend, result, &tree.path().join(format!("file{n}")));
                1
            } else {
                assert!(error.contains("it was not run"), "{n}: {result}");
                assert!(!ran, "{n} ran and is said not to have: {result}");
                2
            };
            kinds[kind] += 1;
        }
        let [done, cut, unbegun] = kinds;
        println!(
            "{kills} kills, {count} commands: {all} ran, each once; {done} to their end, {cut} interrupted, \
             {unbegun} not begun"
        );
        assert!(kills > 0);
    }
}

/// Rolls back what an interrupted command did to a file of its own.
fn take_back(backend: &mut Backend, result: &Value, file: &Path) {
    let Some(snapshot) = result["snapshot_id"].as_str() else {
        // Killed before there was one, and so before the command ran.
        assert!(
            !file.exists(),
            "{} is there without a snapshot: {result}",
            file.display()
        );
        return;
    };
    let rollback = json!({ "snapshot_id": snapshot, "paths": [file] });
    backend.emit("rollback_command", rollback);
    let undone = backend.event_of("rollback_result", "snapshot_id", snapshot);
    assert_eq!(undone["success"], true, "{undone}");
    assert!(!file.exists(), "{} is not taken back", file.display());
}

#[test]
fn the_agent_ends_in_good_order_and_reloads() {
    for kind in kinds("the_agent_ends_in_good_order_and_reloads")
        .into_iter()
        .take(1)
    {
        let (mut backend, mut agent, tree) = start(kind, json!({}));
        let shells = backend.event("agent_register")["shells"].clone();
        assert!(
            shells.as_array().is_some_and(|names| names.len() > 1),
            "{shells}"
        );
        let file = agent.dir.path().join("config.toml");
        let config = "[agent]\nallow_shell = [\"bash\"]\nmetrics = \"127.0.0.1:0\"\n";
        fs::write(&file, config).expect("a configuration");
        agent.signal("HUP");
        backend.event("join_room");
        assert_eq!(backend.event("agent_register")["shells"], json!(["bash"]));
        // What a reload cannot change is said, and so is what cannot be read; neither stops anything.
        agent.wait_for_log("needs a restart of the agent key=\"metrics\"");
        agent.wait_for_log("settings were reloaded");
        fs::write(&file, "[agent]\nallow_shel = []\n").expect("a configuration");
        agent.signal("HUP");
        agent.wait_for_log("the settings stay as they were");
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "last", "command": "touch begun; sleep 1; echo end", "shell": "bash", "cwd": tree.path() }),
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while !tree.path().join("begun").exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        agent.signal("TERM");
        let done = backend.event_of("deployment_command_completed", "command_id", "last");
        assert_eq!(
            (&done["success"], &done["output"]),
            (&json!(true), &json!("end\n"))
        );
        assert_eq!(agent.ended(), Some(0));
    }
}
