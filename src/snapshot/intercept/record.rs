//! What is written down while a command runs, in the order in which it happened.

use serde::{Deserialize, Serialize};

use crate::entry::EntryState;
use crate::path::AbsPath;

/// A file's device and inode.
pub(super) type Inode = (u64, u64);

/// What people read of a program that wanted a listener of its own.
pub(super) const OWN_LISTENER: &str = "a program of the command wanted to intercept calls by itself, which it could not: only one can";

/// One step. Paths are those of the moment, but for [`Record::Was`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// What was at a path when the command began; `None`: nothing.
    Was {
        path: AbsPath,
        state: Option<Box<EntryState>>,
    },
    /// A file of one name goes, and is kept as it is: what was at its path, but for attributes and
    /// flags, which it still has.
    Went {
        path: AbsPath,
        state: Box<EntryState>,
        stored: Stored,
    },
    /// Where the content of a file is that it had when the command began.
    Kept { inode: Inode, kept: Kept },
    /// A directory in which content is kept; it gets the next number.
    Place { directory: AbsPath },
    /// The command makes a directory here.
    Fresh { path: AbsPath },
    /// The command renames a directory; whether that will work is not known yet.
    Moving(Moving),
    /// It worked, or not.
    Settled { serial: u64, moved: bool },
    /// Another name for the same file: some filesystems give it another inode when it is changed.
    Alias { inode: Inode, now: Inode },
    /// What is at and beneath this path may have changed unseen.
    Missed { path: AbsPath, reason: String },
    /// Something that people should know.
    Note { text: String },
    /// Something that cannot be taken back: what it is on, and what was seen.
    Effect { what: String, reason: String },
    /// What is at this path changes, and is not kept.
    Outside { path: AbsPath },
    /// A process that an earlier command left behind changes what is at this path. `command` is that
    /// command's snapshot, where it is known.
    Late {
        path: AbsPath,
        command: Option<String>,
    },
    /// A program wanted a listener of its own.
    OwnListener,
}

/// Where content is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kept {
    /// There was none.
    Empty,
    /// The file itself, under another name.
    Link(Stored),
    /// A copy or clone.
    Copy(Stored),
    /// What it begins with, up to this many bytes: it has only grown since.
    Prefix(u64),
    /// Nowhere.
    Lost(String),
}

/// A file in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// The place's number.
    pub(super) place: u32,
    /// The file's.
    pub(super) number: u64,
}

impl Stored {
    /// The file's name in its place.
    pub(super) fn name(&self) -> String {
        format!("{:06}", self.number)
    }
}

/// A rename of a directory, or an exchange of one with something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moving {
    pub(super) serial: u64,
    /// The thread that asked for it.
    pub(super) thread: u32,
    pub(super) from: AbsPath,
    pub(super) to: AbsPath,
    /// What is at `from`.
    pub(super) inode: Inode,
    pub(super) is_directory: bool,
    /// What is at `to`, where both are exchanged, and whether that is a directory.
    pub(super) exchanged: Option<(Inode, bool)>,
}
