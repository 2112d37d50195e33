//! How the state before a command is preserved: the [`SnapshotStrategy`] trait and its registry.
//!
//! A strategy answers two questions: how is old content preserved, and how are changes found. What
//! comes out, an [`UndoRecord`](crate::seal::UndoRecord), never differs.
//!
//! # When a snapshot cannot be complete
//! A capture that would exceed its [`Limits`] degrades in this order, and
//! every step is recorded in the coverage:
//! 1. files above `max_file_bytes` keep their metadata only;
//! 2. until the rest fits into `max_bytes`, the free space and the free inodes of the volume it is
//!    kept on, what quotas leave of them, and the [room](CaptureRequest::room) that the store has,
//!    files keep their metadata only: those in the least certain paths of the scope first, the
//!    largest of them first;
//! 3. beyond `max_entries`, and once `max_duration` is over, directories are not looked into and
//!    files not copied.
//!
//! What was left out is *unobserved*: a rollback never creates, changes or deletes it.

pub mod baseline;
pub mod copy;
#[cfg(target_os = "linux")]
pub mod intercept;
#[cfg(not(target_os = "linux"))]
#[path = "intercept/unavailable.rs"]
pub mod intercept;
pub mod journal;
pub mod probe;
pub mod reflink;
mod registry;
pub mod select;
#[cfg(target_os = "linux")]
pub mod subvolume;
pub mod tree;
pub mod volumes;

pub use registry::Registry;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::Cancel;
use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::request::Limits;
use crate::seal::{Change, Observed};

/// What a strategy can do. The default is nothing, so a forgotten field fails closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capability {
    /// Content of files that change or go is preserved.
    pub content: bool,
    /// Mode, owner, times, attributes and flags are preserved.
    pub metadata: bool,
    /// Entries that the command created are found.
    pub created: bool,
    /// A capture whose process died can be resumed and sealed.
    pub resume: bool,
    /// Preserving costs nothing for what does not change.
    pub zero_copy: bool,
}

/// Part of a scope that was left out, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unobserved {
    /// The entry; everything beneath it is unobserved too.
    pub path: AbsPath,
    /// Why, in a few words.
    pub reason: String,
}

/// Patterns of entries that are left alone, frozen when a capture begins.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exclusions {
    /// Subtrees that are never looked into (the store itself, pseudo filesystems).
    pub subtrees: Vec<AbsPath>,
    /// Patterns of the request and the configuration, gitignore syntax, relative to `base` for what
    /// lies beneath it and to each root otherwise.
    pub patterns: Vec<String>,
    /// The command's working directory. Ignore files in it and in the directories between it and a
    /// root hold for that root.
    pub base: Option<AbsPath>,
    /// Text of every `.deployxignore` found, with the directory that holds it.
    pub files: Vec<(AbsPath, String)>,
}

/// How much there is room for, or how much is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of content.
    pub bytes: u64,
    /// Files with content.
    pub files: u64,
}

impl Room {
    /// No bound.
    pub const UNLIMITED: Self = Self {
        bytes: u64::MAX,
        files: u64::MAX,
    };

    /// What fits into both.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.min(other.bytes),
            files: self.files.min(other.files),
        }
    }

    /// Whether `needed` fits.
    pub fn holds(self, needed: Self) -> bool {
        self.min(needed) == needed
    }
}

/// What a capture is asked to secure.
pub struct CaptureRequest<'a> {
    /// The paths, normalised: none lies within another of the same or greater depth.
    pub scope: &'a [ScopePath],
    /// What is left alone.
    pub exclusions: Exclusions,
    /// The snapshot that it is part of, by its id.
    pub snapshot: &'a str,
    /// Bounds.
    pub limits: Limits,
    /// Makes room in the store for what is needed and says how much there is then. Asked once the
    /// estimate is there and before anything is stored; more than it gives must not be.
    pub room: &'a (dyn Fn(Room) -> Room + Sync),
    /// Ends the capture with [`ErrorKind::Cancelled`] and nothing stored. Looked at often enough that
    /// this takes no longer than a moment.
    pub cancel: &'a Cancel,
    /// Is told how far it is.
    pub progress: &'a dyn Progress,
}

/// An error where `cancel` asked for the end of what comes before a command.
pub(crate) fn unless_cancelled(cancel: &Cancel) -> Result<()> {
    if cancel.is_cancelled() {
        let context = "cancelled before the command started: it was not run";
        return Err(Error::new(ErrorKind::Cancelled, Stage::Capture, context));
    }
    Ok(())
}

/// Where pre-images go: into the existing directory `files`, under names that begin with `prefix`
/// and stand in [`PreImage::Stored`](crate::seal::PreImage::Stored). Several captures of one
/// snapshot differ in the prefix, and may share the directory.
#[derive(Debug, Clone, Copy)]
pub struct Placement<'a> {
    /// The snapshot's `files` directory.
    pub files: &'a Path,
    /// What every name begins with.
    pub prefix: &'a str,
}

