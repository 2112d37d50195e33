//! Hard links: names that shared an inode share one again. Pure.

use std::collections::{HashMap, HashSet};

use super::compose::{Content, Role, relinked, same_inode};
use super::judge::{Draft, placing, same};
use super::plan::Step;
use crate::entry::EntryState;
use crate::path::AbsPath;

/// Settles the steps of entries whose old inode had several names, and of entries that the
/// commands made names of an inode they did not belong to. Gives remarks for the report.
pub(crate) fn settle_links(drafts: &mut [Draft]) -> Vec<String> {
    let mut groups: HashMap<(u32, u64, u64), Vec<usize>> = HashMap::new();
    for (index, draft) in drafts.iter_mut().enumerate() {
        if let Some(desired) = draft
            .target
            .desired
            .as_deref()
            .filter(|_| draft.target.was_linked())
        {
            let identity = desired.identity;
            let key = (draft.target.oldest, identity.device, identity.inode);
            groups.entry(key).or_default().push(index);
        } else if draft.target.role == Role::Asked && shares_by_command(draft) {
            renew(draft);
        }
    }
    let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
    groups.sort_unstable();
    let leaving = leaving(drafts);
    let renewed: Vec<(usize, usize)> = groups
        .iter()
        .filter_map(|members| {
            let moved = is_moved(drafts, members, &leaving);
            Some((settle_group(drafts, members, moved)?, members.len()))
        })
        .collect();
    reuse_moved(drafts);
    let note = |(first, members): (usize, usize)| outside_note(&drafts[first], members);
    renewed.into_iter().filter_map(note).collect()
}

/// The inodes of files that are now where they go from: removed, or replaced.
fn leaving(drafts: &[Draft]) -> HashSet<(u64, u64)> {
    let goes = |draft: &&Draft| draft.step.removes() || draft.step.places();
    let expected = drafts.iter().filter(goes).filter_map(|draft| {
        let expected = draft.target.expected.as_deref()?;
        (!expected.is_dir()).then_some((expected.identity.device, expected.identity.inode))
    });
    expected.collect()
}

/// Whether a group has names that nobody recorded, and its inode is under a name that goes.
fn is_moved(drafts: &[Draft], members: &[usize], leaving: &HashSet<(u64, u64)>) -> bool {
    let first = members.first().map(|first| &drafts[*first].target);
    first
        .and_then(|target| target.desired.as_deref())
        .is_some_and(|desired| {
            let identity = desired.identity;
            identity.links > members.len() as u64
                && leaving.contains(&(identity.device, identity.inode))
        })
}

/// A remark on names of a group that are not in the record, where the group gets a new inode.
fn outside_note(first: &Draft, members: usize) -> Option<String> {
    let names = first.target.desired.as_deref()?.identity.links;
    let outside = names.saturating_sub(members as u64);
    let new_inode = first.step.places() && !matches!(first.step, Step::Reuse { .. });
    (outside > 0 && new_inode).then(|| {
        format!(
            "{} was also known by {outside} other name(s) outside of what was recorded; these keep \
             what they are now",
            first.target.path
        )
    })
}

/// Where the commands moved a file, its inode is still there under the other name: it is taken
/// from there instead of from the store, so that even names that nobody recorded stay together.
fn reuse_moved(drafts: &mut [Draft]) {
    let swapped: Vec<AbsPath> = drafts
        .iter()
        .filter(|d| d.live.as_deref().is_some_and(EntryState::is_dir))
        .filter(|d| d.step.places() && d.step != Step::MakeDir)
        .map(|d| d.target.path.clone())
        .collect();
    let mut sources: HashMap<(u64, u64), usize> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let goes = draft.step.removes() || draft.step.places();
        let expected = draft.target.expected.as_deref().filter(|e| !e.is_dir());
        if let Some(expected) = expected.filter(|_| goes && draft.conflict.is_none()) {
            let key = (expected.identity.device, expected.identity.inode);
            sources.entry(key).or_insert(index);
        }
    }
    for index in 0..drafts.len() {
        if let Some(source) = moved_from(drafts, index, &sources, &swapped) {
            drafts[index].step = Step::Reuse { of: source as u32 };
            drafts[index].failure = None;
        }
    }
}

/// The entry that is the old inode of `index` now, where it may be used.
fn moved_from(
    drafts: &[Draft],
    index: usize,
    sources: &HashMap<(u64, u64), usize>,
    swapped: &[AbsPath],
) -> Option<usize> {
    let draft = &drafts[index];
    let desired = draft.target.desired.as_deref()?;
    if !matches!(draft.step, Step::File | Step::Symlink | Step::Node) {
        return None;
    }
    let key = (desired.identity.device, desired.identity.inode);
    let source = *sources.get(&key)?;
    let other = &drafts[source];
    let live = other.live.as_deref()?;
    if source == index || !same(Some(live), Some(desired), true) {
        return None;
    }
    // An interrupted rollback must find it again, or do without it.
    let stays_until_last = other.step == Step::Remove
        && live.identity.links == 1
        && !swapped.iter().any(|dir| other.target.path.starts_with(dir));
    let replaceable = draft.failure.is_none() && draft.target.was_linked();
    (stays_until_last || replaceable).then_some(source)
}

