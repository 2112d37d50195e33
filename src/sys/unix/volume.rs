//! Mounted filesystems.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::quota;
use super::stat::Stat;

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The mount's number, the [`Stat::mount`](super::Stat::mount) of entries on it.
    pub id: u64,
    /// The number of the mount that its mount point is on.
    pub parent: u64,
    /// Which part of the filesystem is mounted: `/`, or a directory of it (a bind mount).
    pub root: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The filesystem's type, for example `ext4`.
    pub filesystem: String,
    /// The device or other source.
    pub source: String,
    /// The number of the filesystem's device: equal for all mounts of one filesystem. Entries on it
    /// report the same, except where a filesystem has several (subvolumes of btrfs).
    pub device: u64,
    /// For reading only, here or altogether.
    pub read_only: bool,
}

impl Mount {
    /// Whether it shows kernel state instead of stored files.
    pub fn is_pseudo(&self) -> bool {
        matches!(
            self.filesystem.as_str(),
            "proc"
                | "sysfs"
                | "devtmpfs"
                | "devpts"
                | "cgroup"
                | "cgroup2"
                | "securityfs"
                | "debugfs"
                | "tracefs"
                | "pstore"
                | "bpf"
                | "mqueue"
                | "hugetlbfs"
                | "configfs"
                | "fusectl"
                | "binfmt_misc"
                | "efivarfs"
                | "autofs"
                | "rpc_pipefs"
                | "nsfs"
        )
    }

    /// Whether its content is on another host.
    pub fn is_network(&self) -> bool {
        let kind = self.filesystem.as_str();
        matches!(
            kind,
            "nfs"
                | "nfs4"
                | "cifs"
                | "smb3"
                | "9p"
                | "afs"
                | "ceph"
                | "coda"
                | "glusterfs"
                | "lustre"
                | "fuse.sshfs"
                | "fuse.glusterfs"
                | "fuse.rclone"
                | "fuse.s3fs"
        )
    }

    /// Whether its content lives in memory and is gone after a reboot.
    pub fn is_memory(&self) -> bool {
        matches!(self.filesystem.as_str(), "tmpfs" | "ramfs")
    }
}

/// Free space of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that may still be created; `None` where there is no fixed number.
    pub free_inodes: Option<u64>,
}

/// The mount table as this process sees it, in the order of mounting.
pub fn mounts() -> io::Result<Vec<Mount>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut mounts: Vec<Mount> = table
        .split(|b| *b == b'\n')
        .filter_map(parse_mount)
        .collect();
    if mounts.iter().all(|m| m.mount_point != Path::new("/")) {
        mounts.insert(0, root_of_chroot()?);
    }
    Ok(mounts)
}

/// The mount of `/` where the table has none: in a chroot into a directory within a mount.
fn root_of_chroot() -> io::Result<Mount> {
    let root = Path::new("/");
    let stat = Stat::of(&std::fs::File::open(root)?)?;
    let space = rustix::fs::statvfs(root)?;
    Ok(Mount {
        id: stat.mount.unwrap_or_default(),
        parent: 0,
        root: root.to_owned(),
        mount_point: root.to_owned(),
        filesystem: type_of(rustix::fs::statfs(root)?.f_type as u64).to_owned(),
        source: String::new(),
        device: stat.identity.device,
        read_only: space.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

/// The name of a filesystem by its magic number (`statfs(2)`).
fn type_of(magic: u64) -> &'static str {
    match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x0102_1994 => "tmpfs",
        0x8584_58f6 => "ramfs",
        0x794c_7630 => "overlay",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        0x2fc1_2fc1 => "zfs",
        0x6573_5546 => "fuse",
        0x6969 => "nfs",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb3",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        _ => "unknown",
    }
}

/// The mount that `path` (absolute, without symbolic links) is on, as the kernel finds it: from the
/// root down, every mount point on the way leads to what is mounted there, the latest on top.
pub fn mount_of<'m>(path: &Path, mounts: &'m [Mount]) -> Option<&'m Mount> {
    let attached = |to: Option<&Mount>| {
        // Of the mounts on one mount the path meets the one that is highest up. What is mounted
        // deeper was hidden by it.
        mounts
            .iter()
            .filter(|one| match to {
                Some(to) => one.parent == to.id && one.id != to.id,
                None => one.parent == one.id || mounts.iter().all(|m| m.id != one.parent),
            })
            .filter(|one| path.starts_with(&one.mount_point))
            .min_by_key(|one| one.mount_point.as_os_str().len())
    };
    let mut at = attached(None)?;
    // A table that was read while it changed may be odd, but not lead round in circles.
    for _ in 0..mounts.len() {
        match attached(Some(at)) {
            Some(next) => at = next,
            None => break,
        }
    }
    Some(at)
}

/// Free space of the volume that holds `path`, as far as it goes for this user: what quotas leave,
/// where they can be read.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    let mut space = Space {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
    };
    for left in quota::left(path) {
        space.free_bytes = space.free_bytes.min(left.bytes);
        if left.inodes < u64::MAX {
            let free = space.free_inodes.unwrap_or(u64::MAX);
            space.free_inodes = Some(free.min(left.inodes));
        }
    }
    Ok(space)
}

