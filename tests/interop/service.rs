//! What systemd is told, what it thinks of the unit, and a real one that runs it.

use std::ffi::OsStr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, PATIENCE, kinds};
use crate::common::{has_program, is_root, require};

/// The socket that systemd would listen at.
struct Listener {
    socket: UnixDatagram,
    seen: Vec<String>,
}

impl Listener {
    fn new(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a time limit");
        Self {
            socket,
            seen: Vec::new(),
        }
    }

    /// Waits until a message has this line; gives the whole message.
    fn wait(&mut self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline {
            let Ok(count) = self.socket.recv(&mut buffer) else {
                continue;
            };
            let message = String::from_utf8_lossy(&buffer[..count]).into_owned();
            self.seen.push(message.clone());
            if message.lines().any(|one| one == line) {
                return message;
            }
        }
        panic!("systemd was not told {line}; it was told {:?}", self.seen);
    }
}

#[test]
fn systemd_is_told_what_the_agent_does() {
    for kind in kinds("systemd_is_told_what_the_agent_does")
        .into_iter()
        .take(1)
    {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("notify");
        let mut systemd = Listener::new(&path);
        let mut backend = Backend::start(kind, json!({}));
        let server = format!("http://127.0.0.1:{}", backend.port);
        let config = "[agent]\nstop_grace_seconds = 60\n";
        let mut agent = Agent::prepared(&server, &[], config);
        agent.set_variables(&[
            ("NOTIFY_SOCKET", path.as_os_str()),
            ("WATCHDOG_USEC", OsStr::new("60000000")),
            ("WATCHDOG_PID", OsStr::new("1")),
        ]);
        agent.launch();
        systemd.wait("READY=1");
        systemd.wait("STATUS=connected");
        systemd.wait("WATCHDOG=1");
        backend.event("join_room");
        // Commands do not talk to systemd in the agent's name.
        let line = "echo \"[$NOTIFY_SOCKET$WATCHDOG_USEC$WATCHDOG_PID]\"";
        assert_eq!(backend.run("c", line, dir.path())["output"], "[]\n");
        agent.signal("HUP");
        let reloading = systemd.wait("RELOADING=1");
        let began: u64 = reloading
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok())
            .expect("the time of the reload");
        assert!(began > 0);
        systemd.wait("READY=1");
        backend.event("join_room");
        backend.kill();
        systemd.wait("STATUS=connecting");
        agent.signal("TERM");
        let stopping = systemd.wait("STOPPING=1");
        let longest = stopping
            .lines()
            .find_map(|line| line.strip_prefix("EXTEND_TIMEOUT_USEC=")?.parse().ok());
        // Time for commands to end by themselves, and as much for those that are cancelled.
        assert!(
            longest.is_some_and(|time: u64| time >= 120_000_000),
            "{stopping}"
        );
        assert_eq!(agent.ended(), Some(0));
    }
}

/// The unit with the program that is tested in it.
fn unit(dir: &Path) -> std::path::PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text =
        std::fs::read_to_string(here.join("examples/deployx-agent.service")).expect("the unit");
    let program = "/usr/local/bin/deployx";
    assert!(text.contains(program));
    let file = dir.join("deployx-agent.service");
    std::fs::write(&file, text.replace(program, env!("CARGO_BIN_EXE_deployx"))).expect("a unit");
    file
}

#[test]
fn systemd_takes_the_unit_without_a_word() {
    let test = "systemd_takes_the_unit_without_a_word";
    if !require(test, "systemd-analyze", has_program("systemd-analyze")) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .arg(unit(dir.path()))
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
    // How exposed it is: everything is its job, so the figure is for people to see.
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(unit(dir.path()))
        .output()
        .expect("systemd-analyze");
    let said = String::from_utf8_lossy(&output.stdout);
    let overall = said.lines().find(|line| line.contains("Overall exposure"));
    println!("{}", overall.expect("an overall exposure").trim());
    for taken in ["CAP_SYS_MODULE", "CAP_SYS_TIME", "CAP_SYS_BOOT"] {
        assert!(said.contains(taken), "{taken}");
    }
}

