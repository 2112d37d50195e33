//! Real Socket.IO servers, and the agent as a process beside them.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{self, require};

/// Patience with anything that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Node,
    Python,
}

/// The kinds that are installed; says loudly which are not.
pub(crate) fn kinds(test: &str) -> Vec<Kind> {
    let node = common::has_program("node") && servers().join("node_modules/socket.io").is_dir();
    let python = common::has_program("python3") && servers().join("python/socketio").is_dir();
    [
        (
            Kind::Node,
            node,
            "socket.io@4 for node (./tests/run installs it)",
        ),
        (
            Kind::Python,
            python,
            "python-socketio and aiohttp (./tests/run installs them)",
        ),
    ]
    .into_iter()
    .filter(|(_, there, what)| require(test, what, *there))
    .map(|(kind, ..)| kind)
    .collect()
}

pub(crate) fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/interop")
}

/// A running server.
pub(crate) struct Backend {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Value>,
    seen: VecDeque<Value>,
    pub(crate) port: u16,
    kind: Kind,
    settings: Value,
}

impl Backend {
    pub(crate) fn start(kind: Kind, settings: Value) -> Self {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        let mut command = match kind {
            Kind::Node => {
                let mut command = Command::new("node");
                command
                    .env("NODE_PATH", servers().join("node_modules"))
                    .arg(here.join("server.js"));
                command
            }
            Kind::Python => {
                let mut command = Command::new("python3");
                command
                    .env("PYTHONPATH", servers().join("python"))
                    .arg(here.join("server.py"));
                command
            }
        };
        let mut child = command
            .arg(settings.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("its output");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let value = serde_json::from_str(&line).expect("JSON from the server");
                if tell.send(value).is_err() {
                    return;
                }
            }
        });
        let mut backend = Self {
            child,
            stdin,
            lines,
            seen: VecDeque::new(),
            port: 0,
            kind,
            settings,
        };
        let started = backend.wait("its port", |line| line["port"].as_u64());
        backend.port = u16::try_from(started).expect("a port");
        backend
    }

    /// Kills the server and starts one at the same port.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut settings = self.settings.clone();
        settings["port"] = self.port.into();
        *self = Self::start(self.kind, settings);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells the server to do something.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make the value in place"
    )]
    pub(crate) fn order(&mut self, order: Value) {
        let stdin = self.stdin.as_mut().expect("its input");
        writeln!(stdin, "{order}").expect("the server takes orders");
    }

    /// Sends an event to the agent.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers make the value in place"
    )]
    pub(crate) fn emit(&mut self, event: &str, payload: Value) {
        self.order(json!({ "emit": [event, payload], "room": "agent-under-test" }));
    }

    fn read(&mut self, deadline: Instant) -> Option<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(left) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(left.min(Duration::from_millis(50)));
                None
            }
        }
    }

    /// The first line for which `found` gives something, from what was not asked for yet.
    pub(crate) fn find<T>(
        &mut self,
        patience: Duration,
        mut found: impl FnMut(&Value) -> Option<T>,
    ) -> Option<T> {
        for index in 0..self.seen.len() {
            if let Some(value) = found(&self.seen[index]) {
                self.seen.remove(index);
                return Some(value);
            }
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if let Some(line) = self.read(deadline) {
                if let Some(value) = found(&line) {
                    return Some(value);
                }
                self.seen.push_back(line);
            }
        }
        None
    }

    pub(crate) fn wait<T>(&mut self, what: &str, found: impl FnMut(&Value) -> Option<T>) -> T {
        match self.find(PATIENCE, found) {
            Some(value) => value,
            None => panic!(
                "{what} did not come; this did: {}",
                self.seen.iter().map(brief).collect::<Vec<_>>().join("\n")
            ),
        }
    }

    /// The data of the next event with this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.wait(name, |line| {
            (line["event"] == name).then(|| line["data"].clone())
        })
    }

    /// The data of the next event with this name and this id.
    pub(crate) fn event_of(&mut self, name: &str, key: &str, id: &str) -> Value {
        self.wait(&format!("{name} of {id}"), |line| {
            (line["event"] == name && line["data"][key] == id).then(|| line["data"].clone())
        })
    }

    /// Everything that comes within `time`, and what had come before and was not asked for.
    pub(crate) fn drain(&mut self, time: Duration) -> Vec<Value> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if let Some(line) = self.read(deadline) {
                self.seen.push_back(line);
            }
        }
        self.seen.drain(..).collect()
    }

    /// Runs one command and gives its result.
    pub(crate) fn run(&mut self, id: &str, command: &str, cwd: &Path) -> Value {
        self.emit(
            "execute_deployment_command",
            json!({ "command_id": id, "command": command, "shell": "bash", "cwd": cwd }),
        );
        self.event_of("deployment_command_completed", "command_id", id)
    }
}

