//! Hard links.

use std::fs;

use super::world::World;
use crate::request::OnConflict;

fn linked() -> World {
    let world = World::new();
    world.mkdir("d");
    world.write("a", "shared");
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    fs::hard_link(world.path("a"), world.path("d/c")).unwrap();
    world
}

fn check(world: &World, command: impl FnOnce()) {
    let before = world.scan();
    let source = world.snapshot(command);
    let after = world.scan();
    let rolled = world.undo(&source, &before);
    let again = world.undo(&rolled.redo, &after);
    world.undo(&again.redo, &before);
}

#[test]
fn a_deleted_name_is_linked_to_the_inode_that_is_still_there() {
    let world = linked();
    let inode = world.inode("a");
    check(&world, || fs::remove_file(world.path("d/c")).unwrap());
    assert_eq!(world.inode("d/c"), inode);
}

#[test]
fn a_group_of_which_nothing_is_left_is_one_inode_again() {
    let world = linked();
    check(&world, || {
        for name in ["a", "b"] {
            fs::remove_file(world.path(name)).unwrap();
        }
        fs::remove_dir_all(world.path("d")).unwrap();
    });
}

#[test]
fn content_changed_through_one_name_comes_back_under_all() {
    let world = linked();
    check(&world, || world.write("b", "changed through b"));
    assert_eq!(world.read("d/c"), "shared");
}

#[test]
fn a_name_that_got_its_own_file_joins_its_group_again() {
    let world = linked();
    check(&world, || {
        world.write("tmp", "own");
        fs::rename(world.path("tmp"), world.path("b")).unwrap();
    });
    // The same, with equal content and times: only the inode tells.
    check(&world, || {
        let modified = fs::metadata(world.path("b")).unwrap().modified().unwrap();
        fs::copy(world.path("b"), world.path("tmp")).unwrap();
        fs::rename(world.path("tmp"), world.path("b")).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(world.path("b"))
            .unwrap();
        file.set_modified(modified).unwrap();
    });
}

#[test]
fn files_that_a_command_linked_together_part_again() {
    let world = World::new();
    world.write("a", "equal");
    fs::copy(world.path("a"), world.path("b")).unwrap();
    let time = fs::metadata(world.path("a")).unwrap().modified().unwrap();
    let file = fs::File::options()
        .write(true)
        .open(world.path("b"))
        .unwrap();
    file.set_modified(time).unwrap();
    check(&world, || {
        fs::remove_file(world.path("b")).unwrap();
        fs::hard_link(world.path("a"), world.path("b")).unwrap();
    });
    assert_ne!(world.inode("a"), world.inode("b"));
}

#[test]
fn names_that_a_command_added_go_again() {
    let world = linked();
    check(&world, || {
        fs::hard_link(world.path("a"), world.path("d/e")).unwrap();
        world.write("single", "x");
        fs::hard_link(world.path("single"), world.path("double")).unwrap();
    });
}

#[test]
fn metadata_changed_through_one_name_comes_back() {
    let world = linked();
    check(&world, || world.chmod("a", 0o600));
}

#[test]
fn metadata_and_a_lost_name_come_back_together() {
    let world = linked();
    check(&world, || {
        world.chmod("a", 0o600);
        fs::remove_file(world.path("b")).unwrap();
    });
}

#[test]
fn a_file_with_a_name_elsewhere_is_never_written_through() {
    let world = World::new();
    world.write("file", "old");
    let source = world.snapshot(|| world.write("file", "newer"));
    let outside = tempfile::tempdir_in(world.root.as_path().parent().unwrap()).unwrap();
    let other = outside.path().join("other");
    fs::hard_link(world.path("file"), &other).unwrap();
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert!(rolled.report.success, "{:#?}", rolled.report);
    assert_eq!(world.read("file"), "old");
    assert_eq!(fs::read_to_string(other).unwrap(), "newer");
}

#[test]
fn names_outside_of_the_record_are_mentioned() {
    let world = World::new();
    let outside = tempfile::tempdir_in(world.root.as_path().parent().unwrap()).unwrap();
    world.write("file", "old");
    fs::hard_link(world.path("file"), outside.path().join("other")).unwrap();
    let source = world.snapshot(|| world.write("file", "newer"));
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert!(
        rolled.report.notes[0].contains("1 other name"),
        "{:?}",
        rolled.report.notes
    );
}

