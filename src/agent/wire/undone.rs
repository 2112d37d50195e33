//! What the agent sends of rollbacks.

use serde::Serialize;
use serde_json::json;

use super::bound::{MAX_MESSAGE, json_length};
use super::reply::{Reply, is_false, is_zero};
use crate::rollback::{Conflict, Failure, PlannedAction, RollbackReport};
use crate::store::SnapshotId;

/// What `rollback_result` and `batch_rollback_result` have in common.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RollbackOutcome {
    /// Every entry is as it was before.
    pub success: bool,
    /// In words, as backends know it.
    pub message: String,
    /// Empty when all is well.
    pub error: String,
    /// Nothing was changed on purpose.
    pub dry_run: bool,
    /// Entries given back their old state.
    pub restored: u64,
    /// Entries that the commands had created and that are gone.
    pub removed: u64,
    /// Entries that already were as they should be.
    pub unchanged: u64,
    /// Entries that were changed since.
    pub conflicts: Vec<Conflict>,
    /// Entries that could not be restored.
    pub failures: Vec<Failure>,
    /// The snapshot that takes the rollback back.
    pub redo_snapshot_id: Option<String>,
    /// Remarks, for example files that a process still has open.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What a dry run would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<Vec<PlannedAction>>,
    /// The agent went down before it could tell.
    #[serde(skip_serializing_if = "is_false")]
    pub interrupted: bool,
    /// Entries that are left out of the lists here, because there are too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_listed: u64,
}

/// The most entries that each of a rollback's lists holds on the wire.
const MAX_LISTED: usize = 500;
/// The most bytes of a result that its lists take.
const MAX_LISTS: usize = MAX_MESSAGE / 2;

impl RollbackOutcome {
    /// From the engine's report; `what` is `Rollback` or `Batch rollback`.
    pub fn of(report: RollbackReport, what: &str) -> Self {
        let whole = report.success;
        let mut outcome = Self {
            success: whole,
            message: if whole && report.dry_run {
                format!("{what} planned")
            } else {
                message(what, whole)
            },
            error: String::new(),
            dry_run: report.dry_run,
            restored: report.restored,
            removed: report.removed,
            unchanged: report.unchanged,
            conflicts: report.conflicts,
            failures: report.failures,
            redo_snapshot_id: report.redo_snapshot_id,
            notes: report.notes,
            plan: report.plan,
            interrupted: false,
            not_listed: 0,
        };
        if !whole {
            let (conflicts, failures) = (outcome.conflicts.len(), outcome.failures.len());
            let entries = (conflicts + failures > 0 || report.not_undone.is_empty())
                .then(|| not_whole(conflicts, failures));
            let left_out = report.not_undone.first().map(|first| {
                let count = crate::plural(report.not_undone.len() as u64, "snapshot", "snapshots");
                format!(
                    "{count} left out, first {}: {}",
                    first.snapshot_id, first.reason
                )
            });
            let parts: Vec<String> = entries.into_iter().chain(left_out).collect();
            outcome.error = parts.join("; ");
        }
        outcome.shorten_lists();
        outcome
    }

    /// Takes entries from the end of the lists until they fit a message.
    fn shorten_lists(&mut self) {
        let plan = |outcome: &Self| outcome.plan.as_ref().map_or(0, Vec::len);
        let count = |outcome: &Self| {
            outcome.conflicts.len() + outcome.failures.len() + outcome.notes.len() + plan(outcome)
        };
        let all = count(self);
        let mut most = MAX_LISTED;
        loop {
            self.conflicts.truncate(most);
            self.failures.truncate(most);
            self.notes.truncate(most);
            if let Some(plan) = &mut self.plan {
                plan.truncate(most);
            }
            self.not_listed = (all - count(self)) as u64;
            let payload = Reply::new("rollback_result", &*self).payload;
            if most == 0 || json_length(&payload) <= MAX_LISTS {
                return;
            }
            most /= 2;
        }
    }

    /// A rollback that did not happen.
    pub fn failed(error: impl Into<String>, what: &str) -> Self {
        Self {
            message: message(what, false),
            error: error.into(),
            ..Self::default()
        }
    }

