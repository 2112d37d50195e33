//! Looking at what is stored.

use super::{Engine, EntryChange, SnapshotDetail, SnapshotSummary};
use crate::error::Result;
use crate::seal::UndoRecord;
use crate::store::{Damaged, ListFilter, SnapshotState};

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
        Ok(SnapshotDetail {
            summary: SnapshotSummary::from(&meta),
            shell: meta.shell,
            monitored_paths: meta.monitored_paths,
            environment_vars: meta.environment_vars,
            metadata: meta.metadata,
            coverage: meta.coverage,
            receipt: meta.receipt,
            strategies: meta.strategies,
            places: meta.places,
            error: meta.error,
            redo_snapshot_id: meta.redo_snapshot_id.map(|id| id.to_string()),
            duration_ms: meta.outcome.duration_ms,
            entries,
        })
    }
}
