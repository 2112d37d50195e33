//! Turns a plan into one that may be applied: conflicts settled, old content present.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::plan::{PlannedEntry, RollbackPlan, Step};
use super::{Conflict, Failure};
use crate::path::AbsPath;
use crate::request::OnConflict;
use crate::store::{ContentDirs, OpenDirs, content};
use crate::sys::Dir;

/// A plan that may be applied. Entries that are left alone have the step [`Step::Keep`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifiedPlan {
    plan: RollbackPlan,
    conflicts: Vec<Settled>,
    failures: Vec<(AbsPath, String)>,
}

/// A conflict that was decided on.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Settled {
    path: AbsPath,
    reason: String,
    /// The entry is left as it is.
    left: bool,
}

/// The outcome of [`verify`].
#[derive(Debug)]
pub(crate) enum Verdict {
    /// May be applied.
    Ready(Box<VerifiedPlan>),
    /// There are conflicts and the policy is to change nothing then.
    Refused(Vec<Conflict>),
}

/// Settles every conflict by `policy` and checks that the old content that is needed is there with
/// its right size. `files` has the directory of each snapshot's content. Changes nothing.
pub(crate) fn verify(mut plan: RollbackPlan, policy: OnConflict, files: &[ContentDirs]) -> Verdict {
    let check = Dependencies::of(&plan);
    check.propagate(&mut plan, policy);
    let conflicts = plan.conflicts();
    if policy == OnConflict::Abort && !conflicts.is_empty() {
        return Verdict::Refused(conflicts);
    }
    check_stored(&mut plan, files);
    check.propagate(&mut plan, policy);
    let mut verified = VerifiedPlan {
        plan,
        conflicts: Vec::new(),
        failures: Vec::new(),
    };
    verified.settle(policy);
    Verdict::Ready(Box::new(verified))
}

impl VerifiedPlan {
    /// The plan.
    pub(crate) fn plan(&self) -> &RollbackPlan {
        &self.plan
    }

    /// Entries that were not as the commands left them, whether overwritten or left.
    pub(crate) fn conflicts(&self) -> Vec<Conflict> {
        let conflict = |settled: &Settled| Conflict {
            path: settled.path.clone(),
            reason: settled.reason.clone(),
        };
        self.conflicts.iter().map(conflict).collect()
    }

    /// Entries that are left because they cannot be restored.
    pub(crate) fn failures(&self) -> Vec<Failure> {
        let failure = |(path, error): &(AbsPath, String)| Failure {
            path: path.clone(),
            error: error.clone(),
        };
        self.failures.iter().map(failure).collect()
    }

    /// Whether every entry is going to be restored, as far as is known before.
    pub(crate) fn is_whole(&self) -> bool {
        self.failures.is_empty() && self.conflicts.iter().all(|c| !c.left)
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_idle(&self) -> bool {
        self.plan.entries.iter().all(|e| e.step == Step::Keep)
    }

    /// The entries, to note what was saved of them or what they are by now.
    pub(super) fn entries_mut(&mut self) -> &mut [PlannedEntry] {
        &mut self.plan.entries
    }

    /// Settles conflicts and failures that were found after verifying, with what depends on them.
    /// With [`OnConflict::Abort`] the new conflicts are given back, and nothing may be applied.
    pub(super) fn settle_again(&mut self, policy: OnConflict) -> Result<(), Vec<Conflict>> {
        let check = Dependencies::of(&self.plan);
        check.propagate(&mut self.plan, policy);
        let found = self.plan.conflicts();
        if policy == OnConflict::Abort && !found.is_empty() {
            return Err(found);
        }
        self.settle(policy);
        Ok(())
    }

    /// Moves conflicts and failures out of the entries and stops those that are left.
    fn settle(&mut self, policy: OnConflict) {
        for entry in &mut self.plan.entries {
            let stopped = is_stopped(entry, policy);
            if let Some(finding) = entry.conflict.take() {
                self.conflicts.push(Settled {
                    path: entry.path.clone(),
                    reason: finding.reason,
                    left: stopped,
                });
            }
            if let Some(error) = entry.failure.take() {
                self.failures.push((entry.path.clone(), error));
            }
            if stopped {
                entry.step = Step::Keep;
            }
        }
    }
}

/// Whether the entry is left as it is.
fn is_stopped(entry: &PlannedEntry, policy: OnConflict) -> bool {
    let overwritten = policy == OnConflict::Overwrite;
    let refused = entry
        .conflict
        .as_ref()
        .is_some_and(|c| !(overwritten && c.overridable));
    refused || entry.failure.is_some()
}

/// Which entries need which others.
struct Dependencies {
    parents: Vec<Option<u32>>,
}

impl Dependencies {
    fn of(plan: &RollbackPlan) -> Self {
        Self {
            parents: plan.parents(),
        }
    }

