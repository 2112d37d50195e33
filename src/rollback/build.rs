//! Makes the plan: records joined, the live tree looked at, every entry judged.

use std::ffi::OsString;

use rayon::prelude::*;

use super::compose::{Role, Source, Target, compose};
use super::cursor::Cursor;
use super::judge::{Becoming, Draft, judge};
use super::links::settle_links;
use super::observe::{Roots, Sight, View, foreign_names, map_devices, observe};
use super::plan::{Finding, PlannedEntry, RollbackPlan, Step};
use crate::entry::EntryState;
use crate::path::{AbsPath, escape};

/// Plans the rollback of `sources`, newest first, of `paths` only where it is not empty. Looks at
/// the live tree and changes nothing.
pub(crate) fn plan(sources: Vec<Source>, paths: &[AbsPath]) -> RollbackPlan {
    let mut composed = compose(sources, paths);
    let devices = map_devices(&mut composed);
    let View {
        sights,
        directories,
    } = observe(&composed.targets, &Roots::of(&composed.scopes));
    let becoming = Kinds::of(&composed.targets, &sights);
    let mut drafts: Vec<Draft> = composed
        .targets
        .into_par_iter()
        .zip(sights)
        .map(|(target, sight)| judge(target, sight, &devices, &becoming))
        .collect();
    let notes = settle_links(&mut drafts);
    find_foreign(&mut drafts);
    let mut plan = RollbackPlan {
        snapshots: composed.ids,
        directories,
        notes,
        ..RollbackPlan::default()
    };
    fill(&mut plan, drafts);
    plan
}

/// The kinds that targets become, by path, as far as it is asked for them.
struct Kinds {
    directories: Vec<AbsPath>,
    leaves: Vec<AbsPath>,
}

impl Kinds {
    fn of(targets: &[Target], sights: &[Sight]) -> Self {
        let is_blocked =
            |sight: &Sight| matches!(sight, Sight::Blocked(what) if what.kind.is_some());
        let blocked = sights.iter().any(is_blocked);
        let paths = |wanted: fn(&EntryState) -> bool| {
            let targets = targets.iter().filter(|t| t.role != Role::Reference);
            targets
                .filter(|t| t.desired.as_deref().is_some_and(wanted))
                .map(|t| t.path.clone())
                .collect()
        };
        Self {
            directories: paths(EntryState::is_dir),
            leaves: if blocked {
                paths(|state| !state.is_dir())
            } else {
                Vec::new()
            },
        }
    }
}

impl Becoming for Kinds {
    fn directory(&self, path: &AbsPath) -> bool {
        self.directories.binary_search(path).is_ok()
    }

    fn leaf(&self, path: &AbsPath) -> bool {
        self.leaves.binary_search(path).is_ok()
    }
}

/// A directory that has to go but holds what the commands did not make stays.
fn find_foreign(drafts: &mut [Draft]) {
    let emptied: Vec<usize> = (0..drafts.len())
        .filter(|i| must_be_emptied(&drafts[*i]))
        .collect();
    let mut cursor = Cursor::default();
    for index in emptied {
        let path = &drafts[index].target.path;
        let removed = |child: &AbsPath| {
            drafts
                .binary_search_by(|d| d.target.path.cmp(child))
                .is_ok_and(|at| {
                    let target = &drafts[at].target;
                    target.role == Role::Asked && target.desired.is_none()
                })
        };
        let reason = match foreign_names(&mut cursor, path, removed) {
            Ok((0, _)) => continue,
            Ok((count, first)) => foreign_reason(count, &first),
            Err(e) => format!("its entries cannot be listed: {e}"),
        };
        drafts[index].conflict = Some(Finding {
            reason,
            overridable: false,
        });
    }
}

fn must_be_emptied(draft: &Draft) -> bool {
    draft.live.as_deref().is_some_and(EntryState::is_dir)
        && (draft.step == Step::RemoveDir || (draft.step.places() && draft.step != Step::MakeDir))
}

fn foreign_reason(count: usize, first: &[OsString]) -> String {
    let names: Vec<String> = first.iter().map(|n| escape(n.as_ref())).collect();
    let more = if count > first.len() { ", …" } else { "" };
    let entries = if count == 1 { "entry" } else { "entries" };
    format!(
        "contains {count} {entries} that the command did not create ({}{more})",
        names.join(", ")
    )
}

/// Keeps the drafts that say something and gives links their final positions.
fn fill(plan: &mut RollbackPlan, drafts: Vec<Draft>) {
    let mut positions = vec![0; drafts.len()];
    let mut next = 0;
    let stays = |draft: &Draft| {
        let several_names = |live: &EntryState| !live.is_dir() && live.identity.links > 1;
        draft.step != Step::Keep
            || draft.conflict.is_some()
            // Taking the rollback back may have to link to it.
            || draft.live.as_deref().is_some_and(|live| draft.linked || several_names(live))
    };
    for (index, draft) in drafts.iter().enumerate() {
        positions[index] = next;
        next += u32::from(stays(draft));
    }
    plan.entries.reserve(next as usize);
    for mut draft in drafts {
        let counted = draft.counted();
        if counted && draft.step == Step::Keep && draft.conflict.is_none() {
            plan.unchanged += 1;
        }
        if !stays(&draft) {
            continue;
        }
        if let Step::Link { to: other } | Step::Reuse { of: other } = &mut draft.step {
            *other = positions[*other as usize];
        }
        let recorded = draft.target.expected.as_deref();
        let as_recorded = recorded
            .zip(draft.live.as_deref())
            .is_some_and(|(recorded, live)| recorded.same_version(live));
        plan.entries.push(PlannedEntry {
            path: draft.target.path,
            desired: draft.target.desired,
            live: draft.live,
            content: draft.target.content,
            step: draft.step,
            counted,
            conflict: draft.conflict,
            failure: draft.failure,
            saved: None,
            as_recorded,
        });
    }
}
