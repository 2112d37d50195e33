//! What an agent is told at its start, and again at every reload.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::policy::Policy;
use super::secret::Secret;
use crate::path::AbsPath;
use crate::request::RetentionPolicy;

/// Everything an agent needs to know besides its engine and its transport.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// The agent's own directory.
    pub state_dir: PathBuf,
    /// The id it goes by; without one, a random one that is kept in its directory.
    pub agent_id: Option<String>,
    /// Where commands start that do not say it.
    pub cwd: AbsPath,
    /// What may be run.
    pub policy: Policy,
    /// Commands whose snapshot is not complete are refused.
    pub require_snapshot: bool,
    /// The time limit of commands that do not say one.
    pub timeout: Option<Duration>,
    /// Replace known shapes of secrets in output.
    pub redact: bool,
    /// Values that never leave this host in output.
    pub secrets: Vec<Secret>,
    /// Between heartbeats.
    pub heartbeat: Duration,
    /// The longest time in which nothing is sent. Nothing is asked for by it: a line that carries
    /// nothing any more is noticed by a heartbeat without an answer, or by missing pings.
    pub probe: Duration,
    /// How long the server may take for the handshake, and for taking an event from the line.
    pub patience: Duration,
    /// Shortest and longest time before the next attempt to connect.
    pub retry: (Duration, Duration),
    /// Without acknowledgements, a result counts as delivered when the line is still up so long
    /// after it was sent.
    pub settle: Duration,
    /// Between cleanups.
    pub cleanup_interval: Duration,
    /// What a cleanup deletes.
    pub retention: RetentionPolicy,
    /// How long a rollback waits for commands with overlapping scope.
    pub rollback_patience: Duration,
    /// How long commands that run have to end when the agent is stopped.
    pub stop_grace: Duration,
    /// Bytes of output in a result.
    pub result_output: usize,
    /// Bytes of one command's output that are kept in a file where the result cannot hold it.
    pub output_file: u64,
    /// Bytes of all such files.
    pub output_files: u64,
    /// Commands that may wait.
    pub max_waiting: usize,
    /// Bytes of the requests that may wait.
    pub max_waiting_bytes: usize,
    /// Sessions that may be open.
    pub max_sessions: usize,
    /// How long a session's shell lives without a command.
    pub session_idle: Duration,
    /// How long ids are remembered.
    pub remember: Duration,
    /// Results that are kept for repeated requests, and their bytes.
    pub results_kept: (u64, u64),
    /// Results that may wait to be delivered, and their bytes.
    pub outbox: (u64, u64),
    /// Where figures are served, in Prometheus' format.
    pub metrics: Option<SocketAddr>,
}

impl AgentConfig {
    /// Defaults for everything but the agent's directory and where commands start.
    pub fn new(state_dir: impl Into<PathBuf>, cwd: AbsPath) -> Self {
        let seconds = Duration::from_secs;
        Self {
            state_dir: state_dir.into(),
            agent_id: None,
            cwd,
            policy: Policy::default(),
            require_snapshot: false,
            timeout: None,
            redact: true,
            secrets: Vec::new(),
            heartbeat: seconds(30),
            probe: seconds(10),
            patience: seconds(10),
            retry: (seconds(1), seconds(5)),
            settle: seconds(180),
            cleanup_interval: seconds(3600),
            retention: RetentionPolicy {
                max_age: Some(seconds(24 * 3600)),
                ..RetentionPolicy::default()
            },
            rollback_patience: seconds(60),
            stop_grace: seconds(20),
            result_output: 256 << 10,
            output_file: 64 << 20,
            output_files: 1 << 30,
            max_waiting: 20_000,
            max_waiting_bytes: 32 << 20,
            max_sessions: 16,
            session_idle: seconds(30 * 60),
            remember: seconds(7 * 24 * 3600),
            results_kept: (20_000, 256 << 20),
            outbox: (50_000, 256 << 20),
            metrics: None,
        }
    }
    /// The keys of what stays for as long as an agent runs, where `other` has something else.
    pub(super) fn fixed_changes(&self, other: &Self) -> Vec<&'static str> {
        let changes = [
            ("state_dir", self.state_dir != other.state_dir),
            ("agent_id", self.agent_id != other.agent_id),
            ("metrics", self.metrics != other.metrics),
        ];
        let changed = changes.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reload_cannot_change_is_named() {
        let own = AgentConfig::new("/state", AbsPath::new("/").unwrap());
        let mut other = own.clone();
        other.heartbeat *= 2;
        assert!(own.fixed_changes(&other).is_empty());
        other.agent_id = Some("b".into());
        other.metrics = Some(([127, 0, 0, 1], 9464).into());
        assert_eq!(own.fixed_changes(&other), ["agent_id", "metrics"]);
        other.state_dir = "/elsewhere".into();
        assert_eq!(own.fixed_changes(&other)[0], "state_dir");
    }
}
