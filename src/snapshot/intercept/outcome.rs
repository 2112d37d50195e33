//! What an intercepted command came to: its changes, and what the records say besides.

use super::changes::{Candidates, is_unchanged};
use super::model::Model;
use super::place::{Hashes, Placed};
use crate::path::AbsPath;
use crate::seal::{Change, Effect, KnownBy, LateChange, Limit, LimitKind, Observed, PreImage};
use crate::snapshot::Unobserved;
use crate::sys;

/// Which old content differs from what is there now.
pub(super) fn needed(candidates: &Candidates, hashes: &Hashes) -> Vec<bool> {
    let mut needed = vec![false; candidates.wanted.len()];
    for entry in &candidates.entries {
        let Some(number) = entry.wanted else { continue };
        let Ok(hash) = &hashes[number] else { continue };
        let size = candidates.wanted[number].size;
        let same = entry.after.as_ref().is_some_and(|after| {
            after.is_file() && after.size == size && after.hash == Some(*hash)
        });
        needed[number] |= !same;
    }
    needed
}

/// What the records say besides what is to be restored.
pub(super) fn observed(model: &mut Model, complete: bool) -> Observed {
    let effects = std::mem::take(&mut model.effects).into_iter();
    let late = std::mem::take(&mut model.late).into_iter();
    let listener = model
        .own_listener
        .then(|| Limit::new(LimitKind::OwnListener, super::record::OWN_LISTENER));
    Observed {
        every_call: complete,
        outside: std::mem::take(&mut model.outside).into_iter().collect(),
        effects: effects
            .map(|(what, reason)| Effect {
                what,
                reason,
                known_by: KnownBy::Call,
            })
            .collect(),
        limits: without_set_uid().into_iter().chain(listener).collect(),
        late: late
            .map(|(path, command)| LateChange {
                path,
                command,
                recorded_with: None,
            })
            .collect(),
        written_as_before: Vec::new(),
    }
}

/// What holds for commands of ordinary users.
pub(super) fn without_set_uid() -> Option<Limit> {
    let reason = "set-uid programs (sudo) gain no rights under interception without the \
                  administrator's rights";
    (!sys::is_root()).then(|| Limit::new(LimitKind::SetUid, reason))
}

/// Makes changes of what differs; gives them, and the files that were opened for writing and do not.
pub(super) fn finish(
    candidates: Candidates,
    hashes: &Hashes,
    mut placed: Placed,
    unobserved: &mut Vec<Unobserved>,
) -> (Vec<Change>, Vec<AbsPath>) {
    let mut written_as_before = Vec::new();
    let mut changes = Vec::with_capacity(candidates.entries.len());
    for mut entry in candidates.entries {
        let mut content = PreImage::NotNeeded;
        if let Some(number) = entry.wanted {
            let hash = hashes[number].as_ref().ok().copied();
            if let Some(before) = &mut entry.before {
                before.hash = hash;
            }
            let needed = !entry
                .after
                .as_ref()
                .is_some_and(|after| after.is_file() && hash.is_some() && after.hash == hash);
            if needed {
                // Of a file with several names, each has the same content.
                let placed = if candidates.shared.is_empty() {
                    placed[number].take()
                } else {
                    placed[number].clone()
                };
                content = match (placed, &hashes[number]) {
                    (Some(Ok(name)), Ok(hash)) => PreImage::raw(name, *hash),
                    (Some(Err(reason)), _) => PreImage::Lost { reason },
                    (_, Err(reason)) => PreImage::Lost {
                        reason: reason.clone(),
                    },
                    (None, _) => PreImage::Lost {
                        reason: "it was not kept".into(),
                    },
                };
            }
        }
        if content == PreImage::NotNeeded
            && is_unchanged(entry.before.as_deref(), entry.after.as_ref())
        {
            if entry.wanted.is_some() {
                written_as_before.push(entry.path);
            }
            continue;
        }
        if let PreImage::Lost { reason } = &content {
            unobserved.push(Unobserved {
                path: entry.path.clone(),
                reason: reason.clone(),
            });
        }
        changes.push(Change {
            path: entry.path,
            before: entry.before.map(|state| *state),
            after: entry.after,
            content,
        });
    }
    (changes, written_as_before)
}
