//! Whole trees that are made anew beside their place.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use super::world::World;
use crate::entry::{Xattr, flags};
use crate::sys::{Dir, Pinned, is_root};

fn pinned(world: &World, relative: &str) -> Pinned {
    let path = world.abs(relative);
    let dir = Dir::open(&path.parent().unwrap()).unwrap();
    Pinned::open(&dir, path.name().unwrap()).unwrap()
}

#[test]
fn the_redo_record_tells_the_versions_that_are_live() {
    let world = World::new();
    world.mkdir("tree/deep/deeper");
    for name in [
        "a",
        "deep/b",
        "deep/c",
        "deep/deeper/d",
        "deep/deeper/linked",
    ] {
        world.write(&format!("tree/{name}"), name);
    }
    world.write("tree/empty", "");
    world.write("tree/large", &"large".repeat(100_000));
    symlink("a", world.path("tree/deep/link")).unwrap();
    fs::hard_link(
        world.path("tree/deep/deeper/linked"),
        world.path("tree/name"),
    )
    .unwrap();
    world.chmod("tree/deep", 0o500);
    if is_root() {
        pinned(&world, "tree/deep/c")
            .set_flags(flags::IMMUTABLE)
            .unwrap();
    }
    let before = world.scan();
    let source = world.snapshot(|| {
        if is_root() {
            pinned(&world, "tree/deep/c").set_flags(0).unwrap();
        }
        world.chmod("tree/deep", 0o700);
        fs::remove_dir_all(world.path("tree")).unwrap();
    });
    let rolled = world.undo(&source, &before);
    let live = world.scan();
    let mut made = 0;
    for change in &rolled.redo.record.changes {
        let Some(after) = &change.after else { continue };
        assert_eq!(
            after.identity, live[&change.path].identity,
            "{}",
            change.path
        );
        made += u64::from(change.before.is_none());
    }
    assert_eq!(made, rolled.report.restored);
    if is_root() {
        pinned(&world, "tree/deep/c").set_flags(0).unwrap();
    }
}

#[test]
fn what_a_staged_tree_passes_on_to_new_entries_does_not_stick() {
    if !is_root() {
        eprintln!("skipped for want of privilege: inherited group, ACL and flags");
        return;
    }
    let world = World::new();
    world.mkdir("dir");
    chown(world.path("dir"), None, Some(99)).unwrap();
    world.chmod("dir", 0o2755);
    let directory = pinned(&world, "dir");
    // A default ACL: user::rwx, user:12:r-x, group::r-x, mask::r-x, other::r-x.
    let mut acl = 2u32.to_le_bytes().to_vec();
    for (tag, id) in [
        (1u16, u32::MAX),
        (2, 12),
        (4, u32::MAX),
        (16, u32::MAX),
        (32, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(if tag == 1 { 7u16 } else { 5 }.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let default = Xattr {
        name: b"system.posix_acl_default".to_vec(),
        value: acl,
    };
    directory.set_xattrs(&[default]).unwrap();
    directory.set_flags(flags::NODUMP).unwrap();
    world.mkdir("dir/tree/deep");
    for (at, name) in ["a", "b", "c", "d", "deep/e", "deep/f"].iter().enumerate() {
        let name = format!("dir/tree/{name}");
        world.write(&name, &name);
        match at % 3 {
            // As it was inherited.
            0 => {}
            1 => {
                pinned(&world, &name).set_xattrs(&[]).unwrap();
                pinned(&world, &name).set_flags(0).unwrap();
                chown(world.path(&name), Some(12), Some(34)).unwrap();
                world.chmod(&name, 0o6751);
            }
            _ => {
                chown(world.path(&name), Some(0), Some(0)).unwrap();
                pinned(&world, &name).set_flags(flags::NOATIME).unwrap();
                world.chmod(&name, 0o604);
            }
        }
    }
    let before = world.scan();
    let source = world.snapshot(|| fs::remove_dir_all(world.path("dir/tree")).unwrap());
    let rolled = world.undo(&source, &before);
    assert_eq!(rolled.report.restored, 8);
}
