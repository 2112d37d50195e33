//! `execute_batch_persistent`

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::execute::{admit, count, error_text};
use super::parts::{MAX_COVERAGE, shell, snapshot, variables, working_directory};
use super::{NOT_BEGUN, check_wanted};
use crate::agent::output::{CommandOutput, Source};
use crate::agent::shared::Shared;
use crate::agent::state::Kind;
use crate::agent::wire::{
    Batch, BatchCommandCompleted, BatchCompleted, ExecutionResult, MAX_MESSAGE, Reply,
    encoded_length, fit_output, json_length, lost, shorten,
};
use crate::engine::{RunContext, RunReport, Starting};
use crate::error::{Error, ErrorKind, Result};
use crate::execute::{Cancel, Output};
use crate::progress::Silent;
use crate::request::{BatchRequest, RunRequest};
use crate::seal::Receipt;

/// What a command that was not run has for an error.
pub(super) const SKIPPED: &str = "Skipped due to previous failure";

/// Runs a batch and sends its results. A defect of this program gives a result as well.
pub(super) fn run(shared: &Arc<Shared>, batch: &Batch, cancel: &Cancel) {
    let results = RefCell::new(Vec::new());
    let _last_word = LastWord {
        shared,
        batch,
        results: &results,
    };
    let room = room_for_each(shared, batch.commands.len());
    let source = Source::Batch(batch.batch_id.clone());
    let sink = CommandOutput::new(Arc::clone(shared), source, cancel.clone(), room);
    let sink = Arc::new(sink);
    let ended = attempt(shared, batch, cancel, &sink, &results);
    let cancelled = shared.was_cancelled(Kind::Batch, &batch.batch_id);
    let (output, output_left_out) = sink.take_all();
    let results = results.take();
    let error = ended.err();
    // Whoever stops the agent ends what still runs after a while, and lets nothing more begin.
    let ended_by_stop = cancel.is_cancelled() && results.last().is_some_and(|one| !one.success);
    let kept_by_stop = error.as_ref().map(Error::kind) == Some(ErrorKind::Cancelled);
    let stopped = (ended_by_stop || kept_by_stop) && !cancelled;
    let error = error.map_or_else(String::new, |error| error.to_string());
    let others = if stopped { NOT_BEGUN } else { SKIPPED };
    let rest = Rest::after(&error, others);
    let completed = BatchCompleted {
        batch_id: batch.batch_id.clone(),
        output,
        output_left_out,
        error: match results.len() {
            ran @ 1.. if kept_by_stop && stopped => {
                format!("the agent is being stopped; commands that ran: {ran}")
            }
            _ => error,
        },
        cancelled,
        interrupted: stopped && !results.is_empty(),
        ..BatchCompleted::default()
    };
    for _ in results.len()..batch.commands.len() {
        shared.metrics.command(None);
    }
    let completed = conclude(completed, batch, results, &rest);
    shared.metrics.batches.add(1);
    tracing::info!(
        batch_id = %batch.batch_id.escape_debug(),
        success = completed.success,
        successful = completed.successful_commands,
        total = completed.total_commands,
        "a batch has ended"
    );
    shared.finish(Kind::Batch, &batch.batch_id, &fitting(completed));
}

/// Sends a result where a defect of this program kept that from happening.
struct LastWord<'a> {
    shared: &'a Shared,
    batch: &'a Batch,
    results: &'a RefCell<Vec<ExecutionResult>>,
}

impl Drop for LastWord<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let completed = BatchCompleted {
                batch_id: self.batch.batch_id.clone(),
                error: "a defect of the agent; see its log".into(),
                ..BatchCompleted::default()
            };
            let results = self.results.try_borrow_mut();
            let results = results.map_or_else(|_| Vec::new(), |mut all| std::mem::take(&mut *all));
            let rest = Rest::after(&completed.error, SKIPPED);
            let completed = conclude(completed, self.batch, results, &rest);
            self.shared
                .finish(Kind::Batch, &self.batch.batch_id, &fitting(completed));
        }
    }
}

