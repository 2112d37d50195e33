//! The configuration file: TOML, one key for every flag that is not about a single occasion.
//!
//! A flag goes before the environment, the environment before the file, the file before the
//! default. An unknown key is an error, so that a typing mistake never passes in silence.
//! `examples/config.toml` documents every key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::args::{ColorMode, CompressionMode, ConflictMode, values};
use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::path::escape;
use crate::request::{Limits, RetentionPolicy};
use crate::snapshot::journal::Events;

/// Everything that the file can say. What it does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// `--snapshot-dir`; relative to the file's directory.
    pub(crate) snapshot_dir: Option<PathBuf>,
    /// A file with 32 bytes or more that stored data is authenticated with; relative likewise.
    pub(crate) key_file: Option<PathBuf>,
    /// `--json`.
    pub(crate) json: Option<bool>,
    /// `--quiet`.
    pub(crate) quiet: Option<bool>,
    /// `-v` so many times.
    pub(crate) verbose: Option<u8>,
    /// `--color`.
    pub(crate) color: Option<ColorMode>,
    /// `--compression`.
    pub(crate) compression: Option<CompressionMode>,
    /// Where the `journal` strategy gets its events from.
    pub(crate) events: Option<Events>,
    /// `--plugin-dir`; relative to the file's directory.
    pub(crate) plugin_dir: Vec<PathBuf>,
    /// `--rules-dir`; relative likewise.
    pub(crate) rules_dir: Vec<PathBuf>,
    /// Patterns that every snapshot leaves alone; `--exclude` adds to them.
    pub(crate) exclude: Vec<String>,
    /// Variables whose values are stored with snapshots, instead of the built-in list.
    pub(crate) environment_allow: Option<Vec<String>>,
    /// How long to wait for other processes.
    pub(crate) lock_timeout_seconds: Option<f64>,
    /// Between the polite signal to a command and the one that cannot be refused.
    pub(crate) kill_grace_seconds: Option<f64>,
    /// Flags of `run`, `batch` and `infer`.
    pub(crate) run: RunSection,
    /// Flags of `batch`.
    pub(crate) batch: BatchSection,
    /// Flags of `rollback`.
    pub(crate) rollback: RollbackSection,
    /// Flags of `list`.
    pub(crate) list: ListSection,
    /// Flags of `cleanup`.
    pub(crate) retention: RetentionSection,
    /// Flags of `agent`.
    #[cfg(feature = "agent")]
    pub(crate) agent: super::agent_settings::AgentSection,
    /// Bounds on one snapshot.
    pub(crate) limits: LimitsSection,
}

/// `[run]`: flags of `run` and `batch`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RunSection {
    pub(crate) shell: Option<String>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) strategy: Vec<String>,
    pub(crate) path: Vec<PathBuf>,
    pub(crate) also: Vec<PathBuf>,
    pub(crate) timeout_seconds: Option<f64>,
    pub(crate) require_snapshot: Option<bool>,
    pub(crate) watch_outside: Option<bool>,
    pub(crate) no_snapshot: Option<bool>,
    pub(crate) rollback_on_failure: Option<bool>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) stdin: Option<bool>,
}

/// `[batch]`: flags of `batch`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BatchSection {
    pub(crate) keep_going: Option<bool>,
}

/// `[rollback]`: flags of `rollback`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RollbackSection {
    pub(crate) on_conflict: Option<ConflictMode>,
    pub(crate) through: Option<bool>,
    pub(crate) yes: Option<bool>,
}

/// `[list]`: flags of `list`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ListSection {
    pub(crate) limit: Option<usize>,
    pub(crate) since: Option<String>,
}

/// `[retention]`: what `cleanup` deletes when it is not told.
#[allow(clippy::struct_field_names)] // the names are the keys of the file
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSection {
    pub(crate) max_age_hours: Option<f64>,
    pub(crate) max_size_bytes: Option<u64>,
    pub(crate) max_count: Option<u64>,
    /// `--max-store-size`; holds for every command.
    pub(crate) max_store_bytes: Option<u64>,
}

/// `[limits]`: bounds on one snapshot.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LimitsSection {
    pub(crate) max_files: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) min_free_bytes: Option<u64>,
    pub(crate) max_capture_seconds: Option<f64>,
}

