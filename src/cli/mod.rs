//! The command line: a thin front end over [`crate::engine`].
//!
//! Data goes to standard output (text, or one JSON value with `--json`), text for people to
//! standard error. How the program ends is the table in [`exit`].

pub mod exit;

#[cfg(feature = "agent")]
mod agent_files;
#[cfg(feature = "agent")]
mod agent_settings;
mod app;
mod args;
mod commands;
mod config;
mod environment;
mod failure;
mod hints;
mod logging;
mod paths;
mod progress;
mod render;
mod screen;
mod settings;
mod signals;

use std::process::ExitCode;

use clap::Parser as _;

use app::App;
use args::{Cli, Command};
use config::Config;
use environment::Environment;
use exit::{Exit, Family};
use failure::{ErrorDocument, Failure};
use hints::Situation;
use render::text;
use screen::Screen;
use settings::Settings;

use crate::error::ErrorKind;

/// Reads the process's arguments and environment, does what they ask for, and gives the exit code.
pub fn main() -> ExitCode {
    if let Some(exit) = commands::plugins::serve(std::env::args_os()) {
        return exit.into();
    }
    if let Some(exit) = commands::intercept::answer(std::env::args_os()) {
        return exit.into();
    }
    match Cli::try_parse() {
        Ok(cli) => run(cli, Environment::read()).into(),
        Err(error) => {
            // A reader that went away has seen enough.
            let _ = error.print();
            u8::try_from(error.exit_code()).map_or(Exit::Usage.into(), ExitCode::from)
        }
    }
}

fn run(cli: Cli, environment: Environment) -> Exit {
    let preliminary = Settings::preliminary(&cli.global);
    let screen = Screen::new(
        preliminary.color,
        preliminary.json,
        preliminary.quiet,
        &environment,
    );
    let name = command_name(&cli.command);
    let base = std::env::current_dir().ok();
    let settings = match Settings::resolve(&cli.global, &environment, base.as_deref()) {
        Ok(settings) => settings,
        Err(error) => {
            let situation = Situation {
                program: "deployx",
                command: name,
                snapshot_required: false,
            };
            let family = family(&cli.command, &Config::default());
            let mut failure = Failure::from(error);
            if failure.error.kind() == ErrorKind::InvalidRequest {
                failure =
                    failure.with_hint("without --config and DEPLOYX_CONFIG defaults are used");
            }
            return report(&failure, situation, family, screen);
        }
    };
    let app = App::new(settings, environment, cli.global.clone(), base);
    let logging = logging::start(
        app.environment.log.as_deref(),
        app.settings.verbose,
        app.settings.quiet,
        app.screen.err.is_on(),
        log_style(&cli.command, &app.settings.config),
    );
    if let Err(message) = logging {
        app.screen.warn(&text::line(&message));
    }
    let family = family(&cli.command, &app.settings.config);
    match commands::dispatch(&app, cli.command) {
        Ok(exit) => exit,
        Err(failure) => {
            let required = family == Family::Running { required: true };
            report(&failure, app.situation(name, required), family, app.screen)
        }
    }
}

/// Tells what went wrong and what to do next, and gives the exit code.
fn report(failure: &Failure, situation: Situation<'_>, family: Family, screen: Screen) -> Exit {
    let error = &failure.error;
    let hint = failure
        .hint
        .clone()
        .or_else(|| hints::hint(error.kind(), error.stage(), situation));
    // The text comes from the library and may quote foreign names; its line breaks are its own.
    let lines: Vec<String> = error.to_string().lines().map(text::content).collect();
    let palette = screen.err;
    screen::say(&format!(
        "deployx: {} {}\n",
        palette.bad("error:"),
        lines.join("\n")
    ));
    if let Some(hint) = &hint {
        screen::say(&format!("{} {hint}\n", palette.accent("hint:")));
    }
    if screen.json
        && let Err(error) = screen.print_json(&ErrorDocument::new(error, hint.as_deref()))
    {
        screen.warn(&text::line(&error.to_string()));
    }
    failure
        .exit
        .unwrap_or_else(|| Exit::for_error(error.kind(), error.stage(), family))
}

/// How log lines are written, and from which level: an agent tells what it does.
fn log_style(command: &Command, config: &Config) -> logging::Style {
    #[cfg(feature = "agent")]
    if let Command::Agent(args) = command {
        let format = args
            .log_format
            .or(config.agent.log_format)
            .unwrap_or_default();
        return logging::Style {
            json: format == args::LogFormat::Json,
            service: true,
        };
    }
    let _ = (command, config);
    logging::Style::default()
}

/// Whose exit codes apply.
fn family(command: &Command, config: &Config) -> Family {
    let execution = match command {
        Command::Run(args) => &args.execution,
        Command::Batch(args) => &args.execution,
        _ => return Family::Other,
    };
    Family::Running {
        required: execution
            .require_snapshot
            .or(config.run.require_snapshot)
            .unwrap_or_default(),
    }
}

/// The name that a command is called by.
fn command_name(command: &Command) -> &'static str {
    match command {
        Command::Run(_) => "run",
        Command::Batch(_) => "batch",
        Command::Rollback(_) => "rollback",
        Command::List(_) => "list",
        Command::Show(_) => "show",
        Command::Diff(_) => "diff",
        Command::Restore(_) => "restore",
        Command::Pin(_) => "pin",
        Command::Unpin(_) => "unpin",
        Command::Cleanup(_) => "cleanup",
        Command::Verify(_) => "verify",
        Command::Recover => "recover",
        Command::Infer(_) => "infer",
        Command::Doctor(_) => "doctor",
        Command::Plugins(_) => "plugins",
        Command::Rules(_) => "rules",
        #[cfg(feature = "agent")]
        Command::Agent(_) => "agent",
        Command::Completions(_) => "completions",
        Command::Man(_) => "man",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Command {
        Cli::try_parse_from([&["deployx"], arguments].concat())
            .unwrap()
            .command
    }

    #[test]
    fn every_command_is_called_by_its_name() {
        for name in [
            &["run", "--", "x"][..],
            &["batch", "-"],
            &["rollback", "last"],
            &["list"],
            &["show", "last"],
            &["diff", "last"],
            &["restore", "last", "p", "--to", "d"],
            &["pin", "last"],
            &["unpin", "last"],
            &["cleanup"],
            &["verify"],
            &["recover"],
            &["infer", "--", "x"],
            &["doctor"],
            &["plugins", "list"],
            &["rules", "score"],
            &["completions", "bash"],
            &["man"],
            #[cfg(feature = "agent")]
            &["agent", "--server", "http://localhost"],
        ] {
            assert_eq!(command_name(&parse(name)), name[0]);
        }
        // `help` is clap's own.
        assert_eq!(
            Cli::command().get_subcommands().count(),
            18 + usize::from(cfg!(feature = "agent"))
        );
    }

    #[test]
    fn only_run_and_batch_have_codes_of_their_own() {
        let mut config = Config::default();
        let required = Family::Running { required: true };
        let optional = Family::Running { required: false };
        assert_eq!(family(&parse(&["list"]), &config), Family::Other);
        assert_eq!(family(&parse(&["batch", "-"]), &config), optional);
        let run = parse(&["run", "--require-snapshot", "--", "x"]);
        assert_eq!(family(&run, &config), required);
        config.run.require_snapshot = Some(true);
        assert_eq!(family(&parse(&["batch", "-"]), &config), required);
        let run = parse(&["run", "--require-snapshot=false", "--", "x"]);
        assert_eq!(family(&run, &config), optional);
    }
}
