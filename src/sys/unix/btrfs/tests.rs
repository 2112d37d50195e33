//! On a real volume: every kind of change to an entry must be found.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, IFlags, RenameFlags, XattrFlags};

use super::search::ChangedInode;
use super::testing::{Volume, open};
use super::*;

const SIZE: u64 = 256 << 20;

/// One way to change something: what to do before the snapshot and after it, and the entries whose
/// inodes must then be found, by their paths afterwards.
struct Case {
    name: &'static str,
    change: fn(&Path),
    found: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "content overwritten",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            file.write_all_at(b"X", 0).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "content overwritten and times put back",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            let modified = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(b"X", 0).unwrap();
            file.set_modified(modified).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "a large file changed in the middle",
        change: |at| {
            let file = OpenOptions::new()
                .write(true)
                .open(at.join("d/large"))
                .unwrap();
            file.write_all_at(b"X", 300_000).unwrap();
        },
        found: &["d/large"],
    },
    Case {
        name: "content appended",
        change: |at| {
            let mut file = OpenOptions::new()
                .append(true)
                .open(at.join("d/f"))
                .unwrap();
            file.write_all(b"more").unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "a file not copied on write",
        change: |at| {
            let file = OpenOptions::new()
                .write(true)
                .open(at.join("d/nocow"))
                .unwrap();
            file.write_all_at(b"X", 5_000).unwrap();
        },
        found: &["d/nocow"],
    },
    Case {
        name: "truncated",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            file.set_len(2).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "extended by a hole",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            file.set_len(1 << 20).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "space reserved",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "a hole punched",
        change: |at| {
            let file = OpenOptions::new()
                .write(true)
                .open(at.join("d/large"))
                .unwrap();
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&file, how, 4096, 65_536).unwrap();
        },
        found: &["d/large"],
    },
    Case {
        name: "blocks of another file shared",
        change: |at| {
            let file = OpenOptions::new().write(true).open(at.join("d/f")).unwrap();
            rustix::fs::ioctl_ficlone(&file, File::open(at.join("d/large")).unwrap()).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "blocks copied in by the kernel",
        change: |at| {
            let file = OpenOptions::new()
                .write(true)
                .open(at.join("d/nocow"))
                .unwrap();
            let from = File::open(at.join("d/large")).unwrap();
            rustix::fs::copy_file_range(&from, None, &file, None, 8192).unwrap();
        },
        found: &["d/nocow"],
    },
    Case {
        name: "mode",
        change: |at| {
            fs::set_permissions(at.join("d/f"), fs::Permissions::from_mode(0o600)).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "mode of a directory",
        change: |at| {
            fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o700)).unwrap();
        },
        found: &["d"],
    },
    Case {
        name: "owner",
        change: |at| std::os::unix::fs::lchown(at.join("d/s"), Some(7), Some(8)).unwrap(),
        found: &["d/s"],
    },
    Case {
        name: "times",
        change: |at| {
            let file = File::open(at.join("d/f")).unwrap();
            let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
            file.set_modified(long_ago).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "attribute set",
        change: |at| set_attribute(&at.join("d/f"), "user.new"),
        found: &["d/f"],
    },
    Case {
        name: "attribute replaced",
        change: |at| set_attribute(&at.join("d/f"), "user.old"),
        found: &["d/f"],
    },
    Case {
        name: "attribute removed",
        change: |at| rustix::fs::removexattr(&*c_path(&at.join("d/f")), "user.old").unwrap(),
        found: &["d/f"],
    },
    Case {
        name: "attribute of a directory",
        change: |at| set_attribute(&at.join("d"), "user.new"),
        found: &["d"],
    },
    Case {
        name: "access control list",
        change: |at| {
            // Version 2; the three that every file has, and one for user 7.
            let mut list = 2u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in [
                (1u16, 6u16, u32::MAX),
                (2, 4, 7),
                (4, 4, u32::MAX),
                (16, 6, u32::MAX),
                (32, 4, u32::MAX),
            ] {
                list.extend(tag.to_le_bytes());
                list.extend(permissions.to_le_bytes());
                list.extend(id.to_le_bytes());
            }
            let name = "system.posix_acl_access";
            let flags = XattrFlags::empty();
            rustix::fs::setxattr(&*c_path(&at.join("d/f")), name, &list, flags).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "inode flag",
        change: |at| {
            let file = File::open(at.join("d/f")).unwrap();
            rustix::fs::ioctl_setflags(&file, IFlags::NODUMP).unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "compression",
        change: |at| {
            let path = c_path(&at.join("d/f"));
            rustix::fs::setxattr(&*path, "btrfs.compression", b"zlib", XattrFlags::empty())
                .unwrap();
        },
        found: &["d/f"],
    },
    Case {
        name: "file made",
        change: |at| fs::write(at.join("d/new"), "n").unwrap(),
        found: &["d", "d/new"],
    },
    Case {
        name: "directory made",
        change: |at| fs::create_dir(at.join("d/new")).unwrap(),
        found: &["d", "d/new"],
    },
    Case {
        name: "symbolic link made",
        change: |at| symlink("x", at.join("d/new")).unwrap(),
        found: &["d", "d/new"],
    },
    Case {
        name: "symbolic link replaced",
        change: |at| {
            fs::remove_file(at.join("d/s")).unwrap();
            symlink("other", at.join("d/s")).unwrap();
        },
        found: &["d", "d/s"],
    },
    Case {
        name: "fifo made",
        change: |at| {
            open(&at.join("d"))
                .make_node(OsStr::new("new"), crate::entry::EntryKind::Fifo, None)
                .unwrap();
        },
        found: &["d", "d/new"],
    },
    Case {
        name: "further name given in another directory",
        change: |at| fs::hard_link(at.join("d/f"), at.join("e/new")).unwrap(),
        found: &["d/f", "e/new", "e"],
    },
    Case {
        name: "one of two names taken away",
        change: |at| fs::remove_file(at.join("e/linked")).unwrap(),
        found: &["e", "d/linked"],
    },
    Case {
        name: "one of two names renamed",
        change: |at| fs::rename(at.join("e/linked"), at.join("e/renamed")).unwrap(),
        found: &["e", "d/linked", "e/renamed"],
    },
    Case {
        name: "written by one of two names",
        change: |at| fs::write(at.join("e/linked"), "by the other").unwrap(),
        found: &["d/linked", "e/linked"],
    },
    Case {
        name: "last name taken away",
        change: |at| fs::remove_file(at.join("d/f")).unwrap(),
        found: &["d"],
    },
    Case {
        name: "directory taken away",
        change: |at| fs::remove_dir_all(at.join("d/sub")).unwrap(),
        found: &["d"],
    },
    Case {
        name: "renamed within a directory",
        change: |at| fs::rename(at.join("d/f"), at.join("d/g")).unwrap(),
        found: &["d", "d/g"],
    },
    Case {
        name: "renamed into another directory",
        change: |at| fs::rename(at.join("d/f"), at.join("e/f")).unwrap(),
        found: &["d", "e", "e/f"],
    },
    Case {
        name: "renamed over another file",
        change: |at| fs::rename(at.join("d/f"), at.join("e/over")).unwrap(),
        found: &["d", "e", "e/over"],
    },
    Case {
        name: "directory moved",
        change: |at| fs::rename(at.join("d/sub"), at.join("e/sub")).unwrap(),
        found: &["d", "e", "e/sub"],
    },
    Case {
        name: "two directories swapped",
        change: |at| {
            let (d, e) = (open(&at.join("d")), open(&at.join("e")));
            rustix::fs::renameat_with(&d, "sub", &e, "other", RenameFlags::EXCHANGE).unwrap();
        },
        found: &["d", "e", "d/sub", "e/other"],
    },
    Case {
        name: "a file of no name given one",
        change: |at| {
            let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR;
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let file = rustix::fs::open(at.join("d"), flags, mode).unwrap();
            let by = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
            let cwd = rustix::fs::CWD;
            rustix::fs::linkat(cwd, by, cwd, at.join("d/new"), follow).unwrap();
        },
        found: &["d", "d/new"],
    },
];

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_encoded_bytes()).unwrap()
}

