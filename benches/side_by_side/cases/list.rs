//! A store with very many snapshots.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use deployx::AbsPath;
use deployx::entry::{ContentHash, EntryKind, EntryState, Identity, Timestamp};
use deployx::infer::{Certainty, Depth, ScopePath};
use deployx::path::WirePath;
use deployx::seal::{Change, PreImage, UndoRecord};
use deployx::store::{SnapshotMeta, SnapshotState, Store, StoreOptions, StrategyUse};
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};

use crate::common::process::run;
use crate::common::program::remove;
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// The first argument with which this benchmark fills a store instead of measuring.
pub(crate) const FILL: &str = "--fill-store";

/// Most seconds that a list may take.
const TARGET: f64 = 0.1;

/// Threads that make snapshots: they mostly wait for the disk.
const THREADS: usize = 8;

/// The cache that `list` reads, and what SQLite keeps beside it.
const INDEX: &str = "index.sqlite";

/// `deployx list` of very many snapshots, without and with its index, beside `ls -l` of the store's
/// directory; and a run with so many snapshots in the store beside one with an empty store.
pub(crate) fn measure(work: &Work) -> Result<Vec<Row>> {
    let count = work.settings.snapshots;
    let deployx = work.deployx(work.path().join("many"));
    let few = work.deployx(work.path().join("few"));
    let empty = work.path().join("empty");
    fs::create_dir_all(&empty)?;
    eprintln!("making {count} snapshots");
    // In a process of its own: peak memory counts from what this process occupies.
    run(Command::new(env::current_exe()?)
        .arg(FILL)
        .args([deployx.store.as_path()])
        .arg(count.to_string()))?;
    let listed = listed(deployx.command().args(["list", "--json"]))?;
    ensure!(listed == count, "{listed} of {count} are listed");

    let list = || {
        let mut list = deployx.command();
        list.arg("list");
        list
    };
    let ls = || {
        Side::new("ls -l", || {
            let mut ls = Command::new("ls");
            ls.arg("-l").arg(&deployx.store);
            ls
        })
    };
    let [cold, cold_ls] = alternate(
        work,
        "list without index",
        [
            Side::new("deployx list", list).after(|| forget_index(&deployx.store)),
            ls(),
        ],
    )?;
    let [warm, warm_ls] = alternate(
        work,
        "list with index",
        [Side::new("deployx list", list), ls()],
    )?;
    let [full, fresh] = alternate(
        work,
        "a run in a full store",
        [
            Side::new("deployx run -- true", || deployx.run(&empty, &["true"])),
            Side::new("the same, empty store", || few.run(&empty, &["true"]))
                .after(|| Ok(few.forget()?)),
        ],
    )?;
    deployx.forget()?;
    few.forget()?;
    remove(&empty)?;
    Ok(vec![
        Row::pair(
            format!("list of {count} snapshots, index deleted"),
            &cold,
            &cold_ls,
        )
        .at_most(TARGET),
        Row::pair(format!("list of {count} snapshots"), &warm, &warm_ls).at_most(TARGET),
        Row::pair(
            format!("a run with {count} snapshots in the store"),
            &full,
            &fresh,
        ),
    ])
}

/// How many snapshots a command lists in JSON; read piece by piece, so that this process, from whose
/// size the peak memory of others counts, stays small.
fn listed(command: &mut Command) -> Result<usize> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let pipe = child.stdout.take().context("no pipe to the list")?;
    let snapshots: Vec<IgnoredAny> = serde_json::from_reader(BufReader::new(pipe))?;
    ensure!(child.wait()?.success(), "{command:?} failed");
    Ok(snapshots.len())
}

fn forget_index(store: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let file = store.join(format!("{INDEX}{suffix}"));
        if file.exists() {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Makes so many sealed snapshots in a new store, as an engine would. Arguments: store, count.
pub(crate) fn fill(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let path = PathBuf::from(arguments.next().context("no store")?);
    let count: usize = arguments.next().context("no count")?.parse()?;
    let options = StoreOptions {
        create: true,
        key: None,
        lock_timeout: Duration::from_secs(60),
    };
    let store = Store::open(&path, options)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let store = store.clone();
                scope.spawn(move || {
                    (thread..count)
                        .step_by(THREADS)
                        .try_for_each(|n| make(&store, n))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .expect("a thread that makes snapshots panicked")
        })
    })
}

/// One snapshot of a command that deleted one file and created two.
fn make(store: &Store, number: usize) -> Result<()> {
    let content = format!("the old content of file {number}\n");
    let mut open = store.begin(meta(number)?)?;
    fs::write(open.files_dir().join("00000000"), &content)?;
    open.update(|meta| meta.state = SnapshotState::Captured)?;
    open.seal(&record(number, content.as_bytes())?, |meta| {
        meta.outcome.exit_code = Some(0);
        meta.outcome.duration_ms = 12;
        meta.stored_bytes = content.len() as u64;
        meta.coverage.complete = true;
    })?;
    Ok(())
}

fn record(number: usize, old: &[u8]) -> Result<UndoRecord> {
    let hash = ContentHash(Sha256::digest(old).into());
    let created = |name: &str| -> Result<Change> {
        Ok(Change {
            path: AbsPath::new(format!("/srv/app/release-{number}/{name}"))?,
            before: None,
            after: Some(file(old.len() as u64, hash)),
            content: PreImage::NotNeeded,
        })
    };
    let deleted = Change {
        path: AbsPath::new(format!("/srv/app/release-{number}/old"))?,
        before: Some(file(old.len() as u64, hash)),
        after: None,
        content: PreImage::raw("00000000", hash),
    };
    Ok(UndoRecord {
        changes: vec![created("bin")?, created("config")?, deleted],
        ..UndoRecord::default()
    })
}

fn file(size: u64, hash: ContentHash) -> EntryState {
    let time = Timestamp {
        seconds: 1_700_000_000,
        nanoseconds: 123_456_789,
    };
    EntryState {
        kind: EntryKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        size,
        allocated: 4096,
        modified: time,
        accessed: time,
        hash: Some(hash),
        target: None,
        device: None,
        xattrs: Vec::new(),
        flags: 0,
        identity: Identity {
            device: 1,
            inode: 2,
            links: 1,
            changed: time,
        },
    }
}

fn meta(number: usize) -> Result<SnapshotMeta> {
    let directory = AbsPath::new("/srv/app")?;
    Ok(SnapshotMeta {
        monitored_paths: vec![directory.clone()],
        environment_vars: BTreeMap::from([("LANG".into(), "C.UTF-8".into())]),
        strategies: vec![StrategyUse {
            volume: AbsPath::new("/")?,
            strategy: "copy".into(),
            version: 1,
            reason: "works everywhere".into(),
        }],
        scope: vec![ScopePath {
            path: directory,
            depth: Depth::Tree,
            reason: "working directory".into(),
            certainty: Certainty::Possible,
            rule: String::new(),
        }],
        ..SnapshotMeta::new(
            WirePath::Text(format!("./deploy.sh --release {number}")),
            "bash",
            AbsPath::new("/srv/app")?,
        )
    })
}
