//! Changes that need care, one by one.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{IFlags, RenameFlags};

use super::world::{World, at, paths, seal, unobserved};
use crate::infer::Depth;
use crate::path::AbsPath;
use crate::request::Limits;
use crate::seal::PreImage;
use crate::snapshot::SnapshotStrategy;
use crate::sys::btrfs::testing::open;

fn swap(one: &Path, other: &Path) {
    let cwd = rustix::fs::CWD;
    rustix::fs::renameat_with(cwd, one, cwd, other, RenameFlags::EXCHANGE).unwrap();
}

fn run(program: &str, arguments: &[&OsStr]) {
    let done = Command::new(program).args(arguments).status();
    assert!(
        done.is_ok_and(|status| status.success()),
        "{program} {arguments:?}"
    );
}

/// A tree with something of everything.
fn fill(tree: &Path) {
    fs::create_dir_all(tree.join("d/sub/deep")).unwrap();
    fs::create_dir_all(tree.join("e")).unwrap();
    fs::write(tree.join("d/f"), "old").unwrap();
    fs::write(tree.join("d/sub/f"), "below").unwrap();
    fs::write(tree.join("d/sub/deep/f"), vec![b'd'; 100_000]).unwrap();
    fs::write(tree.join("e/f"), "other").unwrap();
    fs::write(tree.join("e/empty"), "").unwrap();
    if !tree.join("d/s").is_symlink() {
        symlink("f", tree.join("d/s")).unwrap();
    }
}

#[test]
fn moves_swaps_and_replacements_of_directories_are_found() {
    let Some(world) = World::new("moves_swaps_and_replacements_of_directories_are_found") else {
        return;
    };
    let commands: [fn(&Path); 9] = [
        |t| fs::rename(t.join("d/sub"), t.join("e/moved")).unwrap(),
        |t| swap(&t.join("d"), &t.join("e")),
        |t| swap(&t.join("d/sub"), &t.join("e/f")),
        |t| {
            fs::remove_dir_all(t.join("d/sub")).unwrap();
            fs::write(t.join("d/sub"), "a file now").unwrap();
        },
        |t| {
            fs::remove_file(t.join("d/f")).unwrap();
            fs::create_dir_all(t.join("d/f/g")).unwrap();
            fs::write(t.join("d/f/g/h"), "new").unwrap();
        },
        |t| {
            fs::rename(t.join("d"), t.join("x")).unwrap();
            fs::create_dir_all(t.join("d/sub")).unwrap();
            fs::rename(t.join("x/sub/f"), t.join("d/sub/f")).unwrap();
        },
        |t| {
            fs::remove_dir_all(t.join("d")).unwrap();
            fs::create_dir_all(t.join("d/sub/deep")).unwrap();
            fs::write(t.join("d/sub/deep/f"), vec![b'd'; 100_000]).unwrap();
        },
        |t| fs::rename(t.join("d/sub/deep"), t.join("deep")).unwrap(),
        |t| {
            fs::remove_file(t.join("e/empty")).unwrap();
            File::create(t.join("e/empty")).unwrap();
        },
    ];
    for command in commands {
        fs::remove_dir_all(&world.tree).unwrap();
        fs::create_dir(&world.tree).unwrap();
        fill(&world.tree);
        assert!(!world.compare(&world.whole(), command).changes.is_empty());
    }
}

