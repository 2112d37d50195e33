//! Joins the stages of a rollback with the store.

use std::collections::BTreeSet;

use super::apply::{Job, Outcome, apply, clear_away};
use super::compose::Source;
use super::ending::{Ending, conclude, count};
use super::fault::{Fault, Interrupted, Never};
use super::journal::{self, Journal};
use super::plan::RollbackPlan;
use super::remarks::{name_later, open_files};
use super::turn::{Turn, open_journals};
use super::verify::{Verdict, VerifiedPlan, verify};
use super::{Conflict, RollbackReport, RollbackSpec, build, redo};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::Cancel;
use crate::path::{AbsPath, WirePath};
use crate::progress::Progress;
use crate::store::{
    ContentDirs, CoverageRecord, InUse, OpenSnapshot, ROLLBACK_OF, SnapshotId, SnapshotMeta,
    SnapshotState, Store,
};
use crate::sys::Dir;

/// Plans, verifies and applies a rollback.
///
/// Before anything is changed the current state is saved in a redo snapshot, which takes this
/// rollback back. Conflicts and entries that cannot be restored are in the report; an `Err` means
/// that nothing was changed, or (kind [`Io`](ErrorKind::Io), named in the context) that the end of
/// the rollback could not be recorded and the next start finishes it.
///
/// # Errors
/// `InvalidRequest` for a snapshot that cannot be rolled back, `Busy` while another process holds
/// one, `Corrupt` for a damaged record, `NoSpace` when the current state does not fit into the
/// store, `Cancelled`.
pub fn rollback(
    store: &Store,
    spec: &RollbackSpec,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<RollbackReport> {
    rollback_until(store, spec, cancel, progress, &Never)
}

/// [`rollback`], stopped by `fault` as if the process had died.
pub(super) fn rollback_until(
    store: &Store,
    spec: &RollbackSpec,
    cancel: &Cancel,
    progress: &dyn Progress,
    fault: &dyn Fault,
) -> Result<RollbackReport> {
    if spec.snapshots.is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Rollback,
            "no snapshot to roll back",
        ));
    }
    if spec.dry_run {
        let (plan, files, _) = prepare(store, spec)?;
        return Ok(rehearse(store, spec, plan, &files));
    }
    let _turn = Turn::wait(store, cancel, progress)?;
    let _in_use: Vec<InUse> = spec
        .snapshots
        .iter()
        .map(|id| store.acquire(id))
        .collect::<Result<_>>()?;
    let (plan, files, metas) = prepare(store, spec)?;
    let unchanged = plan.unchanged;
    match verify(plan, spec.on_conflict, &files) {
        Verdict::Refused(conflicts) => Ok(refusal(store, spec, unchanged, conflicts)),
        Verdict::Ready(plan) if plan.is_idle() => conclude_idle(store, spec, &plan),
        Verdict::Ready(plan) => {
            let attempt = Attempt {
                store,
                spec,
                files: &files,
                cancel,
                progress,
                fault,
            };
            attempt.carry_out(*plan, &metas)
        }
    }
}

/// Reads the records and plans. Gives the plan, the directories of old content, the metadata.
fn prepare(
    store: &Store,
    spec: &RollbackSpec,
) -> Result<(RollbackPlan, Vec<ContentDirs>, Vec<SnapshotMeta>)> {
    let mut sources = Vec::new();
    let mut files = Vec::new();
    let mut metas = Vec::new();
    for id in &spec.snapshots {
        let meta = store.meta(id)?;
        check_state(&meta)?;
        sources.push(Source {
            id: id.to_string(),
            began: meta.timestamp,
            sealed: meta.sealed.unwrap_or(meta.timestamp),
            scope: meta.scope.clone(),
            record: store.record(id)?,
        });
        files.push(store.content_dirs(&meta));
        metas.push(meta);
    }
    Ok((build::plan(sources, &spec.paths), files, metas))
}

