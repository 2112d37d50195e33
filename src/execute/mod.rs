//! Runs command lines in persistent shell sessions.
//!
//! A [`Session`] keeps one shell, so that the working directory, variables, functions, options and
//! open descriptors persist from command to command. When a command ends the shell (`exit`,
//! `exec`, `set -e`, a signal, a time-out, cancelling), the next one gets a fresh shell in the last
//! working directory that was seen between commands; everything else starts anew.
//!
//! - A command reads an empty standard input unless the session inherits this process's.
//! - A command that leaves its shell unable to read another one (a restricted shell, no descriptors,
//!   `set -n`) ends it too.
//! - The end of a command is the shell's word, not the end of its output: a background job that
//!   holds the output open delays nothing. What it writes later is handed over with the next
//!   command. When the session is gone, writing to its pipe fails as writing to any closed pipe.
//! - A time-out or cancelling ends every process that descends from the shell, those that detached
//!   themselves and jobs of earlier commands included, politely first and by force when
//!   [`SessionSpec::kill_grace`] is over. Processes of other users (`sudo`) that this process may
//!   not signal are left, and are listed as survivors. So does the death of this process.
//! - Neither a session of its own nor a process group is made: Ctrl-C and password prompts of a
//!   terminal work as usual.

mod drivers;
mod quoting;
pub mod shells;

#[cfg(unix)]
mod framing;
#[cfg(unix)]
mod launch;
#[cfg(unix)]
mod process_tree;
#[cfg(unix)]
mod supervisor;
#[cfg(unix)]
mod turn;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::path::AbsPath;
use crate::request::ShellName;
use crate::snapshot::intercept::Interception;

pub use quoting::quote_arguments;
pub use shells::{available_shells, default_shell, find_shell};

/// Where a session's output goes.
#[derive(Clone)]
pub enum Output {
    /// The command writes straight to this process's standard output and error: nothing is
    /// copied, and programs see a terminal where there is one. With `stdout_to_stderr` both go to
    /// standard error (for `--json`).
    Inherit {
        /// Send the command's standard output to this process's standard error.
        stdout_to_stderr: bool,
    },
    /// Pieces are handed over as they come, in the order read, from one thread. When the receiver
    /// blocks, the command blocks.
    Stream(Arc<dyn OutputSink>),
}

impl Output {
    /// Straight to this process's own standard output and error.
    pub fn inherit() -> Self {
        Self::Inherit {
            stdout_to_stderr: false,
        }
    }
}

/// Which of the two output streams a piece came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Receives output of a command.
pub trait OutputSink: Send + Sync {
    /// Takes a piece of at most 64 KiB; it may end within a character.
    fn write(&self, stream: OutputStream, piece: &[u8]);
}

/// Stops a command from another thread or a signal handler. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks for the end of the process tree. Safe in a signal handler.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
    /// Whether the end was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
    /// The flag itself, for a signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}

/// What a session starts with.
#[derive(Clone)]
pub struct SessionSpec {
    /// Which shell.
    pub shell: ShellName,
    /// Where it starts.
    pub cwd: AbsPath,
    /// Variables set on top of the inherited environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where output goes.
    pub output: Output,
    /// Give commands this process's standard input instead of an empty one.
    pub inherit_stdin: bool,
    /// Between the polite signal and the one that cannot be refused.
    pub kill_grace: Duration,
    /// Answers for the file-changing calls of everything that the shell starts.
    pub interception: Option<Arc<Interception>>,
}

/// How one command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandOutcome {
    /// Exit status as a shell reports it: 128 + signal number when a signal ended it.
    pub exit_code: i32,
    /// The time limit was reached and the process tree ended.
    pub timed_out: bool,
    /// It was cancelled and the process tree ended.
    pub cancelled: bool,
    /// The shell ended with the command (`exit`, `exec`, `set -e`, killed); the next command gets
    /// a new one that starts in [`Session::cwd`].
    pub shell_ended: bool,
    /// From start to end.
    pub duration: Duration,
    /// Processes that the command left running, as far as can be told.
    pub survivors: Vec<u32>,
}

/// A persistent shell. Dropping it ends the shell; background processes that a command left behind
/// stay, as they would in a terminal.
pub struct Session {
    inner: system::Session,
}

impl Session {
    /// Starts the shell, without waiting until it is ready. The environment is this process's own
    /// with [`SessionSpec::env`] on top.
    ///
    /// Errors: `ShellNotFound`; `NotFound` where the directory is missing; `InvalidRequest` for
    /// variables that cannot be; `NotExecutable` or what the system says otherwise.
    pub fn start(spec: SessionSpec) -> Result<Self> {
        let inner = system::Session::start(spec)?;
        Ok(Self { inner })
    }

    /// Runs one command line to its end. With `last`, the shell's input is closed after it so that
    /// exit traps run as part of it, and the shell's end is awaited.
    ///
    /// Blocks; within an asynchronous program call it where blocking is allowed. A time-out gives
    /// exit status 124. Cancelling gives 130, or the shell's own status if that tells of another
    /// signal; a command that is cancelled before it starts is not run.
    ///
    /// Errors: `InvalidRequest` for a NUL byte in `command`; `NotFound` where a fresh shell is due
    /// and the working directory is gone; `NotExecutable` where the shell cannot run. A command
    /// that fails is no error.
    pub fn run(
        &mut self,
        command: &OsStr,
        last: bool,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<CommandOutcome> {
        self.inner.run(command, last, timeout, cancel)
    }

    /// From now on commands run in the shell that there is, or not at all: when it has ended,
    /// [`Session::run`] fails with `NotExecutable` instead of starting another one.
    pub fn keep_to_one_shell(&mut self) {
        self.inner.keep_to_one_shell();
    }

    /// Whether the shell is there, as far as is known. It may end at any time.
    pub fn is_alive(&mut self) -> bool {
        self.inner.is_alive()
    }

    /// The process that everything which the next command starts descends from, whatever becomes of the
    /// shell, which is started where the last command ended it. `None` where there is none, or no shell.
    pub fn ancestor(&mut self) -> Option<u32> {
        self.inner.ancestor()
    }

    /// Where the next command starts: the shell's physical working directory. `None` when it was
    /// deleted.
    pub fn cwd(&self) -> Option<AbsPath> {
        self.inner.cwd()
    }

    /// Ends the shell as the end of its input does: exit traps run, for at most
    /// [`SessionSpec::kill_grace`].
    pub fn close(mut self) -> Result<()> {
        self.inner.close()
    }
}
