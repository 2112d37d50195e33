//! The full state of one filesystem entry, in terms that do not depend on the operating system.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// An instant: seconds and nanoseconds since the Unix epoch, as filesystems store it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct Timestamp {
    /// Whole seconds, negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// The wall clock now.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            seconds: since.as_secs() as i64,
            nanoseconds: since.subsec_nanos(),
        }
    }

    /// Seconds as a floating number, as `timestamp` and `modified_time` stand in JSON.
    pub fn as_seconds(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanoseconds) / 1e9
    }

    /// Nanoseconds since the epoch.
    pub fn as_nanos(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }
}

/// A SHA-256 of a file's content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The hash of no content.
    pub const EMPTY: ContentHash = ContentHash([
        0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9,
        0x24, 0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52,
        0xb8, 0x55,
    ]);
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An extended attribute. POSIX ACLs and file capabilities are attributes with system names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// The full name with its namespace, for example `user.comment`.
    pub name: Vec<u8>,
    /// The value as it is stored.
    pub value: Vec<u8>,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
}

/// What tells one inode from another and one version of it from the next.
///
/// If all of it is equal at two instants (and the change time is not too close to the first one),
/// the inode was not changed in between. The parts cannot be restored; they are only compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The volume's device id. Stable only while the volume stays mounted.
    pub device: u64,
    /// The inode number, or the file index on Windows.
    pub inode: u64,
    /// How many names the inode has.
    pub links: u64,
    /// When content or metadata last changed (ctime).
    pub changed: Timestamp,
}

/// Inode flags that DeployX keeps and restores, as in Linux's `FS_IOC_GETFLAGS`.
pub mod flags {
    /// Writes reach the disk synchronously (`chattr +S`).
    pub const SYNC: u32 = 0x0000_0008;
    /// The file cannot be changed (`chattr +i`).
    pub const IMMUTABLE: u32 = 0x0000_0010;
    /// The file can only grow (`chattr +a`).
    pub const APPEND: u32 = 0x0000_0020;
    /// Left out by dump programs (`chattr +d`).
    pub const NODUMP: u32 = 0x0000_0040;
    /// Access times are not updated (`chattr +A`).
    pub const NOATIME: u32 = 0x0000_0080;
    /// Directory updates are synchronous (`chattr +D`).
    pub const DIRSYNC: u32 = 0x0001_0000;
    /// Not copied on write (`chattr +C`).
    pub const NOCOW: u32 = 0x0080_0000;
    /// Every flag that is kept.
    pub const KEPT: u32 = SYNC | IMMUTABLE | APPEND | NODUMP | NOATIME | DIRSYNC | NOCOW;
    /// Flags that stop the entry itself from being changed.
    pub const LOCKING: u32 = IMMUTABLE | APPEND;
}

/// The full state of one entry: everything that a rollback restores or compares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryState {
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky (the low 12 bits of a Unix mode).
    pub mode: u32,
    /// Owner, as a number.
    pub uid: u32,
    /// Group, as a number.
    pub gid: u32,
    /// Content length of a file in bytes; 0 for everything else.
    pub size: u64,
    /// Bytes that the file occupies; less than `size` where it has holes.
    pub allocated: u64,
    /// When the content was last modified.
    pub modified: Timestamp,
    /// When it was last read, as far as the volume records that. Restored, never compared.
    pub accessed: Timestamp,
    /// SHA-256 of a file's content, where it was read.
    pub hash: Option<ContentHash>,
    /// Where a symbolic link points, as bytes.
    pub target: Option<Vec<u8>>,
    /// The number of a device node.
    pub device: Option<DeviceNumber>,
    /// Extended attributes sorted by name, ACLs and capabilities among them.
    pub xattrs: Vec<Xattr>,
    /// Inode flags, see [`flags`].
    pub flags: u32,
    /// Tells whether a live entry is still this very version.
    pub identity: Identity,
}

impl EntryState {
    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == EntryKind::Directory
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == EntryKind::File
    }

    /// Whether `self` and `other` are the same inode in the same version, by identity alone.
    pub fn same_version(&self, other: &EntryState) -> bool {
        self.kind == other.kind
            && self.identity == other.identity
            && self.size == other.size
            && self.modified == other.modified
    }

    /// Whether kind, content, link target and device number are equal.
    ///
    /// Two files of the same size of which one was never read count as different unless they are
    /// the same version of the same inode.
    pub fn same_content(&self, other: &EntryState) -> bool {
        if self.kind != other.kind {
            return false;
        }
        match self.kind {
            EntryKind::File => {
                self.size == other.size
                    && (self.same_version(other)
                        || self.size == 0
                        || (self.hash.is_some() && self.hash == other.hash))
            }
            _ => self.target == other.target && self.device == other.device,
        }
    }

    /// Whether mode, owner, group, attributes and flags are equal (times are not looked at).
    pub fn same_metadata(&self, other: &EntryState) -> bool {
        // A symbolic link's mode means nothing and cannot be set.
        (self.kind == EntryKind::Symlink || self.mode == other.mode)
            && self.uid == other.uid
            && self.gid == other.gid
            && self.xattrs == other.xattrs
            && self.flags == other.flags
    }
}
