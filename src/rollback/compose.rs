//! From undo records to targets: what each path has to become, and what it should be now. Pure.

use std::collections::HashSet;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::entry::{ContentHash, EntryKind, EntryState};
use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::seal::{Change, Form, PreImage, RecordedVolume, UndoRecord};
use crate::store::content::Stored;

/// Where a file's old content comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Content {
    /// There is none: not a file, or an empty one.
    None,
    /// The commands left it as it was, so the live file has it.
    Live,
    /// In the `files/` of a snapshot, given by its position among the snapshots rolled back.
    Stored {
        /// Which snapshot.
        snapshot: u32,
        /// One component.
        name: String,
        hash: ContentHash,
        form: Form,
    },
    /// Nowhere.
    Lost {
        /// Why.
        reason: String,
    },
}

impl Content {
    /// Where it is stored, if it is: the position of the snapshot, and what is there. `size` is that
    /// of the file.
    pub(crate) fn stored(&self, size: u64) -> Option<(usize, Stored<'_>)> {
        let Content::Stored {
            snapshot,
            name,
            hash,
            form,
        } = self
        else {
            return None;
        };
        let stored = Stored {
            name,
            size,
            hash,
            form,
        };
        Some((*snapshot as usize, stored))
    }

    /// Why the old content cannot be had, where it cannot.
    pub(crate) fn missing(&self) -> Option<String> {
        match self {
            Content::Lost { reason } => {
                Some(format!("its old content was not preserved: {reason}"))
            }
            Content::Live => {
                Some("its old content was not kept, because the command had not changed it".into())
            }
            Content::None | Content::Stored { .. } => None,
        }
    }
}

/// One snapshot to be undone.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its id, for messages and for telling its files.
    pub(crate) id: String,
    /// When it began, in seconds since the epoch.
    pub(crate) began: f64,
    /// When its record was complete: other snapshots that began before ran beside it.
    pub(crate) sealed: f64,
    /// What it covered.
    pub(crate) scope: Vec<ScopePath>,
    /// What its command changed.
    pub(crate) record: UndoRecord,
}

/// What a path has to become.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) path: AbsPath,
    /// Before the oldest of the commands; `None`: it did not exist.
    pub(crate) desired: Option<Box<EntryState>>,
    /// After the command that ended last; `None`: it should not exist now.
    pub(crate) expected: Option<Box<EntryState>>,
    pub(crate) content: Content,
    /// The oldest snapshot that has the path: `desired` is from there.
    pub(crate) oldest: u32,
    /// The snapshot that has the path and was sealed last: `expected` is from there.
    pub(crate) newest: u32,
    /// Why the records do not fit together.
    pub(crate) gap: Option<String>,
    pub(crate) role: Role,
}

/// Why a target is in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is to be restored.
    Asked,
    /// Outside of the paths asked for, but a directory that has to exist for what is inside.
    Ancestor,
    /// Outside of the paths asked for and not to be changed, but it may be a name of a file that
    /// other targets are to be linked to.
    Reference,
}

impl Target {
    /// Whether the commands did nothing that was asked for: the directory's times moved, or the
    /// link count of a file did.
    pub(crate) fn is_incidental(&self) -> bool {
        match (&self.desired, &self.expected) {
            (Some(desired), Some(expected)) => {
                desired.same_metadata(expected)
                    && equal_content(desired, expected)
                    && (desired.is_dir() || desired.modified == expected.modified)
                    && !relinked(desired, expected)
            }
            _ => false,
        }
    }

    /// Whether the entry's old inode had several names.
    pub(crate) fn was_linked(&self) -> bool {
        self.desired
            .as_deref()
            .is_some_and(|d| !d.is_dir() && d.identity.links > 1)
    }
}

/// Joins `sources`, newest first, to one target per path, sorted by path.
///
/// `paths` keeps only these entries and what lies beneath them; all of them when it is empty.
pub(crate) fn compose(sources: Vec<Source>, paths: &[AbsPath]) -> Composed {
    let mut volumes = Vec::new();
    let mut scopes = Vec::new();
    let mut ids = Vec::new();
    let mut spans = Vec::new();
    let mut records = Vec::new();
    for source in sources {
        spans.push(Span {
            id: source.id.clone(),
            began: source.began,
            sealed: source.sealed,
        });
        ids.push(source.id);
        volumes.push(source.record.volumes);
        scopes.push(source.scope);
        records.push(source.record.changes);
    }
    let mut targets: Vec<Target> = if records.len() == 1 {
        // Nothing to bring together.
        let changes = records.swap_remove(0).into_par_iter();
        let target = |change| join(vec![(0, change)], &spans);
        changes.filter_map(target).collect()
    } else {
        let histories = histories(records).into_par_iter();
        histories.filter_map(|one| join(one, &spans)).collect()
    };
    keep_asked(&mut targets, paths);
    Composed {
        ids,
        volumes,
        scopes,
        targets,
    }
}

