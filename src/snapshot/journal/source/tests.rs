//! What every source must tell, checked against the filesystem itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::fanotify::Fanotify;
use super::inotify::Inotify;
use super::notify::Notify;
use super::{EventSource, Sink, Told, WatchError};
use crate::path::AbsPath;
use crate::sys::SharedPage;

/// A watched directory, a directory beside it on the same volume, and what was told.
struct Watched {
    source: Box<dyn EventSource>,
    told: Arc<Mutex<Vec<Told>>>,
    root: PathBuf,
    outside: PathBuf,
    before: BTreeMap<PathBuf, Entry>,
    _dir: tempfile::TempDir,
}

/// What is at a path, without what is not told: the times and size of a directory, and the change
/// time, which moves with every hard link.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Entry {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    file: Option<(u64, i64, i64)>,
}

impl Entry {
    fn is_dir(&self) -> bool {
        self.file.is_none()
    }
}

/// Everything at and beneath `root`.
fn walk(root: &Path) -> BTreeMap<PathBuf, Entry> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .flatten()
        .filter_map(|found| {
            let stat = found.path().symlink_metadata().ok()?;
            let entry = Entry {
                inode: stat.ino(),
                mode: stat.mode(),
                owner: (stat.uid(), stat.gid()),
                file: (!stat.is_dir()).then(|| (stat.size(), stat.mtime(), stat.mtime_nsec())),
            };
            Some((found.into_path(), entry))
        })
        .collect()
}

fn sink() -> (Sink, Arc<Mutex<Vec<Told>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    (Arc::new(move |one| kept.lock().unwrap().push(one)), told)
}

fn path(path: impl Into<PathBuf>) -> AbsPath {
    AbsPath::new(path).unwrap()
}

/// Runs `test` on both sources; `fanotify` where this process may use it here.
fn on_each_source(name: &str, prepare: impl Fn(&Path), test: impl Fn(&mut Watched)) {
    for source in ["inotify", "fanotify"] {
        match Watched::new(source, &prepare) {
            Ok(mut watched) => test(&mut watched),
            Err(error) if source == "fanotify" => {
                println!("SKIPPED {name}: needs fanotify ({error})");
            }
            Err(error) => panic!("{source}: {error}"),
        }
    }
}

/// Whether the queue of events overflowed.
fn overflowed(told: &Told) -> bool {
    matches!(told, Told::Lost { reason, .. } if reason.contains("overflowed"))
}

