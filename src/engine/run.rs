//! Forward: request, snapshot, command, seal.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use super::secure::{Secured, Subject, strategy_name};
use super::space::Spared;
use super::{BatchReport, Engine, RunContext, RunReport, Starting};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::{CommandOutcome, Session, SessionSpec};
use crate::infer;
use crate::path::{AbsPath, WirePath};
use crate::progress::{Event, Phase};
use crate::request::{BatchRequest, RunRequest};
use crate::seal::{ChangeCounts, Limit, LimitKind};
use crate::snapshot::intercept::{self, Interception, ToStart};
use crate::snapshot::{Registry, unless_cancelled};
use crate::store::{CoverageRecord, Outcome, SnapshotId, SnapshotMeta};

/// Longest command line, in bytes.
const MAX_COMMAND: usize = 1 << 20;

/// 128 + SIGINT.
const CANCELLED: i32 = 130;

impl Engine {
    /// Snapshot, run, seal.
    ///
    /// # Errors
    /// Only before the command ran: a request that makes no sense, a shell that is not there, a
    /// snapshot that was required and could not be taken completely (`NotExecutable`), cancelling
    /// before the command started (`Cancelled`). What goes wrong later is in the report.
    pub fn run(&self, request: &RunRequest, context: RunContext<'_>) -> Result<RunReport> {
        let mut context = context;
        check_command(&request.command)?;
        let cwd = physical_directory(&request.cwd)?;
        let mut shell = self.start_shell(request, &[&request.command], cwd, &context)?;
        let step = Step {
            command: &request.command,
            batch: None,
            last: true,
        };
        let mut report = self.run_step(&mut shell, request, &step, &mut context)?;
        drop(shell);
        if request.rollback_on_failure && !report.success && !report.changes.is_empty() {
            report.rollback =
                self.undo_after_failure(report.snapshot_id.iter(), context.progress)?;
        }
        Ok(report)
    }

    /// The same for several commands in one shell, each with a snapshot of its own. Cancelling between
    /// two of them ends the batch with a report.
    pub fn batch(&self, request: &BatchRequest, context: RunContext<'_>) -> Result<BatchReport> {
        let mut context = context;
        let batch_id = match &request.batch_id {
            Some(id) => check_batch_id(id)?.to_owned(),
            None => format!("batch-{}", SnapshotId::random()),
        };
        request
            .commands
            .iter()
            .try_for_each(|command| check_command(command))?;
        if request.commands.is_empty() {
            return Err(invalid("the batch has no commands"));
        }
        let cwd = physical_directory(&request.run.cwd)?;
        let lines: Vec<&OsString> = request.commands.iter().collect();
        let mut shell = self.start_shell(&request.run, &lines, cwd, &context)?;
        let mut results: Vec<RunReport> = Vec::new();
        for (index, command) in request.commands.iter().enumerate() {
            let last = index + 1 == request.commands.len();
            let step = Step {
                command,
                batch: Some((&batch_id, index as u64)),
                last,
            };
            let report = match self.run_step(&mut shell, &request.run, &step, &mut context) {
                // What ran before it has to be told.
                Err(error) if error.kind() == ErrorKind::Cancelled && !results.is_empty() => break,
                other => other?,
            };
            if let Some(on_report) = &mut context.on_report {
                on_report(&report);
            }
            let stop = report.cancelled || (!report.success && !request.keep_going);
            results.push(report);
            if stop {
                break;
            }
        }
        drop(shell);
        let mut report = summarize(batch_id, request, results);
        if request.run.rollback_on_failure && !report.success {
            let ids = report
                .results
                .iter()
                .rev()
                .filter_map(|r| r.snapshot_id.as_ref());
            report.rollback = self.undo_after_failure(ids, context.progress)?;
        }
        Ok(report)
    }

    /// Starts a shell for `lines`, as far as they are known.
    pub(super) fn start_shell(
        &self,
        request: &RunRequest,
        lines: &[&OsString],
        cwd: AbsPath,
        context: &RunContext<'_>,
    ) -> Result<Shell> {
        let (strategies, interception) = self.strategies_for(request, lines, &cwd);
        let session = Session::start(SessionSpec {
            shell: request.shell.clone(),
            cwd: cwd.clone(),
            env: request.env.clone(),
            output: context.output.clone(),
            inherit_stdin: context.inherit_stdin,
            kill_grace: self.config.kill_grace,
            interception,
        })?;
        let read = infer::Session::default();
        Ok(Shell {
            session,
            cwd,
            strategies,
            read,
        })
    }