/// What each path went through, newest first, sorted by path.
fn histories(records: Vec<Vec<Change>>) -> Vec<Vec<(u32, Change)>> {
    let records = records.into_iter().enumerate();
    let each =
        records.flat_map(|(index, changes)| changes.into_iter().map(move |c| (index as u32, c)));
    let mut changes: Vec<(u32, Change)> = each.collect();
    // Stable, and each record is sorted already.
    changes.sort_by(|a, b| a.1.path.cmp(&b.1.path));
    let mut histories: Vec<Vec<(u32, Change)>> = Vec::with_capacity(changes.len());
    for change in changes {
        match histories.last_mut() {
            Some(history) if history[0].1.path == change.1.path => history.push(change),
            _ => histories.push(vec![change]),
        }
    }
    histories
}

/// The outcome of [`compose`].
#[derive(Debug)]
pub(crate) struct Composed {
    /// Ids of the snapshots, newest first.
    pub(crate) ids: Vec<String>,
    /// The volumes of each.
    pub(crate) volumes: Vec<Vec<RecordedVolume>>,
    /// What each covered.
    pub(crate) scopes: Vec<Vec<ScopePath>>,
    pub(crate) targets: Vec<Target>,
}

/// From when to when a snapshot's record tells of everything that happened.
struct Span {
    id: String,
    began: f64,
    sealed: f64,
}

/// One path's changes, newest first, as one target; `None` where they cancel each other out.
///
/// Commands that ran at the same time have records that overlap: each has the changes of the others
/// too. The state before the first that began and the state after the last that was sealed enclose
/// them all, and only where nothing ran can the records show a gap.
fn join(history: Vec<(u32, Change)>, spans: &[Span]) -> Option<Target> {
    let mut history: Vec<(u32, Change)> = history
        .into_iter()
        .map(|(index, change)| (index, with_hashes(change)))
        .collect();
    let (last_sealed, gap) = follow(&history, spans);
    let content = content_of(&history);
    let newest = history.get(last_sealed)?.0;
    let expected = history.get_mut(last_sealed)?.1.after.take();
    let (oldest, last) = history.pop()?;
    let desired = last.before.map(Box::new);
    let content = match (&content, desired.as_ref().and_then(|d| d.hash)) {
        (Content::Stored { hash, .. }, Some(wanted)) if *hash != wanted => Content::Lost {
            reason: "it was changed outside of DeployX before it was preserved".into(),
        },
        _ => content,
    };
    let target = Target {
        path: last.path,
        desired,
        expected: expected.map(Box::new),
        content,
        oldest,
        newest,
        gap,
        role: Role::Asked,
    };
    let settled = match (&target.desired, &target.expected) {
        (None, None) => true,
        (Some(desired), Some(expected)) => {
            target.is_incidental()
                && desired.modified == expected.modified
                && desired.identity.links <= 1
                && expected.identity.links <= 1
        }
        _ => false,
    };
    // A directory's link count says how many directories it holds; only its times matter.
    let settled_dir = matches!((&target.desired, &target.expected), (Some(d), Some(e))
        if d.is_dir() && target.is_incidental() && d.modified == e.modified);
    (!settled && !settled_dir).then_some(target)
}

/// Goes through a history (newest first) from its oldest change on. Gives the position of the change
/// that was sealed last, and the newest gap between records.
fn follow(history: &[(u32, Change)], spans: &[Span]) -> (usize, Option<String>) {
    let span = |at: usize| &spans[history[at].0 as usize];
    let mut reached = history.len().saturating_sub(1);
    let mut gap = None;
    for at in (0..reached).rev() {
        let beside = span(at).began < span(reached).sealed;
        if !beside {
            gap = gap_between(&history[at], &history[reached], spans).or(gap);
        }
        let seen_later = seen_later(&history[at].1, &history[reached].1)
            .unwrap_or_else(|| span(at).sealed >= span(reached).sealed);
        if !beside || seen_later {
            reached = at;
        }
    }
    (reached, gap)
}

/// Whether `one` saw the entry after `other` did, which its change time tells where both saw the same
/// inode. Of two walks at the same time either may reach an entry first, whichever ends first.
fn seen_later(one: &Change, other: &Change) -> Option<bool> {
    let (one, other) = (one.after.as_ref()?, other.after.as_ref()?);
    let [one_changed, other_changed] = [one, other].map(|s| s.identity.changed);
    let told = same_inode(one, other)
        && one_changed != other_changed
        && ![one_changed, other_changed].contains(&crate::entry::Timestamp::default());
    told.then(|| one_changed.as_nanos() > other_changed.as_nanos())
}

