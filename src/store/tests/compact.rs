//! Content that is compressed later, and what a crash at any step of that leaves.

use std::fs;
use std::path::Path;

use super::shrink::{content, form, snapshot, text};
use crate::progress::{Event, Progress, Silent};
use crate::seal::Form;
use crate::store::testing::{json, names, store};
use crate::store::{Compression, SnapshotId, SnapshotState, Store};
use crate::sys::durable::faults;

const FILES: [&str; 3] = ["a", "b", "c"];

/// A snapshot with raw content that was left to be compressed.
fn left(store: &Store) -> SnapshotId {
    let contents: Vec<Vec<u8>> = (0..3).map(|seed| text(seed, 50_000)).collect();
    let files: Vec<(&str, &[u8])> = FILES
        .iter()
        .zip(&contents)
        .map(|(name, content)| (*name, content.as_slice()))
        .collect();
    let meta = snapshot(store, &files, Compression::Off);
    store
        .update(&meta.snapshot_id, &mut |meta| {
            meta.uncompressed_bytes = 150_000;
        })
        .unwrap();
    meta.snapshot_id
}

fn assert_readable(store: &Store, id: &SnapshotId, case: &str) {
    for (seed, name) in FILES.iter().enumerate() {
        let expected = text(seed as u64, 50_000);
        assert!(content(store, id, name) == expected, "{case}: {name}");
    }
}

fn assert_compact(store: &Store, id: &SnapshotId, case: &str) {
    assert_readable(store, id, case);
    assert_eq!(
        names(&store.files_dir(id)),
        ["a.zst", "b.zst", "c.zst"],
        "{case}"
    );
    let own = names(&store.path().join(id.as_str()));
    assert_eq!(own, ["files", "lock", "manifest"], "{case}");
    let problems = store.verify(&[], &Silent).unwrap();
    assert!(problems.is_empty(), "{case}: {problems:?}");
}

/// Counts warnings.
#[derive(Default)]
struct Warnings(std::sync::atomic::AtomicUsize);

impl Progress for Warnings {
    fn event(&self, event: Event) {
        if matches!(event, Event::Warning { .. }) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
}

fn copy_of(store: &Store, to: &Path) {
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([store.path(), to])
        .status()
        .unwrap();
    assert!(copied.success());
}

#[test]
fn what_was_left_is_compressed_once() {
    let (_temp, store) = store();
    let id = left(&store);
    let before = store.meta(&id).unwrap();
    let done = store.compact(&Silent).unwrap();
    assert_eq!(done.snapshots, 1);
    assert_compact(&store, &id, "compacted");
    let meta = store.meta(&id).unwrap();
    assert_eq!(meta.uncompressed_bytes, 0);
    assert_eq!(meta.stored_bytes, before.stored_bytes - done.saved_bytes);
    assert_ne!(meta.manifest_checksum, before.manifest_checksum);
    let backup = meta.file_snapshots[0].backup_path.as_deref();
    assert_eq!(backup, Some("files/a.zst"));
    assert_eq!(store.compact(&Silent).unwrap().snapshots, 0);
}

#[test]
fn snapshots_in_use_or_being_rolled_back_are_passed_over() {
    let (_temp, store) = store();
    let id = left(&store);
    let reader = store.acquire_shared(&id).unwrap();
    assert_eq!(store.compact(&Silent).unwrap().snapshots, 0);
    drop(reader);
    let set = |state| {
        store
            .update(&id, &mut |meta| meta.state = state)
            .map(drop)
            .unwrap();
    };
    set(SnapshotState::RollingBack);
    assert_eq!(store.compact(&Silent).unwrap().snapshots, 0);
    assert_eq!(names(&store.files_dir(&id)), FILES);
    set(SnapshotState::RolledBack);
    assert_eq!(store.compact(&Silent).unwrap().snapshots, 1);
    assert_compact(&store, &id, "rolled back");
}

#[test]
fn a_failed_sync_at_any_step_leaves_a_readable_snapshot_that_is_compressed_later() {
    let (_temp, store) = store();
    faults::take_syncs();
    left(&store);
    let first = faults::take_syncs();
    store.compact(&Silent).unwrap();
    let steps = faults::take_syncs();
    assert!(first > 0 && steps >= 6, "{steps}");
    for step in 0..steps {
        let (_temp, store) = super::super::testing::store();
        let id = left(&store);
        faults::fail_sync(step);
        let warnings = Warnings::default();
        let done = store.compact(&warnings).unwrap();
        let case = format!("sync {step}: {done:?}");
        assert_readable(&store, &id, &case);
        assert!(store.verify(&[], &Silent).unwrap().len() <= 6, "{case}");
        // What was not done is done by the next one, and what was left is gone.
        store
            .update(&id, &mut |meta| meta.uncompressed_bytes = 1)
            .unwrap();
        store.compact(&Silent).unwrap();
        assert_compact(&store, &id, &case);
    }
}

#[test]
fn a_crash_between_any_two_steps_loses_nothing() {
    // The states on disk between the steps, put together from those before and after.
    let (temp, store) = store();
    let id = left(&store);
    let before = temp.path().join("before");
    copy_of(&store, &before);
    store.compact(&Silent).unwrap();
    let after = store.path().to_owned();
    let directory = |root: &Path| root.join(id.as_str());
    type Step<'a> = Box<dyn Fn(&Path) + 'a>;
    let copy = |from: std::path::PathBuf, to: std::path::PathBuf| {
        fs::copy(from, to).unwrap();
    };
    let new_files = |names: &'static [&'static str]| -> Step<'_> {
        let after = &after;
        Box::new(move |root: &Path| {
            for name in names {
                let name = Path::new("files").join(name);
                copy(directory(after).join(&name), directory(root).join(&name));
            }
        })
    };
    let old_files_gone = |names: &'static [&'static str]| -> Step<'_> {
        Box::new(move |root: &Path| {
            for name in names {
                fs::remove_file(directory(root).join("files").join(name)).unwrap();
            }
        })
    };
    let steps: Vec<(&str, Step<'_>)> = vec![
        ("one new file", new_files(&["a.zst"])),
        ("all new files", new_files(&["b.zst", "c.zst"])),
        (
            "half a manifest",
            Box::new(|root: &Path| {
                fs::write(directory(root).join(".manifest.tmp"), "half").unwrap();
            }),
        ),
        (
            "the new manifest",
            Box::new(|root: &Path| {
                fs::remove_file(directory(root).join(".manifest.tmp")).unwrap();
                let (from, to) = (directory(&after), directory(root));
                copy(from.join("manifest"), to.join("manifest.next"));
            }),
        ),
        (
            "the new metadata",
            Box::new(|root: &Path| {
                let name = format!("{id}.json");
                copy(after.join(&name), root.join(&name));
            }),
        ),
        (
            "the manifest in its place",
            Box::new(|root: &Path| {
                let own = directory(root);
                fs::rename(own.join("manifest.next"), own.join("manifest")).unwrap();
            }),
        ),
        ("one old file gone", old_files_gone(&["a"])),
    ];
    for count in 1..=steps.len() {
        let case = steps[count - 1].0;
        let root = temp.path().join(format!("crashed-{count}"));
        let options = super::super::testing::options();
        let original = Store::open(&before, options.clone()).unwrap();
        copy_of(&original, &root);
        for (_, step) in &steps[..count] {
            step(&root);
        }
        let crashed = Store::open(&root, options).unwrap();
        assert_readable(&crashed, &id, case);
        crashed
            .update(&id, &mut |meta| meta.uncompressed_bytes = 1)
            .unwrap();
        assert_eq!(crashed.compact(&Silent).unwrap().snapshots, 1, "{case}");
        assert_compact(&crashed, &id, case);
    }
}

