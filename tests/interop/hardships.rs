//! A full disk, a clock that jumps, a user without rights.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::backend::{Agent, Backend, PATIENCE, kinds};
use crate::common::{has_program, is_root, require};

const CONFIG: &str =
    "[agent]\nheartbeat_seconds = 1\nprobe_seconds = 1\nresult_output_bytes = 1024\n";

fn wait_for(file: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(
            Instant::now() < deadline,
            "{} does not come",
            file.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes into a file until the disk is full.
fn fill(file: &Path) {
    use std::io::Write as _;
    let mut filler = fs::File::create(file).expect("a file");
    let block = [0; 1024];
    while filler.write_all(&block).is_ok() {}
}

#[test]
fn a_full_disk_under_the_agents_directory_loses_nothing() {
    let test = "a_full_disk_under_the_agents_directory_loses_nothing";
    if !require(
        test,
        "root and unshare",
        is_root() && has_program("unshare"),
    ) {
        return;
    }
    for kind in kinds(test) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let mut agent = Agent::prepared(&server, &[], CONFIG);
        let state = agent.dir.path().join("state");
        fs::create_dir(&state).expect("a directory");
        fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).expect("its mode");
        // In a mount namespace of its own: it goes with the agent, however that ends.
        let mount = "mount -t tmpfs -o size=2m,mode=0700 tmpfs \"$1\" && shift && exec \"$@\"";
        let wrapper = ["unshare", "-m", "sh", "-c", mount, "sh"].map(OsStr::new);
        agent.set_wrapper(&[&wrapper[..], &[state.as_os_str()]].concat());
        agent.launch();
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let tree = tree.path();
        assert_eq!(backend.run("before", "echo a", tree)["output"], "a\n");
        let waiting = |id: &str, then: &str| {
            json!({
                "command_id": id, "shell": "bash", "cwd": tree, "session": id,
                "command": format!("touch {id}; until [ -e go ]; do sleep 0.02; done; {then}"),
            })
        };
        let loud = "head -c 5000000 /dev/zero | tr '\\0' x; echo loud >> log";
        backend.emit("execute_deployment_command", waiting("loud", loud));
        backend.emit(
            "execute_deployment_command",
            waiting("slow", "echo slow >> log"),
        );
        wait_for(&tree.join("loud"));
        wait_for(&tree.join("slow"));
        let inside = PathBuf::from(format!("/proc/{}/root", agent.pid()));
        let filler = inside.join(state.join("filler").strip_prefix("/").expect("absolute"));
        fill(&filler);
        // What is new is refused, as it could be run twice.
        let refused = backend.run("new", "touch wrong", tree);
        assert_eq!(refused["success"], false);
        let error = refused["error"].as_str().unwrap_or_default();
        assert!(
            error.contains("not run") && error.contains("full"),
            "{error}"
        );
        assert!(!tree.join("wrong").exists());
        // What runs ends, and its result comes at once.
        fs::write(tree.join("go"), "").expect("a file");
        let slow = backend.event_of("deployment_command_completed", "command_id", "slow");
        assert_eq!(slow["success"], true, "{slow}");
        let loud = backend.event_of("deployment_command_completed", "command_id", "loud");
        assert_eq!(
            (&loud["success"], &loud["output_file"]),
            (&json!(true), &Value::Null)
        );
        assert!(
            loud["output_left_out"]
                .as_u64()
                .is_some_and(|left| left > 4_000_000)
        );
        for _ in 0..3 {
            backend.event("agent_heartbeat");
        }
        // With room again, everything goes on, and the results are there for good.
        fs::remove_file(&filler).expect("a file less");
        for id in ["slow", "loud"] {
            let kept = backend.event_of("deployment_command_completed", "command_id", id);
            assert_eq!(kept["success"], true, "{kept}");
        }
        assert_eq!(backend.run("new", "touch right", tree)["success"], true);
        let again = backend.run("slow", "echo slow >> log", tree);
        assert_eq!(again["snapshot_id"], slow["snapshot_id"]);
        let mut log: Vec<String> = read_lines(&tree.join("log"));
        log.sort();
        assert_eq!(log, ["loud", "slow"]);
    }
}

fn read_lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn jumps_of_the_clock_expire_nothing_and_stop_nothing() {
    let test = "jumps_of_the_clock_expire_nothing_and_stop_nothing";
    let library = Path::new("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1");
    if !require(test, "libfaketime (Debian's faketime)", library.exists()) {
        return;
    }
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let config = format!(
            "{CONFIG}snapshot_cleanup_interval_hours = 0.0001\nsnapshot_max_age_hours = 24\nremember_hours = 24\n"
        );
        let mut agent = Agent::prepared(&server, &["--metrics", "127.0.0.1:0"], &config);
        let offset = agent.dir.path().join("offset");
        set_clock(&offset, "+0");
        agent.set_variables(&[
            ("LD_PRELOAD", library.as_os_str()),
            ("FAKETIME_TIMESTAMP_FILE", offset.as_os_str()),
            ("FAKETIME_NO_CACHE", OsStr::new("1")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", OsStr::new("1")),
        ]);
        agent.launch();
        backend.event("join_room");
        let tree = tempfile::tempdir().expect("a tree");
        let first = backend.run("first", "echo a > file", tree.path());
        assert_eq!(first["success"], true, "{first}");
        for jump in ["+400d", "-400d", "+0"] {
            set_clock(&offset, jump);
            let beat = backend.find(PATIENCE, |line| {
                let day = line["data"]["timestamp"].as_f64()? / 86_400.0;
                (line["event"] == "agent_heartbeat" && jumped(day) == jump).then_some(())
            });
            assert!(beat.is_some(), "the clock did not jump by {jump}");
            // Several cleanups later.
            let before = cleanups(&agent);
            let deadline = Instant::now() + PATIENCE;
            while cleanups(&agent) < before + 3 {
                assert!(Instant::now() < deadline, "{jump}: no more cleanups");
                std::thread::sleep(Duration::from_millis(50));
            }
            for _ in 0..2 {
                backend.event("agent_heartbeat");
            }
            // The id is known, and the snapshot is there.
            let again = backend.run("first", "echo twice >> file", tree.path());
            assert_eq!(again["snapshot_id"], first["snapshot_id"], "{jump}");
            let id = first["snapshot_id"].as_str().expect("an id");
            backend.emit("get_snapshot_info", json!({ "snapshot_id": id }));
            let info = backend.event("snapshot_info_result");
            assert_eq!(info["success"], true, "{jump}: {info}");
        }
        let second = backend.run("second", "cat file", tree.path());
        assert_eq!(second["output"], "a\n");
    }
}

