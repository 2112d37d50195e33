use std::io::Write as _;

use super::*;

fn directory() -> (tempfile::TempDir, Directory) {
    let temp = tempfile::tempdir().unwrap();
    let directory = Directory::open(temp.path()).unwrap();
    (temp, directory)
}

#[test]
fn replace_overwrites_a_leftover_and_leaves_no_temporary_file() {
    let (temp, directory) = directory();
    std::fs::write(temp.path().join(".t"), "left by a crash").unwrap();
    directory
        .replace(".t", "target", Durability::Durable, |f| f.write_all(b"new"))
        .unwrap();
    assert_eq!(directory.read("target", 10).unwrap(), b"new");
    assert!(!directory.contains(".t").unwrap());
}

#[test]
fn a_failed_sync_abandons_the_file_and_keeps_the_old_one() {
    let (_temp, directory) = directory();
    let write = |bytes: &'static [u8]| {
        directory.replace(".t", "target", Durability::Durable, |f| f.write_all(bytes))
    };
    write(b"old").unwrap();
    faults::fail_sync(0);
    assert!(write(b"new").is_err());
    assert_eq!(directory.read("target", 10).unwrap(), b"old");
    assert!(!directory.contains(".t").unwrap());
    write(b"new").unwrap();
    assert_eq!(directory.read("target", 10).unwrap(), b"new");
}

#[test]
fn a_failed_directory_sync_is_reported() {
    let (_temp, directory) = directory();
    faults::fail_sync(1);
    assert!(
        directory
            .replace(".t", "target", Durability::Durable, |_| Ok(()))
            .is_err()
    );
}

#[test]
fn opening_never_follows_a_symbolic_link() {
    let (temp, directory) = directory();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), temp.path().join("dir")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), temp.path().join("file")).unwrap();
    assert!(Directory::open(&temp.path().join("dir")).is_err());
    assert!(directory.open_at("dir").is_err());
    assert!(directory.open_or_create_at("dir").is_err());
    assert!(directory.open_file("file").is_err());
    assert!(directory.open_lock("file").is_err());
}

#[test]
fn remove_tree_removes_links_but_not_what_they_point_to() {
    let (temp, directory) = directory();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("precious"), "x").unwrap();
    let tree = temp.path().join("tree");
    std::fs::create_dir_all(tree.join("files/nested")).unwrap();
    std::fs::write(tree.join("files/nested/a"), "x").unwrap();
    std::fs::write(tree.join("lock"), "x").unwrap();
    std::os::unix::fs::symlink(outside.path(), tree.join("files/link")).unwrap();
    std::os::unix::fs::symlink(outside.path(), temp.path().join("planted")).unwrap();
    directory.remove_tree("tree", "lock").unwrap();
    assert!(!tree.exists());
    assert!(directory.remove_tree("planted", "lock").is_err());
    assert!(outside.path().join("precious").exists());
}

#[test]
fn reading_refuses_what_is_too_large_or_not_a_file() {
    let (temp, directory) = directory();
    std::fs::write(temp.path().join("large"), "12345").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        temp.path().join("fifo"),
        FileType::Fifo,
        FILE_MODE,
        0,
    )
    .unwrap();
    assert!(directory.read("large", 4).is_err());
    assert!(directory.read("fifo", 4).is_err());
    assert_eq!(directory.read("large", 5).unwrap(), b"12345");
}
