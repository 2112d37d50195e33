//! Looking at what is stored.

use super::{Engine, EntryChange, SnapshotDetail, SnapshotSummary};
use crate::error::Result;
use crate::seal::{Late, Receipt, UndoRecord};
use crate::snapshot::intercept::late_changes;
use crate::store::{Damaged, ListFilter, SnapshotMeta, SnapshotState};

impl Engine {
    /// Snapshots, newest first; damaged ones apart, with their errors.
    pub fn list(&self, filter: &ListFilter) -> Result<(Vec<SnapshotSummary>, Damaged)> {
        let (metas, damaged) = self.store.list(filter)?;
        Ok((metas.iter().map(SnapshotSummary::from).collect(), damaged))
    }

    /// Everything about one snapshot (`target` as in
    /// [`RollbackRequest::target`](crate::request::RollbackRequest::target), but one only).
    pub fn show(&self, target: &str) -> Result<SnapshotDetail> {
        let id = self.select_one(target)?;
        let meta = self.store.meta(&id)?;
        let record = match meta.state {
            SnapshotState::Sealed | SnapshotState::RollingBack | SnapshotState::RolledBack => {
                self.store.record(&id)?
            }
            // There is no record yet, or there will be none.
            SnapshotState::Capturing | SnapshotState::Captured | SnapshotState::Failed => {
                UndoRecord::default()
            }
        };
        let entries = record
            .changes
            .iter()
            .map(|change| EntryChange {
                path: change.path.clone(),
                change: change.kind(),
                before: change.before.as_ref().map(Into::into),
                after: change.after.as_ref().map(Into::into),
            })
            .collect();
        let receipt = self.whole_receipt(&meta);
        Ok(SnapshotDetail {
            summary: SnapshotSummary::from(&meta),
            shell: meta.shell,
            monitored_paths: meta.monitored_paths,
            environment_vars: meta.environment_vars,
            metadata: meta.metadata,
            coverage: meta.coverage,
            receipt,
            strategies: meta.strategies,
            places: meta.places,
            error: meta.error,
            redo_snapshot_id: meta.redo_snapshot_id.map(|id| id.to_string()),
            duration_ms: meta.outcome.duration_ms,
            entries,
        })
    }

    /// The receipt of a snapshot with what its command's processes changed after it was over.
    pub fn whole_receipt(&self, meta: &SnapshotMeta) -> Option<Receipt> {
        let mut receipt = meta.receipt.clone()?;
        let since = late_changes(&self.store, &meta.snapshot_id);
        if !since.is_empty() {
            let unlisted = receipt.late.count - receipt.late.changed.len() as u64;
            receipt.late = Late::of(receipt.late.changed.into_iter().chain(since).collect());
            receipt.late.count += unlisted;
        }
        Some(receipt)
    }
}
