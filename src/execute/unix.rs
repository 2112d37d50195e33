//! Sessions on Linux.
//!
//! A session's shell runs under a [supervisor](super::supervisor) and takes commands from a
//! [driver](super::shells) loop over two pipes. The shell finds the pipes by this process's
//! entries in `/proc`, so they have to be readable: a program that the system treats as holding
//! secrets (set-uid, or not readable by its user) cannot run sessions.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::Runtime;

use super::process_tree::survivors;
use super::quoting::{quote_fish, quote_posix};
use super::shells::{Driver, DriverArguments, Quoting, ShellSpec, find_shell, lookup};
use super::supervisor::{Order, supervise};
use super::turn::{Ended, Goal, Outputs, Turn, TurnEnd};
use super::{Cancel, CommandOutcome, Output, SessionSpec};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::process_unix::{Launch, LaunchError, LaunchStep, launch, wait_for};

/// The exit status of a command that took too long, as `timeout(1)` has it.
const TIMED_OUT: i32 = 124;
/// 128 + SIGINT.
const CANCELLED: i32 = 130;

/// A persistent shell, which is started again when a command ended it.
pub(super) struct Session {
    spec: SessionSpec,
    shell: &'static ShellSpec,
    program: PathBuf,
    /// Gone only while the session is being dropped.
    runtime: Option<Runtime>,
    running: Option<Shell>,
    cwd: Option<AbsPath>,
    last_status: i32,
}

/// A shell that runs.
pub(super) struct Shell {
    supervisor: Pid,
    pub(super) pid: Pid,
    pub(super) channel: UnixStream,
    pub(super) commands: Sender,
    pub(super) statuses: Receiver,
    pub(super) outputs: Option<Outputs>,
    pub(super) ended: Option<Ended>,
    /// The driver has reported that it waits for commands.
    pub(super) ready: bool,
    /// The shell opens the pipes only while it uses them; these keep them alive in between.
    _other_ends: (PipeReader, PipeWriter),
}

impl Session {
    pub(super) fn start(spec: SessionSpec) -> Result<Self> {
        let shell = lookup(&spec.shell)?;
        let program = find_shell(&spec.shell)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .context(Stage::Execute, || "cannot wait for the shell's output")?;
        let mut session = Self {
            cwd: Some(spec.cwd.clone()),
            spec,
            shell,
            program,
            runtime: Some(runtime),
            running: None,
            last_status: 0,
        };
        session.running = Some(session.launch()?);
        Ok(session)
    }

    pub(super) fn cwd(&self) -> Option<AbsPath> {
        self.cwd.clone()
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
        self.ensure_running()?;
        let mut input = self.frame(command);
        if last {
            input.extend(end_of_input(self.shell.quoting));
        }
        let end = self.turn(&Turn {
            input,
            goal: if last { Goal::End } else { Goal::Status },
            // A deadline beyond what the clock can tell is none.
            deadline: timeout.and_then(|timeout| started.checked_add(timeout)),
            cancel: Some(cancel),
            grace: self.spec.kill_grace,
        })?;
        Ok(self.conclude(&end, started))
    }