#[test]
fn readers_without_a_lock_are_never_wrong_while_content_is_compressed() {
    let (_temp, store) = store();
    let ids: Vec<SnapshotId> = (0..12).map(|_| left(&store)).collect();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..20 {
                for id in &ids {
                    assert_eq!(store.record(id).unwrap().changes.len(), 3);
                }
                let problems = store.verify(&[], &Silent).unwrap();
                let missing: Vec<_> = problems
                    .iter()
                    .filter(|one| !one.problem.contains("not part"))
                    .collect();
                assert!(missing.is_empty(), "{missing:?}");
            }
        });
        store.compact(&Silent).unwrap();
        reader.join().unwrap();
    });
    for id in &ids {
        assert_compact(&store, id, "concurrent");
    }
}

#[test]
fn what_another_snapshot_may_differ_from_waits_and_small_files_do_not() {
    let (temp, store) = store();
    let (large, small) = (text(1, 2 << 20), text(2, 50_000));
    let files: [(&str, &[u8]); 2] = [("db", &large), ("small", &small)];
    let id = snapshot(&store, &files, Compression::Off).snapshot_id;
    store
        .update(&id, &mut |meta| meta.uncompressed_bytes = 1)
        .unwrap();
    // As the base of a delta is, or content that the baseline still has.
    for name in ["db", "small"] {
        fs::hard_link(store.files_dir(&id).join(name), temp.path().join(name)).unwrap();
    }
    store.compact(&Silent).unwrap();
    assert_eq!(names(&store.files_dir(&id)), ["db", "small.zst"]);
    assert_eq!(store.meta(&id).unwrap().uncompressed_bytes, 2 << 20);
    fs::remove_file(temp.path().join("db")).unwrap();
    store.compact(&Silent).unwrap();
    assert_eq!(names(&store.files_dir(&id)), ["db.zst", "small.zst"]);
    assert_eq!(store.meta(&id).unwrap().uncompressed_bytes, 0);
    assert!(content(&store, &id, "db") == large);
    assert_eq!(form(&store, &id, "db"), Form::Zstd);
}

#[test]
fn a_damaged_snapshot_is_warned_of_and_does_not_stop_the_others() {
    let (_temp, store) = store();
    let (bad, good) = (left(&store), left(&store));
    fs::write(store.path().join(bad.as_str()).join("manifest"), "damaged").unwrap();
    let warnings = Warnings::default();
    assert_eq!(store.compact(&warnings).unwrap().snapshots, 1);
    assert_eq!(warnings.0.into_inner(), 1);
    assert_eq!(names(&store.files_dir(&bad)), FILES);
    assert_eq!(names(&store.files_dir(&good)).len(), 3);
    assert!(json(&store, &bad).exists());
}