/// Whether a command made the entry a further name of another file with equal content.
fn shares_by_command(draft: &Draft) -> bool {
    let (Some(desired), Some(expected), Some(live)) =
        (&draft.target.desired, &draft.target.expected, &draft.live)
    else {
        return false;
    };
    matches!(draft.step, Step::Keep | Step::Metadata)
        && relinked(desired, expected)
        && live.identity.links > 1
}

/// Plans a new inode for an entry whose live content is right.
fn renew(draft: &mut Draft) {
    let Some(desired) = &draft.target.desired else {
        return;
    };
    draft.step = placing(desired.kind);
    let filled = desired.is_file() && desired.size > 0;
    if filled && !matches!(draft.target.content, Content::Stored { .. }) {
        draft.target.content = Content::Live;
    }
}

/// Settles one group; gives the member that becomes its new inode, if one has to. Where its inode was
/// `moved`, no other one is as good, whatever it holds.
fn settle_group(drafts: &mut [Draft], members: &[usize], moved: bool) -> Option<usize> {
    for member in members {
        drafts[*member].linked = true;
    }
    if let Some(anchor) = anchor(drafts, members, moved) {
        link_to(drafts, members, anchor);
        return None;
    }
    let asked: Vec<usize> = members
        .iter()
        .copied()
        .filter(|m| drafts[*m].target.role == Role::Asked && !left_alone(&drafts[*m]))
        .collect();
    let usable = |m: &usize| drafts[*m].conflict.is_none() && drafts[*m].failure.is_none();
    let first = asked
        .iter()
        .copied()
        .find(|m| usable(m))
        .or_else(|| asked.first().copied())?;
    let alone = asked.len() == 1 && !moved;
    if !alone && matches!(drafts[first].step, Step::Keep | Step::Metadata) {
        renew(&mut drafts[first]);
    }
    link_to(drafts, &asked, first);
    Some(first)
}

/// An entry whose link count alone had changed and that is not what it was any more.
fn left_alone(draft: &Draft) -> bool {
    draft.target.is_incidental() && !has_old_content(draft)
}

fn has_old_content(draft: &Draft) -> bool {
    matches!((&draft.live, &draft.target.desired), (Some(live), Some(desired))
        if live.same_content(desired))
}

/// The member that still is the old inode, or one that may become it.
fn anchor(drafts: &[Draft], members: &[usize], moved: bool) -> Option<usize> {
    let able: Vec<usize> = members
        .iter()
        .copied()
        .filter(|m| drafts[*m].conflict.is_none() && has_old_content(&drafts[*m]))
        .collect();
    let live = |m: usize| drafts[m].live.as_deref();
    let sharing = |m: usize| {
        let same = |other: &&usize| matches!((live(m), live(**other)), (Some(a), Some(b)) if same_inode(a, b));
        able.iter().filter(same).count() as u64
    };
    let score = |m: usize| -> Option<u32> {
        let target = &drafts[m].target;
        let (live, desired) = (live(m)?, target.desired.as_deref()?);
        let same = |state: Option<&EntryState>| state.is_some_and(|s| same_inode(s, desired));
        if same(Some(live)) || same(target.expected.as_deref()) {
            Some(2)
        } else {
            // All of its names are in the group, so nothing else gets tied to it.
            (!moved && live.identity.links == sharing(m)).then_some(1)
        }
    };
    able.iter()
        .copied()
        .filter_map(|m| Some((score(m)?, m)))
        .max_by_key(|(score, m)| (*score, std::cmp::Reverse(*m)))
        .map(|(_, m)| m)
}

/// Makes every member that is not the anchor's inode a link to it.
fn link_to(drafts: &mut [Draft], members: &[usize], anchor: usize) {
    let new_inode = drafts[anchor].step.places();
    let anchor_live = drafts[anchor].live.clone();
    for member in members.iter().copied().filter(|m| *m != anchor) {
        let draft = &mut drafts[member];
        let shared = !new_inode
            && matches!((&draft.live, &anchor_live), (Some(a), Some(b)) if same_inode(a, b));
        if shared || draft.target.role == Role::Reference || left_alone(draft) {
            continue;
        }
        draft.step = Step::Link { to: anchor as u32 };
        draft.failure = None;
    }
}
