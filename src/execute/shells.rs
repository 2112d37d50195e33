//! Shells as data: program names, options, driver text and quoting.
//!
//! A session of a Unix shell runs a *driver*, a short loop in the shell's own language, given with
//! `-c`. Each round it writes the status of the last command to one pipe, reads the next command
//! as one quoted unit from another, and evaluates it. What follows from that:
//!
//! - **The command has no way to meet the driver by accident.** The pipes are opened by their names
//!   in `/proc` only for the moment that they are used. While a command runs the shell holds no
//!   descriptor but 0, 1, 2 and those that the commands opened themselves, so every number is the
//!   user's and nothing leaks to background jobs. The driver's own output and its trace
//!   (`set -x`) go to `/dev/null`; only the line that evaluates the command shows in a trace.
//! - **Quoting contains everything.** Unbalanced quotes, here-documents and syntax errors are the
//!   command's own affair.
//! - **Functions of the user do not replace the driver's words.** Builtins are called through
//!   `builtin` or `command`. A function with just that name would, so the driver probes for it and
//!   removes it; it is the one kind of function that does not outlive its command.
//! - **`$?` is the previous command's status** as in one script. It is set by a subshell when it is
//!   not 0.
//! - **A stray `break` or `continue`** ends a round, not the session; the inner loop is restarted.
//!   (`break 2` ends the session.)
//! - Variables of the driver begin with `__deployx_`. They are never exported, not even under
//!   `set -a`.
//!
//! No start-up files are read, with two exceptions outside our reach: zsh always reads
//! `/etc/zsh/zshenv`, and a system may patch its shells. `BASH_ENV` would make bash run a file
//! before the driver: it is withheld from the shell's own environment and exported by the driver,
//! so that programs started by a command see it as they should.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

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

/// What a driver is given besides its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverArguments {
    /// Nothing, not even the shell's name.
    None,
    /// The name that error messages begin with, a line break (which no POSIX shell can write on
    /// one line), and assignments to export: these variables, which the shell itself must not see.
    LineBreakAndVariables(&'static [&'static str]),
}

/// How a session makes the shell run commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// A loop in the shell's language, see the [module documentation](self). `{commands}` and
    /// `{status}` stand for the names of the two pipes.
    Loop {
        /// The loop.
        text: &'static str,
        /// The arguments that the loop takes after the shell's name.
        takes: DriverArguments,
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

/// The driver of shells with POSIX syntax. `$call` calls a builtin whatever functions there are,
/// `$eval` evaluates.
///
/// In the condition of the inner loop: remember `$?`; switch `allexport` off for as long as the
/// driver assigns; probe `$call`; report the status, which means "ready" the first time; read a
/// line and evaluate it (it assigns the command and the status to restore, or asks for the end).
macro_rules! posix_driver {
    ($call:literal, $eval:literal) => {
        concat!(
            "{ __deployx_n=$1; shift; case $# in 0) ;; *) ",
            $call,
            " export \"$@\"; ",
            $call,
            " set --;; esac; __deployx_e=; } >/dev/null 2>&1; ",
            "while case $__deployx_e in 1) ! :;; esac; do ",
            "while { __deployx_l=$?; ",
            "case $- in *a*) ",
            $call,
            " set +a; __deployx_a=1;; *) __deployx_a=;; esac; ",
            "__deployx_t=; ",
            $call,
            " eval __deployx_t=1; ",
            "case $__deployx_t in 1) ;; *) unset -f ",
            $call,
            "; ",
            $call,
            " eval __deployx_t=1;; esac; ",
            "case $__deployx_t in 1) ",
            $call,
            " echo \"$__deployx_l\" >|{status} && IFS= ",
            $call,
            " read -r __deployx_l <{commands} && ",
            $call,
            " eval \"$__deployx_l\" || __deployx_e=1;; ",
            "*) __deployx_e=1;; esac; ",
            $call,
            " unset __deployx_l; ",
            "case $__deployx_a in 1) ",
            $call,
            " set -a;; esac; ",
            "case $__deployx_e in 1) ! :;; esac; } >/dev/null 2>&1; do ",
            "if { case $__deployx_s in 0) ;; *) (exit \"$__deployx_s\");; esac; } >/dev/null 2>&1; ",
            "then ",
            $eval,
            " \"$__deployx_c\"; else ",
            $eval,
            " \"$__deployx_c\"; fi; done; done"
        )
    };
}

/// `eval` is a special builtin, which no function replaces, and errors in it end the shell as they
/// do in a script.
const SH_DRIVER: Driver = Driver::Loop {
    text: posix_driver!("command", "eval"),
    takes: DriverArguments::LineBreakAndVariables(&[]),
};

const FISH_DRIVER: Driver = Driver::Loop {
    text: concat!(
        "function __deployx_status; return $argv[1]; end; ",
        "builtin set -g __deployx_s 0; builtin set -g __deployx_c; builtin set -g __deployx_e 0; ",
        "while builtin test $__deployx_e = 0; ",
        "while begin; builtin echo $status >{status}; ",
        "and builtin read -z __deployx_c <{commands}; ",
        "and builtin eval $__deployx_c; ",
        "or builtin set -g __deployx_e 1; ",
        "builtin test $__deployx_e = 0; end 2>/dev/null; ",
        "__deployx_status $__deployx_s; builtin eval $__deployx_c; end; end"
    ),
    takes: DriverArguments::None,
};

/// Every shell that requests may name, in order of preference.
pub static SHELLS: [ShellSpec; 8] = [
    ShellSpec {
        name: "bash",
        program: "bash",
        options: &["--noprofile", "--norc", "-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: posix_driver!("builtin", "builtin eval"),
            takes: DriverArguments::LineBreakAndVariables(&["BASH_ENV"]),
        },
    },
    ShellSpec {
        name: "sh",
        program: "sh",
        options: &["-c"],
        quoting: Quoting::Posix,
        driver: SH_DRIVER,
    },
    ShellSpec {
        name: "dash",
        program: "dash",
        options: &["-c"],
        quoting: Quoting::Posix,
        driver: SH_DRIVER,
    },
    ShellSpec {
        name: "zsh",
        program: "zsh",
        options: &["-f", "-c"],
        quoting: Quoting::Posix,
        driver: Driver::Loop {
            text: posix_driver!("builtin", "builtin eval"),
            takes: DriverArguments::LineBreakAndVariables(&[]),
        },
    },
    ShellSpec {
        name: "fish",
        program: "fish",
        options: &["--no-config", "-c"],
        quoting: Quoting::Fish,
        driver: FISH_DRIVER,
    },
    ShellSpec {
        name: "cmd",
        program: "cmd",
        options: &["/d", "/q", "/c"],
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
    listed
        .into_iter()
        .chain(standard.iter().map(PathBuf::from))
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
        let names: Vec<ShellName> = available_shells().into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&default_shell()));
    }
}
