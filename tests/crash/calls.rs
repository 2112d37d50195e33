//! Which system calls the campaign looks at, and which faults each of them can meet in life.

use libc::{EDQUOT, EINTR, EIO, EMFILE, ENOMEM, ENOSPC, EPERM, EROFS, c_int};

/// What can happen to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// The process is killed before the call is made.
    Kill,
    /// The call fails with this error, once.
    Once(c_int),
    /// This call and all later ones of its kind fail with this error.
    FromThenOn(c_int),
    /// The call moves half of the bytes that it was asked for.
    Short,
}

/// Every fault of the second campaign.
pub(crate) const FAULTS: [Fault; 12] = [
    Fault::Once(EIO),
    Fault::Once(ENOSPC),
    Fault::Once(EDQUOT),
    Fault::Once(EROFS),
    Fault::Once(EPERM),
    Fault::Once(EMFILE),
    Fault::Once(ENOMEM),
    Fault::Once(EINTR),
    Fault::Short,
    Fault::FromThenOn(ENOSPC),
    Fault::FromThenOn(EROFS),
    Fault::FromThenOn(EIO),
];

/// The process leaves something behind by it: a kill before it differs from a kill before the
/// next one.
const EFFECT: u16 = 1;
/// Needs space, inodes or quota.
const SPACE: u16 = 1 << 1;
/// Changes a filesystem, which may be read-only or forbid it.
const CHANGE: u16 = 1 << 2;
/// Reaches the medium.
const MEDIUM: u16 = 1 << 3;
/// Makes a descriptor.
const DESCRIPTOR: u16 = 1 << 4;
/// Needs memory of the kernel.
const MEMORY: u16 = 1 << 5;
/// Can be interrupted by a signal.
const WAIT: u16 = 1 << 6;
/// Its first argument is a descriptor, which has to be one of a file or directory.
const ON_FILE: u16 = 1 << 7;
/// Opens a file: what it does depends on its flags.
const OPEN: u16 = 1 << 8;
/// Its first argument is a path.
const PATH: u16 = 1 << 9;
/// Its first argument is a descriptor, and its second a path beneath it.
const AT: u16 = 1 << 10;
/// Its first argument is a text and its second a descriptor.
const TEXT_AT: u16 = 1 << 11;

/// One kind of system call.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    number: i64,
    traits: u16,
    /// The argument that is a number of bytes.
    pub(crate) length: Option<usize>,
}

const fn kind(name: &'static str, number: i64, traits: u16) -> Kind {
    Kind {
        name,
        number,
        traits,
        length: None,
    }
}

const fn moving(name: &'static str, number: i64, traits: u16, length: usize) -> Kind {
    Kind {
        name,
        number,
        traits,
        length: Some(length),
    }
}

const ENTRY: u16 = EFFECT | SPACE | CHANGE | MEDIUM | MEMORY;
const METADATA: u16 = EFFECT | CHANGE | MEDIUM | MEMORY;
const WRITE: u16 = EFFECT | SPACE | MEDIUM | WAIT | ON_FILE;
const READ: u16 = MEDIUM | WAIT | ON_FILE;
const SYNC: u16 = EFFECT | SPACE | MEDIUM | ON_FILE;
const LOOK: u16 = MEDIUM | MEMORY;
const MAKE: u16 = DESCRIPTOR | MEMORY;
const PROCESS: u16 = EFFECT | MEMORY;