#[test]
fn the_path_of_a_scope_may_come_go_and_become_something_else() {
    let Some(world) = World::new("the_path_of_a_scope_may_come_go_and_become_something_else")
    else {
        return;
    };
    fill(&world.tree);
    let path = world.tree.join("root");
    // With the directory that holds it, as the engine does.
    let scope = [at(&world.tree, Depth::Entry), at(&path, Depth::Tree)];
    let commands: [fn(&Path); 8] = [
        |t| fs::write(t.join("root"), "a file").unwrap(),
        |t| fs::write(t.join("root"), "changed").unwrap(),
        |t| {
            fs::remove_file(t.join("root")).unwrap();
            fs::create_dir_all(t.join("root/a/b")).unwrap();
            fs::write(t.join("root/a/f"), "f").unwrap();
        },
        |t| {
            fs::rename(t.join("root"), t.join("aside")).unwrap();
            fs::create_dir_all(t.join("root/a")).unwrap();
            fs::write(t.join("root/a/f"), "another").unwrap();
        },
        |t| swap(&t.join("root"), &t.join("aside")),
        |t| {
            fs::remove_dir_all(t.join("root")).unwrap();
            fs::remove_dir_all(t.join("aside")).unwrap();
        },
        |t| fs::rename(t.join("d"), t.join("root")).unwrap(),
        |t| {
            fs::remove_dir_all(t.join("root")).unwrap();
            symlink("/nowhere", t.join("root")).unwrap();
        },
    ];
    for command in commands {
        assert!(!world.compare(&scope, command).changes.is_empty());
    }
}

#[test]
fn paths_of_a_scope_beneath_the_working_directory_may_go() {
    let Some(mut world) = World::new("paths_of_a_scope_beneath_the_working_directory_may_go")
    else {
        return;
    };
    fill(&world.tree);
    world.base = Some(AbsPath::new(&world.tree).unwrap());
    let scope = [
        at(&world.tree.join("d"), Depth::Entry),
        at(&world.tree.join("d/f"), Depth::Tree),
        at(&world.tree.join("d/sub"), Depth::Tree),
    ];
    let sealed = world.compare(&scope, |t| {
        fs::remove_file(t.join("d/f")).unwrap();
        fs::remove_dir_all(t.join("d/sub")).unwrap();
    });
    let expected = ["d", "d/f", "d/sub", "d/sub/deep", "d/sub/deep/f", "d/sub/f"];
    assert_eq!(paths(&sealed, &world.tree), expected);
}

#[test]
fn only_as_much_is_looked_at_as_the_scope_says() {
    let Some(world) = World::new("only_as_much_is_looked_at_as_the_scope_says") else {
        return;
    };
    fill(&world.tree);
    let change = |t: &Path| {
        fs::write(t.join("d/f"), "changed").unwrap();
        fs::write(t.join("d/sub/f"), "changed").unwrap();
        fs::create_dir(t.join("d/new")).unwrap();
        fs::write(t.join("d/new/f"), "new").unwrap();
        fs::write(t.join("e/f"), "changed").unwrap();
    };
    let children = world.compare(&[at(&world.tree.join("d"), Depth::Children)], change);
    assert_eq!(
        paths(&children, &world.tree),
        ["d", "d/f", "d/new", "d/new/f"]
    );
    fs::remove_dir_all(world.tree.join("d/new")).unwrap();
    let entry = world.compare(&[at(&world.tree.join("d"), Depth::Entry)], change);
    assert_eq!(paths(&entry, &world.tree), ["d"]);
}

#[test]
fn subvolumes_within_the_scope_are_named_and_left_alone() {
    let Some(world) = World::new("subvolumes_within_the_scope_are_named_and_left_alone") else {
        return;
    };
    fill(&world.tree);
    let inner = world.volume.make_subvolume("tree/d/inner");
    fs::write(inner.join("f"), "inner").unwrap();
    let capture = world.begin(&world.whole());
    assert_eq!(
        unobserved(capture.unobserved(), &world.tree),
        [("d/inner".into(), "a btrfs subvolume of its own".into())]
    );
    capture.finish();
    let sealed = world.compare(&world.whole(), |t| {
        fs::write(t.join("d/inner/f"), "changed").unwrap();
        fs::write(t.join("d/f"), "changed").unwrap();
    });
    assert_eq!(paths(&sealed, &world.tree), ["d/f"]);
    // One that is made, one that goes, and one in the place of a directory.
    world.compare(&world.whole(), |_| {
        world.volume.make_subvolume("tree/e/made");
        fs::write(world.tree.join("e/made/f"), "new").unwrap();
    });
    world.compare(&world.whole(), |t| {
        fs::remove_dir_all(t.join("e/made")).unwrap();
    });
    world.compare(&world.whole(), |t| {
        fs::remove_dir_all(t.join("d/sub")).unwrap();
        world.volume.make_subvolume("tree/d/sub");
    });
}

