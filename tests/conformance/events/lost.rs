//! Events that are lost: the result is right, and the coverage says so.

use std::fs;
use std::path::PathBuf;

use deployx::snapshot::journal::Events;

use super::{Bench, alone, judged, others_may_run};
use crate::common::{fixture, is_root, require, shell};
use crate::volumes::{Filesystem, Volume, script_in};

/// A limit of the kernel, set back when it is dropped.
struct Limit {
    file: PathBuf,
    old: String,
}

impl Limit {
    /// `None` where it cannot be set.
    fn set(file: &str, value: &str) -> Option<Self> {
        let file = PathBuf::from(file);
        let old = fs::read_to_string(&file).ok()?;
        fs::write(&file, value).ok()?;
        Some(Self { file, old })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Err(e) = fs::write(&self.file, self.old.trim()) {
            eprintln!("{} is not set back: {e}", self.file.display());
        }
    }
}

/// More directories than can be watched, more changes than can wait.
const WIDE: &str = "for a in $(seq 20); do for b in $(seq 15); do mkdir -p d$a/e$b; echo $a$b > d$a/e$b/f; done; done";

/// So fast that nobody can keep up who has room for 16 events.
const CHANGES: &str = "python3 -c \"
import os, shutil
for a in range(1, 21):
    d = f'd{a}/'
    open(d + 'e1/f', 'a').write('x'); shutil.rmtree(d + 'e2'); os.rename(d + 'e3', d + 'm')
    os.makedirs(d + 'n/o'); open(d + 'n/o/p', 'w').write('y')
    for n in range(60):
        with open(f'{d}e4/{n}', 'w') as f: f.write('z')
    for n in range(0, 60, 2): os.rename(f'{d}e4/{n}', f'{d}e4/r{n}')
\"";

fn limited(test: &str, file: &str, value: &str, events: Events, expected: &str) {
    if !judged(test) || !require(test, "root", is_root()) {
        return;
    }
    let _machine = alone();
    let limit = Limit::set(file, value);
    if !require(test, file, limit.is_some()) {
        return;
    }
    let bench = Bench::new(events);
    shell(&bench.tree, WIDE);
    bench.remember();
    let mut said = Vec::new();
    for _ in 0..3 {
        said.extend(bench.undoes(CHANGES));
        shell(
            &bench.tree,
            "echo others > d1/e5/g; mv d2/e5 d3/moved; mkdir -p d4/q/r; echo s > d4/q/r/s",
        );
        bench.remember();
        said.extend(bench.undoes("rm -rf d1 d3/moved d4; echo x > d2/x"));
        shell(
            &bench.tree,
            "rm -r d3/moved d4/q d1/e5/g; mkdir d2/e5; echo 25 > d2/e5/f",
        );
        bench.remember();
    }
    assert!(
        said.iter().any(|note| note.contains(expected)),
        "nothing of '{expected}' was said: {said:#?}"
    );
}

#[test]
fn more_directories_than_may_be_watched() {
    limited(
        "more_directories_than_may_be_watched",
        "/proc/sys/fs/inotify/max_user_watches",
        "100",
        Events::Inotify,
        "walked",
    );
}

#[test]
fn more_events_than_may_wait_for_inotify() {
    limited(
        "more_events_than_may_wait_for_inotify",
        "/proc/sys/fs/inotify/max_queued_events",
        "16",
        Events::Inotify,
        "walked",
    );
}

#[test]
fn more_events_than_may_wait_for_fanotify() {
    limited(
        "more_events_than_may_wait_for_fanotify",
        "/proc/sys/fs/fanotify/max_queued_events",
        "16",
        Events::Fanotify,
        "walked",
    );
}

#[test]
fn a_volume_that_was_unmounted_and_mounted_again() {
    let test = "a_volume_that_was_unmounted_and_mounted_again";
    if !judged(test) {
        return;
    }
    if let Some(lacks) = Filesystem::Ext4.lacks() {
        require(test, &lacks, false);
        return;
    }
    let _machine = others_may_run();
    for events in [Events::Fanotify, Events::Inotify] {
        let volume = Volume::make(Filesystem::Ext4).expect("a volume");
        let base = volume.mount_point.parent().expect("a directory").to_owned();
        let store = tempfile::tempdir().expect("a directory");
        let bench = Bench::at(&volume.mount_point, &store.path().join("store"), events);
        fixture(&bench.tree);
        bench.remember();
        bench.undoes("rm -rf src; echo x >> docs/binary");
        // While nobody can be told, everything may change.
        script_in(&base, "umount at; mount -o loop image at; echo away >> at/tree/src/file1.txt; rm at/tree/src/file2.txt; mkdir at/tree/away")
            .expect("mounted again");
        bench.remember();
        let notes =
            bench.undoes("echo mine >> src/file1.txt; echo mine > src/file2.txt; rmdir away");
        assert!(!notes.is_empty(), "{events:?}: nothing was said");
        // The same while a command runs.
        let during = format!(
            "cd '{}'; echo x >> at/tree/src/file1.txt; umount at; mount -o loop image at; rm at/tree/src/file3.txt; echo y > at/tree/away/y",
            base.display()
        );
        let notes = bench.undoes(&during);
        assert!(!notes.is_empty(), "{events:?}: nothing was said");
    }
}

#[test]
fn a_root_that_was_deleted_and_made_again() {
    let test = "a_root_that_was_deleted_and_made_again";
    if !judged(test) || !require(test, "root", is_root()) {
        return;
    }
    let _machine = others_may_run();
    for events in [Events::Fanotify, Events::Inotify] {
        let bench = Bench::new(events);
        fixture(&bench.tree);
        let watched = bench.tree.join("src");
        let undoes = |line: &str| {
            bench.remember();
            let report = bench.run_on(&watched, line);
            bench.rollback(&report);
            bench.assert_as_before(&format!("{events:?}: {line}"));
            report.coverage.notes
        };
        undoes("echo x >> src/file1.txt");
        let said = |notes: Vec<String>| assert!(!notes.is_empty(), "{events:?}: nothing was said");
        said(undoes(
            "rm -rf src; mkdir src; echo new > src/file1.txt; mkdir src/deep",
        ));
        said(undoes(
            "mv src other; mkdir src; echo new > src/file1.txt; mv other src/",
        ));
        // By others, between commands.
        shell(
            &bench.tree,
            "rm -rf src; mkdir -p src/deep; echo theirs > src/file1.txt; echo 2 > src/deep/2",
        );
        said(undoes(
            "echo mine >> src/file1.txt; rm -r src/deep; echo 3 > src/3",
        ));
        shell(
            &bench.tree,
            "mv src away; mkdir src; echo theirs > src/file1.txt; echo x > away/x",
        );
        said(undoes("echo mine >> src/file1.txt; echo 3 > src/3"));
        shell(&bench.tree, "rm -r src; mv away src");
        undoes("rm -rf src/deep; echo y >> src/x; echo z > src/file1.txt");
    }
}
