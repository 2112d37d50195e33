//! Taking snapshots back.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::change::Change;
use super::parts::absolute;
use super::query::{batch_ids, snapshot};
use super::reach;
use super::status::{Status, Steps};
use crate::agent::area::Entries;
use crate::agent::cleanup;
use crate::agent::order::Subject;
use crate::agent::shared::Shared;
use crate::agent::wire::{
    EachOutcome, Reply, Rollback, RollbackBatch, RollbackOutcome, not_whole, shorten,
};
use crate::engine::Undoable;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::progress::Event;
use crate::request::{OnConflict, RollbackRequest};
use crate::rollback::RollbackReport;
use crate::store::{SnapshotId, SnapshotState};

/// The most snapshots of a batch that its result lists.
const MAX_EACH: usize = 2000;

/// Takes one snapshot back; gives the events that tell of it.
pub(super) fn one_snapshot(shared: &Shared, change: &Change, request: &Rollback) -> Vec<Reply> {
    let status = Status {
        shared,
        event: "rollback_status",
        key: "snapshot_id",
        id: &request.snapshot_id,
    };
    status.send("Starting rollback...", None);
    let on_conflict = request.on_conflict.unwrap_or(OnConflict::Overwrite);
    let undone = (|| {
        let paths = request.paths.iter().flatten();
        let spec = RollbackRequest {
            dry_run: request.dry_run.unwrap_or_default(),
            on_conflict,
            paths: paths
                .map(|path| absolute("paths", path))
                .collect::<Result<_>>()?,
            ..RollbackRequest::new(&request.snapshot_id)
        };
        let target = Target::Snapshot(&request.snapshot_id);
        undo(shared, change, &target, &spec, &status)
    })();
    let report = undone.map(|(_, report)| report);
    let outcome = judged(shared, report, on_conflict, "Rollback");
    outcome.replies("snapshot_id", &request.snapshot_id)
}

/// Takes a batch back; gives the events that tell of it.
pub(super) fn batch(shared: &Shared, change: &Change, request: &RollbackBatch) -> Vec<Reply> {
    let status = Status {
        shared,
        event: "batch_rollback_status",
        key: "batch_id",
        id: &request.batch_id,
    };
    status.send("Starting batch rollback...", None);
    let on_conflict = request.on_conflict.unwrap_or(OnConflict::Overwrite);
    let spec = RollbackRequest {
        dry_run: request.dry_run.unwrap_or_default(),
        on_conflict,
        ..RollbackRequest::new(&request.batch_id)
    };
    let target = Target::Batch(&request.batch_id);
    let undone = undo(shared, change, &target, &spec, &status);
    let each = match &undone {
        Ok((targets, report)) => for_each(shared, targets, report, on_conflict),
        Err(_) => {
            let ids = batch_ids(shared, &request.batch_id).unwrap_or_default();
            let failed = |id| EachOutcome::failed(id, "see the error of the batch".into());
            ids.iter().rev().map(failed).collect()
        }
    };
    let report = undone.map(|(_, report)| report);
    let outcome = judged(shared, report, on_conflict, "Batch rollback");
    batch_replies(&outcome, &request.batch_id, &each)
}

/// The events that tell of a batch's rollback.
pub(super) fn batch_replies(
    outcome: &RollbackOutcome,
    batch: &str,
    each: &[EachOutcome],
) -> Vec<Reply> {
    let mut replies = outcome.replies("batch_id", batch);
    if let Some(result) = replies.first_mut() {
        result.payload["snapshots"] = json!(each.get(..MAX_EACH).unwrap_or(each));
    }
    replies
}

/// What a rollback of several snapshots means for each of them, in the order undone; those that were
/// not undone are last.
pub(super) fn for_each(
    shared: &Shared,
    targets: &Undoable,
    report: &RollbackReport,
    on_conflict: OnConflict,
) -> Vec<EachOutcome> {
    let conflicts = report.conflicts.iter().map(|one| &one.path);
    let refused = on_conflict == OnConflict::Abort && !report.conflicts.is_empty();
    // What was overwritten is as it was before.
    let left: HashSet<&AbsPath> = match on_conflict {
        OnConflict::Skip => conflicts.collect(),
        OnConflict::Overwrite | OnConflict::Abort => HashSet::new(),
    };
    let failed: HashSet<&AbsPath> = report.failures.iter().map(|one| &one.path).collect();
    let judge = |id: &SnapshotId| {
        if refused {
            return EachOutcome::failed(id, "nothing was changed".into());
        }
        if left.is_empty() && failed.is_empty() {
            return EachOutcome::whole(id);
        }
        match entries(shared, id) {
            Err(error) => EachOutcome::failed(id, error.to_string()),
            Ok((entries, _)) => {
                let among =
                    |set: &HashSet<&AbsPath>| entries.iter().filter(|e| set.contains(e)).count();
                match (among(&left), among(&failed)) {
                    (0, 0) => EachOutcome::whole(id),
                    (left, failed) => EachOutcome::failed(id, not_whole(left, failed)),
                }
            }
        }
    };
    let undone = targets.snapshots.iter().map(judge);
    let before = targets.done.iter().map(EachOutcome::whole);
    let left_out = targets.left_out.iter().map(|one| EachOutcome {
        snapshot_id: one.snapshot_id.clone(),
        success: false,
        error: one.reason.clone(),
    });
    undone.chain(before).chain(left_out).collect()
}

