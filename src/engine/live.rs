//! A shell that lives from request to request.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::run::{Shell, Step, check_command, physical_directory};
use super::{Engine, RunContext, RunReport};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::{Cancel, quote_arguments};
use crate::path::AbsPath;
use crate::request::{RunRequest, ShellName};

/// How long changing the directory may take: it may be on another host.
const ENTER: Duration = Duration::from_secs(30);

/// A shell for [`Engine::run_in`]: directory, variables and functions last from command to command.
///
/// It is one shell, and when it has ended there is no other in its place. Dropping it ends it.
pub struct LiveShell {
    shell: Shell,
    name: ShellName,
}

impl LiveShell {
    /// Where the next command starts; the directory above it where that was deleted.
    pub fn cwd(&self) -> AbsPath {
        let live = self.shell.session.cwd();
        live.unwrap_or_else(|| self.shell.cwd.clone())
    }

    /// Whether the shell is there, as far as is known. It may end at any time.
    pub fn is_alive(&mut self) -> bool {
        self.shell.session.is_alive()
    }

    /// Takes the shell to another directory, with its own `cd`.
    ///
    /// # Errors
    /// Where there is no such directory, or the shell did not get there; it is where it was then.
    pub fn enter(&mut self, directory: &AbsPath, cancel: &Cancel) -> Result<()> {
        let wanted = physical_directory(directory)?;
        if self.shell.session.cwd().as_ref() == Some(&wanted) {
            return Ok(());
        }
        let line = quote_arguments(&self.name, &change_directory(&self.name, &wanted))?;
        self.shell.session.run(&line, false, Some(ENTER), cancel)?;
        if self.shell.session.cwd().as_ref() == Some(&wanted) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::NotExecutable,
            Stage::Execute,
            format!("the shell could not be taken to {wanted}"),
        ))
    }

    /// Ends the shell as the end of its input does. What its exit traps change is in no snapshot.
    pub fn close(self) -> Result<()> {
        self.shell.session.close()
    }
}

impl Engine {
    /// Starts a shell with the directory and the variables of `request`, for [`Engine::run_in`].
    /// Its output goes where `context` says, for as long as it lives.
    pub fn open_shell(&self, request: &RunRequest, context: &RunContext<'_>) -> Result<LiveShell> {
        let cwd = physical_directory(&request.cwd)?;
        let mut shell = self.start_shell(request, &[], cwd, context)?;
        shell.session.keep_to_one_shell();
        Ok(LiveShell {
            shell,
            name: request.shell.clone(),
        })
    }

    /// [`Engine::run`] in a shell that is there and stays. Of `request` the shell, the directory and
    /// the variables count for nothing, and no failure is rolled back.
    ///
    /// # Errors
    /// As for [`Engine::run`], and `NotExecutable` where the shell has ended before the command
    /// began.
    pub fn run_in(
        &self,
        live: &mut LiveShell,
        request: &RunRequest,
        context: RunContext<'_>,
    ) -> Result<RunReport> {
        let mut context = context;
        check_command(&request.command)?;
        let step = Step {
            command: &request.command,
            batch: None,
            last: false,
        };
        self.run_step(&mut live.shell, request, &step, &mut context)
    }
}

/// The command that takes a shell to a directory.
fn change_directory(shell: &ShellName, directory: &AbsPath) -> Vec<OsString> {
    let name = Path::new(shell.as_str()).file_stem().unwrap_or_default();
    let words: &[&str] = match name.to_string_lossy().to_ascii_lowercase().as_str() {
        "cmd" => &["cd", "/d"],
        "powershell" | "pwsh" => &["Set-Location"],
        _ => &["cd", "--"],
    };
    let words = words.iter().map(OsString::from);
    words.chain([directory.as_path().into()]).collect()
}
