//! Reading and restoring everything about an entry but its content.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, IFlags, Mode, OFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::dir::{Dir, one};
use super::stat::{Stat, stat_at, timespec};
use crate::entry::{EntryKind, EntryState, Timestamp, Xattr, flags};

/// One pinned entry of any kind: whatever happens to its name, these operations reach this inode.
#[derive(Debug)]
pub struct Pinned {
    fd: OwnedFd,
}

impl Pinned {
    /// Pins the entry `name` of `dir` without opening its content or following a symbolic link.
    pub fn open(dir: &Dir, name: &OsStr) -> io::Result<Pinned> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Pinned {
            fd: rustix::fs::openat(dir.fd(), one(name)?, flags, Mode::empty())?,
        })
    }

    /// Pins an open file or directory.
    pub fn of(file: &impl AsFd) -> io::Result<Pinned> {
        Ok(Pinned {
            fd: file.as_fd().try_clone_to_owned()?,
        })
    }

    /// What it is now.
    pub fn stat(&self) -> io::Result<Stat> {
        stat_at(self.fd.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH)
    }

    /// Its extended attributes, sorted by name. Empty where the filesystem has none.
    pub fn xattrs(&self) -> io::Result<Vec<Xattr>> {
        let path = self.magic_path();
        let names = match grow(|buffer| rustix::fs::listxattr(&*path, buffer)) {
            Ok(names) => names,
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut xattrs = Vec::new();
        for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
            match grow(|buffer| rustix::fs::getxattr(&*path, name, buffer)) {
                Ok(value) => xattrs.push(Xattr {
                    name: name.to_vec(),
                    value,
                }),
                // It went away, or this process may list but not read it.
                Err(Errno::NODATA | Errno::PERM | Errno::ACCESS | Errno::NOTSUP) => {}
                Err(e) => return Err(e.into()),
            }
        }
        xattrs.sort_unstable();
        Ok(xattrs)
    }

    /// Makes its extended attributes equal to `wanted`: sets what differs, removes what is more.
    pub fn set_xattrs(&self, wanted: &[Xattr]) -> io::Result<()> {
        let path = self.magic_path();
        let present = self.xattrs()?;
        for xattr in present
            .iter()
            .filter(|p| wanted.iter().all(|w| w.name != p.name))
        {
            match rustix::fs::removexattr(&*path, &*xattr.name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(e) => return Err(named(e, "remove", &xattr.name)),
            }
        }
        for xattr in wanted.iter().filter(|w| !present.contains(w)) {
            rustix::fs::setxattr(&*path, &*xattr.name, &xattr.value, XattrFlags::empty())
                .map_err(|e| named(e, "set", &xattr.name))?;
        }
        Ok(())
    }

    /// Sets owner and group.
    pub fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(
            &self.fd,
            "",
            Some(uid),
            Some(gid),
            AtFlags::EMPTY_PATH,
        )?)
    }

    /// Sets the low 12 mode bits. Not for symbolic links.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::chmod(
            &*self.magic_path(),
            Mode::from_raw_mode(mode),
        )?)
    }

    /// Sets access and modification time.
    pub fn set_times(&self, accessed: Timestamp, modified: Timestamp) -> io::Result<()> {
        let times = Timestamps {
            last_access: timespec(accessed),
            last_modification: timespec(modified),
        };
        Ok(rustix::fs::utimensat(
            rustix::fs::CWD,
            &*self.magic_path(),
            &times,
            AtFlags::empty(),
        )?)
    }

    /// The inode flags that are kept. Only files and directories have any.
    pub fn flags(&self) -> io::Result<u32> {
        match self
            .reopen()
            .and_then(|file| rustix::fs::ioctl_getflags(&file))
        {
            Ok(found) => Ok(found.bits() & flags::KEPT),
            Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => Ok(0),
            Err(e) => Err(e.into()),
        }
    }

    /// Sets the kept inode flags to `wanted`, leaving the others.
    pub fn set_flags(&self, wanted: u32) -> io::Result<()> {
        let file = self.reopen()?;
        let found = match rustix::fs::ioctl_getflags(&file) {
            Ok(found) => found,
            Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) if wanted == 0 => {
                return Ok(());
            }
            Err(e) => return Err(e.into()),
        };
        let new = IFlags::from_bits_retain(found.bits() & !flags::KEPT | wanted & flags::KEPT);
        if new == found {
            Ok(())
        } else {
            Ok(rustix::fs::ioctl_setflags(&file, new)?)
        }
    }

    /// A descriptor for reading the same inode (files and directories).
    fn reopen(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(&*self.magic_path(), flags, Mode::empty())
    }

    /// A name for the pinned inode itself, for system calls that take no descriptor. It resolves
    /// to the inode directly: not even a pinned symbolic link is followed.
    fn magic_path(&self) -> CString {
        CString::new(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).unwrap_or_default()
    }
}