impl Watched {
    fn new(source: &str, prepare: &impl Fn(&Path)) -> Result<Watched, WatchError> {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (root, outside) = (base.join("root"), base.join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        prepare(&root);
        let (sink, told) = sink();
        let source: Box<dyn EventSource> = match source {
            "inotify" => Box::new(Inotify::new(sink)?),
            _ => Box::new(Fanotify::new(sink)?),
        };
        source.watch(&path(&root))?;
        let mut watched = Watched {
            source,
            told,
            before: walk(&root),
            root,
            outside,
            _dir: dir,
        };
        watched.take();
        Ok(watched)
    }

    /// What was told since the last time, after a barrier.
    fn take(&mut self) -> Vec<Told> {
        self.source.barrier().unwrap();
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Checks that everything that is different from the last time was told, and nothing was lost.
    fn check(&mut self, what: &str) -> Vec<Told> {
        let told = self.take();
        let now = walk(&self.root);
        let name = self.source.name();
        if told.iter().any(overflowed) {
            // The machine was too busy for the queue. That was said, which is all that can be.
            self.before = now;
            return told;
        }
        for one in &told {
            assert!(!matches!(one, Told::Lost { .. }), "{name}, {what}: {one:?}");
        }
        let before = std::mem::replace(&mut self.before, now);
        let missed = untold(&before, &self.before, &told);
        assert!(missed.is_empty(), "{name}, {what}: {missed:?} of {told:?}");
        told
    }

    /// Checks that a change in any directory is told with the path that it has now.
    fn check_every_directory(&mut self, what: &str) {
        self.take();
        let dirs: Vec<PathBuf> = self
            .before
            .iter()
            .filter(|(_, entry)| entry.is_dir())
            .map(|(path, _)| path.clone())
            .collect();
        for dir in &dirs {
            fs::write(dir.join("probe"), []).unwrap();
        }
        let told = self.take();
        let lost = told.iter().any(overflowed);
        let told: BTreeSet<PathBuf> = entries(&told);
        let name = self.source.name();
        for dir in dirs.into_iter().filter(|_| !lost) {
            let probe = dir.join("probe");
            assert!(
                told.contains(&probe),
                "{name}, {what}: {} was missed",
                probe.display()
            );
            fs::remove_file(probe).unwrap();
        }
        self.before = walk(&self.root);
        self.take();
    }

    fn expect(&mut self, what: &str, entry: &Path) {
        let told = self.check(what);
        let name = self.source.name();
        assert!(
            entries(&told).contains(entry),
            "{name}, {what}: {} is not in {told:?}",
            entry.display()
        );
    }
}

fn entries(told: &[Told]) -> BTreeSet<PathBuf> {
    told.iter()
        .filter_map(|one| match one {
            Told::Entry(path) => Some(path.as_path().to_owned()),
            _ => None,
        })
        .collect()
}

/// What is different and follows from nothing that was told.
fn untold(
    before: &BTreeMap<PathBuf, Entry>,
    now: &BTreeMap<PathBuf, Entry>,
    told: &[Told],
) -> Vec<PathBuf> {
    let entries = entries(told);
    let new: BTreeSet<&Path> = told
        .iter()
        .filter_map(|one| match one {
            Told::NewDirectory(path) => Some(path.as_path()),
            _ => None,
        })
        .collect();
    // A directory that is gone, or another now, took everything along.
    let replaced = |path: &Path| {
        entries.contains(path)
            && before.get(path).map(|entry| entry.inode) != now.get(path).map(|entry| entry.inode)
    };
    before
        .keys()
        .chain(now.keys())
        .filter(|path| before.get(*path) != now.get(*path))
        .filter(|path| {
            !entries.contains(*path)
                && !path.ancestors().any(|above| new.contains(above))
                && !path.ancestors().skip(1).any(replaced)
        })
        .cloned()
        .collect()
}

fn run(program: &str, arguments: &[&std::ffi::OsStr]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}

#[test]
fn every_kind_of_change_is_told() {
    let prepare = |root: &Path| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "content").unwrap();
        fs::write(root.join("a/other"), "content").unwrap();
    };
    on_each_source("every_kind_of_change_is_told", prepare, |w| {
        let (root, outside) = (w.root.clone(), w.outside.clone());
        let [file, other, dir, new, link] =
            ["a/file", "a/other", "a/b", "a/new", "a/link"].map(|name| root.join(name));

        fs::write(&new, "x").unwrap();
        w.expect("create", &new);
        fs::write(&file, "changed").unwrap();
        w.expect("write", &file);
        fs::File::options()
            .write(true)
            .open(&file)
            .unwrap()
            .set_len(1)
            .unwrap();
        w.expect("truncate", &file);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        w.expect("chmod", &file);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
        w.expect("chmod of a directory", &dir);
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        w.expect("chmod of the root", &root);
        std::os::unix::fs::lchown(&file, None, Some(fs::metadata(&file).unwrap().gid())).unwrap();
        w.expect("chown", &file);
        let opened = fs::File::options().write(true).open(&file).unwrap();
        opened.set_modified(std::time::UNIX_EPOCH).unwrap();
        w.expect("utimes", &file);
        let attribute =
            rustix::fs::setxattr(&file, "user.x", b"1", rustix::fs::XattrFlags::empty());
        if attribute.is_ok() {
            w.expect("setxattr", &file);
        }
        drop(opened);
        fs::hard_link(&file, &link).unwrap();
        w.expect("link", &link);
        std::os::unix::fs::symlink("nowhere", root.join("a/symlink")).unwrap();
        w.expect("symlink", &root.join("a/symlink"));
        fs::rename(&other, root.join("a/b/moved")).unwrap();
        w.expect("rename within", &root.join("a/b/moved"));
        fs::rename(&file, outside.join("file")).unwrap();
        w.expect("rename out", &file);
        fs::rename(outside.join("file"), root.join("back")).unwrap();
        w.expect("rename in", &root.join("back"));
        fs::remove_file(&new).unwrap();
        w.expect("unlink", &new);
        fs::rename(root.join("a/b"), root.join("c")).unwrap();
        w.expect("rename of a directory", &root.join("c"));
        fs::write(root.join("c/moved"), "again").unwrap();
        w.expect("write in a moved directory", &root.join("c/moved"));
        fs::rename(root.join("c"), outside.join("c")).unwrap();
        w.expect("directory out", &root.join("c"));
        fs::write(outside.join("c/moved"), "outside").unwrap();
        fs::create_dir(outside.join("c/d")).unwrap();
        assert_eq!(w.check("outside"), [], "{}", w.source.name());
        fs::rename(outside.join("c"), root.join("e")).unwrap();
        let told = w.check("directory in");
        assert!(
            told.contains(&Told::NewDirectory(path(root.join("e")))),
            "{told:?}"
        );
        fs::write(root.join("e/d/f"), "deep").unwrap();
        w.expect("write in a directory that came", &root.join("e/d/f"));
        fs::remove_dir_all(root.join("e")).unwrap();
        w.expect("rm -r", &root.join("e"));
    });
}

