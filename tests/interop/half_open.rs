//! A line that stays open and carries nothing any more.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::backend::{Agent, Backend, PATIENCE, kinds};

/// Stands between agent and server. Lines can be made to swallow what either side sends.
struct Proxy {
    port: u16,
    /// Lines up to this number carry nothing.
    dead: Arc<AtomicUsize>,
    lines: Arc<AtomicUsize>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let dead = Arc::new(AtomicUsize::new(0));
        let lines = Arc::new(AtomicUsize::new(0));
        let (own_dead, own_lines) = (Arc::clone(&dead), Arc::clone(&lines));
        std::thread::spawn(move || {
            for agent in listener.incoming().flatten() {
                let Ok(backend) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                let number = own_lines.fetch_add(1, Ordering::SeqCst) + 1;
                for (from, to) in [(&agent, &backend), (&backend, &agent)] {
                    let from = from.try_clone().expect("a line");
                    let to = to.try_clone().expect("a line");
                    let dead = Arc::clone(&own_dead);
                    std::thread::spawn(move || carry(from, to, number, &dead));
                }
            }
        });
        Self { port, dead, lines }
    }

    /// All lines that are open carry nothing from now on, and stay open.
    fn cut_off(&self) {
        let now = self.lines.load(Ordering::SeqCst);
        self.dead.store(now, Ordering::SeqCst);
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, number: usize, dead: &AtomicUsize) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if number <= dead.load(Ordering::SeqCst) {
            // Taken, never passed on; not even the end is.
            continue;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    if number > dead.load(Ordering::SeqCst) {
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[test]
fn a_line_that_carries_nothing_is_left_and_nothing_is_lost() {
    for kind in kinds("a_line_that_carries_nothing_is_left_and_nothing_is_lost") {
        // A backend that acknowledges is missed by its silence, any other by its missing pings.
        for acknowledge in [true, false] {
            let mut backend = Backend::start(
                kind,
                json!({ "acknowledge": acknowledge, "pingInterval": 2000, "pingTimeout": 2000 }),
            );
            let proxy = Proxy::start(backend.port);
            let config =
                "[agent]\nheartbeat_seconds = 1\nprobe_seconds = 1\npatience_seconds = 2\n";
            let _agent =
                Agent::configured(&format!("http://127.0.0.1:{}", proxy.port), &[], config);
            backend.event("join_room");
            let tree = tempfile::tempdir().expect("a tree");
            assert_eq!(
                backend.run("before", "echo a", tree.path())["output"],
                "a\n"
            );
            backend.emit(
                "execute_deployment_command",
                json!({
                    "command_id": "in-the-hole", "shell": "bash", "cwd": tree.path(),
                    "command": "touch begun; until [ -e go ]; do sleep 0.02; done; echo ran >> log",
                }),
            );
            wait_for(&tree.path().join("begun"));
            proxy.cut_off();
            std::fs::write(tree.path().join("go"), "").expect("a file");
            wait_for(&tree.path().join("log"));
            // Nobody tells the agent. It finds out, and comes back on a line that works.
            backend.event("agent_register");
            let done =
                backend.event_of("deployment_command_completed", "command_id", "in-the-hole");
            assert_eq!(done["success"], true, "{done}");
            let again = backend.run("in-the-hole", "echo ran >> log", tree.path());
            assert_eq!(again["snapshot_id"], done["snapshot_id"]);
            let log = std::fs::read_to_string(tree.path().join("log")).expect("a log");
            assert_eq!(log, "ran\n");
        }
    }
}

fn wait_for(file: &std::path::Path) {
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