/// Runs the commands; each one's result is in `results` as soon as it is there.
fn attempt(
    shared: &Arc<Shared>,
    batch: &Batch,
    cancel: &Cancel,
    sink: &Arc<CommandOutput>,
    results: &RefCell<Vec<ExecutionResult>>,
) -> Result<()> {
    check_wanted(shared, cancel)?;
    let request = request(shared, batch)?;
    shared.state.start(Kind::Batch, &batch.batch_id)?;
    let pass = shared.gate.command(&format!("batch {}", batch.batch_id));
    let mut on_start = |starting: &Starting<'_>| {
        let index = starting.index as usize;
        progress(shared, batch, index, cancel);
        admit(shared, &pass, &[], cancel, starting)?;
        note(shared.state.begin_step(&batch.batch_id, index));
        Ok(())
    };
    let mut on_report = |report: &RunReport| {
        count(shared, report);
        let index = results.borrow().len();
        let result = told(shared, batch, index, report, sink);
        announce(shared, batch, &result, report.receipt.clone());
        results.borrow_mut().push(result);
    };
    let mut context = RunContext::new(Output::Stream(Arc::clone(sink) as _), cancel, &Silent);
    context.on_start = Some(&mut on_start);
    context.on_report = Some(&mut on_report);
    shared.engine.batch(&request, context)?;
    let results = results.borrow();
    let goes_on = request.keep_going || results.last().is_some_and(|one| one.success);
    if goes_on && results.len() < batch.commands.len() {
        // It was ended between two commands.
        check_wanted(shared, cancel)?;
    }
    Ok(())
}

/// A batch goes on where its progress cannot be noted: only what is told after a crash depends on it.
fn note(noted: Result<()>) {
    if let Err(error) = noted {
        tracing::warn!(%error, "how far a batch is cannot be noted");
    }
}

fn request(shared: &Shared, batch: &Batch) -> Result<BatchRequest> {
    let mut run = RunRequest::new("", working_directory(shared, batch.cwd.as_deref())?);
    run.shell = shell(batch.shell.as_deref());
    let policy = &shared.config().policy;
    policy
        .check_shell(run.shell.as_str())
        .map_err(super::reach::refused)?;
    run.env = variables(batch.env.as_ref())?;
    run.timeout = batch
        .timeout_s
        .map(Duration::from_secs_f64)
        .or(shared.config().timeout);
    run.snapshot = snapshot(shared, batch.snapshot, batch.strategy.as_deref());
    Ok(BatchRequest {
        batch_id: Some(batch.batch_id.clone()),
        commands: batch.commands.iter().map(Into::into).collect(),
        run,
        keep_going: batch.stop_on_failure == Some(false),
    })
}

/// Bytes of output that the result keeps of each command.
fn room_for_each(shared: &Shared, commands: usize) -> usize {
    let all = shared.config().result_output.max(64 << 10) * 2;
    (all / commands.max(1)).clamp(256, shared.config().result_output.max(256))
}

fn progress(shared: &Shared, batch: &Batch, index: usize, cancel: &Cancel) {
    let command = batch.commands.get(index).map_or("", String::as_str);
    let total = batch.commands.len();
    let output = format!("[{}/{total}] {}\n", index + 1, shorten(command, 1000));
    let reply = Reply::new(
        "batch_command_progress",
        json!({
            "batch_id": batch.batch_id,
            "command_index": index,
            "command": fit_output(command, 100_000),
            "output": output,
            "status": "running",
            "total": total,
        }),
    );
    shared.outgoing.live(reply, &|| !cancel.is_cancelled());
}

fn told(
    shared: &Shared,
    batch: &Batch,
    index: usize,
    report: &RunReport,
    sink: &CommandOutput,
) -> ExecutionResult {
    let output = sink.take();
    let asked = shared.was_cancelled(Kind::Batch, &batch.batch_id);
    ExecutionResult {
        command: batch.commands.get(index).cloned().unwrap_or_default(),
        index,
        success: report.success,
        error: error_text(report, &output.errors, asked),
        output: output.text,
        output_left_out: output.left_out,
        output_file: output.file.map(|path| path.display().to_string()),
        execution_time: report.duration_ms as f64 / 1000.0,
        snapshot_id: report.snapshot_id.clone(),
        exit_code: Some(report.exit_code),
    }
}

