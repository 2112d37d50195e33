//! Everything that talks to the operating system below the standard library.
//!
//! One API, twin implementations: `unix/` here, others beside it. Nothing outside this room calls
//! the system with a path string after that path was checked: entries are reached by a [`Dir`],
//! opened without following symbolic links, and one name.

pub(crate) mod durable;
#[cfg(feature = "agent")]
pub(crate) mod memory;
#[cfg(unix)]
pub(crate) mod process_unix;
pub(crate) mod runtime;
#[cfg(unix)]
mod unix;
#[cfg(all(test, target_os = "linux"))]
pub use unix::SharedPage;
#[cfg(target_os = "linux")]
pub(crate) use unix::btrfs;
#[cfg(target_os = "linux")]
pub(crate) use unix::seccomp;
#[cfg(unix)]
pub use unix::{
    Dir, KNOWN_UP_TO, Mount, Pinned, Space, Stat, WatchLimits, apply_metadata, boot_id,
    clone_content, copy_content, copy_content_of, copy_content_until, copy_known, hash_file,
    hash_file_until, is_root, is_shared_directory, mount_of, mounts, open_files_limit,
    process_parent, process_started, read_open_state, read_state, space, sync_volume, system_clock,
    ticks_since_boot, user_id, watch_limits,
};
#[cfg(target_os = "linux")]
pub use unix::{
    Family, Inotify, Noted, Place, SharedMappings, Standing, Wake, changes_without_events,
    place_of, process_family, shared_writable_mappings,
};
#[cfg(unix)]
pub use unix::{Fresh, exchange, finish_new, open_by_processes, prepare_new_file};