/// Writes everything that waits in memory for the volume of `file` to stable storage.
pub fn sync_volume(file: &impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Reads one line: `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`.
fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let separator = fields.iter().position(|f| *f == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let numbers = std::str::from_utf8(fields.get(2)?).ok()?;
    let (major, minor) = numbers.split_once(':')?;
    let number = |at: usize| std::str::from_utf8(fields.get(at)?).ok()?.parse().ok();
    // The options of the mount, and those of the filesystem.
    let read_only = [fields.get(5), fields.get(separator + 3)]
        .into_iter()
        .flatten()
        .any(|options| options.split(|b| *b == b',').any(|o| o == b"ro"));
    Some(Mount {
        id: number(0)?,
        parent: number(1)?,
        root: PathBuf::from(OsString::from_vec(unescape(fields.get(3)?))),
        mount_point: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        filesystem: text(fields.get(separator + 1)?),
        source: text(fields.get(separator + 2)?),
        device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
        read_only,
    })
}

/// Undoes the octal escapes (`\040` for a space) of the mount table.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .filter(|d| byte == b'\\' && d.iter().all(|b| (b'0'..=b'7').contains(b)));
        if let Some(digits) = octal {
            out.push(digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0')) as u8);
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines_with_escapes_and_optional_fields_are_read() {
        let line =
            br"36 35 98:7 / /mnt/a\040b\134c ro,noatime master:1 shared:2 - ext4 /dev/root rw";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.mount_point, PathBuf::from("/mnt/a b\\c"));
        assert_eq!(mount.filesystem, "ext4");
        assert_eq!(mount.device, rustix::fs::makedev(98, 7));
        assert!(mount.read_only);
        assert_eq!((mount.id, mount.parent), (36, 35));
        let line = b"9 1 0:4 /sub /m rw - btrfs /dev/x ro,subvol=/sub";
        let mount = parse_mount(line).unwrap();
        assert_eq!(mount.root, Path::new("/sub"));
        assert!(mount.read_only, "the filesystem is");
        assert!(parse_mount(b"garbage").is_none());
        assert!(parse_mount(b"").is_none());
    }

    #[test]
    fn the_root_is_described_without_the_table_as_with_it() {
        let mounts = mounts().unwrap();
        let (listed, seen) = (mount_of(Path::new("/"), &mounts).unwrap(), root_of_chroot());
        let seen = seen.unwrap();
        assert_eq!(seen.id, listed.id);
        assert_eq!(seen.read_only, listed.read_only);
        assert!([listed.filesystem.as_str(), "unknown"].contains(&seen.filesystem.as_str()));
    }

    #[test]
    fn the_root_is_mounted() {
        assert!(
            mounts()
                .unwrap()
                .iter()
                .any(|m| m.mount_point == Path::new("/"))
        );
    }

    /// Mounts by number, parent and mount point.
    fn table(lines: &[(u64, u64, &str)]) -> Vec<Mount> {
        let mount = |&(id, parent, point): &(u64, u64, &str)| {
            parse_mount(format!("{id} {parent} 0:{id} / {point} rw - tmpfs none rw").as_bytes())
        };
        lines.iter().filter_map(mount).collect()
    }

    fn found(path: &str, mounts: &[Mount]) -> u64 {
        mount_of(Path::new(path), mounts).unwrap().id
    }

    #[test]
    fn a_mount_hides_what_was_mounted_beneath_before() {
        let mounts = table(&[
            (1, 0, "/"),
            (2, 1, "/a"),
            (3, 2, "/a/b"),
            // Over the first one: /a/b of that one is out of reach.
            (4, 2, "/a"),
        ]);
        assert_eq!(found("/x", &mounts), 1);
        assert_eq!(found("/a/b/c", &mounts), 4);
        assert_eq!(found("/ab", &mounts), 1);
        let before = &mounts[..3];
        assert_eq!(found("/a/b/c", before), 3);
    }

    #[test]
    fn the_topmost_of_several_mounts_at_one_place_counts() {
        let mounts = table(&[(7, 7, "/"), (8, 7, "/m"), (5, 8, "/m"), (6, 5, "/m/n")]);
        assert_eq!(found("/m", &mounts), 5);
        assert_eq!(found("/m/n", &mounts), 6);
    }

    #[test]
    fn an_odd_table_does_not_lead_round_in_circles() {
        let mounts = table(&[(1, 0, "/"), (2, 1, "/m"), (2, 2, "/m"), (3, 3, "/m/n")]);
        assert!(mount_of(Path::new("/m/n/o"), &mounts).is_some());
        assert!(mount_of(Path::new("/m"), &[]).is_none());
    }

    #[test]
    fn the_table_says_of_real_paths_what_the_kernel_says() {
        let mounts = mounts().unwrap();
        for mount in &mounts {
            let Ok(path) = crate::path::AbsPath::new(&mount.mount_point) else {
                continue;
            };
            if let Ok(stat) = crate::sys::Dir::open_path(&path).and_then(|dir| dir.stat_self()) {
                let found = mount_of(&mount.mount_point, &mounts).unwrap();
                // Other tests mount and unmount meanwhile.
                if super::mounts().unwrap() == mounts {
                    assert_eq!(Some(found.id), stat.mount, "{path}");
                }
            }
        }
    }
}
