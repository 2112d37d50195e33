//! What a report says beyond what was done: who changed an entry, who has it open.

use super::plan::RollbackPlan;
use super::{Conflict, RollbackSpec};
use crate::store::{ListFilter, SnapshotMeta, SnapshotState, Store};
use crate::sys::open_by_processes;

/// Most replaced files for which it is looked whether a process has them open.
const MOST_LOOKED_FOR: usize = 1_000;

/// Names the later snapshot that changed a conflicting entry, where there is one.
pub(super) fn name_later(
    store: &Store,
    spec: &RollbackSpec,
    mut conflicts: Vec<Conflict>,
) -> Vec<Conflict> {
    let newest = spec.snapshots.first().and_then(|id| store.meta(id).ok());
    let (Some(newest), false) = (newest, conflicts.is_empty()) else {
        return conflicts;
    };
    let Ok((later, _)) = store.list(&ListFilter::default()) else {
        return conflicts;
    };
    let mut open: Vec<&mut Conflict> = conflicts.iter_mut().collect();
    let undone = |meta: &SnapshotMeta| {
        spec.snapshots.contains(&meta.snapshot_id) || meta.state != SnapshotState::Sealed
    };
    for meta in later.iter().take_while(|m| m.timestamp >= newest.timestamp) {
        if open.is_empty() || undone(meta) || meta.file_count == 0 {
            continue;
        }
        let Ok(record) = store.record(&meta.snapshot_id) else {
            continue;
        };
        let id = &meta.snapshot_id;
        open.retain_mut(|conflict| {
            let found = record
                .changes
                .binary_search_by(|c| c.path.cmp(&conflict.path));
            if found.is_ok() {
                conflict.reason = format!(
                    "changed later by {id}; `--through` undoes that too ({})",
                    conflict.reason
                );
            }
            found.is_err()
        });
    }
    conflicts
}

/// Remarks on files that are replaced or removed while processes have them open.
pub(super) fn open_files(plan: &RollbackPlan) -> Vec<String> {
    let victims: Vec<_> = plan
        .entries
        .iter()
        .filter(|e| e.step.places() || e.step.removes())
        .filter_map(|e| Some((&e.path, e.live.as_deref().filter(|l| l.is_file())?.identity)))
        .collect();
    if victims.is_empty() || victims.len() > MOST_LOOKED_FOR {
        return Vec::new();
    }
    let inodes: Vec<(u64, u64)> = victims.iter().map(|(_, i)| (i.device, i.inode)).collect();
    open_by_processes(&inodes)
        .into_iter()
        .take(20)
        .map(|(process, index)| {
            let path = victims[index].0;
            format!("{path} is open in process {process}, which goes on with the file as it was")
        })
        .collect()
}
