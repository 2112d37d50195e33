//! Which snapshots a backend may take back, see, keep and delete.

use crate::agent::shared::Shared;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::store::SnapshotId;

/// The field of a snapshot's free data by which the agent knows that it took it.
pub(super) const OF_AGENT: &str = "agent_id";

/// Whether the lists allow a request about these snapshots, or about what of them is in `paths` where
/// that is not empty.
pub(super) fn check(shared: &Shared, ids: &[SnapshotId], paths: &[AbsPath]) -> Result<()> {
    let config = shared.config();
    if !config.policy.is_restricted() {
        return Ok(());
    }
    for id in ids {
        let meta = shared.engine.meta(id)?;
        let own = ["command_id", OF_AGENT];
        let own = own.iter().any(|field| meta.metadata.contains_key(*field));
        let shown = shared.engine.show(id.as_str())?.entries;
        let mut entries: Vec<AbsPath> = shown.into_iter().map(|entry| entry.path).collect();
        if entries.is_empty() {
            // One without a record: what it may hold.
            entries = meta.monitored_paths;
        }
        let asked = |one: &&AbsPath| paths.is_empty() || paths.iter().any(|p| one.starts_with(p));
        config
            .policy
            .check_snapshot(own, entries.iter().filter(asked))
            .map_err(refused)?;
    }
    Ok(())
}

/// What the lists do not allow.
pub(super) fn refused(why: String) -> Error {
    Error::new(ErrorKind::NotExecutable, Stage::Agent, why)
}
