//! Whatever changes snapshots or takes them back.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::parts::absolute;
use super::query::{batch_ids, snapshot};
use crate::agent::shared::Shared;
use crate::agent::wire::{
    BatchRef, EachOutcome, Pin, Reply, Request, Rollback, RollbackBatch, RollbackOutcome,
    SnapshotRef, not_whole,
};
use crate::error::Result;
use crate::execute::Cancel;
use crate::path::AbsPath;
use crate::progress::{Event, Silent};
use crate::request::{OnConflict, RetentionPolicy, RollbackRequest};
use crate::rollback::RollbackReport;
use crate::store::SnapshotId;

/// The most snapshots of a batch that its result lists.
const MAX_EACH: usize = 2000;
/// Between two reports of progress.
const PACE: Duration = Duration::from_millis(500);

/// Carries out one request.
pub(super) fn change(shared: &Arc<Shared>, request: Request) {
    match request {
        Request::Rollback(one) => one_snapshot(shared, &one),
        Request::RollbackBatch(one) => batch(shared, &one),
        Request::Cleanup(one) => cleanup_one(shared, &one),
        Request::CleanupBatch(one) => cleanup_batch(shared, &one),
        Request::Pin(one) => pin(shared, &one),
        _ => {}
    }
}

fn one_snapshot(shared: &Shared, request: &Rollback) {
    let status = Status {
        shared,
        event: "rollback_status",
        key: "snapshot_id",
        id: &request.snapshot_id,
    };
    status.send("Starting rollback...", None);
    let undone = (|| {
        let id = snapshot(shared, &request.snapshot_id)?;
        let paths = request.paths.iter().flatten();
        let spec = RollbackRequest {
            dry_run: request.dry_run.unwrap_or_default(),
            on_conflict: request.on_conflict.unwrap_or(OnConflict::Overwrite),
            paths: paths.map(|path| absolute(path)).collect::<Result<_>>()?,
            ..RollbackRequest::new(id.as_str())
        };
        undo(shared, &spec, &[id], &status)
    })();
    let outcome = judged(shared, undone, "Rollback");
    for reply in outcome.replies("snapshot_id", &request.snapshot_id) {
        shared.post(&reply);
    }
}

fn batch(shared: &Shared, request: &RollbackBatch) {
    let status = Status {
        shared,
        event: "batch_rollback_status",
        key: "batch_id",
        id: &request.batch_id,
    };
    status.send("Starting batch rollback...", None);
    let spec = RollbackRequest {
        dry_run: request.dry_run.unwrap_or_default(),
        on_conflict: request.on_conflict.unwrap_or(OnConflict::Overwrite),
        ..RollbackRequest::new(&request.batch_id)
    };
    let mut ids = Vec::new();
    let undone = (|| {
        ids = batch_ids(shared, &request.batch_id)?;
        undo(shared, &spec, &ids, &status)
    })();
    ids.reverse();
    let each = match &undone {
        Ok(report) => for_each(shared, &ids, report, spec.on_conflict),
        Err(error) => ids
            .iter()
            .map(|id| EachOutcome::failed(id, error.to_string()))
            .collect(),
    };
    let outcome = judged(shared, undone, "Batch rollback");
    let mut replies = outcome.replies("batch_id", &request.batch_id);
    if let Some(result) = replies.first_mut() {
        result.payload["snapshots"] = json!(each.get(..MAX_EACH).unwrap_or(&each));
    }
    for reply in replies {
        shared.post(&reply);
    }
}

/// What a rollback of several snapshots, given in the order undone, means for each of them.
fn for_each(
    shared: &Shared,
    ids: &[SnapshotId],
    report: &RollbackReport,
    on_conflict: OnConflict,
) -> Vec<EachOutcome> {
    let conflicts = report.conflicts.iter().map(|one| &one.path);
    // What was overwritten is as it was before, and with one conflict nothing is changed at all.
    let left: HashSet<&AbsPath> = match on_conflict {
        OnConflict::Skip => conflicts.collect(),
        OnConflict::Overwrite => HashSet::new(),
        OnConflict::Abort => match report.conflicts.first() {
            Some(first) => {
                let error = format!("nothing was changed, because of {}", first.path);
                let failed = |id| EachOutcome::failed(id, error.clone());
                return ids.iter().map(failed).collect();
            }
            None => HashSet::new(),
        },
    };
    let failed: HashSet<&AbsPath> = report.failures.iter().map(|one| &one.path).collect();
    let judge = |id: &SnapshotId| match entries(shared, id) {
        _ if report.success => EachOutcome::whole(id),
        Err(error) => EachOutcome::failed(id, error.to_string()),
        Ok(entries) => {
            let among =
                |set: &HashSet<&AbsPath>| entries.iter().filter(|e| set.contains(e)).count();
            match (among(&left), among(&failed)) {
                (0, 0) => EachOutcome::whole(id),
                (left, failed) => EachOutcome::failed(id, not_whole(left, failed)),
            }
        }
    };
    ids.iter().map(judge).collect()
}

/// The entries that a rollback of a snapshot is about.
fn entries(shared: &Shared, id: &SnapshotId) -> Result<Vec<AbsPath>> {
    let detail = shared.engine.show(id.as_str())?;
    Ok(detail.entries.into_iter().map(|entry| entry.path).collect())
}

