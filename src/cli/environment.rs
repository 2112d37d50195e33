//! What the program takes from its process: read once, here and nowhere else.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::TOKEN_VARIABLE;
use crate::path::AbsPath;

/// The process's environment at the start of the program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `DEPLOYX_SNAPSHOT_DIR`.
    pub(crate) snapshot_dir: Option<PathBuf>,
    /// `DEPLOYX_CONFIG`.
    pub(crate) config: Option<PathBuf>,
    /// `DEPLOYX_PLUGIN_DIR`: one or more, separated as in `PATH`.
    pub(crate) plugin_dirs: Vec<PathBuf>,
    /// `DEPLOYX_RULES_DIR`, likewise.
    pub(crate) rules_dirs: Vec<PathBuf>,
    /// Where the user keeps configurations.
    pub(crate) config_home: Option<PathBuf>,
    /// Where the user keeps data.
    pub(crate) data_home: Option<PathBuf>,
    /// This program.
    pub(crate) program: Option<PathBuf>,
    /// `DEPLOYX_AGENT_TOKEN`.
    #[cfg_attr(
        not(feature = "agent"),
        expect(dead_code, reason = "only the agent reads it")
    )]
    pub(crate) agent_token: Option<String>,
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
            plugin_dirs: list("DEPLOYX_PLUGIN_DIR"),
            rules_dirs: list("DEPLOYX_RULES_DIR"),
            config_home: user_directory("XDG_CONFIG_HOME", "APPDATA", ".config"),
            data_home: user_directory("XDG_DATA_HOME", "LOCALAPPDATA", ".local/share"),
            program: std::env::current_exe().ok(),
            agent_token: set(TOKEN_VARIABLE).map(|text| text.to_string_lossy().into_owned()),
            log: set("DEPLOYX_LOG").map(|text| text.to_string_lossy().into_owned()),
            variables: std::env::vars_os()
                .filter(|(name, _)| name != TOKEN_VARIABLE)
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

/// The directories that a variable lists.
fn list(name: &str) -> Vec<PathBuf> {
    set(name).map_or_else(Vec::new, |value| std::env::split_paths(&value).collect())
}

/// A directory of the user: named by a variable, else beneath the home directory. Relative values
/// are ignored, as the XDG specification wants it.
fn user_directory(unix: &str, windows: &str, beneath_home: &str) -> Option<PathBuf> {
    if cfg!(windows) {
        return set(windows).map(PathBuf::from);
    }
    set(unix)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(beneath_home)))
}
