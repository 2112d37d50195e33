//! Joins the stages of a rollback with the store.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::apply::{Job, Outcome, apply, clear_away};
use super::compose::Source;
use super::fault::Never;
use super::journal::{self, Journal};
use super::plan::{RollbackPlan, Step};
use super::verify::{Verdict, VerifiedPlan, verify};
use super::{Conflict, Failure, RollbackReport, RollbackSpec, build, redo};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::execute::Cancel;
use crate::path::{AbsPath, WirePath};
use crate::progress::{Event, Progress};
use crate::store::{
    CoverageRecord, InUse, ListFilter, OpenSnapshot, Outcome as CommandOutcome, SnapshotId,
    SnapshotMeta, SnapshotState, Store,
};
use crate::sys::{Dir, open_by_processes};

/// The key in a redo snapshot's metadata that names the snapshots that were rolled back.
pub(super) const ROLLBACK_OF: &str = "rollback_of";
/// How long to wait for another rollback to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most replaced files for which it is looked whether a process has them open.
const MOST_LOOKED_FOR: usize = 1_000;

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
            };
            attempt.carry_out(*plan, &metas)
        }
    }
}

/// Reads the records and plans. Gives the plan, the directories of old content, the metadata.
fn prepare(
    store: &Store,
    spec: &RollbackSpec,
) -> Result<(RollbackPlan, Vec<PathBuf>, Vec<SnapshotMeta>)> {
    let mut sources = Vec::new();
    let mut files = Vec::new();
    let mut metas = Vec::new();
    for id in &spec.snapshots {
        let meta = store.meta(id)?;
        check_state(&meta)?;
        sources.push(Source {
            id: id.to_string(),
            record: store.record(id)?,
        });
        files.push(store.files_dir(id));
        metas.push(meta);
    }
    Ok((build::plan(sources, &spec.paths), files, metas))
}

fn check_state(meta: &SnapshotMeta) -> Result<()> {
    let id = &meta.snapshot_id;
    let (kind, why) = match meta.state {
        SnapshotState::Sealed | SnapshotState::RolledBack => return Ok(()),
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
    };
    Err(Error::new(
        kind,
        Stage::Rollback,
        format!("snapshot {id} cannot be rolled back: {why}"),
    ))
}

fn ids_of(spec: &RollbackSpec) -> Vec<String> {
    spec.snapshots.iter().map(SnapshotId::to_string).collect()
}

/// The report of a dry run.
fn rehearse(
    store: &Store,
    spec: &RollbackSpec,
    plan: RollbackPlan,
    files: &[PathBuf],
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
    files: &'a [PathBuf],
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
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
            fault: &Never,
        };
        let mut outcomes = vec![Outcome::Todo; journal.plan.plan().entries.len()];
        for more in [apply(&job, &mut outcomes), clear_away(&job, &outcomes)] {
            notes.extend(more.unwrap_or_default());
        }
        let ending = Ending {
            store: self.store,
            journals: &journals,
            journal: &journal,
        };
        let mut report = ending.finish(Some(redo), &outcomes, notes)?;
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

/// Drops the redo snapshot of a rollback that did not start.
fn give_up(redo: OpenSnapshot, error: Error) -> Error {
    if let Err(e) = redo.discard() {
        tracing::warn!(error = %e, "cannot discard the redo snapshot of a rollback that did not start");
    }
    error
}

/// The end of a rollback, whether it ran through or was taken up.
pub(super) struct Ending<'a> {
    pub(super) store: &'a Store,
    pub(super) journals: &'a Dir,
    pub(super) journal: &'a Journal,
}

