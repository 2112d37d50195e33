//! What is known of an entry by looking at it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, StatxFlags, Timespec};

use crate::entry::{DeviceNumber, EntryKind, Identity, Timestamp, flags};

/// What one `stat` says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: EntryKind,
    /// Low 12 mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes for a file, 0 for everything else.
    pub size: u64,
    /// Bytes occupied.
    pub allocated: u64,
    /// Content changed.
    pub modified: Timestamp,
    /// Last read.
    pub accessed: Timestamp,
    /// Device number of a device node.
    pub device_number: Option<DeviceNumber>,
    /// Immutable, append-only and no-dump flags; the others need the entry to be opened.
    pub flags: u32,
    /// Inode, links, change time.
    pub identity: Identity,
    /// The number of the mount it was reached by, where the system tells (Linux 5.8).
    pub mount: Option<u64>,
}

impl Stat {
    /// What an open file or directory is now.
    pub fn of(file: &impl AsFd) -> io::Result<Stat> {
        stat_at(file.as_fd(), OsStr::new(""), AtFlags::EMPTY_PATH)
    }
}

pub(crate) fn stat_at(dir: BorrowedFd<'_>, name: &OsStr, at: AtFlags) -> io::Result<Stat> {
    let stat = rustix::fs::statx(
        dir,
        name,
        at | AtFlags::NO_AUTOMOUNT,
        StatxFlags::BASIC_STATS | StatxFlags::MNT_ID,
    )?;
    let kind = kind_of(FileType::from_raw_mode(stat.stx_mode.into()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "an entry of unknown kind"))?;
    let time = |t: rustix::fs::StatxTimestamp| Timestamp {
        seconds: t.tv_sec,
        nanoseconds: t.tv_nsec,
    };
    let is_device = matches!(kind, EntryKind::CharDevice | EntryKind::BlockDevice);
    Ok(Stat {
        kind,
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: if kind == EntryKind::File {
            stat.stx_size
        } else {
            0
        },
        allocated: if kind == EntryKind::File {
            stat.stx_blocks * 512
        } else {
            0
        },
        modified: time(stat.stx_mtime),
        accessed: time(stat.stx_atime),
        device_number: is_device.then_some(DeviceNumber {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        }),
        // The attribute bits for these three have the same values as the inode flags.
        flags: stat.stx_attributes.bits() as u32 & (flags::LOCKING | flags::NODUMP),
        identity: Identity {
            device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            links: u64::from(stat.stx_nlink),
            changed: time(stat.stx_ctime),
        },
        mount: StatxFlags::from_bits_retain(stat.stx_mask)
            .contains(StatxFlags::MNT_ID)
            .then_some(stat.stx_mnt_id),
    })
}

pub(super) fn kind_of(file_type: FileType) -> Option<EntryKind> {
    Some(match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Unknown => return None,
    })
}

pub(crate) fn timespec(time: Timestamp) -> Timespec {
    Timespec {
        tv_sec: time.seconds,
        tv_nsec: time.nanoseconds.into(),
    }
}
