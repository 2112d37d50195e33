//! The kernel's event queues, and what tells one directory from another that took its place.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{AtFlags, OFlags, StatxFlags};
use rustix::io::Errno;

use super::Dir;
use crate::path::AbsPath;

/// Everything that changes an entry; reading is left out.
const CHANGES: WatchFlags = WatchFlags::ATTRIB
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO);

/// `STATX_MNT_ID_UNIQUE`: the number of a mount that is never given again (Linux 6.8; older systems
/// ignore it).
const UNIQUE_MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// An inotify instance.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

/// One event of an [`Inotify`].
#[derive(Debug, Clone, Copy)]
pub struct Noted<'a> {
    /// The watch that saw it; -1 for an overflow.
    pub watch: i32,
    /// What happened.
    pub what: ReadFlags,
    /// The entry in the watched directory; `None` for the directory itself.
    pub name: Option<&'a OsStr>,
}

impl Inotify {
    /// Makes an instance without any watch; `EMFILE` where the user has too many.
    pub fn new() -> io::Result<Inotify> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Inotify { fd })
    }

    /// Watches the directory behind `dir`, whatever its name is by now. A directory has one watch
    /// in an instance: a second call gives the same number. `ENOSPC` at the user's limit.
    pub fn add(&self, dir: &Dir) -> io::Result<i32> {
        let link = format!("/proc/self/fd/{}", dir.fd().as_raw_fd());
        Ok(inotify::add_watch(
            &self.fd,
            link,
            CHANGES | WatchFlags::ONLYDIR,
        )?)
    }

    /// Ends a watch; nothing happens where it ended already.
    pub fn remove(&self, watch: i32) {
        let _ = inotify::remove_watch(&self.fd, watch);
    }

    /// Gives `each` every event that is queued now, and perhaps some that follow.
    pub fn read(&self, mut each: impl FnMut(Noted<'_>)) -> io::Result<()> {
        // An event takes 16 bytes at least, so no more than these are waiting.
        let waiting = rustix::io::ioctl_fionread(&self.fd)? / 16;
        if waiting == 0 {
            return Ok(());
        }
        let mut buffer = Vec::<u8>::with_capacity(64 * 1024);
        let mut reader = Reader::new(&self.fd, buffer.spare_capacity_mut());
        let mut seen = 0;
        while seen < waiting || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(event) => each(Noted {
                    watch: event.wd(),
                    what: event.events(),
                    name: event.file_name().map(|n| OsStr::from_bytes(n.to_bytes())),
                }),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(e.into()),
            }
            seen += 1;
        }
        Ok(())
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Wakes a thread that waits for a queue.
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
}

impl Wake {
    /// Makes one that was not called yet.
    pub fn new() -> io::Result<Wake> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { fd })
    }

    /// Makes every present and later [`wait`](Self::wait) return `false`.
    pub fn call(&self) {
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }

    /// Waits until `queue` can be read (`true`) or the call came (`false`).
    pub fn wait(&self, queue: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            let mut both = [
                PollFd::new(&self.fd, PollFlags::IN),
                PollFd::from_borrowed_fd(queue, PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Ok(_) => return Ok(both[0].revents().is_empty()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// What tells the directory at a path from another that took its place there: one that was moved
/// there, made anew (inode numbers are given again, birth times are not), or mounted over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The volume's device id.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// The mount through which the path leads.
    pub mount: u64,
    born: Option<(i64, u32)>,
}

impl Standing {
    /// Of the directory at `path`, which must not lead through symbolic links.
    pub fn of(path: &AbsPath) -> io::Result<Standing> {
        Self::of_dir(&Dir::open_path(path)?)
    }

    /// Of an open directory.
    pub fn of_dir(dir: &Dir) -> io::Result<Standing> {
        let wanted = StatxFlags::INO | StatxFlags::BTIME | StatxFlags::MNT_ID | UNIQUE_MOUNT;
        let found = rustix::fs::statx(dir.fd(), "", AtFlags::EMPTY_PATH, wanted)?;
        let has = |flag: StatxFlags| found.stx_mask & flag.bits() != 0;
        Ok(Standing {
            device: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            mount: found.stx_mnt_id,
            born: has(StatxFlags::BTIME)
                .then_some((found.stx_btime.tv_sec, found.stx_btime.tv_nsec)),
        })
    }
}

/// Why events cannot be relied upon in the filesystem of `dir`: its content can change without a
/// call to this kernel. `None` where it cannot.
pub fn changes_without_events(dir: &Dir) -> io::Result<Option<&'static str>> {
    // The magic numbers of statfs(2).
    Ok(match rustix::fs::fstatfs(dir.fd())?.f_type as u32 {
        0x6969 => Some("nfs"),
        0x517B | 0xFF53_4D42 | 0xFE53_4D42 => Some("smb"),
        0x0102_1997 => Some("9p"),
        0x00C3_6400 => Some("ceph"),
        0x6573_5546 => Some("fuse"),
        0x5346_414F | 0x6B41_4653 => Some("afs"),
        0x7375_7245 => Some("coda"),
        0x0116_1970 => Some("gfs2"),
        0x7461_636F => Some("ocfs2"),
        0x0BD0_0BD0 => Some("lustre"),
        0x786F_4256 => Some("vboxsf"),
        0x9FA0 => Some("proc"),
        0x6265_6572 => Some("sysfs"),
        0x0027_E0EB | 0x6367_7270 => Some("cgroup"),
        0x6462_6720 => Some("debugfs"),
        0x7472_6163 => Some("tracefs"),
        _ => None,
    })
}

/// Where an open directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At this path.
    At(PathBuf),
    /// Somewhere beneath this directory, deeper than the system writes a path.
    Beneath(PathBuf),
}

/// Where the open directory `fd` is now; `None` when it was removed or cannot be reached through
/// the mount that it was opened by.
pub fn place_of(fd: BorrowedFd<'_>) -> io::Result<Option<Place>> {
    match path_of(fd) {
        Err(error) if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {
            Ok(path_above(fd)?.map(Place::Beneath))
        }
        path => Ok(path?.map(Place::At)),
    }
}

/// The path of a directory above one whose path is too long.
fn path_above(fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
    let mut above = fd.try_clone_to_owned()?;
    let mut levels = 1;
    loop {
        let up = "../".repeat(levels);
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        above = rustix::fs::openat(&above, up, flags, rustix::fs::Mode::empty())?;
        match path_of(above.as_fd()) {
            Err(error) if error.raw_os_error() == Some(Errno::NAMETOOLONG.raw_os_error()) => {}
            path => return path,
        }
        // So that few steps lead out of the deepest tree, and none is longer than a path.
        levels = (levels * 2).min(1_000);
    }
}

fn path_of(fd: BorrowedFd<'_>) -> io::Result<Option<PathBuf>> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let bytes = rustix::fs::readlink(link, Vec::new())?.into_bytes();
    let doubtful = bytes == b"/" || bytes.ends_with(b" (deleted)") || !bytes.starts_with(b"/");
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
    if doubtful {
        // Both are what the system writes in the special cases, and both may be real names.
        let real = rustix::fs::fstat(fd)?;
        let there = rustix::fs::lstat(&path)
            .is_ok_and(|found| (found.st_dev, found.st_ino) == (real.st_dev, real.st_ino));
        return Ok(there.then_some(path));
    }
    Ok(Some(path))
}
