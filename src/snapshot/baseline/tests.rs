//! Captures of real trees: what a command does between begin and seal must be found exactly.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Baseline, Beginning, Learnt, Trust};
use crate::entry::EntryKind;
use crate::execute::Cancel;
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::{Event, Progress, Silent};
use crate::request::Limits;
use crate::seal::{Change, ChangeKind, PreImage};
use crate::snapshot::tree::focus::Focus;
use crate::snapshot::{Capture, CaptureRequest, Exclusions, Placement, Room, Sealed};

struct Bench {
    _keep: tempfile::TempDir,
    tree: PathBuf,
    files: PathBuf,
    baseline: Baseline,
    limits: Limits,
    /// What the store has room for.
    room: Room,
    patterns: Vec<String>,
    base: Option<AbsPath>,
}

impl Bench {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), "")
    }

    /// In the directory `within` of a directory.
    fn at(keep: tempfile::TempDir, within: &str) -> Self {
        let root = keep.path().canonicalize().unwrap().join(within);
        for name in ["tree", "files", "baseline"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        Self {
            tree: root.join("tree"),
            files: root.join("files"),
            baseline: Baseline::new(root.join("baseline")),
            limits: Limits {
                min_free_bytes: 0,
                ..Limits::default()
            },
            room: Room::UNLIMITED,
            patterns: Vec::new(),
            base: None,
            _keep: keep,
        }
    }

    fn scope(&self, depth: Depth) -> Vec<ScopePath> {
        scope_of(&self.tree, depth)
    }

    fn begin(&self, scope: &[ScopePath]) -> super::BaselineCapture {
        self.begin_trusting(scope, Vec::new()).0
    }

    fn begin_trusting(
        &self,
        scope: &[ScopePath],
        trusts: Vec<Trust>,
    ) -> (super::BaselineCapture, Vec<Learnt>) {
        let exclusions = Exclusions {
            patterns: self.patterns.clone(),
            base: self.base.clone(),
            ..Exclusions::default()
        };
        let request = CaptureRequest {
            snapshot: "",
            scope,
            exclusions,
            limits: self.limits,
            room: &|_| self.room,
            cancel: &Cancel::default(),
            progress: &Silent,
        };
        let beginning = Beginning {
            trusts,
            keep: super::Keep::Copy,
        };
        self.baseline.begin_with(request, beginning).unwrap()
    }

    fn seal(&self, capture: &mut super::BaselineCapture) -> Sealed {
        capture
            .seal(
                Placement {
                    files: &self.files,
                    prefix: "",
                },
                &Silent,
            )
            .unwrap()
    }

    /// Captures the tree, runs `command`, seals.
    fn run(&self, command: impl FnOnce(&Path)) -> Sealed {
        let mut capture = self.begin(&self.scope(Depth::Tree));
        command(&self.tree);
        let sealed = self.seal(&mut capture);
        Box::new(capture).finish();
        sealed
    }

    fn kinds(&self, sealed: &Sealed) -> BTreeMap<String, ChangeKind> {
        let name = |c: &Change| {
            c.path
                .as_path()
                .strip_prefix(&self.tree)
                .unwrap()
                .display()
                .to_string()
        };
        sealed
            .changes
            .iter()
            .filter(|c| c.kind() != ChangeKind::Incidental)
            .map(|c| (name(c), c.kind()))
            .collect()
    }

    fn stored(&self, sealed: &Sealed, name: &str) -> Vec<u8> {
        let path = self.tree.join(name);
        let change = sealed
            .changes
            .iter()
            .find(|c| c.path.as_path() == path)
            .unwrap();
        match &change.content {
            PreImage::Stored { name, .. } => fs::read(self.files.join(name)).unwrap(),
            other => panic!("{} has {other:?}", path.display()),
        }
    }

    fn objects(&self) -> usize {
        let root = self.tree.parent().unwrap().join("baseline/objects");
        walkdir::WalkDir::new(root)
            .into_iter()
            .filter(|e| e.as_ref().unwrap().file_type().is_file())
            .count()
    }
}

fn scope_of(path: &Path, depth: Depth) -> Vec<ScopePath> {
    vec![ScopePath {
        path: AbsPath::new(path).unwrap(),
        depth,
        reason: "test".into(),
        certainty: Certainty::Likely,
        rule: String::new(),
    }]
}

fn kinds<const N: usize>(expected: [(&str, ChangeKind); N]) -> BTreeMap<String, ChangeKind> {
    expected
        .into_iter()
        .map(|(name, kind)| (name.to_owned(), kind))
        .collect()
}

