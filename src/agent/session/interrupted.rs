//! What an earlier agent left unfinished when it was killed: commands and batches.

use std::collections::BTreeMap;

use serde_json::Value;

use super::batch::{Rest, SKIPPED, conclude, fitting};
use super::execute::{blank, completed};
use crate::agent::shared::Shared;
use crate::agent::state::{Kind, Step, Unfinished};
use crate::agent::wire::{
    Batch, BatchCompleted, CommandCompleted, Execute, ExecutionResult, Reply,
};
use crate::error::Result;
use crate::store::{ListFilter, Outcome, SnapshotMeta};

const NOT_STARTED: &str = "The agent was restarted before it started; it was not run";
const INTERRUPTED: &str =
    "The agent was interrupted while it ran; what it changed can be rolled back with its snapshot";
const UNKNOWN: &str =
    "The agent was interrupted while it ran; there is no snapshot, so what it changed is not known";
const BETWEEN: &str = "The agent was interrupted between two commands; the rest was not run";
const OUTPUT_LOST: &str = "[the agent was restarted before it could send this output]";

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
            Kind::Batch => {
                let steps = shared.state.steps(&one.id)?;
                batch(&one, &steps, &metas)
            }
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
    let mut result = match serde_json::from_str::<Execute>(&left.request) {
        Ok(request) => blank(&request),
        Err(_) => CommandCompleted {
            command_id: left.id.clone(),
            ..CommandCompleted::default()
        },
    };
    if let Some(session) = &mut result.session {
        session.session_ended = Some("the agent was restarted".into());
    }
    if let Some(meta) = meta {
        result.snapshot_id = Some(meta.snapshot_id.to_string());
        result.changes = Some(meta.changes);
        result.exit_code = meta.outcome.exit_code;
        result.timed_out = meta.outcome.timed_out;
        result.duration_ms = meta.outcome.duration_ms;
    }
    match meta.and_then(|meta| ended(&meta.outcome)) {
        Some(error) => {
            result.success = error.is_empty();
            result.error = error;
            result.output = OUTPUT_LOST.into();
        }
        None => {
            result.interrupted = left.started;
            result.error = why(left.started, meta.is_some()).into();
        }
    }
    completed(result)
}

fn why(started: bool, snapshot: bool) -> &'static str {
    match (started, snapshot) {
        (false, _) => NOT_STARTED,
        (true, true) => INTERRUPTED,
        (true, false) => UNKNOWN,
    }
}

/// What went wrong with a command that ended; `None` where it did not.
fn ended(outcome: &Outcome) -> Option<String> {
    outcome.exit_code.map(|code| match code {
        _ if outcome.timed_out => {
            format!("timed out after {:.1} s", outcome.duration_ms as f64 / 1e3)
        }
        0 => String::new(),
        code => format!("exit code {code}"),
    })
}

fn batch(left: &Unfinished, steps: &[Step], metas: &[SnapshotMeta]) -> Reply {
    let completed = BatchCompleted {
        batch_id: left.id.clone(),
        error: why(left.started, false).into(),
        interrupted: left.started,
        ..BatchCompleted::default()
    };
    let Ok(request) = serde_json::from_str::<Batch>(&left.request) else {
        return Reply::new("batch_execution_completed", completed);
    };
    let progress = Progress::of(&request, steps, metas);
    let stops = request.stop_on_failure != Some(false);
    let failed = progress.ended.iter().any(|one| !one.success) && stops;
    let over = failed || progress.ended.len() == request.commands.len();
    let others = if failed { SKIPPED } else { NOT_STARTED };
    let mut completed = completed;
    if left.started {
        completed.output = OUTPUT_LOST.into();
        completed.interrupted = !over;
        completed.error = match &progress.cut_off {
            _ if over => String::new(),
            Some(one) => format!("command {}: {}", one.index + 1, one.error),
            None => BETWEEN.into(),
        };
    }
    let rest = Rest::all(others);
    let results = progress.ended.into_iter().chain(progress.cut_off);
    fitting(conclude(completed, &request, results.collect(), &rest))
}

/// How far a batch was.
struct Progress {
    ended: Vec<ExecutionResult>,
    /// The command that ran, or was about to, when the agent went down.
    cut_off: Option<ExecutionResult>,
}

impl Progress {
    fn of(batch: &Batch, steps: &[Step], metas: &[SnapshotMeta]) -> Self {
        let own = |meta: &&SnapshotMeta| meta.batch_id.as_deref() == Some(&batch.batch_id);
        let mut snapshots: BTreeMap<usize, &SnapshotMeta> = BTreeMap::new();
        // The newest are first; ids are forgotten at some time and may come again.
        for meta in metas.iter().filter(own).rev() {
            if let Some(index) = meta.command_index {
                snapshots.insert(index as usize, meta);
            }
        }
        let noted = steps.iter().map(|step| {
            let outcome = step.outcome.as_deref();
            let outcome = outcome.and_then(|json| serde_json::from_str(json).ok());
            (step.position, outcome)
        });
        let mut begun: BTreeMap<usize, Option<ExecutionResult>> = noted.collect();
        for index in snapshots.keys() {
            begun.entry(*index).or_default();
        }
        let mut progress = Self {
            ended: Vec::new(),
            cut_off: None,
        };
        for (index, noted) in begun {
            let command = batch.commands.get(index).cloned().unwrap_or_default();
            let snapshot = snapshots.get(&index).copied();
            let (result, ended) = match noted {
                Some(noted) => (noted, true),
                None => from_snapshot(index, snapshot),
            };
            let result = ExecutionResult { command, ..result };
            if ended {
                progress.ended.push(result);
            } else {
                progress.cut_off = Some(result);
            }
        }
        progress
    }
}

/// What a snapshot tells of its command, and whether that had ended.
fn from_snapshot(index: usize, meta: Option<&SnapshotMeta>) -> (ExecutionResult, bool) {
    let result = ExecutionResult {
        index,
        ..ExecutionResult::default()
    };
    let Some(meta) = meta else {
        let error = UNKNOWN.into();
        return (ExecutionResult { error, ..result }, false);
    };
    let error = ended(&meta.outcome);
    let is_over = error.is_some();
    let result = ExecutionResult {
        success: error.as_ref().is_some_and(String::is_empty),
        error: error.unwrap_or_else(|| INTERRUPTED.into()),
        execution_time: meta.outcome.duration_ms as f64 / 1000.0,
        snapshot_id: Some(meta.snapshot_id.to_string()),
        exit_code: meta.outcome.exit_code,
        ..result
    };
    (result, is_over)
}
