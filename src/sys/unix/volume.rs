//! Mounted filesystems.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One line of the mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// The filesystem's type, for example `ext4`.
    pub filesystem: String,
    /// The device or other source.
    pub source: String,
    /// The device id that entries on it report.
    pub device: u64,
    /// Mounted for reading only.
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
    Ok(table
        .split(|b| *b == b'\n')
        .filter_map(parse_mount)
        .collect())
}

/// Free space of the volume that holds `path`.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(Space {
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        free_inodes: (stat.f_files > 0).then_some(stat.f_favail),
    })
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
    let options = std::str::from_utf8(fields.get(5)?).ok()?;
    Some(Mount {
        mount_point: PathBuf::from(OsString::from_vec(unescape(fields.get(4)?))),
        filesystem: text(fields.get(separator + 1)?),
        source: text(fields.get(separator + 2)?),
        device: rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?),
        read_only: options.split(',').any(|o| o == "ro"),
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
        assert!(parse_mount(b"garbage").is_none());
        assert!(parse_mount(b"").is_none());
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
}