const KINDS: &[Kind] = &[
    moving("write", libc::SYS_write, WRITE, 2),
    moving("pwrite64", libc::SYS_pwrite64, WRITE, 2),
    kind("writev", libc::SYS_writev, WRITE),
    moving("copy_file_range", libc::SYS_copy_file_range, WRITE, 4),
    moving("sendfile", libc::SYS_sendfile, WRITE, 3),
    kind("ftruncate", libc::SYS_ftruncate, WRITE | CHANGE),
    kind("fallocate", libc::SYS_fallocate, WRITE | CHANGE),
    moving("read", libc::SYS_read, READ, 2),
    moving("pread64", libc::SYS_pread64, READ, 2),
    kind(
        "getdents64",
        libc::SYS_getdents64,
        MEDIUM | MEMORY | ON_FILE,
    ),
    kind("openat", libc::SYS_openat, OPEN | MEDIUM | MAKE | WAIT | AT),
    kind(
        "openat2",
        libc::SYS_openat2,
        OPEN | MEDIUM | MAKE | WAIT | AT,
    ),
    kind("mkdirat", libc::SYS_mkdirat, ENTRY | AT),
    kind("symlinkat", libc::SYS_symlinkat, ENTRY | TEXT_AT),
    kind("linkat", libc::SYS_linkat, ENTRY | AT),
    kind("mknodat", libc::SYS_mknodat, ENTRY | AT),
    kind("renameat", libc::SYS_renameat, ENTRY | AT),
    kind("renameat2", libc::SYS_renameat2, ENTRY | AT),
    kind("unlinkat", libc::SYS_unlinkat, ENTRY | AT),
    kind("fchmod", libc::SYS_fchmod, METADATA),
    kind("fchmodat", libc::SYS_fchmodat, METADATA | AT),
    kind("fchown", libc::SYS_fchown, METADATA | SPACE),
    kind("fchownat", libc::SYS_fchownat, METADATA | SPACE | AT),
    kind("utimensat", libc::SYS_utimensat, METADATA | AT),
    kind("setxattr", libc::SYS_setxattr, METADATA | SPACE | PATH),
    kind("lsetxattr", libc::SYS_lsetxattr, METADATA | SPACE | PATH),
    kind("fsetxattr", libc::SYS_fsetxattr, METADATA | SPACE),
    kind("removexattr", libc::SYS_removexattr, METADATA | PATH),
    kind("lremovexattr", libc::SYS_lremovexattr, METADATA | PATH),
    kind("fremovexattr", libc::SYS_fremovexattr, METADATA),
    kind("fsync", libc::SYS_fsync, SYNC),
    kind("fdatasync", libc::SYS_fdatasync, SYNC),
    kind("syncfs", libc::SYS_syncfs, SYNC),
    kind("ioctl", libc::SYS_ioctl, METADATA | ON_FILE),
    kind("flock", libc::SYS_flock, EFFECT | MEMORY | WAIT),
    kind("fstat", libc::SYS_fstat, LOOK),
    kind("newfstatat", libc::SYS_newfstatat, LOOK | AT),
    kind("statx", libc::SYS_statx, LOOK | AT),
    kind("statfs", libc::SYS_statfs, LOOK | PATH),
    kind("fstatfs", libc::SYS_fstatfs, LOOK),
    kind("readlinkat", libc::SYS_readlinkat, LOOK | AT),
    kind("listxattr", libc::SYS_listxattr, LOOK | PATH),
    kind("llistxattr", libc::SYS_llistxattr, LOOK | PATH),
    kind("flistxattr", libc::SYS_flistxattr, LOOK),
    kind("getxattr", libc::SYS_getxattr, LOOK | PATH),
    kind("lgetxattr", libc::SYS_lgetxattr, LOOK | PATH),
    kind("fgetxattr", libc::SYS_fgetxattr, LOOK),
    kind("pipe2", libc::SYS_pipe2, MAKE),
    kind("socketpair", libc::SYS_socketpair, MAKE),
    kind("eventfd2", libc::SYS_eventfd2, MAKE),
    kind("epoll_create1", libc::SYS_epoll_create1, MAKE),
    kind("signalfd4", libc::SYS_signalfd4, MAKE),
    kind("dup", libc::SYS_dup, MAKE),
    kind("dup3", libc::SYS_dup3, MAKE),
    kind("epoll_ctl", libc::SYS_epoll_ctl, MEMORY),
    kind("epoll_wait", libc::SYS_epoll_wait, WAIT),
    kind("ppoll", libc::SYS_ppoll, WAIT | MEMORY),
    kind("clone", libc::SYS_clone, PROCESS),
    kind("clone3", libc::SYS_clone3, PROCESS),
    kind("execve", libc::SYS_execve, PROCESS | PATH),
    kind("kill", libc::SYS_kill, EFFECT),
    kind("wait4", libc::SYS_wait4, EFFECT | WAIT),
    kind("waitid", libc::SYS_waitid, EFFECT | WAIT),
    kind("exit_group", libc::SYS_exit_group, EFFECT),
    // Calls of older kinds, which the database makes.
    kind("open", libc::SYS_open, OPEN | MEDIUM | MAKE | WAIT | PATH),
    kind("mkdir", libc::SYS_mkdir, ENTRY | PATH),
    kind("rename", libc::SYS_rename, ENTRY | PATH),
    kind("unlink", libc::SYS_unlink, ENTRY | PATH),
    kind("rmdir", libc::SYS_rmdir, ENTRY | PATH),
    kind("symlink", libc::SYS_symlink, ENTRY | PATH),
    kind("chmod", libc::SYS_chmod, METADATA | PATH),
    kind("readlink", libc::SYS_readlink, LOOK | PATH),
];