#[test]
fn a_file_that_is_written_through_a_mapping_is_told_when_the_mapping_ends() {
    let prepare = |root: &Path| fs::write(root.join("file"), [0; 4096]).unwrap();
    on_each_source("a_file_that_is_written_through_a_mapping", prepare, |w| {
        let file = w.root.join("file");
        let opened = fs::File::options()
            .read(true)
            .write(true)
            .open(&file)
            .unwrap();
        let mut page = SharedPage::of(&opened);
        drop(opened);
        w.take();
        if rustix::fs::statfs(&file).unwrap().f_type == 0x794c_7630 {
            println!("SKIPPED a_file_that_is_written_through_a_mapping: needs no overlay");
            return;
        }
        page.store(1);
        assert_eq!(w.take(), [], "a store gives no event");
        drop(page);
        assert!(entries(&w.take()).contains(&file), "{}", w.source.name());
    });
}

#[test]
fn trees_that_are_made_fast_are_covered() {
    on_each_source(
        "trees_that_are_made_fast_are_covered",
        |_| {},
        |w| {
            for round in 0..20 {
                let mut deep = w.root.join(format!("deep-{round}"));
                for level in 0..30 {
                    deep.push(level.to_string());
                }
                fs::create_dir_all(&deep).unwrap();
                fs::write(deep.join("file"), "x").unwrap();
                w.check("mkdir -p");
            }
            w.check_every_directory("after mkdir -p");
        },
    );
}

#[test]
fn an_archive_is_covered_and_so_is_its_removal() {
    let files = std::env::var("FILES").map_or(50, |n| n.parse().unwrap());
    let source = tempfile::tempdir().unwrap();
    for dir in 0..60 {
        let dir = source.path().join(format!("tree/{}/{dir}/sub", dir % 7));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..files {
            fs::write(dir.join(format!("file-{file}")), "content").unwrap();
        }
    }
    let archive = source.path().join("a.tar");
    let [tar, base] = [archive.as_os_str(), source.path().as_os_str()];
    run(
        "tar",
        &["-cf".as_ref(), tar, "-C".as_ref(), base, "tree".as_ref()],
    );
    on_each_source(
        "an_archive_is_covered_and_so_is_its_removal",
        |_| {},
        |w| {
            for _ in 0..3 {
                let root = w.root.clone();
                run(
                    "tar",
                    &["-xf".as_ref(), tar, "-C".as_ref(), root.as_os_str()],
                );
                w.check("tar x");
                w.check_every_directory("after tar x");
                run("rm", &["-rf".as_ref(), root.join("tree").as_os_str()]);
                w.check("rm -rf");
            }
        },
    );
}