#[test]
fn each_subvolume_of_a_scope_is_captured() {
    let Some(world) = World::new("each_subvolume_of_a_scope_is_captured") else {
        return;
    };
    fill(&world.tree);
    let inner = world.volume.make_subvolume("tree/d/inner");
    fs::create_dir(inner.join("x")).unwrap();
    fs::write(inner.join("x/f"), "inner").unwrap();
    let scope = [at(&world.tree, Depth::Tree), at(&inner, Depth::Tree)];
    let sealed = world.compare(&scope, |t| {
        fs::write(t.join("d/inner/x/f"), "changed").unwrap();
        fs::write(t.join("d/inner/g"), "new").unwrap();
        fs::remove_file(t.join("d/f")).unwrap();
    });
    let expected = ["d", "d/f", "d/inner", "d/inner/g", "d/inner/x/f"];
    assert_eq!(paths(&sealed, &world.tree), expected);
}

#[test]
fn a_subvolume_that_is_replaced_is_walked() {
    let Some(world) = World::new("a_subvolume_that_is_replaced_is_walked") else {
        return;
    };
    let root = world.volume.make_subvolume("work");
    fill(&root);
    let sealed = world.compare(&[at(&root, Depth::Tree)], |_| {
        fs::remove_dir_all(&root).unwrap();
        world.volume.make_subvolume("work");
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "old").unwrap();
    });
    assert!(
        sealed.notes[0].contains("is another one now"),
        "{:?}",
        sealed.notes
    );
    // A plain directory in its place lies in the subvolume above.
    let sealed = world.compare(&[at(&root, Depth::Tree)], |_| {
        fs::remove_dir_all(&root).unwrap();
        fs::create_dir(&root).unwrap();
        fs::write(root.join("g"), "new").unwrap();
    });
    assert!(!sealed.changes.is_empty());
}

#[test]
fn what_is_mounted_beneath_is_left_alone() {
    let Some(world) = World::new("what_is_mounted_beneath_is_left_alone") else {
        return;
    };
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0).status();
        }
    }
    fill(&world.tree);
    let (sub, e) = (world.tree.join("d/sub"), world.tree.join("e"));
    let memory = ["-t", "tmpfs", "none"].map(OsStr::new);
    run("mount", &[&memory[..], &[sub.as_os_str()]].concat());
    let mounted = Mounted(&sub);
    world.compare(&world.whole(), |t| {
        fs::write(t.join("d/sub/f"), "in memory").unwrap();
        fs::write(t.join("d/f"), "changed").unwrap();
    });
    drop(mounted);
    world.compare(&world.whole(), |t| {
        fs::write(t.join("d/sub/f"), "changed, then hidden").unwrap();
        run("mount", &[&memory[..], &[sub.as_os_str()]].concat());
        fs::write(t.join("d/sub/f"), "in memory").unwrap();
    });
    drop(Mounted(&sub));
    // Another part of the same subvolume is no other device.
    run(
        "mount",
        &[OsStr::new("--bind"), e.as_os_str(), sub.as_os_str()],
    );
    let mounted = Mounted(&sub);
    let beneath = AbsPath::new(sub.join("f")).unwrap();
    assert!(world.strategy.probe(&beneath).is_err());
    let mut capture = world.begin(&world.whole());
    fs::write(e.join("f"), "changed").unwrap();
    let sealed = seal(&mut *capture, &world.files(false));
    assert_eq!(paths(&sealed, &world.tree), ["e/f"]);
    let expected = "another filesystem is mounted here";
    assert_eq!(
        unobserved(capture.unobserved(), &world.tree),
        [("d/sub".into(), expected.into())]
    );
    capture.finish();
    drop(mounted);
}