    /// The events that tell of it: the result, and the one that older backends listen for. `key` is
    /// `snapshot_id` or `batch_id`.
    pub fn replies(&self, key: &'static str, id: &str) -> Vec<Reply> {
        let (result, completed) = if key == "batch_id" {
            ("batch_rollback_result", "batch_rollback_completed")
        } else {
            ("rollback_result", "rollback_completed")
        };
        let mut payload = Reply::new(result, self).payload;
        payload[key] = id.into();
        let mut replies = vec![Reply {
            event: result,
            payload,
        }];
        // Older backends take it for a rollback that was carried out.
        if !self.dry_run {
            replies.push(Reply::new(
                completed,
                json!({ key: id, "success": self.success, "error": self.error }),
            ));
        }
        replies
    }
}

/// Why a rollback is not whole, in words.
pub fn not_whole(conflicts: usize, failures: usize) -> String {
    format!(
        "{conflicts} of the entries differ from what the command left, {failures} could not be restored"
    )
}

/// What became of one snapshot of a batch that was rolled back.
#[derive(Debug, Clone, Serialize)]
pub struct EachOutcome {
    /// The snapshot.
    pub snapshot_id: String,
    /// Every entry of it is as it was before the batch.
    pub success: bool,
    /// Empty when all is well.
    pub error: String,
}

impl EachOutcome {
    /// All of it was taken back.
    pub fn whole(id: &SnapshotId) -> Self {
        Self {
            snapshot_id: id.to_string(),
            success: true,
            error: String::new(),
        }
    }

    /// Not all of it.
    pub fn failed(id: &SnapshotId, error: String) -> Self {
        Self {
            snapshot_id: id.to_string(),
            success: false,
            error,
        }
    }
}

fn message(what: &str, success: bool) -> String {
    if success {
        format!("{what} completed successfully")
    } else {
        format!("{what} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;

    #[test]
    fn a_rollback_fits_a_message_however_long_its_lists_and_paths_are() {
        let conflict = |n: usize| Conflict {
            path: AbsPath::new(format!("/{n}/{}", "\u{1}".repeat(3000))).unwrap(),
            reason: "changed".into(),
        };
        let report = RollbackReport {
            conflicts: (0..2000).map(conflict).collect(),
            redo_snapshot_id: Some("r".into()),
            ..RollbackReport::default()
        };
        let replies = RollbackOutcome::of(report, "Rollback").replies("snapshot_id", "s");
        let payload = &replies[0].payload;
        assert!(payload.to_string().len() < MAX_MESSAGE);
        let listed = payload["conflicts"].as_array().unwrap().len() as u64;
        assert!(listed > 10);
        assert_eq!(payload["not_listed"], 2000 - listed);
        assert_eq!(payload["redo_snapshot_id"], "r");
    }

    #[test]
    fn a_dry_run_is_not_told_as_a_rollback() {
        let action = PlannedAction {
            action: "remove".into(),
            path: AbsPath::new("/x").unwrap(),
        };
        let report = RollbackReport {
            success: true,
            dry_run: true,
            plan: Some(vec![action]),
            ..RollbackReport::default()
        };
        let replies = RollbackOutcome::of(report, "Rollback").replies("snapshot_id", "s");
        assert_eq!(replies.len(), 1);
        assert_eq!(replies[0].payload["message"], "Rollback planned");
        assert_eq!(replies[0].payload["plan"][0]["action"], "remove");
    }

    #[test]
    fn a_rollback_tells_old_and_new_backends() {
        let report = RollbackReport {
            success: true,
            restored: 3,
            ..RollbackReport::default()
        };
        let replies = RollbackOutcome::of(report, "Batch rollback").replies("batch_id", "b");
        assert_eq!(replies[0].event, "batch_rollback_result");
        assert_eq!(
            replies[0].payload["message"],
            "Batch rollback completed successfully"
        );
        assert_eq!(replies[1].event, "batch_rollback_completed");
        assert_eq!(
            replies[1].payload,
            json!({"batch_id": "b", "success": true, "error": ""})
        );
    }
}
