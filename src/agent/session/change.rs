//! Requests that change snapshots: how they are taken on and ended, and the smaller of them.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::name_of;
use super::query::{batch_ids, snapshot};
use super::{reach, rollback};
use crate::agent::order::{Place, Subject};
use crate::agent::shared::Shared;
use crate::agent::wire::{BatchRef, Pin, Rejection, Reply, Request, SnapshotRef, refusal};
use crate::error::Result;
use crate::execute::Cancel;
use crate::progress::Silent;
use crate::request::RetentionPolicy;
use crate::store::SnapshotId;

/// Why a request is not carried out any more.
const STOPPING: &str = "the agent is being stopped; nothing was changed";

/// A request that was taken on: it has its place among the others, and is on disk until its result is.
pub(super) struct Change {
    request: Request,
    pub(super) place: Place,
    pub(super) cancel: Cancel,
    /// Its record on disk.
    record: Option<i64>,
}

impl Change {
    /// Takes a request on; the reason where it is refused.
    pub(super) fn take_on(shared: &Shared, request: Request) -> Result<Self, String> {
        let place = shared.order.place();
        // First, so that whoever stops the agent either sees it or is seen here.
        let cancel = shared.enlist_change(place.number());
        if shared.is_stopping() {
            shared.dismiss_change(place.number());
            return Err(STOPPING.into());
        }
        let (event, _) = name_of(&request);
        let record = shared.state.begin_change(event, &json_of(&request));
        // What frees room on a full disk must not be refused because the disk is full.
        let record = record
            .inspect_err(|error| {
                tracing::warn!(%error, event, "a request is not recorded; a crash would lose its result");
            })
            .ok();
        Ok(Self {
            request,
            place,
            cancel,
            record,
        })
    }

    /// Carries it out and sends its result. A defect of this program gives a result as well.
    pub(super) fn carry_out(self, shared: &Shared) {
        let last_word = LastWord {
            shared,
            change: &self,
        };
        let replies = if shared.is_stopping() {
            self.refused(STOPPING)
        } else {
            match &self.request {
                Request::Rollback(one) => rollback::one_snapshot(shared, &self, one),
                Request::RollbackBatch(one) => rollback::batch(shared, &self, one),
                Request::Cleanup(one) => cleanup_one(shared, &self, one),
                Request::CleanupBatch(one) => cleanup_batch(shared, &self, one),
                Request::Pin(one) => pin(shared, &self, one),
                _ => Vec::new(),
            }
        };
        shared.finish_change(self.place.number(), self.record, replies);
        drop(last_word);
    }

    /// Notes that it may change something from now on.
    pub(super) fn set_started(&self, shared: &Shared, dry_run: bool) {
        let Some(record) = self.record.filter(|_| !dry_run) else {
            return;
        };
        if let Err(error) = shared.state.start_change(record) {
            tracing::warn!(%error, "the begin of a request is not recorded");
        }
    }

    fn refused(&self, error: &str) -> Vec<Reply> {
        let (event, id) = name_of(&self.request);
        refusal(&Rejection {
            event: event.into(),
            id,
            error: error.into(),
            ..Rejection::default()
        })
    }

    /// Waits for earlier changes of the same snapshots.
    fn enter(&self, shared: &Shared, ids: &[SnapshotId]) -> Result<()> {
        let subject = Subject {
            ids: ids.iter().cloned().collect::<HashSet<_>>(),
            ..Subject::default()
        };
        self.place.enter(subject, &|| !shared.is_stopping())
    }
}

/// Sends a result where a defect of this program kept that from happening.
struct LastWord<'a> {
    shared: &'a Shared,
    change: &'a Change,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let replies = self.change.refused("a defect of the agent; see its log");
            let number = self.change.place.number();
            self.shared
                .finish_change(number, self.change.record, replies);
        }
    }
}

/// A request as its record has it.
fn json_of(request: &Request) -> String {
    let text = match request {
        Request::Rollback(one) => serde_json::to_string(one),
        Request::RollbackBatch(one) => serde_json::to_string(one),
        Request::Cleanup(one) => serde_json::to_string(one),
        Request::CleanupBatch(one) => serde_json::to_string(one),
        Request::Pin(one) => serde_json::to_string(one),
        _ => return String::new(),
    };
    // Texts always serialise.
    text.unwrap_or_default()
}

fn cleanup_one(shared: &Shared, change: &Change, request: &SnapshotRef) -> Vec<Reply> {
    let found = snapshot(shared, &request.snapshot_id).map(|id| vec![id]);
    let removed = found.and_then(|ids| remove(shared, change, &ids));
    let mut payload = removal("Snapshot", removed);
    payload["snapshot_id"] = request.snapshot_id.as_str().into();
    vec![Reply::new("cleanup_result", payload)]
}

fn cleanup_batch(shared: &Shared, change: &Change, request: &BatchRef) -> Vec<Reply> {
    let found = batch_ids(shared, &request.batch_id);
    let removed = found.and_then(|ids| remove(shared, change, &ids));
    let mut payload = removal("Batch", removed);
    payload["batch_id"] = request.batch_id.as_str().into();
    // Backends that know only one kind of answer look here.
    payload["snapshot_id"] = request.batch_id.as_str().into();
    vec![Reply::new("cleanup_result", payload)]
}

/// Deletes snapshots; the reason why not where one is in use or pinned.
fn remove(shared: &Shared, change: &Change, ids: &[SnapshotId]) -> Result<Result<u64, String>> {
    reach::check(shared, ids, &[])?;
    change.enter(shared, ids)?;
    change.set_started(shared, false);
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

fn pin(shared: &Shared, change: &Change, request: &Pin) -> Vec<Reply> {
    let pinned = snapshot(shared, &request.snapshot_id).and_then(|id| {
        reach::check(shared, std::slice::from_ref(&id), &[])?;
        change.enter(shared, std::slice::from_ref(&id))?;
        change.set_started(shared, false);
        shared.engine.pin(id.as_str(), request.pinned)
    });
    let error = pinned
        .err()
        .map_or_else(String::new, |error| error.to_string());
    vec![pin_reply(request, &error)]
}

/// The event that tells how a request to pin ended; `error` is empty where it was done.
pub(super) fn pin_reply(request: &Pin, error: &str) -> Reply {
    Reply::new(
        "pin_result",
        json!({
            "snapshot_id": request.snapshot_id,
            "pinned": request.pinned,
            "success": error.is_empty(),
            "error": error,
        }),
    )
}
