//! Sessions on Windows.
//!
//! A persistent `cmd` or PowerShell runs one script file per command and reports each end by a
//! status file in a private directory. The differences to [Unix](super::shells):
//!
//! - A command line is a batch file's line for `cmd`: a loop variable is written `%%i`.
//! - Output is the command's when it arrives until [`QUIET`] has passed without any after the
//!   status; later output comes with the next command.
//! - Process trees are ended by `taskkill /t`, which does not see processes whose parent has ended,
//!   and always at once: there is no polite signal, so the session's grace is not used.
//! - [`CommandOutcome::survivors`] is always empty.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::shells::{Driver, Quoting, ShellSpec, find_shell, lookup};
use super::{Cancel, CommandOutcome, Output, OutputStream, SessionSpec};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;

const PIECE: usize = 64 * 1024;
const WAITING_PIECES: usize = 4;
/// How often the status file, the time-out and the cancel flag are looked at.
const TICK: Duration = Duration::from_millis(10);
/// See the module's documentation.
const QUIET: Duration = Duration::from_millis(30);
const TIMED_OUT: i32 = 124;
const CANCELLED: i32 = 130;

const CMD_STATUS: &str = "@>\"{dir}\\status.tmp\" (echo %errorlevel%& cd)\r\n\
    @move /y \"{dir}\\status.tmp\" \"{dir}\\status\" >nul\r\n";

/// Waits for a script, runs it in its own scope, reports, and ends when it is told to or when the
/// process that started it is gone.
const POWERSHELL_DRIVER: &str = r#"
$__deployx = @{ dir = $args[0]; parent = [int]$args[1]; n = 0 }
while ($true) {
    $__deployx.n++
    $__deployx.script = Join-Path $__deployx.dir "$($__deployx.n).ps1"
    while (-not (Test-Path -LiteralPath $__deployx.script)) {
        if (Test-Path -LiteralPath (Join-Path $__deployx.dir 'end')) { exit $__deployx.code }
        if (-not (Get-Process -Id $__deployx.parent -ErrorAction SilentlyContinue)) { exit 1 }
        Start-Sleep -Milliseconds 10
    }
    $global:LASTEXITCODE = 0
    try { . $__deployx.script; $__deployx.ok = $? }
    catch { [Console]::Error.WriteLine(($_ | Out-String)); $__deployx.ok = $false }
    $__deployx.code = if ($global:LASTEXITCODE) { $global:LASTEXITCODE } elseif ($__deployx.ok) { 0 } else { 1 }
    $__deployx.text = "$($__deployx.code)`n$((Get-Location -PSProvider FileSystem).ProviderPath)`n"
    [IO.File]::WriteAllText((Join-Path $__deployx.dir 'status.tmp'), $__deployx.text)
    [IO.File]::Move((Join-Path $__deployx.dir 'status.tmp'), (Join-Path $__deployx.dir 'status'))
}
"#;

type Piece = (OutputStream, Vec<u8>);

/// A persistent shell, which is started again when a command ended it.
pub(super) struct Session {
    spec: SessionSpec,
    shell: &'static ShellSpec,
    extension: &'static str,
    program: PathBuf,
    running: Option<Shell>,
    cwd: Option<AbsPath>,
    /// The first shell is the only one.
    one_shell: bool,
}

struct Shell {
    child: Child,
    /// Only `cmd` takes its commands there.
    stdin: Option<ChildStdin>,
    output: Option<Receiver<Piece>>,
    directory: ScriptDirectory,
    commands: u64,
}

/// How a wait ended.
enum End {
    Status(i32, Option<AbsPath>),
    ShellEnded(i32),
    TimedOut,
    Cancelled,
}

impl Session {
    pub(super) fn start(spec: SessionSpec) -> Result<Self> {
        let shell = lookup(&spec.shell)?;
        let program = find_shell(&spec.shell)?;
        let Driver::ScriptFile { extension } = shell.driver else {
            let context = format!("sessions of '{}' do not exist on Windows", shell.name);
            return Err(Error::new(
                ErrorKind::ShellNotFound,
                Stage::Execute,
                context,
            ));
        };
        let mut session = Self {
            cwd: Some(spec.cwd.clone()),
            spec,
            shell,
            extension,
            program,
            running: None,
            one_shell: false,
        };
        session.running = Some(session.launch()?);
        Ok(session)
    }

    pub(super) fn ancestor(&mut self) -> Option<u32> {
        None
    }

    pub(super) fn cwd(&self) -> Option<AbsPath> {
        self.cwd.clone()
    }

    pub(super) fn keep_to_one_shell(&mut self) {
        self.one_shell = true;
    }

