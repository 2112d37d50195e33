//! Arguments of the commands that look after the store and the installation.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::values;

/// Arguments of `pin` and `unpin`.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  deployx pin a1b2c3d4")]
pub(crate) struct PinArgs {
    /// A snapshot id or a unique prefix of one, a batch id, or `last`
    #[arg(value_name = "ID")]
    pub(crate) target: String,
}

/// What the full help of `cleanup` begins with.
pub(super) const CLEANUP_ABOUT: &str = "Delete snapshots: those named, or those that the policy picks.\n\n\
        Without ids and without flags the policy is the configuration's [retention], or a \
        greatest age of 24 hours. Pinned snapshots and those in use are kept, with the reason.";

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx cleanup --max-age 48 --dry-run\n  \
        deployx cleanup --max-size 10G --max-count 500\n  \
        deployx cleanup a1b2c3d4")]
pub(crate) struct CleanupArgs {
    /// Delete these: snapshot ids or unique prefixes of them, or batch ids
    #[arg(value_name = "ID", conflicts_with_all = ["max_age", "max_size", "max_count"])]
    pub(crate) targets: Vec<String>,
    /// Delete those older than this
    #[arg(long, value_name = "HOURS", value_parser = values::hours)]
    pub(crate) max_age: Option<Duration>,
    /// Delete the oldest until all together hold at most this (K, M, G and T are understood)
    #[arg(long, value_name = "BYTES", value_parser = values::bytes)]
    pub(crate) max_size: Option<u64>,
    /// Delete the oldest until there are at most this many
    #[arg(long, value_name = "N")]
    pub(crate) max_count: Option<u64>,
    /// Show what would be deleted; delete nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "Exit code 7 when damage is found.\n\n\
        Examples:\n  deployx verify\n  deployx verify last")]
pub(crate) struct VerifyArgs {
    /// Only these: snapshot ids or unique prefixes of them, batch ids, or `last`
    #[arg(value_name = "ID")]
    pub(crate) targets: Vec<String>,
}

/// Arguments of `rules`.
#[derive(Debug, Args)]
pub(crate) struct RulesArgs {
    #[command(subcommand)]
    pub(crate) command: RulesCommand,
}

/// What `rules` does.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Compare what the rules expected with what commands really touched
    #[command(long_about = SCORE_ABOUT)]
    Score(ScoreArgs),
}

const SCORE_ABOUT: &str = "\
Compare what the rules expected with what commands really touched, over the stored snapshots.

Only snapshots taken with interception count (--strategy intercept): of those it is known what was
touched, whatever the rules said.

RECALL is the share of touched entries that the expected paths cover; a miss is an entry that they do
not cover. PRECISION is the share of expected paths in which anything was touched, in commands that
succeeded. Touched is what the undo record has, and files that were opened for writing and ended as they
were. Commands are named as the rules name them; what was not understood, and its misses, by the first
word.";

/// Arguments of `rules score`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Examples:\n  deployx rules score\n  deployx rules score --since 7d --json"
)]
pub(crate) struct ScoreArgs {
    /// Only the snapshots of this batch
    #[arg(long, value_name = "ID")]
    pub(crate) batch: Option<String>,
    /// Only those begun within this time: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub(crate) since: Option<Duration>,
}

/// Arguments of `plugins`.
#[derive(Debug, Args)]
pub(crate) struct PluginsArgs {
    #[command(subcommand)]
    pub(crate) command: PluginsCommand,
}

/// What `plugins` does.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// List the rule sets and the shells they read
    List,
    /// Check whether a library can be loaded as a rule set, and say why not
    Check(PluginFileArgs),
}

/// Arguments of `plugins check`.
#[derive(Debug, Args)]
#[command(after_long_help = "Exit code 1 when the plugin is refused.\n\n\
        Example:\n  deployx plugins check /usr/lib/deployx/plugins/libfish_rules.so")]
pub(crate) struct PluginFileArgs {
    /// The library
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx completions bash > /etc/bash_completion.d/deployx\n  \
        deployx completions zsh > ~/.zfunc/_deployx\n  \
        deployx completions fish > ~/.config/fish/completions/deployx.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx man | man -l -\n  \
        deployx man --dir /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Write a page for every command into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
