//! Which snapshots a backend may take back, see, keep and delete.

use serde_json::Value;

use crate::agent::shared::Shared;
use crate::engine::EntryChange;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::seal::ChangeKind;
use crate::store::{ROLLBACK_OF, SnapshotId, SnapshotMeta};

/// The field of a snapshot's free data by which the agent knows that it took it.
pub(super) const OF_AGENT: &str = "agent_id";
/// How often a rollback may have been taken back in turn.
const LONGEST: usize = 64;

/// Whether the lists allow a request about these snapshots, or about what of them is in `paths` where
/// that is not empty.
pub(super) fn check(shared: &Shared, ids: &[SnapshotId], paths: &[AbsPath]) -> Result<()> {
    let config = shared.config();
    if !config.policy.is_restricted() {
        return Ok(());
    }
    for id in ids {
        let meta = shared.engine.meta(id)?;
        let own = is_own(shared, &meta, LONGEST);
        let shown = shared.engine.show(id.as_str())?.entries;
        let entries: Vec<AbsPath> = if shown.is_empty() {
            // One without a record: what it may hold.
            meta.monitored_paths
        } else {
            // Whatever happens beside a listed directory moves the times of those around it.
            let around = |one: &EntryChange| {
                one.change == ChangeKind::Incidental && config.policy.is_around(&one.path)
            };
            let changed = shown.into_iter().filter(|one| !around(one));
            changed.map(|one| one.path).collect()
        };
        let asked = |one: &&AbsPath| paths.is_empty() || paths.iter().any(|p| one.starts_with(p));
        config
            .policy
            .check_snapshot(own, entries.iter().filter(asked))
            .map_err(refused)?;
    }
    Ok(())
}

/// Whether a snapshot is of a command of the backend's, or of rollbacks of such snapshots and so on,
/// `steps` of them at most.
fn is_own(shared: &Shared, meta: &SnapshotMeta, steps: usize) -> bool {
    let own = ["command_id", OF_AGENT];
    if own.iter().any(|field| meta.metadata.contains_key(*field)) {
        return true;
    }
    let Some(Value::Array(undone)) = meta.metadata.get(ROLLBACK_OF) else {
        return false;
    };
    let of_own = |id: &Value| {
        let id = id.as_str().and_then(|id| SnapshotId::parse(id).ok());
        let meta = id.and_then(|id| shared.engine.meta(&id).ok());
        meta.is_some_and(|meta| is_own(shared, &meta, steps - 1))
    };
    steps > 0 && !undone.is_empty() && undone.iter().all(of_own)
}

/// What the lists do not allow.
pub(super) fn refused(why: String) -> Error {
    Error::new(ErrorKind::NotExecutable, Stage::Agent, why)
}
