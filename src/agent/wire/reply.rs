//! What the agent sends. `agent_id` is added to every event on its way out.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::decode::{Rejection, id_key};
use super::undone::RollbackOutcome;
use crate::path::AbsPath;
use crate::seal::{ChangeCounts, Receipt};
use crate::store::CoverageRecord;

/// One event to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The event's name.
    pub event: &'static str,
    /// A JSON object.
    pub payload: Value,
}

impl Reply {
    /// An event with the fields of `payload`.
    pub fn new(event: &'static str, payload: impl Serialize) -> Self {
        let payload = serde_json::to_value(payload).unwrap_or_else(|error| {
            // The types here serialise; a map with keys that are no texts would not.
            json!({ "success": false, "error": format!("the answer cannot be written: {error}") })
        });
        Self { event, payload }
    }
}

/// `deployment_command_completed`
#[derive(Debug, Clone, Default, Serialize)]
pub struct CommandCompleted {
    /// Which command.
    pub command_id: String,
    /// Exit status 0 within its time.
    pub success: bool,
    /// Both streams as they came.
    pub output: String,
    /// Empty when all is well.
    pub error: String,
    /// As in the request.
    pub execution_id: Value,
    /// As in the request.
    pub group_execution: Value,
    /// As a shell reports it; absent where the command did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The snapshot, where there is one.
    pub snapshot_id: Option<String>,
    /// Why there is no snapshot, or an incomplete one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_error: Option<String>,
    /// How many entries changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangeCounts>,
    /// What is covered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<CoverageRecord>,
    /// What the snapshot vouches for, with short lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// The command's own time.
    pub duration_ms: u64,
    /// The time limit was reached.
    #[serde(skip_serializing_if = "is_false")]
    pub timed_out: bool,
    /// The backend cancelled it.
    #[serde(skip_serializing_if = "is_false")]
    pub cancelled: bool,
    /// The agent went down, or was stopped, while it ran.
    #[serde(skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// Bytes of output that are not in `output`.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_left_out: u64,
    /// The file on the agent's host with the whole output, where it was too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
    /// The session it ran in.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionState>,
}

/// What a result tells of its session.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SessionState {
    /// The session's name.
    pub session: String,
    /// The shell; the next of the same session has another name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_shell: Option<String>,
    /// The shell was started for this command.
    #[serde(skip_serializing_if = "is_false")]
    pub session_new: bool,
    /// The shell has ended, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_ended: Option<String>,
    /// Where the shell is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_cwd: Option<AbsPath>,
}

/// `batch_command_completed`
#[derive(Debug, Clone, Serialize)]
pub struct BatchCommandCompleted {
    /// Which batch.
    pub batch_id: String,
    /// The command's position.
    pub command_index: usize,
    /// The command line.
    pub command: String,
    /// Exit status 0 within its time.
    pub success: bool,
    /// Both streams as they came.
    pub output: String,
    /// Empty when all is well.
    pub error: String,
    /// The snapshot, where there is one.
    pub snapshot_id: Option<String>,
    /// As a shell reports it.
    pub exit_code: Option<i32>,
    /// Bytes of output that are not in `output`.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_left_out: u64,
    /// The file on the agent's host with the whole output, where it was too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
    /// What the snapshot vouches for, with short lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
}

/// One entry of [`BatchCompleted::execution_results`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ExecutionResult {
    /// The command line.
    pub command: String,
    /// Its position.
    pub index: usize,
    /// Exit status 0 within its time.
    pub success: bool,
    /// Both streams as they came.
    pub output: String,
    /// Seconds.
    pub execution_time: f64,
    /// Empty when all is well.
    pub error: String,
    /// The snapshot, where there is one.
    pub snapshot_id: Option<String>,
    /// As a shell reports it; null where the command did not run.
    pub exit_code: Option<i32>,
    /// Bytes of output that are not in `output`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub output_left_out: u64,
    /// The file on the agent's host with the whole output, where it was too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
}

