//! What the paths and descriptors of a calling thread mean.
//!
//! A path is looked up here as the kernel will look it up for the caller right after: from its own
//! root, working directory and descriptors. Between the two another thread may change what a path
//! means, or the text of the path itself; nothing here can prevent that.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::known::{Directories, Directory, Threads};
use crate::entry::EntryKind;
use crate::path::AbsPath;
use crate::sys::{Dir, Stat};

/// How many dangling links are followed in a row, as in the kernel.
const LINKS: usize = 40;
/// The longest path that the system takes.
pub(super) const PATH: usize = 4096;
/// What the kernel adds to the name of a directory that was deleted.
const DELETED: &[u8] = b" (deleted)";

/// A name in a directory, as it is reached now.
#[derive(Debug)]
pub(super) struct Spot {
    /// The directory; the entry itself where that is the root.
    pub(super) dir: Dir,
    /// Where the directory is.
    pub(super) directory: Rc<Directory>,
    /// The name; `None`: the root.
    pub(super) name: Option<OsString>,
}

impl Spot {
    /// Where it is.
    pub(super) fn path(&self) -> Option<AbsPath> {
        match &self.name {
            Some(name) => self.directory.path.join(name).ok(),
            None => Some(self.directory.path.clone()),
        }
    }

    /// What is there.
    pub(super) fn stat(&self) -> io::Result<Option<Stat>> {
        match &self.name {
            Some(name) => self.dir.stat_opt(name),
            None => self.dir.stat_self().map(Some),
        }
    }
}

/// The thread that waits for an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) thread: u32,
    /// Its root may be another than this process's.
    pub(super) other_root: bool,
    pub(super) threads: &'a Threads,
    pub(super) directories: &'a Directories,
}

