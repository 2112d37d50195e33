//! What a filesystem keeps of an entry: written, read back, removed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde::Serialize;

use super::scratch::Scratch;
use crate::entry::{DeviceNumber, EntryKind, Timestamp, Xattr, flags};
use crate::sys::{self, Dir, Pinned};

/// What entries on a volume keep. `None` stands for what this user could not try.
///
/// The names are those of `doctor --json` and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fidelity {
    /// The step of modification times in nanoseconds: 1 where they are kept exactly.
    pub time_step_ns: Option<u64>,
    /// Extended attributes of users.
    pub xattrs: Option<bool>,
    /// POSIX access control lists.
    pub acls: Option<bool>,
    /// Several names of one file.
    pub hard_links: Option<bool>,
    /// Symbolic links.
    pub symlinks: Option<bool>,
    /// Holes in files occupy nothing.
    pub sparse_files: Option<bool>,
    /// Names that differ only in case are different.
    pub case_sensitive: Option<bool>,
    /// Names of 255 bytes.
    pub long_names: Option<bool>,
    /// Names that are not UTF-8.
    pub byte_names: Option<bool>,
    /// Inode flags (`chattr`).
    pub flags: Option<bool>,
    /// Permission bits.
    pub modes: Option<bool>,
    /// Owner and group.
    pub owners: Option<bool>,
    /// Named pipes.
    pub fifos: Option<bool>,
    /// Device nodes.
    pub devices: Option<bool>,
}

impl Fidelity {
    /// Tries everything out in a private directory in `directory`, which is removed again.
    ///
    /// # Errors
    /// Where nothing can be written there.
    pub fn probe(directory: &Path) -> io::Result<Self> {
        let scratch = Scratch::new(directory)?;
        let file = scratch.file("file")?;
        file.write_all_at(b"content", 0)?;
        let (dir, root) = (scratch.dir(), sys::is_root());
        Ok(Self {
            time_step_ns: time_step(dir),
            xattrs: tried(has_xattr(dir, b"user.deployx", b"value")),
            acls: tried(has_xattr(dir, b"system.posix_acl_access", &access_list())),
            hard_links: tried(links(dir)),
            symlinks: tried(symlinks(dir)),
            sparse_files: tried(holes(&scratch)),
            case_sensitive: tried(
                dir.stat_opt(OsStr::new("FILE"))
                    .map(|other| other.is_none()),
            ),
            long_names: tried(has_name(dir, &OsString::from("n".repeat(255)))),
            byte_names: tried(has_name(dir, &OsString::from_vec(b"\xff\xfe".to_vec()))),
            flags: tried(has_flags(dir)),
            modes: tried(modes(dir)),
            owners: if root { tried(owners(dir)) } else { None },
            fifos: tried(node(dir, EntryKind::Fifo)),
            devices: if root {
                tried(node(dir, EntryKind::CharDevice))
            } else {
                None
            },
        })
    }

    /// Every property by name, in words for people.
    pub fn properties(&self) -> [(&'static str, Option<bool>); 13] {
        [
            ("xattrs", self.xattrs),
            ("ACLs", self.acls),
            ("hard links", self.hard_links),
            ("symbolic links", self.symlinks),
            ("sparse files", self.sparse_files),
            ("upper and lower case", self.case_sensitive),
            ("255-byte names", self.long_names),
            ("non-UTF-8 names", self.byte_names),
            ("flags", self.flags),
            ("modes", self.modes),
            ("owners", self.owners),
            ("fifos", self.fifos),
            ("devices", self.devices),
        ]
    }
}

/// An error means that the filesystem does not do it, but for those that say something else.
fn tried(result: io::Result<bool>) -> Option<bool> {
    let elsewhere = [
        libc::ENOSPC,
        libc::EDQUOT,
        libc::EACCES,
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::EROFS,
        libc::EIO,
    ];
    match result {
        Ok(kept) => Some(kept),
        Err(error) => {
            let code = error.raw_os_error();
            (!code.is_some_and(|code| elsewhere.contains(&code))).then_some(false)
        }
    }
}

const FILE: &str = "file";

fn pinned(dir: &Dir) -> io::Result<Pinned> {
    Pinned::open(dir, OsStr::new(FILE))
}

/// An odd second with a different digit at each place tells the step.
fn time_step(dir: &Dir) -> Option<u64> {
    const SET: Timestamp = Timestamp {
        seconds: 1_000_000_001,
        nanoseconds: 123_456_789,
    };
    pinned(dir).and_then(|file| file.set_times(SET, SET)).ok()?;
    let found = dir.stat(OsStr::new(FILE)).ok()?.modified;
    step_of(SET, found)
}

/// The coarsest step that makes `found` of `set`; `None` where nothing does.
fn step_of(set: Timestamp, found: Timestamp) -> Option<u64> {
    let whole = |time: Timestamp| time.seconds as u64 * 1_000_000_000 + u64::from(time.nanoseconds);
    let (set, found) = (whole(set), whole(found));
    [
        1,
        100,
        1_000,
        1_000_000,
        10_000_000,
        1_000_000_000,
        2_000_000_000,
    ]
    .into_iter()
    .find(|step| found == set - set % step)
}

fn has_xattr(dir: &Dir, name: &[u8], value: &[u8]) -> io::Result<bool> {
    let wanted = Xattr {
        name: name.to_vec(),
        value: value.to_vec(),
    };
    let file = pinned(dir)?;
    // What is there already is the system's (labels) and stays.
    let before = file.xattrs()?;
    file.set_xattrs(&[&before[..], std::slice::from_ref(&wanted)].concat())?;
    let kept = pinned(dir)?.xattrs()?.contains(&wanted);
    file.set_xattrs(&before)?;
    Ok(kept)
}

/// An access list that permission bits cannot stand for: one more user may read.
fn access_list() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NOBODY),
        (0x02, 4, 4711),
        (0x04, 0, NOBODY),
        (0x10, 4, NOBODY),
        (0x20, 0, NOBODY),
    ];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

