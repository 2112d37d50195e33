//! Arguments of `agent`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Deserialize;

use super::values;

/// What `deployx help agent` says first.
pub(super) const AGENT_ABOUT: &str = "\
Make this host operable by a DeployX backend over Socket.IO.

The agent connects, stays connected, and runs what the backend asks for, each command with a snapshot. \
A token for the backend comes from --token-file or from the variable DEPLOYX_AGENT_TOKEN, never from an \
argument. SIGTERM ends the agent in good order, SIGHUP makes it read its configuration again.";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// `deployx agent`
#[derive(Debug, Clone, Default, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx agent --server https://backend.example --token-file /etc/deployx/token\n  \
        deployx agent --server https://backend.example --check")]
pub(crate) struct AgentArgs {
    /// The backend's address, for example `https://backend.example`
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The id to go by; without one, a random one that stays the same
    #[arg(long, value_name = "ID")]
    pub(crate) agent_id: Option<String>,
    /// Read the token for the backend from this file, which nobody else may read
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Trust the authorities in this PEM file besides the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Present the certificate (with its chain) in this PEM file to the backend
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub(crate) client_certificate: Option<PathBuf>,
    /// The private key of --client-certificate, in PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
    /// Speak to another host without encryption: anyone on the way can run commands here
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) insecure_http: Option<bool>,
    /// Where the agent keeps accepted ids and undelivered results
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Where commands start that do not say it [default: the home directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Delete expired snapshots at this interval, in hours [default: 1]
    #[arg(long, value_name = "HOURS", value_parser = values::hours)]
    pub(crate) snapshot_cleanup_interval: Option<Duration>,
    /// Snapshots older than this many hours expire [default: 24]
    #[arg(long, value_name = "HOURS", value_parser = values::hours)]
    pub(crate) snapshot_max_age: Option<Duration>,
    /// Time between heartbeats [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) heartbeat: Option<Duration>,
    /// End the shell of a session that was not used for so long [default: 1800]
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) session_idle: Option<Duration>,
    /// Allow this shell only (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_shell: Vec<String>,
    /// Allow only lines that fit this pattern (repeatable); * stands for any text without
    /// characters that join, redirect or expand
    #[arg(long, value_name = "PATTERN")]
    pub(crate) allow_command: Vec<String>,
    /// While lines or directories are listed: let requests set this variable too (repeatable). One
    /// like PATH or `BASH_FUNC_…%%` makes another command of an allowed line
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_env: Vec<String>,
    /// Allow only commands that start and write beneath this directory, and their snapshots
    /// (repeatable)
    #[arg(long, value_name = "DIR")]
    pub(crate) allow_path: Vec<PathBuf>,
    /// Serve figures in Prometheus' format at this address, for example 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// Test the configuration and the connection, then end
    #[arg(long)]
    pub(crate) check: bool,
}