impl Caller<'_> {
    /// The name that `path` means, from the directory `from` where it is relative. With `follow` a
    /// symbolic link there is followed.
    pub(super) fn spot(self, from: i32, path: &[u8], follow: bool) -> io::Result<Spot> {
        let mut path = Cow::Borrowed(path);
        let mut from = from;
        for _ in 0..LINKS {
            if let Some((descriptor, rest)) = own_descriptor(&path) {
                if rest.is_empty() {
                    return self.spot_of(descriptor);
                }
                (from, path) = (descriptor, Cow::Owned(rest.to_vec()));
            }
            match self.spot_once(from, &path, follow)? {
                Looked::Spot(spot) => return Ok(*spot),
                Looked::Dangling(target) => path = Cow::Owned(target),
            }
        }
        Err(io::Error::from_raw_os_error(libc::ELOOP))
    }

    /// The name by which the caller's descriptor was opened; an error where it has none any more.
    pub(super) fn spot_of(self, descriptor: i32) -> io::Result<Spot> {
        spot_of(&self.descriptor(descriptor)?)
    }

    /// The caller's descriptor itself, for looking only.
    pub(super) fn descriptor(self, descriptor: i32) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let name = self.descriptor_name(descriptor);
        Ok(rustix::fs::open(name.as_str(), flags, Mode::empty())?)
    }

    fn descriptor_name(self, descriptor: i32) -> String {
        if descriptor == libc::AT_FDCWD {
            format!("/proc/{}/cwd", self.thread)
        } else {
            format!("/proc/{}/fd/{descriptor}", self.thread)
        }
    }

    fn spot_once(self, from: i32, path: &[u8], follow: bool) -> io::Result<Looked> {
        let (start, whole, from_root) = self.start(from, path)?;
        let bare = trim_end(&whole);
        let slash = bare.len() < whole.len();
        let (above, name) = match bare.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&bare[..at], &bare[at + 1..]),
            None => (&bare[..0], bare),
        };
        if matches!(name, b"" | b"." | b"..") {
            let to = if bare.is_empty() { b"." } else { bare };
            return Ok(spot_of(&self.look(&start, to, OFlags::DIRECTORY)?)?.into());
        }
        let (parent, start) = match start {
            Start::Open(start) if above.is_empty() => (start, None),
            start if above.is_empty() => (self.look(&start, b".", OFlags::DIRECTORY)?, Some(start)),
            start => (self.look(&start, above, OFlags::DIRECTORY)?, Some(start)),
        };
        let directory = self.directory(&parent)?;
        let spot = Spot {
            dir: Dir::from(parent),
            directory,
            name: Some(OsStr::from_bytes(name).to_owned()),
        };
        if !follow && !slash {
            return Ok(spot.into());
        }
        if spot
            .stat()?
            .is_none_or(|stat| stat.kind != EntryKind::Symlink)
        {
            return Ok(spot.into());
        }
        let found = match &start {
            Some(start) => self.look(start, bare, OFlags::empty()),
            None => self.look_from(&spot.dir, bare, OFlags::empty()),
        };
        match found {
            Ok(found) => Ok(spot_of(&found)?.into()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let target = spot.dir.read_link(OsStr::from_bytes(name))?;
                if target.starts_with(b"/") {
                    return Ok(Looked::Dangling(target));
                }
                let root: &[u8] = if from_root { b"/" } else { b"" };
                let gap: &[u8] = if above.is_empty() { b"" } else { b"/" };
                Ok(Looked::Dangling([root, above, gap, &target].concat()))
            }
            Err(e) => Err(e),
        }
    }

    fn directory(self, open: &OwnedFd) -> io::Result<Rc<Directory>> {
        if self.other_root {
            Ok(Directory::at(path_of(open)?, None))
        } else {
            self.directories.of(open)
        }
    }

    /// Where looking begins, the path from there, and whether that is the root.
    fn start(self, from: i32, path: &[u8]) -> io::Result<(Start, Vec<u8>, bool)> {
        if path.is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let relative = trim_start(path);
        let absolute = relative.len() < path.len();
        if !self.other_root {
            let start = if absolute {
                Start::Named("/".to_owned())
            } else {
                self.start_beneath(from, relative.len())?
            };
            return Ok((start, relative.to_vec(), absolute));
        }
        let root = rustix::fs::open(
            format!("/proc/{}/root", self.thread).as_str(),
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if absolute {
            return Ok((Start::Open(root), relative.to_vec(), true));
        }
        let at = path_of(&self.descriptor(from)?)?;
        let beneath = at.as_path().strip_prefix(path_of(&root)?.as_path());
        let Ok(beneath) = beneath else {
            // A working directory outside of the root: from there upwards there is no root.
            let start = Start::Open(self.descriptor(from)?);
            return Ok((start, relative.to_vec(), false));
        };
        let whole = beneath.join(OsStr::from_bytes(relative));
        Ok((Start::Open(root), whole.into_os_string().into_vec(), true))
    }

    /// Where a path of so many bytes begins that is relative.
    fn start_beneath(self, from: i32, length: usize) -> io::Result<Start> {
        if from == libc::AT_FDCWD {
            let name = self.descriptor_name(from) + "/";
            if name.len() + length < PATH {
                return Ok(Start::Named(name));
            }
        } else if let Some(taken) = self.threads.open(self.thread, from) {
            return Ok(Start::Open(taken));
        }
        Ok(Start::Open(self.descriptor(from)?))
    }

    fn look(self, start: &Start, path: &[u8], further: OFlags) -> io::Result<OwnedFd> {
        match start {
            Start::Open(start) => self.look_from(start, path, further),
            Start::Named(name) => {
                let whole = [name.as_bytes(), path].concat();
                let found = self.look_from(&rustix::fs::CWD, &whole, further);
                if !matches!(&found, Err(e) if e.raw_os_error() == Some(libc::ELOOP)) {
                    return found;
                }
                // What the name begins with may be a link by itself, which counts.
                let flags = OFlags::PATH | OFlags::CLOEXEC;
                let start = rustix::fs::open(name.as_str(), flags, Mode::empty())?;
                self.look_from(&start, path, further)
            }
        }
    }

    fn look_from(self, start: &impl AsFd, path: &[u8], further: OFlags) -> io::Result<OwnedFd> {
        let resolve = if self.other_root {
            ResolveFlags::IN_ROOT
        } else {
            ResolveFlags::empty()
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC | further;
        let path = OsStr::from_bytes(path);
        let look = |resolve| rustix::fs::openat2(start, path, flags, Mode::empty(), resolve);
        match look(resolve) {
            // Beneath another root the links in `/proc` are not followed.
            Err(Errno::XDEV) => Ok(look(ResolveFlags::empty())?),
            other => Ok(other?),
        }
    }
}

/// Where looking begins.
enum Start {
    Open(OwnedFd),
    /// What the path begins with.
    Named(String),
}

enum Looked {
    Spot(Box<Spot>),
    /// A link that leads to nothing yet: the path that it stands for.
    Dangling(Vec<u8>),
}

impl From<Spot> for Looked {
    fn from(spot: Spot) -> Self {
        Self::Spot(Box::new(spot))
    }
}

/// What a path says that begins with one of the caller's own descriptors: looked up here, it would
/// mean one of this process's.
fn own_descriptor(path: &[u8]) -> Option<(i32, &[u8])> {
    let beneath = |prefix: &[u8]| path.strip_prefix(prefix);
    for (prefix, descriptor) in [
        (&b"/proc/self/cwd"[..], libc::AT_FDCWD),
        (b"/proc/thread-self/cwd", libc::AT_FDCWD),
        (b"/dev/stdin", 0),
        (b"/dev/stdout", 1),
        (b"/dev/stderr", 2),
    ] {
        if let Some(rest) = beneath(prefix).filter(|rest| matches!(rest, [] | [b'/', ..])) {
            return Some((descriptor, trim_start(rest)));
        }
    }
    let numbered = beneath(b"/proc/self/fd/")
        .or_else(|| beneath(b"/proc/thread-self/fd/"))
        .or_else(|| beneath(b"/dev/fd/"))?;
    let end = numbered.iter().position(|byte| *byte == b'/');
    let (number, rest) = numbered.split_at(end.unwrap_or(numbered.len()));
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    Some((number, trim_start(rest)))
}

/// The name by which something that is open was reached.
pub(super) fn spot_of(open: &OwnedFd) -> io::Result<Spot> {
    let path = path_of(open)?;
    let (Some(directory), Some(name)) = (path.parent(), path.name()) else {
        return Ok(Spot {
            dir: Dir::from(open.try_clone()?),
            directory: Directory::at(path, None),
            name: None,
        });
    };
    let spot = Spot {
        dir: Dir::open_path(&directory)?,
        directory: Directory::at(directory, None),
        name: Some(name.to_owned()),
    };
    let (found, wanted) = (spot.stat()?, Stat::of(open)?);
    if found.is_some_and(|found| same(&found, &wanted)) {
        Ok(spot)
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Where something that is open is; an error where it was deleted or is beyond what can be seen here.
pub(super) fn path_of(open: &OwnedFd) -> io::Result<AbsPath> {
    let link = format!("/proc/self/fd/{}", open.as_raw_fd());
    let bytes = match rustix::fs::readlink(link.as_str(), Vec::with_capacity(256)) {
        Ok(bytes) => bytes.into_bytes(),
        Err(Errno::NAMETOOLONG) => return climb(open),
        Err(error) => return Err(error.into()),
    };
    let path = PathBuf::from(OsString::from_vec(bytes));
    if path.as_os_str().as_bytes().ends_with(DELETED) && !is_at(open, &path) {
        return Err(io::ErrorKind::NotFound.into());
    }
    if !path.is_absolute() {
        // Pipes, sockets and the like have no place.
        return Err(io::ErrorKind::NotFound.into());
    }
    AbsPath::new(path).map_err(io::Error::other)
}

/// Where a directory is whose path is longer than the system tells: found from its end.
fn climb(open: &OwnedFd) -> io::Result<AbsPath> {
    let up = |from: &Dir| -> io::Result<Dir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Dir::from(rustix::fs::openat(
            from,
            "..",
            flags,
            Mode::empty(),
        )?))
    };
    let mut at = Dir::from(open.try_clone()?);
    let mut names: Vec<OsString> = Vec::new();
    loop {
        let above = up(&at)?;
        let (own, other) = (at.stat_self()?, above.stat_self()?);
        if same(&own, &other) {
            break;
        }
        let is_this = |name: &OsString| above.stat(name).is_ok_and(|stat| same(&stat, &own));
        let name = above.reopen()?.names()?.into_iter().find(is_this);
        names.push(name.ok_or(io::ErrorKind::NotFound)?);
        at = above;
    }
    let path = names
        .iter()
        .rev()
        .fold(PathBuf::from("/"), |path, name| path.join(name));
    AbsPath::new(path).map_err(io::Error::other)
}

/// Whether `path` leads to what is open.
fn is_at(open: &OwnedFd, path: &Path) -> bool {
    let there = rustix::fs::open(
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let stats = (there.map(|there| Stat::of(&there)), Stat::of(open));
    matches!(stats, (Ok(Ok(one)), Ok(other)) if same(&one, &other))
}

/// Whether two looks found the same inode.
pub(super) fn same(one: &Stat, other: &Stat) -> bool {
    (one.identity.device, one.identity.inode) == (other.identity.device, other.identity.inode)
}

fn trim_start(path: &[u8]) -> &[u8] {
    let first = path.iter().position(|byte| *byte != b'/');
    &path[first.unwrap_or(path.len())..]
}

fn trim_end(path: &[u8]) -> &[u8] {
    let last = path.iter().rposition(|byte| *byte != b'/');
    &path[..last.map_or(0, |last| last + 1)]
}