impl Config {
    /// Reads the file. Relative paths in it are taken from the directory it is in.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).context(Stage::Request, || {
            format!("cannot read the configuration file {}", escape(file))
        })?;
        let mut config = Self::parse(&text).map_err(|message| {
            invalid(format!(
                "the configuration file {} is not valid: {message}",
                escape(file)
            ))
        })?;
        let base = file.parent().unwrap_or(Path::new(""));
        for path in [&mut config.snapshot_dir, &mut config.key_file]
            .into_iter()
            .flatten()
            .chain(&mut config.plugin_dir)
            .chain(&mut config.rules_dir)
        {
            *path = base.join(&*path);
        }
        #[cfg(feature = "agent")]
        config.agent.resolve(base);
        Ok(config)
    }

    /// Reads the text of a configuration and checks every value.
    fn parse(text: &str) -> Result<Self, String> {
        let config: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (key, value) in [
            ("lock_timeout_seconds", config.lock_timeout_seconds),
            ("kill_grace_seconds", config.kill_grace_seconds),
            ("run.timeout_seconds", config.run.timeout_seconds),
            ("retention.max_age_hours", config.retention.max_age_hours),
            (
                "limits.max_capture_seconds",
                config.limits.max_capture_seconds,
            ),
        ] {
            check_time(key, value)?;
        }
        #[cfg(feature = "agent")]
        for (key, value) in config.agent.times() {
            check_time(key, value)?;
        }
        if let Some(since) = &config.list.since {
            values::span(since).map_err(|error| format!("list.since: {error}"))?;
        }
        if let Some(name) = config
            .run
            .env
            .keys()
            .find(|name| name.is_empty() || name.contains(['=', '\0']))
        {
            return Err(format!("run.env: {name:?} is not a variable's name"));
        }
        Ok(config)
    }

    /// How long to wait for other processes, where the file says so.
    pub(crate) fn lock_timeout(&self) -> Option<Duration> {
        self.lock_timeout_seconds.and_then(checked)
    }

    /// The time between the two signals, where the file says so.
    pub(crate) fn kill_grace(&self) -> Option<Duration> {
        self.kill_grace_seconds.and_then(checked)
    }
}

impl RunSection {
    /// The time limit, where the file has one; zero stands for none.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout_seconds.and_then(checked)
    }
}

impl ListSection {
    /// The time span, where the file has one.
    pub(crate) fn since(&self) -> Option<Duration> {
        self.since
            .as_deref()
            .and_then(|text| values::span(text).ok())
    }
}

/// Whether a key's number of seconds, or of hours as its name says, is a time.
fn check_time(key: &str, value: Option<f64>) -> Result<(), String> {
    let unit = if key.ends_with("_hours") { 3600.0 } else { 1.0 };
    value
        .map_or(Ok(Duration::ZERO), |value| values::duration(value * unit))
        .map(|_| ())
        .map_err(|error| format!("{key}: {error}"))
}

impl RetentionSection {
    /// The policy, or `None` where the file says nothing about it.
    pub(crate) fn policy(&self) -> Option<RetentionPolicy> {
        let policy = RetentionPolicy {
            max_age: self.max_age_hours.and_then(|hours| checked(hours * 3600.0)),
            max_bytes: self.max_size_bytes,
            max_count: self.max_count,
        };
        (policy != RetentionPolicy::default()).then_some(policy)
    }
}

impl LimitsSection {
    /// The defaults with what the file says instead.
    pub(crate) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            max_entries: self.max_files.unwrap_or(default.max_entries),
            max_bytes: self.max_bytes.unwrap_or(default.max_bytes),
            max_file_bytes: self.max_file_bytes.unwrap_or(default.max_file_bytes),
            min_free_bytes: self.min_free_bytes.unwrap_or(default.min_free_bytes),
            max_duration: self
                .max_capture_seconds
                .and_then(checked)
                .unwrap_or(default.max_duration),
        }
    }
}

/// A duration that [`Config::parse`] has accepted before.
fn checked(seconds: f64) -> Option<Duration> {
    values::duration(seconds).ok()
}

