//! Finishes rollbacks that were interrupted.

use std::ffi::OsString;

use super::apply::{Applied, Job, Outcome, apply, clear_away, sweep};
use super::ending::Ending;
use super::fault::{Fault, Interrupted, Never};
use super::journal::{self, Journal};
use super::plan::Step;
use super::reconcile::reconcile;
use super::run::interrupted;
use super::turn::{Turn, open_journals};
use super::verify::VerifiedPlan;
use super::{Failure, RollbackReport};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::store::{
    ContentDirs, InUse, OpenSnapshot, ROLLBACK_OF, SnapshotId, SnapshotState, Store,
};
use crate::sys::Dir;

/// Finishes every rollback that was interrupted; called at every start. Cheap when there is none.
///
/// Rollbacks that a live process works on are left to it. A damaged journal gives a report that
/// names it, and nothing is changed for it. Call it before anything else takes up interrupted
/// snapshots: those of rollbacks are finished, or dropped where nothing was changed yet, here.
pub fn resume(store: &Store, progress: &dyn Progress) -> Result<Vec<RollbackReport>> {
    let Some(_turn) = Turn::try_take(store)? else {
        return Ok(Vec::new());
    };
    let journals = open_journals(store)?;
    let names = journals.names().context(Stage::Rollback, || {
        format!("cannot list {}", store.rollback_dir().display())
    })?;
    let mut open = redo_snapshots(store)?;
    let mut reports = Vec::new();
    for redo in names.iter().filter_map(|name| journal::redo_of(name)) {
        let at = open.iter().position(|o| o.id().as_str() == redo);
        let snapshot = at.map(|at| open.swap_remove(at));
        match journal::read(&journals, redo) {
            Ok(journal) => reports.extend(take_up(store, &journals, &journal, snapshot, progress)?),
            Err(e) => reports.push(unreadable(store, redo, &e)),
        }
    }
    // Without a journal nothing was changed.
    for snapshot in open {
        snapshot.discard()?;
    }
    sweep_unfinished(&journals, &names);
    Ok(reports)
}

/// Interrupted snapshots that belong to rollbacks, locked.
fn redo_snapshots(store: &Store) -> Result<Vec<OpenSnapshot>> {
    let mut open = store.interrupted()?;
    open.retain(|snapshot| snapshot.meta().metadata.contains_key(ROLLBACK_OF));
    Ok(open)
}

/// Removes journals of which the writing was interrupted: nothing was changed for them.
fn sweep_unfinished(journals: &Dir, names: &[OsString]) {
    let unfinished = |name: &&OsString| name.as_encoded_bytes().ends_with(b".new");
    for name in names.iter().filter(unfinished) {
        if let Err(e) = journals.unlink(name) {
            tracing::debug!(error = %e, "cannot remove an unfinished journal");
        }
    }
}

fn unreadable(store: &Store, redo: &str, error: &crate::Error) -> RollbackReport {
    let path = store.rollback_dir().join(journal::name(redo));
    let failure = AbsPath::new(path).ok().map(|path| Failure {
        path,
        error: format!("{error}; the interrupted rollback cannot be finished"),
    });
    RollbackReport {
        failures: failure.into_iter().collect(),
        ..RollbackReport::default()
    }
}

/// Where the old content of a snapshot lies, as far as can be told.
fn content_of(store: &Store, id: &SnapshotId) -> ContentDirs {
    match store.meta(id) {
        Ok(meta) => store.content_dirs(&meta),
        Err(_) => store.files_dir(id).into(),
    }
}

/// Finishes one rollback. `None`: another process has its snapshots.
fn take_up(
    store: &Store,
    journals: &Dir,
    journal: &Journal,
    redo: Option<OpenSnapshot>,
    progress: &dyn Progress,
) -> Result<Option<RollbackReport>> {
    let mut in_use: Vec<InUse> = Vec::new();
    let mut files: Vec<ContentDirs> = Vec::new();
    for id in &journal.plan.plan().snapshots {
        let id = SnapshotId::parse(id)?;
        match store.acquire(&id) {
            Ok(taken) => in_use.push(taken),
            Err(e) if e.kind() == ErrorKind::Busy => return Ok(None),
            Err(e) => tracing::warn!(snapshot = %id, error = %e, "a snapshot is not there"),
        }
        files.push(content_of(store, &id));
    }
    let (outcomes, applied) = match &redo {
        Some(_) => {
            finish(&journal.plan, &files, &journal.redo, progress, &Never).map_err(interrupted)?
        }
        None => match redo_without_process(store, &journal.redo) {
            Ok(Redo::Sealed) => (outcomes_of_applied(&journal.plan), Applied::default()),
            Ok(Redo::Gone) => (outcomes_of_dropped(&journal.plan), Applied::default()),
            Err(e) => return Ok(Some(unreadable(store, &journal.redo, &e))),
        },
    };
    let ending = Ending {
        store,
        journals,
        journal,
    };
    let mut notes = applied.notes;
    notes.push("was interrupted and finished later".to_owned());
    let done = (outcomes.as_slice(), &applied.made);
    ending.finish(redo, done, notes).map(Some)
}

/// What became of a redo snapshot that does not wait to be taken up.
enum Redo {
    /// It was sealed, so the plan was applied and only the bookkeeping is left.
    Sealed,
    /// It was dropped, which happens only where nothing was changed.
    Gone,
}

/// # Errors
/// When that cannot be told, or the snapshot is unsealed after all: it was not readable a moment
/// ago. The journal then has to stay, as the plan may be half applied.
fn redo_without_process(store: &Store, redo: &str) -> Result<Redo> {
    match store.meta(&SnapshotId::parse(redo)?) {
        Ok(meta) => match meta.state {
            SnapshotState::Capturing | SnapshotState::Captured => Err(Error::new(
                ErrorKind::Busy,
                Stage::Rollback,
                format!("the redo snapshot {redo} cannot be taken up now; try again later"),
            )),
            _ => Ok(Redo::Sealed),
        },
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Redo::Gone),
        Err(e) => Err(e),
    }
}

fn outcomes_of_applied(plan: &VerifiedPlan) -> Vec<Outcome> {
    let mut outcomes = reconcile(&mut plan.clone());
    for (outcome, entry) in outcomes.iter_mut().zip(&plan.plan().entries) {
        if outcome.is_todo() && entry.step != Step::Keep {
            *outcome = Outcome::Done;
        }
    }
    outcomes
}

/// Nothing was changed, so nothing is done that has to be.
fn outcomes_of_dropped(plan: &VerifiedPlan) -> Vec<Outcome> {
    let left = |_| Outcome::Failed("the rollback stopped before it changed anything".into());
    plan.plan().entries.iter().map(left).collect()
}

/// Carries an interrupted plan to its end. Gives the outcomes and the rest; the plan keeps telling
/// what was there before the first attempt, as the redo snapshot's record needs it.
pub(super) fn finish(
    plan: &VerifiedPlan,
    files: &[ContentDirs],
    tag: &str,
    progress: &dyn Progress,
    fault: &dyn Fault,
) -> std::result::Result<(Vec<Outcome>, Applied), Interrupted> {
    let mut job = Job {
        plan,
        files,
        tag,
        progress,
        fault,
    };
    sweep(&job)?;
    let mut current = plan.clone();
    let mut outcomes = reconcile(&mut current);
    job.plan = &current;
    let mut applied = apply(&job, &mut outcomes)?;
    applied.notes.extend(clear_away(&job, &outcomes)?);
    Ok((outcomes, applied))
}
