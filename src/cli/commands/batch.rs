//! `deployx batch`: several commands in one shell, one snapshot each.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use super::execution;
use crate::cli::app::App;
use crate::cli::args::BatchArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Bars;
use crate::cli::render::run as render;
use crate::cli::signals::{self, Received};
use crate::engine::{BatchReport, RunContext, RunReport};
use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::execute::Cancel;
use crate::path::{escape, os_string};
use crate::request::BatchRequest;

/// Runs the commands and ends with the exit code of the first one that failed.
pub(super) fn batch(app: &App, args: &BatchArgs) -> Result<Exit, Failure> {
    let config = &app.settings.config;
    let run = execution::request(app, &args.execution)?;
    let inherit_stdin = execution::inherits_stdin(&args.execution, &config.run);
    let commands = commands(&args.file, inherit_stdin)?;
    let total = commands.len();
    let request = BatchRequest {
        batch_id: args.batch_id.clone(),
        commands,
        run,
        keep_going: args
            .keep_going
            .or(config.batch.keep_going)
            .unwrap_or_default(),
    };
    let engine = app.open()?;
    let cancel = Cancel::default();
    let signals = signals::watch(&cancel, signals::RUNNING, app.screen.err_terminal)?;
    let bars = Bars::new(app.screen);
    let mut position = 0;
    let outcome = engine.batch(
        &request,
        RunContext {
            output: execution::output(app),
            inherit_stdin,
            cancel: &cancel,
            progress: &bars,
            on_start: None,
            on_unsecured: Some(&mut |why| execution::warn_of_no_snapshot(app, &bars, why)),
            on_report: Some(&mut |report| {
                position += 1;
                bars.clear();
                announce(app, report, position, total);
            }),
        },
    );
    bars.clear();
    let report = outcome.map_err(|error| execution::not_run(error, &signals))?;
    let exit = exit(&report, &signals);
    summarize(app, &report);
    if app.screen.json {
        app.screen
            .print_json(&report)
            .map_err(|error| execution::not_written(error, exit))?;
    }
    Ok(exit)
}

fn announce(app: &App, report: &RunReport, position: usize, total: usize) {
    execution::tell(app, report);
    let line = render::batch_line(report, position, total, app.screen.err);
    app.screen.note(&line);
}

fn summarize(app: &App, report: &BatchReport) {
    let palette = app.screen.err;
    if let Some(undo) = report.rollback.as_ref().filter(|_| !app.screen.json) {
        for error in render::undo_errors(undo, palette) {
            app.screen.warn(&error);
        }
        if let Some(remark) = render::undo_remark(undo).filter(|_| !app.screen.quiet) {
            app.screen.warn(&remark);
        }
    }
    app.screen
        .note(&render::batch_summary(report, &app.program, palette));
}

/// The code of the first command that failed; 124 when that one timed out.
fn exit(report: &BatchReport, signals: &Received) -> Exit {
    match report.results.iter().find(|one| !one.success) {
        Some(first) => execution::exit(first, signals),
        None => Exit::command(report.exit_code),
    }
}

/// Reads the commands, one a line, from `file` or from standard input.
fn commands(file: &Path, inherit_stdin: bool) -> Result<Vec<OsString>> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, Stage::Request, message);
    let from_stdin = file == Path::new("-");
    let text = if from_stdin {
        if inherit_stdin {
            return Err(invalid(
                "the commands are read from standard input, so they cannot have it as their own: \
                 leave out --stdin, or put the commands into a file"
                    .into(),
            ));
        }
        let mut text = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut text)
            .context(Stage::Request, || "cannot read standard input")?;
        text
    } else {
        std::fs::read(file).context(Stage::Request, || format!("cannot read {}", escape(file)))?
    };
    let commands = split(&text).map_err(|error| invalid(error.to_string()))?;
    if commands.is_empty() {
        let place = if from_stdin {
            "standard input".to_owned()
        } else {
            escape(file)
        };
        return Err(invalid(format!("there is no command in {place}")));
    }
    Ok(commands)
}

/// The lines that hold a command: not those that are blank or begin with `#`.
fn split(text: &[u8]) -> Result<Vec<OsString>, crate::path::PathError> {
    text.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| {
            let line = line.trim_ascii_start();
            !line.is_empty() && line[0] != b'#'
        })
        .map(os_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::run::tests::report;

    #[test]
    fn blank_lines_and_comments_are_no_commands() {
        let text = b"#!/bin/sh\n\ncd app\r\n   \n  # later\nmake # now\nprintf '\\n'";
        assert_eq!(
            split(text).unwrap(),
            ["cd app", "make # now", "printf '\\n'"]
        );
        assert!(split(b"").unwrap().is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn commands_need_not_be_utf8() {
        assert_eq!(
            split(b"rm \xff\n").unwrap(),
            [os_string(b"rm \xff").unwrap()]
        );
    }

    #[test]
    fn a_file_without_commands_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("batch");
        std::fs::write(&file, "# nothing\n").unwrap();
        let error = commands(&file, false).unwrap_err();
        assert!(error.to_string().contains("no command"), "{error}");
        let error = commands(&dir.path().join("gone"), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn standard_input_cannot_be_used_twice() {
        let error = commands(Path::new("-"), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn the_first_failure_decides() {
        let failed = |code, timed_out| RunReport {
            exit_code: code,
            success: false,
            timed_out,
            ..report()
        };
        let mut batch = BatchReport {
            batch_id: "b".into(),
            success: false,
            exit_code: 3,
            total_commands: 3,
            successful_commands: 1,
            failed_commands: 2,
            results: vec![report(), failed(3, false), failed(9, true)],
            skipped: Vec::new(),
            rollback: None,
        };
        let signals = Received::default();
        assert_eq!(exit(&batch, &signals).code(), 3);
        batch.results.remove(1);
        assert_eq!(exit(&batch, &signals).code(), 124);
        batch.results.remove(1);
        batch.exit_code = 0;
        assert_eq!(exit(&batch, &signals).code(), 0);
    }
}
