//! What `run`, `batch` and `infer` have in common: making requests and judging their outcome.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::cli::app::App;
use crate::cli::args::ExecutionArgs;
use crate::cli::config::{Config, RunSection};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::paths;
use crate::cli::progress::Bars;
use crate::cli::render::run as render;
use crate::cli::signals::Received;
use crate::engine::RunReport;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::{Output, quote_arguments};
use crate::path::AbsPath;
use crate::request::{RunRequest, ShellName, SnapshotOptions};

/// The request that the arguments and the configuration make together, with an empty command.
pub(super) fn request(app: &App, args: &ExecutionArgs) -> Result<RunRequest> {
    let config = &app.settings.config.run;
    let cwd = directory(app, args.cwd.as_deref())?;
    let snapshot = snapshot(args, &app.settings.config, &cwd)?;
    let rollback_on_failure = args
        .rollback_on_failure
        .or(config.rollback_on_failure)
        .unwrap_or_default();
    if snapshot.disabled && rollback_on_failure {
        return Err(contradiction(
            "without a snapshot there is nothing to roll back to: leave out --no-snapshot or \
             --rollback-on-failure",
        ));
    }
    let mut request = RunRequest::new("", cwd);
    request.shell = shell(args.shell.as_deref(), config);
    request.env = variables(args, config);
    request.timeout = timeout(args.timeout, config);
    request.snapshot = snapshot;
    request.rollback_on_failure = rollback_on_failure;
    Ok(request)
}

/// Where commands start: the flag, else the configuration, else the current directory.
pub(super) fn directory(app: &App, flag: Option<&Path>) -> Result<AbsPath> {
    let path = flag.or(app.settings.config.run.cwd.as_deref());
    match path {
        Some(path) if path.is_absolute() => paths::directory(Path::new("/"), path),
        Some(path) => paths::directory(app.base()?, path),
        None => paths::directory(app.base()?, Path::new(".")),
    }
}

/// The shell: the flag, else the configuration, else the host's ordinary one.
pub(super) fn shell(flag: Option<&str>, config: &RunSection) -> ShellName {
    flag.or(config.shell.as_deref())
        .map(ShellName::new)
        .unwrap_or_default()
}

/// One argument is a command line; several are quoted, so that the shell passes them on as they
/// are.
pub(super) fn command_line(shell: &ShellName, arguments: &[OsString]) -> Result<OsString> {
    let line = match arguments {
        [line] => line.clone(),
        several => quote_arguments(shell, several)?,
    };
    if line.as_encoded_bytes().trim_ascii().is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Request,
            "the command is empty",
        ));
    }
    Ok(line)
}

/// Commands write straight to the terminal; under `--json` standard output is for the result.
pub(super) fn output(app: &App) -> Output {
    Output::Inherit {
        stdout_to_stderr: app.screen.json,
    }
}

/// Whether commands get this process's standard input.
pub(super) fn inherits_stdin(args: &ExecutionArgs, config: &RunSection) -> bool {
    args.stdin.or(config.stdin).unwrap_or_default()
}

/// Says before a command runs that it cannot be undone; an error keeps it from running.
pub(super) fn warn_of_no_snapshot(app: &App, bars: &Bars, why: &str) -> Result<()> {
    bars.clear();
    app.screen.must_warn(&render::no_snapshot(why))
}

/// Writes what went wrong around a command, and remarks where they are wanted. Under `--json` both
/// are in the result.
pub(super) fn tell(app: &App, report: &RunReport) {
    if app.screen.json {
        return;
    }
    let palette = app.screen.err;
    for error in render::errors(report, palette) {
        app.screen.warn(&error);
    }
    if !app.screen.quiet {
        for remark in render::remarks(report) {
            app.screen.warn(&remark);
        }
    }
}

/// The exit code after a command that ran.
pub(super) fn exit(report: &RunReport, signals: &Received) -> Exit {
    if report.timed_out {
        return Exit::TimedOut;
    }
    // A command that ends well when it is told to end was still cut short.
    match signals.number() {
        Some(number) if report.cancelled && report.exit_code == 0 => Exit::signal(number),
        _ => Exit::command(report.exit_code),
    }
}

/// A failure before the command ran; when it was the user who ended it, the code says so.
pub(super) fn not_run(error: Error, signals: &Received) -> Failure {
    let mut failure = Failure::from(error);
    if failure.error.kind() == ErrorKind::Cancelled {
        failure.exit = signals.number().map(Exit::signal);
    }
    failure
}

/// A failure to write the result of a command that ran: its own failure goes before this one.
pub(super) fn not_written(error: Error, exit: Exit) -> Failure {
    let mut failure = Failure::from(error);
    failure.exit = Some(match exit.code() {
        0 => Exit::Failed,
        _ => exit,
    });
    failure
}