/// Reads the key that stored data is authenticated with: 32 bytes or more, in a regular file that
/// nobody but its owner may touch.
pub(crate) fn read_key(file: &Path) -> Result<Vec<u8>> {
    const LEAST: usize = 32;
    const MOST: u64 = 64 * 1024;
    let name = escape(file);
    let metadata = std::fs::metadata(file).context(Stage::Request, || {
        format!("cannot read the key file {name}")
    })?;
    if !metadata.is_file() {
        return Err(invalid(format!("the key file {name} is not a file")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(invalid(format!(
                "the key file {name} has mode {mode:04o}, so others can read or change it: \
                 chmod 600 it, or make a new key where others may have read it"
            )));
        }
    }
    if metadata.len() > MOST {
        return Err(invalid(format!(
            "the key file {name} is larger than {MOST} bytes"
        )));
    }
    let key = std::fs::read(file).context(Stage::Request, || {
        format!("cannot read the key file {name}")
    })?;
    if key.len() < LEAST {
        return Err(invalid(format!(
            "the key file {name} has {} bytes; it needs {LEAST} or more \
             (head -c 32 /dev/urandom makes a key)",
            key.len()
        )));
    }
    Ok(key)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidRequest, Stage::Request, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_every_key_and_parses() {
        let text = include_str!("../../examples/config.toml");
        Config::parse(text).unwrap();
        // Every key stands there as a comment with its default; with the comments taken away the
        // file must still be valid and must leave nothing unset.
        let live: String = text
            .lines()
            .map(|line| line.strip_prefix("#: ").unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let config = Config::parse(&live).unwrap();
        let unset: Vec<String> = format!("{config:#?}")
            .lines()
            .filter(|line| line.contains(": None") || line.contains(": []"))
            .map(str::to_owned)
            .collect();
        assert_eq!(unset, Vec::<String>::new());
        assert!(!config.run.env.is_empty());
        assert_eq!(config.limits.limits(), Limits::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = Config::parse("json = true\nsnapshotdir = \"/x\"\n").unwrap_err();
        assert!(error.contains("snapshotdir"), "{error}");
        assert!(error.contains("line 2"), "{error}");
        let error = Config::parse("[run]\ntimeout = 3\n").unwrap_err();
        assert!(error.contains("timeout"), "{error}");
    }

    #[test]
    fn values_without_sense_are_named() {
        for (text, key) in [
            ("lock_timeout_seconds = -1.0", "lock_timeout_seconds"),
            ("kill_grace_seconds = nan", "kill_grace_seconds"),
            ("[run]\ntimeout_seconds = inf", "run.timeout_seconds"),
            (
                "[retention]\nmax_age_hours = 1e8",
                "retention.max_age_hours",
            ),
            #[cfg(feature = "agent")]
            (
                "[agent]\nheartbeat_seconds = 1e19",
                "agent.heartbeat_seconds",
            ),
            #[cfg(feature = "agent")]
            (
                "[agent]\nsnapshot_max_age_hours = 1e8",
                "snapshot_max_age_hours",
            ),
            ("[list]\nsince = \"soon\"", "list.since"),
            ("[run.env]\n\"A=B\" = \"c\"", "run.env"),
            ("color = \"sometimes\"", "sometimes"),
        ] {
            let error = Config::parse(text).unwrap_err();
            assert!(error.contains(key), "{text}: {error}");
        }
    }

    #[test]
    fn seconds_may_be_whole_numbers() {
        let config = Config::parse("lock_timeout_seconds = 5").unwrap();
        assert_eq!(config.lock_timeout(), Some(Duration::from_secs(5)));
    }

    #[test]
    fn relative_paths_start_at_the_files_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, "snapshot_dir = \"snaps\"\nkey_file = \"/k\"\n").unwrap();
        let config = Config::load(&file).unwrap();
        assert_eq!(config.snapshot_dir, Some(dir.path().join("snaps")));
        assert_eq!(config.key_file, Some(PathBuf::from("/k")));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(Path::new("/nonexistent/c.toml")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("/nonexistent/c.toml"), "{error}");
    }

    #[test]
    fn no_retention_is_told_from_an_empty_one() {
        assert_eq!(Config::default().retention.policy(), None);
        let config = Config::parse("[retention]\nmax_store_bytes = 5").unwrap();
        assert_eq!(
            config.retention.policy(),
            None,
            "it is no order to clean up"
        );
        let config = Config::parse("[retention]\nmax_age_hours = 0.5").unwrap();
        let policy = config.retention.policy().unwrap();
        assert_eq!(policy.max_age, Some(Duration::from_secs(1800)));
        assert_eq!(policy.max_count, None);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_must_be_long_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let mode = |mode| {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::write(&file, [7; 32]).unwrap();
        mode(0o644);
        assert!(read_key(&file).unwrap_err().to_string().contains("0644"));
        mode(0o600);
        assert_eq!(read_key(&file).unwrap(), [7; 32]);
        mode(0o400);
        assert!(read_key(&file).is_ok());
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, [7; 31]).unwrap();
        mode(0o600);
        assert!(read_key(&file).unwrap_err().to_string().contains("31"));
        assert!(read_key(dir.path()).is_err());
    }
}
