//! `execute_deployment_command`

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::parts::{MAX_COVERAGE, absolute, brief, shell, snapshot, variables, working_directory};
use super::reach::refused as not_allowed;
use super::{check_wanted, is_wanted, live};
use crate::agent::area::Area;
use crate::agent::gate::Pass;
use crate::agent::output::{Collected, CommandOutput, Source};
use crate::agent::shared::Shared;
use crate::agent::shells::Ticket;
use crate::agent::state::Kind;
use crate::agent::wire::{
    CommandCompleted, Execute, MAX_MESSAGE, Reply, SessionState, fit_output, json_length, lost,
    shorten,
};
use crate::engine::{RunContext, RunReport, Starting};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::{Cancel, Output};
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::{RunRequest, SnapshotOptions};

/// Runs one command and sends its result. A defect of this program gives a result as well.
pub(super) fn run(
    shared: &Arc<Shared>,
    command: &Execute,
    ticket: Option<&Ticket>,
    cancel: &Cancel,
) {
    let id = command.command_id.clone();
    let _last_word = LastWord { shared, command };
    let mut session = session_of(command);
    let mut result = match attempt(shared, command, ticket.zip(session.as_mut()), cancel) {
        Ok(completed) => completed,
        Err(error) => CommandCompleted {
            cancelled: shared.was_cancelled(Kind::Command, &id),
            ..refused(command, &error)
        },
    };
    result.session = session;
    let ran = result.exit_code.map(|_| result.success);
    shared.metrics.command(ran);
    tracing::info!(
        command_id = %id.escape_debug(),
        success = result.success,
        exit_code = result.exit_code,
        snapshot_id = result.snapshot_id,
        duration_ms = result.duration_ms,
        "a command has ended"
    );
    shared.finish(Kind::Command, &id, &completed(result));
}

/// Gives a command that was accepted the result that it was not run.
pub(super) fn refuse(shared: &Shared, command: &Execute, why: String) {
    let error = Error::new(ErrorKind::NotExecutable, Stage::Agent, why);
    let result = completed(refused(command, &error));
    shared.finish(Kind::Command, &command.command_id, &result);
}

/// Sends a result where a defect of this program kept that from happening.
struct LastWord<'a> {
    shared: &'a Shared,
    command: &'a Execute,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let error = Error::new(
                ErrorKind::Io,
                Stage::Agent,
                "a defect of the agent; see its log",
            );
            let result = refused(self.command, &error);
            self.shared
                .finish(Kind::Command, &self.command.command_id, &completed(result));
        }
    }
}

fn attempt(
    shared: &Arc<Shared>,
    command: &Execute,
    session: Option<(&Ticket, &mut SessionState)>,
    cancel: &Cancel,
) -> Result<CommandCompleted> {
    check_wanted(shared, cancel)?;
    let request = request(shared, command)?;
    shared.state.start(Kind::Command, &command.command_id)?;
    let room = shared.config().result_output;
    let source = Source::Command(command.command_id.clone());
    let sink = CommandOutput::new(Arc::clone(shared), source, cancel.clone(), room);
    let sink = Arc::new(sink);
    let pass = shared
        .gate
        .command(&format!("command {}", command.command_id));
    let extra = request.snapshot.extra_paths.clone();
    let mut on_start = |starting: &Starting<'_>| admit(shared, &pass, &extra, cancel, starting);
    let mut context = RunContext::new(Output::Stream(Arc::clone(&sink) as _), cancel, &Silent);
    context.on_start = Some(&mut on_start);
    let report = match session {
        None => shared.engine.run(&request, context)?,
        Some((ticket, told)) => {
            let sink = Arc::clone(&sink) as _;
            live::run(shared, (ticket, command), &request, sink, context, told)?
        }
    };
    count(shared, &report);
    let asked = shared.was_cancelled(Kind::Command, &command.command_id);
    Ok(told(command, report, sink.take(), asked))
}

/// Whether a command may run where it is about to start; waits for rollbacks at the same place.
pub(super) fn admit(
    shared: &Shared,
    pass: &Pass,
    extra: &[AbsPath],
    cancel: &Cancel,
    starting: &Starting<'_>,
) -> Result<()> {
    // Other lists may be in force by now than when the command came.
    let policy = &shared.config().policy;
    policy
        .check_command(&starting.command.to_string_lossy())
        .and_then(|()| policy.check_scope(starting.cwd, starting.scope))
        .map_err(not_allowed)?;
    let mut areas: Vec<Area> = starting.scope.paths.iter().map(Area::from).collect();
    areas.extend(extra.iter().map(|path| Area {
        path: path.clone(),
        depth: crate::infer::Depth::Tree,
    }));
    check_wanted(shared, cancel)?;
    pass.cover(&areas, &|| is_wanted(shared, cancel))
        .map_err(|error| check_wanted(shared, cancel).err().unwrap_or(error))
}

/// Counts what a command did.
pub(super) fn count(shared: &Shared, report: &RunReport) {
    if report.snapshot_id.is_some() {
        shared.metrics.snapshots.add(1);
        shared.metrics.snapshot_bytes.add(report.stored_bytes);
    }
}