fn check_state(meta: &SnapshotMeta) -> Result<()> {
    let id = &meta.snapshot_id;
    obstacle(meta.state).map_or(Ok(()), |(kind, why)| {
        Err(Error::new(
            kind,
            Stage::Rollback,
            format!("snapshot {id} cannot be rolled back: {why}"),
        ))
    })
}

/// What keeps a snapshot in this state from being rolled back; `None` where nothing does.
pub(crate) fn obstacle(state: SnapshotState) -> Option<(ErrorKind, &'static str)> {
    Some(match state {
        SnapshotState::Sealed | SnapshotState::RolledBack => return None,
        SnapshotState::Capturing | SnapshotState::Captured => (
            ErrorKind::Busy,
            "its command still runs, or was interrupted (see `deployx recover`)",
        ),
        SnapshotState::RollingBack => (
            ErrorKind::Busy,
            "an earlier rollback of it was interrupted (see `deployx recover`)",
        ),
        SnapshotState::Failed => (
            ErrorKind::InvalidRequest,
            "it could not be taken completely",
        ),
    })
}

fn ids_of(spec: &RollbackSpec) -> Vec<String> {
    spec.snapshots.iter().map(SnapshotId::to_string).collect()
}

/// The report of a dry run.
fn rehearse(
    store: &Store,
    spec: &RollbackSpec,
    plan: RollbackPlan,
    files: &[ContentDirs],
) -> RollbackReport {
    let mut report = RollbackReport {
        snapshot_ids: ids_of(spec),
        dry_run: true,
        unchanged: plan.unchanged,
        notes: plan.notes.clone(),
        ..RollbackReport::default()
    };
    let actions = plan.actions();
    match verify(plan, spec.on_conflict, files) {
        Verdict::Refused(conflicts) => {
            report.conflicts = name_later(store, spec, conflicts);
            report.plan = Some(actions);
        }
        Verdict::Ready(verified) => {
            report.success = verified.is_whole();
            report.conflicts = name_later(store, spec, verified.conflicts());
            report.failures = verified.failures();
            report.plan = Some(verified.plan().actions());
            let all: Vec<Outcome> = vec![Outcome::Done; verified.plan().entries.len()];
            count(&mut report, verified.plan(), &all);
        }
    }
    report
}

fn refusal(
    store: &Store,
    spec: &RollbackSpec,
    unchanged: u64,
    conflicts: Vec<Conflict>,
) -> RollbackReport {
    RollbackReport {
        snapshot_ids: ids_of(spec),
        unchanged,
        conflicts: name_later(store, spec, conflicts),
        ..RollbackReport::default()
    }
}

/// Nothing is to be done, because everything is as before already or because it is left.
fn conclude_idle(
    store: &Store,
    spec: &RollbackSpec,
    plan: &VerifiedPlan,
) -> Result<RollbackReport> {
    let report = RollbackReport {
        snapshot_ids: ids_of(spec),
        success: plan.is_whole(),
        unchanged: plan.plan().unchanged,
        conflicts: name_later(store, spec, plan.conflicts()),
        failures: plan.failures(),
        notes: plan.plan().notes.clone(),
        ..RollbackReport::default()
    };
    if report.success && spec.paths.is_empty() {
        conclude(store, &report.snapshot_ids, SnapshotState::RolledBack, None)?;
    }
    Ok(report)
}

/// One rollback that changes something.
struct Attempt<'a> {
    store: &'a Store,
    spec: &'a RollbackSpec,
    files: &'a [ContentDirs],
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    fault: &'a dyn Fault,
}