#[test]
fn an_unchanged_tree_gives_an_empty_record() {
    let bench = Bench::new();
    fs::create_dir_all(bench.tree.join("a/b")).unwrap();
    fs::write(bench.tree.join("a/b/f"), "x").unwrap();
    symlink("f", bench.tree.join("a/b/l")).unwrap();
    for _ in 0..3 {
        assert!(bench.run(|_| ()).changes.is_empty());
    }
}

#[test]
fn every_sort_of_change_is_found_with_its_old_content() {
    let bench = Bench::new();
    let tree = &bench.tree;
    fs::create_dir_all(tree.join("gone/deep")).unwrap();
    fs::write(tree.join("gone/deep/f"), "deep").unwrap();
    fs::write(tree.join("edited"), "old").unwrap();
    fs::write(tree.join("chmodded"), "same").unwrap();
    fs::write(tree.join("was-file"), "file").unwrap();
    fs::create_dir(tree.join("was-dir")).unwrap();
    fs::write(tree.join("was-dir/f"), "inside").unwrap();
    fs::write(tree.join("moved"), "moved").unwrap();
    let sealed = bench.run(|tree| {
        fs::remove_dir_all(tree.join("gone")).unwrap();
        fs::write(tree.join("edited"), "new").unwrap();
        fs::set_permissions(tree.join("chmodded"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_file(tree.join("was-file")).unwrap();
        fs::create_dir(tree.join("was-file")).unwrap();
        fs::write(tree.join("was-file/f"), "x").unwrap();
        fs::remove_dir_all(tree.join("was-dir")).unwrap();
        fs::write(tree.join("was-dir"), "now a file").unwrap();
        fs::rename(tree.join("moved"), tree.join("elsewhere")).unwrap();
        fs::create_dir_all(tree.join("new/sub")).unwrap();
        fs::write(tree.join("new/sub/f"), "new").unwrap();
    });
    use ChangeKind::{Created, Deleted, Metadata, Modified};
    let expected = kinds([
        ("gone", Deleted),
        ("gone/deep", Deleted),
        ("gone/deep/f", Deleted),
        ("edited", Modified),
        ("chmodded", Metadata),
        ("was-file", Modified),
        ("was-file/f", Created),
        ("was-dir", Modified),
        ("was-dir/f", Deleted),
        ("moved", Deleted),
        ("elsewhere", Created),
        ("new", Created),
        ("new/sub", Created),
        ("new/sub/f", Created),
    ]);
    assert_eq!(bench.kinds(&sealed), expected);
    assert_eq!(bench.stored(&sealed, "gone/deep/f"), b"deep");
    assert_eq!(bench.stored(&sealed, "edited"), b"old");
    assert_eq!(bench.stored(&sealed, "was-file"), b"file");
    assert_eq!(bench.stored(&sealed, "was-dir/f"), b"inside");
    assert_eq!(bench.stored(&sealed, "moved"), b"moved");
    assert!(sealed.unobserved.is_empty());
}

#[test]
fn a_rewrite_of_equal_size_with_the_old_times_put_back_is_found() {
    let bench = Bench::new();
    let file = bench.tree.join("f");
    fs::write(&file, "aaaa").unwrap();
    let times = fs::metadata(&file).unwrap();
    let sealed = bench.run(|_| {
        fs::write(&file, "bbbb").unwrap();
        let handle = fs::File::options().write(true).open(&file).unwrap();
        handle.set_modified(times.modified().unwrap()).unwrap();
    });
    assert_eq!(bench.kinds(&sealed), kinds([("f", ChangeKind::Modified)]));
    assert_eq!(bench.stored(&sealed, "f"), b"aaaa");
}

#[test]
fn writes_right_after_the_capture_are_found_whatever_the_clock_says() {
    let bench = Bench::new();
    let file = bench.tree.join("f");
    for round in 0..40u8 {
        fs::write(&file, [round, 0]).unwrap();
        let sealed = bench.run(|_| fs::write(&file, [round, 1]).unwrap());
        assert_eq!(bench.stored(&sealed, "f"), [round, 0], "round {round}");
    }
}

#[test]
fn unchanged_files_are_never_copied_twice_and_old_objects_go() {
    let bench = Bench::new();
    for n in 0..100 {
        fs::write(bench.tree.join(format!("f{n}")), format!("content {n}")).unwrap();
    }
    bench.run(|_| ());
    assert_eq!(bench.objects(), 100);
    for round in 0..3 {
        bench.run(|tree| fs::write(tree.join("f7"), format!("round {round}")).unwrap());
    }
    bench.run(|tree| fs::remove_file(tree.join("f8")).unwrap());
    bench.run(|_| ());
    assert_eq!(bench.objects(), 99);
}

/// A directory's row is divided anew when its size changes much, and keeps referring to the same
/// objects then.
#[test]
fn a_directory_that_grows_and_shrinks_loses_no_object_and_keeps_none_too_many() {
    let bench = Bench::new();
    let file = |number: usize| bench.tree.join(format!("f{number}"));
    let fill = |from: usize, to: usize| {
        for number in from..to {
            fs::write(file(number), number.to_string()).unwrap();
        }
    };
    fill(0, 50);
    bench.run(|_| ());
    fill(50, 400);
    // Sees the directory as it is divided now.
    let long = bench.begin(&bench.scope(Depth::Tree));
    fill(400, 3_000);
    bench.run(|_| ());
    (40..3_000).for_each(|number| fs::remove_file(file(number)).unwrap());
    bench.run(|_| ());
    let mut resumed = bench.baseline.resume(&long.token()).unwrap();
    drop(long);
    let sealed = bench.seal(&mut resumed);
    for number in 40..400 {
        assert_eq!(
            bench.stored(&sealed, &format!("f{number}")),
            number.to_string().as_bytes()
        );
    }
    Box::new(resumed).finish();
    let sealed = bench.run(|_| (0..40).for_each(|number| fs::remove_file(file(number)).unwrap()));
    assert_eq!(bench.stored(&sealed, "f7"), b"7");
    assert_eq!(bench.objects(), 40);
    bench.run(|_| ());
    assert_eq!(bench.objects(), 0);
}

#[test]
fn names_of_one_inode_share_one_object() {
    let bench = Bench::new();
    fs::write(bench.tree.join("a"), "linked").unwrap();
    fs::create_dir(bench.tree.join("d")).unwrap();
    fs::hard_link(bench.tree.join("a"), bench.tree.join("d/b")).unwrap();
    let sealed = bench.run(|tree| {
        fs::remove_file(tree.join("a")).unwrap();
        fs::write(tree.join("d/b"), "written through").unwrap();
    });
    assert_eq!(bench.stored(&sealed, "a"), b"linked");
    assert_eq!(bench.stored(&sealed, "d/b"), b"linked");
    assert_eq!(fs::read_dir(&bench.files).unwrap().count(), 1);
    let inodes: Vec<u64> = sealed
        .changes
        .iter()
        .filter_map(|c| c.before.as_ref().filter(|b| b.is_file()))
        .map(|b| b.identity.inode)
        .collect();
    assert_eq!(inodes.len(), 2);
    assert_eq!(inodes[0], inodes[1]);
    bench.run(|tree| fs::remove_dir_all(tree.join("d")).unwrap());
    bench.run(|_| ());
    assert_eq!(bench.objects(), 0);
}

#[test]
fn a_capture_sees_its_own_beginning_while_others_go_on() {
    let bench = Bench::new();
    let file = bench.tree.join("f");
    fs::write(&file, "first").unwrap();
    let long = bench.begin(&bench.scope(Depth::Tree));
    fs::write(&file, "second").unwrap();
    let inner = bench.run(|_| fs::write(&file, "third").unwrap());
    assert_eq!(bench.stored(&inner, "f"), b"second");
    fs::remove_dir_all(&bench.files).unwrap();
    fs::create_dir(&bench.files).unwrap();
    let token = long.token();
    drop(long);
    let mut resumed = bench.baseline.resume(&token).unwrap();
    let sealed = bench.seal(&mut resumed);
    assert_eq!(bench.stored(&sealed, "f"), b"first");
    Box::new(resumed).finish();
    bench.run(|_| ());
    assert_eq!(
        bench.objects(),
        1,
        "old versions stay when nobody needs them"
    );
}

#[test]
fn what_is_excluded_is_neither_missing_nor_new() {
    let mut bench = Bench::new();
    bench.patterns = vec!["*.log".into(), "cache/".into()];
    fs::create_dir(bench.tree.join("cache")).unwrap();
    fs::write(bench.tree.join("cache/x"), "x").unwrap();
    fs::write(bench.tree.join("a.log"), "x").unwrap();
    fs::write(bench.tree.join(".deployxignore"), "secret\n").unwrap();
    fs::write(bench.tree.join("secret"), "x").unwrap();
    let sealed = bench.run(|tree| {
        fs::remove_dir_all(tree.join("cache")).unwrap();
        fs::remove_file(tree.join("a.log")).unwrap();
        fs::write(tree.join("b.log"), "new").unwrap();
        fs::write(tree.join("secret"), "changed").unwrap();
        // Rules are frozen: dropping them now changes nothing.
        fs::write(tree.join(".deployxignore"), "\n").unwrap();
        fs::write(tree.join("seen"), "new").unwrap();
    });
    let expected = kinds([
        (".deployxignore", ChangeKind::Modified),
        ("seen", ChangeKind::Created),
    ]);
    assert_eq!(bench.kinds(&sealed), expected);
}

#[test]
fn rules_of_the_working_directory_hold_for_roots_beneath_it() {
    let mut bench = Bench::new();
    bench.patterns = vec!["/cache/".into(), "*.log".into()];
    bench.base = AbsPath::new(&bench.tree).ok();
    fs::create_dir_all(bench.tree.join("cache/deep")).unwrap();
    fs::create_dir_all(bench.tree.join("logs/cache")).unwrap();
    fs::write(bench.tree.join("logs/.deployxignore"), "secret\n").unwrap();
    let files = [
        "cache/deep/x",
        "logs/a.log",
        "logs/secret",
        "logs/b",
        "logs/cache/c",
    ];
    for file in files {
        fs::write(bench.tree.join(file), "old").unwrap();
    }
    let mut scope = Vec::new();
    for root in [
        "cache/deep/x",
        "logs/a.log",
        "logs/secret",
        "logs/b",
        "logs/cache",
    ] {
        scope.extend(scope_of(&bench.tree.join(root), Depth::Tree));
    }
    let mut capture = bench.begin(&scope);
    for file in files {
        fs::write(bench.tree.join(file), "changed").unwrap();
    }
    // Rules are frozen.
    fs::remove_file(bench.tree.join("logs/.deployxignore")).unwrap();
    let sealed = bench.seal(&mut capture);
    let expected = kinds([
        ("logs/b", ChangeKind::Modified),
        ("logs/cache/c", ChangeKind::Modified),
    ]);
    assert_eq!(bench.kinds(&sealed), expected);
}

#[test]
fn a_root_that_is_not_there_yet_is_found_with_everything_in_it() {
    let bench = Bench::new();
    let new = bench.tree.join("new");
    for depth in [Depth::Entry, Depth::Children, Depth::Tree] {
        let mut capture = bench.begin(&scope_of(&new, depth));
        fs::create_dir_all(new.join("a/b")).unwrap();
        fs::write(new.join("a/b/f"), "x").unwrap();
        let sealed = bench.seal(&mut capture);
        Box::new(capture).finish();
        assert_eq!(sealed.changes.len(), 4, "{depth:?}");
        assert!(sealed.changes.iter().all(|c| c.before.is_none()));
        fs::remove_dir_all(&new).unwrap();
    }
}

#[test]
fn a_deleted_root_is_recorded_with_everything_in_it() {
    let bench = Bench::new();
    fs::create_dir(bench.tree.join("d")).unwrap();
    fs::write(bench.tree.join("d/f"), "x").unwrap();
    let sealed = bench.run(|tree| fs::remove_dir_all(tree).unwrap());
    assert_eq!(sealed.changes.len(), 3);
    assert!(sealed.changes.iter().all(|c| c.after.is_none()));
}

#[test]
fn a_shallow_look_does_not_forget_what_is_known_of_the_inside() {
    let bench = Bench::new();
    fs::create_dir(bench.tree.join("d")).unwrap();
    fs::write(bench.tree.join("d/f"), "x").unwrap();
    bench.run(|_| ());
    let mut capture = bench.begin(&bench.scope(Depth::Entry));
    fs::write(bench.tree.join("d/g"), "not in the scope").unwrap();
    fs::write(bench.tree.join("h"), "not in the scope either").unwrap();
    let sealed = bench.seal(&mut capture);
    Box::new(capture).finish();
    assert_eq!(bench.kinds(&sealed), BTreeMap::new());
    assert_eq!(bench.objects(), 1);
}

#[test]
fn files_over_the_limits_keep_their_metadata_and_are_named() {
    let mut bench = Bench::new();
    bench.limits.max_file_bytes = 10;
    bench.limits.max_bytes = 12;
    fs::write(bench.tree.join("large"), "more than ten bytes").unwrap();
    fs::write(bench.tree.join("a"), "12345678").unwrap();
    fs::write(bench.tree.join("b"), "1234").unwrap();
    let mut capture = bench.begin(&bench.scope(Depth::Tree));
    let names: Vec<String> = capture
        .unobserved()
        .iter()
        .map(|u| u.path.to_string())
        .collect();
    assert!(names.iter().any(|n| n.ends_with("/large")), "{names:?}");
    fs::write(bench.tree.join("large"), "x").unwrap();
    let sealed = bench.seal(&mut capture);
    let change = sealed
        .changes
        .iter()
        .find(|c| c.path.as_path().ends_with("large"))
        .unwrap();
    assert!(matches!(change.content, PreImage::Lost { .. }));
}

#[test]
fn a_walk_that_reached_its_bounds_never_calls_anything_new_or_gone() {
    let mut bench = Bench::new();
    for n in 0..20 {
        fs::create_dir(bench.tree.join(format!("d{n}"))).unwrap();
        fs::write(bench.tree.join(format!("d{n}/f")), "x").unwrap();
    }
    bench.limits.max_entries = 5;
    let mut capture = bench.begin(&bench.scope(Depth::Tree));
    assert!(!capture.unobserved().is_empty());
    let sealed = bench.seal(&mut capture);
    assert!(sealed.changes.is_empty(), "{:?}", sealed.changes);
}

#[test]
fn special_entries_are_recorded_without_being_opened() {
    let bench = Bench::new();
    let make = |name: &str, kind| {
        let dir = crate::sys::Dir::open(&AbsPath::new(&*bench.tree).unwrap()).unwrap();
        dir.make_node(name.as_ref(), kind, None).unwrap();
    };
    make("fifo", EntryKind::Fifo);
    make("socket", EntryKind::Socket);
    let sealed = bench.run(|tree| {
        fs::remove_file(tree.join("fifo")).unwrap();
        fs::remove_file(tree.join("socket")).unwrap();
    });
    let found: Vec<_> = sealed
        .changes
        .iter()
        .filter_map(|c| c.before.as_ref().map(|b| b.kind))
        .collect();
    assert!(found.contains(&EntryKind::Fifo) && found.contains(&EntryKind::Socket));
}

#[test]
fn a_damaged_index_is_built_anew() {
    let bench = Bench::new();
    fs::write(bench.tree.join("f"), "x").unwrap();
    bench.run(|_| ());
    let index = bench.tree.parent().unwrap().join("baseline/index.sqlite");
    fs::write(
        &index,
        "not a database at all, but long enough to look like one",
    )
    .unwrap();
    let sealed = bench.run(|tree| fs::write(tree.join("f"), "y").unwrap());
    assert_eq!(bench.stored(&sealed, "f"), b"x");
}

#[test]
fn reading_a_file_for_its_backup_leaves_its_access_time_alone() {
    let bench = Bench::new();
    let file = bench.tree.join("f");
    fs::write(&file, "x").unwrap();
    let handle = fs::File::options().write(true).open(&file).unwrap();
    let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    handle
        .set_times(fs::FileTimes::new().set_accessed(past).set_modified(past))
        .unwrap();
    drop(handle);
    bench.run(|_| ());
    assert_eq!(fs::metadata(&file).unwrap().atime(), 1_000_000);
}

#[test]
fn what_was_long_in_no_scope_is_forgotten_and_nothing_else() {
    let bench = Bench::new();
    fs::create_dir(bench.tree.join("d")).unwrap();
    fs::write(bench.tree.join("f"), "x").unwrap();
    fs::write(bench.tree.join("d/f"), "x").unwrap();
    bench.run(|_| ());
    assert_eq!(bench.objects(), 2);
    let day = std::time::Duration::from_secs(86_400);
    assert_eq!(bench.baseline.forget_unused(day).unwrap(), 0);
    // A second capture of a part keeps that part in use.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let capture = bench.begin(&scope_of(&bench.tree.join("d"), Depth::Tree));
    let second = std::time::Duration::from_secs(1);
    assert_eq!(
        bench.baseline.forget_unused(second).unwrap(),
        0,
        "a capture is in progress"
    );
    Box::new(capture).finish();
    assert_eq!(bench.baseline.forget_unused(second).unwrap(), 1);
    assert_eq!(bench.objects(), 1);
    let sealed = bench.run(|tree| fs::write(tree.join("f"), "y").unwrap());
    assert_eq!(bench.stored(&sealed, "f"), b"x");
}

#[test]
fn a_directory_above_a_root_keeps_nothing_beneath_in_use() {
    let bench = Bench::new();
    fs::create_dir(bench.tree.join("d")).unwrap();
    fs::write(bench.tree.join("d/f"), "x").unwrap();
    bench.run(|_| ());
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    Box::new(bench.begin(&bench.scope(Depth::Entry))).finish();
    let second = std::time::Duration::from_secs(1);
    assert_eq!(bench.baseline.forget_unused(second).unwrap(), 1);
    assert_eq!(bench.objects(), 0);
}

#[test]
fn objects_of_a_capture_that_died_go_and_those_that_rows_refer_to_stay() {
    let bench = Bench::new();
    fs::write(bench.tree.join("f"), "x").unwrap();
    bench.run(|_| ());
    let baseline = bench.tree.parent().unwrap().join("baseline");
    let index = rusqlite::Connection::open(baseline.join("index.sqlite")).unwrap();
    let claims: i64 = index
        .query_row("SELECT count(*) FROM claims", [], |r| r.get(0))
        .unwrap();
    assert_eq!(claims, 0, "committed objects must not be claimed any more");
    // A process that never was took two numbers and made one object.
    index
        .execute("INSERT INTO claims VALUES (500, 2, 4194305, 1)", [])
        .unwrap();
    fs::write(baseline.join("objects/0/501"), "half").unwrap();
    bench.run(|_| ());
    assert_eq!(bench.objects(), 1);
    let sealed = bench.run(|tree| fs::write(tree.join("f"), "y").unwrap());
    assert_eq!(bench.stored(&sealed, "f"), b"x");
}

#[test]
fn a_lost_object_costs_its_entry_and_no_other() {
    let bench = Bench::new();
    fs::write(bench.tree.join("a"), "1").unwrap();
    fs::write(bench.tree.join("b"), "2").unwrap();
    bench.run(|_| ());
    let objects = bench.tree.parent().unwrap().join("baseline/objects/0");
    let first = fs::read_dir(&objects).unwrap().map(|f| f.unwrap().path());
    let one = first
        .into_iter()
        .find(|p| fs::read(p).unwrap() == b"1")
        .unwrap();
    fs::remove_file(one).unwrap();
    let sealed = bench.run(|tree| {
        fs::write(tree.join("a"), "x").unwrap();
        fs::write(tree.join("b"), "y").unwrap();
    });
    assert_eq!(bench.stored(&sealed, "b"), b"2");
    let lost = sealed
        .changes
        .iter()
        .find(|c| c.path.as_path().ends_with("a"))
        .unwrap();
    assert!(matches!(lost.content, PreImage::Lost { .. }));
}

#[test]
fn first_captures_at_the_same_time_do_not_take_the_baseline_from_each_other() {
    for _ in 0..10 {
        let bench = Bench::new();
        let trees: Vec<PathBuf> = (0..6)
            .map(|number| {
                let tree = bench.tree.join(number.to_string());
                fs::create_dir(&tree).unwrap();
                fs::write(tree.join("f"), format!("content {number}")).unwrap();
                tree
            })
            .collect();
        let captures: Vec<_> = std::thread::scope(|threads| {
            let begun: Vec<_> = trees
                .iter()
                .map(|tree| threads.spawn(|| bench.begin(&scope_of(tree, Depth::Tree))))
                .collect();
            begun.into_iter().map(|t| t.join().unwrap()).collect()
        });
        for (number, mut capture) in captures.into_iter().enumerate() {
            fs::remove_file(trees[number].join("f")).unwrap();
            let sealed = bench.seal(&mut capture);
            let stored = bench.stored(&sealed, &format!("{number}/f"));
            assert_eq!(stored, format!("content {number}").into_bytes());
            fs::remove_dir_all(&bench.files).unwrap();
            fs::create_dir(&bench.files).unwrap();
        }
    }
}

/// Does something once, when the first walk of a capture has ended.
struct AfterWalk<F>(std::sync::Mutex<Option<F>>);

impl<F: FnOnce() + Send> Progress for AfterWalk<F> {
    fn event(&self, event: Event) {
        if matches!(event, Event::End)
            && let Some(work) = self.0.lock().unwrap().take()
        {
            work();
        }
    }
}

#[test]
fn what_a_capture_has_read_outlives_what_others_write_before_it_commits() {
    let bench = Bench::new();
    fs::write(bench.tree.join("f"), "old").unwrap();
    bench.run(|_| {});
    let scope = bench.scope(Depth::Tree);
    let meanwhile = || {
        fs::write(bench.tree.join("f"), "new").unwrap();
        Box::new(bench.begin(&scope)).finish();
    };
    let request = CaptureRequest {
        snapshot: "",
        scope: &scope,
        exclusions: Exclusions::default(),
        limits: bench.limits,
        room: &|_| Room::UNLIMITED,
        cancel: &Cancel::default(),
        progress: &AfterWalk(std::sync::Mutex::new(Some(meanwhile))),
    };
    let mut capture = bench.baseline.begin(request, super::Keep::Copy).unwrap();
    let sealed = bench.seal(&mut capture);
    assert_eq!(bench.stored(&sealed, "f"), b"old");
}

/// Files of which content was left out, by name.
fn left_out(capture: &super::BaselineCapture) -> Vec<String> {
    let names = capture.unobserved().iter().map(|one| {
        assert!(one.reason.starts_with("no room left"), "{}", one.reason);
        one.path.name().unwrap().to_string_lossy().into_owned()
    });
    names.collect()
}

#[test]
fn content_beyond_the_stores_room_is_left_out_the_largest_first() {
    let mut bench = Bench::new();
    for (name, size) in [("a", 9_000), ("b", 30_000), ("c", 12_000)] {
        fs::write(bench.tree.join(name), vec![b'x'; size]).unwrap();
    }
    bench.room.bytes = 25_000;
    let scope = bench.scope(Depth::Tree);
    let capture = bench.begin(&scope);
    assert_eq!(left_out(&capture), ["b"]);
    Box::new(capture).finish();
    // What is kept already needs no room.
    bench.room.bytes = 30_000;
    assert_eq!(left_out(&bench.begin(&scope)), Vec::<String>::new());
}

#[test]
fn files_beyond_the_inodes_there_are_keep_their_metadata_only() {
    let mut bench = Bench::new();
    for number in 0..20 {
        fs::write(bench.tree.join(format!("f{number}")), "content").unwrap();
    }
    bench.room.files = 5;
    let scope = bench.scope(Depth::Tree);
    assert_eq!(left_out(&bench.begin(&scope)).len(), 15);
}

#[test]
fn room_is_asked_for_what_is_new() {
    let bench = Bench::new();
    fs::write(bench.tree.join("a"), vec![1; 5_000]).unwrap();
    fs::write(bench.tree.join("b"), vec![2; 7_000]).unwrap();
    fs::hard_link(bench.tree.join("a"), bench.tree.join("same")).unwrap();
    let asked = std::sync::Mutex::new(Vec::new());
    let scope = bench.scope(Depth::Tree);
    let begin = || {
        let request = CaptureRequest {
            snapshot: "",
            scope: &scope,
            exclusions: Exclusions::default(),
            limits: bench.limits,
            room: &|needed| {
                asked.lock().unwrap().push((needed.bytes, needed.files));
                needed
            },
            cancel: &Cancel::default(),
            progress: &Silent,
        };
        let capture = bench.baseline.begin(request, super::Keep::Copy).unwrap();
        Box::new(capture).finish();
    };
    begin();
    fs::write(bench.tree.join("c"), vec![3; 1_000]).unwrap();
    begin();
    assert_eq!(*asked.lock().unwrap(), [(12_000, 2), (1_000, 1)]);
}

#[test]
fn the_index_stays_open_between_captures() {
    let bench = Bench::new();
    let log = bench
        .tree
        .parent()
        .unwrap()
        .join("baseline/index.sqlite-wal");
    bench.run(|tree| fs::write(tree.join("a"), "1").unwrap());
    // It goes when the last one closes the index.
    let inode = fs::metadata(&log).unwrap().ino();
    bench.run(|tree| fs::write(tree.join("b"), "1").unwrap());
    assert_eq!(fs::metadata(&log).unwrap().ino(), inode);
    let Bench {
        _keep, baseline, ..
    } = bench;
    drop(baseline);
    assert!(!log.exists());
}

#[test]
fn a_baseline_that_was_deleted_between_captures_is_built_anew() {
    let bench = Bench::new();
    fs::write(bench.tree.join("a"), "1").unwrap();
    bench.run(|_| {});
    let root = bench.tree.parent().unwrap().join("baseline");
    fs::remove_dir_all(&root).unwrap();
    fs::create_dir(&root).unwrap();
    let sealed = bench.run(|tree| fs::write(tree.join("a"), "22").unwrap());
    assert_eq!(bench.stored(&sealed, "a"), b"1");
    assert!(root.join("index.sqlite").exists());
}

/// A volume on which names that differ only in case are the same, unmounted in the end.
struct Folding(PathBuf);

impl Folding {
    fn mounted(test: &str, at: &Path) -> Option<Self> {
        let script = "truncate -s 16M image && mkdir at && mkntfs -F -Q -q image && \
                      lowntfs-3g -o ignore_case image at";
        let shell = std::process::Command::new("sh")
            .args(["-c", script])
            .current_dir(at)
            .output();
        if !shell.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED {test}: needs mkntfs and lowntfs-3g as root");
            return None;
        }
        Some(Self(at.join("at")))
    }
}

impl Drop for Folding {
    fn drop(&mut self) {
        // Its index may still be open.
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_change_that_is_told_in_another_spelling_is_seen() {
    let keep = tempfile::tempdir().unwrap();
    let test = "a_change_that_is_told_in_another_spelling_is_seen";
    let Some(volume) = Folding::mounted(test, keep.path()) else {
        return;
    };
    let bench = Bench::at(keep, "at");
    fs::write(bench.tree.join("name"), "first").unwrap();
    let scope = bench.scope(Depth::Tree);
    let (capture, mut learnt) = bench.begin_trusting(&scope, Vec::new());
    Box::new(capture).finish();
    fs::write(bench.tree.join("NAME"), "second").unwrap();
    let learnt = learnt.remove(0);
    let mut focus = Focus::default();
    focus.mark(AbsPath::new(bench.tree.join("NAME")).unwrap());
    let trust = Trust {
        captured_as: learnt.root.clone(),
        root: learnt.root,
        generation: learnt.generation.unwrap(),
        fitting: Vec::new(),
        focus,
        besides: learnt.besides,
    };
    let (mut capture, _) = bench.begin_trusting(&scope, vec![trust]);
    fs::remove_file(bench.tree.join("name")).unwrap();
    let sealed = bench.seal(&mut capture);
    assert_eq!(bench.stored(&sealed, "name"), b"second");
    Box::new(capture).finish();
    drop(volume);
}

/// Cancels with an event of the capture, by its number.
struct CancelAt {
    cancel: Cancel,
    left: AtomicUsize,
}

impl crate::progress::Progress for CancelAt {
    fn event(&self, _: crate::progress::Event) {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if left.is_err() {
            self.cancel.cancel();
        }
    }
}

/// The objects of a baseline.
fn objects_of(bench: &Bench) -> usize {
    let root = bench.files.parent().unwrap().join("baseline/objects");
    let directories = fs::read_dir(root)
        .map(Iterator::flatten)
        .into_iter()
        .flatten();
    directories
        .map(|directory| fs::read_dir(directory.path()).unwrap().count())
        .sum()
}

#[test]
fn a_capture_that_is_cancelled_at_any_moment_leaves_nothing_and_the_next_is_right() {
    let bench = Bench::new();
    fs::create_dir_all(bench.tree.join("beneath")).unwrap();
    for at in 0..100 {
        fs::write(
            bench.tree.join(format!("beneath/{at}")),
            format!("content {at}"),
        )
        .unwrap();
    }
    let scope = bench.scope(Depth::Tree);
    let mut cancelled = 0;
    loop {
        let progress = CancelAt {
            cancel: Cancel::default(),
            left: cancelled.into(),
        };
        let request = CaptureRequest {
            snapshot: "",
            scope: &scope,
            exclusions: Exclusions::default(),
            limits: bench.limits,
            room: &|_| Room::UNLIMITED,
            cancel: &progress.cancel,
            progress: &progress,
        };
        match bench.baseline.begin(request, super::Keep::Copy) {
            Ok(capture) => {
                Box::new(capture).finish();
                break;
            }
            Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Cancelled, "{error}"),
        }
        assert_eq!(objects_of(&bench), 0, "cancelled at event {cancelled}");
        cancelled += 1;
    }
    assert!(
        cancelled > 3,
        "there are moments in the walk and while content is copied"
    );
    let mut capture = bench.begin(&scope);
    assert_eq!(objects_of(&bench), 100);
    fs::write(bench.tree.join("beneath/7"), "other").unwrap();
    let sealed = bench.seal(&mut capture);
    let changed: Vec<String> = sealed.changes.iter().map(|c| c.path.to_string()).collect();
    assert!(
        changed.iter().any(|path| path.ends_with("beneath/7")),
        "{changed:?}"
    );
    let PreImage::Stored { name, .. } = &sealed
        .changes
        .iter()
        .find(|c| c.path.to_string().ends_with("/7"))
        .unwrap()
        .content
    else {
        panic!("the content is there");
    };
    assert_eq!(
        fs::read_to_string(bench.files.join(name)).unwrap(),
        "content 7"
    );
}

#[test]
fn what_a_capture_that_was_given_up_had_no_time_to_remove_goes_with_the_next_one() {
    let bench = Bench::new();
    fs::write(bench.tree.join("file"), "content").unwrap();
    let scope = bench.scope(Depth::Tree);
    Box::new(bench.begin(&scope)).finish();
    let before = objects_of(&bench);
    let root = bench.files.parent().unwrap().join("baseline");
    let mut index =
        super::index::Index::open(&root.join("index.sqlite"), Duration::from_secs(30)).unwrap();
    let objects = super::objects::Objects::open(root.join("objects")).unwrap();
    let first = index.reserve_serials(2000).unwrap();
    objects.prepare(first, 2000).unwrap();
    for serial in [first, first + 1024, first + 1999] {
        fs::write(objects.path(serial), "left").unwrap();
    }
    let asked = AtomicUsize::new(0);
    let once = || asked.fetch_add(1, Ordering::SeqCst) == 0;
    super::begin::give_back(&mut index, &objects, (first, 2000), &once).unwrap();
    assert_eq!(
        objects_of(&bench),
        before + 2,
        "those behind the first thousand are left"
    );
    drop(index);
    Box::new(bench.begin(&scope)).finish();
    assert_eq!(objects_of(&bench), before);
}
