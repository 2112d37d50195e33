//! The arguments, as clap reads them.
//!
//! A switch is an `Option<bool>`: `--json` and `--json=true` switch on, `--json=false` overrides a
//! configuration that switches on, and its absence leaves the decision to the configuration.

#[cfg(feature = "agent")]
mod agent;
mod inspect;
mod maintain;
mod run;
mod undo;
pub(crate) mod values;

#[cfg(feature = "agent")]
pub(crate) use agent::{AgentArgs, LogFormat};
pub(crate) use inspect::{DiffArgs, DoctorArgs, ListArgs, ShowArgs};
pub(crate) use maintain::{
    CleanupArgs, CompletionsArgs, ManArgs, PinArgs, PluginFileArgs, PluginsArgs, PluginsCommand,
    RulesArgs, RulesCommand, ScoreArgs, VerifyArgs,
};
pub(crate) use run::{BatchArgs, ExecutionArgs, InferArgs, RunArgs};
pub(crate) use undo::{RestoreArgs, RollbackArgs};

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;

use crate::cli::exit::Exit;
use crate::cli::render::text::Lines as _;
use crate::request::OnConflict;
use crate::store::Compression;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "deployx",
    version,
    about = "Run shell commands with an exact undo",
    long_about = "DeployX runs shell commands and takes them back: before a command runs, the old \
                  state of whatever it may touch is secured; `deployx rollback` gives it back.",
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = after_help(),
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    #[arg(help = "Where snapshots are kept [env: DEPLOYX_SNAPSHOT_DIR]")]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) snapshot_dir: Option<PathBuf>,
    #[arg(help = "Read defaults from this TOML file [env: DEPLOYX_CONFIG]")]
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON value on standard output instead of text
    #[arg(long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) json: Option<bool>,
    /// No summaries, no progress; errors are still shown
    #[arg(short, long, global = true, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) quiet: Option<bool>,
    /// Say more on standard error; twice: even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Keep the whole store within this many bytes (10G): the oldest snapshots expire
    #[arg(long, value_name = "BYTES", global = true, value_parser = values::bytes)]
    pub(crate) max_store_size: Option<u64>,
    /// When to use colours
    #[arg(long, value_name = "WHEN", global = true)]
    pub(crate) color: Option<ColorMode>,
    /// Whether old content is compressed
    #[arg(long, value_name = "WHEN", global = true)]
    pub(crate) compression: Option<CompressionMode>,
    #[arg(help = "Look here for rule plugins first [env: DEPLOYX_PLUGIN_DIR]")]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) plugin_dir: Vec<PathBuf>,
    #[arg(help = "Look here for your own rules (SHELL.toml) [env: DEPLOYX_RULES_DIR]")]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) rules_dir: Vec<PathBuf>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorMode {
    /// On a terminal, unless it is switched off there.
    #[value(help = "On a terminal, unless NO_COLOR is set")]
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Whether old content is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CompressionMode {
    /// Where that saves space
    #[default]
    Auto,
    /// Never; what is compressed already is read all the same
    Off,
}

impl From<CompressionMode> for Compression {
    fn from(mode: CompressionMode) -> Self {
        match mode {
            CompressionMode::Auto => Compression::Auto,
            CompressionMode::Off => Compression::Off,
        }
    }
}

/// What to do with entries that are no longer as the command left them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConflictMode {
    /// Change nothing at all
    #[default]
    Abort,
    /// Leave the conflicting entries, restore the others
    Skip,
    /// Restore them too; their current state is saved first
    Overwrite,
}

impl From<ConflictMode> for OnConflict {
    fn from(mode: ConflictMode) -> Self {
        match mode {
            ConflictMode::Abort => OnConflict::Abort,
            ConflictMode::Skip => OnConflict::Skip,
            ConflictMode::Overwrite => OnConflict::Overwrite,
        }
    }
}