/// A container in which systemd is the first process.
struct Machine {
    nspawn: Child,
    first: u32,
    _dir: tempfile::TempDir,
}

impl Machine {
    /// Boots the system at `root`, nothing of which is changed, with the agent's unit in it.
    fn boot(root: &Path, server: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = format!("[agent]\nserver = \"{server}\"\nagent_id = \"agent-under-test\"\n");
        std::fs::write(dir.path().join("config.toml"), config).expect("a configuration");
        // The unit's own sixty seconds are the same thing for longer.
        let watchdog = "[Service]\nWatchdogSec=4\n";
        std::fs::write(dir.path().join("watchdog.conf"), watchdog).expect("settings");
        let unit = "/etc/systemd/system/deployx-agent.service";
        let mut command = Command::new("systemd-nspawn");
        command.args(["--quiet", "--register=no", "--keep-unit", "--boot"]);
        command.args(["--volatile=overlay", "--link-journal=no"]);
        for (own, there) in [
            (
                PathBuf::from(env!("CARGO_BIN_EXE_deployx")),
                "/usr/local/bin/deployx",
            ),
            (here.join("examples/deployx-agent.service"), unit),
            (dir.path().join("config.toml"), "/etc/deployx/config.toml"),
            (
                dir.path().join("watchdog.conf"),
                &format!("{unit}.d/watchdog.conf"),
            ),
        ] {
            command.arg(format!("--bind-ro={}:{there}", own.display()));
        }
        let nspawn = command
            .arg("-D")
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-nspawn");
        let mut machine = Self {
            first: 0,
            nspawn,
            _dir: dir,
        };
        let deadline = Instant::now() + PATIENCE;
        while !machine.is_up() {
            assert!(Instant::now() < deadline, "the system does not come up");
            std::thread::sleep(Duration::from_millis(200));
        }
        machine
    }

    fn is_up(&mut self) -> bool {
        let id = self.nspawn.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let child = children.ok().and_then(|text| text.trim().parse().ok());
        self.first = child.unwrap_or_default();
        child.is_some() && self.property("SystemState", &[]) == "running"
    }

    /// A program within the container; what it wrote, and whether it succeeded.
    fn call(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("nsenter")
            .args(["-t", &self.first.to_string(), "-m", "-p", "-u", "-i"])
            .args(arguments)
            .output()
            .expect("nsenter");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        (output.status.success(), text)
    }

    fn property(&self, name: &str, of: &[&str]) -> String {
        let arguments = [&["systemctl", "show", "--value", "-p", name], of].concat();
        self.call(&arguments).1
    }

    fn of_agent(&self, name: &str) -> String {
        self.property(name, &["deployx-agent"])
    }

    fn systemctl(&self, verb: &str) {
        let (success, said) = self.call(&["systemctl", verb, "deployx-agent"]);
        assert!(success, "systemctl {verb}: {said}\n{}", self.journal());
    }

    fn journal(&self) -> String {
        self.call(&["journalctl", "-u", "deployx-agent", "--no-pager"])
            .1
    }

