//! Shells as data: program names, options, driver text and quoting.
//!
//! What the drivers do and promise is described with their [texts](Driver).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::drivers::{BASH_DRIVER, COMMAND_DRIVER, FISH_DRIVER, ZSH_DRIVER};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::request::ShellName;

/// How a shell quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// `'...'`, a quote inside as `'\''`.
    Posix,
    /// `'...'` with `\\` and `\'` inside.
    Fish,
    /// `^` before special characters, `%%`, and quotes that C programs take apart.
    Cmd,
    /// `'...'` with doubled quotes; `escaped` adds the backslashes that Windows PowerShell loses.
    PowerShell {
        /// Quotes inside arguments need a backslash to reach a program.
        escaped: bool,
    },
}

/// The form in which a driver takes a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// A line of assignments with the command in `$'...'`. A command of many lines in any other
    /// form takes zsh a time that grows with their square.
    DollarQuoted,
    /// A line of assignments with the command in `'...'` and its line breaks taken from a variable
    /// that the driver sets from its first argument: POSIX has no way to write one on one line.
    Quoted,
    /// Statements ended by a NUL byte, with the command in fish's quotes.
    Fish,
}

/// How a session makes the shell run commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A loop in the shell's language, see the crate's `execute/drivers.rs`. `{commands}` and
    /// `{status}` stand for the names of the two pipes.
    Loop {
        /// The loop.
        text: &'static str,
        /// How it takes commands.
        framing: Framing,
        /// Variables that the shell itself must not see; the driver exports them. Only for drivers
        /// with POSIX syntax.
        withheld: &'static [&'static str],
    },
    /// Each command is a script file that ends by writing its status to another file.
    ScriptFile {
        /// The script's file name extension.
        extension: &'static str,
    },
}

/// Everything that is particular to one shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellSpec {
    /// Its name in requests.
    pub name: &'static str,
    /// The names of its program.
    pub program: &'static str,
    /// The options that keep it from reading start-up files, up to the one that takes the driver.
    pub options: &'static [&'static str],
    /// How it quotes.
    pub quoting: Quoting,
    /// How it is made to run commands.
    pub driver: Driver,
}

/// Every shell that requests may name, in order of preference.
pub static SHELLS: [ShellSpec; 8] = [
    ShellSpec {
        name: "bash",
        program: "bash",
        options: &["--noprofile", "--norc", "-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: BASH_DRIVER,
            framing: Framing::DollarQuoted,
            withheld: &["BASH_ENV"],
        },
    },
    ShellSpec {
        name: "sh",
        program: "sh",
        options: &["-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: COMMAND_DRIVER,
            framing: Framing::Quoted,
            withheld: &[],
        },
    },
    ShellSpec {
        name: "dash",
        program: "dash",
        options: &["-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: COMMAND_DRIVER,
            framing: Framing::Quoted,
            withheld: &[],
        },
    },
    ShellSpec {
        name: "zsh",
        program: "zsh",
        options: &["-f", "-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: ZSH_DRIVER,
            framing: Framing::DollarQuoted,
            withheld: &[],
        },
    },
    ShellSpec {
        name: "fish",
        program: "fish",
        options: &["--no-config", "-c"],
        quoting: Quoting::Fish,
        driver: Driver::Loop {
            text: FISH_DRIVER,
            framing: Framing::Fish,
            withheld: &[],
        },
    },
    ShellSpec {
        name: "cmd",
        program: "cmd",
        options: &["/d", "/q", "/k", "rem"],
        quoting: Quoting::Cmd,
        driver: Driver::ScriptFile { extension: "cmd" },
    },
    ShellSpec {
        name: "powershell",
        program: "powershell",
        options: &[
            "-NoLogo",
            "-NoProfile",
            "-NonInteractive",
            "-ExecutionPolicy",
            "Bypass",
            "-File",
        ],
        quoting: Quoting::PowerShell { escaped: true },
        driver: Driver::ScriptFile { extension: "ps1" },
    },
    ShellSpec {
        name: "pwsh",
        program: "pwsh",
        options: &[
            "-NoLogo",
            "-NoProfile",
            "-NonInteractive",
            "-ExecutionPolicy",
            "Bypass",
            "-File",
        ],
        quoting: Quoting::PowerShell { escaped: false },
        driver: Driver::ScriptFile { extension: "ps1" },
    },
];

impl ShellSpec {
    /// Whether sessions of this shell exist on this operating system.
    pub fn is_supported(&self) -> bool {
        match self.driver {
            Driver::Loop { .. } => cfg!(unix),
            Driver::ScriptFile { .. } => cfg!(windows),
        }
    }
}

