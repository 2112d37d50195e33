//! What a sealed snapshot holds: the state before and after of exactly what a command changed.

mod receipt;

pub use receipt::{
    By, Effect, Expected, KnownBy, Late, LateChange, Limit, LimitKind, MOST_LISTED, Observed,
    Outside, Preserved, Receipt, Seen, Watch,
};

use serde::{Deserialize, Serialize};

use crate::entry::{ContentHash, EntryKind, EntryState};
use crate::path::AbsPath;
use crate::snapshot::{Exclusions, Unobserved};

/// Where the old content of a changed entry is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreImage {
    /// No content is needed: there was no file before, it was empty, or its content is unchanged.
    NotNeeded,
    /// In the snapshot's `files/` under this name (one component).
    Stored {
        /// The file's name within `files/`.
        name: String,
        /// SHA-256 of the content.
        hash: ContentHash,
        /// How the content is kept there.
        form: Form,
    },
    /// The content is gone: it was not preserved.
    Lost {
        /// Why.
        reason: String,
    },
}

impl PreImage {
    /// Content that is kept as it is.
    pub fn raw(name: impl Into<String>, hash: ContentHash) -> Self {
        Self::Stored {
            name: name.into(),
            hash,
            form: Form::Raw,
        }
    }
}

/// How stored content is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Form {
    /// As it is.
    #[default]
    Raw,
    /// Compressed: one zstd frame.
    Zstd,
    /// As the blocks in which it differs from another version of the file.
    Delta(Base),
}

/// What a delta differs from: a file beside it, kept in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The file's name within the same directory.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// It is one zstd frame.
    pub compressed: bool,
}

/// One entry that a command changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which entry.
    pub path: AbsPath,
    /// Its state before; `None`: it did not exist.
    pub before: Option<EntryState>,
    /// Its state after; `None`: it no longer exists.
    pub after: Option<EntryState>,
    /// Where its old content is.
    pub content: PreImage,
}

/// How an entry changed, in the words of the command line's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It did not exist before.
    Created,
    /// Its content, kind or link target differs.
    Modified,
    /// It no longer exists.
    Deleted,
    /// Only mode, owner, attributes, flags or a file's times differ.
    Metadata,
    /// Nothing that was asked for: a directory whose times moved because of what happened in it,
    /// or a file whose link count changed.
    Incidental,
}

impl Change {
    /// How the entry changed.
    pub fn kind(&self) -> ChangeKind {
        match (&self.before, &self.after) {
            (None, _) => ChangeKind::Created,
            (Some(_), None) => ChangeKind::Deleted,
            (Some(before), Some(after)) => {
                let rewritten = self.content != PreImage::NotNeeded || before.size != after.size;
                if rewritten
                    || before.kind != after.kind
                    || before.target != after.target
                    || before.device != after.device
                {
                    ChangeKind::Modified
                } else if before.same_metadata(after)
                    && (before.kind == EntryKind::Directory || before.modified == after.modified)
                {
                    ChangeKind::Incidental
                } else {
                    ChangeKind::Metadata
                }
            }
        }
    }
}

/// How many entries changed in which way. [`ChangeKind::Incidental`] ones are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChangeCounts {
    /// Entries that did not exist before.
    pub created: u64,
    /// Entries whose content, kind or link target changed.
    pub modified: u64,
    /// Entries that are gone.
    pub deleted: u64,
    /// Entries of which only metadata changed.
    pub metadata: u64,
}

impl ChangeCounts {
    /// Counts `changes`.
    pub fn of(changes: &[Change]) -> Self {
        let mut counts = Self::default();
        for change in changes {
            match change.kind() {
                ChangeKind::Created => counts.created += 1,
                ChangeKind::Modified => counts.modified += 1,
                ChangeKind::Deleted => counts.deleted += 1,
                ChangeKind::Metadata => counts.metadata += 1,
                ChangeKind::Incidental => {}
            }
        }
        counts
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A volume that the changed entries lie on, so that a rollback notices when another one is
/// mounted in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedVolume {
    /// The device id at the time, as in [`crate::entry::Identity::device`].
    pub device: u64,
    /// A directory on it that was in the scope: its device id now stands for the volume.
    pub anchor: AbsPath,
}

/// A sealed snapshot's content.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UndoRecord {
    /// Every entry that changed, sorted by path, each path once.
    pub changes: Vec<Change>,
    /// The volumes they lie on.
    pub volumes: Vec<RecordedVolume>,
    /// What was left alone.
    pub exclusions: Exclusions,
    /// What was not covered.
    pub unobserved: Vec<Unobserved>,
}
