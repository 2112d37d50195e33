//! `deployx run`: a command with a snapshot around it.

use super::execution;
use crate::cli::app::{App, short_id};
use crate::cli::args::RunArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Bars;
use crate::cli::render::run::{self as render, Naming};
use crate::cli::signals;
use crate::engine::{Engine, RunContext, RunReport};
use crate::execute::Cancel;

/// Runs the command and ends with its exit code.
pub(super) fn run(app: &App, args: &RunArgs) -> Result<Exit, Failure> {
    let mut request = execution::request(app, &args.execution)?;
    request.command = execution::command_line(&request.shell, &args.command)?;
    let engine = app.open()?;
    let cancel = Cancel::default();
    let signals = signals::watch(&cancel, signals::RUNNING, app.screen.err_terminal)?;
    let bars = Bars::new(app.screen);
    let outcome = engine.run(
        &request,
        RunContext {
            output: execution::output(app),
            inherit_stdin: execution::inherits_stdin(&args.execution, &app.settings.config.run),
            cancel: &cancel,
            progress: &bars,
            on_start: None,
            on_unsecured: Some(&mut |why| execution::warn_of_no_snapshot(app, &bars, why)),
            on_report: None,
        },
    );
    bars.clear();
    let report = outcome.map_err(|error| execution::not_run(error, &signals))?;
    let exit = execution::exit(&report, &signals);
    summarize(app, &engine, &report);
    if app.screen.json {
        app.screen
            .print_json(&report)
            .map_err(|error| execution::not_written(error, exit))?;
    }
    Ok(exit)
}

fn summarize(app: &App, engine: &Engine, report: &RunReport) {
    execution::tell(app, report);
    if app.screen.quiet || app.screen.json {
        return;
    }
    let target = report
        .snapshot_id
        .as_deref()
        .map(|id| short_id(engine, id))
        .unwrap_or_default();
    let naming = Naming {
        program: &app.program,
        target: &target,
    };
    app.screen
        .note(&render::summary(report, naming, app.screen.err));
}
