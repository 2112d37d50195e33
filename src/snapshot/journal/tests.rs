//! What events tell against what a walk sees.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Events, Journal};
use crate::execute::Cancel;
use crate::infer::{Certainty, Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::Limits;
use crate::seal::{Change, PreImage};
use crate::snapshot::baseline::{Baseline, Keep};
use crate::snapshot::probe::Probes;
use crate::snapshot::volumes::Volumes;
use crate::snapshot::{
    Capture, CaptureRequest, Exclusions, Placement, Room, Sealed, SnapshotStrategy,
};
use crate::store::{Store, StoreOptions};

/// A tree that is captured in two ways at once.
struct Bench {
    _keep: tempfile::TempDir,
    tree: PathBuf,
    files: [PathBuf; 2],
    journal: Journal,
    judge: Baseline,
    patterns: Vec<String>,
}

/// The same changes as `journal` and as a walk see them.
struct Both {
    journal: Sealed,
    walk: Sealed,
}

impl Bench {
    fn new(events: Events) -> Option<Self> {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().canonicalize().unwrap();
        for name in ["tree", "walked", "told", "judge"] {
            fs::create_dir(root.join(name)).unwrap();
        }
        let options = StoreOptions {
            create: true,
            key: None,
            lock_timeout: std::time::Duration::from_secs(10),
        };
        let store = Store::open(&root.join("store"), options).unwrap();
        let probes = Arc::new(Probes::new(store.path()));
        let journal = Journal::new(Arc::new(Volumes::new(store, probes)), events);
        let tree = root.join("tree");
        if let Err(why) = journal.probe(&AbsPath::new(&*tree).unwrap()) {
            println!("SKIPPED snapshot::journal::tests with {events:?}: needs {why}");
            return None;
        }
        Some(Self {
            tree,
            files: [root.join("told"), root.join("walked")],
            journal,
            judge: Baseline::new(root.join("judge")),
            patterns: Vec::new(),
            _keep: keep,
        })
    }

    fn scope(&self, of: &Path) -> Vec<ScopePath> {
        let _ = self;
        vec![ScopePath {
            path: AbsPath::new(of).unwrap(),
            depth: Depth::Tree,
            reason: String::new(),
            certainty: Certainty::Certain,
            rule: String::new(),
        }]
    }

    fn exclusions(&self) -> Exclusions {
        Exclusions {
            patterns: self.patterns.clone(),
            ..Exclusions::default()
        }
    }

    /// Captures `of`, does something, seals; both must see the same.
    fn run(&self, of: &Path, command: impl FnOnce()) -> Both {
        for files in &self.files {
            fs::remove_dir_all(files).unwrap();
            fs::create_dir(files).unwrap();
        }
        let scope = self.scope(of);
        let cancel = Cancel::default();
        let request = || CaptureRequest {
            snapshot: "",
            scope: &scope,
            exclusions: self.exclusions(),
            limits: Limits {
                min_free_bytes: 0,
                ..Limits::default()
            },
            room: &|_| Room::UNLIMITED,
            cancel: &cancel,
            progress: &Silent,
        };
        let mut told = self.journal.begin(request()).unwrap();
        let mut walked = self.judge.begin(request(), Keep::Copy).unwrap();
        command();
        let seal = |capture: &mut dyn Capture, files: &Path| {
            capture
                .seal(Placement { files, prefix: "" }, &Silent)
                .unwrap()
        };
        let journal = seal(&mut *told, &self.files[0]);
        let walk = seal(&mut walked, &self.files[1]);
        told.finish();
        Box::new(walked).finish();
        let both = Both { journal, walk };
        self.compare(&both);
        both
    }

    fn compare(&self, both: &Both) {
        let told: Vec<_> = both
            .journal
            .changes
            .iter()
            .map(|c| self.plain(c, 0))
            .collect();
        let walked: Vec<_> = both.walk.changes.iter().map(|c| self.plain(c, 1)).collect();
        for change in &walked {
            assert!(told.contains(change), "not told: {change:#?}");
        }
        for change in &told {
            assert!(walked.contains(change), "told without need: {change:#?}");
        }
    }

    /// A change without what may differ between two captures: names of stored files, access times,
    /// what tells versions apart.
    fn plain(&self, change: &Change, which: usize) -> (String, String, Option<Vec<u8>>) {
        let mut change = change.clone();
        for state in change.before.iter_mut().chain(&mut change.after) {
            state.identity.changed = crate::entry::Timestamp::default();
            state.accessed = crate::entry::Timestamp::default();
            state.allocated = 0;
        }
        let content = match &change.content {
            PreImage::Stored { name, .. } => Some(fs::read(self.files[which].join(name)).unwrap()),
            _ => None,
        };
        if let PreImage::Stored { name, .. } = &mut change.content {
            name.clear();
        }
        (change.path.to_string(), format!("{change:?}"), content)
    }

    fn walked(both: &Both) -> bool {
        both.journal
            .notes
            .iter()
            .any(|note| note.contains("walked"))
    }

    /// Walked although nothing was lost. What other tests do can overflow the queue of a mark, which
    /// sees all of their filesystem.
    fn walked_without_need(both: &Both) -> bool {
        both.journal
            .notes
            .iter()
            .any(|note| note.contains("walked") && !note.contains("overflowed"))
    }
}

/// Some directories and files.
fn plant(tree: &Path, rng: &mut StdRng) {
    for number in 0..30 {
        let dir = tree.join(format!("d{}/e{}", number % 5, number % 3));
        fs::create_dir_all(&dir).unwrap();
        let length = rng.random_range(0..5_000);
        fs::write(dir.join(format!("f{number}")), vec![b'x'; length]).unwrap();
    }
    // Its row in the index is in pages.
    let many = tree.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..300 {
        fs::write(many.join(format!("m{number}")), number.to_string()).unwrap();
    }
}

/// Every directory and every other entry of the tree.
fn entries(tree: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let all = walkdir::WalkDir::new(tree).into_iter().flatten();
    let (dirs, files): (Vec<_>, Vec<_>) = all.partition(|e| e.file_type().is_dir());
    let paths = |found: Vec<walkdir::DirEntry>| {
        found
            .into_iter()
            .map(walkdir::DirEntry::into_path)
            .collect()
    };
    (paths(dirs), paths(files))
}

/// One change somewhere in the tree; whether it is possible does not matter.
fn change(tree: &Path, rng: &mut StdRng) {
    let (dirs, files) = entries(tree);
    let dir = dirs[rng.random_range(0..dirs.len())].clone();
    let other = dirs[rng.random_range(0..dirs.len())].clone();
    let file = match files.len() {
        0 => dir.join("none"),
        count => files[rng.random_range(0..count)].clone(),
    };
    let name = format!("n{}", rng.random_range(0..12));
    let _ = match rng.random_range(0..16) {
        0 | 1 => fs::write(dir.join(&name), vec![b'n'; rng.random_range(0..3_000)]),
        2 => fs::write(&file, b"rewritten"),
        3 => fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut f| std::io::Write::write_all(&mut f, b"more")),
        4 => fs::remove_file(&file),
        5 => fs::create_dir_all(dir.join(&name).join("deep/er")),
        6 if dir != tree => fs::remove_dir_all(&dir),
        7 | 8 if dir != tree => fs::rename(&dir, other.join(&name)),
        9 => fs::rename(&file, dir.join(&name)),
        10 => fs::set_permissions(&file, fs::Permissions::from_mode(0o640)),
        11 => fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)),
        12 => symlink("target", dir.join(&name)),
        13 => fs::hard_link(&file, dir.join(&name)),
        14 => fs::File::open(&file).and_then(|f| f.set_modified(std::time::UNIX_EPOCH)),
        _ => fs::OpenOptions::new()
            .write(true)
            .open(&file)
            .and_then(|f| f.set_len(7)),
    };
}