    /// The strategies for a shell's commands. Interception begins with the shell itself, so that it is
    /// decided here.
    fn strategies_for(
        &self,
        request: &RunRequest,
        lines: &[&OsString],
        cwd: &AbsPath,
    ) -> (Registry, Option<Arc<Interception>>) {
        let options = &request.snapshot;
        let named = options
            .strategies
            .iter()
            .any(|name| name == intercept::NAME);
        if !named || options.disabled {
            return (self.strategies.clone(), None);
        }
        let path = request.env.iter().rev().find(|(name, _)| name == "PATH");
        let path = path.map(|(_, value)| value.clone());
        let path = path.or_else(|| self.search_path()).unwrap_or_default();
        let programs = lines
            .iter()
            .flat_map(|line| infer::program_names(&line.to_string_lossy()));
        let (strategy, interception) = self.intercept.for_shell(&ToStart {
            programs: programs.collect(),
            path: &path,
            cwd: cwd.as_path(),
        });
        (self.strategies.with(Arc::new(strategy)), interception)
    }

    /// Where programs are looked for, as the front end said.
    fn search_path(&self) -> Option<OsString> {
        let known = self.config.environment.iter();
        known
            .rev()
            .find(|(name, _)| name == "PATH")
            .map(|(_, value)| value.into())
    }

    pub(super) fn run_step(
        &self,
        shell: &mut Shell,
        request: &RunRequest,
        step: &Step<'_>,
        context: &mut RunContext<'_>,
    ) -> Result<RunReport> {
        let live = shell.session.cwd();
        let cwd_deleted = live.is_none();
        let cwd = live.unwrap_or_else(|| nearest_directory(shell.cwd.clone()));
        shell.cwd.clone_from(&cwd);
        let scope = self.rules.infer_in_session(
            &request.shell,
            step.command,
            cwd.as_path().as_os_str(),
            &request.env,
            &shell.read,
        );
        if let Some(on_start) = &mut context.on_start {
            on_start(&Starting {
                index: step.batch.map_or(0, |(_, index)| index),
                command: step.command,
                cwd: &cwd,
                scope: &scope,
            })?;
        }
        shell.remember(&scope.session);
        let subject = Subject {
            request,
            command: step.command,
            cwd,
            cwd_deleted,
            batch: step.batch,
            ancestor: shell.session.ancestor(),
            scope,
            strategies: &shell.strategies,
            cancel: context.cancel,
        };
        let (mut secured, mut snapshot_error) = self.secure_unless_disabled(&subject, context)?;
        if let Some(error) = &snapshot_error {
            match context.on_unsecured.as_mut() {
                Some(told) => told(error)?,
                None => tracing::warn!(error, "no snapshot for this command"),
            }
        }
        if let Some(secured) = secured.as_mut().filter(|_| request.snapshot.watch_outside) {
            secured.look_outside(self, shell.session.ancestor());
        }
        if let Err(cancelled) = unless_cancelled(context.cancel) {
            // Nothing ran: there is nothing to look for.
            secured.map_or(Ok(()), Secured::discard)?;
            return Err(cancelled);
        }
        context.progress.event(Event::Begin {
            phase: Phase::Command,
            total: None,
        });
        let ran = shell
            .session
            .run(step.command, step.last, request.timeout, context.cancel);
        context.progress.event(Event::End);
        let outcome = match ran {
            Ok(outcome) => outcome,
            Err(error) => return Err(abandon(secured, error, context)),
        };
        let mut report = RunReport::of(&subject, &outcome);
        if let Some(secured) = secured {
            report.snapshot_id = Some(secured.id().to_string());
            report.describe(secured.meta());
            match secured.seal(
                stored_outcome(&outcome),
                survivors_note(&outcome),
                survivors_limit(&outcome),
                context.progress,
            ) {
                Ok(meta) => {
                    report.describe(&meta);
                    let spared = Spared {
                        batch: meta.batch_id,
                        ids: vec![meta.snapshot_id],
                    };
                    report.coverage.notes.extend(self.trim(&spared));
                }
                Err(error) => {
                    snapshot_error = Some(format!("{error}; 'deployx recover' tries again"));
                }
            }
        }
        report.snapshot_error = snapshot_error;
        Ok(report)
    }