/// What a rollback is asked for.
enum Target<'a> {
    Snapshot(&'a str),
    Batch(&'a str),
}

impl Target<'_> {
    fn ids(&self, shared: &Shared) -> Result<Vec<SnapshotId>> {
        match self {
            Self::Snapshot(text) => Ok(vec![snapshot(shared, text)?]),
            Self::Batch(text) => batch_ids(shared, text),
        }
    }

    /// What of these snapshots can be taken back. One that was asked for by its id is tried in any
    /// case: the error says why not.
    fn parted(&self, shared: &Shared, ids: Vec<SnapshotId>) -> Result<Undoable> {
        match self {
            Self::Snapshot(_) => Ok(Undoable {
                snapshots: ids,
                ..Undoable::default()
            }),
            Self::Batch(_) => shared.engine.undoable(&ids),
        }
    }
}

/// The entries that a rollback of a snapshot is about, and whether something unfinished keeps it from
/// being rolled back.
fn entries(shared: &Shared, id: &SnapshotId) -> Result<(Vec<AbsPath>, bool)> {
    let detail = shared.engine.show(id.as_str())?;
    let entries = detail.entries.into_iter().map(|entry| entry.path).collect();
    Ok(match detail.summary.state {
        // Its record will be about entries beneath these.
        SnapshotState::Capturing | SnapshotState::Captured => (detail.monitored_paths, true),
        SnapshotState::RollingBack => (entries, true),
        SnapshotState::Sealed | SnapshotState::RolledBack | SnapshotState::Failed => {
            (entries, false)
        }
    })
}

/// Takes snapshots back as soon as no earlier change and no command is at work on the same entries.
/// Gives which of them, and how that went.
fn undo(
    shared: &Shared,
    change: &Change,
    target: &Target<'_>,
    request: &RollbackRequest,
    status: &Status<'_>,
) -> Result<(Undoable, RollbackReport)> {
    let wanted = || !shared.is_stopping();
    let mut deadline = None;
    let mut recovered = false;
    loop {
        let guarded = target.ids(shared)?;
        reach::check(shared, &guarded, &request.paths)?;
        let mut touched = Vec::new();
        let mut unfinished = false;
        for id in &guarded {
            let (entries, waits) = entries(shared, id)?;
            touched.extend(entries);
            unfinished |= waits;
        }
        let touched = Arc::new(Entries::new(touched));
        let guarded: HashSet<SnapshotId> = guarded.into_iter().collect();
        let subject = Subject {
            ids: guarded.clone(),
            entries: Arc::clone(&touched),
        };
        change.place.enter(subject, &wanted)?;
        let patience = shared.config().rollback_patience;
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + patience);
        let on_wait = RefCell::new(|name: &str| {
            let message = format!("Waiting for {name}, which works on the same entries");
            status.send(&message, None);
        });
        let pass = shared
            .gate
            .rollback(&touched, deadline, &wanted, &mut *on_wait.borrow_mut())?;
        if unfinished && !std::mem::replace(&mut recovered, true) {
            cleanup::recover(shared);
        }
        // A batch may have gone on while this waited.
        let ids = target.ids(shared)?;
        if ids.iter().all(|id| guarded.contains(id)) {
            // What was sealed meanwhile is known only now.
            reach::check(shared, &ids, &request.paths)?;
            let targets = target.parted(shared, ids)?;
            let report = carry_out(shared, change, &targets, request, status)?;
            return Ok((targets, report));
        }
        drop(pass);
        if Instant::now() >= deadline {
            return Err(stopped(ErrorKind::Busy, "its batch is still running"));
        }
    }
}

fn carry_out(
    shared: &Shared,
    change: &Change,
    targets: &Undoable,
    request: &RollbackRequest,
    status: &Status<'_>,
) -> Result<RollbackReport> {
    let _alone = shared.order.rolling();
    if shared.is_stopping() {
        return Err(stopped(ErrorKind::Cancelled, "the agent is being stopped"));
    }
    change.set_started(shared, request.dry_run);
    let progress = Steps::new(status);
    let report = |event: Event| progress.take(&event);
    shared
        .engine
        .undo(targets, request, &change.cancel, &report)
}

fn stopped(kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, Stage::Agent, why)
}

fn judged(
    shared: &Shared,
    undone: Result<RollbackReport>,
    on_conflict: OnConflict,
    what: &str,
) -> RollbackOutcome {
    let outcome = match undone {
        Ok(report) => {
            let first = report.conflicts.first();
            let refused = first
                .filter(|_| on_conflict == OnConflict::Abort)
                .map(|first| {
                    format!(
                        "nothing was changed, because of {}: {}",
                        shorten(&first.path.to_string(), 4000),
                        first.reason
                    )
                });
            let mut outcome = RollbackOutcome::of(report, what);
            if let Some(refused) = refused {
                outcome.error = refused;
            }
            outcome
        }
        Err(error) => RollbackOutcome::failed(error.to_string(), what),
    };
    if outcome.success {
        shared.metrics.rollbacks.add(1);
    } else {
        shared.metrics.rollbacks_failed.add(1);
    }
    outcome
}