    pub(super) fn close(&mut self) -> Result<()> {
        if self.running.as_ref().is_none_or(Shell::has_news) {
            self.retire();
            return Ok(());
        }
        let end = self.turn(&Turn {
            input: end_of_input(self.shell.quoting),
            goal: Goal::End,
            deadline: Some(Instant::now() + self.spec.kill_grace),
            cancel: None,
            grace: self.spec.kill_grace,
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
            self.cwd = working_directory(shell.pid);
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

    fn turn(&mut self, turn: &Turn<'_>) -> Result<TurnEnd> {
        let (Some(runtime), Some(shell)) = (&self.runtime, &mut self.running) else {
            return Err(shell_lost("it was closed"));
        };
        let end = match &self.spec.output {
            Output::Inherit { .. } => runtime.block_on(shell.take_turn(turn, None)),
            Output::Stream(sink) => shell.take_turn_streaming(runtime, turn, sink.as_ref()),
        };
        let never_ready = !shell.ready;
        match end {
            Ok(end) if never_ready && !end.ended_tree() && turn.goal == Goal::Status => {
                self.retire();
                Err(shell_lost(
                    "it ended before it read a command; it must be able to open this process's \
                     entries in /proc",
                ))
            }
            Ok(end) => Ok(end),
            Err(source) => {
                self.retire();
                let context = "lost the connection to the shell";
                Err(Error::io(Stage::Execute, context, source))
            }
        }
    }

    /// The command as the driver reads it: it assigns the command's text and the status that `$?`
    /// is to have. One line for shells that read lines, ended by a NUL byte for fish.
    fn frame(&self, command: &OsStr) -> Vec<u8> {
        let status = self.last_status;
        let command = command.as_bytes();
        let mut line = Vec::with_capacity(command.len() + 64);
        if self.shell.quoting == Quoting::Fish {
            line.extend(format!("builtin set -g __deployx_s {status}; ").bytes());
            line.extend(b"builtin set -g __deployx_c ");
            quote_fish(command, &mut line);
            line.push(0);
            return line;
        }
        line.extend(format!("__deployx_s={status}; __deployx_c=").bytes());
        for (index, part) in command.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                line.extend(b"\"$__deployx_n\"");
            }
            quote_posix(part, &mut line);
        }
        line.push(b'\n');
        line
    }

    fn launch(&self) -> Result<Shell> {
        let directory = self.cwd.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                Stage::Execute,
                "the session's working directory was deleted; there is nowhere to start a new shell",
            )
        })?;
        let runtime = self
            .runtime
            .as_ref()
            .ok_or_else(|| shell_lost("it was closed"))?;
        let _context = runtime.enter();
        self.connect()
            .context(Stage::Execute, || "cannot make pipes to the shell")?
            .launch(self, directory)
    }

    fn connect(&self) -> std::io::Result<Wiring> {
        let (commands_reader, commands) = pipe()?;
        let (statuses, statuses_writer) = pipe()?;
        let (channel, supervisor_channel) = StdUnixStream::pair()?;
        let stdin = if self.spec.inherit_stdin {
            std::io::stdin().as_fd().try_clone_to_owned()?
        } else {
            File::open("/dev/null")?.into()
        };
        let (stdout, stderr, outputs) = match self.spec.output {
            Output::Inherit { stdout_to_stderr } => {
                let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
                let stdout = if stdout_to_stderr {
                    stderr.try_clone()?
                } else {
                    std::io::stdout().as_fd().try_clone_to_owned()?
                };
                (stdout, stderr, None)
            }
            Output::Stream(_) => {
                let (out, stdout) = pipe()?;
                let (err, stderr) = pipe()?;
                let outputs = Outputs::new(out.into(), err.into())?;
                (stdout.into(), stderr.into(), Some(outputs))
            }
        };
        Ok(Wiring {
            commands: (commands_reader, commands),
            statuses: (statuses, statuses_writer),
            channel,
            supervisor_channel,
            stdio: [stdin, stdout, stderr],
            outputs,
        })
    }

    /// The shell's argument vector. Variables that the driver exports are taken out of
    /// `environment`.
    fn arguments(
        &self,
        commands: &impl AsRawFd,
        statuses: &impl AsRawFd,
        environment: &mut BTreeMap<OsString, OsString>,
    ) -> Vec<OsString> {
        let mut arguments = vec![OsString::from(self.shell.name)];
        arguments.extend(self.shell.options.iter().map(OsString::from));
        let Driver::Loop { text, takes } = self.shell.driver else {
            return arguments;
        };
        let name = |end: RawFd| format!("/proc/{}/fd/{end}", std::process::id());
        let text = text
            .replace("{commands}", &name(commands.as_raw_fd()))
            .replace("{status}", &name(statuses.as_raw_fd()));
        arguments.push(text.into());
        if let DriverArguments::LineBreakAndVariables(variables) = takes {
            arguments.extend([self.shell.name.into(), "\n".into()]);
            arguments.extend(variables.iter().filter_map(|variable| {
                let name = OsStr::new(variable);
                Some(assignment(name, &environment.remove(name)?))
            }));
        }
        arguments
    }

    /// This process's environment with the session's variables on top. `PWD` names the directory
    /// as the caller does, which keeps a shell's logical path through symbolic links.
    fn environment(&self, directory: &AbsPath) -> Result<BTreeMap<OsString, OsString>> {
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        environment.insert("PWD".into(), directory.as_path().into());
        for (name, value) in &self.spec.env {
            let bytes = name.as_bytes();
            if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) {
                let name = name.to_string_lossy();
                let context = format!("'{}' cannot name a variable", name.escape_debug());
                return Err(Error::new(ErrorKind::InvalidRequest, Stage::Execute, context));
            }
            environment.insert(name.clone(), value.clone());
        }
        Ok(environment)
    }

    fn launch_error(&self, error: LaunchError, directory: &AbsPath) -> Error {
        let LaunchError { step, source } = error;
        let program = self.program.display();
        match step {
            LaunchStep::Directory => Error::io(
                Stage::Execute,
                format!("cannot enter the working directory {directory}"),
                source,
            ),
            LaunchStep::Execute => Error::io(
                Stage::Execute,
                format!("cannot execute the shell '{program}'"),
                source,
            )
            .with_kind(ErrorKind::NotExecutable),
            LaunchStep::Fork | LaunchStep::Descriptors => Error::io(
                Stage::Execute,
                format!("cannot start a process for the shell '{program}'"),
                source,
            ),
        }
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

/// Both ends of everything that connects a session with a shell that is about to start.
struct Wiring {
    commands: (PipeReader, PipeWriter),
    statuses: (PipeReader, PipeWriter),
    channel: StdUnixStream,
    supervisor_channel: StdUnixStream,
    stdio: [OwnedFd; 3],
    outputs: Option<Outputs>,
}

impl Wiring {
    fn launch(self, session: &Session, directory: &AbsPath) -> Result<Shell> {
        let mut environment = session.environment(directory)?;
        let arguments = session.arguments(&self.commands.0, &self.statuses.1, &mut environment);
        let environment: Vec<OsString> = environment
            .iter()
            .map(|(name, value)| assignment(name, value))
            .collect();
        let [stdin, stdout, stderr] = &self.stdio;
        let launched = launch(&Launch {
            program: &c_string(session.program.as_os_str())?,
            arguments: &c_strings(&arguments)?,
            environment: &c_strings(&environment)?,
            directory: &c_string(directory.as_path().as_os_str())?,
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            channel: self.supervisor_channel.as_fd(),
            grace: session.spec.kill_grace,
            supervise,
        })
        .map_err(|error| session.launch_error(error, directory))?;
        let connected = || -> std::io::Result<_> {
            self.channel.set_nonblocking(true)?;
            Ok((
                UnixStream::from_std(self.channel)?,
                Sender::from_owned_fd(self.commands.1.into())?,
                Receiver::from_owned_fd(self.statuses.0.into())?,
            ))
        };
        let (channel, commands, statuses) =
            connected().context(Stage::Execute, || "cannot wait for the shell")?;
        Ok(Shell {
            supervisor: launched.supervisor,
            pid: launched.program,
            channel,
            commands,
            statuses,
            outputs: self.outputs,
            ended: None,
            ready: false,
            _other_ends: (self.commands.0, self.statuses.1),
        })
    }
}

impl Shell {
    /// Whether the supervisor has something to say, which between commands can only be that the
    /// shell ended.
    fn has_news(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut watched = [PollFd::new(&self.channel, PollFlags::IN)];
        self.ended.is_some() || poll(&mut watched, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    pub(super) fn order(&self, order: Order) -> std::io::Result<()> {
        rustix::io::write(&self.channel, &[order as u8])?;
        Ok(())
    }

    /// Ends the shell if it still runs and lets the supervisor go.
    fn release(self) {
        if self.ended.is_none() {
            let _ = self.order(Order::KillShell);
        }
        let _ = self.order(Order::Release);
        wait_for(self.supervisor);
    }
}

/// What makes the driver leave its loop, so that the shell ends as at the end of a script.
fn end_of_input(quoting: Quoting) -> Vec<u8> {
    if quoting == Quoting::Fish {
        b"builtin set -g __deployx_e 1\0".to_vec()
    } else {
        b"__deployx_e=1\n".to_vec()
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

fn assignment(name: &OsStr, value: &OsStr) -> OsString {
    let mut assignment = name.to_os_string();
    assignment.push("=");
    assignment.push(value);
    assignment
}

fn c_string(string: &OsStr) -> Result<CString> {
    CString::new(string.as_bytes()).map_err(|_| {
        Error::new(
            ErrorKind::InvalidRequest,
            Stage::Execute,
            "a variable or path for the shell has a NUL byte, which no program can be given",
        )
    })
}

fn c_strings(strings: &[OsString]) -> Result<Vec<CString>> {
    strings.iter().map(|string| c_string(string)).collect()
}

/// The physical working directory of `pid`; `None` when it was deleted or cannot be named.
fn working_directory(pid: Pid) -> Option<AbsPath> {
    let link = format!("/proc/{}/cwd", pid.as_raw_nonzero());
    let named = std::fs::read_link(&link).ok()?;
    // The name of a deleted directory has a suffix that an existing one may have too.
    let (actual, found) = (link_target(&link)?, link_target(&named)?);
    if actual != found {
        return None;
    }
    AbsPath::new(named).ok()
}

fn link_target(path: impl AsRef<Path>) -> Option<(u64, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}