/// A call that a process is about to make.
pub(crate) struct Call {
    pub(crate) kind: &'static Kind,
    traits: u16,
    on_file: bool,
}

impl Call {
    /// The call with `number`; `None` for one that no fault is of interest for. `open_flags` gives
    /// the flags of a call that opens a file, `on_file` whether a descriptor is one of a file.
    pub(crate) fn new(
        number: i64,
        arguments: &[u64; 6],
        open_flags: impl FnOnce(&str) -> u64,
        on_file: impl FnOnce(u64) -> bool,
    ) -> Option<Self> {
        let kind = KINDS.iter().find(|kind| kind.number == number)?;
        let mut traits = kind.traits;
        if traits & OPEN != 0 {
            let flags = open_flags(kind.name) as c_int;
            if flags & libc::O_CREAT != 0 {
                traits |= EFFECT | SPACE;
            }
            if flags & (libc::O_CREAT | libc::O_TRUNC | libc::O_WRONLY | libc::O_RDWR) != 0 {
                traits |= EFFECT | CHANGE;
            }
        }
        Some(Self {
            kind,
            traits,
            on_file: traits & ON_FILE == 0 || on_file(arguments[0]),
        })
    }

    /// The arguments that are a descriptor and a path or text, as far as there are such.
    ///
    /// Others are not looked at: what is left in their registers may by chance be the address of
    /// something.
    pub(crate) fn names(&self) -> (Option<usize>, Option<usize>) {
        if self.is(PATH) {
            (None, Some(0))
        } else if self.is(AT) {
            (Some(0), Some(1))
        } else if self.is(TEXT_AT) {
            (Some(1), Some(0))
        } else {
            (Some(0), None)
        }
    }

    fn is(&self, wanted: u16) -> bool {
        self.traits & wanted != 0
    }

    /// Whether the fault can happen to this call.
    pub(crate) fn can_meet(&self, fault: Fault) -> bool {
        match fault {
            Fault::Kill => self.is(EFFECT),
            Fault::Short => self.on_file && self.kind.length.is_some(),
            Fault::Once(error) | Fault::FromThenOn(error) => self.on_file && self.can_fail(error),
        }
    }

    fn can_fail(&self, error: c_int) -> bool {
        match error {
            EIO => self.is(MEDIUM),
            ENOSPC | EDQUOT => self.is(SPACE),
            EROFS => self.is(CHANGE),
            EPERM => self.is(CHANGE | OPEN),
            EMFILE => self.is(DESCRIPTOR),
            ENOMEM => self.is(MEMORY),
            EINTR => self.is(WAIT),
            _ => false,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |error: c_int| match error {
            EIO => "EIO",
            ENOSPC => "ENOSPC",
            EDQUOT => "EDQUOT",
            EROFS => "EROFS",
            EPERM => "EPERM",
            EMFILE => "EMFILE",
            ENOMEM => "ENOMEM",
            EINTR => "EINTR",
            _ => "another error",
        };
        match self {
            Fault::Kill => f.write_str("SIGKILL"),
            Fault::Once(error) => f.write_str(name(*error)),
            Fault::FromThenOn(error) => write!(f, "{} from then on", name(*error)),
            Fault::Short => f.write_str("half the length"),
        }
    }
}