/// Changes beneath `root` and to and fro between it and `outside`, of every kind, mostly to
/// directories. What is not there any more is passed over.
fn storm(root: &Path, outside: &Path, seed: u64, steps: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut place = |depth: usize| {
        let base = if random.random_ratio(1, 12) {
            outside
        } else {
            root
        };
        let mut path = base.to_owned();
        for _ in 0..random.random_range(1..=depth) {
            path.push(["a", "b", "c", "d"][random.random_range(0..4)]);
        }
        (path, random.random_range(0..100))
    };
    for step in 0..steps {
        let ((from, kind), (to, _)) = (place(4), place(4));
        let _ = match kind {
            0..45 => fs::rename(&from, &to),
            45..60 => fs::create_dir_all(&from),
            60..70 => fs::write(from.join(format!("file-{}", step % 5)), step.to_string()),
            70..75 => fs::remove_file(from.join(format!("file-{}", step % 5))),
            75..80 => fs::remove_dir_all(&from),
            80..85 => fs::create_dir(&from),
            85..90 => fs::set_permissions(&from, fs::Permissions::from_mode(0o700 + kind % 8)),
            _ => rustix::fs::renameat_with(
                rustix::fs::CWD,
                &from,
                rustix::fs::CWD,
                &to,
                rustix::fs::RenameFlags::EXCHANGE,
            )
            .map_err(Into::into),
        };
    }
}