impl Ending<'_> {
    /// Seals the redo snapshot, records how it went, removes the journal. `redo` is `None` where
    /// that snapshot was sealed or dropped before an interruption.
    pub(super) fn finish(
        &self,
        redo: Option<OpenSnapshot>,
        outcomes: &[Outcome],
        notes: Vec<String>,
    ) -> Result<RollbackReport> {
        let plan = self.journal.plan.plan();
        let mut report = report(&self.journal.plan, outcomes);
        report.notes.extend(notes);
        let redo_id = match redo {
            Some(redo) => seal(redo, plan, outcomes, self.journal.saved_bytes)?,
            None => self.sealed_before()?,
        };
        if let Some(id) = redo_id.as_ref().filter(|_| !report.success) {
            redo::drop_unused(plan, &self.store.record(id)?, &self.store.files_dir(id));
        }
        report.redo_snapshot_id = redo_id.as_ref().map(SnapshotId::to_string);
        let whole = report.success && !self.journal.filtered;
        let state = if whole {
            SnapshotState::RolledBack
        } else {
            SnapshotState::Sealed
        };
        conclude(self.store, &plan.snapshots, state, redo_id)?;
        journal::remove(self.journals, &self.journal.redo)?;
        Ok(report)
    }

    fn sealed_before(&self) -> Result<Option<SnapshotId>> {
        let id = SnapshotId::parse(&self.journal.redo)?;
        match self.store.meta(&id) {
            Ok(meta) if meta.state == SnapshotState::Sealed => Ok(Some(id)),
            Ok(_) => Ok(None),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Seals the redo snapshot; one of a rollback that changed nothing is dropped.
fn seal(
    redo: OpenSnapshot,
    plan: &RollbackPlan,
    outcomes: &[Outcome],
    saved_bytes: u64,
) -> Result<Option<SnapshotId>> {
    if !outcomes.contains(&Outcome::Done) {
        redo.discard()?;
        return Ok(None);
    }
    let id = redo.id().clone();
    let record = redo::record(plan, outcomes);
    redo.seal(&record, |meta| {
        meta.stored_bytes = saved_bytes;
        meta.outcome.exit_code = Some(0);
    })?;
    Ok(Some(id))
}

/// What was done, as a report.
pub(super) fn report(verified: &VerifiedPlan, outcomes: &[Outcome]) -> RollbackReport {
    let plan = verified.plan();
    let mut report = RollbackReport {
        snapshot_ids: plan.snapshots.clone(),
        unchanged: plan.unchanged,
        conflicts: verified.conflicts(),
        failures: verified.failures(),
        notes: plan.notes.clone(),
        ..RollbackReport::default()
    };
    for (entry, outcome) in plan.entries.iter().zip(outcomes) {
        if let Outcome::Failed(error) = outcome
            && entry.step != Step::Keep
        {
            report.failures.push(Failure {
                path: entry.path.clone(),
                error: error.clone(),
            });
        }
    }
    count(&mut report, plan, outcomes);
    report.success = report.failures.is_empty() && verified.is_whole();
    report
}

fn count(report: &mut RollbackReport, plan: &RollbackPlan, outcomes: &[Outcome]) {
    for (entry, outcome) in plan.entries.iter().zip(outcomes) {
        if entry.counted && *outcome == Outcome::Done {
            match entry.step {
                Step::Keep => {}
                step if step.removes() => report.removed += 1,
                _ => report.restored += 1,
            }
        }
    }
}

/// Writes the state that the snapshots ended in. Where a redo snapshot was rolled back, what it
/// had undone counts as not rolled back again.
fn conclude(
    store: &Store,
    ids: &[String],
    state: SnapshotState,
    redo: Option<SnapshotId>,
) -> Result<()> {
    for id in ids {
        let id = SnapshotId::parse(id)?;
        let meta = store.update(&id, &mut |meta| {
            meta.state = state;
            if redo.is_some() {
                meta.redo_snapshot_id.clone_from(&redo);
            }
        })?;
        if state == SnapshotState::RolledBack {
            revive(store, &meta, ids);
        }
    }
    Ok(())
}

fn revive(store: &Store, redone: &SnapshotMeta, concluded: &[String]) {
    let Some(serde_json::Value::Array(originals)) = redone.metadata.get(ROLLBACK_OF) else {
        return;
    };
    let ids = originals.iter().filter_map(|v| v.as_str());
    for text in ids.filter(|t| !concluded.iter().any(|c| c == t)) {
        let revived = SnapshotId::parse(text).and_then(|id| {
            let _in_use = store.acquire(&id)?;
            store.update(&id, &mut |meta| {
                if meta.state == SnapshotState::RolledBack {
                    meta.state = SnapshotState::Sealed;
                    meta.redo_snapshot_id = None;
                }
            })
        });
        // It may have expired; its state is only for show.
        if let Err(e) = revived {
            tracing::debug!(snapshot = text, error = %e, "cannot mark a snapshot as not rolled back");
        }
    }
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
    SnapshotMeta {
        format_version: SnapshotMeta::FORMAT_VERSION,
        snapshot_id: SnapshotId::random(),
        state: SnapshotState::Capturing,
        timestamp: Timestamp::now().as_seconds(),
        monotonic: None,
        command: WirePath::Text(format!("rollback of {}", ids.join(", "))),
        shell: "deployx".into(),
        command_index: None,
        batch_id: None,
        working_directory: working_directory
            .or_else(root)
            .unwrap_or_else(|| spec.paths[0].clone()),
        monitored_paths: monitored.into_iter().collect(),
        file_snapshots: Vec::new(),
        file_count: 0,
        changes: crate::seal::ChangeCounts::default(),
        environment_vars: std::collections::BTreeMap::new(),
        metadata: [(ROLLBACK_OF.to_owned(), ids.into())].into(),
        strategies: Vec::new(),
        scope: Vec::new(),
        coverage: CoverageRecord {
            complete: true,
            ..CoverageRecord::default()
        },
        outcome: CommandOutcome::default(),
        stored_bytes: 0,
        pinned: false,
        capture_tokens: Vec::new(),
        error: None,
        redo_snapshot_id: None,
        manifest_checksum: None,
    }
}

/// Names the later snapshot that changed a conflicting entry, where there is one.
fn name_later(store: &Store, spec: &RollbackSpec, mut conflicts: Vec<Conflict>) -> Vec<Conflict> {
    let newest = spec.snapshots.first().and_then(|id| store.meta(id).ok());
    let (Some(newest), false) = (newest, conflicts.is_empty()) else {
        return conflicts;
    };
    let Ok((later, _)) = store.list(&ListFilter::default()) else {
        return conflicts;
    };
    let mut open: Vec<&mut Conflict> = conflicts.iter_mut().collect();
    let undone = |meta: &SnapshotMeta| {
        spec.snapshots.contains(&meta.snapshot_id) || meta.state != SnapshotState::Sealed
    };
    for meta in later.iter().take_while(|m| m.timestamp >= newest.timestamp) {
        if open.is_empty() || undone(meta) || meta.file_count == 0 {
            continue;
        }
        let Ok(record) = store.record(&meta.snapshot_id) else {
            continue;
        };
        let id = &meta.snapshot_id;
        open.retain_mut(|conflict| {
            let found = record
                .changes
                .binary_search_by(|c| c.path.cmp(&conflict.path));
            if found.is_ok() {
                conflict.reason = format!(
                    "changed later by {id}; `--through` undoes that too ({})",
                    conflict.reason
                );
            }
            found.is_err()
        });
    }
    conflicts
}

/// Remarks on files that are replaced or removed while processes have them open.
fn open_files(plan: &RollbackPlan) -> Vec<String> {
    let victims: Vec<_> = plan
        .entries
        .iter()
        .filter(|e| e.step.places() || e.step.removes())
        .filter_map(|e| Some((&e.path, e.live.as_ref().filter(|l| l.is_file())?.identity)))
        .collect();
    if victims.is_empty() || victims.len() > MOST_LOOKED_FOR {
        return Vec::new();
    }
    let inodes: Vec<(u64, u64)> = victims.iter().map(|(_, i)| (i.device, i.inode)).collect();
    open_by_processes(&inodes)
        .into_iter()
        .take(20)
        .map(|(process, index)| {
            let path = victims[index].0;
            format!("{path} is open in process {process}, which goes on with the file as it was")
        })
        .collect()
}

/// The directory of journals.
pub(super) fn open_journals(store: &Store) -> Result<Dir> {
    let path = store.rollback_dir();
    let context = || format!("cannot open {}", path.display());
    let checked = AbsPath::new(&path).map_err(|e| {
        Error::new(
            ErrorKind::InvalidRequest,
            Stage::Rollback,
            format!("{}: {e}", context()),
        )
    })?;
    Dir::open(&checked).context(Stage::Rollback, context)
}

/// The right to roll back: one rollback per store at a time. Ends when dropped, or with the
/// process.
pub(super) struct Turn {
    _lock: File,
}

impl Turn {
    /// Takes it if no live process has it.
    pub(super) fn try_take(store: &Store) -> Result<Option<Turn>> {
        let path = store.rollback_dir().join("lock");
        let context = || format!("cannot lock {}", path.display());
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .context(Stage::Rollback, context)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Turn { _lock: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(Error::io(Stage::Rollback, context(), e)),
        }
    }

    /// Waits for it.
    fn wait(store: &Store, cancel: &Cancel, progress: &dyn Progress) -> Result<Turn> {
        let begun = Instant::now();
        let mut told = false;
        loop {
            if let Some(turn) = Self::try_take(store)? {
                return Ok(turn);
            }
            if !std::mem::replace(&mut told, true) {
                progress.event(Event::Waiting {
                    reason: "another rollback is going on".into(),
                });
            }
            let (kind, why) = if cancel.is_cancelled() {
                (ErrorKind::Cancelled, "the rollback was cancelled")
            } else if begun.elapsed() > PATIENCE {
                (ErrorKind::Busy, "another rollback is still going on")
            } else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            return Err(Error::new(kind, Stage::Rollback, why));
        }
    }
}
