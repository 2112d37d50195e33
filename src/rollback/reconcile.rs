//! Takes up an apply that was interrupted: what is done, what is to do, what somebody changed.

use super::apply::Outcome;
use super::cursor::Cursor;
use super::judge::same;
use super::plan::{PlannedEntry, RollbackPlan, Step};
use super::stage::content_is;
use super::verify::VerifiedPlan;
use crate::entry::{EntryState, flags};
use crate::sys::{Dir, Stat, read_state};

/// Looks at every entry of an interrupted plan.
///
/// Gives the outcome so far of each, and brings the plan's live states up to date for those still
/// to do, so that applying it goes on where the interrupted run stopped.
pub(crate) fn reconcile(verified: &mut VerifiedPlan) -> Vec<Outcome> {
    let mut cursor = Cursor::default();
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(verified.plan().entries.len());
    let mut seen: Vec<Option<EntryState>> = Vec::new();
    for entry in &verified.plan().entries {
        let now = now(entry, &mut cursor);
        outcomes.push(match &now {
            Ok(now) => status(entry, now.as_ref()),
            Err(e) => Outcome::Failed(format!("cannot be looked at: {e}")),
        });
        seen.push(now.ok().flatten());
    }
    for (index, outcome) in outcomes.iter_mut().enumerate() {
        if let Step::Reuse { of } = verified.plan().entries[index].step {
            *outcome = reuse_status(verified.plan(), index, of as usize, &seen);
        }
    }
    for index in 0..outcomes.len() {
        if let Step::Link { to } = verified.plan().entries[index].step {
            let shared = is_shared(seen[index].as_ref(), seen[to as usize].as_ref());
            outcomes[index] = link_status(verified.plan(), index, shared, &seen, &outcomes);
        }
    }
    for ((entry, now), outcome) in verified.entries_mut().iter_mut().zip(seen).zip(&outcomes) {
        if outcome.is_todo() && entry.step != Step::Keep {
            // The recorded hash still holds: the content was not changed.
            let hash = entry.live.as_deref().and_then(|l| l.hash);
            entry.live = now.map(|mut now| {
                now.hash = now.hash.or(hash);
                Box::new(now)
            });
        }
    }
    outcomes
}

fn now(entry: &PlannedEntry, cursor: &mut Cursor) -> std::io::Result<Option<EntryState>> {
    let missing = |e: &std::io::Error| {
        matches!(
            e.kind(),
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
        )
    };
    let (dir, name) = match cursor.parent(&entry.path) {
        Err(_) if entry.path.name().is_none() => return Ok(entry.live.as_deref().cloned()),
        Err(e) if missing(&e) => return Ok(None),
        other => other?,
    };
    let Some(stat) = dir.stat_opt(name)? else {
        return Ok(None);
    };
    let mut state = read_state(dir, name, &stat)?;
    if let Some(desired) = &entry.desired
        && entry.step.places()
        && is_like(&stat, desired)
    {
        state.hash = content_of(dir, name, desired);
    }
    Ok(Some(state))
}

/// Whether it is worth reading the content to see whether the entry is restored.
fn is_like(now: &Stat, desired: &EntryState) -> bool {
    desired.is_file()
        && now.kind == desired.kind
        && now.size == desired.size
        && now.modified == desired.modified
}

fn content_of(
    dir: &Dir,
    name: &std::ffi::OsStr,
    desired: &EntryState,
) -> Option<crate::entry::ContentHash> {
    content_is(dir, name, desired)
        .then_some(desired.hash)
        .flatten()
}

fn status(entry: &PlannedEntry, now: Option<&EntryState>) -> Outcome {
    let untouched = is_as_planned(entry, now);
    let done = is_desired(entry, now);
    match entry.step {
        Step::Keep => Outcome::Todo,
        Step::Remove | Step::RemoveDir if now.is_none() => Outcome::Done,
        // Harmless to do twice, and half done ones get finished.
        Step::Metadata | Step::Times if is_same_entry(entry, now) => Outcome::Todo,
        _ if untouched => Outcome::Todo,
        _ if done => Outcome::Done,
        _ => Outcome::Failed("was changed after the rollback was interrupted".into()),
    }
}

/// Whether the entry is the inode that was there when the plan was made, unchanged but for locking
/// flags and link counts, which an interrupted run moves.
fn is_as_planned(entry: &PlannedEntry, now: Option<&EntryState>) -> bool {
    match (&entry.live, now) {
        (None, None) => true,
        (Some(live), Some(now)) => {
            is_same_inode(live, now)
                && (live.is_dir() || (live.size == now.size && live.modified == now.modified))
        }
        _ => false,
    }
}

/// Whether it is the same inode with the same content, its metadata being the old, the new, or
/// something in between.
fn is_same_entry(entry: &PlannedEntry, now: Option<&EntryState>) -> bool {
    let (Some(live), Some(desired), Some(now)) = (&entry.live, &entry.desired, now) else {
        return false;
    };
    is_same_inode(live, now)
        && (live.is_dir()
            || (live.size == now.size
                && (now.modified == live.modified || now.modified == desired.modified)))
}

fn is_same_inode(a: &EntryState, b: &EntryState) -> bool {
    a.kind == b.kind
        && a.identity.device == b.identity.device
        && a.identity.inode == b.identity.inode
}

/// Whether the entry is in its old state; locking flags come last.
fn is_desired(entry: &PlannedEntry, now: Option<&EntryState>) -> bool {
    let (Some(desired), Some(now)) = (&entry.desired, now) else {
        return entry.desired.is_none() && now.is_none();
    };
    let mut now = now.clone();
    now.flags |= desired.flags & flags::LOCKING;
    same(Some(&now), Some(desired), true)
}

/// The same where the content is known to be right.
fn is_desired_unread(entry: &PlannedEntry, now: Option<&EntryState>) -> bool {
    let (Some(desired), Some(now)) = (&entry.desired, now) else {
        return false;
    };
    let mut now = now.clone();
    now.hash = desired.hash;
    is_desired(entry, Some(&now))
}

fn is_shared(a: Option<&EntryState>, b: Option<&EntryState>) -> bool {
    matches!((a, b), (Some(a), Some(b)) if is_same_inode(a, b))
}

/// An entry that was moved is done when it is the inode that had the other name, or was made anew.
fn reuse_status(
    plan: &RollbackPlan,
    index: usize,
    of: usize,
    seen: &[Option<EntryState>],
) -> Outcome {
    let (entry, now) = (&plan.entries[index], seen[index].as_ref());
    if is_shared(now, plan.entries[of].live.as_deref()) && is_desired_unread(entry, now) {
        Outcome::Done
    } else {
        status(entry, now)
    }
}

/// A link is done when it is a name of its file. Files are put into place before their links.
fn link_status(
    plan: &RollbackPlan,
    index: usize,
    shared: bool,
    seen: &[Option<EntryState>],
    outcomes: &[Outcome],
) -> Outcome {
    let Step::Link { to } = plan.entries[index].step else {
        return outcomes[index].clone();
    };
    let original = &plan.entries[to as usize];
    let settled = !original.step.places() || outcomes[to as usize] == Outcome::Done;
    let entry = &plan.entries[index];
    let now = seen[index].as_ref();
    if shared && settled {
        Outcome::Done
    } else if is_as_planned(entry, now) || is_desired(entry, now) {
        Outcome::Todo
    } else {
        Outcome::Failed("was changed after the rollback was interrupted".into())
    }
}