fn snapshot(args: &ExecutionArgs, config: &Config, cwd: &AbsPath) -> Result<SnapshotOptions> {
    let run = &config.run;
    let (disabled, required) = snapshot_wanted(args, run)?;
    let of = |flags: &[_], keys: &[_]| {
        let chosen = if flags.is_empty() { keys } else { flags };
        paths::entries(cwd.as_path(), chosen)
    };
    let strategies = if args.strategy.is_empty() {
        &run.strategy
    } else {
        &args.strategy
    };
    Ok(SnapshotOptions {
        disabled,
        required,
        strategies: strategies
            .iter()
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .collect(),
        replace_paths: of(&args.path, &run.path)?,
        extra_paths: of(&args.also, &run.also)?,
        exclude: args.exclude.clone(),
        watch_outside: args.watch_outside.or(run.watch_outside).unwrap_or_default(),
        ..SnapshotOptions::default()
    })
}

/// Whether snapshots are switched off, and whether they are required. A flag overrides the other
/// one's key in the configuration; two flags, or two keys, that contradict are refused.
fn snapshot_wanted(args: &ExecutionArgs, config: &RunSection) -> Result<(bool, bool)> {
    let (no, require) = match (args.no_snapshot, args.require_snapshot) {
        (Some(true), None) => (Some(true), Some(false)),
        (None, Some(true)) => (Some(false), Some(true)),
        flags => flags,
    };
    let disabled = no.or(config.no_snapshot).unwrap_or_default();
    let required = require.or(config.require_snapshot).unwrap_or_default();
    if disabled && required {
        return Err(contradiction(
            "a snapshot cannot be both required and switched off: choose one of \
             --require-snapshot and --no-snapshot",
        ));
    }
    Ok((disabled, required))
}

/// The configuration's variables, then the flags', so that these win.
fn variables(args: &ExecutionArgs, config: &RunSection) -> Vec<(OsString, OsString)> {
    config
        .env
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .chain(args.env.iter().cloned())
        .collect()
}

/// The time limit; zero stands for none.
fn timeout(flag: Option<Duration>, config: &RunSection) -> Option<Duration> {
    flag.or(config.timeout()).filter(|time| !time.is_zero())
}

fn contradiction(message: &str) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::run::tests::report;

    #[test]
    fn an_empty_command_is_refused() {
        let shell = ShellName::new("bash");
        for empty in ["", " ", "\n\t"] {
            let error = command_line(&shell, &[empty.into()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
        assert_eq!(
            command_line(&shell, &["rm -rf 'a b'".into()]).unwrap(),
            "rm -rf 'a b'"
        );
    }

    #[test]
    fn a_flag_overrides_the_opposite_key() {
        let config = RunSection {
            require_snapshot: Some(true),
            ..RunSection::default()
        };
        let mut args = ExecutionArgs::default();
        assert_eq!(snapshot_wanted(&args, &config).unwrap(), (false, true));
        args.no_snapshot = Some(true);
        assert_eq!(snapshot_wanted(&args, &config).unwrap(), (true, false));
        args.require_snapshot = Some(true);
        assert!(snapshot_wanted(&args, &config).is_err());
        args.no_snapshot = Some(false);
        assert_eq!(snapshot_wanted(&args, &config).unwrap(), (false, true));
    }

    #[test]
    fn flags_replace_lists_and_add_variables() {
        let mut config = Config::default();
        config.run.strategy = vec!["copy".into()];
        config.run.also = vec!["/etc".into()];
        config.run.env = [("A".to_owned(), "1".to_owned())].into();
        let cwd = AbsPath::new("/").unwrap();
        let mut args = ExecutionArgs::default();
        let options = snapshot(&args, &config, &cwd).unwrap();
        assert_eq!(options.strategies, ["copy"]);
        assert_eq!(options.extra_paths, [AbsPath::new("/etc").unwrap()]);

        args.strategy = vec!["reflink".into(), " copy ".into(), String::new()];
        args.also = vec!["new".into()];
        args.env = vec![("A".into(), "2".into())];
        let options = snapshot(&args, &config, &cwd).unwrap();
        assert_eq!(options.strategies, ["reflink", "copy"]);
        assert_eq!(options.extra_paths, [AbsPath::new("/new").unwrap()]);
        assert_eq!(
            variables(&args, &config.run),
            [("A".into(), "1".into()), ("A".into(), "2".into())]
        );
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let config = RunSection {
            timeout_seconds: Some(5.0),
            ..RunSection::default()
        };
        let seconds = Duration::from_secs;
        assert_eq!(timeout(None, &config), Some(seconds(5)));
        assert_eq!(timeout(Some(seconds(9)), &config), Some(seconds(9)));
        assert_eq!(timeout(Some(Duration::ZERO), &config), None);
        assert_eq!(timeout(None, &RunSection::default()), None);
    }

    #[test]
    fn the_exit_code_is_the_commands_own() {
        let signals = Received::default();
        let mut report = report();
        report.exit_code = 3;
        assert_eq!(exit(&report, &signals).code(), 3);
        report.timed_out = true;
        assert_eq!(exit(&report, &signals).code(), 124);
    }

    #[test]
    fn a_lost_result_never_looks_successful() {
        let error = || Error::new(ErrorKind::Io, Stage::Request, "full");
        assert_eq!(not_written(error(), Exit::Done).exit, Some(Exit::Failed));
        let own = Exit::Command(3);
        assert_eq!(not_written(error(), own).exit, Some(own));
    }
}
