//! The end of a rollback: its report, the redo snapshot, the states of the snapshots.

use super::apply::Outcome;
use super::journal::{self, Journal};
use super::made::Made;
use super::plan::{RollbackPlan, Step};
use super::verify::VerifiedPlan;
use super::{Failure, RollbackReport, redo};
use crate::error::{ErrorKind, Result};
use crate::store::ROLLBACK_OF;
use crate::store::{OpenSnapshot, SnapshotId, SnapshotMeta, SnapshotState, Store};
use crate::sys::Dir;

/// The end of a rollback, whether it ran through or was taken up.
pub(super) struct Ending<'a> {
    pub(super) store: &'a Store,
    pub(super) journals: &'a Dir,
    pub(super) journal: &'a Journal,
}

impl Ending<'_> {
    /// Seals the redo snapshot, records how it went, removes the journal. `redo` is `None` where
    /// that snapshot was sealed or dropped before an interruption.
    pub(super) fn finish(
        &self,
        redo: Option<OpenSnapshot>,
        (outcomes, made): (&[Outcome], &Made),
        notes: Vec<String>,
    ) -> Result<RollbackReport> {
        let plan = self.journal.plan.plan();
        let mut report = report(&self.journal.plan, outcomes);
        report.notes.extend(notes);
        let redo_id = match redo {
            Some(redo) => seal(redo, plan, (outcomes, made), self.journal.saved_bytes)?,
            None => self.sealed_before()?,
        };
        if let Some(id) = redo_id.as_ref().filter(|_| !report.success) {
            redo::drop_unused(plan, &self.store.record(id)?, &self.store.files_dir(id));
        }
        report.redo_snapshot_id = redo_id.as_ref().map(SnapshotId::to_string);
        let whole = report.success && !self.journal.filtered;
        let state = if whole {
            SnapshotState::RolledBack
        } else {
            SnapshotState::Sealed
        };
        conclude(self.store, &plan.snapshots, state, redo_id.as_ref())?;
        journal::remove(self.journals, &self.journal.redo)?;
        Ok(report)
    }

    fn sealed_before(&self) -> Result<Option<SnapshotId>> {
        let id = SnapshotId::parse(&self.journal.redo)?;
        match self.store.meta(&id) {
            Ok(meta) if meta.state == SnapshotState::Sealed => Ok(Some(id)),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Seals the redo snapshot; one of a rollback that changed nothing is dropped.
fn seal(
    redo: OpenSnapshot,
    plan: &RollbackPlan,
    (outcomes, made): (&[Outcome], &Made),
    saved_bytes: u64,
) -> Result<Option<SnapshotId>> {
    if !outcomes.contains(&Outcome::Done) {
        redo.discard()?;
        return Ok(None);
    }
    let id = redo.id().clone();
    let record = redo::record(plan, outcomes, made);
    redo.seal(&record, |meta| {
        meta.stored_bytes = saved_bytes;
        meta.uncompressed_bytes = saved_bytes;
        meta.outcome.exit_code = Some(0);
    })?;
    Ok(Some(id))
}

/// What was done, as a report.
pub(super) fn report(verified: &VerifiedPlan, outcomes: &[Outcome]) -> RollbackReport {
    let plan = verified.plan();
    let mut report = RollbackReport {
        snapshot_ids: plan.snapshots.clone(),
        unchanged: plan.unchanged,
        conflicts: verified.conflicts(),
        failures: verified.failures(),
        notes: plan.notes.clone(),
        ..RollbackReport::default()
    };
    for (entry, outcome) in plan.entries.iter().zip(outcomes) {
        if let Outcome::Failed(error) = outcome
            && entry.step != Step::Keep
        {
            report.failures.push(Failure {
                path: entry.path.clone(),
                error: error.clone(),
            });
        }
    }
    count(&mut report, plan, outcomes);
    report.success = report.failures.is_empty() && verified.is_whole();
    report
}

pub(super) fn count(report: &mut RollbackReport, plan: &RollbackPlan, outcomes: &[Outcome]) {
    for (entry, outcome) in plan.entries.iter().zip(outcomes) {
        if entry.counted && *outcome == Outcome::Done {
            match entry.step {
                Step::Keep => {}
                step if step.removes() => report.removed += 1,
                _ => report.restored += 1,
            }
        }
    }
}

/// Writes the state that the snapshots ended in. Where a redo snapshot was rolled back, what it
/// had undone counts as not rolled back again.
pub(super) fn conclude(
    store: &Store,
    ids: &[String],
    state: SnapshotState,
    redo: Option<&SnapshotId>,
) -> Result<()> {
    for id in ids {
        let id = SnapshotId::parse(id)?;
        let meta = store.update(&id, &mut |meta| {
            meta.state = state;
            if redo.is_some() {
                meta.redo_snapshot_id = redo.cloned();
            }
        })?;
        if state == SnapshotState::RolledBack {
            turn_over(store, &meta, true, ids);
        }
    }
    Ok(())
}

/// What `redone` had undone is in the tree again (`back`), or is undone by it again; and so on for
/// what that had undone, where it was a rollback itself.
fn turn_over(store: &Store, redone: &SnapshotMeta, back: bool, concluded: &[String]) {
    let Some(serde_json::Value::Array(originals)) = redone.metadata.get(ROLLBACK_OF) else {
        return;
    };
    let ids = originals.iter().filter_map(|v| v.as_str());
    for text in ids.filter(|t| !concluded.iter().any(|c| c == t)) {
        let turned = SnapshotId::parse(text).and_then(|id| {
            let _in_use = store.acquire(&id)?;
            store.update(&id, &mut |meta| {
                if back && meta.state == SnapshotState::RolledBack {
                    meta.state = SnapshotState::Sealed;
                    meta.redo_snapshot_id = None;
                } else if !back
                    && meta.state == SnapshotState::Sealed
                    && meta.redo_snapshot_id.is_none()
                {
                    meta.state = SnapshotState::RolledBack;
                    meta.redo_snapshot_id = Some(redone.snapshot_id.clone());
                }
            })
        });
        match turned {
            Ok(meta) => turn_over(store, &meta, !back, concluded),
            // It may have expired; its state is only for show.
            Err(e) => {
                tracing::debug!(snapshot = text, error = %e, "cannot mark a snapshot as not rolled back");
            }
        }
    }
}