    pub(super) fn is_alive(&mut self) -> bool {
        self.running
            .as_mut()
            .is_some_and(|shell| matches!(shell.child.try_wait(), Ok(None)))
    }

    pub(super) fn run(
        &mut self,
        command: &OsStr,
        last: bool,
        timeout: Option<Duration>,
        cancel: &Cancel,
    ) -> Result<CommandOutcome> {
        let started = Instant::now();
        let text = command.to_str().filter(|text| !text.contains('\0'));
        let Some(text) = text else {
            let context = "the command has a NUL byte or is not Unicode, which no script can hold";
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                Stage::Execute,
                context,
            ));
        };
        let mut shell = match self.running.take() {
            Some(mut shell) if matches!(shell.child.try_wait(), Ok(None)) => shell,
            _ if self.one_shell => {
                let context = "the session's shell is gone: it has ended";
                return Err(Error::new(
                    ErrorKind::NotExecutable,
                    Stage::Execute,
                    context,
                ));
            }
            _ => self.launch()?,
        };
        let end = if cancel.is_cancelled() {
            End::Cancelled
        } else {
            shell
                .send(self.extension, text)
                .context(Stage::Execute, || "cannot hand the command to the shell")?;
            let deadline = timeout.and_then(|timeout| started.checked_add(timeout));
            self.wait(&mut shell, deadline, cancel)?
        };
        let mut outcome = CommandOutcome {
            exit_code: 0,
            timed_out: matches!(end, End::TimedOut),
            cancelled: matches!(end, End::Cancelled),
            shell_ended: !matches!(end, End::Status(..)),
            duration: Duration::ZERO,
            survivors: Vec::new(),
        };
        match end {
            End::Status(code, cwd) => {
                outcome.exit_code = code;
                self.cwd = cwd;
                if last {
                    shell.finish(self.spec.kill_grace);
                    outcome.shell_ended = true;
                } else {
                    self.running = Some(shell);
                }
            }
            End::ShellEnded(code) => outcome.exit_code = code,
            End::TimedOut => outcome.exit_code = TIMED_OUT,
            End::Cancelled => outcome.exit_code = CANCELLED,
        }
        outcome.duration = started.elapsed();
        Ok(outcome)
    }

    pub(super) fn close(&mut self) -> Result<()> {
        if let Some(mut shell) = self.running.take() {
            shell.finish(self.spec.kill_grace);
        }
        Ok(())
    }

    /// Waits for the command's end while handing its output over.
    fn wait(&self, shell: &mut Shell, deadline: Option<Instant>, cancel: &Cancel) -> Result<End> {
        loop {
            self.pass_output(shell, TICK);
            if let Some(end) = shell.status() {
                self.pass_backlog(shell);
                return Ok(end);
            }
            let ended = shell
                .child
                .try_wait()
                .context(Stage::Execute, || "cannot wait for the shell")?;
            if let Some(status) = ended {
                self.pass_backlog(shell);
                return Ok(End::ShellEnded(status.code().unwrap_or(1)));
            }
            let end = if cancel.is_cancelled() {
                End::Cancelled
            } else if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                End::TimedOut
            } else {
                continue;
            };
            shell.end_tree();
            self.pass_backlog(shell);
            return Ok(end);
        }
    }

    /// Hands over one piece; tells whether there was one within `wait`.
    fn pass_output(&self, shell: &mut Shell, wait: Duration) -> bool {
        let (Output::Stream(sink), Some(output)) = (&self.spec.output, &shell.output) else {
            std::thread::sleep(wait);
            return false;
        };
        match output.recv_timeout(wait) {
            Ok((stream, piece)) => {
                sink.write(stream, &piece);
                true
            }
            Err(RecvTimeoutError::Timeout) => false,
            Err(RecvTimeoutError::Disconnected) => {
                shell.output = None;
                false
            }
        }
    }

    fn pass_backlog(&self, shell: &mut Shell) {
        while shell.output.is_some() && self.pass_output(shell, QUIET) {}
    }

    fn launch(&self) -> Result<Shell> {
        let Some(cwd) = &self.cwd else {
            let context = "the session's working directory was deleted";
            return Err(Error::new(ErrorKind::NotFound, Stage::Execute, context));
        };
        let directory = ScriptDirectory::create()
            .context(Stage::Execute, || "cannot make a directory for scripts")?;
        let uses_stdin = self.shell.quoting == Quoting::Cmd;
        let mut command = Command::new(&self.program);
        command.args(self.shell.options).current_dir(cwd.as_path());
        if !uses_stdin {
            command
                .arg(directory.0.join("driver.ps1"))
                .arg(&directory.0)
                .arg(std::process::id().to_string());
        }
        for (name, value) in &self.spec.env {
            command.env(name, value);
        }
        command.stdin(match (uses_stdin, self.spec.inherit_stdin) {
            (true, _) => Stdio::piped(),
            (false, true) => Stdio::inherit(),
            (false, false) => Stdio::null(),
        });
        match self.spec.output {
            Output::Inherit { stdout_to_stderr } => {
                if stdout_to_stderr {
                    command.stdout(io::stderr());
                }
            }
            Output::Stream(_) => {
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            }
        }
        let program = self.program.display();
        let mut child = command.spawn().context(Stage::Execute, || {
            format!("cannot start the shell '{program}'")
        })?;
        let output = matches!(self.spec.output, Output::Stream(_)).then(|| {
            let (sender, receiver) = sync_channel(WAITING_PIECES);
            if let Some(stdout) = child.stdout.take() {
                forward(OutputStream::Stdout, stdout, sender.clone());
            }
            if let Some(stderr) = child.stderr.take() {
                forward(OutputStream::Stderr, stderr, sender);
            }
            receiver
        });
        Ok(Shell {
            stdin: child.stdin.take(),
            child,
            output,
            directory,
            commands: 0,
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Closing never fails here, and nobody is left to tell.
        let _ = self.close();
    }
}

impl Shell {
    fn send(&mut self, extension: &str, text: &str) -> io::Result<()> {
        self.commands += 1;
        let directory = &self.directory.0;
        let script = directory.join(format!("{}.{extension}", self.commands));
        let Some(stdin) = &mut self.stdin else {
            // Windows PowerShell takes a file without this mark for one in the system's code page.
            let unfinished = directory.join("script.tmp");
            fs::write(&unfinished, format!("\u{feff}{text}\r\n"))?;
            return fs::rename(unfinished, script);
        };
        fs::write(&script, format!("@chcp 65001 >nul\r\n{text}\r\n"))?;
        let line = format!(
            "call \"{}\" <nul\r\ncall \"{}\" <nul\r\n",
            script.display(),
            directory.join("status.cmd").display()
        );
        stdin.write_all(line.as_bytes())?;
        stdin.flush()
    }

    /// The status that the shell reported, once.
    fn status(&self) -> Option<End> {
        let file = self.directory.0.join("status");
        let text = fs::read_to_string(&file).ok()?;
        fs::remove_file(&file).ok()?;
        let mut lines = text.lines().map(str::trim_end);
        let code = lines.next()?.parse().unwrap_or(1);
        let cwd = lines.next().and_then(|path| AbsPath::new(path).ok());
        Some(End::Status(code, cwd))
    }

    /// Ends the shell at the end of its input, or by force after `grace`.
    fn finish(&mut self, grace: Duration) {
        self.stdin = None;
        let _ = fs::write(self.directory.0.join("end"), "");
        let give_up = Instant::now() + grace;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= give_up {
                let _ = self.child.kill();
            }
            std::thread::sleep(TICK);
        }
    }

    fn end_tree(&mut self) {
        let _ = Command::new("taskkill")
            .args(["/f", "/t", "/pid", &self.child.id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads one output of the shell until its end.
fn forward(stream: OutputStream, mut source: impl Read + Send + 'static, to: SyncSender<Piece>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = source.read(&mut buffer) {
            let piece = buffer.get(..count).unwrap_or_default().to_vec();
            if to.send((stream, piece)).is_err() {
                return;
            }
        }
    });
}

/// The private directory of one shell's scripts; it goes with the shell.
struct ScriptDirectory(PathBuf);

impl ScriptDirectory {
    fn create() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let random: u64 = rand::random();
        let name = format!("deployx-{}-{number}-{random:016x}", std::process::id());
        let directory = Self(std::env::temp_dir().join(name));
        fs::create_dir(&directory.0)?;
        let status = CMD_STATUS.replace("{dir}", &path_in_script(&directory.0));
        fs::write(directory.0.join("status.cmd"), status)?;
        fs::write(directory.0.join("driver.ps1"), POWERSHELL_DRIVER)?;
        Ok(directory)
    }
}

/// A percent sign in a batch file is written twice.
fn path_in_script(path: &Path) -> String {
    path.display().to_string().replace('%', "%%")
}

impl Drop for ScriptDirectory {
    fn drop(&mut self) {
        // A file that is still open stays behind in the temporary directory; it holds no secret
        // that the command line did not.
        let _ = fs::remove_dir_all(&self.0);
    }
}