fn set_clock(file: &Path, offset: &str) {
    let next = file.with_extension("next");
    fs::write(&next, format!("{offset}\n")).expect("an offset");
    fs::rename(&next, file).expect("an offset");
}

/// Which of the jumps a day after 1970 shows.
fn jumped(day: f64) -> &'static str {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64() / 86_400.0);
    match day - now {
        ahead if ahead > 300.0 => "+400d",
        ahead if ahead < -300.0 => "-400d",
        _ => "+0",
    }
}

fn cleanups(agent: &Agent) -> usize {
    agent.log().matches("cleaned up").count()
}

#[test]
fn an_ordinary_user_can_run_the_agent_and_is_told_what_it_cannot_restore() {
    let test = "an_ordinary_user_can_run_the_agent_and_is_told_what_it_cannot_restore";
    if !require(
        test,
        "root and setpriv",
        is_root() && has_program("setpriv"),
    ) {
        return;
    }
    const USER: u32 = 65_534;
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({}));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let mut agent = Agent::prepared(&server, &[], CONFIG);
        let dir = agent.dir.path().to_owned();
        // The program may be where only its owner gets.
        let program = dir.join("deployx");
        fs::copy(env!("CARGO_BIN_EXE_deployx"), &program).expect("a copy");
        let tree = dir.join("tree");
        fs::create_dir(&tree).expect("a tree");
        for (name, mode) in [("readable", 0o644), ("secret", 0o600), ("own", 0o640)] {
            fs::write(tree.join(name), name).expect("a file");
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        }
        for own in [&dir, &tree, &tree.join("own")] {
            chown(own, Some(USER), Some(USER)).expect("an owner");
        }
        let user = USER.to_string();
        let drop = "shift; exec \"$0\" \"$@\"";
        let wrapper = [
            "setpriv",
            "--reuid",
            &user,
            "--regid",
            &user,
            "--clear-groups",
            "sh",
            "-c",
            drop,
        ];
        let mut wrapper: Vec<&OsStr> = wrapper.iter().map(OsStr::new).collect();
        wrapper.push(program.as_os_str());
        agent.set_wrapper(&wrapper);
        agent.set_variables(&[("HOME", dir.as_os_str())]);
        agent.launch();
        let registered = backend.event("agent_register");
        assert_eq!(registered["system_info"]["privileged"], false);
        let limits = registered["system_info"]["cannot_restore"].to_string();
        assert!(limits.contains("owner"), "{limits}");
        backend.event("join_room");
        assert!(agent.log().contains("cannot restore"));
        // Its own files come back as they were.
        let done = backend.run("own", "echo x > own; mkdir d; chmod 600 own", &tree);
        assert_eq!(done["success"], true, "{done}");
        let undone = roll_back(&mut backend, &done);
        assert_eq!(undone["success"], true, "{undone}");
        assert_eq!(fs::read_to_string(tree.join("own")).expect("own"), "own");
        // Those of others are said to be what they are.
        let done = backend.run("others", "rm -f readable secret", &tree);
        assert_eq!(done["success"], true, "{done}");
        assert_eq!(done["coverage"]["complete"], false, "{done}");
        assert!(
            done["coverage"]["unobserved"]
                .to_string()
                .contains("secret")
        );
        let undone = roll_back(&mut backend, &done);
        assert_eq!(undone["success"], false);
        for name in ["readable", "secret"] {
            let failures = undone["failures"].as_array().expect("failures");
            let own = |one: &&Value| {
                one["path"]
                    .as_str()
                    .is_some_and(|path| path.ends_with(name))
            };
            let error = failures
                .iter()
                .find(own)
                .map(|one| one["error"].to_string());
            let error = error.unwrap_or_else(|| panic!("{name} is not named: {undone}"));
            assert!(error.contains("this user"), "{error}");
            // Not with another owner either.
            assert!(!tree.join(name).exists(), "{name}");
        }
    }
}

fn roll_back(backend: &mut Backend, done: &Value) -> Value {
    let id = done["snapshot_id"].as_str().expect("a snapshot");
    backend.emit("rollback_command", json!({ "snapshot_id": id }));
    backend.event_of("rollback_result", "snapshot_id", id)
}