    /// The snapshot, or why there is none. With `required` that is an error.
    fn secure_unless_disabled(
        &self,
        subject: &Subject<'_>,
        context: &RunContext<'_>,
    ) -> Result<(Option<Secured>, Option<String>)> {
        let options = &subject.request.snapshot;
        if options.disabled {
            return Ok((None, None));
        }
        match self.secure(subject, context.progress) {
            Ok(secured) if options.required && !secured.meta().coverage.complete => {
                let missing = secured.meta().coverage.missing();
                secured.discard()?;
                let count = crate::plural(missing.len() as u64, "part", "parts");
                let first = missing.first().map(String::as_str).unwrap_or_default();
                Err(refused(&format!(
                    "{count} of the scope cannot be secured, first {first}"
                )))
            }
            Ok(secured) => Ok((Some(secured), None)),
            Err(error) if is_final(&error) => Err(error),
            Err(error) if options.required => Err(refused(&error.to_string())),
            // A strategy that was named and does not exist or cannot work is the caller's error.
            Err(error) if !options.strategies.is_empty() && is_about_strategy(&error) => Err(error),
            Err(error) => Ok((None, Some(error.to_string()))),
        }
    }
}

/// A shell with what the engine knows of it.
pub(super) struct Shell {
    pub(super) session: Session,
    /// The last working directory that was there.
    pub(super) cwd: AbsPath,
    /// The strategies, as they are for its commands.
    strategies: Registry,
    /// What the lines so far did to the shell, as far as it can be read from them.
    read: infer::Session,
}

impl Shell {
    /// Adds what one more line does.
    fn remember(&mut self, line: &infer::Session) {
        for (known, new) in [
            (&mut self.read.assigned, &line.assigned),
            (&mut self.read.redefined, &line.redefined),
        ] {
            known.extend(new.iter().cloned());
            known.sort();
            known.dedup();
        }
        self.read.options_changed |= line.options_changed;
        self.read.unknown |= line.unknown;
    }
}

/// One command of a shell.
pub(super) struct Step<'a> {
    pub(super) command: &'a OsStr,
    pub(super) batch: Option<(&'a str, u64)>,
    /// The shell ends with it.
    pub(super) last: bool,
}

impl RunReport {
    fn of(subject: &Subject<'_>, outcome: &CommandOutcome) -> Self {
        Self {
            snapshot_id: None,
            batch_id: subject.batch.map(|(id, _)| id.to_owned()),
            command: WirePath::from_bytes(subject.command.as_encoded_bytes()),
            shell: subject.request.shell.to_string(),
            working_directory: subject.cwd.clone(),
            exit_code: outcome.exit_code,
            success: outcome.exit_code == 0 && !outcome.timed_out && !outcome.cancelled,
            timed_out: outcome.timed_out,
            cancelled: outcome.cancelled,
            duration_ms: millis(outcome.duration),
            strategy: "none".into(),
            strategies: Vec::new(),
            monitored_paths: Vec::new(),
            changes: ChangeCounts::default(),
            coverage: CoverageRecord::default(),
            receipt: None,
            stored_bytes: 0,
            snapshot_error: None,
            rollback: None,
        }
    }

    fn describe(&mut self, meta: &SnapshotMeta) {
        self.strategy = strategy_name(&meta.strategies);
        self.strategies.clone_from(&meta.strategies);
        self.monitored_paths.clone_from(&meta.monitored_paths);
        self.changes = meta.changes;
        self.coverage = meta.coverage.clone();
        self.receipt.clone_from(&meta.receipt);
        self.stored_bytes = meta.stored_bytes;
    }
}