fn set_attribute(path: &Path, name: &str) {
    rustix::fs::setxattr(&*c_path(path), name, b"value", XattrFlags::empty()).unwrap();
}

/// What the cases change, and files beside it that none does.
fn make_tree(at: &Path) {
    for dir in ["d/sub/deep", "e/other", "untouched"] {
        fs::create_dir_all(at.join(dir)).unwrap();
    }
    for number in 0..50 {
        fs::write(at.join(format!("untouched/{number}")), "u").unwrap();
    }
    fs::write(at.join("d/f"), "a small file").unwrap();
    fs::write(at.join("d/large"), vec![b'l'; 1 << 20]).unwrap();
    let nocow = File::create(at.join("d/nocow")).unwrap();
    rustix::fs::ioctl_setflags(&nocow, IFlags::from_bits_retain(0x0080_0000)).unwrap();
    nocow.write_all_at(&vec![b'n'; 16_384], 0).unwrap();
    symlink("f", at.join("d/s")).unwrap();
    fs::write(at.join("d/linked"), "two names").unwrap();
    fs::hard_link(at.join("d/linked"), at.join("e/linked")).unwrap();
    fs::write(at.join("e/over"), "is replaced").unwrap();
    fs::write(at.join("d/sub/deep/file"), "deep").unwrap();
    set_attribute(&at.join("d/f"), "user.old");
}