fn brief(line: &Value) -> String {
    line.to_string().chars().take(300).collect()
}

impl Drop for Backend {
    fn drop(&mut self) {
        // A stopped process has to go on to be killed on some systems.
        let _ = Command::new("kill")
            .args(["-CONT", &self.pid().to_string()])
            .stderr(Stdio::null())
            .status();
        self.kill();
    }
}

/// The agent as a process, with a store and a directory of its own.
pub(crate) struct Agent {
    child: Option<Child>,
    pub(crate) dir: tempfile::TempDir,
    arguments: Vec<String>,
    /// Starts the program, where it is not started as it is.
    wrapper: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    log: PathBuf,
    /// How far its log has been read.
    read: usize,
}

impl Agent {
    pub(crate) fn start(server: &str, options: &[&str]) -> Self {
        Self::configured(server, options, "")
    }

    /// With a configuration file of this text.
    pub(crate) fn configured(server: &str, options: &[&str], config: &str) -> Self {
        let mut agent = Self::prepared(server, options, config);
        agent.launch();
        agent
    }

    /// More variables for its environment.
    pub(crate) fn set_variables(&mut self, variables: &[(&str, &OsStr)]) {
        let owned = |(name, value): &(&str, &OsStr)| (OsString::from(name), value.into());
        self.variables = variables.iter().map(owned).collect();
    }

    /// Has it started by another program, which is given the command line.
    pub(crate) fn set_wrapper(&mut self, wrapper: &[&OsStr]) {
        self.wrapper = wrapper.iter().map(OsString::from).collect();
    }

    /// Not started yet.
    pub(crate) fn prepared(server: &str, options: &[&str], config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("config.toml"), config).expect("a configuration");
        Self {
            child: None,
            log: dir.path().join("log"),
            read: 0,
            dir,
            wrapper: Vec::new(),
            variables: Vec::new(),
            arguments: ["--server", server]
                .iter()
                .chain(options)
                .map(|text| (*text).to_owned())
                .collect(),
        }
    }

    /// Starts the process (again).
    pub(crate) fn launch(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a log");
        let mut command = common::deployx();
        if let Some((first, rest)) = self.wrapper.split_first() {
            let program = command.get_program().to_owned();
            command = Command::new(first);
            command.args(rest).arg(program).env("NO_COLOR", "1");
        }
        let child = command
            .env("DEPLOYX_LOG", "deployx=debug")
            .envs(self.variables.iter().cloned())
            .arg("--snapshot-dir")
            .arg(self.dir.path().join("store"))
            .arg("--config")
            .arg(self.dir.path().join("config.toml"))
            .args(["agent", "--agent-id", "agent-under-test", "--state-dir"])
            .arg(self.dir.path().join("state"))
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the agent");
        self.child = Some(child);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running agent").id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()));
    }

    /// Kills it without warning and starts it again.
    pub(crate) fn crash(&mut self) {
        self.kill();
        self.launch();
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end; gives the exit code.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = child.try_wait() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log says this once more than when it was last asked.
    pub(crate) fn wait_for_log(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let new = log.get(self.read..).unwrap_or_default();
            if let Some(at) = new.find(text) {
                self.read += at + text.len();
                return;
            }
            assert!(Instant::now() < deadline, "'{text}' is not in the log");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What its log says until now is not waited for.
    pub(crate) fn skip_log(&mut self) {
        self.read = self.log().len();
    }

    /// Whether the process is there.
    pub(crate) fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Peak of its resident memory in megabytes.
    pub(crate) fn peak_megabytes(&self) -> u64 {
        self.megabytes("VmHWM:")
    }

    /// Its resident memory now.
    pub(crate) fn resident_megabytes(&self) -> u64 {
        self.megabytes("VmRSS:")
    }

    fn megabytes(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kilobytes: Option<u64> =
            line.and_then(|text| text.trim().strip_suffix("kB")?.trim().parse().ok());
        kilobytes.unwrap_or(u64::MAX) / 1024
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the agent's log:\n{}", self.log());
        }
    }
}