    fn wait_for(&self, name: &str, value: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.of_agent(name) != value {
            let now = self.of_agent(name);
            assert!(
                Instant::now() < deadline,
                "{name} is {now}, not {value}:\n{}",
                self.journal()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The first process of a container takes everything in it along.
        let _ = Command::new("kill")
            .args(["-9", &self.first.to_string()])
            .status();
        let _ = self.nspawn.wait();
    }
}

#[test]
fn a_real_systemd_starts_watches_reloads_and_stops_the_agent() {
    let test = "a_real_systemd_starts_watches_reloads_and_stops_the_agent";
    let root = std::env::var_os("DEPLOYX_TEST_SYSTEMD_ROOT").map(PathBuf::from);
    let what = "root, systemd-nspawn, and DEPLOYX_TEST_SYSTEMD_ROOT, a directory with a system (debootstrap \
                --variant=minbase --include=systemd,systemd-sysv,dbus,procps)";
    let there = root.is_some() && is_root() && has_program("systemd-nspawn");
    if !require(test, what, there) {
        return;
    }
    let root = root.unwrap_or_default();
    for kind in kinds(test).into_iter().take(1) {
        let mut backend = Backend::start(kind, json!({ "acknowledge": true }));
        let machine = Machine::boot(&root, &format!("http://127.0.0.1:{}", backend.port));
        // It returns when the agent says that it is ready.
        machine.systemctl("start");
        assert_eq!(machine.of_agent("ActiveState"), "active");
        backend.event("join_room");
        machine.wait_for("StatusText", "connected");
        let home = Path::new("/root");
        let done = backend.run("c1", "mkdir /srv/app && echo a > /srv/app/x; id -u", home);
        assert_eq!(done["output"], "0\n", "{done}");
        backend.emit(
            "rollback_command",
            json!({ "snapshot_id": done["snapshot_id"] }),
        );
        assert_eq!(backend.event("rollback_result")["success"], true);
        let done = backend.run(
            "c2",
            "ls /srv; stat -c %a /var/lib/deployx; ls /var/lib/deployx",
            home,
        );
        assert_eq!(done["output"], "700\nagent\nsnapshots\n", "{done}");

        machine.systemctl("reload");
        backend.event("join_room");
        assert_eq!(machine.of_agent("NRestarts"), "0");

        // Killed during a command: started again, which reports the command.
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "cut", "command": "touch /srv/cut; sleep 300", "shell": "bash" }),
        );
        let deadline = Instant::now() + PATIENCE;
        while !machine.call(&["test", "-e", "/srv/cut"]).0 {
            assert!(Instant::now() < deadline, "the command does not begin");
        }
        machine.call(&["kill", "-9", &machine.of_agent("MainPID")]);
        let done = backend.event_of("deployment_command_completed", "command_id", "cut");
        assert_eq!(done["interrupted"], true, "{done}");
        machine.wait_for("NRestarts", "1");
        assert!(machine.call(&["pgrep", "-x", "systemd"]).0, "pgrep works");
        let (found, sleeping) = machine.call(&["pgrep", "-x", "sleep"]);
        assert!(!found, "left behind: {sleeping}");

        // One that hangs is killed and started again.
        backend.event("join_room");
        machine.wait_for("ActiveState", "active");
        machine.call(&["kill", "-STOP", &machine.of_agent("MainPID")]);
        machine.wait_for("NRestarts", "2");
        assert!(
            machine.journal().contains("Watchdog timeout"),
            "{}",
            machine.journal()
        );
        backend.event("join_room");

        // Stopped during a command: it ends, its result arrives, and so does the session's end.
        backend.emit(
            "execute_deployment_command",
            json!({ "command_id": "last", "command": "touch /srv/last; sleep 1; echo end", "shell": "bash", "session": "s" }),
        );
        let deadline = Instant::now() + PATIENCE;
        while !machine.call(&["test", "-e", "/srv/last"]).0 {
            assert!(Instant::now() < deadline, "the command does not begin");
        }
        machine.systemctl("stop");
        let done = backend.event_of("deployment_command_completed", "command_id", "last");
        assert_eq!(
            (&done["success"], &done["output"]),
            (&json!(true), &json!("end\n"))
        );
        backend.event("session_ended");
        assert_eq!(
            machine.of_agent("Result"),
            "success",
            "{}",
            machine.journal()
        );
        assert_eq!(machine.of_agent("ExecMainStatus"), "0");
        for (name, value) in [
            ("TimeoutStartUSec", "infinity"),
            ("StartLimitIntervalUSec", "0"),
            ("RestartPreventExitStatus", "2"),
        ] {
            assert_eq!(machine.of_agent(name), value, "{name}");
        }
    }
}