/// A capture's outcome: what was found and where the pre-images went.
#[derive(Debug, Clone, Default)]
pub struct Sealed {
    /// Every entry that differs, sorted by path.
    pub changes: Vec<Change>,
    /// What could not be looked at after the command.
    pub unobserved: Vec<Unobserved>,
    /// Entries that exist now and were in the scope.
    pub entries: u64,
    /// Bytes of content placed in the snapshot's directory.
    pub stored_bytes: u64,
    /// Remarks on how changes were found, for people.
    pub notes: Vec<String>,
    /// What was seen of the command besides.
    pub observed: Observed,
}

/// A way to preserve the state before a command.
///
/// ```
/// use deployx::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};
///
/// /// Preserves nothing; says so.
/// struct Nothing;
///
/// impl SnapshotStrategy for Nothing {
///     fn name(&self) -> &'static str {
///         "nothing"
///     }
///     fn version(&self) -> u32 {
///         1
///     }
///     fn capability(&self) -> Capability {
///         Capability::default()
///     }
///     fn probe(&self, _path: &deployx::AbsPath) -> Result<String, String> {
///         Err("preserves nothing".into())
///     }
///     fn begin(&self, _: CaptureRequest<'_>) -> deployx::Result<Box<dyn Capture>> {
///         unimplemented!("probe said no")
///     }
///     fn resume(&self, _: &[u8]) -> deployx::Result<Box<dyn Capture>> {
///         unimplemented!("probe said no")
///     }
/// }
/// ```
pub trait SnapshotStrategy: Send + Sync {
    /// The name under which it is chosen and written into snapshots.
    fn name(&self) -> &'static str;

    /// Its version; raised when tokens of older versions can no longer be resumed.
    fn version(&self) -> u32;

    /// What it can do.
    fn capability(&self) -> Capability;

    /// Whether one capture secures whatever a command changes, on every volume. It is then begun even
    /// where a scope is empty, and once for all volumes of a scope that it is chosen for.
    fn spans_volumes(&self) -> bool {
        false
    }

    /// Whether it works for entries at `path`: `Ok` with a reason to choose it, `Err` with the
    /// reason why not.
    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String>;

    /// Secures the state of the scope.
    ///
    /// On return everything that [`Capture::seal`] will need is on stable storage: neither a kill
    /// nor a power cut can lose it. Entries that cannot be secured are listed in
    /// [`Capture::unobserved`]; an `Err` means that nothing was secured, and nothing is left of it.
    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>>;

    /// Takes up a capture of a process that died, from its [`Capture::token`]. The token was read
    /// from disk and may be damaged.
    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>>;

    /// Lets go of what was left by processes that died before the token of their capture was stored.
    /// Part of a cleanup; what living processes or tokens in the store need stays.
    fn sweep(&self) -> Result<()> {
        Ok(())
    }
}

/// A strategy's work in progress for one command, between begin and seal.
pub trait Capture: Send {
    /// What a later process needs to take this capture up. Stored with the snapshot before the
    /// command starts.
    fn token(&self) -> Vec<u8>;

    /// How many entries were secured.
    fn entries(&self) -> u64;

    /// What is not covered.
    fn unobserved(&self) -> &[Unobserved];

    /// Remarks on what is covered, for people.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// The mount point of the volume on which old content has to be placed, because it is cloned,
    /// linked or moved there. `None`: in the store.
    ///
    /// Where it is not `None`, [`Placement::files`] is a directory on that volume, below the one
    /// that [`Store::sibling`](crate::store::Store::sibling) gives.
    fn content_beside(&self) -> Option<&AbsPath> {
        None
    }

    /// Whether old content is placed by cloning, so that it shares its blocks with other files: it is
    /// then left as it is, because compressing it would not free them.
    fn content_is_cloned(&self) -> bool {
        false
    }

    /// Whether it may find changes on any volume; see [`SnapshotStrategy::spans_volumes`].
    fn spans_volumes(&self) -> bool {
        false
    }

    /// The mount points of further volumes on which old content has to be placed, once the command is
    /// over. For each, [`place_further`](Self::place_further) is told where before it is sealed.
    fn further_volumes(&mut self) -> Result<Vec<AbsPath>> {
        Ok(Vec::new())
    }

    /// Where old content of one of [`further_volumes`](Self::further_volumes) goes.
    fn place_further(&mut self, _volume: &AbsPath, _placement: Placement<'_>) {}

    /// Tells, once the snapshot is begun and before the command starts, where old content will go, so
    /// that some of it can be put there while the command runs. What is there and not named by
    /// [`seal`](Self::seal) must be gone when that returns.
    fn prepare(&mut self, _placement: Placement<'_>) {}

    /// What is left alone, with every ignore file that was found.
    fn exclusions(&self) -> &Exclusions;

    /// Finds what changed since begin and places the pre-image of every changed file as
    /// `placement` says. What it placed is on stable storage on return.
    ///
    /// May be called again after an error, also by another process through
    /// [`SnapshotStrategy::resume`], until [`finish`](Self::finish).
    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed>;

    /// Lets go of everything that was kept for this capture. Called once the snapshot is stored,
    /// or when it is given up.
    fn finish(self: Box<Self>);
}