#[test]
fn other_names_of_a_file_are_taken_in_or_named() {
    let Some(mut world) = World::new("other_names_of_a_file_are_taken_in_or_named") else {
        return;
    };
    fill(&world.tree);
    fs::hard_link(world.tree.join("d/f"), world.tree.join("e/linked")).unwrap();
    fs::hard_link(world.tree.join("d/f"), world.tree.join("d/sub/linked")).unwrap();
    let scope = [at(&world.tree.join("d"), Depth::Tree)];
    world.base = Some(AbsPath::new(&world.tree).unwrap());
    let sealed = world.compare(&scope, |t| {
        fs::remove_file(t.join("d/f")).unwrap();
    });
    assert_eq!(
        paths(&sealed, &world.tree),
        ["d", "d/f", "d/sub/linked", "e/linked"]
    );
    assert_eq!(sealed.notes, Vec::<String>::new());
    world.base = Some(AbsPath::new(world.tree.join("d")).unwrap());
    let sealed = world.compare(&scope, |t| {
        fs::write(t.join("d/sub/linked"), "changed").unwrap();
    });
    assert_eq!(paths(&sealed, &world.tree), ["d/sub/linked"]);
    assert!(sealed.notes[0].contains("hard links"), "{:?}", sealed.notes);
    // One name is moved over another file, in and out of the scope.
    world.compare(&scope, |t| {
        fs::rename(t.join("e/f"), t.join("d/sub/linked")).unwrap();
    });
}

#[test]
fn ignore_files_hold_as_they_were() {
    let Some(mut world) = World::new("ignore_files_hold_as_they_were") else {
        return;
    };
    fill(&world.tree);
    world.base = Some(AbsPath::new(world.volume.root()).unwrap());
    world.patterns.push("*.tmp".into());
    fs::write(world.volume.root().join(".deployxignore"), "*.above\n").unwrap();
    fs::write(world.tree.join("d/.deployxignore"), "*.skip\n/sub/deep/\n").unwrap();
    fs::create_dir(world.tree.join("e/x.tmp")).unwrap();
    let names = ["f.tmp", "f.above", "f.skip", "f.other"];
    for name in names {
        fs::write(world.tree.join("d/sub").join(name), "old").unwrap();
        fs::write(world.tree.join("e").join(name), "old").unwrap();
    }
    let sealed = world.compare(&world.whole(), |t| {
        fs::write(t.join("d/.deployxignore"), "*.other\n").unwrap();
        fs::write(t.join("d/sub/.deployxignore"), "*\n").unwrap();
        fs::write(t.join("d/sub/deep/f"), "changed").unwrap();
        fs::write(t.join("e/x.tmp/f"), "new").unwrap();
        for name in names {
            fs::write(t.join("d/sub").join(name), "changed").unwrap();
            fs::remove_file(t.join("e").join(name)).unwrap();
        }
    });
    let expected = [
        "d/.deployxignore",
        "d/sub",
        "d/sub/.deployxignore",
        "d/sub/f.other",
        "e",
        "e/f.other",
        "e/f.skip",
    ];
    assert_eq!(paths(&sealed, &world.tree), expected);
    // A whole tree that goes, and one that is another one now.
    world.compare(&world.whole(), |t| swap(&t.join("d"), &t.join("e")));
    world.compare(&world.whole(), |t| fs::remove_dir_all(t.join("e")).unwrap());
    // The scope itself is left alone.
    let alone = [at(&world.tree.join("e/x.tmp"), Depth::Tree)];
    fs::create_dir_all(world.tree.join("e/x.tmp")).unwrap();
    let sealed = world.compare(&alone, |t| fs::write(t.join("e/x.tmp/f"), "new").unwrap());
    assert!(sealed.changes.is_empty());
}

