//! Sessions on Linux.
//!
//! A session's shell runs under a [supervisor](super::supervisor) and takes commands from a
//! [driver](super::shells) loop over two pipes. The shell finds the pipes by this process's
//! entries in `/proc`, so they have to be readable: a program that the system treats as holding
//! secrets (set-uid, or not readable by its user) cannot run sessions.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tokio::runtime::Runtime;

use super::framing::{end_of_input, frame};
use super::launch::{Recipe, Shell};
use super::process_tree::survivors;
use super::turn::{Goal, Turn, TurnEnd};
use super::{Cancel, CommandOutcome, Output, SessionSpec};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::runtime::runtime;

/// The exit status of a command that took too long, as `timeout(1)` has it.
const TIMED_OUT: i32 = 124;
/// 128 + SIGINT.
const CANCELLED: i32 = 130;

/// A persistent shell, which is started again when a command ended it.
pub(super) struct Session {
    recipe: Recipe,
    /// Gone only while the session is being dropped.
    runtime: Option<Runtime>,
    running: Option<Shell>,
    cwd: Option<AbsPath>,
    last_status: i32,
    /// The first shell is the only one.
    one_shell: bool,
}

impl Session {
    pub(super) fn start(spec: SessionSpec) -> Result<Self> {
        let recipe = Recipe::new(spec)?;
        let runtime = runtime().context(Stage::Execute, || "cannot wait for the shell's output")?;
        let mut session = Self {
            cwd: Some(recipe.spec.cwd.clone()),
            recipe,
            runtime: Some(runtime),
            running: None,
            last_status: 0,
            one_shell: false,
        };
        session.running = Some(session.launch()?);
        Ok(session)
    }

    pub(super) fn ancestor(&mut self) -> Option<u32> {
        // Where there can be no shell, the next command says why.
        self.ensure_running().ok()?;
        let shell = self.running.as_ref()?;
        Some(shell.supervisor.as_raw_nonzero().get().cast_unsigned())
    }

    pub(super) fn cwd(&self) -> Option<AbsPath> {
        self.cwd.clone()
    }

    pub(super) fn keep_to_one_shell(&mut self) {
        self.one_shell = true;
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.running.as_ref().is_some_and(|shell| !shell.has_news())
    }

