//! What a rollback needs for entries that it makes itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, IFlags, Mode, RenameFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::dir::{Dir, one};
use super::stat::{Stat, stat_at, timespec};
use crate::entry::{EntryState, flags};

/// What a new entry has before anything is set: it is the same for all that one process makes in a
/// directory while nobody changes that directory's own metadata.
#[derive(Debug, Clone, Copy)]
pub struct Fresh {
    uid: u32,
    gid: u32,
    /// It has neither attributes nor flags.
    is_plain: bool,
}

impl Fresh {
    /// Looks at a new file or directory.
    pub fn of(new: &impl AsFd) -> io::Result<Self> {
        let stat = Stat::of(new)?;
        let is_plain = !has_xattrs(new.as_fd())? && kept_flags(new.as_fd())? == 0;
        Ok(Self {
            uid: stat.uid,
            gid: stat.gid,
            is_plain,
        })
    }
}

/// Gives `new`, a file or a directory that the caller just created and filled, the owner, attributes,
/// mode, times and flags of `state`, except for the flags that would stop it from being renamed
/// ([`flags::LOCKING`]).
///
/// Does what [`super::apply_metadata`] does, in the same order, with a system call each on the open
/// descriptor, because thousands of entries are restored this way. What was inherited from the
/// directory (group, default ACL, flags), of which `fresh` tells, is replaced. Gives what the entry
/// is afterwards.
pub fn finish_new(new: &impl AsFd, fresh: Fresh, state: &EntryState) -> io::Result<Stat> {
    let new = new.as_fd();
    if (fresh.uid, fresh.gid) != (state.uid, state.gid) {
        let (uid, gid) = (Uid::from_raw(state.uid), Gid::from_raw(state.gid));
        rustix::fs::fchown(new, Some(uid), Some(gid))?;
    }
    if fresh.is_plain {
        add_xattrs(new, state)?;
    } else {
        super::Pinned::of(&new)?.set_xattrs(&state.xattrs)?;
    }
    rustix::fs::fchmod(new, Mode::from_raw_mode(state.mode))?;
    let times = Timestamps {
        last_access: timespec(state.accessed),
        last_modification: timespec(state.modified),
    };
    rustix::fs::futimens(new, &times)?;
    let wanted = state.flags & !flags::LOCKING;
    if !fresh.is_plain || wanted != 0 {
        set_flags(new, wanted)?;
    }
    stat_at(new, OsStr::new(""), AtFlags::EMPTY_PATH)
}

/// Sets flags that only take effect on a file without content (`chattr +C`). To be called before
/// the content is written.
pub fn prepare_new_file(file: &File, state: &EntryState) -> io::Result<()> {
    if state.flags & flags::NOCOW == 0 {
        return Ok(());
    }
    let found = rustix::fs::ioctl_getflags(file)?;
    Ok(rustix::fs::ioctl_setflags(
        file,
        IFlags::from_bits_retain(found.bits() | flags::NOCOW),
    )?)
}

/// Swaps the entries `a` of `a_dir` and `b` of `b_dir` in one step. Fails with `Unsupported` where
/// the filesystem cannot do that.
pub fn exchange(a_dir: &Dir, a: &OsStr, b_dir: &Dir, b: &OsStr) -> io::Result<()> {
    let (a, b) = (one(a)?, one(b)?);
    match rustix::fs::renameat_with(a_dir.fd(), a, b_dir.fd(), b, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::Unsupported.into()),
        other => Ok(other?),
    }
}

/// Whether there are any attributes; asking for the length of their names is all it takes.
fn has_xattrs(new: BorrowedFd<'_>) -> io::Result<bool> {
    match rustix::fs::flistxattr_query(new) {
        Ok(length) => Ok(length > 0),
        Err(Errno::NOTSUP | Errno::NOSYS) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

fn add_xattrs(new: BorrowedFd<'_>, state: &EntryState) -> io::Result<()> {
    for xattr in &state.xattrs {
        rustix::fs::fsetxattr(new, &*xattr.name, &xattr.value, XattrFlags::empty()).map_err(
            |e| {
                let error = io::Error::from(e);
                let name = xattr.name.escape_ascii();
                io::Error::new(
                    error.kind(),
                    format!("cannot set the attribute {name}: {error}"),
                )
            },
        )?;
    }
    Ok(())
}

/// The flags that are kept; none where the filesystem has no flags.
fn kept_flags(new: BorrowedFd<'_>) -> io::Result<u32> {
    match rustix::fs::ioctl_getflags(new) {
        Ok(found) => Ok(found.bits() & flags::KEPT),
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => Ok(0),
        Err(e) => Err(e.into()),
    }
}

fn set_flags(new: BorrowedFd<'_>, wanted: u32) -> io::Result<()> {
    let found = match rustix::fs::ioctl_getflags(new) {
        Ok(found) => found,
        Err(Errno::NOTTY | Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) if wanted == 0 => {
            return Ok(());
        }
        Err(e) => return Err(e.into()),
    };
    let set = IFlags::from_bits_retain(found.bits() & !flags::KEPT | wanted);
    if set == found {
        return Ok(());
    }
    Ok(rustix::fs::ioctl_setflags(new, set)?)
}

/// The processes that hold one of `inodes` (device, inode) open, as (process id, inode index),
/// as far as this process may look. Empty where `/proc` is not there.
pub fn open_by_processes(inodes: &[(u64, u64)]) -> Vec<(u32, usize)> {
    let own = std::process::id();
    let wanted: HashMap<(u64, u64), usize> = inodes.iter().copied().zip(0..).collect();
    let mut found = Vec::new();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return found;
    };
    for process in processes.flatten() {
        let Some(id) = process
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        if id == own {
            continue;
        }
        for descriptor in descriptors.flatten() {
            // Follows the magic link to the open file itself, whatever its name is now.
            let Ok(stat) = rustix::fs::stat(descriptor.path()) else {
                continue;
            };
            if let Some(index) = wanted.get(&(stat.st_dev, stat.st_ino)) {
                found.push((id, *index));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}
