//! What differs, and which old content that takes.

use std::collections::HashMap;

use super::expand::Expanded;
use super::live::Reading;
use super::model::Model;
use super::place::{Source, Wanted};
use super::record::{Inode, Kept};
use crate::entry::{ContentHash, EntryState};
use crate::path::AbsPath;
use crate::snapshot::tree::compare::is_equal;

/// An entry that may differ.
pub(super) struct Candidate {
    pub(super) path: AbsPath,
    pub(super) before: Option<Box<EntryState>>,
    pub(super) after: Option<EntryState>,
    /// Its old content, where that may be needed.
    /// By its number.
    pub(super) wanted: Option<usize>,
}

/// Candidates, and the files whose old content they want.
#[derive(Default)]
pub(super) struct Candidates {
    pub(super) entries: Vec<Candidate>,
    pub(super) wanted: Vec<Wanted>,
    /// The numbers of those that had several names.
    pub(super) shared: HashMap<Inode, usize>,
}

impl Candidates {
    /// Sorts out what `expanded` has. `model` tells where old content is, and `readings` what is known
    /// of it.
    pub(super) fn of(
        expanded: Expanded,
        model: &Model,
        readings: &mut HashMap<Inode, Reading>,
    ) -> Self {
        let mut candidates = Self {
            entries: Vec::with_capacity(expanded.before.len()),
            ..Self::default()
        };
        let Expanded {
            before,
            mut after,
            places,
            ..
        } = expanded;
        for (path, before) in before {
            let mut after = after.remove(&path);
            if let Some(after) = &mut after {
                without_own_link(after, model);
            }
            candidates.add(path, before, after, model, &places, readings);
        }
        candidates
    }

    fn add(
        &mut self,
        path: AbsPath,
        mut before: Option<Box<EntryState>>,
        after: Option<EntryState>,
        model: &Model,
        places: &HashMap<Inode, AbsPath>,
        readings: &mut HashMap<Inode, Reading>,
    ) {
        let mut wanted = None;
        match (&mut before, &after) {
            (None, None) => return,
            (Some(before), after) if before.is_file() => {
                let inode = inode(before);
                let source = source_of(before, model.kept(inode), places.get(&inode));
                if before.size == 0 {
                    before.hash = Some(ContentHash::EMPTY);
                } else if let (Some(after), Source::Live(_)) = (after, &source)
                    && (after.identity.device, after.identity.inode) == inode
                {
                    // Nobody wrote to it.
                    before.hash = after.hash;
                } else {
                    let several = before.identity.links > 1;
                    let known = self.shared.get(&inode).filter(|_| several);
                    wanted = Some(known.copied().unwrap_or(self.wanted.len()));
                    if known.is_none() {
                        if several {
                            self.shared.insert(inode, self.wanted.len());
                        }
                        self.wanted.push(Wanted {
                            path: path.clone(),
                            size: before.size,
                            source,
                            reading: readings.remove(&inode),
                        });
                    }
                }
            }
            _ => {}
        }
        self.entries.push(Candidate {
            path,
            before,
            after,
            wanted,
        });
    }
}

/// Whether nothing that could be restored differs.
pub(super) fn is_unchanged(before: Option<&EntryState>, after: Option<&EntryState>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            before.identity.inode == after.identity.inode && is_equal(before, after)
        }
        _ => false,
    }
}

/// Where the content is that a file had.
fn source_of(before: &EntryState, kept: Option<Kept>, place: Option<&AbsPath>) -> Source {
    let at = || place.cloned();
    match kept {
        Some(Kept::Link(stored)) => Source::Link(stored),
        Some(Kept::Copy(stored)) => Source::Copy(stored),
        Some(Kept::Lost(reason)) => Source::Lost(reason),
        Some(Kept::Prefix(length)) => match at() {
            Some(path) => Source::Grown(path, length),
            None => Source::Lost(NOT_FOUND.into()),
        },
        Some(Kept::Empty) if before.size > 0 => Source::Lost(NOT_FOUND.into()),
        Some(Kept::Empty) | None => match at() {
            Some(path) => Source::Live(path),
            None => Source::Lost(NOT_FOUND.into()),
        },
    }
}

const NOT_FOUND: &str = "it went without a call that was seen";

/// A file that is kept under another name has one name more than everybody else sees.
fn without_own_link(after: &mut EntryState, model: &Model) {
    if matches!(model.kept(inode(after)), Some(Kept::Link(_))) {
        after.identity.links = after.identity.links.saturating_sub(1);
    }
}

fn inode(state: &EntryState) -> Inode {
    (state.identity.device, state.identity.inode)
}
