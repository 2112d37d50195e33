//! What the program takes from its process: read once, here and nowhere else.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::path::AbsPath;

/// The process's environment at the start of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `DEPLOYX_SNAPSHOT_DIR`.
    pub(crate) snapshot_dir: Option<PathBuf>,
    /// `DEPLOYX_CONFIG`.
    pub(crate) config: Option<PathBuf>,
    /// `DEPLOYX_LOG`.
    pub(crate) log: Option<String>,
    /// Every variable that is UTF-8.
    pub(crate) variables: Vec<(String, String)>,
    /// The home directory, with symbolic links resolved.
    pub(crate) home: Option<AbsPath>,
    /// The system's directory for temporary files.
    pub(crate) temp_dir: PathBuf,
    /// Standard input and standard error are terminals: somebody can be asked.
    pub(crate) interactive: bool,
    /// Standard output is a terminal.
    pub(crate) stdout_terminal: bool,
    /// Standard error is a terminal.
    pub(crate) stderr_terminal: bool,
}

impl Environment {
    /// Reads it. A variable that is set but empty counts as not set.
    pub(crate) fn read() -> Self {
        let path = |name| set(name).map(PathBuf::from);
        let home = path(if cfg!(windows) { "USERPROFILE" } else { "HOME" });
        Self {
            snapshot_dir: path("DEPLOYX_SNAPSHOT_DIR"),
            config: path("DEPLOYX_CONFIG"),
            log: set("DEPLOYX_LOG").map(|text| text.to_string_lossy().into_owned()),
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            home: home
                .and_then(|home| std::fs::canonicalize(home).ok())
                .and_then(|home| AbsPath::new(home).ok()),
            temp_dir: std::env::temp_dir(),
            interactive: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            stdout_terminal: std::io::stdout().is_terminal(),
            stderr_terminal: std::io::stderr().is_terminal(),
        }
    }
}

fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
