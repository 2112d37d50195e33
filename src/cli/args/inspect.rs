//! Arguments of the commands that only look: `list`, `show`, `diff`, `doctor`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values;

/// Arguments of `list`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Columns: CHANGES counts entries created (+), modified (~) and \
        deleted (-), and those of which only metadata changed (!); PIN marks snapshots that \
        never expire.\n\n\
        Examples:\n  \
        deployx list --since 2h\n  \
        deployx list --limit 5 --json"
)]
pub(crate) struct ListArgs {
    /// Only the snapshots of this batch
    #[arg(long, value_name = "ID")]
    pub(crate) batch: Option<String>,
    /// At most this many, the newest
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Only those begun within this time: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "SPAN", value_parser = values::span)]
    pub(crate) since: Option<Duration>,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  deployx show last\n  deployx show a1b2c3d4 --json")]
pub(crate) struct ShowArgs {
    /// A snapshot id or a unique prefix of one, or `last`
    #[arg(value_name = "ID")]
    pub(crate) target: String,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "With --name-status the letters are A created, M modified, D deleted \
        and P metadata (permissions, owner, times).\n\
        Control characters in names are always escaped; those in file content are escaped on a \
        terminal and left as they are otherwise, so that a diff can be piped into `patch`.\n\n\
        Examples:\n  \
        deployx diff last\n  \
        deployx diff a1b2c3d4 --stat src\n  \
        deployx diff last --live"
)]
pub(crate) struct DiffArgs {
    /// A snapshot id or a unique prefix of one, or `last`
    #[arg(value_name = "ID")]
    pub(crate) target: String,
    /// Only these paths and what lies beneath them
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Count changed lines instead of showing them
    #[arg(long, conflicts_with = "name_status")]
    pub(crate) stat: bool,
    /// Show only names and how each changed
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Compare with the live tree instead of what the command left
    #[arg(long)]
    pub(crate) live: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_long_help = "What a volume keeps of an entry is tried out in a private directory in the \
        path named (else the current directory, and at the mount points of the other volumes), \
        which is removed again.\n\n\
        Examples:\n  deployx doctor\n  deployx doctor /srv /home"
)]
pub(crate) struct DoctorArgs {
    /// The volumes of these paths are looked at; default: every volume that holds files
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
}
