//! What an earlier agent left unfinished when it was killed.

use serde_json::Value;

use super::batch::{conclude, fitting};
use super::execute::blank;
use crate::agent::shared::Shared;
use crate::agent::state::{Kind, Unfinished};
use crate::agent::wire::{
    Batch, BatchCompleted, CommandCompleted, Execute, ExecutionResult, Reply,
};
use crate::error::Result;
use crate::store::{ListFilter, SnapshotMeta};

const NOT_STARTED: &str = "The agent was restarted before it started; it was not run";
const INTERRUPTED: &str =
    "The agent was interrupted while it ran; what it changed can be rolled back with its snapshot";
const UNKNOWN: &str =
    "The agent was interrupted while it ran; there is no snapshot, so what it changed is not known";

/// Gives every id that was accepted and has no result the result that it was interrupted.
pub(in crate::agent) fn report_interrupted(shared: &Shared) -> Result<()> {
    let left = shared.state.unfinished()?;
    if left.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        count = left.len(),
        "an earlier agent left requests unfinished"
    );
    let (metas, _) = shared.engine.store().list(&ListFilter::default())?;
    for one in left {
        let result = match one.kind {
            Kind::Command => command(&one, &metas),
            Kind::Batch => batch(&one, &metas),
        };
        shared.finish(one.kind, &one.id, &result);
    }
    Ok(())
}

fn command(left: &Unfinished, metas: &[SnapshotMeta]) -> Reply {
    let own = |meta: &&SnapshotMeta| {
        meta.metadata.get("command_id").and_then(Value::as_str) == Some(left.id.as_str())
    };
    let meta = metas.iter().find(own).filter(|_| left.started);
    let result = match serde_json::from_str::<Execute>(&left.request) {
        Ok(request) => {
            let mut result = blank(&request);
            if let Some(session) = &mut result.session {
                session.session_ended = Some("the agent was restarted".into());
            }
            result
        }
        Err(_) => CommandCompleted {
            command_id: left.id.clone(),
            ..CommandCompleted::default()
        },
    };
    Reply::new(
        "deployment_command_completed",
        CommandCompleted {
            error: why(left.started, meta).into(),
            interrupted: left.started,
            snapshot_id: meta.map(|meta| meta.snapshot_id.to_string()),
            changes: meta.map(|meta| meta.changes),
            exit_code: meta.and_then(|meta| meta.outcome.exit_code),
            ..result
        },
    )
}

fn why(started: bool, meta: Option<&SnapshotMeta>) -> &'static str {
    match (started, meta) {
        (false, _) => NOT_STARTED,
        (true, Some(_)) => INTERRUPTED,
        (true, None) => UNKNOWN,
    }
}

fn batch(left: &Unfinished, metas: &[SnapshotMeta]) -> Reply {
    let Ok(request) = serde_json::from_str::<Batch>(&left.request) else {
        return Reply::new(
            "batch_execution_completed",
            BatchCompleted {
                batch_id: left.id.clone(),
                error: why(left.started, None).into(),
                interrupted: left.started,
                ..BatchCompleted::default()
            },
        );
    };
    let mut own: Vec<&SnapshotMeta> = metas
        .iter()
        .filter(|meta| meta.batch_id.as_deref() == Some(left.id.as_str()))
        .collect();
    own.sort_by_key(|meta| meta.command_index);
    let results = own.iter().enumerate().map(|(index, meta)| {
        let exit_code = meta.outcome.exit_code;
        ExecutionResult {
            command: request.commands.get(index).cloned().unwrap_or_default(),
            index,
            success: exit_code == Some(0) && !meta.outcome.timed_out,
            execution_time: meta.outcome.duration_ms as f64 / 1000.0,
            error: match exit_code {
                Some(0) => String::new(),
                Some(code) => format!("exit code {code}"),
                None => INTERRUPTED.into(),
            },
            snapshot_id: Some(meta.snapshot_id.to_string()),
            exit_code,
            ..ExecutionResult::default()
        }
    });
    let completed = BatchCompleted {
        batch_id: left.id.clone(),
        error: why(left.started, own.first().copied()).into(),
        interrupted: left.started,
        ..BatchCompleted::default()
    };
    fitting(conclude(completed, &request, results.collect()))
}
