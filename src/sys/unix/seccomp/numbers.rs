//! Which system calls are asked about, by their numbers on this architecture.

use libc::c_long;

/// Calls newer than the numbers of the `libc` crate; these have one number on every architecture.
const FCHMODAT2: c_long = 452;
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// A system call that can change a file, a name, or what names mean. The arguments that matter are
/// those that the system's manual gives, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    allow(dead_code, reason = "later architectures do without some of the calls")
)]
pub(crate) enum Asked {
    /// `open(path, flags, mode)`.
    Open,
    /// `creat(path, mode)`.
    Create,
    /// `openat(dir, path, flags, mode)`.
    OpenAt,
    /// `openat2(dir, path, how, size)`.
    OpenAt2,
    /// `truncate(path, length)`.
    Truncate,
    /// A call that changes the content of the open file that is its first argument.
    ChangeOpen,
    /// `unlink(path)`, `rmdir(path)`.
    Remove,
    /// `unlinkat(dir, path, flags)`.
    RemoveAt,
    /// `rename(from, to)`.
    Rename,
    /// `renameat(dir, from, dir, to)` and `renameat2` with flags.
    RenameAt {
        /// Whether there is a fifth argument with flags.
        flags: bool,
    },
    /// `link(from, to)`.
    Link,
    /// `linkat(dir, from, dir, to, flags)`.
    LinkAt,
    /// `symlink(target, path)`.
    Symlink,
    /// `symlinkat(target, dir, path)`.
    SymlinkAt,
    /// `mkdir(path, mode)`.
    MakeDirectory,
    /// `mkdirat(dir, path, mode)`.
    MakeDirectoryAt,
    /// `mknod(path, mode, device)`.
    MakeNode,
    /// `mknodat(dir, path, mode, device)`.
    MakeNodeAt,
    /// A change of metadata by path; the last component is followed.
    Metadata,
    /// A change of metadata by path; the last component is not followed.
    MetadataOfLink,
    /// A change of metadata by directory and path, with flags in the argument of this number; `None`:
    /// the call has none and follows. An absent path means the descriptor itself.
    MetadataAt {
        /// Which argument holds the flags.
        flags: Option<usize>,
    },
    /// A change of metadata of the open file that is the first argument.
    MetadataOfOpen,
    /// `ioctl(fd, request, argument)`.
    Control,
    /// `fcntl(fd, F_SETFL, flags)` without `O_APPEND`.
    AppendOff,
    /// `bind(socket, address, length)`.
    Bind,
    /// `connect(socket, address, length)`.
    Connect,
    /// A call after which the process, or others, may see another root.
    ChangeRoot,
    /// A call that mounts, unmounts or moves filesystems.
    Mount,
    /// A filter with a listener of its own, which the system refuses.
    OwnListener,
}

/// What the filter does at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Ask always.
    Always,
    /// Ask where the argument of this number has one of these bits.
    AnyBit(usize, u32),
    /// Ask where the argument of this number is one of these.
    OneOf(usize, &'static [u32]),
    /// Ask where the first argument given is this and the second has none of these bits.
    IsWithout((usize, u32), (usize, u32)),
    /// Ask where the first argument given is this and the second has one of these bits.
    IsWith((usize, u32), (usize, u32)),
    /// Fail as if the system did not have the call.
    Missing,
}

/// Flags of `open` with which content or names may change.
const CHANGING: u32 = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u32;

/// `FICLONE`, `FICLONERANGE`, `FS_IOC_SETFLAGS`, `FS_IOC_FSSETXATTR`, and those of btrfs that make,
/// snapshot and destroy subvolumes or receive and set properties of them.
const CONTROLS: &[u32] = &[
    0x4004_9409,
    0x4020_940d,
    0x4008_6602,
    0x401c_5820,
    0x5000_940e,
    0x5000_9401,
    0x5000_940f,
    0x5000_9417,
    0x5000_9418,
    0x5000_943f,
    0x4008_941a,
];

const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// Every call that the filter treats in a special way, in any order.
pub(super) fn rules() -> Vec<(u32, Rule)> {
    let mut rules = legacy_rules();
    rules.extend([
        (libc::SYS_openat, Rule::AnyBit(2, CHANGING)),
        (libc::SYS_openat2, Rule::Always),
        (libc::SYS_truncate, Rule::Always),
        (libc::SYS_ftruncate, Rule::Always),
        (libc::SYS_fallocate, Rule::Always),
        (libc::SYS_unlinkat, Rule::Always),
        (libc::SYS_renameat, Rule::Always),
        (libc::SYS_renameat2, Rule::Always),
        (libc::SYS_linkat, Rule::Always),
        (libc::SYS_symlinkat, Rule::Always),
        (libc::SYS_mkdirat, Rule::Always),
        (libc::SYS_mknodat, Rule::Always),
        (libc::SYS_fchmod, Rule::Always),
        (libc::SYS_fchmodat, Rule::Always),
        (FCHMODAT2, Rule::Always),
        (libc::SYS_fchown, Rule::Always),
        (libc::SYS_fchownat, Rule::Always),
        (libc::SYS_utimensat, Rule::Always),
        (libc::SYS_setxattr, Rule::Always),
        (libc::SYS_lsetxattr, Rule::Always),
        (libc::SYS_fsetxattr, Rule::Always),
        (libc::SYS_removexattr, Rule::Always),
        (libc::SYS_lremovexattr, Rule::Always),
        (libc::SYS_fremovexattr, Rule::Always),
        (SETXATTRAT, Rule::Always),
        (REMOVEXATTRAT, Rule::Always),
        (FILE_SETATTR, Rule::Always),
        (libc::SYS_ioctl, Rule::OneOf(1, CONTROLS)),
        (
            libc::SYS_fcntl,
            Rule::IsWithout((1, libc::F_SETFL as u32), (2, libc::O_APPEND as u32)),
        ),
        (libc::SYS_bind, Rule::Always),
        (libc::SYS_connect, Rule::Always),
        (libc::SYS_chroot, Rule::Always),
        (libc::SYS_pivot_root, Rule::Always),
        (libc::SYS_setns, Rule::Always),
        (libc::SYS_mount, Rule::Always),
        (libc::SYS_umount2, Rule::Always),
        (libc::SYS_move_mount, Rule::Always),
        (
            libc::SYS_seccomp,
            Rule::IsWith(
                (0, SECCOMP_SET_MODE_FILTER),
                (1, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as u32),
            ),
        ),
        // What goes through a ring is not asked about; programs do without where there is none.
        (libc::SYS_io_uring_setup, Rule::Missing),
    ]);
    rules
        .into_iter()
        .map(|(number, rule)| (number as u32, rule))
        .collect()
}