/// Takes snapshots back as soon as no command is at work on the same entries.
fn undo(
    shared: &Shared,
    request: &RollbackRequest,
    ids: &[SnapshotId],
    status: &Status<'_>,
) -> Result<RollbackReport> {
    let mut touched: Vec<AbsPath> = Vec::new();
    for id in ids {
        touched.extend(entries(shared, id)?);
    }
    let wanted = || !shared.is_stopping();
    let on_wait = RefCell::new(|name: &str| {
        status.send(
            &format!("Waiting for {name}, which works on the same entries"),
            None,
        );
    });
    let patience = shared.config().rollback_patience;
    let _pass = shared
        .gate
        .rollback(touched, patience, &wanted, &mut *on_wait.borrow_mut())?;
    let progress = Steps::new(status);
    let report = |event: Event| progress.take(&event);
    shared.engine.rollback(request, &Cancel::default(), &report)
}

fn judged(shared: &Shared, undone: Result<RollbackReport>, what: &str) -> RollbackOutcome {
    let outcome = match undone {
        Ok(report) => RollbackOutcome::of(report, what),
        Err(error) => RollbackOutcome::failed(error.to_string(), what),
    };
    if outcome.success {
        shared.metrics.rollbacks.add(1);
    } else {
        shared.metrics.rollbacks_failed.add(1);
    }
    outcome
}

/// Tells the backend how far a rollback is.
struct Status<'a> {
    shared: &'a Shared,
    event: &'static str,
    key: &'static str,
    id: &'a str,
}

impl Status<'_> {
    fn send(&self, message: &str, counts: Option<(u64, u64)>) {
        let mut payload = json!({ "status": "in_progress", "message": message });
        payload[self.key] = self.id.into();
        if let Some((done, total)) = counts {
            payload["done"] = done.into();
            payload["total"] = total.into();
        }
        let reply = Reply {
            event: self.event,
            payload,
        };
        self.shared.outgoing.live(reply, &|| true);
    }
}

/// Adds up steps and reports them at a bearable pace.
struct Steps<'a> {
    status: &'a Status<'a>,
    done: AtomicU64,
    total: AtomicU64,
    last: Mutex<Instant>,
}

impl<'a> Steps<'a> {
    fn new(status: &'a Status<'a>) -> Self {
        Self {
            status,
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    fn take(&self, event: &Event) {
        match event {
            Event::Begin { total, .. } => {
                self.done.store(0, Ordering::Relaxed);
                self.total
                    .store(total.unwrap_or_default(), Ordering::Relaxed);
            }
            Event::Advance { by } => {
                let done = self.done.fetch_add(*by, Ordering::Relaxed) + by;
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= PACE {
                    *last = Instant::now();
                    let total = self.total.load(Ordering::Relaxed).max(done);
                    self.status.send("Rolling back...", Some((done, total)));
                }
            }
            _ => {}
        }
    }
}

fn cleanup_one(shared: &Shared, request: &SnapshotRef) {
    let removed = snapshot(shared, &request.snapshot_id).and_then(|id| remove(shared, &[id]));
    let mut payload = removal("Snapshot", removed);
    payload["snapshot_id"] = request.snapshot_id.as_str().into();
    shared.post(&Reply::new("cleanup_result", payload));
}

fn cleanup_batch(shared: &Shared, request: &BatchRef) {
    let removed = batch_ids(shared, &request.batch_id).and_then(|ids| remove(shared, &ids));
    let mut payload = removal("Batch", removed);
    payload["batch_id"] = request.batch_id.as_str().into();
    // Backends that know only one kind of answer look here.
    payload["snapshot_id"] = request.batch_id.as_str().into();
    shared.post(&Reply::new("cleanup_result", payload));
}

/// Deletes snapshots; the reason why not where one is in use or pinned.
fn remove(shared: &Shared, ids: &[SnapshotId]) -> Result<Result<u64, String>> {
    let targets: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let policy = RetentionPolicy::default();
    let report = shared.engine.cleanup(&targets, &policy, false, &Silent)?;
    let left = report.kept.iter().chain(&report.failures).next();
    Ok(match left {
        Some((id, reason)) => Err(format!("{id} was kept: {reason}")),
        None => Ok(report.expired.len() as u64),
    })
}

fn removal(what: &str, removed: Result<Result<u64, String>>) -> Value {
    match removed {
        Ok(Ok(count)) => {
            json!({ "success": true, "message": format!("{what} cleaned up"), "removed": count, "error": "" })
        }
        Ok(Err(why)) => json!({ "success": false, "message": why, "error": why }),
        Err(error) => {
            let why = error.to_string();
            json!({ "success": false, "message": why, "error": why })
        }
    }
}

fn pin(shared: &Shared, request: &Pin) {
    let pinned = snapshot(shared, &request.snapshot_id)
        .and_then(|id| shared.engine.pin(id.as_str(), request.pinned));
    let error = pinned
        .err()
        .map_or_else(String::new, |error| error.to_string());
    shared.post(&Reply::new(
        "pin_result",
        json!({
            "snapshot_id": request.snapshot_id,
            "pinned": request.pinned,
            "success": error.is_empty(),
            "error": error,
        }),
    ));
}