/// Seals what an execution that failed may have changed, so that nothing is lost.
fn abandon(secured: Option<Secured>, error: Error, context: &RunContext<'_>) -> Error {
    if let Some(secured) = secured {
        let outcome = Outcome {
            interrupted: true,
            ..Outcome::default()
        };
        if let Err(error) = secured.seal(
            outcome,
            vec![error.to_string()],
            Vec::new(),
            context.progress,
        ) {
            tracing::warn!(%error, "the snapshot could not be sealed");
        }
    }
    error
}

fn summarize(batch_id: String, request: &BatchRequest, results: Vec<RunReport>) -> BatchReport {
    let successful = results.iter().filter(|r| r.success).count();
    // Where all succeeded and some were not run, it was cancelled in between.
    let all_succeeded = if successful == request.commands.len() {
        0
    } else {
        CANCELLED
    };
    let skipped = request.commands[results.len()..]
        .iter()
        .map(|command| WirePath::from_bytes(command.as_encoded_bytes()))
        .collect();
    BatchReport {
        batch_id,
        success: successful == request.commands.len(),
        exit_code: results
            .iter()
            .find(|r| !r.success)
            .map_or(all_succeeded, |r| r.exit_code),
        total_commands: request.commands.len(),
        successful_commands: successful,
        failed_commands: results.len() - successful,
        results,
        skipped,
        rollback: None,
    }
}

fn stored_outcome(outcome: &CommandOutcome) -> Outcome {
    Outcome {
        exit_code: Some(outcome.exit_code),
        timed_out: outcome.timed_out,
        interrupted: false,
        duration_ms: millis(outcome.duration),
    }
}

fn survivors_note(outcome: &CommandOutcome) -> Vec<String> {
    if outcome.survivors.is_empty() {
        return Vec::new();
    }
    let pids: Vec<String> = outcome.survivors.iter().map(u32::to_string).collect();
    vec![format!(
        "processes of the command still run ({}): what they change from now on is not covered",
        pids.join(", ")
    )]
}

/// The same in the receipt.
fn survivors_limit(outcome: &CommandOutcome) -> Vec<Limit> {
    let limit = |note| Limit::new(LimitKind::Survivors, note);
    survivors_note(outcome).into_iter().map(limit).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn check_command(command: &OsStr) -> Result<()> {
    let bytes = command.as_encoded_bytes();
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(invalid("the command is empty"));
    }
    if bytes.contains(&0) {
        return Err(invalid(
            "the command has a NUL byte, which no shell can take",
        ));
    }
    if bytes.len() > MAX_COMMAND {
        return Err(invalid(format!(
            "the command is longer than {MAX_COMMAND} bytes; put it into a script"
        )));
    }
    Ok(())
}

fn check_batch_id(id: &str) -> Result<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !id.is_empty() && id.len() <= 128 && id.bytes().all(plain) {
        return Ok(id);
    }
    Err(invalid(format!(
        "the batch id '{}' is not valid: use letters, digits, '.', '_' and '-', at most 128",
        id.escape_debug()
    )))
}

/// What stands for a working directory that an earlier command deleted: the nearest directory above
/// it that is left. Nothing can come into being in the deleted one itself.
fn nearest_directory(deleted: AbsPath) -> AbsPath {
    let mut path = deleted;
    while !path.as_path().is_dir() {
        match path.parent() {
            Some(parent) => path = parent,
            None => break,
        }
    }
    path
}

/// The directory without symbolic links, checked to be there.
pub(super) fn physical_directory(path: &AbsPath) -> Result<AbsPath> {
    let found = path.as_path().canonicalize().map_err(|e| {
        Error::io(
            Stage::Request,
            format!("the working directory {path} cannot be used"),
            e,
        )
    })?;
    if !found.is_dir() {
        return Err(invalid(format!(
            "the working directory {path} is not a directory"
        )));
    }
    AbsPath::new(found).map_err(|e| invalid(e.to_string()))
}

fn invalid(context: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Request, context)
}

fn refused(why: &str) -> Error {
    Error::new(
        ErrorKind::NotExecutable,
        Stage::Capture,
        format!("the command was not run because its snapshot is required: {why}"),
    )
}

/// Whether no command runs after this, not even without a snapshot.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidRequest | ErrorKind::Cancelled
    )
}

fn is_about_strategy(error: &Error) -> bool {
    error.stage() == Stage::Capture
        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported)
}
