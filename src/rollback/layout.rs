//! Where the entries of a plan are built before they are put into place.
//!
//! Everything new is made under a name of its own beside its target, and moved into place by one
//! rename. A missing directory is made with everything in it, as one *staged tree*.

use std::io;
use std::ops::Range;

use super::plan::RollbackPlan;
use crate::path::AbsPath;

/// The places of a plan's entries.
pub(crate) struct Layout<'a> {
    plan: &'a RollbackPlan,
    tag: &'a str,
    parents: Vec<Option<u32>>,
    /// For entries that are placed, the entry with whose rename they come into place.
    tops: Vec<Option<u32>>,
}

impl<'a> Layout<'a> {
    /// The layout of the entries for which `pending` says that they are still to be placed. `tag`
    /// makes the temporary names unique among rollbacks.
    pub(crate) fn of(
        plan: &'a RollbackPlan,
        tag: &'a str,
        pending: impl Fn(usize) -> bool,
    ) -> Self {
        let parents = plan.parents();
        let mut tops: Vec<Option<u32>> = Vec::with_capacity(parents.len());
        for (index, entry) in plan.entries.iter().enumerate() {
            let inherited = parents[index]
                .map(|p| p as usize)
                .filter(|p| plan.entries[*p].makes_dir())
                .and_then(|p| tops[p]);
            let placed = entry.step.places() && pending(index);
            tops.push(placed.then_some(inherited.unwrap_or(index as u32)));
        }
        Self {
            plan,
            tag,
            parents,
            tops,
        }
    }

    /// The layout in which every entry is placed by itself.
    pub(crate) fn singles(plan: &'a RollbackPlan, tag: &'a str) -> Self {
        let own = |(index, entry): (usize, &super::plan::PlannedEntry)| {
            entry.step.places().then_some(index as u32)
        };
        Self {
            plan,
            tag,
            parents: plan.parents(),
            tops: plan.entries.iter().enumerate().map(own).collect(),
        }
    }

    /// The planned directory that holds the entry.
    pub(crate) fn parent(&self, index: usize) -> Option<usize> {
        self.parents[index].map(|p| p as usize)
    }

    /// The entry with whose rename this one comes into place.
    pub(crate) fn top(&self, index: usize) -> Option<usize> {
        self.tops[index].map(|t| t as usize)
    }

    /// Whether the entry is placed by a rename of its own.
    pub(crate) fn is_top(&self, index: usize) -> bool {
        self.tops[index] == Some(index as u32)
    }

    /// The directory in whose staged tree the entry is made; `None`: it is placed by itself.
    pub(crate) fn staged_in(&self, index: usize) -> Option<usize> {
        self.parent(index).filter(|_| !self.is_top(index))
    }

    /// Where the entry is staged.
    pub(crate) fn staged(&self, index: usize) -> io::Result<AbsPath> {
        let path = &self.plan.entries[index].path;
        let top = self.tops[index].map_or(index, |t| t as usize);
        let top_path = &self.plan.entries[top].path;
        let Some(parent) = top_path.parent() else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the root cannot be replaced",
            ));
        };
        let mut bytes = parent.to_bytes().to_vec();
        if bytes != b"/" {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(format!(".deployx-{}-{top}", self.tag).as_bytes());
        bytes.extend_from_slice(&path.to_bytes()[top_path.to_bytes().len()..]);
        AbsPath::from_bytes(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }

    /// The entries beneath this one.
    pub(crate) fn beneath(&self, index: usize) -> Range<usize> {
        let path = &self.plan.entries[index].path;
        let rest = &self.plan.entries[index + 1..];
        let count = rest.partition_point(|e| e.path.starts_with(path));
        index + 1..index + 1 + count
    }

    /// The entries that come into place with this one: itself and what is staged beneath it.
    pub(crate) fn tree(&self, index: usize) -> impl DoubleEndedIterator<Item = usize> + use<'_> {
        let top = self.tops[index];
        let beneath = self.beneath(index);
        std::iter::once(index).chain(beneath.filter(move |i| self.tops[*i] == top))
    }
}