fn announce(shared: &Shared, batch: &Batch, result: &ExecutionResult, receipt: Option<Receipt>) {
    shared.metrics.command(Some(result.success));
    note(noted(shared, batch, result));
    let output = fit_output(&result.output, MAX_MESSAGE / 2);
    let command = fit_output(&result.command, 100_000);
    shared.post(&Reply::new(
        "batch_command_completed",
        BatchCommandCompleted {
            batch_id: batch.batch_id.clone(),
            command_index: result.index,
            command,
            success: result.success,
            output_left_out: result.output_left_out + lost(&result.output, &output),
            output,
            output_file: result.output_file.clone(),
            error: shorten(&result.error, 20_000),
            snapshot_id: result.snapshot_id.clone(),
            exit_code: result.exit_code,
            receipt: receipt.map(|receipt| receipt.brief(MAX_COVERAGE)),
        },
    ));
}

/// Notes how a command ended, for an agent that comes after a crash.
fn noted(shared: &Shared, batch: &Batch, result: &ExecutionResult) -> Result<()> {
    let outcome = ExecutionResult {
        // The request has it, and the output was sent.
        command: String::new(),
        output: String::new(),
        output_left_out: result.output_left_out + result.output.len() as u64,
        error: shorten(&result.error, 20_000),
        ..result.clone()
    };
    // Texts and numbers always serialise.
    let outcome = serde_json::to_string(&outcome).unwrap_or_default();
    shared
        .state
        .end_step(&batch.batch_id, result.index, &outcome)
}

/// Why commands were not run.
pub(super) struct Rest {
    first: String,
    others: &'static str,
}

impl Rest {
    /// All of them for the same reason.
    pub(super) fn all(reason: &'static str) -> Self {
        Self {
            first: reason.to_owned(),
            others: reason,
        }
    }

    /// The first could not be started because of `error`, where there is one; the others follow.
    fn after(error: &str, others: &'static str) -> Self {
        let mut rest = Self::all(others);
        if !error.is_empty() {
            error.clone_into(&mut rest.first);
        }
        rest
    }
}

/// Puts results in their places, adds the commands that were not run, and counts.
pub(super) fn conclude(
    mut completed: BatchCompleted,
    batch: &Batch,
    results: Vec<ExecutionResult>,
    rest: &Rest,
) -> BatchCompleted {
    let mut there: BTreeMap<usize, ExecutionResult> =
        results.into_iter().map(|one| (one.index, one)).collect();
    let mut reasons = std::iter::once(rest.first.as_str()).chain(std::iter::repeat(rest.others));
    let commands = batch.commands.iter().enumerate();
    let results = commands.map(|(index, command)| match there.remove(&index) {
        Some(result) => result,
        None => ExecutionResult {
            command: command.clone(),
            index,
            error: reasons.next().unwrap_or_default().to_owned(),
            ..ExecutionResult::default()
        },
    });
    let results: Vec<ExecutionResult> = results.collect();
    completed.total_commands = batch.commands.len();
    completed.successful_commands = results.iter().filter(|one| one.success).count();
    completed.failed_commands = completed.total_commands - completed.successful_commands;
    completed.success = completed.failed_commands == 0 && completed.error.is_empty();
    if completed.error.is_empty()
        && let Some(first) = results.iter().find(|one| !one.success)
    {
        completed.error = format!("command {} failed: {}", first.index + 1, first.error);
    }
    completed.snapshot_ids = results
        .iter()
        .filter_map(|one| one.snapshot_id.clone())
        .collect();
    completed.execution_results = results;
    completed
}