/// `batch_execution_completed`
#[derive(Debug, Clone, Default, Serialize)]
pub struct BatchCompleted {
    /// Which batch.
    pub batch_id: String,
    /// Every command succeeded.
    pub success: bool,
    /// How many commands there were.
    pub total_commands: usize,
    /// How many succeeded.
    pub successful_commands: usize,
    /// How many failed or were skipped.
    pub failed_commands: usize,
    /// One for each command.
    pub execution_results: Vec<ExecutionResult>,
    /// The output of all commands.
    pub output: String,
    /// Bytes of output that are not in `output`.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_left_out: u64,
    /// Empty when all is well.
    pub error: String,
    /// The snapshots in the order in which the commands ran.
    pub snapshot_ids: Vec<String>,
    /// Commands that are left out of `execution_results`, because there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_listed: u64,
    /// The backend cancelled it.
    #[serde(skip_serializing_if = "is_false")]
    pub cancelled: bool,
    /// The agent went down, or was stopped, while it ran.
    #[serde(skip_serializing_if = "is_false")]
    pub interrupted: bool,
}

/// The events that answer a request which is refused or failed before it began.
pub fn refusal(rejection: &Rejection) -> Vec<Reply> {
    let Rejection {
        event, id, error, ..
    } = rejection;
    let key = id_key(event);
    let result = |name| {
        let mut payload = json!({ "success": false, "error": error, "message": error });
        payload[key] = id.as_str().into();
        vec![Reply {
            event: name,
            payload,
        }]
    };
    match event.as_str() {
        "execute_deployment_command" => vec![Reply::new(
            "deployment_command_completed",
            CommandCompleted {
                command_id: id.clone(),
                error: error.clone(),
                execution_id: rejection.execution_id.clone(),
                group_execution: rejection.group_execution.clone(),
                ..CommandCompleted::default()
            },
        )],
        "execute_batch_persistent" => vec![Reply::new(
            "batch_execution_completed",
            BatchCompleted {
                batch_id: id.clone(),
                error: error.clone(),
                ..BatchCompleted::default()
            },
        )],
        "rollback_command" => RollbackOutcome::failed(error, "Rollback").replies(key, id),
        "rollback_batch" => RollbackOutcome::failed(error, "Batch rollback").replies(key, id),
        "get_snapshot_info" => result("snapshot_info_result"),
        "get_batch_snapshots" => result("batch_snapshots_result"),
        "list_snapshots" => vec![Reply::new(
            "snapshots_list_result",
            json!({ "success": false, "error": error, "snapshots": [], "batches": [] }),
        )],
        "cleanup_snapshot" => result("cleanup_result"),
        "cleanup_batch" => {
            let mut replies = result("cleanup_result");
            // Backends that know only one kind of answer look here.
            replies[0].payload["snapshot_id"] = id.as_str().into();
            replies
        }
        "get_snapshot_diff" => result("snapshot_diff_result"),
        "pin_snapshot" => result("pin_result"),
        _ => vec![Reply::new(
            "agent_error",
            json!({ "event": event, "error": error, "id": id }),
        )],
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refused_request_has_an_answer_with_its_id() {
        for (event, answer, key) in [
            (
                "execute_deployment_command",
                "deployment_command_completed",
                "command_id",
            ),
            (
                "execute_batch_persistent",
                "batch_execution_completed",
                "batch_id",
            ),
            ("rollback_command", "rollback_result", "snapshot_id"),
            ("rollback_batch", "batch_rollback_result", "batch_id"),
            ("get_snapshot_info", "snapshot_info_result", "snapshot_id"),
            ("get_batch_snapshots", "batch_snapshots_result", "batch_id"),
            ("cleanup_snapshot", "cleanup_result", "snapshot_id"),
            ("get_snapshot_diff", "snapshot_diff_result", "snapshot_id"),
            ("pin_snapshot", "pin_result", "snapshot_id"),
            ("cancel_command", "agent_error", "id"),
        ] {
            let replies = refusal(&Rejection {
                event: event.into(),
                id: "x".into(),
                error: "no".into(),
                execution_id: 7.into(),
                ..Rejection::default()
            });
            assert_eq!(replies[0].event, answer);
            assert_eq!(replies[0].payload[key], "x", "{event}");
            assert_eq!(replies[0].payload["error"], "no", "{event}");
            if event == "execute_deployment_command" {
                assert_eq!(replies[0].payload["execution_id"], 7);
            }
            if answer != "agent_error" {
                assert_eq!(replies[0].payload["success"], false, "{event}");
            }
        }
    }
}