/// Removes trees that moves into each other made so deep that their paths get too long.
fn calm(dir: &Path) {
    let deep = walkdir::WalkDir::new(dir).min_depth(60).into_iter();
    if deep.flatten().next().is_some() {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[test]
fn storms_of_moved_directories_are_covered() {
    on_each_source(
        "storms_of_moved_directories_are_covered",
        |_| {},
        |w| {
            let rounds = std::env::var("STORMS").map_or(40, |n| n.parse().unwrap());
            for seed in 0..rounds {
                let (root, outside) = (w.root.clone(), w.outside.clone());
                std::thread::scope(|scope| {
                    for thread in 0..2 {
                        let (root, outside) = (&root, &outside);
                        scope.spawn(move || storm(root, outside, seed * 2 + thread, 150));
                    }
                });
                w.check(&format!("storm {seed}"));
                w.check_every_directory(&format!("after storm {seed}"));
            }
        },
    );
}

#[test]
fn barriers_amid_changes_cover_what_was_before_them() {
    on_each_source(
        "barriers_amid_changes",
        |_| {},
        |w| {
            let root = w.root.clone();
            std::thread::scope(|scope| {
                let (root, outside) = (&root, w.outside.clone());
                // Somebody else works in a tree of his own all the time.
                scope.spawn(move || {
                    for seed in 0..40 {
                        storm(&root.join("noise"), &outside, seed, 100);
                        calm(&root.join("noise"));
                        calm(&outside);
                    }
                });
                for step in 0..200 {
                    let dir = root.join(format!("quiet/{}/{step}", step % 9));
                    fs::create_dir_all(&dir).unwrap();
                    fs::write(dir.join("file"), "x").unwrap();
                    w.source.barrier().unwrap();
                    let told = w.told.lock().unwrap().clone();
                    let file = dir.join("file");
                    let covered = entries(&told).contains(&file)
                        || told.iter().any(
                            |one| matches!(one, Told::NewDirectory(new) if file.starts_with(new)),
                        );
                    assert!(covered, "{}: {file:?}", w.source.name());
                }
            });
        },
    );
}

#[test]
fn a_root_that_goes_is_lost() {
    on_each_source(
        "a_root_that_goes_is_lost",
        |_| {},
        |w| {
            let is_lost = |told: &[Told], root: &Path| {
                told.iter().any(|one| {
                    matches!(one, Told::Lost { root: Some(lost), ended: true, .. }
                    if lost.as_path() == root)
                })
            };
            let root = w.root.clone();
            // Inode numbers are given again at once on some filesystems.
            fs::remove_dir(&root).unwrap();
            fs::create_dir(&root).unwrap();
            let told = w.take();
            assert!(is_lost(&told, &root), "{}: {told:?}", w.source.name());

            w.source.watch(&path(&root)).unwrap();
            fs::rename(&root, w.outside.join("root")).unwrap();
            let told = w.take();
            assert!(is_lost(&told, &root), "{}: {told:?}", w.source.name());
            assert!(w.source.watch(&path(&root)).is_err());

            // Moved with the directory that holds it.
            let inner = w.outside.join("root");
            w.source.watch(&path(&inner)).unwrap();
            fs::rename(&w.outside, w.outside.with_file_name("elsewhere")).unwrap();
            let told = w.take();
            assert!(is_lost(&told, &inner), "{}: {told:?}", w.source.name());
        },
    );
}

#[test]
fn roots_within_each_other_are_watched_each_for_itself() {
    let prepare = |root: &Path| fs::create_dir_all(root.join("in/ner")).unwrap();
    on_each_source("roots_within_each_other", prepare, |w| {
        let (outer, inner) = (w.root.clone(), w.root.join("in"));
        w.source.watch(&path(&inner)).unwrap();
        w.check_every_directory("both");
        w.source.unwatch(&path(&outer));
        w.take();
        fs::write(outer.join("unseen"), "x").unwrap();
        fs::write(inner.join("ner/seen"), "x").unwrap();
        let told = entries(&w.take());
        assert_eq!(told, BTreeSet::from([inner.join("ner/seen")]));
        w.source.watch(&path(&outer)).unwrap();
        w.before = walk(&outer);
        w.check_every_directory("the outer one again");
        w.source.unwatch(&path(&inner));
        w.check_every_directory("the outer one alone");
        w.source.unwatch(&path(&outer));
        w.take();
        fs::write(inner.join("unseen"), "x").unwrap();
        assert_eq!(w.take(), []);
    });
}

#[test]
fn a_directory_under_a_second_name_is_refused_by_the_watches() {
    if !crate::sys::is_root() {
        println!("SKIPPED a_directory_under_a_second_name: needs root");
        return;
    }
    let prepare = |root: &Path| fs::create_dir_all(root.join("in/ner")).unwrap();
    let mut w = Watched::new("inotify", &prepare).unwrap();
    let bound = w.outside.join("bound");
    fs::create_dir(&bound).unwrap();
    let (from, to) = (w.root.as_os_str(), bound.as_os_str());
    run("mount", &["--bind".as_ref(), from, to]);
    let mounted = Mounted(bound.clone());
    let refused = w.source.watch(&path(&bound));
    assert!(
        matches!(refused, Err(WatchError::Unsupported(_))),
        "{refused:?}"
    );
    let told = w.take();
    drop(mounted);
    assert!(
        !told
            .iter()
            .any(|one| matches!(one, Told::Lost { ended: true, .. })),
        "{told:?}"
    );
    w.check_every_directory("after the refusal");
}

/// Unmounts at the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn an_unmounted_volume_is_lost_and_can_be_unmounted_in_the_first_place() {
    let name = "an_unmounted_volume_is_lost";
    if !crate::sys::is_root() {
        println!("SKIPPED {name}: needs root");
        return;
    }
    on_each_source(
        name,
        |_| {},
        |w| {
            let volume = w.outside.join("volume");
            fs::create_dir(&volume).unwrap();
            let mount = ["-t", "tmpfs", "none"].map(std::ffi::OsStr::new);
            run("mount", &[&mount[..], &[volume.as_os_str()]].concat());
            let mounted = Mounted(volume.clone());
            fs::create_dir(volume.join("r")).unwrap();
            let root = volume.join("r");
            w.source.watch(&path(&root)).unwrap();
            fs::write(root.join("file"), "x").unwrap();
            assert!(entries(&w.take()).contains(&root.join("file")));
            // Not lazily: nothing may keep it busy.
            run("umount", &[volume.as_os_str()]);
            run("mount", &[&mount[..], &[volume.as_os_str()]].concat());
            fs::create_dir(&root).unwrap();
            let told = w.take();
            drop(mounted);
            let lost = |one: &Told| {
                matches!(one, Told::Lost { root: Some(lost), ended: true, .. }
                if lost.as_path() == root)
            };
            assert!(told.iter().any(lost), "{}: {told:?}", w.source.name());
        },
    );
}

#[test]
fn the_end_of_all_watches_frees_them() {
    let prepare = |root: &Path| fs::create_dir_all(root.join("a/b/c")).unwrap();
    let w = Watched::new("inotify", &prepare).unwrap();
    let (sink, _) = sink();
    let other = Inotify::new(sink).unwrap();
    other.watch(&path(&w.root)).unwrap();
    assert_eq!(other.watches(), 4);
    fs::rename(w.root.join("a"), w.outside.join("a")).unwrap();
    other.barrier().unwrap();
    assert_eq!(other.watches(), 1);
    other.unwatch(&path(&w.root));
    assert_eq!(other.watches(), 0);
}

#[test]
fn after_an_overflow_every_directory_is_watched_again() {
    let prepare = |root: &Path| fs::create_dir_all(root.join("a/b/c")).unwrap();
    let w = Watched::new("inotify", &prepare).unwrap();
    let (sink, told) = sink();
    let other = Inotify::new(sink).unwrap();
    other.watch(&path(&w.root)).unwrap();
    other.overflow();
    assert_eq!(other.watches(), 1);
    fs::create_dir(w.root.join("a/b/c/new")).unwrap();
    other.barrier().unwrap();
    let said = std::mem::take(&mut *told.lock().unwrap());
    let lost = |one: &Told| {
        matches!(
            one,
            Told::Lost {
                root: None,
                ended: false,
                ..
            }
        )
    };
    assert!(said.iter().any(lost), "{said:?}");
    let file = w.root.join("a/b/c/new/file");
    fs::write(&file, "x").unwrap();
    other.barrier().unwrap();
    assert!(entries(&told.lock().unwrap()).contains(&file));
}

#[test]
fn the_choice_watches_with_the_first_source_that_can() {
    let dir = tempfile::tempdir().unwrap();
    let root = path(dir.path().canonicalize().unwrap());
    let (sink, told) = sink();
    let chosen = super::open(None, dir.path(), &sink).unwrap();
    chosen.watch(&root).unwrap();
    let first = if chosen.lacks_a_source() {
        "inotify"
    } else {
        "fanotify"
    };
    if first == "inotify" || chosen.source_of(&root) == Some("fanotify") {
        assert_eq!(chosen.source_of(&root), Some(first));
    } else {
        println!("SKIPPED the_choice: needs a filesystem with fanotify");
    }
    fs::write(root.as_path().join("file"), "x").unwrap();
    chosen.barrier().unwrap();
    assert!(entries(&told.lock().unwrap()).contains(&root.as_path().join("file")));
    chosen.unwatch(&root);
    assert_eq!(chosen.source_of(&root), None);
    assert!(chosen.watch(&path("/proc/self")).is_err());
    assert!(chosen.watch(&path(root.as_path().join("file"))).is_err());
}

#[test]
fn the_portable_source_tells_what_happens_in_directories_that_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().canonicalize().unwrap();
    let (scratch, root) = (base.join("scratch"), base.join("root"));
    fs::create_dir(&scratch).unwrap();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/file"), "x").unwrap();
    let (sink, told) = sink();
    let source = Notify::new(sink, &scratch).unwrap();
    source.watch(&path(&root)).unwrap();
    fs::write(root.join("a/b/file"), "y").unwrap();
    fs::create_dir(root.join("a/new")).unwrap();
    source.barrier().unwrap();
    let first = std::mem::take(&mut *told.lock().unwrap());
    assert!(
        entries(&first).contains(&root.join("a/b/file")),
        "{first:?}"
    );
    assert!(
        first.contains(&Told::NewDirectory(path(root.join("a/new")))),
        "{first:?}"
    );
    source.barrier().unwrap();
    fs::read(root.join("a/b/file")).unwrap();
    source.barrier().unwrap();
    assert_eq!(*told.lock().unwrap(), []);
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    fs::remove_dir_all(&root).unwrap();
    source.barrier().unwrap();
    let ended = |one: &Told| matches!(one, Told::Lost { ended: true, .. });
    assert!(told.lock().unwrap().iter().any(ended));
}

