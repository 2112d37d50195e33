//! Questions about snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::parts::{MAX_COVERAGE, absolute, brief};
use crate::agent::shared::Shared;
use crate::agent::wire::{Diff, MAX_MESSAGE, Reply, Request, pages, shorten};
use crate::engine::{DiffOptions, SnapshotSummary};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::store::{ListFilter, SnapshotId, SnapshotMeta};

/// The most monitored paths of a snapshot that go over the line.
const MAX_PATHS: usize = 100;
/// Bytes of an event that lists may take; the rest is for what each part repeats.
const ROOM: usize = MAX_MESSAGE - 4000;
/// The longest diff of one file on the wire.
const MAX_DIFF: usize = 200 << 10;

/// Answers one question.
pub(super) fn answer(shared: &Arc<Shared>, request: Request) {
    let replies = match request {
        Request::Info(one) => vec![snapshot_info(shared, &one.snapshot_id)],
        Request::BatchSnapshots(one) => batch_snapshots(shared, &one.batch_id),
        Request::List => list(shared),
        Request::Diff(one) => diff(shared, &one),
        _ => Vec::new(),
    };
    for reply in replies {
        shared.outgoing.answer(reply);
    }
}

/// The snapshot that goes by exactly this id.
pub(super) fn snapshot(shared: &Shared, id: &str) -> Result<SnapshotId> {
    let unknown = || Error::new(ErrorKind::NotFound, Stage::Agent, "Snapshot not found");
    let id = SnapshotId::parse(id).map_err(|_| unknown())?;
    match shared.engine.meta(&id) {
        Err(error) if error.kind() == ErrorKind::NotFound => Err(unknown()),
        other => other.map(|_| id),
    }
}

/// The snapshots of exactly this batch, in the order in which they ran.
pub(super) fn batch_ids(shared: &Shared, batch: &str) -> Result<Vec<SnapshotId>> {
    let unknown = || Error::new(ErrorKind::NotFound, Stage::Agent, "Batch not found");
    match shared.engine.store().batch_snapshots(batch)? {
        ids if ids.is_empty() => Err(unknown()),
        ids => Ok(ids),
    }
}

/// Everything that backends show of a snapshot.
fn info(meta: &SnapshotMeta) -> Value {
    let summary = SnapshotSummary::from(meta);
    let paths: Vec<_> = meta.monitored_paths.iter().take(MAX_PATHS).collect();
    json!({
        "snapshot_id": summary.snapshot_id,
        "timestamp": summary.timestamp,
        "age_hours": summary.age_hours,
        "command": command(meta),
        "command_index": summary.command_index,
        "batch_id": summary.batch_id,
        "working_directory": summary.working_directory,
        "file_count": summary.file_count,
        "monitored_paths": paths,
        "monitored_path_count": meta.monitored_paths.len(),
        "metadata": meta.metadata,
        "state": summary.state,
        "strategy": summary.strategy,
        "size_bytes": summary.size_bytes,
        "pinned": summary.pinned,
        "exit_code": summary.exit_code,
        "changes": summary.changes,
        "coverage": brief(meta.coverage.clone()),
    })
}

/// The same with the receipt, which lists do without.
fn whole_info(shared: &Shared, meta: &SnapshotMeta) -> Value {
    let mut info = info(meta);
    if let Some(receipt) = shared.engine.whole_receipt(meta) {
        info["receipt"] = json!(receipt.brief(MAX_COVERAGE));
    }
    info
}

/// The command line, as a text that is not too long.
fn command(meta: &SnapshotMeta) -> Value {
    match serde_json::to_value(&meta.command) {
        Ok(Value::String(text)) => shorten(&text, 20_000).into(),
        Ok(other) => other,
        Err(_) => Value::Null,
    }
}

fn snapshot_info(shared: &Shared, id: &str) -> Reply {
    let found = snapshot(shared, id).and_then(|id| shared.engine.meta(&id));
    let payload = match found {
        Ok(meta) => {
            json!({ "snapshot_id": id, "success": true, "info": whole_info(shared, &meta) })
        }
        Err(error) => json!({ "snapshot_id": id, "success": false, "error": error.to_string() }),
    };
    Reply::new("snapshot_info_result", payload)
}

fn batch_snapshots(shared: &Shared, batch: &str) -> Vec<Reply> {
    let event = "batch_snapshots_result";
    let found: Result<Vec<Value>> = batch_ids(shared, batch).and_then(|ids| {
        ids.iter()
            .map(|id| shared.engine.meta(id).map(|meta| whole_info(shared, &meta)))
            .collect()
    });
    match found {
        Err(error) => vec![Reply::new(
            event,
            json!({ "batch_id": batch, "success": false, "error": error.to_string() }),
        )],
        Ok(infos) => {
            let count = infos.len();
            in_parts(event, infos, |page| {
                json!({
                    "batch_id": batch,
                    "success": true,
                    "info": { "batch_id": batch, "snapshot_count": count, "snapshots": page },
                })
            })
        }
    }
}