fn random_changes_are_told(events: Events) {
    let rounds = match std::env::var("DEPLOYX_TEST_JOURNAL_CASES") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 40,
    };
    for seed in 0..=(rounds / 20) {
        let Some(bench) = Bench::new(events) else {
            return;
        };
        let mut rng = StdRng::seed_from_u64(seed);
        plant(&bench.tree, &mut rng);
        for round in 0..20 {
            println!("seed {seed}, round {round}");
            // Between commands others change things too.
            for _ in 0..rng.random_range(0..6) {
                change(&bench.tree, &mut rng);
            }
            let mut inner = StdRng::seed_from_u64(seed * 1000 + round);
            bench.run(&bench.tree, || {
                for _ in 0..inner.random_range(0..12) {
                    change(&bench.tree, &mut inner);
                }
            });
        }
    }
}

/// Names that are made in a directory with many are seen, and a file that has got another name in the
/// same directory costs no walk.
#[test]
fn a_few_of_many_names_need_no_walk() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(bench) = Bench::new(events) else {
            return;
        };
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        let many = bench.tree.join("many");
        bench.run(&bench.tree, || {});
        fs::write(many.join("m7"), b"between").unwrap();
        fs::remove_file(many.join("m8")).unwrap();
        fs::write(many.join("new"), b"between").unwrap();
        let both = bench.run(&bench.tree, || {
            fs::write(many.join("m7"), b"within").unwrap();
            fs::write(many.join("new"), b"within").unwrap();
            fs::remove_file(many.join("m9")).unwrap();
            fs::rename(many.join("m10"), many.join("m11")).unwrap();
            fs::hard_link(many.join("m12"), many.join("linked")).unwrap();
            fs::create_dir(many.join("sub")).unwrap();
            fs::write(many.join("sub/f"), b"within").unwrap();
        });
        assert_eq!(both.journal.changes.len(), 10);
        assert!(
            !Bench::walked_without_need(&both),
            "{:?}",
            both.journal.notes
        );
        let both = bench.run(&bench.tree, || {
            fs::remove_dir_all(many.join("sub")).unwrap();
            fs::remove_file(many.join("m12")).unwrap();
        });
        assert_eq!(both.journal.changes.len(), 5);
        bench.run(&bench.tree, || fs::remove_dir_all(&many).unwrap());
    }
}