    pub(super) fn run(
        &mut self,
        command: &OsStr,
        last: bool,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<CommandOutcome> {
        let started = Instant::now();
        if command.as_bytes().contains(&0) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                Stage::Execute,
                "the command has a NUL byte, which no shell can read",
            ));
        }
        if cancel.is_cancelled() {
            return Ok(cancelled_before(started));
        }
        // A deadline beyond what the clock can tell is none.
        let deadline = timeout.and_then(|timeout| started.checked_add(timeout));
        let mut end = self.attempt(command, last, deadline, cancel)?;
        if end.unread && !end.ended_tree() {
            // The shell died just before, which nobody knew yet.
            self.retire();
            end = self.attempt(command, last, deadline, cancel)?;
        }
        if end.unread && !end.ended_tree() {
            self.retire();
            return Err(shell_lost(&self.recipe.why_never_ready()));
        }
        Ok(self.conclude(&end, started))
    }

    fn attempt(
        &mut self,
        command: &OsStr,
        last: bool,
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<TurnEnd> {
        self.ensure_running()?;
        self.turn(&Turn {
            input: frame(self.recipe.framing, self.last_status, command.as_bytes()),
            farewell: last.then(|| end_of_input(self.recipe.framing)),
            goal: if last { Goal::End } else { Goal::Status },
            deadline,
            cancel: Some(cancel),
            grace: self.recipe.spec.kill_grace,
        })
    }

    pub(super) fn close(&mut self) -> Result<()> {
        if self.running.as_ref().is_none_or(Shell::has_news) {
            self.retire();
            return Ok(());
        }
        let end = self.turn(&Turn {
            input: end_of_input(self.recipe.framing).to_vec(),
            farewell: None,
            goal: Goal::End,
            deadline: Some(Instant::now() + self.recipe.spec.kill_grace),
            cancel: None,
            grace: self.recipe.spec.kill_grace,
        });
        self.retire();
        end.map(|_| ())
    }

    /// Turns the end of a command into its outcome and brings the session up to date.
    fn conclude(&mut self, end: &TurnEnd, started: Instant) -> CommandOutcome {
        let duration = started.elapsed();
        let Some(shell) = &self.running else {
            return CommandOutcome {
                duration,
                ..cancelled_before(started)
            };
        };
        let shell_ended = shell.ended.is_some() || end.ended_tree();
        let own_status = shell.ended.map(|ended| ended.code).or(end.status);
        let exit_code = if end.timed_out {
            TIMED_OUT
        } else if end.cancelled {
            own_status.filter(|code| *code > 128).unwrap_or(CANCELLED)
        } else {
            own_status.unwrap_or(CANCELLED)
        };
        let except = shell.ended.is_none().then_some(shell.pid);
        let survivors = survivors(shell.supervisor, except);
        self.last_status = exit_code;
        if shell_ended {
            self.retire();
        } else {
            // A shell that has just gone has no directory: the last one known stays.
            if let Ok(directory) = working_directory(shell.pid) {
                self.cwd = directory;
            }
        }
        CommandOutcome {
            exit_code,
            timed_out: end.timed_out,
            cancelled: end.cancelled,
            shell_ended,
            duration,
            survivors,
        }
    }

    /// Starts a new shell when there is none or the old one died since the last command.
    fn ensure_running(&mut self) -> Result<()> {
        if self.running.as_ref().is_some_and(Shell::has_news) {
            self.retire();
        }
        if self.running.is_none() {
            if self.one_shell {
                return Err(shell_lost("it has ended"));
            }
            self.running = Some(self.launch()?);
            self.last_status = 0;
        }
        Ok(())
    }

    /// Lets the supervisor go; what still runs of the tree goes on.
    fn retire(&mut self) {
        if let Some(shell) = self.running.take() {
            shell.release();
        }
    }

    fn launch(&self) -> Result<Shell> {
        let directory = self.cwd.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                Stage::Execute,
                "the session's working directory was deleted; there is nowhere to start a new shell",
            )
        })?;
        let runtime = self.runtime.as_ref();
        let runtime = runtime.ok_or_else(|| shell_lost("it was closed"))?;
        self.recipe.launch(runtime, directory)
    }

    fn turn(&mut self, turn: &Turn<'_>) -> Result<TurnEnd> {
        let (Some(runtime), Some(shell)) = (&self.runtime, &mut self.running) else {
            return Err(shell_lost("it was closed"));
        };
        let end = match &self.recipe.spec.output {
            Output::Inherit { .. } => runtime.block_on(shell.take_turn(turn, None)),
            Output::Stream(sink) => {
                let taken =
                    AssertUnwindSafe(|| shell.take_turn_streaming(runtime, turn, sink.as_ref()));
                catch_unwind(taken).unwrap_or_else(|panic| {
                    // The sink's doing. What the ended command left in the pipes must not reach
                    // it again when the session is dropped.
                    self.retire();
                    resume_unwind(panic)
                })
            }
        };
        end.map_err(|source| {
            self.retire();
            let context = "lost the connection to the shell";
            Error::io(Stage::Execute, context, source)
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Nobody is left to tell; the shell is gone either way.
        let _ = self.close();
        if let Some(runtime) = self.runtime.take() {
            // Dropping it would panic where the session is dropped by an asynchronous task.
            runtime.shutdown_background();
        }
    }
}

fn cancelled_before(started: Instant) -> CommandOutcome {
    CommandOutcome {
        exit_code: CANCELLED,
        timed_out: false,
        cancelled: true,
        shell_ended: false,
        duration: started.elapsed(),
        survivors: Vec::new(),
    }
}

fn shell_lost(reason: &str) -> Error {
    Error::new(
        ErrorKind::NotExecutable,
        Stage::Execute,
        format!("the session's shell is gone: {reason}"),
    )
}

/// The physical working directory of `pid`; `None` when it was deleted or cannot be named. An error
/// when the process is gone.
fn working_directory(pid: Pid) -> std::io::Result<Option<AbsPath>> {
    let link = format!("/proc/{}/cwd", pid.as_raw_nonzero());
    let named = std::fs::read_link(&link)?;
    let actual = link_target(&link)?;
    // The name of a deleted directory has a suffix that an existing one may have too.
    let found = link_target(&named).ok();
    Ok(AbsPath::new(named).ok().filter(|_| found == Some(actual)))
}

fn link_target(path: impl AsRef<Path>) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