#[test]
fn one_name_asked_for_is_linked_to_the_others() {
    let world = linked();
    let source = world.snapshot(|| {
        fs::remove_file(world.path("b")).unwrap();
        fs::remove_file(world.path("d/c")).unwrap();
    });
    let rolled = world
        .try_roll(&[&source], OnConflict::Abort, &[world.abs("b")])
        .unwrap();
    assert!(rolled.report.success);
    assert_eq!(world.inode("b"), world.inode("a"));
    assert!(!world.exists("d/c"));
}

#[test]
fn a_moved_file_is_moved_back_with_names_that_nobody_recorded() {
    let world = World::new();
    let outside = tempfile::tempdir_in(world.root.as_path().parent().unwrap()).unwrap();
    let other = outside.path().join("other");
    world.write("a", "content");
    fs::hard_link(world.path("a"), &other).unwrap();
    world.write("b", "another");
    fs::hard_link(world.path("b"), world.path("c")).unwrap();
    let inode = world.inode("a");
    check(&world, || {
        fs::rename(world.path("a"), world.path("d")).unwrap();
    });
    assert_eq!(world.inode("a"), inode);
    check(&world, || {
        fs::rename(world.path("a"), world.path("b")).unwrap();
    });
    assert_eq!(world.inode("a"), inode);
}

#[test]
fn a_file_that_was_moved_comes_back_where_another_with_equal_content_took_its_name() {
    let world = World::new();
    let outside = tempfile::tempdir_in(world.root.as_path().parent().unwrap()).unwrap();
    world.write("a", "content");
    fs::hard_link(world.path("a"), outside.path().join("other")).unwrap();
    world.mkdir("dir");
    let inode = world.inode("a");
    check(&world, || {
        fs::rename(world.path("a"), world.path("d")).unwrap();
        world.write("a", "content");
    });
    assert_eq!(world.inode("a"), inode);
    // The name that it has now was a directory's.
    check(&world, || {
        fs::remove_dir(world.path("dir")).unwrap();
        fs::rename(world.path("a"), world.path("dir")).unwrap();
        world.write("a", "content");
    });
    assert_eq!(world.inode("a"), inode);
}

#[test]
fn a_moved_directory_is_moved_back_without_its_content_in_the_store() {
    let world = World::new();
    world.mkdir("dir/sub");
    world.write("dir/sub/file", "large");
    let inode = world.inode("dir/sub/file");
    let before = world.scan();
    let mut source = world.snapshot(|| fs::rename(world.path("dir"), world.path("moved")).unwrap());
    for change in &mut source.record.changes {
        if change.content != crate::seal::PreImage::NotNeeded {
            change.content = crate::seal::PreImage::Lost {
                reason: "too large".into(),
            };
        }
    }
    world.undo(&source, &before);
    assert_eq!(world.inode("dir/sub/file"), inode);
}

#[test]
fn two_files_that_changed_places_change_back() {
    let world = linked();
    world.write("x", "x");
    check(&world, || {
        fs::rename(world.path("x"), world.path("tmp")).unwrap();
        fs::rename(world.path("a"), world.path("x")).unwrap();
        fs::rename(world.path("tmp"), world.path("a")).unwrap();
    });
}

#[test]
fn a_lost_name_of_a_locked_file_comes_back() {
    if !crate::sys::is_root() {
        eprintln!("skipped for want of privilege: immutable files");
        return;
    }
    let world = linked();
    let flag = |wanted: u32| {
        let dir = crate::sys::Dir::open(&world.root).unwrap();
        let pinned = crate::sys::Pinned::open(&dir, "a".as_ref()).unwrap();
        pinned.set_flags(wanted).unwrap();
    };
    flag(crate::entry::flags::IMMUTABLE);
    let before = world.scan();
    let source = world.snapshot(|| {
        flag(0);
        fs::remove_file(world.path("b")).unwrap();
        flag(crate::entry::flags::IMMUTABLE);
    });
    world.undo(&source, &before);
    flag(0);
}
