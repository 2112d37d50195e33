//! Arguments of the commands that take a command line: `run`, `batch`, `infer`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser as _};

use super::values;

/// How commands are run; `run` and `batch` have these in common.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ExecutionArgs {
    /// The shell that reads the command: bash, sh, dash, zsh, fish, …
    #[arg(long, value_name = "NAME")]
    pub(crate) shell: Option<String>,
    /// Run in this directory (it must exist) instead of the current one
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// How old state is preserved, in order of preference: auto, copy, reflink, …
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) strategy: Vec<String>,
    /// Cover this path instead of those inferred from the command (repeatable); relative to the
    /// command's directory
    #[arg(long, value_name = "P")]
    pub(crate) path: Vec<PathBuf>,
    /// Cover this path besides those inferred (repeatable)
    #[arg(long, value_name = "P")]
    pub(crate) also: Vec<PathBuf>,
    /// Leave entries that match alone: never saved, never restored (repeatable; as in .gitignore)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// End a command after this long; 0 means no limit
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds,
          allow_negative_numbers = true)]
    pub(crate) timeout: Option<Duration>,
    /// Refuse to run a command whose snapshot is not complete
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) require_snapshot: Option<bool>,
    /// Watch what changes outside of what is covered, for the receipt (Linux, as root; costs some
    /// milliseconds). With interception it is seen anyway
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) watch_outside: Option<bool>,
    /// Take no snapshot; the command cannot be undone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) no_snapshot: Option<bool>,
    /// Undo what ran when it fails or times out
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) rollback_on_failure: Option<bool>,
    /// Set a variable for the command (repeatable)
    #[arg(long, value_name = "K=V", value_parser = variable())]
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Give the command this process's standard input instead of an empty one
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) stdin: Option<bool>,
}

fn variable() -> impl clap::builder::TypedValueParser<Value = (OsString, OsString)> {
    OsStringValueParser::new().try_map(|text| values::variable(&text))
}

/// What the full help of `run` begins with.
pub(super) const RUN_ABOUT: &str = "Run a command with a snapshot around it.\n\n\
        One argument is a shell command line; several are an argument vector that reaches the \
        program byte for byte. The command's output passes through untouched; a summary with \
        the way to undo it follows on standard error. The exit code is the command's own.";

/// Arguments of `run`.
#[derive(Debug, Args)]
#[command(
    override_usage = "deployx run [OPTIONS] -- <COMMAND>...",
    after_long_help = "Examples:\n  \
        deployx run -- 'rm -rf build && make'\n  \
        deployx run --also /etc/nginx -- systemctl reload nginx\n  \
        deployx run --timeout 60 --rollback-on-failure -- ./migrate.sh\n  \
        deployx run --path . --json -- git clean -fdx\n\n\
        Exit codes: the command's own (128+n when signal n ended it); 124 timed out;\n\
        125 DeployX failed before the command ran; 126 not executable or refused;\n\
        127 shell not found."
)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) execution: ExecutionArgs,
    /// The command: one argument is a shell command line, several an argument vector
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What the full help of `batch` begins with.
pub(super) const BATCH_ABOUT: &str = "Run several commands in one shell, one snapshot each.\n\n\
        FILE has one command per line; `-` reads standard input. Blank lines and lines that \
        begin with # are skipped. The commands share one shell: directory, variables, functions \
        and options persist from line to line. The whole batch can be undone by its id.";

/// Arguments of `batch`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:\n  \
        deployx batch deploy.txt\n  \
        deployx batch --batch-id release-7 --rollback-on-failure deploy.txt\n  \
        printf 'cd app\\nmake install\\n' | deployx batch -\n  \
        deployx rollback release-7\n\n\
        Exit code: that of the first command that failed, else 0; 124 to 127 as for run.")]
pub(crate) struct BatchArgs {
    #[command(flatten)]
    pub(crate) execution: ExecutionArgs,
    /// Name the batch, so that it can be undone by this id: letters, digits, '.', '_', '-'
    #[arg(long, value_name = "ID")]
    pub(crate) batch_id: Option<String>,
    /// Go on after a failed command instead of skipping the rest
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true)]
    pub(crate) keep_going: Option<bool>,
    /// The file with one command per line, or - for standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
}

/// What the full help of `infer` begins with.
pub(super) const INFER_ABOUT: &str =
    "Show which paths a command is expected to touch, and why. Runs nothing.";

/// Arguments of `infer`.
#[derive(Debug, Args)]
#[command(
    override_usage = "deployx infer [OPTIONS] -- <COMMAND>...",
    after_long_help = "Examples:\n  \
        deployx infer -- 'mv a.txt b/ && rm -rf tmp'\n  \
        deployx infer --shell sh --json -- make install"
)]
pub(crate) struct InferArgs {
    /// The shell that would read the command
    #[arg(long, value_name = "NAME")]
    pub(crate) shell: Option<String>,
    /// Where the command would start
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The command: one argument is a shell command line, several an argument vector
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}