/// Reads the full state of `name` except for the hash of a file's content.
pub fn read_state(dir: &Dir, name: &OsStr, stat: &Stat) -> io::Result<EntryState> {
    let mut state = EntryState::from_stat(stat);
    if stat.kind == EntryKind::Symlink {
        state.target = Some(dir.read_link(name)?);
    }
    let pinned = Pinned::open(dir, name)?;
    state.xattrs = pinned.xattrs()?;
    if matches!(stat.kind, EntryKind::File | EntryKind::Directory) {
        // Who may not open an entry sees at least the flags that `stat` shows.
        state.flags = pinned.flags().unwrap_or(stat.flags);
    }
    Ok(state)
}

/// Reads the full state of an open file or directory except for the hash of a file's content.
pub fn read_open_state(file: &impl AsFd, stat: &Stat) -> io::Result<EntryState> {
    let mut state = EntryState::from_stat(stat);
    // Usually there are none, and asking for their length is all it takes.
    match rustix::fs::flistxattr_query(file) {
        Ok(0) | Err(Errno::NOTSUP | Errno::NOSYS) => {}
        Ok(_) => state.xattrs = Pinned::of(file)?.xattrs()?,
        // A directory that may be searched but not listed.
        Err(Errno::BADF) => {
            let pinned = Pinned::of(file)?;
            state.xattrs = pinned.xattrs()?;
            state.flags = pinned.flags().unwrap_or(stat.flags);
            return Ok(state);
        }
        Err(e) => return Err(e.into()),
    }
    if let Ok(found) = rustix::fs::ioctl_getflags(file) {
        state.flags = found.bits() & flags::KEPT;
    }
    Ok(state)
}

/// Gives an entry the owner, mode, attributes and times of `state`, in the order in which none of
/// them undoes another: owner, attributes (ACLs and capabilities among them), mode, times, flags.
pub fn apply_metadata(pinned: &Pinned, state: &EntryState) -> io::Result<()> {
    let now = pinned.stat()?;
    if (now.uid, now.gid) != (state.uid, state.gid) {
        pinned.set_owner(state.uid, state.gid)?;
    }
    pinned.set_xattrs(&state.xattrs)?;
    if state.kind != EntryKind::Symlink {
        pinned.set_mode(state.mode)?;
    }
    pinned.set_times(state.accessed, state.modified)?;
    if matches!(state.kind, EntryKind::File | EntryKind::Directory) {
        pinned.set_flags(state.flags)?;
    }
    Ok(())
}

impl EntryState {
    /// What one `stat` tells of an entry's state.
    pub fn from_stat(stat: &Stat) -> Self {
        Self {
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            size: stat.size,
            allocated: stat.allocated,
            modified: stat.modified,
            accessed: stat.accessed,
            hash: None,
            target: None,
            device: stat.device_number,
            xattrs: Vec::new(),
            flags: stat.flags,
            identity: stat.identity,
        }
    }
}

/// Calls `get` with a growing buffer until the answer fits.
fn grow(mut get: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match get(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // 64 KiB is the system's limit for names as well as for values.
            Err(Errno::RANGE) if buffer.len() < 128 * 1024 => buffer.resize(buffer.len() * 4, 0),
            Err(e) => return Err(e),
        }
    }
}

fn named(errno: Errno, what: &str, name: &[u8]) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(
        error.kind(),
        format!(
            "cannot {what} the attribute {}: {error}",
            name.escape_ascii()
        ),
    )
}
