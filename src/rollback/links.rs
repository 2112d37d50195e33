//! Hard links: names that shared an inode share one again. Pure.

use std::collections::HashMap;

use super::compose::{Content, Role, relinked, same_inode};
use super::judge::{Draft, placing};
use super::plan::Step;
use crate::entry::EntryState;

/// Settles the steps of entries whose old inode had several names, and of entries that the
/// commands made names of an inode they did not belong to. Gives remarks for the report.
pub(crate) fn settle_links(drafts: &mut [Draft]) -> Vec<String> {
    let mut groups: HashMap<(u32, u64, u64), Vec<usize>> = HashMap::new();
    for (index, draft) in drafts.iter_mut().enumerate() {
        if let Some(desired) = draft
            .target
            .desired
            .as_ref()
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
    groups
        .iter()
        .filter_map(|members| settle_group(drafts, members))
        .collect()
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

fn settle_group(drafts: &mut [Draft], members: &[usize]) -> Option<String> {
    for member in members {
        drafts[*member].linked = true;
    }
    if let Some(anchor) = anchor(drafts, members) {
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
    if asked.len() > 1 && matches!(drafts[first].step, Step::Keep | Step::Metadata) {
        renew(&mut drafts[first]);
    }
    link_to(drafts, &asked, first);
    let names = drafts[first].target.desired.as_ref()?.identity.links;
    let outside = names.saturating_sub(members.len() as u64);
    (outside > 0 && drafts[first].step.places()).then(|| {
        format!(
            "{} was also known by {outside} other name(s) outside of what was recorded; these keep \
             what they are now",
            drafts[first].target.path
        )
    })
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
fn anchor(drafts: &[Draft], members: &[usize]) -> Option<usize> {
    let able: Vec<usize> = members
        .iter()
        .copied()
        .filter(|m| drafts[*m].conflict.is_none() && has_old_content(&drafts[*m]))
        .collect();
    let live = |m: usize| drafts[m].live.as_ref();
    let sharing = |m: usize| {
        let same = |other: &&usize| matches!((live(m), live(**other)), (Some(a), Some(b)) if same_inode(a, b));
        able.iter().filter(same).count() as u64
    };
    let score = |m: usize| -> Option<u32> {
        let target = &drafts[m].target;
        let (live, desired) = (live(m)?, target.desired.as_ref()?);
        let same = |state: Option<&EntryState>| state.is_some_and(|s| same_inode(s, desired));
        if same(Some(live)) || same(target.expected.as_ref()) {
            Some(2)
        } else {
            // All of its names are in the group, so nothing else gets tied to it.
            (live.identity.links == sharing(m)).then_some(1)
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