fn list(shared: &Shared) -> Vec<Reply> {
    let event = "snapshots_list_result";
    match shared.engine.store().list(&ListFilter::default()) {
        Err(error) => vec![Reply::new(
            event,
            json!({ "success": false, "error": error.to_string(), "snapshots": [], "batches": [] }),
        )],
        Ok((metas, damaged)) => numbered(event, listed(&metas, damaged.len())),
    }
}

/// A list of snapshots and of their batches, in as many parts as it needs.
fn listed(metas: &[SnapshotMeta], damaged: usize) -> Vec<Value> {
    let infos = pages(metas.iter().map(info).collect(), ROOM - ROOM / 4);
    let batches = pages(batches(metas), ROOM / 4);
    let parts = infos.len().max(batches.len());
    let (mut infos, mut batches) = (infos.into_iter(), batches.into_iter());
    let part = |_| {
        json!({
            "success": true,
            "snapshots": infos.next().unwrap_or_default(),
            "batches": batches.next().unwrap_or_default(),
            "snapshot_count": metas.len(),
            "damaged": damaged,
        })
    };
    (0..parts).map(part).collect()
}

fn batches(metas: &[SnapshotMeta]) -> Vec<Value> {
    let mut found: BTreeMap<&str, (u64, f64)> = BTreeMap::new();
    for meta in metas {
        if let Some(batch) = &meta.batch_id {
            let one = found.entry(batch).or_insert((0, meta.timestamp));
            one.0 += 1;
            one.1 = one.1.min(meta.timestamp);
        }
    }
    found
        .into_iter()
        .map(|(batch, (count, began))| {
            json!({ "batch_id": batch, "snapshot_count": count, "timestamp": began })
        })
        .collect()
}

fn diff(shared: &Shared, request: &Diff) -> Vec<Reply> {
    let event = "snapshot_diff_result";
    let id = request.snapshot_id.as_str();
    let found = snapshot(shared, id).and_then(|snapshot| {
        let paths = request.paths.iter().flatten();
        let options = DiffOptions {
            paths: paths
                .map(|path| absolute("paths", path))
                .collect::<Result<_>>()?,
            live: false,
            text: true,
            max_bytes: request.max_bytes.map(|bytes| bytes.min(16 << 20)),
        };
        super::reach::check(shared, std::slice::from_ref(&snapshot), &options.paths)?;
        shared.engine.diff(snapshot.as_str(), &options)
    });
    match found {
        Err(error) => vec![Reply::new(
            event,
            json!({ "snapshot_id": id, "success": false, "error": error.to_string() }),
        )],
        Ok(mut files) => {
            let redactor = shared.redactor();
            for file in &mut files {
                file.text = file
                    .text
                    .as_deref()
                    .map(|text| crate::agent::wire::fit_output(&redactor.clean(text), MAX_DIFF));
            }
            in_parts(
                event,
                files,
                |page| json!({ "snapshot_id": id, "success": true, "error": "", "files": page }),
            )
        }
    }
}

/// One event where everything fits, else several.
fn in_parts<T: serde::Serialize>(
    event: &'static str,
    values: Vec<T>,
    payload: impl FnMut(Vec<Value>) -> Value,
) -> Vec<Reply> {
    let pages = pages(values, ROOM);
    numbered(event, pages.into_iter().map(payload).collect())
}

/// The parts of an answer as events, numbered from 1 where there are several.
fn numbered(event: &'static str, payloads: Vec<Value>) -> Vec<Reply> {
    let parts = payloads.len();
    payloads
        .into_iter()
        .enumerate()
        .map(|(index, mut payload)| {
            if parts > 1 {
                payload["part"] = (index + 1).into();
                payload["parts"] = parts.into();
            }
            Reply { event, payload }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::wire::json_length;

    #[test]
    fn a_list_of_any_length_comes_in_parts_that_fit_and_misses_nothing() {
        let metas: Vec<SnapshotMeta> = (0..4000)
            .map(|n| {
                let mut meta = crate::store::testing::meta("echo one >> file");
                meta.batch_id = Some(format!("batch-{n}-{}", "x".repeat(60)));
                meta
            })
            .collect();
        let parts = listed(&metas, 0);
        assert!(parts.len() > 1);
        assert!(parts.iter().all(|part| json_length(part) <= MAX_MESSAGE));
        for list in ["snapshots", "batches"] {
            let count = |part: &Value| part[list].as_array().map_or(0, Vec::len);
            assert_eq!(parts.iter().map(count).sum::<usize>(), 4000, "{list}");
        }
        assert_eq!(listed(&[], 0).len(), 1);
    }
}
