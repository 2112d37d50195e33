//! Rows of the index, made of what a walk found.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};

use super::observe::{Draft, DraftChild, Found};
use super::rows::{Part, Rows, path_of};
use crate::entry::EntryKind;
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::snapshot::Unobserved;
use crate::snapshot::tree::record::{Child, Row, child_path};

/// What a walk found, in rows.
pub(super) struct Assembled {
    /// The state before, for this capture.
    pub(super) before: Rows,
    /// Rows that the index is to have.
    pub(super) upsert: Rows,
    /// Keys of rows that it is to lose.
    pub(super) remove: Vec<Vec<u8>>,
}

/// Makes rows of what was found, and tells how they differ from those known. `swept` are the trees of
/// which everything was looked at.
pub(super) fn assemble(
    found: Vec<(AbsPath, Found)>,
    known: &Rows,
    scope: &[ScopePath],
    swept: &[AbsPath],
    unobserved: &[Unobserved],
) -> Assembled {
    let mut out = Assembled {
        before: Rows::default(),
        upsert: Rows::default(),
        remove: Vec::new(),
    };
    let whole: HashSet<AbsPath> = found
        .iter()
        .filter(|(_, found)| !matches!(found, Found::Part(..)))
        .map(|(path, _)| path.clone())
        .collect();
    for (path, found) in found {
        match found {
            Found::Unchanged => known.copy_to(&path, &mut out.before),
            Found::Draft(draft) => out.take_draft(&path, *draft, known),
            // A part that was looked at before all of it was is in that too.
            Found::Part(..) if whole.contains(&path) => {}
            Found::Part(..) if swept.iter().any(|tree| path.starts_with(tree)) => {}
            Found::Part(draft, absent) => out.take_part(&path, *draft, &absent, known),
        }
    }
    out.before = restrict(out.before, scope);
    for tree in swept {
        for key in known.keys_at(tree).chain(known.keys_beneath(tree)) {
            let path = path_of(key);
            let hidden = || {
                AbsPath::from_bytes(path)
                    .is_ok_and(|path| unobserved.iter().any(|u| path.starts_with(&u.path)))
            };
            if out.before.get(path).is_none() && !hidden() {
                out.remove.push(key.clone());
            }
        }
    }
    out.remove.sort_unstable();
    out.remove.dedup();
    out
}

impl Assembled {
    fn take_draft(&mut self, path: &AbsPath, draft: Draft, known: &Rows) {
        let row = finish_draft(draft);
        let is_dir = row
            .own
            .as_ref()
            .is_some_and(|own| own.kind() == EntryKind::Directory);
        if row.children.is_none() && is_dir {
            // One that was only looked at from above keeps in the index what is known of its inside.
            self.upsert.put_own(path, row.own.clone(), known);
            self.before.put(path, row, known);
            return;
        }
        let mut new = Rows::default();
        new.put(path, row, known);
        self.take_changed(&new, known);
        let old = known.keys_at(path).filter(|key| new.get(key).is_none());
        self.remove.extend(old.cloned());
        self.before.extend(new);
    }

    /// The index has what was not looked at, and nothing of this is needed before it does.
    fn take_part(&mut self, path: &AbsPath, draft: Draft, absent: &[OsString], known: &Rows) {
        let row = finish_draft(draft);
        let Some(own) = row.own else { return };
        let part = Part {
            own,
            present: row.children.unwrap_or_default(),
            absent: absent.iter().map(|name| key_of(name)).collect(),
        };
        let mut new = Rows::default();
        new.put_part(path, part, known);
        self.take_changed(&new, known);
    }

    fn take_changed(&mut self, new: &Rows, known: &Rows) {
        for (key, value) in new.encoded() {
            if known.get(key) != Some(value) {
                self.upsert.insert_encoded(key.to_vec(), value.into());
            }
        }
    }
}

fn key_of(name: &OsStr) -> Vec<u8> {
    name.as_encoded_bytes().to_vec()
}

fn finish_draft(draft: Draft) -> Row {
    let children = draft.children.map(|children| {
        children
            .into_iter()
            .filter_map(|(name, child)| match child {
                DraftChild::Done(child) => Some((key_of(&name), child)),
                DraftChild::Pending(_) => None,
            })
            .collect()
    });
    Row {
        own: draft.own,
        children,
    }
}

/// The rows that a capture of `scope` saw, out of all that the index has at these paths.
pub(super) fn restrict(rows: Rows, scope: &[ScopePath]) -> Rows {
    let mut before = rows;
    for path in scope.iter().filter(|s| s.depth == Depth::Entry) {
        before.strip(&path.path);
    }
    for root in scope.iter().filter(|s| s.depth == Depth::Children) {
        let row = before.row(&root.path);
        for (name, child) in row.and_then(|r| r.children).unwrap_or_default() {
            if child == Child::Directory
                && let Ok(path) = child_path(&root.path, &name)
                && !scope.iter().any(|s| s.path == path)
            {
                before.strip(&path);
            }
        }
    }
    before
}

pub(super) fn roots(scope: &[ScopePath]) -> Vec<(&AbsPath, bool)> {
    scope
        .iter()
        .map(|s| (&s.path, s.depth != Depth::Entry))
        .collect()
}