/// The shell that `name` stands for: one of [`SHELLS`], or the absolute path of its program.
/// `ShellNotFound` for anything else, naming the shells there are.
pub fn lookup(name: &ShellName) -> Result<&'static ShellSpec> {
    let path = Path::new(name.as_str());
    let known = if path.is_absolute() {
        path.file_stem().and_then(OsStr::to_str)
    } else {
        Some(name.as_str())
    };
    SHELLS
        .iter()
        .find(|shell| known.is_some_and(|known| is_name_of(known, shell)))
        .ok_or_else(|| {
            let names: Vec<&str> = SHELLS.iter().map(|shell| shell.name).collect();
            not_found(format!(
                "no shell is called '{}'; known are {}",
                name.as_str().escape_debug(),
                names.join(", ")
            ))
        })
}

fn is_name_of(name: &str, shell: &ShellSpec) -> bool {
    if cfg!(windows) {
        name.eq_ignore_ascii_case(shell.name)
    } else {
        name == shell.name
    }
}

fn not_found(context: String) -> Error {
    Error::new(ErrorKind::ShellNotFound, Stage::Execute, context)
}

/// The program that a session of `shell` runs. An absolute path is taken as it is; a name is
/// looked for in the absolute directories of this process's `PATH`, then in the system's own.
/// `ShellNotFound` when there is none.
pub fn find_shell(shell: &ShellName) -> Result<PathBuf> {
    let spec = lookup(shell)?;
    if !spec.is_supported() {
        return Err(not_found(format!(
            "sessions of '{}' are not available on this operating system",
            spec.name
        )));
    }
    let path = Path::new(shell.as_str());
    if path.is_absolute() {
        return is_program(path)
            .then(|| path.to_path_buf())
            .ok_or_else(|| not_found(format!("'{}' is not a program", path.display())));
    }
    let file = format!("{}{}", spec.program, std::env::consts::EXE_SUFFIX);
    search_directories()
        .map(|directory| directory.join(&file))
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| {
            not_found(format!(
                "the shell '{}' is not installed: '{file}' is in no directory of PATH",
                spec.name
            ))
        })
}

/// The shells that this host has, each with its program.
pub fn available_shells() -> Vec<(ShellName, PathBuf)> {
    SHELLS
        .iter()
        .filter_map(|shell| {
            let name = ShellName::new(shell.name);
            find_shell(&name).ok().map(|program| (name, program))
        })
        .collect()
}

/// The host's ordinary shell: [`ShellName::default`] where it is installed, else `sh` on Unix.
pub fn default_shell() -> ShellName {
    let preferred = ShellName::default();
    if cfg!(windows) || find_shell(&preferred).is_ok() {
        preferred
    } else {
        ShellName::new("sh")
    }
}

/// Relative directories in `PATH` are left out: which program runs must not depend on where this
/// process happens to be.
fn search_directories() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .collect();
    let standard: &[&str] = if cfg!(windows) {
        &[
            r"C:\Windows\System32",
            r"C:\Windows\System32\WindowsPowerShell\v1.0",
        ]
    } else {
        &["/usr/local/bin", "/usr/bin", "/bin"]
    };
    listed.into_iter().chain(standard.iter().map(PathBuf::from))
}

#[cfg(unix)]
fn is_program(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(not(unix))]
fn is_program(path: &Path) -> bool {
    path.is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_shells_are_refused_with_the_known_ones_named() {
        let error = lookup(&ShellName::new("tcsh")).expect_err("tcsh is unknown");
        assert_eq!(error.kind(), ErrorKind::ShellNotFound);
        assert!(error.context().contains("bash"));
    }

    #[test]
    fn driver_texts_are_one_line_so_that_line_numbers_are_the_commands_own() {
        for shell in &SHELLS {
            if let Driver::Loop { text, .. } = shell.driver {
                assert!(!text.contains('\n'), "{}", shell.name);
                assert!(text.contains("{commands}") && text.contains("{status}"));
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn an_absolute_path_names_the_shell_of_its_file_name() {
        let name = ShellName::new("/bin/sh");
        assert_eq!(lookup(&name).map(|shell| shell.name).ok(), Some("sh"));
        assert_eq!(find_shell(&name).ok(), Some(PathBuf::from("/bin/sh")));
        let missing = find_shell(&ShellName::new("/nowhere/bash"));
        assert_eq!(
            missing.map_err(|error| error.kind()).err(),
            Some(ErrorKind::ShellNotFound)
        );
    }

    #[cfg(unix)]
    #[test]
    fn the_default_shell_is_among_the_available_ones() {
        let names: Vec<ShellName> = available_shells()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(names.contains(&default_shell()));
    }
}
