//! What quotas leave to this process.

use std::path::Path;

/// What one quota leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Bytes; the greatest number where they are not limited.
    pub(super) bytes: u64,
    /// Files; likewise.
    pub(super) inodes: u64,
}

/// What the quotas of user, group and project leave on the volume of `path`, which is a directory.
/// Empty where there are none, or none that can be read.
#[cfg(target_os = "linux")]
pub(super) fn left(path: &Path) -> Vec<Left> {
    linux::left(path)
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn left(_: &Path) -> Vec<Left> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::File;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::path::Path;

    use super::Left;

    /// Units of `dqb_bhardlimit` in bytes.
    const BLOCK: u64 = 1024;
    /// `PRJQUOTA` of `linux/quota.h`.
    const PROJECT: libc::c_int = 2;
    /// The command of `ioctl` that gives the project of a directory.
    const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;

    /// `struct fsxattr` of `linux/fs.h`.
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        flags: u32,
        extent_size: u32,
        extents: u32,
        project: u32,
        cow_extent_size: u32,
        padding: [u8; 8],
    }

    pub(super) fn left(path: &Path) -> Vec<Left> {
        let opened = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(path);
        let Ok(directory) = opened else {
            return Vec::new();
        };
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let project = project_of(&directory).filter(|id| *id != 0);
        [
            (libc::USRQUOTA, Some(user)),
            (libc::GRPQUOTA, Some(group)),
            (PROJECT, project),
        ]
        .into_iter()
        .filter_map(|(kind, id)| read(&directory, kind, id?))
        .map(|quota| left_of(&quota))
        .collect()
    }

    /// The project that new files in `directory` are counted for.
    fn project_of(directory: &File) -> Option<u32> {
        let mut attributes = Attributes::default();
        // SAFETY: the command writes one `struct fsxattr`, which `Attributes` has the layout of, to
        // the address given, and the descriptor is open for the call.
        let done =
            unsafe { libc::ioctl(directory.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) };
        (done == 0).then_some(attributes.project)
    }

    /// The quota of one user, group or project; `None` where there is none or it cannot be read.
    fn read(directory: &File, kind: libc::c_int, id: u32) -> Option<libc::dqblk> {
        // SAFETY: a structure of integers, for which zeros are values.
        let mut quota: libc::dqblk = unsafe { std::mem::zeroed() };
        let command = libc::QCMD(libc::Q_GETQUOTA, kind);
        // SAFETY: the call writes one `struct if_dqblk`, which `dqblk` is, to the address given;
        // the descriptor is open for the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_quotactl_fd,
                directory.as_raw_fd(),
                command,
                id,
                &raw mut quota,
            )
        };
        (done == 0).then_some(quota)
    }

    /// A limit of zero is none. The soft limit is no bound here: it may be exceeded for days.
    pub(super) fn left_of(quota: &libc::dqblk) -> Left {
        let below = |limit: u64, used: u64| match limit {
            0 => u64::MAX,
            limit => limit.saturating_sub(used),
        };
        Left {
            bytes: below(
                quota.dqb_bhardlimit.saturating_mul(BLOCK),
                quota.dqb_curspace,
            ),
            inodes: below(quota.dqb_ihardlimit, quota.dqb_curinodes),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn quota(blocks: u64, used: u64, inodes: u64, files: u64) -> libc::dqblk {
            // SAFETY: a structure of integers, for which zeros are values.
            let mut quota: libc::dqblk = unsafe { std::mem::zeroed() };
            quota.dqb_bhardlimit = blocks;
            quota.dqb_curspace = used;
            quota.dqb_ihardlimit = inodes;
            quota.dqb_curinodes = files;
            quota
        }

        #[test]
        fn limits_are_in_blocks_and_zero_is_none() {
            let left = left_of(&quota(10, 4096, 0, 7));
            assert_eq!((left.bytes, left.inodes), (6 * 1024, u64::MAX));
            let left = left_of(&quota(0, 4096, 5, 7));
            assert_eq!((left.bytes, left.inodes), (u64::MAX, 0));
        }

        #[test]
        fn a_volume_without_quotas_is_not_limited_by_them() {
            assert_eq!(super::super::left(Path::new("/proc")), []);
            assert_eq!(super::super::left(Path::new("/nonexistent")), []);
        }
    }
}
