//! Snapshots and records for this module's tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{
    CoverageRecord, OpenSnapshot, SnapshotId, SnapshotMeta, Store, StoreOptions, StrategyUse,
};
use crate::entry::{ContentHash, EntryKind, EntryState, Identity, Timestamp};
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::{AbsPath, WirePath};
use crate::seal::{Change, PreImage, UndoRecord};

pub(super) fn options() -> StoreOptions {
    StoreOptions {
        create: true,
        key: None,
        lock_timeout: Duration::from_secs(20),
    }
}

/// A store in a directory of its own.
pub(super) fn store() -> (TempDir, Store) {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(&temp.path().join("store"), options()).unwrap();
    (temp, store)
}

pub(super) fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}

/// Metadata of a snapshot taken now.
pub(crate) fn meta(command: &str) -> SnapshotMeta {
    SnapshotMeta {
        timestamp: Timestamp::now().seconds as f64 + 0.5,
        monotonic: super::clock::since_boot(),
        monitored_paths: vec![path("/srv/app")],
        environment_vars: BTreeMap::from([("LANG".into(), "C".into())]),
        metadata: BTreeMap::from([("ticket".into(), serde_json::json!({"id": [1, null]}))]),
        strategies: vec![StrategyUse {
            volume: path("/"),
            strategy: "copy".into(),
            version: 1,
            reason: "works everywhere".into(),
        }],
        scope: vec![ScopePath {
            path: path("/srv/app"),
            depth: Depth::Tree,
            reason: "working directory".into(),
            certainty: Certainty::Possible,
            rule: String::new(),
        }],
        coverage: CoverageRecord {
            complete: true,
            ..CoverageRecord::default()
        },
        ..SnapshotMeta::new(WirePath::Text(command.into()), "bash", path("/srv/app"))
    }
}

pub(super) fn hash(content: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(content).into())
}

/// The state of a file with `content`.
pub(super) fn file(content: &[u8]) -> EntryState {
    EntryState {
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size: content.len() as u64,
        allocated: 4096,
        modified: Timestamp {
            seconds: 1_700_000_000,
            nanoseconds: 5,
        },
        accessed: Timestamp::default(),
        hash: Some(hash(content)),
        target: None,
        device: None,
        xattrs: Vec::new(),
        flags: 0,
        identity: Identity {
            device: 1,
            inode: 2,
            links: 1,
            changed: Timestamp::default(),
        },
    }
}

/// A deleted file whose content is stored as `name`.
pub(super) fn deleted(at: &str, name: &str, content: &[u8]) -> Change {
    Change {
        path: path(at),
        before: Some(file(content)),
        after: None,
        content: PreImage::raw(name, hash(content)),
    }
}

/// A record of `count` deleted files, each with its number as content (see [`fill`]).
pub(super) fn record(count: usize) -> UndoRecord {
    let changes = (0..count)
        .map(|i| {
            let name = format!("{i:08}");
            deleted(&format!("/srv/app/{name}"), &name, name.as_bytes())
        })
        .collect();
    UndoRecord {
        changes,
        ..UndoRecord::default()
    }
}

/// Writes the content that [`record`] speaks of.
pub(super) fn fill(files: &Path, count: usize) {
    for i in 0..count {
        let name = format!("{i:08}");
        std::fs::write(files.join(&name), &name).unwrap();
    }
}

pub(super) fn begin(store: &Store, command: &str) -> OpenSnapshot {
    store.begin(meta(command)).unwrap()
}

/// A sealed snapshot with `count` changes, changed by `change` before it is sealed.
pub(super) fn sealed(
    store: &Store,
    count: usize,
    change: impl FnOnce(&mut SnapshotMeta),
) -> SnapshotMeta {
    let open = begin(store, "rm files");
    fill(&open.files_dir(), count);
    let record = record(count);
    open.seal(&record, |meta| {
        meta.stored_bytes = 8 * count as u64;
        change(meta);
    })
    .unwrap()
}

/// The store's JSON file of a snapshot.
pub(super) fn json(store: &Store, id: &SnapshotId) -> std::path::PathBuf {
    store.path().join(format!("{id}.json"))
}

/// Names in a directory, sorted.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
