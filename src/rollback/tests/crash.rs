//! Rollbacks interrupted at every step and taken up again.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::compose::Source;
use super::super::fault::Never;
use super::super::fault::testing::After;
use super::super::verify::{Verdict, verify};
use super::world::{Scan, World, assert_same, plan, touch};
use crate::entry::flags;
use crate::request::OnConflict;
use crate::sys::{Dir, Pinned, is_root};

/// A tree and a command that needs every kind of step.
fn scenario(world: &World) -> (Scan, Source) {
    world.mkdir("d/e");
    world.mkdir("swap-dir/in");
    world.write("swap-dir/in/file", "inside");
    world.write("swap-file", "file");
    world.write("d/e/deep", "deep");
    world.write("d/a", "linked");
    fs::hard_link(world.path("d/a"), world.path("b")).unwrap();
    fs::hard_link(world.path("d/a"), world.path("d/e/c")).unwrap();
    world.write("kept", "linked too");
    fs::hard_link(world.path("kept"), world.path("lost")).unwrap();
    world.write("changed", "old");
    world.write("moded", "m");
    world.chmod("moded", 0o4755);
    symlink("x", world.path("sym")).unwrap();
    world.mkdir("mv/in");
    world.write("mv/in/one", "one");
    world.write("mv/two", "two");
    world.write("swapped", "moved into what takes its place");
    world.write("locked", "locked");
    if is_root() {
        lock(world, "locked", flags::IMMUTABLE);
    }
    touch(&world.path("d"), 1_000, 5);
    touch(world.root.as_path(), 2_000, 6);
    let before = world.scan();
    let source = world.snapshot(|| {
        fs::remove_dir_all(world.path("d")).unwrap();
        fs::remove_file(world.path("b")).unwrap();
        fs::remove_file(world.path("lost")).unwrap();
        fs::remove_dir_all(world.path("swap-dir")).unwrap();
        world.write("swap-dir", "now a file");
        fs::remove_file(world.path("swap-file")).unwrap();
        world.mkdir("swap-file/sub");
        world.write("changed", "newer");
        fs::rename(world.path("mv"), world.path("moved")).unwrap();
        fs::rename(world.path("swapped"), world.path("tmp")).unwrap();
        world.mkdir("swapped");
        fs::rename(world.path("tmp"), world.path("swapped/in")).unwrap();
        world.chmod("moded", 0o600);
        fs::remove_file(world.path("sym")).unwrap();
        symlink("y", world.path("sym")).unwrap();
        world.mkdir("new/sub");
        world.write("new/sub/file", "new");
        if is_root() {
            lock(world, "locked", 0);
            world.write("locked", "no longer");
            lock(world, "locked", flags::APPEND);
        }
    });
    (before, source)
}

fn lock(world: &World, relative: &str, wanted: u32) {
    let path = world.abs(relative);
    let dir = Dir::open(&path.parent().unwrap()).unwrap();
    let pinned = Pinned::open(&dir, path.name().unwrap()).unwrap();
    pinned.set_flags(wanted).unwrap();
}

/// Interrupts the rollback after `first` points and the resume after `second`; then lets it end.
/// Gives how many points the first run passed.
fn interrupt(first: u64, second: Option<u64>) -> u64 {
    let world = World::new();
    let (before, source) = scenario(&world);
    let after = world.scan();
    let files = world.files_of(&[&source]);
    let Verdict::Ready(verified) = verify(plan(&[&source]), OnConflict::Abort, &files) else {
        panic!("refused");
    };
    let (verified, id) = world.save(*verified, OnConflict::Abort).unwrap();
    let (one, two) = (After::new(first), After::new(second.unwrap_or(u64::MAX)));
    let rolled = World::run(&verified, &files, &id, &[&one, &two, &Never]);
    assert!(
        rolled.report.success,
        "{first} {second:?}: {:#?}",
        rolled.report
    );
    assert_same(&before, &world.scan());
    world.assert_tidy();
    let redone = world.roll(&[&rolled.redo], OnConflict::Abort);
    assert!(
        redone.report.success,
        "{first} {second:?}: {:#?}",
        redone.report
    );
    assert_same(&after, &world.scan());
    if is_root() {
        lock(&world, "locked", 0);
    }
    one.passed()
}

#[test]
fn a_rollback_interrupted_anywhere_resumes_to_the_same_end() {
    let points = interrupt(u64::MAX, None);
    assert!(points > 50, "{points}");
    for first in 0..points {
        interrupt(first, None);
    }
}

#[test]
fn a_resume_interrupted_anywhere_resumes_as_well() {
    let points = interrupt(u64::MAX, None);
    for first in (0..points).step_by(9) {
        for second in (0..points).step_by(13) {
            interrupt(first, Some(second));
        }
    }
}

#[test]
fn what_somebody_changed_in_between_is_left_and_reported() {
    let world = World::new();
    world.write("a", "old");
    world.write("b", "old");
    let source = world.snapshot(|| {
        world.write("a", "newer");
        world.write("b", "newer");
    });
    let files = world.files_of(&[&source]);
    let Verdict::Ready(verified) = verify(plan(&[&source]), OnConflict::Abort, &files) else {
        panic!("refused");
    };
    let (verified, id) = world.save(*verified, OnConflict::Abort).unwrap();
    let stop = After::new(3);
    let meddled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        World::run(&verified, &files, &id, &[&stop])
    }));
    assert!(meddled.is_err(), "was not interrupted");
    world.write("a", "somebody's work");
    let rolled = World::run(&verified, &files, &id, &[&After::new(0), &Never]);
    assert_eq!(rolled.report.failures.len(), 1);
    assert_eq!(world.read("a"), "somebody's work");
    assert_eq!(world.read("b"), "old");
    world.assert_tidy();
}