/// What the call of this number is; `None` for one that the filter does not ask about.
pub(crate) fn asked(number: i32) -> Option<Asked> {
    let number = c_long::from(number);
    if let Some(asked) = legacy(number) {
        return Some(asked);
    }
    Some(match number {
        libc::SYS_openat => Asked::OpenAt,
        libc::SYS_openat2 => Asked::OpenAt2,
        libc::SYS_truncate => Asked::Truncate,
        libc::SYS_ftruncate | libc::SYS_fallocate => Asked::ChangeOpen,
        libc::SYS_unlinkat => Asked::RemoveAt,
        libc::SYS_renameat => Asked::RenameAt { flags: false },
        libc::SYS_renameat2 => Asked::RenameAt { flags: true },
        libc::SYS_linkat => Asked::LinkAt,
        libc::SYS_symlinkat => Asked::SymlinkAt,
        libc::SYS_mkdirat => Asked::MakeDirectoryAt,
        libc::SYS_mknodat => Asked::MakeNodeAt,
        libc::SYS_fchmod | libc::SYS_fchown | libc::SYS_fsetxattr | libc::SYS_fremovexattr => {
            Asked::MetadataOfOpen
        }
        libc::SYS_fchmodat => Asked::MetadataAt { flags: None },
        FCHMODAT2 | libc::SYS_utimensat => Asked::MetadataAt { flags: Some(3) },
        libc::SYS_fchownat | FILE_SETATTR => Asked::MetadataAt { flags: Some(4) },
        SETXATTRAT | REMOVEXATTRAT => Asked::MetadataAt { flags: Some(2) },
        libc::SYS_setxattr | libc::SYS_removexattr => Asked::Metadata,
        libc::SYS_lsetxattr | libc::SYS_lremovexattr => Asked::MetadataOfLink,
        libc::SYS_ioctl => Asked::Control,
        libc::SYS_fcntl => Asked::AppendOff,
        libc::SYS_bind => Asked::Bind,
        libc::SYS_connect => Asked::Connect,
        libc::SYS_chroot | libc::SYS_pivot_root | libc::SYS_setns => Asked::ChangeRoot,
        libc::SYS_mount | libc::SYS_umount2 | libc::SYS_move_mount => Asked::Mount,
        libc::SYS_seccomp => Asked::OwnListener,
        _ => return None,
    })
}

/// Calls that later architectures do without.
#[cfg(target_arch = "x86_64")]
fn legacy_rules() -> Vec<(c_long, Rule)> {
    let mut rules: Vec<(c_long, Rule)> = [
        libc::SYS_creat,
        libc::SYS_unlink,
        libc::SYS_rmdir,
        libc::SYS_rename,
        libc::SYS_link,
        libc::SYS_symlink,
        libc::SYS_mkdir,
        libc::SYS_mknod,
        libc::SYS_chmod,
        libc::SYS_chown,
        libc::SYS_lchown,
        libc::SYS_utime,
        libc::SYS_utimes,
        libc::SYS_futimesat,
    ]
    .map(|number| (number, Rule::Always))
    .to_vec();
    rules.push((libc::SYS_open, Rule::AnyBit(1, CHANGING)));
    rules
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy_rules() -> Vec<(c_long, Rule)> {
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
fn legacy(number: c_long) -> Option<Asked> {
    Some(match number {
        libc::SYS_open => Asked::Open,
        libc::SYS_creat => Asked::Create,
        libc::SYS_unlink | libc::SYS_rmdir => Asked::Remove,
        libc::SYS_rename => Asked::Rename,
        libc::SYS_link => Asked::Link,
        libc::SYS_symlink => Asked::Symlink,
        libc::SYS_mkdir => Asked::MakeDirectory,
        libc::SYS_mknod => Asked::MakeNode,
        libc::SYS_chmod | libc::SYS_chown | libc::SYS_utime | libc::SYS_utimes => Asked::Metadata,
        libc::SYS_lchown => Asked::MetadataOfLink,
        libc::SYS_futimesat => Asked::MetadataAt { flags: None },
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn legacy(_: c_long) -> Option<Asked> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_that_the_filter_asks_about_is_known() {
        for (number, rule) in rules() {
            let known = asked(number as i32).is_some();
            assert_eq!(known, rule != Rule::Missing, "{number}");
        }
    }
}
