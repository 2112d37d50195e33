//! What a front end asks of the engine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::path::AbsPath;

/// The name of a shell as a request gives it: `bash`, `sh`, `dash`, `zsh`, `fish`, `cmd`,
/// `powershell`, `pwsh`. Which names work on a host is decided by [`crate::execute::shells`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShellName(pub String);

impl ShellName {
    /// A shell name; any text is taken, unknown ones are refused when they are looked up.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Default for ShellName {
    /// The host's ordinary shell: `bash` on Unix (falling back to `sh`), `cmd` on Windows.
    fn default() -> Self {
        Self::new(if cfg!(windows) { "cmd" } else { "bash" })
    }
}

/// How snapshots are taken for a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotOptions {
    /// Do not snapshot at all (the command can then not be undone).
    pub disabled: bool,
    /// Refuse to run the command when its snapshot could not be taken completely.
    pub required: bool,
    /// Names of strategies in order of preference; empty or `auto` lets the engine choose.
    pub strategies: Vec<String>,
    /// Paths to cover instead of those the rules infer. Empty: infer.
    pub replace_paths: Vec<AbsPath>,
    /// Paths to cover besides those the rules infer.
    pub extra_paths: Vec<AbsPath>,
    /// Patterns (gitignore syntax, relative to each root) of entries that are left alone.
    pub exclude: Vec<String>,
    /// Look at what changes outside of the scope while the command runs, where that is possible (Linux,
    /// administrator): it is told in the receipt. Costs a command up to some milliseconds, and a process
    /// that ends after it some more.
    pub watch_outside: bool,
    /// Free data stored with the snapshot, shown by `show`.
    pub metadata: BTreeMap<String, serde_json::Value>,
}

/// Runs one command line with a snapshot around it.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Which shell reads the command line.
    pub shell: ShellName,
    /// The command line, as bytes of the system's encoding.
    pub command: OsString,
    /// Where the command starts. Must be an existing directory.
    pub cwd: AbsPath,
    /// Variables set for the command on top of the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// After this long the command's whole process tree is ended.
    pub timeout: Option<Duration>,
    /// How the snapshot is taken.
    pub snapshot: SnapshotOptions,
    /// Roll the command back when it fails (exit status other than 0, or time-out).
    pub rollback_on_failure: bool,
}

impl RunRequest {
    /// A request with defaults for everything but the command line and where it runs.
    pub fn new(command: impl Into<OsString>, cwd: AbsPath) -> Self {
        Self {
            shell: ShellName::default(),
            command: command.into(),
            cwd,
            env: Vec::new(),
            timeout: None,
            snapshot: SnapshotOptions::default(),
            rollback_on_failure: false,
        }
    }
}

/// Runs several command lines in one persistent shell, one snapshot each.
#[derive(Debug, Clone)]
pub struct BatchRequest {
    /// The batch's id; `None` lets the engine make one. Letters, digits, `.`, `_`, `-`, at most 128.
    pub batch_id: Option<String>,
    /// The command lines in order.
    pub commands: Vec<OsString>,
    /// What holds for every command. `run.command` is not used; `run.timeout` is per command;
    /// `run.rollback_on_failure` undoes the whole batch.
    pub run: RunRequest,
    /// Go on after a failed command (default: skip the rest).
    pub keep_going: bool,
}

/// What a rollback does with an entry that is no longer as the command left it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// Change nothing at all.
    #[default]
    Abort,
    /// Leave the conflicting entries, restore the others.
    Skip,
    /// Restore the conflicting entries too; their current state is saved first.
    Overwrite,
}

/// Undoes one or more snapshots.
#[derive(Debug, Clone)]
pub struct RollbackRequest {
    /// A snapshot id or unique prefix of one, a batch id, or `last`.
    pub target: String,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// What to do with conflicts.
    pub on_conflict: OnConflict,
    /// Only these paths and what lies beneath them; empty means everything.
    pub paths: Vec<AbsPath>,
    /// Undo everything from now back to and including the target.
    pub through: bool,
}

impl RollbackRequest {
    /// A rollback of everything in `target` that aborts on conflicts.
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            dry_run: false,
            on_conflict: OnConflict::default(),
            paths: Vec::new(),
            through: false,
        }
    }
}

/// Which snapshots expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// Older ones expire.
    pub max_age: Option<Duration>,
    /// The oldest expire until the store's content is at most this many bytes.
    pub max_bytes: Option<u64>,
    /// The oldest expire until there are at most this many.
    pub max_count: Option<u64>,
}

/// Bounds on one snapshot. What happens beyond them is described in [`crate::snapshot`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Most entries that are looked at.
    #[serde(rename = "max_files")]
    pub max_entries: u64,
    /// Most bytes of content that one snapshot copies.
    pub max_bytes: u64,
    /// Files above this size are not copied.
    pub max_file_bytes: u64,
    /// Bytes that stay free on the store's volume (of a small volume a twentieth instead).
    pub min_free_bytes: u64,
    /// Longest time spent before the command starts, in whole seconds where it is written down.
    #[serde(rename = "max_capture_seconds", with = "seconds")]
    pub max_duration: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_entries: 5_000_000,
            max_bytes: 16 << 30,
            max_file_bytes: 8 << 30,
            min_free_bytes: 1 << 30,
            max_duration: Duration::from_secs(600),
        }
    }
}

/// A duration as whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(time.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_secs)
    }
}
