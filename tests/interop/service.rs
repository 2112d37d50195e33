//! What systemd is told, and what it thinks of the unit.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, PATIENCE, kinds};
use crate::common::{has_program, require};

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
        let mut agent = Agent::with_variables(&server, &[("NOTIFY_SOCKET", path.as_os_str())]);
        systemd.wait("READY=1");
        systemd.wait("STATUS=connected");
        systemd.wait("WATCHDOG=1");
        backend.event("join_room");
        // Commands do not talk to systemd in the agent's name.
        let done = backend.run("c", "echo \"[$NOTIFY_SOCKET]\"", dir.path());
        assert_eq!(done["output"], "[]\n");
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
        systemd.wait("STOPPING=1");
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