fn inode(path: &Path) -> u64 {
    path.symlink_metadata().unwrap().ino()
}

/// A read-only snapshot of `root` in `into`, with what is known of it.
fn snapshot(root: &Path, into: &Path, name: &str) -> (PathBuf, Subvolume) {
    create_snapshot(&open(root), &open(into), OsStr::new(name)).unwrap();
    let path = into.join(name);
    let info = subvolume_of(&open(&path)).unwrap();
    (path, info)
}

fn changed(root: &Path, since: u64) -> Vec<ChangedInode> {
    let root = open(root);
    settle(&root).unwrap();
    changed_since(&root, since).unwrap()
}

#[test]
fn every_kind_of_change_is_found_and_nothing_else() {
    let Some(volume) = Volume::new("every_kind_of_change_is_found_and_nothing_else", SIZE) else {
        return;
    };
    for case in CASES {
        let root = volume.make_subvolume("work");
        make_tree(&root);
        let (_, made) = snapshot(&root, volume.root(), "before");
        (case.change)(&root);
        let found = changed(&root, made.created);
        let inodes: BTreeSet<u64> = found.iter().map(|c| c.inode).collect();
        for path in case.found {
            let wanted = inode(&root.join(path));
            assert!(
                inodes.contains(&wanted),
                "{}: {path} in {found:?}",
                case.name
            );
        }
        for entry in fs::read_dir(root.join("untouched")).unwrap() {
            let path = entry.unwrap().path();
            assert!(!inodes.contains(&inode(&path)), "{}: {path:?}", case.name);
        }
        assert!(inodes.len() <= 6, "{}: {found:?}", case.name);
        destroy_subvolume(&open(volume.root()), OsStr::new("before")).unwrap();
        destroy_subvolume(&open(volume.root()), OsStr::new("work")).unwrap();
    }
}

#[test]
fn writes_in_the_same_tick_as_the_last_one_are_found() {
    let Some(volume) = Volume::new("writes_in_the_same_tick_as_the_last_one_are_found", SIZE)
    else {
        return;
    };
    let root = volume.make_subvolume("work");
    let file = File::create(root.join("f")).unwrap();
    file.write_all_at(&vec![0; 64 << 10], 0).unwrap();
    for round in 1..60u8 {
        // Written right before the snapshot and right after it, by a descriptor that stays open.
        file.write_all_at(&[round; 4096], 0).unwrap();
        let (path, made) = snapshot(&root, volume.root(), "before");
        file.write_all_at(&[round + 100; 4096], 8192).unwrap();
        let found = changed(&root, made.created);
        assert!(
            found.iter().any(|c| c.inode == inode(&root.join("f"))),
            "round {round}"
        );
        let kept = fs::read(path.join("f")).unwrap();
        assert_eq!(
            (kept[0], kept[8192]),
            (round, if round == 1 { 0 } else { round + 99 })
        );
        destroy_subvolume(&open(volume.root()), OsStr::new("before")).unwrap();
    }
}

#[test]
fn writes_through_a_mapping_made_before_are_found() {
    let Some(volume) = Volume::new("writes_through_a_mapping_made_before_are_found", SIZE) else {
        return;
    };
    let root = volume.make_subvolume("work");
    for name in ["f", "nocow"] {
        let at = root.join(name);
        let flags = if name == "f" { 0 } else { 0x0080_0000 };
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .clone();
        let file = options.open(&at).unwrap();
        rustix::fs::ioctl_setflags(&file, IFlags::from_bits_retain(flags)).unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        let mut page = crate::sys::SharedPage::of(&file);
        for round in 1..20u8 {
            // The page is written right before the snapshot, and once more without a new fault in
            // between as far as this process can tell.
            page.store(round);
            let (path, made) = snapshot(&root, volume.root(), "before");
            page.store(round + 100);
            let found = changed(&root, made.created);
            assert!(
                found.iter().any(|c| c.inode == inode(&at)),
                "{name} {round}"
            );
            assert_eq!(fs::read(path.join(name)).unwrap()[0], round, "{name}");
            assert_eq!(fs::read(&at).unwrap()[0], round + 100, "{name}");
            destroy_subvolume(&open(volume.root()), OsStr::new("before")).unwrap();
        }
    }
}