fn links(dir: &Dir) -> io::Result<bool> {
    let name = OsStr::new("link");
    dir.link(OsStr::new(FILE), dir, name)?;
    let (one, other) = (dir.stat(OsStr::new(FILE))?, dir.stat(name)?);
    dir.unlink(name)?;
    Ok(one.identity.inode == other.identity.inode && one.identity.links == 2)
}

fn symlinks(dir: &Dir) -> io::Result<bool> {
    let name = OsStr::new("symlink");
    let target = b"nowhere/\xff";
    dir.make_symlink(name, target)?;
    Ok(dir.read_link(name)? == target)
}

/// A file of 16 MiB with one byte in the middle.
fn holes(scratch: &Scratch) -> io::Result<bool> {
    const LENGTH: u64 = 16 << 20;
    let file: File = scratch.file("holes")?;
    file.set_len(LENGTH)?;
    file.write_all_at(b"x", LENGTH / 2)?;
    file.sync_all()?;
    let stat = scratch.dir().stat(OsStr::new("holes"))?;
    Ok(stat.size == LENGTH && stat.allocated < LENGTH / 4)
}

/// Whether an entry of this name can be made and is listed under it.
fn has_name(dir: &Dir, name: &OsStr) -> io::Result<bool> {
    drop(dir.create_file(name)?);
    let kept = dir.names()?.iter().any(|n| n.as_bytes() == name.as_bytes());
    dir.unlink(name)?;
    Ok(kept)
}

/// The one flag that everybody may set on an own file, and that does nothing.
fn has_flags(dir: &Dir) -> io::Result<bool> {
    pinned(dir)?.set_flags(flags::NODUMP)?;
    let kept = pinned(dir)?.flags()? & flags::NODUMP != 0;
    pinned(dir)?.set_flags(0)?;
    Ok(kept)
}

fn modes(dir: &Dir) -> io::Result<bool> {
    for mode in [0o640, 0o4711, 0o600] {
        pinned(dir)?.set_mode(mode)?;
        if dir.stat(OsStr::new(FILE))?.mode != mode {
            return Ok(false);
        }
    }
    Ok(true)
}

fn owners(dir: &Dir) -> io::Result<bool> {
    const OWNER: (u32, u32) = (4711, 4712);
    let before = dir.stat(OsStr::new(FILE))?;
    pinned(dir)?.set_owner(OWNER.0, OWNER.1)?;
    let found = dir.stat(OsStr::new(FILE))?;
    pinned(dir)?.set_owner(before.uid, before.gid)?;
    Ok((found.uid, found.gid) == OWNER)
}

fn node(dir: &Dir, kind: EntryKind) -> io::Result<bool> {
    // The null device: harmless, whoever opens it.
    let number = DeviceNumber { major: 1, minor: 3 };
    let device = (kind == EntryKind::CharDevice).then_some(number);
    let name = OsStr::new("node");
    dir.make_node(name, kind, device)?;
    let found = dir.stat(name)?;
    dir.unlink(name)?;
    Ok(found.kind == kind && found.device_number == device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_step_of_times_is_told_from_one_stamp() {
        let set = Timestamp {
            seconds: 1_000_000_001,
            nanoseconds: 123_456_789,
        };
        for (seconds, nanoseconds, step) in [
            (1_000_000_001, 123_456_789, Some(1)),
            (1_000_000_001, 123_456_700, Some(100)),
            (1_000_000_001, 123_456_000, Some(1_000)),
            (1_000_000_001, 120_000_000, Some(10_000_000)),
            (1_000_000_001, 0, Some(1_000_000_000)),
            (1_000_000_000, 0, Some(2_000_000_000)),
            (1_700_000_000, 0, None),
        ] {
            let found = Timestamp {
                seconds,
                nanoseconds,
            };
            assert_eq!(step_of(set, found), step, "{seconds}.{nanoseconds}");
        }
    }

    #[test]
    fn a_full_disk_says_nothing_about_the_filesystem() {
        let error = |code| Err(io::Error::from_raw_os_error(code));
        assert_eq!(tried(error(libc::ENOSPC)), None);
        assert_eq!(tried(error(libc::EPERM)), Some(false));
        assert_eq!(tried(error(libc::EOPNOTSUPP)), Some(false));
        assert_eq!(tried(Ok(true)), Some(true));
    }
}
