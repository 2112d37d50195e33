//! The Unix implementation (Linux first).

#[cfg(target_os = "linux")]
pub(crate) mod btrfs;
mod content;
mod dir;
#[cfg(target_os = "linux")]
mod events;
mod fresh;
#[cfg(target_os = "linux")]
mod mappings;
mod metadata;
mod quota;
#[cfg(target_os = "linux")]
pub(crate) mod seccomp;
mod stat;
mod volume;

pub use content::{
    KNOWN_UP_TO, clone_content, copy_content, copy_content_of, copy_content_until, copy_known,
    hash_file, hash_file_until,
};
pub use dir::Dir;
#[cfg(target_os = "linux")]
pub use events::{Inotify, Noted, Place, Standing, Wake, changes_without_events, place_of};
pub use fresh::{Fresh, exchange, finish_new, open_by_processes, prepare_new_file};
#[cfg(all(test, target_os = "linux"))]
pub use mappings::SharedPage;
#[cfg(target_os = "linux")]
pub use mappings::{SharedMappings, shared_writable_mappings};
pub use metadata::{Pinned, apply_metadata, read_open_state, read_state};
pub use stat::Stat;
pub use volume::{Mount, Space, mount_of, mounts, space, sync_volume};

use serde::Serialize;

use crate::entry::Timestamp;

/// Whether everybody may put entries into the directory at `path`, but take away only their own
/// (`/tmp`).
pub fn is_shared_directory(path: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata()
        .is_ok_and(|found| found.is_dir() && found.mode() & 0o1002 == 0o1002)
}

/// Whether this process may do what only the administrator may.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The user whose rights this process has, as a number.
pub fn user_id() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// When process `pid` was started, in ticks since boot; `None` when there is no such process. With
/// its number this tells a process from a later one of the same number.
pub fn process_started(pid: u32) -> Option<u64> {
    process_field(pid, 19)?.parse().ok()
}

/// The parent of process `pid`; `None` when there is no such process.
pub fn process_parent(pid: u32) -> Option<u32> {
    process_field(pid, 1)?.parse().ok()
}

/// A field of what the system tells of a process, counted from its state.
fn process_field(pid: u32, number: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the fields after it are single words.
    let (_, fields) = stat.rsplit_once(')')?;
    fields
        .split_ascii_whitespace()
        .nth(number)
        .map(str::to_owned)
}

/// Where a thread stands among processes.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// Its process.
    pub process: u32,
    /// The process's parent; 0: none.
    pub parent: u32,
    /// How many filters its system calls go through.
    pub filters: u32,
}

/// Where the thread `thread` stands; `None` when there is no such thread, or it cannot be told.
#[cfg(target_os = "linux")]
pub fn process_family(thread: u32) -> Option<Family> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    };
    Some(Family {
        process: number("Tgid:")?,
        parent: number("PPid:")?,
        filters: number("Seccomp_filters:").unwrap_or(0),
    })
}

/// How long the system has been running, in the ticks of [`process_started`].
pub fn ticks_since_boot() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // SAFETY: `sysconf` has no preconditions.
    let each_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1);
    let parts = i128::from(now.tv_nsec) * i128::from(each_second) / 1_000_000_000;
    now.tv_sec as u64 * each_second as u64 + parts as u64
}

/// How many descriptors this process may have open.
pub fn open_files_limit() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .unwrap_or(u64::MAX)
}

/// The id that the system has from one start to the next; `None` where it has none.
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

/// How much may be watched for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WatchLimits {
    /// Directories that all processes of a user may watch together.
    #[serde(rename = "max_user_watches")]
    pub watches: Option<u64>,
    /// Watches of a whole filesystem or list of directories that a user may have open.
    #[serde(rename = "max_user_instances")]
    pub instances: Option<u64>,
    /// Changes that wait to be read before further ones are dropped.
    #[serde(rename = "max_queued_events")]
    pub queued: Option<u64>,
}

/// The limits in force; `None` where the system does not tell.
pub fn watch_limits() -> WatchLimits {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{name}")).ok()?;
        text.trim().parse().ok()
    };
    WatchLimits {
        watches: read("max_user_watches"),
        instances: read("max_user_instances"),
        queued: read("max_queued_events"),
    }
}

/// The clock that filesystems stamp entries with. It is coarser than the wall clock, so a stamp
/// taken now is never later than this.
pub fn system_clock() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Timestamp {
        seconds: now.tv_sec,
        nanoseconds: now.tv_nsec as u32,
    }
}
