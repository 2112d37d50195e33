//! An agent on a transport in memory.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deployx::agent::transport::Transport;
use deployx::agent::transport::memory::{MemoryBackend, Sent};
use deployx::agent::{Agent, AgentConfig};
use deployx::engine::{Engine, EngineConfig};
use deployx::{AbsPath, ErrorKind};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An agent with a place of its own.
pub(crate) struct Site {
    pub(crate) backend: MemoryBackend,
    pub(crate) agent: Option<Agent>,
    pub(crate) tree: PathBuf,
    pub(crate) dir: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut AgentConfig)) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let tree = dir.path().canonicalize().expect("a path").join("tree");
        fs::create_dir(&tree).expect("a tree");
        let mut site = Self {
            backend: MemoryBackend::new(),
            agent: None,
            tree,
            dir,
        };
        site.start(change);
        site
    }

    pub(crate) fn start(&mut self, change: impl FnOnce(&mut AgentConfig)) {
        let cwd = AbsPath::new(&self.tree).expect("a path");
        let mut config = AgentConfig::new(self.dir.path().join("state"), cwd);
        config.retry = (Duration::from_millis(20), Duration::from_millis(50));
        change(&mut config);
        // A backend that answers registrations, as most do.
        let backend = self.backend.clone();
        let before = backend.connections();
        let deadline = Instant::now() + PATIENCE;
        let agent = loop {
            let engine = Engine::open(EngineConfig::new(self.dir.path().join("store")));
            let engine = engine.expect("an engine");
            let transport = |_: &str| Arc::new(backend.clone()) as Arc<dyn Transport>;
            match Agent::start(engine, config.clone(), "127.0.0.1:1", transport) {
                // A process that another test is just starting holds the old lock for a moment.
                Err(error) if error.kind() == ErrorKind::Busy && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                started => break started.expect("an agent"),
            }
        };
        self.agent = Some(agent);
        self.register_again(before);
    }

    /// Waits for the next line and answers its registration.
    pub(crate) fn register_again(&self, before: usize) {
        self.wait(|sent| {
            let joined = |one: &Sent| one.event == "join_room" && one.connection > before;
            sent.iter().any(joined).then_some(())
        });
        assert!(self.backend.send("registration_success", json!({})));
    }

    pub(crate) fn wait<T>(&self, found: impl FnMut(&[Sent]) -> Option<T>) -> T {
        self.backend.wait(PATIENCE, found).unwrap_or_else(|| {
            let sent: Vec<String> = self
                .backend
                .sent()
                .iter()
                .map(|s| format!("{} {}", s.event, s.payload))
                .collect();
            panic!("it did not come; this did:\n{}", sent.join("\n"))
        })
    }

    pub(crate) fn result(&self, event: &str, key: &str, id: &str) -> Value {
        self.wait(|sent| {
            let one = sent
                .iter()
                .find(|one| one.event == event && one.payload[key] == id)?;
            Some(one.payload.clone())
        })
    }

    pub(crate) fn execute(&self, id: &str, command: &str) {
        self.send(
            "execute_deployment_command",
            json!({ "command_id": id, "command": command, "shell": "sh" }),
        );
    }

    pub(crate) fn send(&self, event: &str, payload: Value) {
        assert!(self.backend.send(event, payload), "there is no line");
    }

    pub(crate) fn completed(&self, id: &str) -> Value {
        self.result("deployment_command_completed", "command_id", id)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.tree.join(name)).unwrap_or_default()
    }

    pub(crate) fn wait_for_file(&self, name: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.tree.join(name).exists() {
            assert!(Instant::now() < deadline, "{name} does not come into being");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