impl Attempt<'_> {
    fn carry_out(&self, mut plan: VerifiedPlan, metas: &[SnapshotMeta]) -> Result<RollbackReport> {
        let mut redo = self.store.begin(redo_meta(self.spec, metas))?;
        let saved = redo::save(&mut plan, &redo.files_dir(), self.cancel, self.progress);
        let saved_bytes = match saved {
            Ok(bytes) => bytes,
            Err(e) => return Err(give_up(redo, e)),
        };
        if let Err(conflicts) = plan.settle_again(self.spec.on_conflict) {
            redo.discard()?;
            let unchanged = plan.plan().unchanged;
            return Ok(refusal(self.store, self.spec, unchanged, conflicts));
        }
        if plan.is_idle() {
            redo.discard()?;
            return conclude_idle(self.store, self.spec, &plan);
        }
        let conflicts = name_later(self.store, self.spec, plan.conflicts());
        let journal = Journal {
            redo: redo.id().to_string(),
            filtered: !self.spec.paths.is_empty(),
            saved_bytes,
            plan,
        };
        let journals = match self.start(&mut redo, &journal) {
            Ok(journals) => journals,
            Err(e) => return Err(give_up(redo, e)),
        };
        let mut notes = open_files(journal.plan.plan());
        let job = Job {
            plan: &journal.plan,
            files: self.files,
            tag: &journal.redo,
            progress: self.progress,
            fault: self.fault,
        };
        let mut outcomes = vec![Outcome::Todo; journal.plan.plan().entries.len()];
        let applied = apply(&job, &mut outcomes).map_err(interrupted)?;
        notes.extend(applied.notes);
        notes.extend(clear_away(&job, &outcomes).map_err(interrupted)?);
        let ending = Ending {
            store: self.store,
            journals: &journals,
            journal: &journal,
        };
        let mut report = ending.finish(Some(redo), (&outcomes, &applied.made), notes)?;
        report.conflicts = conflicts;
        Ok(report)
    }

    /// Makes durable what is needed to finish or take back the rollback, whatever happens.
    fn start(&self, redo: &mut OpenSnapshot, journal: &Journal) -> Result<Dir> {
        redo.update(|meta| {
            meta.state = SnapshotState::Captured;
            meta.stored_bytes = journal.saved_bytes;
        })?;
        let journals = open_journals(self.store)?;
        journal::write(&journals, journal)?;
        for id in &self.spec.snapshots {
            let marked = self.store.update(id, &mut |meta| {
                meta.state = SnapshotState::RollingBack;
            });
            if let Err(e) = marked {
                // Nothing was changed yet: go back to where it began.
                let ids = &journal.plan.plan().snapshots;
                conclude(self.store, ids, SnapshotState::Sealed, None)?;
                journal::remove(&journals, &journal.redo)?;
                return Err(e);
            }
        }
        Ok(journals)
    }
}

/// The journal stays, so the next start finishes what was begun.
pub(super) fn interrupted(_: Interrupted) -> Error {
    Error::new(
        ErrorKind::Cancelled,
        Stage::Rollback,
        "the rollback was interrupted; the next start finishes it",
    )
}

/// Drops the redo snapshot of a rollback that did not start.
fn give_up(redo: OpenSnapshot, error: Error) -> Error {
    if let Err(e) = redo.discard() {
        tracing::warn!(error = %e, "cannot discard the redo snapshot of a rollback that did not start");
    }
    error
}

/// The metadata that the redo snapshot begins with.
fn redo_meta(spec: &RollbackSpec, metas: &[SnapshotMeta]) -> SnapshotMeta {
    let ids = ids_of(spec);
    let monitored: BTreeSet<AbsPath> = metas
        .iter()
        .flat_map(|meta| meta.monitored_paths.iter().cloned())
        .collect();
    let root = || AbsPath::from_bytes(b"/").ok();
    let working_directory = metas.first().map(|m| m.working_directory.clone());
    let working_directory = working_directory
        .or_else(root)
        .unwrap_or_else(|| spec.paths[0].clone());
    let command = WirePath::Text(format!("rollback of {}", ids.join(", ")));
    SnapshotMeta {
        monitored_paths: monitored.into_iter().collect(),
        metadata: [(ROLLBACK_OF.to_owned(), ids.into())].into(),
        coverage: CoverageRecord {
            complete: true,
            ..CoverageRecord::default()
        },
        ..SnapshotMeta::new(command, "deployx", working_directory)
    }
}