/// The event, which fits a message: outputs are shortened first, then command lines and errors.
pub(super) fn fitting(mut completed: BatchCompleted) -> Reply {
    let event = "batch_execution_completed";
    completed.error = shorten(&completed.error, 20_000);
    let count = completed.execution_results.len().max(1);
    for most in [usize::MAX, 100_000, 10_000, 1_000, 200, 50, 10] {
        let room = most.min(MAX_MESSAGE / 2 / count);
        for one in &mut completed.execution_results {
            let output = fit_output(&one.output, room.min(encoded_length(&one.output)));
            one.output_left_out += lost(&one.output, &output);
            one.output = output;
            if most < usize::MAX {
                one.command = shorten(&one.command, most);
                one.error = shorten(&one.error, most);
            }
        }
        let output = fit_output(&completed.output, (MAX_MESSAGE / 4).min(most));
        completed.output_left_out += lost(&completed.output, &output);
        completed.output = output;
        let reply = Reply::new(event, &completed);
        if json_length(&reply.payload) < MAX_MESSAGE {
            return reply;
        }
    }
    leave_some_out(&mut completed);
    Reply::new(event, &completed)
}

/// Takes results out until the rest fits a message: of thousands of commands the failed ones tell most,
/// then the first. `batch_command_completed` has told of each.
fn leave_some_out(completed: &mut BatchCompleted) {
    let results = std::mem::take(&mut completed.execution_results);
    let mut left =
        MAX_MESSAGE.saturating_sub(json_length(&Reply::new("", &*completed).payload) + 100);
    let mut listed = BTreeSet::new();
    for wanted in [false, true] {
        for (place, one) in results.iter().enumerate() {
            let bytes = json_length(&Reply::new("", one).payload) + 1;
            if one.success == wanted && bytes <= left {
                left -= bytes;
                listed.insert(place);
            }
        }
    }
    completed.not_listed = (results.len() - listed.len()) as u64;
    completed.execution_results = results
        .into_iter()
        .enumerate()
        .filter(|(place, _)| listed.contains(place))
        .map(|(_, one)| one)
        .collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(commands: usize) -> Batch {
        serde_json::from_value(json!({
            "batch_id": "b",
            "commands": vec!["false"; commands],
        }))
        .unwrap()
    }

    fn result(index: usize, success: bool) -> ExecutionResult {
        ExecutionResult {
            command: "false".into(),
            index,
            success,
            error: if success {
                String::new()
            } else {
                "exit code 1".into()
            },
            ..ExecutionResult::default()
        }
    }

    #[test]
    fn commands_after_a_failure_are_listed_as_skipped() {
        let done = conclude(
            BatchCompleted::default(),
            &batch(4),
            vec![result(0, true), result(1, false)],
            &Rest::after("", SKIPPED),
        );
        let errors: Vec<_> = done
            .execution_results
            .iter()
            .map(|r| r.error.as_str())
            .collect();
        assert_eq!(errors, ["", "exit code 1", SKIPPED, SKIPPED]);
        assert_eq!(
            (
                done.total_commands,
                done.successful_commands,
                done.failed_commands
            ),
            (4, 1, 3)
        );
        assert!(!done.success);
        assert_eq!(done.error, "command 2 failed: exit code 1");
    }

    #[test]
    fn a_result_fits_a_message_however_large_the_batch() {
        for (commands, output) in [(1, 900_000), (100, 20_000), (10_000, 200)] {
            let rest = Rest::after("", SKIPPED);
            let all = BatchCompleted::default();
            let mut done = conclude(all, &batch(commands), Vec::new(), &rest);
            for one in &mut done.execution_results {
                one.output = "\u{1}".repeat(output);
                one.command = "\u{1}".repeat(200);
            }
            done.output = "\u{1}".repeat(900_000);
            let reply = fitting(done);
            let length = reply.payload.to_string().len();
            assert!(length < MAX_MESSAGE, "{commands}: {length}");
            let listed = reply.payload["execution_results"].as_array().unwrap().len();
            let not_listed = reply.payload["not_listed"].as_u64().unwrap_or_default();
            assert!(listed >= commands.min(3000), "{listed}");
            assert_eq!(listed as u64 + not_listed, commands as u64);
        }
    }
}
