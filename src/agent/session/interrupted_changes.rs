//! What an earlier agent left unfinished when it was killed: rollbacks, cleanups, pins.
//!
//! A rollback that had begun was finished when the engine was opened, by this agent or by whoever used
//! the store before it. The states of the snapshots tell, and the engine's report where it was this one.

use serde_json::{Value, json};

use super::change::pin_reply;
use super::query::{batch_ids, snapshot};
use super::rollback::batch_replies;
use crate::agent::shared::Shared;
use crate::agent::state::UnfinishedChange;
use crate::agent::wire::{
    Decoded, EachOutcome, Pin, Reply, Request, Rollback, RollbackBatch, RollbackOutcome, decode,
};
use crate::error::{ErrorKind, Result};
use crate::rollback::RollbackReport;
use crate::store::{SnapshotId, SnapshotState};

const NOT_BEGUN: &str =
    "The agent was restarted before this was begun; nothing was changed: send it again";
const CUT_OFF: &str = "The agent was interrupted while it did this; a part of it may have been done: send it again for the \
     rest";
const HALF_DONE: &str =
    "The agent was interrupted during the rollback, which could not be finished yet; see its log";

/// Gives every change that was taken on and has no result one.
pub(in crate::agent) fn report_interrupted_changes(shared: &Shared) -> Result<()> {
    for left in shared.state.unfinished_changes()? {
        tracing::warn!(
            event = left.event,
            "an earlier agent left a change unfinished"
        );
        let replies = replies(shared, &left);
        shared.post_for(Some(left.number), replies);
    }
    Ok(())
}

fn replies(shared: &Shared, left: &UnfinishedChange) -> Vec<Reply> {
    let payload: Value = serde_json::from_str(&left.request).unwrap_or_default();
    let Decoded::Request(request) = decode(&left.event, vec![payload]) else {
        return Vec::new();
    };
    let why = if left.started { CUT_OFF } else { NOT_BEGUN };
    match *request {
        Request::Rollback(one) => one_snapshot(shared, &one, why),
        Request::RollbackBatch(one) => batch(shared, &one, why),
        Request::Cleanup(one) => {
            let id = one.snapshot_id;
            let found = snapshot(shared, &id).map(|_| ());
            vec![removal(
                "Snapshot",
                json!({ "snapshot_id": id }),
                left,
                found,
            )]
        }
        Request::CleanupBatch(one) => {
            let id = one.batch_id;
            let found = batch_ids(shared, &id).map(|_| ());
            let ids = json!({ "snapshot_id": id, "batch_id": id });
            vec![removal("Batch", ids, left, found)]
        }
        Request::Pin(one) => vec![pin(shared, &one, why)],
        _ => Vec::new(),
    }
}

fn one_snapshot(shared: &Shared, request: &Rollback, why: &str) -> Vec<Reply> {
    let what = "Rollback";
    let told = |outcome: RollbackOutcome| {
        let outcome = RollbackOutcome {
            interrupted: true,
            ..outcome
        };
        outcome.replies("snapshot_id", &request.snapshot_id)
    };
    let found = snapshot(shared, &request.snapshot_id).and_then(|id| {
        let meta = shared.engine.meta(&id)?;
        Ok((id, meta))
    });
    let (id, meta) = match found {
        Ok(found) => found,
        Err(error) => return told(RollbackOutcome::failed(error.to_string(), what)),
    };
    if let Some(report) = finished(shared, &[id]) {
        return told(RollbackOutcome::of(report, what));
    }
    // Neither a plan only nor a part of the entries shows in the state.
    let whole = request.dry_run != Some(true) && request.paths.iter().flatten().next().is_none();
    match meta.state {
        SnapshotState::RolledBack if whole => {
            let report = RollbackReport {
                success: true,
                redo_snapshot_id: meta.redo_snapshot_id.map(|id| id.to_string()),
                ..RollbackReport::default()
            };
            told(RollbackOutcome::of(report, what))
        }
        SnapshotState::RollingBack => told(RollbackOutcome::failed(HALF_DONE, what)),
        _ => told(RollbackOutcome::failed(why, what)),
    }
}

fn batch(shared: &Shared, request: &RollbackBatch, why: &str) -> Vec<Reply> {
    let what = "Batch rollback";
    let told = |outcome: RollbackOutcome, each: &[EachOutcome]| {
        let outcome = RollbackOutcome {
            interrupted: true,
            ..outcome
        };
        batch_replies(&outcome, &request.batch_id, each)
    };
    let found = batch_ids(shared, &request.batch_id).and_then(|ids| {
        let parted = shared.engine.undoable(&ids)?;
        Ok((ids, parted))
    });
    let (ids, parted) = match found {
        Ok(found) => found,
        Err(error) => return told(RollbackOutcome::failed(error.to_string(), what), &[]),
    };
    let each: Vec<EachOutcome> = ids
        .iter()
        .rev()
        .map(|id| {
            let left_out = parted
                .left_out
                .iter()
                .find(|one| one.snapshot_id == id.as_str());
            match left_out {
                Some(left_out) => EachOutcome::failed(id, left_out.reason.clone()),
                None if parted.done.contains(id) => EachOutcome::whole(id),
                None => EachOutcome::failed(id, "it is not rolled back".into()),
            }
        })
        .collect();
    let whole = each.iter().all(|one| one.success) && request.dry_run != Some(true);
    let outcome = match finished(shared, &ids) {
        Some(report) => RollbackOutcome::of(
            RollbackReport {
                success: report.success && parted.left_out.is_empty(),
                not_undone: parted.left_out,
                ..report
            },
            what,
        ),
        None if whole => RollbackOutcome::of(
            RollbackReport {
                success: true,
                ..RollbackReport::default()
            },
            what,
        ),
        None => RollbackOutcome::failed(why, what),
    };
    told(outcome, &each)
}

/// The report of a rollback of these snapshots that was finished when the engine was opened.
fn finished(shared: &Shared, ids: &[SnapshotId]) -> Option<RollbackReport> {
    let ours = |report: &&RollbackReport| {
        let is_ours = |id: &String| ids.iter().any(|own| own.as_str() == id);
        !report.snapshot_ids.is_empty() && report.snapshot_ids.iter().all(is_ours)
    };
    let rollbacks = &shared.engine.recovered().rollbacks;
    rollbacks.iter().find(ours).cloned()
}

/// `found`: whether what was to be removed is still there.
fn removal(what: &str, mut payload: Value, left: &UnfinishedChange, found: Result<()>) -> Reply {
    let error = match found {
        Err(error) if left.started && error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => error.to_string(),
        Ok(()) if left.started => CUT_OFF.into(),
        Ok(()) => NOT_BEGUN.into(),
    };
    payload["success"] = error.is_empty().into();
    payload["message"] = if error.is_empty() {
        format!("{what} cleaned up").into()
    } else {
        error.as_str().into()
    };
    payload["error"] = error.into();
    Reply {
        event: "cleanup_result",
        payload,
    }
}

fn pin(shared: &Shared, request: &Pin, why: &str) -> Reply {
    let meta = snapshot(shared, &request.snapshot_id).and_then(|id| shared.engine.meta(&id));
    let error = match meta {
        Ok(meta) if meta.pinned == request.pinned => String::new(),
        Ok(_) => why.to_owned(),
        Err(error) => error.to_string(),
    };
    pin_reply(request, &error)
}
