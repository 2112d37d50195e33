//! A small tree with one of everything.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;

use super::{is_root, shell};

/// What a filesystem keeps of what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeps {
    /// Permission bits with setuid, setgid and sticky.
    pub modes: bool,
    /// User and group.
    pub owners: bool,
    /// Symbolic links.
    pub symlinks: bool,
    /// Several names of one file, with the same inode number and the right count at once.
    pub hard_links: bool,
    /// Fifos.
    pub fifos: bool,
    /// Device nodes.
    pub devices: bool,
    /// Extended attributes of the `user` namespace.
    pub attributes: bool,
    /// Access control lists.
    pub acls: bool,
    /// File capabilities.
    pub capabilities: bool,
    /// Flags of inodes, such as the one against changes.
    pub flags: bool,
    /// Names that differ in case only.
    pub case: bool,
    /// Names that are not UTF-8.
    pub bytes: bool,
    /// Exchanging two names in one step.
    pub exchange: bool,
    /// Times to the nanosecond.
    pub nanoseconds: bool,
}

impl Keeps {
    /// A filesystem that lacks nothing.
    pub const EVERYTHING: Self = Self {
        modes: true,
        owners: true,
        symlinks: true,
        hard_links: true,
        fifos: true,
        devices: true,
        attributes: true,
        acls: true,
        capabilities: true,
        flags: true,
        case: true,
        bytes: true,
        exchange: true,
        nanoseconds: true,
    };
}

/// A small tree with one of everything.
pub fn fixture(tree: &Path) {
    fixture_of(tree, &Keeps::EVERYTHING);
}

/// The same without what the filesystem does not keep.
pub fn fixture_of(tree: &Path, keeps: &Keeps) {
    for dir in ["src/deep/deeper", "docs", "empty", "locked", "sticky"] {
        fs::create_dir_all(tree.join(dir)).expect("a directory");
    }
    for n in 0..40 {
        fs::write(
            tree.join(format!("src/file{n}.txt")),
            format!("line one\nvalue = {n}\n"),
        )
        .expect("a file");
    }
    fs::write(tree.join("src/deep/deeper/leaf"), "leaf").expect("a file");
    fs::write(tree.join("docs/empty-file"), "").expect("a file");
    fs::write(
        tree.join("docs/binary"),
        (0..=255u8).cycle().take(300_000).collect::<Vec<_>>(),
    )
    .expect("a file");
    names(tree, keeps);
    links(tree, keeps);
    let sparse = fs::File::create(tree.join("sparse")).expect("a file");
    sparse.write_all_at(b"tail", 5 << 20).expect("a tail");
    sparse.set_len(8 << 20).expect("a size");
    metadata(tree, keeps);
    // Times in the past, with nanoseconds, directories last.
    shell(
        tree,
        "find . -depth -exec touch -h -d '2021-03-04 05:06:07.123456789' {} +",
    );
}

fn names(tree: &Path, keeps: &Keeps) {
    fs::write(tree.join("with space & 'quotes' \"x\" $HOME"), "odd").expect("a file");
    fs::write(tree.join("new\nline"), "odd").expect("a file");
    if keeps.bytes {
        let name = std::ffi::OsStr::from_bytes(b"bytes-\xff\xfe");
        fs::write(tree.join(name), "odd").expect("a file");
    }
    fs::write(tree.join("n".repeat(255)), "long name").expect("a file");
    fs::write(tree.join("-rf"), "dash").expect("a file");
}

fn links(tree: &Path, keeps: &Keeps) {
    if keeps.symlinks {
        symlink("src/file1.txt", tree.join("link")).expect("a link");
        symlink("/nonexistent/target", tree.join("dangling")).expect("a link");
        symlink("../docs", tree.join("src/dirlink")).expect("a link");
    }
    if keeps.hard_links {
        fs::hard_link(tree.join("src/file2.txt"), tree.join("docs/hard")).expect("a hard link");
        fs::hard_link(tree.join("src/file2.txt"), tree.join("hard2")).expect("a hard link");
    }
    if keeps.fifos {
        shell(tree, "mkfifo pipe; true");
    }
    if keeps.devices && is_root() {
        shell(tree, "mknod dev c 1 3; true");
    }
}

fn metadata(tree: &Path, keeps: &Keeps) {
    if keeps.owners && is_root() {
        shell(tree, "chown 1234:5678 src/file8.txt");
        if keeps.symlinks {
            shell(tree, "chown -h 1234:5678 link; true");
        }
    }
    if keeps.modes {
        let mode = |name: &str, mode| {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).expect("a mode");
        };
        mode("src/file3.txt", 0o4755);
        mode("src/file4.txt", 0o2640);
        mode("src/file5.txt", 0o000);
        mode("sticky", 0o1777);
        mode("locked", 0o500);
    }
    if keeps.attributes {
        shell(
            tree,
            "setfattr -n user.note -v hello src/file6.txt; setfattr -n user.dir -v d docs; true",
        );
    }
    if keeps.acls {
        shell(
            tree,
            "setfacl -m u:12345:rw src/file7.txt; setfacl -d -m u:12345:rwx docs; true",
        );
    }
}
