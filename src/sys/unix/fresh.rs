//! What a rollback needs for entries that it makes itself.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, IFlags, Mode, RenameFlags, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::dir::{Dir, Stat, one, stat_at, timespec};
use crate::entry::{EntryState, flags};

/// Gives `new`, a file or a directory that the caller just created and filled, the owner, attributes,
/// mode, times and flags of `state`, except for the flags that would stop it from being renamed
/// ([`flags::LOCKING`]). `owner` is whom it belongs to now, user and group.
///
/// Does what [`super::apply_metadata`] does, in the same order, with a system call each on the open
/// descriptor, because thousands of entries are restored this way. What was inherited from the
/// directory (group, default ACL, flags) is replaced. Gives what the entry is afterwards.
pub fn finish_new(new: &impl AsFd, owner: (u32, u32), state: &EntryState) -> io::Result<Stat> {
    let new = new.as_fd();
    if owner != (state.uid, state.gid) {
        let (uid, gid) = (Uid::from_raw(state.uid), Gid::from_raw(state.gid));
        rustix::fs::fchown(new, Some(uid), Some(gid))?;
    }
    replace_xattrs(new, state)?;
    rustix::fs::fchmod(new, Mode::from_raw_mode(state.mode))?;
    let times = Timestamps {
        last_access: timespec(state.accessed),
        last_modification: timespec(state.modified),
    };
    rustix::fs::futimens(new, &times)?;
    set_flags(new, state.flags & !flags::LOCKING)?;
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

fn replace_xattrs(new: BorrowedFd<'_>, state: &EntryState) -> io::Result<()> {
    // Usually there are none, and asking for their length is all it takes.
    let present = match rustix::fs::flistxattr_query(new) {
        Ok(length) => length > 0,
        Err(Errno::NOTSUP | Errno::NOSYS) => false,
        Err(e) => return Err(e.into()),
    };
    if present {
        return super::Pinned::of(&new)?.set_xattrs(&state.xattrs);
    }
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
