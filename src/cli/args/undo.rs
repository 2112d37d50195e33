//! Arguments of the commands that give old state back: `rollback`, `restore`.

use std::path::PathBuf;

use clap::Args;

use super::ConflictMode;

/// What the full help of `rollback` begins with.
pub(super) const ROLLBACK_ABOUT: &str = "Take a command, or a whole batch, back.\n\n\
        Everything the command changed is given its old state; what it created is removed. Entries \
        that were changed since then are conflicts: by default nothing is touched and they are \
        listed. What a rollback replaces is saved first, so a rollback can be taken back too.";

/// Arguments of `rollback`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx rollback last\n  \
        deployx rollback a1b2c3d4 --dry-run\n  \
        deployx rollback a1b2c3d4 --path etc/app.conf --on-conflict overwrite\n  \
        deployx rollback a1b2c3d4 --through --yes\n\n\
        Exit codes: 0 done; 3 no such snapshot; 4 conflicts, nothing was changed;\n\
        5 some entries were not restored (they are listed); 6 in use; 7 damaged.")]
pub(crate) struct RollbackArgs {
    /// A snapshot id or a unique prefix of one, a batch id, or `last`
    #[arg(value_name = "ID")]
    pub(crate) target: String,
    /// Show the plan; change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// What to do with entries that are no longer as the command left them
    #[arg(long, value_name = "MODE")]
    pub(crate) on_conflict: Option<ConflictMode>,
    /// Only this path and what lies beneath it (repeatable)
    #[arg(long, value_name = "P")]
    pub(crate) path: Vec<PathBuf>,
    /// Undo everything from now back to ID, newest first
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) through: Option<bool>,
    /// Do not ask before a large rollback
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) yes: Option<bool>,
}

/// What the full help of `restore` begins with.
pub(super) const RESTORE_ABOUT: &str =
    "Copy the state before a command into a directory, without touching the live tree.";

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx restore last config.toml --to /tmp/before\n  \
        deployx restore a1b2c3d4 /etc/nginx --to .")]
pub(crate) struct RestoreArgs {
    /// A snapshot id or a unique prefix of one, or `last`
    #[arg(value_name = "ID")]
    pub(crate) target: String,
    /// What to copy out; directories with all that the snapshot holds of them
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// The directory to copy into; made where it does not exist
    #[arg(long, value_name = "DIR", required = true)]
    pub(crate) to: PathBuf,
}