/// Not a check: prints what a source costs on the tree in `TREE`.
#[test]
#[ignore = "a measurement"]
fn cost_of_the_sources() {
    let root = path(std::env::var_os("TREE").expect("TREE names a directory"));
    for name in ["inotify", "fanotify"] {
        let (sink, _) = sink();
        let source: Box<dyn EventSource> = match name {
            "inotify" => Box::new(Inotify::new(sink).unwrap()),
            _ => Box::new(Fanotify::new(sink).unwrap()),
        };
        let start = std::time::Instant::now();
        source.watch(&root).unwrap();
        let watched = start.elapsed();
        let start = std::time::Instant::now();
        for _ in 0..1000 {
            source.barrier().unwrap();
        }
        let barrier = start.elapsed() / 1000;
        let start = std::time::Instant::now();
        source.unwatch(&root);
        println!(
            "{name}: watch {watched:?}, idle barrier {barrier:?}, unwatch {:?}",
            start.elapsed()
        );
    }
    let roots = [root];
    let start = std::time::Instant::now();
    for _ in 0..20 {
        crate::sys::shared_writable_mappings(&roots).unwrap();
    }
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let processes = processes.filter(|p| p.path().join("maps").exists()).count();
    println!(
        "mappings of {processes} processes: {:?}",
        start.elapsed() / 20
    );
}