/// Carries content hashes over where a change says that the content stayed the same.
fn with_hashes(mut change: Change) -> Change {
    if let (Some(before), PreImage::Stored { hash, .. }) = (&mut change.before, &change.content) {
        before.hash = before.hash.or(Some(*hash));
    }
    if let (Some(before), Some(after), PreImage::NotNeeded) =
        (&mut change.before, &mut change.after, &change.content)
        && before.is_file()
        && after.is_file()
        && before.size == after.size
    {
        before.hash = before.hash.or(after.hash);
        after.hash = after.hash.or(before.hash);
    }
    change
}

/// Finds the content before the oldest change: kept there, or, where that change left the content
/// alone, by the first newer one that did not.
fn content_of(history: &[(u32, Change)]) -> Content {
    let wanted = history
        .last()
        .and_then(|(_, change)| change.before.as_ref());
    if wanted.is_none_or(|state| state.kind != EntryKind::File || state.size == 0) {
        return Content::None;
    }
    for (snapshot, change) in history.iter().rev() {
        match &change.content {
            PreImage::Stored { name, hash, form } => {
                return Content::Stored {
                    snapshot: *snapshot,
                    name: name.clone(),
                    hash: *hash,
                    form: form.clone(),
                };
            }
            PreImage::Lost { reason } => {
                return Content::Lost {
                    reason: reason.clone(),
                };
            }
            PreImage::NotNeeded if !change.after.as_ref().is_some_and(EntryState::is_file) => {
                return Content::Lost {
                    reason: "the snapshot does not have it".into(),
                };
            }
            PreImage::NotNeeded => {}
        }
    }
    Content::Live
}

/// What happened between an older change and the next newer one of the same path, if anything.
fn gap_between(newer: &(u32, Change), older: &(u32, Change), spans: &[Span]) -> Option<String> {
    let same = match (&older.1.after, &newer.1.before) {
        (None, None) => true,
        (Some(after), Some(before)) => {
            let times = after.is_dir() || after.modified == before.modified;
            let unread = after.hash.is_none() || before.hash.is_none();
            let content = if after.is_file() && before.is_file() && unread {
                after.size == before.size
            } else {
                equal_content(after, before)
            };
            content && times && after.same_metadata(before)
        }
        _ => false,
    };
    let id = |index: u32| spans[index as usize].id.as_str();
    (!same).then(|| {
        format!(
            "changed between {} and {} outside of DeployX",
            id(older.0),
            id(newer.0)
        )
    })
}

/// Kind, content, link target and device number are equal; times and inodes are not looked at.
/// Two files of equal size without a hash count as equal when they are the same inode and time.
pub(crate) fn equal_content(a: &EntryState, b: &EntryState) -> bool {
    if a.same_content(b) {
        return true;
    }
    // A link count or a chmod moves the change time without touching the content.
    a.is_file()
        && b.is_file()
        && a.size == b.size
        && a.modified == b.modified
        && same_inode(a, b)
        && (a.hash.is_none() || b.hash.is_none())
}

/// Whether two states are of the same inode.
pub(crate) fn same_inode(a: &EntryState, b: &EntryState) -> bool {
    (a.identity.device, a.identity.inode) == (b.identity.device, b.identity.inode)
}

/// Whether the commands gave the entry another inode that matters: one that shares, or shared, its
/// names with others.
pub(crate) fn relinked(desired: &EntryState, expected: &EntryState) -> bool {
    !desired.is_dir()
        && !expected.is_dir()
        && !same_inode(desired, expected)
        && (desired.identity.links > 1 || expected.identity.links > 1)
}

/// Drops what lies outside of `paths`, except for what the rest needs.
fn keep_asked(targets: &mut Vec<Target>, paths: &[AbsPath]) {
    if paths.is_empty() {
        return;
    }
    let asked = |path: &AbsPath| paths.iter().any(|p| path.starts_with(p));
    let link_key = |t: &Target| {
        let identity = t.desired.as_deref().filter(|_| t.was_linked())?.identity;
        Some((t.oldest, identity.device, identity.inode))
    };
    let inside: HashSet<_> = targets
        .iter()
        .filter(|t| asked(&t.path))
        .filter_map(link_key)
        .collect();
    targets.retain_mut(|target| {
        let is_dir =
            |state: &Option<Box<EntryState>>| state.as_deref().is_some_and(EntryState::is_dir);
        let holds_asked = paths.iter().any(|p| p.starts_with(&target.path));
        let role = if asked(&target.path) {
            Some(Role::Asked)
        } else if holds_asked && is_dir(&target.desired) && !is_dir(&target.expected) {
            Some(Role::Ancestor)
        } else {
            let linked = link_key(target).is_some_and(|key| inside.contains(&key));
            linked.then_some(Role::Reference)
        };
        target.role = role.unwrap_or(Role::Reference);
        role.is_some()
    });
}