#[test]
fn random_changes_told_by_marks_are_those_that_a_walk_sees() {
    random_changes_are_told(Events::Fanotify);
}

#[test]
fn random_changes_told_by_watches_are_those_that_a_walk_sees() {
    random_changes_are_told(Events::Inotify);
}

#[test]
fn a_part_of_a_watched_tree_needs_no_walk() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(bench) = Bench::new(events) else {
            continue;
        };
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        bench.run(&bench.tree, || {});
        let part = bench.tree.join("d1");
        let both = bench.run(&part, || fs::write(part.join("e0/new"), b"x").unwrap());
        assert!(
            !Bench::walked_without_need(&both),
            "{:?}",
            both.journal.notes
        );
        fs::write(part.join("e0/new"), b"y").unwrap();
        fs::write(bench.tree.join("d2/e0/between"), b"y").unwrap();
        bench.run(&bench.tree, || {
            fs::remove_file(part.join("e0/new")).unwrap();
            fs::remove_file(bench.tree.join("d2/e0/between")).unwrap();
        });
    }
}

#[test]
fn another_capture_of_the_same_tree_is_noticed() {
    let Some(bench) = Bench::new(Events::Inotify) else {
        return;
    };
    plant(&bench.tree, &mut StdRng::seed_from_u64(1));
    bench.run(&bench.tree, || {});
    // One that leaves things out writes rows that are no use to others.
    let other = bench.journal.volumes.own().clone();
    let scope = bench.scope(&bench.tree);
    let request = CaptureRequest {
        snapshot: "",
        scope: &scope,
        exclusions: Exclusions {
            patterns: vec!["f1*".into()],
            ..Exclusions::default()
        },
        limits: Limits::default(),
        room: &|_| Room::UNLIMITED,
        cancel: &Cancel::default(),
        progress: &Silent,
    };
    Box::new(other.begin(request, Keep::Copy).unwrap()).finish();
    let victim = entries(&bench.tree)
        .1
        .into_iter()
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("f1")
        })
        .unwrap();
    bench.run(&bench.tree, || fs::remove_file(&victim).unwrap());
}

#[test]
fn an_ignore_file_that_appears_holds_from_the_next_command_on() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(bench) = Bench::new(events) else {
            continue;
        };
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        bench.run(&bench.tree, || {});
        fs::write(bench.tree.join("d1/.deployxignore"), "*.log\n").unwrap();
        let outside = bench.tree.parent().unwrap().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join(".deployxignore"), "*.tmp\n").unwrap();
        fs::rename(&outside, bench.tree.join("moved")).unwrap();
        bench.run(&bench.tree, || {
            fs::write(bench.tree.join("d1/e0/x.log"), b"x").unwrap();
            fs::write(bench.tree.join("moved/x.tmp"), b"x").unwrap();
            fs::write(bench.tree.join("moved/x.log"), b"x").unwrap();
        });
    }
}

#[test]
fn excluded_entries_stay_excluded_in_new_directories() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(mut bench) = Bench::new(events) else {
            continue;
        };
        bench.patterns = vec!["cache/".into(), "*.log".into()];
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        bench.run(&bench.tree, || {});
        let both = bench.run(&bench.tree, || {
            fs::create_dir_all(bench.tree.join("new/cache/deep")).unwrap();
            fs::write(bench.tree.join("new/cache/deep/f"), b"x").unwrap();
            fs::write(bench.tree.join("new/kept"), b"x").unwrap();
            fs::write(bench.tree.join("d1/x.log"), b"x").unwrap();
        });
        assert_eq!(both.journal.changes.len(), both.walk.changes.len());
        assert!(
            !Bench::walked_without_need(&both),
            "{:?}",
            both.journal.notes
        );
    }
}

#[test]
fn a_file_written_through_another_of_its_names_is_seen() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(bench) = Bench::new(events) else {
            continue;
        };
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        let (inside, outside) = (
            bench.tree.join("d1/name"),
            bench.tree.with_file_name("name"),
        );
        fs::write(&inside, b"before").unwrap();
        fs::hard_link(&inside, &outside).unwrap();
        bench.run(&bench.tree, || {});
        fs::write(&outside, b"between").unwrap();
        let both = bench.run(&bench.tree, || fs::write(&outside, b"during").unwrap());
        assert_eq!(both.journal.changes.len(), 1);
    }
}

#[test]
fn a_replaced_root_is_walked_and_that_is_said() {
    for events in [Events::Fanotify, Events::Inotify] {
        let Some(bench) = Bench::new(events) else {
            continue;
        };
        plant(&bench.tree, &mut StdRng::seed_from_u64(1));
        bench.run(&bench.tree, || {});
        let both = bench.run(&bench.tree, || {
            fs::remove_dir_all(&bench.tree).unwrap();
            fs::create_dir(&bench.tree).unwrap();
            fs::write(bench.tree.join("new"), b"x").unwrap();
        });
        assert!(Bench::walked(&both), "{:?}", both.journal.notes);
        fs::write(bench.tree.join("later"), b"x").unwrap();
        bench.run(&bench.tree, || {
            fs::remove_file(bench.tree.join("later")).unwrap();
        });
    }
}