fn request(shared: &Shared, command: &Execute) -> Result<RunRequest> {
    let config = shared.config();
    let mut request = RunRequest::new(
        &command.command,
        working_directory(shared, command.cwd.as_deref())?,
    );
    request.shell = shell(command.shell.as_deref());
    request.env = variables(command.env.as_ref())?;
    request.timeout = command
        .timeout_s
        .map(Duration::from_secs_f64)
        .or(config.timeout);
    if command.session.is_none() {
        let shell = request.shell.as_str();
        config.policy.check_shell(shell).map_err(not_allowed)?;
    }
    let paths = command.monitored_paths.iter().flatten();
    let paths: Vec<AbsPath> = paths
        .map(|path| absolute("monitored_paths", path))
        .collect::<Result<_>>()?;
    config.policy.check_entries(&paths).map_err(not_allowed)?;
    request.snapshot = SnapshotOptions {
        extra_paths: paths,
        metadata: [(
            "command_id".to_owned(),
            Value::from(command.command_id.as_str()),
        )]
        .into(),
        ..snapshot(shared, command.snapshot, command.strategy.as_deref())
    };
    Ok(request)
}

/// What went wrong with a command that ended, in words; empty when all is well. `asked`: the backend
/// asked for its end.
pub(super) fn error_text(report: &RunReport, errors: &str, asked: bool) -> String {
    if report.success {
        return String::new();
    }
    if report.timed_out {
        return format!(
            "timed out after {:.1} s",
            report.duration_ms as f64 / 1000.0
        );
    }
    if report.cancelled {
        let why = if asked {
            "cancelled"
        } else {
            "ended, because the agent is being stopped"
        };
        return why.into();
    }
    match errors.trim() {
        "" => format!("exit code {}", report.exit_code),
        text => text.to_owned(),
    }
}

fn told(command: &Execute, report: RunReport, output: Collected, asked: bool) -> CommandCompleted {
    CommandCompleted {
        error: error_text(&report, &output.errors, asked),
        success: report.success,
        exit_code: Some(report.exit_code),
        snapshot_id: report.snapshot_id,
        snapshot_error: report.snapshot_error,
        changes: Some(report.changes),
        coverage: Some(brief(report.coverage)),
        receipt: report.receipt.map(|receipt| receipt.brief(MAX_COVERAGE)),
        duration_ms: report.duration_ms,
        timed_out: report.timed_out,
        cancelled: report.cancelled && asked,
        interrupted: report.cancelled && !asked,
        output: output.text,
        output_left_out: output.left_out,
        output_file: output.file.map(|path| path.display().to_string()),
        ..blank(command)
    }
}

/// A result with nothing but the ids.
pub(super) fn blank(command: &Execute) -> CommandCompleted {
    CommandCompleted {
        command_id: command.command_id.clone(),
        execution_id: command.execution_id.clone().unwrap_or_default(),
        group_execution: command.group_execution.clone().unwrap_or_default(),
        session: session_of(command),
        ..CommandCompleted::default()
    }
}

/// What is known of a command's session without having asked it.
fn session_of(command: &Execute) -> Option<SessionState> {
    command.session.clone().map(|session| SessionState {
        session,
        ..SessionState::default()
    })
}

fn refused(command: &Execute, error: &Error) -> CommandCompleted {
    CommandCompleted {
        error: error.to_string(),
        ..blank(command)
    }
}

/// The event, which fits a message.
pub(super) fn completed(mut result: CommandCompleted) -> Reply {
    result.error = shorten(&result.error, 20_000);
    let output = std::mem::take(&mut result.output);
    let mut reply = Reply::new("deployment_command_completed", &result);
    let mut used = json_length(&reply.payload);
    if used > MAX_MESSAGE / 2 {
        // Whatever makes it that large, the outcome has to arrive.
        result.coverage = None;
        result.receipt = None;
        result.execution_id = Value::Null;
        result.group_execution = Value::Null;
        reply = Reply::new("deployment_command_completed", &result);
        used = json_length(&reply.payload);
    }
    let room = MAX_MESSAGE.saturating_sub(used + 1000);
    let fitting = fit_output(&output, room);
    if fitting.len() != output.len() {
        let left_out = result.output_left_out + lost(&output, &fitting);
        reply.payload["output_left_out"] = left_out.into();
    }
    reply.payload["output"] = fitting.into();
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_fits_a_message_whatever_is_in_it() {
        let result = CommandCompleted {
            command_id: "c".into(),
            output: "\u{1}".repeat(900_000),
            error: "\u{1}".repeat(900_000),
            execution_id: "\u{1}".repeat(900_000).into(),
            ..CommandCompleted::default()
        };
        let reply = completed(result);
        assert!(reply.payload.to_string().len() < MAX_MESSAGE);
        assert!(
            reply.payload["output"]
                .as_str()
                .is_some_and(|text| text.len() > 1000)
        );
    }
}
