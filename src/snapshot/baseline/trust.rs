//! Trees of which is known, without walking them, that the index has their state.

use super::index::{Index, Registered};
use super::rows::Rows;
use crate::error::Result;
use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::snapshot::tree::focus::{Focus, Look};
use crate::snapshot::tree::links::LinkedName;

/// What somebody who saw every change of a tree knows of it since the last capture.
#[derive(Debug, Clone)]
pub(in crate::snapshot) struct Trust {
    /// The tree: a path of the scope with depth `Tree`.
    pub(in crate::snapshot) root: AbsPath,
    /// The path with which the tree was captured: `root` or a directory above it.
    pub(in crate::snapshot) captured_as: AbsPath,
    /// When that was. Since then no other capture may have written rows of the tree, but those of
    /// the generations `fitting`, which are known to fit.
    pub(in crate::snapshot) generation: i64,
    pub(in crate::snapshot) fitting: Vec<i64>,
    /// What may have changed since.
    pub(in crate::snapshot) focus: Focus,
    /// What the capture found besides rows.
    pub(in crate::snapshot) besides: Besides,
}

/// What a capture found of a tree besides rows.
#[derive(Debug, Clone, Default)]
pub(in crate::snapshot) struct Besides {
    /// Every name of a file with several names.
    pub(in crate::snapshot) linked: Vec<LinkedName>,
    /// Names outside the tree of files that have one in it, with the directories that hold them.
    pub(in crate::snapshot) further: Vec<ScopePath>,
    /// What could not be secured.
    pub(in crate::snapshot) unobserved: Vec<Unobserved>,
    /// The ignore files in it.
    pub(in crate::snapshot) ignore_files: Vec<(AbsPath, String)>,
    /// How many entries there are.
    pub(in crate::snapshot) entries: u64,
    /// Remarks for people.
    pub(in crate::snapshot) notes: Vec<String>,
}

/// What a capture learnt of one tree of its scope.
#[derive(Debug, Clone)]
pub(in crate::snapshot) struct Learnt {
    /// The tree.
    pub(in crate::snapshot) root: AbsPath,
    /// When the index has its state. `None`: somebody else wrote rows of it meanwhile.
    pub(in crate::snapshot) generation: Option<i64>,
    /// What was found besides rows.
    pub(in crate::snapshot) besides: Besides,
}

impl Trust {
    /// Whether the index still has what the tree's capture wrote.
    pub(super) fn holds(&self, index: &Index) -> Result<bool> {
        Ok(index.has_root(&self.captured_as)?
            && !index.written_by_others(&self.root, self.generation, &self.fitting)?)
    }

    /// What the index has of what is looked at with `focus`.
    pub(super) fn rows(index: &Index, focus: &Focus, registered: Registered) -> Result<Rows> {
        let mut rows = Rows::default();
        for (path, look) in focus.directories() {
            let generation = registered.generation;
            match look {
                Look::Names(names) => {
                    let names: Vec<_> = names.iter().cloned().collect();
                    index.load_part(path, &names, generation, &mut rows)?;
                }
                Look::Entries => rows.extend(index.load(&[(path, false)], generation)?),
                Look::Whole => rows.extend(index.load(&[(path, true)], generation)?),
            }
        }
        Ok(rows)
    }
}
