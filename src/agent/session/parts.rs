//! What requests are made of, as the engine has it, and results, as the line has it.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::reach::OF_AGENT;
use crate::agent::TOKEN_VARIABLE;
use crate::agent::shared::Shared;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::default_shell;
use crate::path::AbsPath;
use crate::request::{ShellName, SnapshotOptions};
use crate::store::CoverageRecord;

/// The most entries of each list of a coverage or a receipt that go over the line.
pub(super) const MAX_COVERAGE: usize = 20;

/// How snapshots are taken.
pub(super) fn snapshot(
    shared: &Shared,
    wanted: Option<bool>,
    strategy: Option<&str>,
) -> SnapshotOptions {
    let required = shared.config().require_snapshot;
    SnapshotOptions {
        disabled: wanted == Some(false) && !required,
        required,
        strategies: strategy.map(str::to_owned).into_iter().collect(),
        watch_outside: true,
        metadata: [(OF_AGENT.to_owned(), shared.agent_id.as_str().into())].into(),
        ..SnapshotOptions::default()
    }
}

/// The shell that was asked for, else the host's ordinary one.
pub(super) fn shell(name: Option<&str>) -> ShellName {
    name.map_or_else(default_shell, ShellName::new)
}

/// Where a command starts.
pub(super) fn working_directory(shared: &Shared, path: Option<&str>) -> Result<AbsPath> {
    path.map_or_else(
        || Ok(shared.config().cwd.clone()),
        |path| absolute("cwd", path),
    )
}

/// A path of the request's field `field`, made normal.
pub(super) fn absolute(field: &str, path: &str) -> Result<AbsPath> {
    let invalid = |error: crate::path::PathError| {
        let message = format!("{field}: {error}");
        Error::new(ErrorKind::InvalidRequest, Stage::Request, message)
    };
    if !std::path::Path::new(path).is_absolute() {
        return AbsPath::new(path).map_err(invalid);
    }
    let root = AbsPath::new(if cfg!(windows) { r"C:\" } else { "/" }).map_err(invalid)?;
    AbsPath::normalize(&root, std::path::Path::new(path)).map_err(invalid)
}

/// Variables for a command.
pub(super) fn variables(
    env: Option<&BTreeMap<String, String>>,
) -> Result<Vec<(OsString, OsString)>> {
    // Commands inherit this process's environment, where the token may be. What they say to systemd
    // must not count as the agent's word, and its watchdog is not theirs.
    let hidden = [
        TOKEN_VARIABLE,
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ];
    let hidden = hidden
        .map(|name| Ok((name.into(), OsString::new())))
        .into_iter();
    let env = env.into_iter().flatten();
    let set = env.map(|(name, value)| {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                Stage::Request,
                format!("env: '{}' cannot be a variable", name.escape_debug()),
            ));
        }
        Ok((name.into(), value.into()))
    });
    hidden.chain(set).collect()
}

/// A coverage with short lists.
pub(super) fn brief(mut coverage: CoverageRecord) -> CoverageRecord {
    coverage.unobserved.truncate(MAX_COVERAGE);
    coverage.irreversible.truncate(MAX_COVERAGE);
    coverage.not_understood.truncate(MAX_COVERAGE);
    coverage.notes.truncate(MAX_COVERAGE);
    coverage
}