/// Makes directories in each other, if they are not there, until their paths are longer than the
/// system writes, and a file in the last.
fn deep(within: &Path) {
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    let name = "d".repeat(200);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut dir = rustix::fs::open(within, flags, Mode::empty()).unwrap();
    for _ in 0..40 {
        // It may be there already.
        let _ = mkdirat(&dir, name.as_str(), Mode::RWXU);
        dir = openat(&dir, name.as_str(), flags, Mode::empty()).unwrap();
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND;
    let file = openat(&dir, "file", flags, Mode::RUSR | Mode::WUSR).unwrap();
    rustix::io::write(file, b"x").unwrap();
}

#[test]
fn paths_that_are_too_long_are_told_by_a_directory_above_and_elsewhere_not_at_all() {
    on_each_source(
        "paths_that_are_too_long_are_told_by_a_directory_above_and_elsewhere_not_at_all",
        |_| {},
        |w| {
            let assert_none_lost = |told: &[Told]| {
                let lost = |one: &Told| matches!(one, Told::Lost { .. }) && !overflowed(one);
                assert!(!told.iter().any(lost), "{told:?}");
            };
            deep(&w.outside);
            let told = w.take();
            assert_none_lost(&told);
            assert_eq!(entries(&told), BTreeSet::new());
            if w.source.name() == "inotify" {
                // It watches each directory by its path.
                return;
            }
            deep(&w.root);
            assert_none_lost(&w.take());
            deep(&w.root);
            let told = w.take();
            assert_none_lost(&told);
            let within =
                |one: &Told| matches!(one, Told::NewDirectory(p) if p.starts_with(&path(&w.root)));
            let seen = told.iter().any(|one| within(one) || overflowed(one));
            assert!(seen, "{told:?}");
        },
    );
}
