//! Deletes what is too old, at intervals that the clock's jumps do not change.

use std::fs;
use std::io::ErrorKind;
use std::time::SystemTime;

use super::shared::Shared;
use crate::engine::RecoverReport;
use crate::progress::Silent;

/// Cleans up once.
pub(super) fn clean(shared: &Shared) {
    // What a late seal finds counts as the interrupted command's, so nothing else may be at work.
    if shared.gate.is_quiet() {
        recover(shared);
    }
    let config = shared.config();
    match shared
        .engine
        .cleanup(&[], &config.retention, false, &Silent)
    {
        Ok(report) => {
            for (id, error) in &report.failures {
                tracing::warn!(%id, error, "a snapshot was not deleted");
            }
            tracing::info!(
                deleted = report.expired.len(),
                kept = report.kept.len(),
                freed_bytes = report.freed_bytes,
                "cleaned up"
            );
        }
        Err(error) => tracing::warn!(%error, "snapshots were not cleaned up"),
    }
    bound_records(shared);
    bound_outputs(shared);
}

/// Finishes what failed before: seals that met a full disk, rollbacks that were interrupted.
pub(super) fn recover(shared: &Shared) {
    match shared.engine.recover(&Silent) {
        Ok(report) => tell(&report),
        Err(error) => tracing::warn!(%error, "what is unfinished stays so"),
    }
}

/// Logs what a recovery did.
pub(super) fn tell(report: &RecoverReport) {
    for id in &report.sealed {
        let of = |(sealed, what): &(String, String)| (sealed == id).then(|| what.clone());
        let missing = report.incomplete.iter().find_map(of);
        tracing::info!(
            snapshot_id = id,
            missing,
            "an interrupted snapshot is sealed"
        );
    }
    for (id, error) in &report.failed {
        tracing::warn!(
            snapshot_id = id,
            error,
            "an interrupted snapshot is given up"
        );
    }
    for (id, error) in &report.postponed {
        tracing::warn!(
            snapshot_id = id,
            error,
            "an interrupted snapshot has to wait"
        );
    }
    for rollback in &report.rollbacks {
        tracing::info!(
            snapshots = %rollback.snapshot_ids.join(", "),
            success = rollback.success,
            restored = rollback.restored,
            removed = rollback.removed,
            failures = rollback.failures.len(),
            "an interrupted rollback is finished"
        );
    }
}

/// Keeps the outbox and what is remembered of ids within their bounds.
pub(super) fn bound_records(shared: &Shared) {
    let config = shared.config();
    let remember = config.remember.as_secs_f64();
    if let Err(error) = shared.state.forget(remember, config.results_kept) {
        tracing::warn!(%error, "ids were not forgotten");
    }
    let (count, bytes) = config.outbox;
    match shared.state.bound(count, bytes) {
        Ok(0) => {}
        Ok(dropped) => {
            shared.metrics.outbox_dropped.add(dropped);
            tracing::error!(dropped, "results that were not delivered had to be dropped");
        }
        Err(error) => tracing::warn!(%error, "the outbox was not bounded"),
    }
}

/// Keeps the files of long outputs within their bound.
pub(super) fn bound_outputs(shared: &Shared) {
    if let Err(error) = delete_outputs(shared, shared.config().output_files) {
        tracing::warn!(%error, "long outputs were not deleted");
    }
}

/// Deletes the oldest outputs until the rest holds at most `bytes`.
fn delete_outputs(shared: &Shared, bytes: u64) -> crate::error::Result<()> {
    use crate::error::{IoContext as _, Stage};
    let directory = shared.state.outputs()?;
    let context = || format!("cannot read {}", directory.display());
    let mut files: Vec<(SystemTime, u64, std::path::PathBuf)> = fs::read_dir(&directory)
        .context(Stage::Agent, context)?
        .flatten()
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
    let mut held = 0;
    for (_, size, path) in files {
        held += size;
        if held > bytes {
            match fs::remove_file(&path) {
                // Another one cleans up at the same time.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.context(Stage::Agent, context)?,
            }
        }
    }
    Ok(())
}
