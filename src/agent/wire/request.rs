//! What the backend asks for. Unknown fields are ignored, known ones have to have their type.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::request::OnConflict;

/// Longest id, in bytes.
pub const MAX_ID: usize = 256;
/// Longest command line, in bytes, as the engine has it.
pub const MAX_COMMAND: usize = 1 << 20;
/// Most commands of a batch.
pub const MAX_COMMANDS: usize = 10_000;
/// Most bytes of all texts of one request.
pub const MAX_REQUEST: usize = 2 << 20;

/// One request of a backend.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// `execute_deployment_command`
    Execute(Execute),
    /// `execute_batch_persistent`
    Batch(Batch),
    /// `cancel_command`
    CancelCommand(CommandRef),
    /// `cancel_batch`
    CancelBatch(BatchRef),
    /// `close_session`
    CloseSession(SessionRef),
    /// `rollback_command`
    Rollback(Rollback),
    /// `rollback_batch`
    RollbackBatch(RollbackBatch),
    /// `get_snapshot_info`
    Info(SnapshotRef),
    /// `get_batch_snapshots`
    BatchSnapshots(BatchRef),
    /// `list_snapshots`
    List,
    /// `cleanup_snapshot`
    Cleanup(SnapshotRef),
    /// `cleanup_batch`
    CleanupBatch(BatchRef),
    /// `get_snapshot_diff`
    Diff(Diff),
    /// `pin_snapshot`
    Pin(Pin),
    /// `get_shells`
    Shells,
    /// `registration_success`
    Registered,
    /// `registration_error`
    NotRegistered(RegistrationError),
}

/// Runs one command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Execute {
    /// The command's id.
    pub command_id: String,
    /// The command line.
    pub command: String,
    /// The shell's name.
    pub shell: Option<String>,
    /// Given back as it is.
    pub execution_id: Option<serde_json::Value>,
    /// Given back as it is.
    pub group_execution: Option<serde_json::Value>,
    /// The session in whose shell it runs; without one it has a shell of its own.
    pub session: Option<String>,
    /// Run it in this very shell of the session or not at all.
    pub session_shell: Option<String>,
    /// Where the command starts; absolute.
    pub cwd: Option<String>,
    /// Variables set for it, or for its session.
    pub env: Option<BTreeMap<String, String>>,
    /// Ends it after so many seconds.
    pub timeout_s: Option<f64>,
    /// Take a snapshot; true where nothing is said.
    pub snapshot: Option<bool>,
    /// The strategy's name.
    pub strategy: Option<String>,
    /// Paths to cover besides those inferred; absolute.
    pub monitored_paths: Option<Vec<String>>,
}

/// Runs several commands in one shell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// The batch's id.
    pub batch_id: String,
    /// The command lines in order.
    pub commands: Vec<String>,
    /// The shell's name.
    pub shell: Option<String>,
    /// Skip the rest after a failure; true where nothing is said.
    pub stop_on_failure: Option<bool>,
    /// Where the first command starts; absolute.
    pub cwd: Option<String>,
    /// Variables set for the shell.
    pub env: Option<BTreeMap<String, String>>,
    /// Ends each command after so many seconds.
    pub timeout_s: Option<f64>,
    /// Take snapshots; true where nothing is said.
    pub snapshot: Option<bool>,
    /// The strategy's name.
    pub strategy: Option<String>,
}

/// Names a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRef {
    /// Its id.
    pub command_id: String,
}

/// Names a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRef {
    /// Its name.
    pub session: String,
}

/// Names a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRef {
    /// Its id.
    pub batch_id: String,
}

/// Names a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef {
    /// Its id.
    pub snapshot_id: String,
}

/// Takes one snapshot back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollback {
    /// The snapshot.
    pub snapshot_id: String,
    /// What to do with entries that were changed since; `overwrite` where nothing is said.
    pub on_conflict: Option<OnConflict>,
    /// Plan only.
    pub dry_run: Option<bool>,
    /// Only these and what lies beneath.
    pub paths: Option<Vec<String>>,
}

/// Takes a batch back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackBatch {
    /// The batch.
    pub batch_id: String,
    /// As for [`Rollback::on_conflict`].
    pub on_conflict: Option<OnConflict>,
    /// Plan only.
    pub dry_run: Option<bool>,
}

/// Asks what a command changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diff {
    /// The snapshot.
    pub snapshot_id: String,
    /// Only these and what lies beneath.
    pub paths: Option<Vec<String>>,
    /// Files above this size are summarised.
    pub max_bytes: Option<u64>,
}

/// Exempts a snapshot from expiry, or ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The snapshot.
    pub snapshot_id: String,
    /// Which of the two.
    pub pinned: bool,
}

/// Why the backend did not register the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RegistrationError {
    /// In words.
    #[serde(default)]
    pub error: String,
}