#[test]
fn nothing_is_found_where_nothing_changed() {
    let Some(volume) = Volume::new("nothing_is_found_where_nothing_changed", SIZE) else {
        return;
    };
    make_tree(volume.root());
    let into = volume.make_subvolume("store");
    let (_, made) = snapshot(volume.root(), &into, "before");
    assert_eq!(changed(volume.root(), made.created), []);
    // What happens in another subvolume is none of this one's.
    fs::write(into.join("elsewhere"), "e").unwrap();
    assert_eq!(changed(volume.root(), made.created), []);
}

#[test]
fn all_names_of_an_inode_are_given() {
    let Some(volume) = Volume::new("all_names_of_an_inode_are_given", SIZE) else {
        return;
    };
    let root = volume.root();
    fs::create_dir(root.join("a")).unwrap();
    fs::write(root.join("first"), "f").unwrap();
    let mut wanted = vec![(ROOT_INODE, "first".to_owned())];
    let directory = inode(&root.join("a"));
    // So many long names in one directory that they do not fit into one item.
    for number in 0..300 {
        let name = format!("{}{number}", "n".repeat(200));
        fs::hard_link(root.join("first"), root.join("a").join(&name)).unwrap();
        wanted.push((directory, name));
    }
    wanted.sort();
    let dir = open(root);
    settle(&dir).unwrap();
    let sorted = |names: Vec<InodeName>| {
        let mut names: Vec<(u64, String)> = names
            .into_iter()
            .map(|n| (n.directory, n.name.into_string().unwrap()))
            .collect();
        names.sort();
        names
    };
    let file = inode(&root.join("first"));
    assert_eq!(sorted(names_of(&dir, file).unwrap()), wanted);
    let (_, made) = snapshot(root, root, "before");
    fs::write(root.join("first"), "changed").unwrap();
    let found = changed(root, made.created);
    let found = found.into_iter().find(|c| c.inode == file).unwrap();
    assert!(!found.is_directory);
    assert_eq!(sorted(found.names), wanted);
}

#[test]
fn subvolumes_beneath_one_are_listed_with_their_places() {
    let Some(volume) = Volume::new("subvolumes_beneath_one_are_listed_with_their_places", SIZE)
    else {
        return;
    };
    volume.make_subvolume("one");
    fs::create_dir_all(volume.root().join("x/y")).unwrap();
    volume.make_subvolume("x/y/two");
    volume.make_subvolume("one/beneath");
    let list = |at: &Path| {
        let root = open(at);
        settle(&root).unwrap();
        nested_subvolumes(&root, subvolume_of(&root).unwrap().id).unwrap()
    };
    assert_eq!(
        list(volume.root()),
        [Path::new("one"), Path::new("x/y/two")]
    );
    assert_eq!(list(&volume.root().join("one")), [Path::new("beneath")]);
    assert!(list(&volume.root().join("x/y/two")).is_empty());
}

#[test]
fn a_snapshot_is_read_only_and_says_of_what_it_is() {
    let Some(volume) = Volume::new("a_snapshot_is_read_only_and_says_of_what_it_is", SIZE) else {
        return;
    };
    let root = volume.make_subvolume("work");
    fs::write(root.join("f"), "old").unwrap();
    let of = subvolume_of(&open(&root)).unwrap();
    assert!(!of.read_only && is_btrfs(&open(&root)).unwrap());
    let (path, made) = snapshot(&root, volume.root(), "before");
    assert!(made.read_only);
    assert_eq!(made.parent_uuid, of.uuid);
    assert_ne!(made.uuid, of.uuid);
    assert_eq!(inode(&path), ROOT_INODE);
    assert!(fs::write(path.join("f"), "new").is_err());
    // Only the root of a subvolume can be its source, and only what is one can go.
    fs::create_dir(root.join("plain")).unwrap();
    let into = open(volume.root());
    assert!(create_snapshot(&open(&root.join("plain")), &into, OsStr::new("no")).is_err());
    assert!(destroy_subvolume(&open(&root), OsStr::new("plain")).is_err());
    destroy_subvolume(&into, OsStr::new("before")).unwrap();
    assert!(!path.exists());
}

#[test]
fn other_filesystems_are_not_taken_for_btrfs() {
    let dir = open(Path::new("/proc"));
    assert!(!is_btrfs(&dir).unwrap());
    assert!(subvolume_of(&dir).is_err());
}
