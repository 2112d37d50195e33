//! Starts a shell for a session and connects it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, pipe};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;

use rustix::process::Pid;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::runtime::Runtime;

use super::shells::{Driver, Framing, ShellSpec, find_shell, lookup};
use super::supervisor::{Order, supervise};
use super::turn::{Ended, Outputs};
use super::{Output, SessionSpec};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::sys::process_unix::{Launch, LaunchError, LaunchStep, Restraint, launch, wait_for};

/// A shell that runs.
pub(super) struct Shell {
    pub(super) supervisor: Pid,
    pub(super) pid: Pid,
    pub(super) channel: UnixStream,
    pub(super) commands: Sender,
    pub(super) statuses: Receiver,
    pub(super) outputs: Option<Outputs>,
    pub(super) ended: Option<Ended>,
    /// The driver has reported that it waits for commands.
    pub(super) ready: bool,
    /// The shell opens the pipes only while it uses them; these ends keep them alive in between.
    _commands_reader: PipeReader,
    _statuses_writer: PipeWriter,
}

/// How the shells of one session are started.
pub(super) struct Recipe {
    pub(super) spec: SessionSpec,
    shell: &'static ShellSpec,
    driver: &'static str,
    pub(super) framing: Framing,
    withheld: &'static [&'static str],
    program: PathBuf,
}

impl Recipe {
    pub(super) fn new(spec: SessionSpec) -> Result<Self> {
        let shell = lookup(&spec.shell)?;
        let program = find_shell(&spec.shell)?;
        let Driver::Loop {
            text: driver,
            framing,
            withheld,
        } = shell.driver
        else {
            let context = format!("sessions of '{}' do not exist on Unix", shell.name);
            return Err(Error::new(
                ErrorKind::ShellNotFound,
                Stage::Execute,
                context,
            ));
        };
        Ok(Self {
            spec,
            shell,
            driver,
            framing,
            withheld,
            program,
        })
    }

    /// Starts a shell in `directory`, connected to `runtime`.
    pub(super) fn launch(&self, runtime: &Runtime, directory: &AbsPath) -> Result<Shell> {
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
        let name = |end: RawFd| format!("/proc/{}/fd/{end}", std::process::id());
        let text = self
            .driver
            .replace("{commands}", &name(commands.as_raw_fd()))
            .replace("{status}", &name(statuses.as_raw_fd()));
        let mut arguments = vec![OsString::from(self.shell.name)];
        arguments.extend(self.shell.options.iter().map(OsString::from));
        arguments.push(text.into());
        if self.framing != Framing::Fish {
            // The name that error messages begin with, a line break, variables to export.
            arguments.extend([self.shell.name.into(), "\n".into()]);
            arguments.extend(self.withheld.iter().filter_map(|variable| {
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
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    Stage::Execute,
                    context,
                ));
            }
            environment.insert(name.clone(), value.clone());
        }
        Ok(environment)
    }

    /// Why a shell may have ended before it took a command.
    pub(super) fn why_never_ready(&self) -> String {
        let given = self
            .spec
            .env
            .iter()
            .rev()
            .cloned()
            .chain(std::env::vars_os());
        let mut options = given.filter(|(name, _)| name == "SHELLOPTS");
        let options = options.next().map(|(_, value)| value);
        let passes_over = options.as_ref().is_some_and(|options| {
            let mut names = options.as_bytes().split(|byte| *byte == b':');
            self.shell.name == "bash" && names.any(|name| name == b"noexec")
        });
        if passes_over {
            return "the variable SHELLOPTS has 'noexec', under which bash carries out nothing; \
                    unset it"
                .into();
        }
        "it ends before it takes a command; it must be able to open this process's entries in \
         /proc, and no variable that shells read may keep it from running commands"
            .into()
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
            LaunchStep::Restrain => Error::io(
                Stage::Execute,
                "the calls of the shell cannot be intercepted",
                source,
            ),
            LaunchStep::Fork | LaunchStep::Descriptors => Error::io(
                Stage::Execute,
                format!("cannot start a process for the shell '{program}'"),
                source,
            ),
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
    fn launch(self, recipe: &Recipe, directory: &AbsPath) -> Result<Shell> {
        let mut environment = recipe.environment(directory)?;
        let arguments = recipe.arguments(&self.commands.0, &self.statuses.1, &mut environment);
        let environment: Vec<OsString> = environment
            .iter()
            .map(|(name, value)| assignment(name, value))
            .collect();
        let [stdin, stdout, stderr] = &self.stdio;
        let watch = recipe.spec.interception.as_ref();
        let entry = watch.map(|watch| watch.enter()).transpose()?;
        let launched = launch(&Launch {
            program: &c_string(recipe.program.as_os_str())?,
            arguments: &c_strings(&arguments)?,
            environment: &c_strings(&environment)?,
            directory: &c_string(directory.as_path().as_os_str())?,
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            channel: self.supervisor_channel.as_fd(),
            grace: recipe.spec.kill_grace,
            supervise,
            restraint: entry.as_ref().map(|entry| entry as &dyn Restraint),
        })
        .map_err(|error| recipe.launch_error(error, directory))?;
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
            _commands_reader: self.commands.0,
            _statuses_writer: self.statuses.1,
        })
    }
}

impl Shell {
    /// Whether the supervisor has something to say, which between commands can only be that the
    /// shell ended.
    pub(super) fn has_news(&self) -> bool {
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
    pub(super) fn release(self) {
        if self.ended.is_none() {
            let _ = self.order(Order::KillShell);
        }
        let released = self.order(Order::Release);
        let (supervisor, channel) = (self.supervisor, self.channel);
        if released.is_err() {
            // It goes when nobody is at the other end.
            drop(channel);
        }
        wait_for(supervisor);
    }
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