#[test]
fn content_is_copied_where_it_cannot_be_cloned_and_within_the_limits() {
    let test = "content_is_copied_where_it_cannot_be_cloned_and_within_the_limits";
    let Some(mut world) = World::new(test) else {
        return;
    };
    fill(&world.tree);
    let nocow = File::create(world.tree.join("nocow")).unwrap();
    rustix::fs::ioctl_setflags(&nocow, IFlags::from_bits_retain(0x0080_0000)).unwrap();
    nocow.write_all_at(&vec![b'n'; 50_000], 0).unwrap();
    let sparse = File::create(world.tree.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 10 << 20).unwrap();
    let change = |t: &Path| {
        fs::write(t.join("nocow"), "changed").unwrap();
        fs::write(t.join("sparse"), "changed").unwrap();
        fs::remove_dir_all(t.join("d")).unwrap();
    };
    world.compare(&world.whole(), change);
    fill(&world.tree);
    let far = world.files(true);
    world.compare_in(&world.whole(), &far, |t| {
        fs::write(t.join("nocow"), vec![b'x'; 60_000]).unwrap();
        fs::remove_dir_all(t.join("d")).unwrap();
    });
    fill(&world.tree);
    world.limits = Limits {
        max_file_bytes: 50_000,
        ..world.limits
    };
    let lost = |far: bool| {
        let mut capture = world.begin(&world.whole());
        fs::remove_file(world.tree.join("d/sub/deep/f")).unwrap();
        let sealed = seal(&mut *capture, &world.files(far));
        capture.finish();
        fill(&world.tree);
        let change = sealed
            .changes
            .iter()
            .find(|c| c.path.name() == Some(OsStr::new("f")));
        matches!(change.unwrap().content, PreImage::Lost { .. })
    };
    assert!(lost(true));
    // Clones occupy nothing.
    assert!(!lost(false));
}

#[test]
fn strange_names_special_files_and_great_depth_are_found() {
    let Some(world) = World::new("strange_names_special_files_and_great_depth_are_found") else {
        return;
    };
    fs::write(world.tree.join(OsStr::from_bytes(b"\xff\n name")), "old").unwrap();
    open(&world.tree)
        .make_node(OsStr::new("pipe"), crate::entry::EntryKind::Fifo, None)
        .unwrap();
    let null = crate::entry::DeviceNumber { major: 1, minor: 3 };
    open(&world.tree)
        .make_node(
            OsStr::new("null"),
            crate::entry::EntryKind::CharDevice,
            Some(null),
        )
        .unwrap();
    let mut dir = open(&world.tree);
    for level in 0..40 {
        let name = format!("{level}{}", "d".repeat(200));
        dir.make_dir(OsStr::new(&name)).unwrap();
        dir = dir.open_dir(OsStr::new(&name)).unwrap();
    }
    std::io::Write::write_all(&mut dir.create_file(OsStr::new("leaf")).unwrap(), b"old").unwrap();
    let sealed = world.compare(&world.whole(), |t| {
        fs::write(t.join(OsStr::from_bytes(b"\xff\n name")), "changed").unwrap();
        fs::remove_file(t.join("pipe")).unwrap();
        std::os::unix::fs::lchown(t.join("null"), Some(7), None).unwrap();
        dir.unlink(OsStr::new("leaf")).unwrap();
    });
    assert_eq!(sealed.changes.len(), 6);
}

#[test]
fn reading_everything_changes_nothing() {
    let Some(world) = World::new("reading_everything_changes_nothing") else {
        return;
    };
    fill(&world.tree);
    let sealed = world.compare(&world.whole(), |t| {
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
        for name in ["d/f", "d/sub/f", "e/f"] {
            let times = fs::FileTimes::new().set_accessed(long_ago);
            File::open(t.join(name)).unwrap().set_times(times).unwrap();
            fs::read(t.join(name)).unwrap();
        }
        fs::read_dir(t.join("d")).unwrap().for_each(drop);
    });
    assert!(sealed.changes.is_empty());
}