/// One command of the program.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command with a snapshot around it
    #[command(long_about = run::RUN_ABOUT)]
    Run(RunArgs),
    /// Run several commands in one shell, one snapshot each
    #[command(long_about = run::BATCH_ABOUT)]
    Batch(BatchArgs),
    /// Take a command back
    #[command(long_about = undo::ROLLBACK_ABOUT)]
    Rollback(RollbackArgs),
    /// List snapshots, newest first
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show everything about one snapshot
    Show(ShowArgs),
    /// Show what a command changed
    Diff(DiffArgs),
    /// Copy old state out without touching the live tree
    #[command(long_about = undo::RESTORE_ABOUT)]
    Restore(RestoreArgs),
    /// Exempt a snapshot from expiry
    Pin(PinArgs),
    /// Let a pinned snapshot expire again
    Unpin(PinArgs),
    /// Delete expired snapshots now
    #[command(long_about = maintain::CLEANUP_ABOUT)]
    Cleanup(CleanupArgs),
    /// Check stored content against its hashes
    Verify(VerifyArgs),
    /// Finish or undo interrupted work
    #[command(after_help = "Every run, batch and rollback does this at its start as well.")]
    Recover,
    /// Show which paths a command is expected to touch; runs nothing
    #[command(long_about = run::INFER_ABOUT)]
    Infer(InferArgs),
    /// Show what works on this host
    Doctor(DoctorArgs),
    /// Show the rule sets that read command lines
    Plugins(PluginsArgs),
    /// Judge the rules by what commands did
    Rules(RulesArgs),
    /// Make this host operable by a backend
    #[cfg(feature = "agent")]
    #[command(long_about = agent::AGENT_ABOUT)]
    Agent(Box<AgentArgs>),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them
    Man(ManArgs),
}

/// The end of `deployx --help` and of the manual page.
fn after_help() -> String {
    let mut text = String::from(
        "Examples:\n  \
         deployx run -- 'rm -rf build && make'    run a command line\n  \
         deployx rollback last                    take the last command back\n  \
         deployx diff last                        see what it changed\n  \
         deployx list --since 2h                  what ran in the last two hours\n\n\
         Exit codes (run and batch end with the command's own; 128+n: ended by signal n):\n",
    );
    for (exit, meaning) in Exit::TABLE {
        text.line(format_args!("  {:>3}  {meaning}", exit.code()));
    }
    text.push_str(
        "\nEnvironment:\n  \
         DEPLOYX_SNAPSHOT_DIR  where snapshots are kept\n  \
         DEPLOYX_CONFIG        configuration file\n  \
         DEPLOYX_AGENT_TOKEN   the agent's token for its backend\n  \
         DEPLOYX_LOG           what is logged on standard error, for example deployx=debug\n  \
         NO_COLOR              no colours unless --color=always\n\n\
         A flag goes before the environment, the environment before the configuration file.\n\
         Without any, snapshots are in /var/lib/deployx/snapshots where an administrator made\n\
         /var/lib/deployx, else in .deployx_snapshots in the system's temp directory.\n\
         With --json, an error other than wrong usage is printed on standard output as\n\
         {\"error\": {\"kind\", \"stage\", \"message\", \"hint\"}}, and as text on standard error.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(arguments: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["deployx"], arguments].concat())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_flags() {
        let cli = parse(&["run", "--json", "--", "ls", "--quiet", "-la"]).unwrap();
        assert_eq!(cli.global.json, Some(true));
        assert_eq!(cli.global.quiet, None);
        let Command::Run(run) = cli.command else {
            panic!("not run");
        };
        assert_eq!(run.command, ["ls", "--quiet", "-la"]);
    }

    #[test]
    fn unknown_flags_are_not_taken_for_the_command() {
        assert!(parse(&["run", "--no-such-flag", "ls"]).is_err());
        assert!(parse(&["run"]).is_err());
        assert!(parse(&["run", "--"]).is_err());
    }

    #[test]
    fn switches_can_be_switched_off() {
        let cli = parse(&["list", "--json=false"]).unwrap();
        assert_eq!(cli.global.json, Some(false));
        let cli = parse(&["--json", "list"]).unwrap();
        assert_eq!(cli.global.json, Some(true));
        assert!(parse(&["list", "--json=perhaps"]).is_err());
    }

    #[test]
    fn what_cannot_be_combined_is_refused() {
        for bad in [
            &["diff", "last", "--stat", "--name-status"][..],
            &["cleanup", "abcd1234", "--max-age", "3"],
            &["restore", "last", "/etc/hosts"],
            &["restore", "last", "--to", "/tmp"],
            &["run", "--timeout", "-3", "--", "ls"],
            &["run", "--env", "NOVALUE", "--", "ls"],
            &["list", "--since", "yesterday"],
            &["rollback", "last", "--on-conflict", "panic"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for (exit, meaning) in Exit::TABLE {
            assert!(help.contains(&format!("{:>3}  {meaning}", exit.code())));
        }
    }
}