    /// Stops what depends on entries that are stopped.
    fn propagate(&self, plan: &mut RollbackPlan, policy: OnConflict) {
        let entries = &mut plan.entries;
        let mut stopped: Vec<bool> = entries.iter().map(|e| is_stopped(e, policy)).collect();
        self.stop_within_missing(entries, &mut stopped);
        stop_links(entries, &mut stopped);
        self.stop_around_left(entries, &mut stopped);
    }

    /// What lies in a directory that is not made cannot be made either.
    fn stop_within_missing(&self, entries: &mut [PlannedEntry], stopped: &mut [bool]) {
        for index in 0..entries.len() {
            let Some(parent) = self.parents[index].map(|p| p as usize) else {
                continue;
            };
            let blocked = stopped[parent] && entries[parent].makes_dir();
            if blocked && !stopped[index] && entries[index].step.places() {
                let reason = "its directory is not restored".to_owned();
                entries[index].failure = Some(reason);
                stopped[index] = true;
            }
        }
    }

    /// A directory that keeps an entry stays.
    fn stop_around_left(&self, entries: &mut [PlannedEntry], stopped: &mut [bool]) {
        for index in (0..entries.len()).rev() {
            let Some(parent) = self.parents[index].map(|p| p as usize) else {
                continue;
            };
            let left =
                entries[index].live.is_some() && (stopped[index] || !entries[index].step.removes());
            if left && entries[parent].empties_directory() && !stopped[parent] {
                let name = entries[index].path.clone();
                entries[parent].failure = Some(format!("still contains {name}, which is left"));
                stopped[parent] = true;
            }
        }
    }
}

/// A link to a file that is not restored cannot be made.
fn stop_links(entries: &mut [PlannedEntry], stopped: &mut [bool]) {
    for index in 0..entries.len() {
        if let Step::Reuse { of } = entries[index].step
            && stopped[of as usize]
        {
            // It stays, so it would be the same file under both names.
            entries[index].step_without_reuse();
            stopped[index] |= entries[index].failure.is_some();
        }
        let Step::Link { to } = entries[index].step else {
            continue;
        };
        let to = to as usize;
        let missing = stopped[to] && entries[to].step.places();
        if missing && !stopped[index] {
            entries[index].failure = Some(format!(
                "{}, the same file, is not restored",
                entries[to].path
            ));
            stopped[index] = true;
        }
    }
}

/// Marks entries whose old content is missing or cut short.
fn check_stored(plan: &mut RollbackPlan, files: &[ContentDirs]) {
    let directories: Vec<OpenDirs> = files.iter().map(ContentDirs::open).collect();
    plan.entries
        .par_iter_mut()
        .filter(|e| e.step == Step::File && e.failure.is_none())
        .for_each(|entry| {
            let size = entry.desired.as_deref().map_or(0, |d| d.size);
            let Some((snapshot, stored)) = entry.content.stored(size) else {
                return;
            };
            let problem = match directories.get(snapshot) {
                None => Some("is missing".to_owned()),
                Some(dirs) => content::inspect(dirs, &stored).err(),
            };
            let name = stored.name;
            entry.failure = problem.map(|problem| format!("the backup {name} {problem}"));
        });
}

/// Opens a snapshot's directory of old content.
pub(super) fn open_files(path: &std::path::Path) -> Result<Dir, String> {
    let path = AbsPath::new(path).map_err(|e| e.to_string())?;
    Dir::open(&path).map_err(|e| format!("{path}: {e}"))
}
