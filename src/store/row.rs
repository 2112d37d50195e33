//! A snapshot's row in the index: a small head that is read for every snapshot, and the rest of
//! what `list` gives, read for those that are asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::list::ROLLBACK_OF;
use super::{CoverageRecord, Outcome, SnapshotId, SnapshotMeta, SnapshotState, StrategyUse};
use crate::path::{AbsPath, WirePath};
use crate::seal::ChangeCounts;

/// What snapshots are picked and ordered by. Borrows from the row or the metadata.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head<'a> {
    pub(super) state: SnapshotState,
    pub(super) timestamp: f64,
    #[serde(borrow)]
    pub(super) monotonic: Option<(&'a str, u64)>,
    #[serde(borrow)]
    pub(super) batch_id: Option<&'a str>,
    pub(super) command_index: Option<u64>,
    pub(super) stored_bytes: u64,
    /// Bytes of content that may still be compressed.
    pub(super) uncompressed_bytes: u64,
    pub(super) pinned: bool,
    /// Made by a rollback, to take that back.
    pub(super) redo: bool,
}

impl<'a> Head<'a> {
    /// The head of a snapshot's metadata.
    pub(super) fn of(meta: &'a SnapshotMeta) -> Self {
        Self {
            state: meta.state,
            timestamp: meta.timestamp,
            monotonic: meta
                .monotonic
                .as_ref()
                .map(|(boot, nanoseconds)| (boot.as_str(), *nanoseconds)),
            batch_id: meta.batch_id.as_deref(),
            command_index: meta.command_index,
            stored_bytes: meta.stored_bytes,
            uncompressed_bytes: meta.uncompressed_bytes,
            pinned: meta.pinned,
            redo: meta.metadata.contains_key(ROLLBACK_OF),
        }
    }

    /// Reads the head of a row.
    pub(super) fn read(row: &'a [u8]) -> Option<Self> {
        postcard::take_from_bytes(row).ok().map(|(head, _)| head)
    }
}

/// The rest of the metadata, without what [`thin`] leaves out.
#[derive(Serialize, Deserialize)]
struct Body {
    format_version: u32,
    command: Vec<u8>,
    shell: String,
    working_directory: AbsPath,
    monitored_paths: Vec<AbsPath>,
    file_count: u64,
    changes: ChangeCounts,
    /// As JSON text: free data does not describe itself in a compact encoding.
    metadata: Option<String>,
    strategies: Vec<StrategyUse>,
    coverage: CoverageRecord,
    outcome: Outcome,
    error: Option<String>,
    redo_snapshot_id: Option<SnapshotId>,
    manifest_checksum: Option<String>,
}

/// Takes out of the metadata what `list` does not give.
pub(super) fn thin(meta: &mut SnapshotMeta) {
    meta.file_snapshots = Vec::new();
    meta.capture_tokens = Vec::new();
    meta.supervisor = None;
    meta.environment_vars = BTreeMap::new();
    meta.scope = Vec::new();
    meta.receipt = None;
    meta.places = Vec::new();
    meta.clones = Vec::new();
    meta.sealed = None;
}

/// The row of a snapshot; `None` where the metadata has something that no row can hold.
pub(super) fn encode(meta: &SnapshotMeta) -> Option<Vec<u8>> {
    let metadata = if meta.metadata.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&meta.metadata).ok()?)
    };
    let body = Body {
        format_version: meta.format_version,
        command: meta.command.to_bytes().ok()?,
        shell: meta.shell.clone(),
        working_directory: meta.working_directory.clone(),
        monitored_paths: meta.monitored_paths.clone(),
        file_count: meta.file_count,
        changes: meta.changes,
        metadata,
        strategies: meta.strategies.clone(),
        coverage: meta.coverage.clone(),
        outcome: meta.outcome.clone(),
        error: meta.error.clone(),
        redo_snapshot_id: meta.redo_snapshot_id.clone(),
        manifest_checksum: meta.manifest_checksum.clone(),
    };
    let head = postcard::to_stdvec(&Head::of(meta)).ok()?;
    postcard::to_extend(&body, head).ok()
}

/// The metadata that a row stands for.
pub(super) fn decode(row: &[u8], snapshot_id: SnapshotId) -> Option<SnapshotMeta> {
    let (head, rest) = postcard::take_from_bytes::<Head<'_>>(row).ok()?;
    let body: Body = postcard::from_bytes(rest).ok()?;
    Some(SnapshotMeta {
        format_version: body.format_version,
        snapshot_id,
        state: head.state,
        timestamp: head.timestamp,
        monotonic: head
            .monotonic
            .map(|(boot, nanoseconds)| (boot.to_owned(), nanoseconds)),
        sealed: None,
        command: WirePath::from_bytes(&body.command),
        shell: body.shell,
        command_index: head.command_index,
        batch_id: head.batch_id.map(str::to_owned),
        working_directory: body.working_directory,
        monitored_paths: body.monitored_paths,
        file_snapshots: Vec::new(),
        file_count: body.file_count,
        changes: body.changes,
        environment_vars: BTreeMap::new(),
        metadata: match body.metadata {
            Some(text) => serde_json::from_str(&text).ok()?,
            None => BTreeMap::new(),
        },
        strategies: body.strategies,
        places: Vec::new(),
        clones: Vec::new(),
        uncompressed_bytes: head.uncompressed_bytes,
        scope: Vec::new(),
        coverage: body.coverage,
        receipt: None,
        outcome: body.outcome,
        stored_bytes: head.stored_bytes,
        pinned: head.pinned,
        capture_tokens: Vec::new(),
        supervisor: None,
        error: body.error,
        redo_snapshot_id: body.redo_snapshot_id,
        manifest_checksum: body.manifest_checksum,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::meta;

    fn full() -> SnapshotMeta {
        let mut meta = meta("printf '\u{1b}'");
        meta.command = WirePath::from_bytes(b"touch \xff");
        meta.batch_id = Some("batch".into());
        meta.command_index = Some(3);
        meta.pinned = true;
        meta.error = Some("partial".into());
        meta.redo_snapshot_id = Some(SnapshotId::random());
        meta
    }

    #[test]
    fn a_row_gives_back_all_but_what_is_left_out() {
        let mut meta = full();
        let row = encode(&meta).unwrap();
        thin(&mut meta);
        assert_eq!(decode(&row, meta.snapshot_id.clone()).unwrap(), meta);
    }

    #[test]
    fn the_head_of_a_row_is_the_head_of_its_metadata() {
        let mut meta = full();
        meta.metadata.insert(ROLLBACK_OF.into(), "x".into());
        let row = encode(&meta).unwrap();
        let read = Head::read(&row).unwrap();
        assert_eq!(format!("{read:?}"), format!("{:?}", Head::of(&meta)));
        assert!(read.redo);
    }

    #[test]
    fn cut_rows_are_not_decoded() {
        let meta = full();
        let row = encode(&meta).unwrap();
        for length in 0..row.len() {
            assert!(decode(&row[..length], meta.snapshot_id.clone()).is_none());
        }
    }
}
