//! btrfs: subvolumes, snapshots, and what changed since one was made.
//!
//! # How a change is found
//! Every node of a btrfs tree carries the number of the transaction (its *generation*) that last
//! wrote it, and every inode item the number of the one that last changed it. A snapshot is made
//! at the end of a transaction, whose number it keeps ([`Subvolume::created`]). Whatever changes
//! later belongs to a later transaction: [`changed_since`] descends only into nodes that are newer,
//! and takes the inodes whose own number is.
//!
//! Everything that a name, content, attribute or flag of an entry can suffer changes an inode item:
//! its own, and the one of each directory in which a name came or went. The tests beside this
//! file do each of these things and look for the inode.

mod ioctl;
mod search;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub(crate) use search::{InodeName, changed_since, names_of, nested_subvolumes};

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::dir::{Dir, one};

/// The number of a subvolume's own root directory.
pub(crate) const ROOT_INODE: u64 = 256;

/// The number that an empty directory has in a snapshot where the subvolume had another one.
pub(crate) const EMPTY_SUBVOLUME_INODE: u64 = 2;

/// What btrfs says of a subvolume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subvolume {
    /// Its number within the filesystem, never used twice.
    pub(crate) id: u64,
    /// Tells it from every other one anywhere.
    pub(crate) uuid: [u8; 16],
    /// The uuid of the subvolume that it is a snapshot of; zeros where it is none.
    pub(crate) parent_uuid: [u8; 16],
    /// The transaction that last changed it.
    pub(crate) generation: u64,
    /// The transaction in which it was made.
    pub(crate) created: u64,
    /// It cannot be written to.
    pub(crate) read_only: bool,
}

/// Whether `directory` lies on btrfs.
pub(crate) fn is_btrfs(directory: &Dir) -> io::Result<bool> {
    const MAGIC: u64 = 0x9123_683e;
    let found = rustix::fs::fstatfs(directory)?;
    Ok(found.f_type as u64 == MAGIC)
}

/// The subvolume that holds `directory`, which was opened for listing.
pub(crate) fn subvolume_of(directory: &Dir) -> io::Result<Subvolume> {
    ioctl::subvolume_info(directory.as_fd())
}

/// Makes `name` in `into` a read-only snapshot of the subvolume whose root is `source`. On
/// stable storage on return.
pub(crate) fn create_snapshot(source: &Dir, into: &Dir, name: &OsStr) -> io::Result<()> {
    ioctl::create_snapshot(source.as_fd(), into.as_fd(), one(name)?)
}

/// Removes the subvolume or snapshot `name` in `from`, with everything in it. A power cut may
/// bring it back.
pub(crate) fn destroy_subvolume(from: &Dir, name: &OsStr) -> io::Result<()> {
    ioctl::destroy_subvolume(from.as_fd(), one(name)?)
}

/// Brings everything that waits in memory into the filesystem's trees, where [`changed_since`]
/// looks.
///
/// File content is written as well: where a file is written twice within one tick of the clock,
/// the second time changes its inode only once its content is on disk.
pub(crate) fn settle(directory: &Dir) -> io::Result<()> {
    Ok(rustix::fs::syncfs(directory)?)
}

/// Whether an error of these calls means that this process may not do it.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::PERM | Errno::ACCESS))
}
