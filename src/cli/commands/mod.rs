//! The commands of the program, one file each.

#[cfg(feature = "agent")]
mod agent;
mod batch;
mod cleanup;
mod diff;
mod doctor;
mod execution;
mod generate;
mod infer;
pub(crate) mod intercept;
mod list;
mod pin;
pub(crate) mod plugins;
mod recover;
mod restore;
mod rollback;
mod run;
mod score;
mod show;
mod verify;

use super::app::App;
use super::args::{Command, PluginsCommand, RulesCommand};
use super::exit::Exit;
use super::failure::Failure;

/// Does what `command` asks for.
pub(crate) fn dispatch(app: &App, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(app, &args),
        Command::Batch(args) => batch::batch(app, &args),
        Command::Rollback(args) => rollback::rollback(app, args),
        Command::List(args) => list::list(app, args),
        Command::Show(args) => show::show(app, &args),
        Command::Diff(args) => diff::diff(app, &args),
        Command::Restore(args) => restore::restore(app, &args),
        Command::Pin(args) => pin::pin(app, &args, true),
        Command::Unpin(args) => pin::pin(app, &args, false),
        Command::Cleanup(args) => cleanup::cleanup(app, &args),
        Command::Verify(args) => verify::verify(app, &args),
        Command::Recover => recover::recover(app),
        Command::Infer(args) => infer::infer(app, &args),
        Command::Doctor(args) => doctor::doctor(app, &args),
        Command::Plugins(args) => match args.command {
            PluginsCommand::List => doctor::plugins(app),
            PluginsCommand::Check(args) => plugins::check(app, &args),
        },
        Command::Rules(args) => match args.command {
            RulesCommand::Score(args) => score::score(app, args),
        },
        #[cfg(feature = "agent")]
        Command::Agent(args) => agent::agent(app, &args),
        Command::Completions(args) => generate::completions(app, &args),
        Command::Man(args) => generate::man(app, &args),
    }
}
