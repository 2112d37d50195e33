//! The plan of a rollback: pure data, printable, and not applicable before it was verified.

use serde::{Deserialize, Serialize};

use super::compose::Content;
use super::judge::placing;
use super::{Conflict, PlannedAction};
use crate::entry::{EntryState, Timestamp};
use crate::path::AbsPath;

/// What is to be done with one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Step {
    /// Nothing; other entries refer to it.
    Keep,
    /// Remove the entry, which is not a directory.
    Remove,
    /// Remove the directory once it is empty.
    RemoveDir,
    /// Make the directory.
    MakeDir,
    /// Put a new file with the old content in place.
    File,
    /// Put a symbolic link in place.
    Symlink,
    /// Put a fifo, socket or device in place.
    Node,
    /// Make it a further name of the entry at this position.
    Link {
        /// Position in [`RollbackPlan::entries`].
        to: u32,
    },
    /// Make it a name of what the entry at this position is now, before that one goes: the inode
    /// was moved there.
    Reuse {
        /// Position in [`RollbackPlan::entries`].
        of: u32,
    },
    /// Give the entry its old metadata.
    Metadata,
    /// Give the directory its old times.
    Times,
}

impl Step {
    /// Whether the step puts a new inode or name in place.
    pub(crate) fn places(self) -> bool {
        matches!(
            self,
            Step::MakeDir
                | Step::File
                | Step::Symlink
                | Step::Node
                | Step::Link { .. }
                | Step::Reuse { .. }
        )
    }

    /// Whether the step removes the entry.
    pub(crate) fn removes(self) -> bool {
        matches!(self, Step::Remove | Step::RemoveDir)
    }

    /// Whether the step changes the directory that holds the entry.
    pub(crate) fn touches_parent(self) -> bool {
        self.places() || self.removes()
    }

    /// The word for it in reports.
    fn word(self) -> Option<&'static str> {
        match self {
            Step::Keep => None,
            Step::Remove | Step::RemoveDir => Some("remove"),
            Step::MakeDir => Some("mkdir"),
            Step::File => Some("restore"),
            Step::Symlink => Some("symlink"),
            Step::Node => Some("mknod"),
            Step::Link { .. } | Step::Reuse { .. } => Some("link"),
            Step::Metadata => Some("metadata"),
            Step::Times => Some("times"),
        }
    }
}

/// Why an entry is not as the commands left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) reason: String,
    /// May be overwritten when that is asked for.
    pub(crate) overridable: bool,
}

/// One entry of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct PlannedEntry {
    pub(crate) path: AbsPath,
    /// What it has to become; `None`: nothing.
    pub(crate) desired: Option<Box<EntryState>>,
    /// What it was when the plan was made.
    pub(crate) live: Option<Box<EntryState>>,
    pub(crate) content: Content,
    pub(crate) step: Step,
    /// It stands in the report's counts.
    pub(crate) counted: bool,
    pub(crate) conflict: Option<Finding>,
    /// Why it cannot be restored.
    pub(crate) failure: Option<String>,
    /// The name under which the live content was saved in the redo snapshot.
    pub(crate) saved: Option<String>,
    /// `live` is the very version that was recorded after the command: its hash was found out then.
    #[serde(skip)]
    pub(crate) as_recorded: bool,
}

impl PlannedEntry {
    /// Whether a live directory has to be emptied for the step.
    pub(crate) fn empties_directory(&self) -> bool {
        let was_dir = self.live.as_deref().is_some_and(EntryState::is_dir);
        was_dir && (self.step == Step::RemoveDir || (self.step.places() && !self.makes_dir()))
    }

    /// Goes back to making the entry anew, from its stored content.
    pub(crate) fn step_without_reuse(&mut self) {
        let Some(desired) = &self.desired else {
            return;
        };
        self.step = placing(desired.kind);
        if self.step == Step::File {
            self.failure = self.content.missing();
        }
    }

    /// Whether the step makes a directory.
    pub(crate) fn makes_dir(&self) -> bool {
        self.step == Step::MakeDir
    }
}

/// An existing directory that holds planned entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LiveDir {
    pub(crate) path: AbsPath,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) modified: Timestamp,
    pub(crate) accessed: Timestamp,
    pub(crate) flags: u32,
}

/// What a rollback would do. Computed from undo records and the live filesystem; changes nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct RollbackPlan {
    /// Ids of the snapshots, newest first.
    pub(crate) snapshots: Vec<String>,
    /// Sorted by path, each path once.
    pub(crate) entries: Vec<PlannedEntry>,
    /// Sorted by path, each path once.
    pub(crate) directories: Vec<LiveDir>,
    /// Entries that are as they have to be.
    pub(crate) unchanged: u64,
    pub(crate) notes: Vec<String>,
}

impl RollbackPlan {
    /// What would be done, in the order of doing it.
    pub(crate) fn actions(&self) -> Vec<PlannedAction> {
        let action = |entry: &PlannedEntry| {
            let word = entry.step.word().filter(|_| entry.failure.is_none())?;
            Some(PlannedAction {
                action: word.to_owned(),
                path: entry.path.clone(),
            })
        };
        let of = |wanted: fn(Step) -> bool| self.entries.iter().filter(move |e| wanted(e.step));
        let links = |step: Step| matches!(step, Step::Link { .. });
        let removals = of(Step::removes).rev();
        let places = of(|s| s.places() && !matches!(s, Step::Link { .. }));
        let metadata = of(|s| s == Step::Metadata);
        let times = of(|s| s == Step::Times).rev();
        places
            .chain(of(links))
            .chain(removals)
            .chain(metadata)
            .chain(times)
            .filter_map(action)
            .collect()
    }

    /// Entries that are not as the commands left them.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let conflict = |entry: &PlannedEntry| {
            Some(Conflict {
                path: entry.path.clone(),
                reason: entry.conflict.as_ref()?.reason.clone(),
            })
        };
        self.entries.iter().filter_map(conflict).collect()
    }

    /// For each entry the position of the entry that is its directory, where that is planned too.
    pub(crate) fn parents(&self) -> Vec<Option<u32>> {
        let mut ancestors: Vec<usize> = Vec::new();
        let mut parents = Vec::with_capacity(self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            while let Some(last) = ancestors.last() {
                if entry.path.starts_with(&self.entries[*last].path) {
                    break;
                }
                ancestors.pop();
            }
            let parent = ancestors.last().filter(|last| {
                let parent_length = self.entries[**last].path.to_bytes().len();
                let rest = &entry.path.to_bytes()[parent_length..];
                !rest.strip_prefix(b"/").unwrap_or(rest).contains(&b'/')
            });
            parents.push(parent.map(|p| *p as u32));
            ancestors.push(index);
        }
        parents
    }
}
