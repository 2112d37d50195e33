//! Event sources: what tells that something beneath a directory changed.
//!
//! Events are hints. A source tells *where* something changed, perhaps more often than necessary,
//! and never what is there now. What it cannot vouch for, it says with [`Told::Lost`].
//!
//! | source | where | watches | told |
//! |---|---|---|---|
//! | `fanotify` | Linux, administrator, filesystems whose entries can be opened by handle | one mark for each volume | every change by its path |
//! | `inotify` | Linux | one watch for each directory | changes in directories that are watched; directories that appear are [`Told::NewDirectory`] |
//! | `notify` | elsewhere | what the system offers for a whole tree | as `inotify` |
//!
//! # What no source tells
//! - Stores through a shared writable mapping. The mapping's end is told, as a change of the file
//!   (not on overlayfs); files that are mapped now are listed by
//!   [`shared_writable_mappings`](crate::sys::shared_writable_mappings).
//! - Inode flags set by an `ioctl` (`chattr`): Linux sends no event for them.
//! - A change of a file through another of its hard links: only the name that was used is told, and
//!   one outside of the root not at all. The same holds for the link count and the change time when
//!   another link is made, renamed or removed.
//! - The name that a file has now, where it was opened by one that was removed since.
//! - Changes of a file that was opened by its handle instead of a name (a kernel's NFS server).
//! - Changes that do not pass this system's own calls: the volume's device written to directly, the
//!   layers beneath an overlay, other machines. [`EventSource::watch`] refuses filesystems where
//!   others may write.
//! - Entries of directories that this process may not read, as long as it may not.

#[cfg(target_os = "linux")]
mod fanotify;
#[cfg(target_os = "linux")]
mod inotify;
#[cfg(any(not(target_os = "linux"), test))]
mod notify;
#[cfg(target_os = "linux")]
pub(crate) mod outside;
#[cfg(target_os = "linux")]
mod pump;
#[cfg(target_os = "linux")]
mod tree;

mod choice;
#[cfg(all(test, target_os = "linux"))]
mod tests;

pub(crate) use choice::{Chosen, open};

use std::io;
use std::sync::Arc;

use crate::path::AbsPath;

/// What a source tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Something about the entry at this path changed: it came, went, or its content or metadata
    /// changed. Of a directory, its own metadata; the times of the directory that holds the entry
    /// may have changed too and are not told. An entry that is gone took everything beneath it
    /// along, wherever that is now.
    Entry(AbsPath),
    /// A directory came into being at this path, or was moved here: what is in it may not have been
    /// told, so all of it must be looked at. It may be gone or be something else by now. Told once
    /// every change in it is told too.
    NewDirectory(AbsPath),
    /// Events may have been lost.
    Lost {
        /// Only beneath this root; `None`: beneath all roots.
        root: Option<AbsPath>,
        /// Why, in a few words for people.
        reason: String,
        /// The root is not watched any more.
        ended: bool,
    },
}

/// Takes what a source tells, on a thread of the source or inside a call to it. It must not call
/// the source, must not wait for anybody who does, and should only note what it was told: while it
/// works, events pile up.
pub(crate) type Sink = Arc<dyn Fn(Told) + Send + Sync>;

/// Why a root is not watched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// The system allows no more watches, or no more instances.
    #[error("more than the system allows ({0})")]
    Limit(&'static str),
    /// Events of this filesystem do not tell everything, or this system has none.
    #[error("{0}")]
    Unsupported(String),
    /// The root cannot be read or is no directory.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a barrier does not hold; everything counts as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BarrierError {
    /// The source stopped working.
    #[error("the events cannot be read any more")]
    Stopped,
    /// The events that were waited for did not come.
    #[cfg(any(not(target_os = "linux"), test))]
    #[error("the events did not come in time")]
    Late,
}

/// A source of events.
pub(crate) trait EventSource: Send + Sync {
    /// Its name: `fanotify`, `inotify`, `notify`.
    fn name(&self) -> &'static str;

    /// Begins to watch the directory `root`, which must not lead through a symbolic link. From the
    /// return on, everything that changes at or beneath it, on the same volume, is told. Fails where
    /// it cannot be watched completely, and then nothing of it stays watched. Roots may lie in each
    /// other; a root that is watched already stays so.
    fn watch(&self, root: &AbsPath) -> Result<(), WatchError>;

    /// Whether [`watch`](Self::watch) can work on the volume of the directory `root`, found out without
    /// watching everything in it.
    fn try_out(&self, root: &AbsPath) -> Result<(), WatchError>;

    /// Ends the watch of `root`; nothing happens where it is not watched. Something may still be told
    /// of it.
    fn unwatch(&self, root: &AbsPath);

    /// Returns once everything that happened before the call has been told, and the roots were seen
    /// to be where they were when they were watched: one that is not is told as lost.
    fn barrier(&self) -> Result<(), BarrierError>;
}
