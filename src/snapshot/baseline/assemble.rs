//! Rows of the index, made of what a walk found.

use super::index::{Rows, range_beneath};
use super::observe::{Draft, DraftChild, Found};
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
        before: Rows::new(),
        upsert: Rows::new(),
        remove: Vec::new(),
    };
    for (path, found) in found {
        let key = path.to_bytes().to_vec();
        match found {
            Found::Unchanged(bytes) => {
                out.before.insert(key, bytes);
            }
            Found::Draft(draft) => {
                let row = finish_draft(*draft);
                let encoded = row.encode();
                let stored = keep_known_children(row, known.get(&key).map(AsRef::as_ref));
                out.upsert
                    .insert(key.clone(), stored.unwrap_or_else(|| encoded.clone()));
                out.before.insert(key, encoded);
            }
        }
    }
    out.before = restrict(out.before, scope);
    for tree in swept {
        let (from, to) = range_beneath(tree);
        let own = known.get_key_value(tree.to_bytes());
        for (key, _) in own.into_iter().chain(known.range(from..to)) {
            let hidden = || {
                AbsPath::from_bytes(key)
                    .is_ok_and(|path| unobserved.iter().any(|u| path.starts_with(&u.path)))
            };
            if !out.before.contains_key(key) && !hidden() {
                out.remove.push(key.clone());
            }
        }
    }
    out
}

fn finish_draft(draft: Draft) -> Row {
    let children = draft.children.map(|children| {
        children
            .into_iter()
            .filter_map(|(name, child)| match child {
                DraftChild::Done(child) => Some((name.as_encoded_bytes().to_vec(), child)),
                DraftChild::Pending(_) => None,
            })
            .collect()
    });
    Row {
        own: draft.own,
        children,
    }
}

/// A directory that was only looked at from above keeps in the index what is known of its inside.
fn keep_known_children(row: Row, known: Option<&[u8]>) -> Option<Box<[u8]>> {
    let is_dir = row
        .own
        .as_ref()
        .is_some_and(|own| own.kind() == crate::entry::EntryKind::Directory);
    if row.children.is_some() || !is_dir {
        return None;
    }
    let children = known.and_then(Row::decode)?.children?;
    Some(
        Row {
            own: row.own,
            children: Some(children),
        }
        .encode(),
    )
}

fn strip_children(rows: &mut Rows, path: &AbsPath) {
    if let Some(bytes) = rows.get_mut(path.to_bytes())
        && let Some(row) = Row::decode(bytes)
        && row.children.is_some()
    {
        *bytes = Row {
            own: row.own,
            children: None,
        }
        .encode();
    }
}

/// The rows that a capture of `scope` saw, out of all that the index has at these paths.
pub(super) fn restrict(rows: Rows, scope: &[ScopePath]) -> Rows {
    let mut before = rows;
    for path in scope.iter().filter(|s| s.depth == Depth::Entry) {
        strip_children(&mut before, &path.path);
    }
    for root in scope.iter().filter(|s| s.depth == Depth::Children) {
        let row = before
            .get(root.path.to_bytes())
            .and_then(|bytes| Row::decode(bytes));
        for (name, child) in row.and_then(|r| r.children).unwrap_or_default() {
            if child == Child::Directory
                && let Ok(path) = child_path(&root.path, &name)
                && !scope.iter().any(|s| s.path == path)
            {
                strip_children(&mut before, &path);
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
