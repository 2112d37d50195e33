//! The connection to a plugin host process.

use std::ffi::OsString;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::frame::{Frame, FrameKind};
use super::{Reason, Refusal};

/// How long an end of the process is waited for that has closed its side, before it is ended.
const END_LIMIT: Duration = Duration::from_millis(500);

/// How plugin host processes are started: a program that calls [`serve`](super::serve) with the
/// plugin's file, which follows the arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginHost {
    /// The program; absolute.
    pub program: PathBuf,
    /// Its arguments before the file.
    pub arguments: Vec<OsString>,
    /// How long loading a plugin may take.
    pub start_limit: Duration,
    /// How long an answer may take.
    pub call_limit: Duration,
}

impl PluginHost {
    /// A host of `program` with `arguments` and the usual limits of two seconds.
    pub fn new(program: impl Into<PathBuf>, arguments: &[&str]) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            start_limit: Duration::from_secs(2),
            call_limit: Duration::from_secs(2),
        }
    }
}

/// A running plugin host process. It is asked one question at a time and ends with this value.
#[derive(Debug)]
pub(super) struct Remote {
    child: Child,
    exchanges: SyncSender<Exchange>,
    next_id: u64,
}

/// What the thread at the pipes is to do: write, where there is something, and read.
struct Exchange {
    question: Option<Frame>,
    answer: SyncSender<io::Result<Frame>>,
}

impl Remote {
    /// Starts a process for `file`; gives it and the first frame that it sends.
    pub(super) fn start(host: &PluginHost, file: &Path) -> Result<(Self, Frame), Refusal> {
        let failed = |error: io::Error| {
            Refusal::new(
                Reason::Host,
                format!("the plugin host process cannot be started: {error}"),
            )
        };
        let mut child = command(host, file).spawn().map_err(failed)?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(questions), Some(answers)) = pipes else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let (exchanges, work) = sync_channel(1);
        std::thread::Builder::new()
            .name("plugin".into())
            .spawn(move || pass(questions, answers, &work))
            .map_err(failed)?;
        let mut remote = Self {
            child,
            exchanges,
            next_id: 1,
        };
        let hello = remote.exchange(None, host.start_limit)?;
        Ok((remote, hello))
    }

    /// Asks and waits for the answer, at most for `limit`. After an error the process has ended.
    pub(super) fn call(
        &mut self,
        kind: FrameKind,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Frame, Refusal> {
        let id = self.next_id;
        self.next_id += 1;
        let answer = self.exchange(Some(Frame { id, kind, body }), limit)?;
        if answer.id != id {
            self.end();
            return Err(Refusal::new(
                Reason::BadAnswer,
                "the plugin host process answered another question",
            ));
        }
        Ok(answer)
    }

    fn exchange(&mut self, question: Option<Frame>, limit: Duration) -> Result<Frame, Refusal> {
        let (answer, result) = sync_channel(1);
        // Fails only where the thread has ended, which `result` then tells.
        let _ = self.exchanges.send(Exchange { question, answer });
        let refusal = match result.recv_timeout(limit) {
            Ok(Ok(frame)) => return Ok(frame),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Refusal::new(
                Reason::BadAnswer,
                format!("the plugin host process sent no frame: {error}"),
            ),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => self.crashed(),
            Err(RecvTimeoutError::Timeout) => Refusal::new(
                Reason::TimedOut,
                format!("it gave no answer within {} s", limit.as_secs_f64()),
            ),
        };
        self.end();
        Err(refusal)
    }

    /// How the process ended that has closed its side.
    fn crashed(&mut self) -> Refusal {
        let deadline = Instant::now() + END_LIMIT;
        let status = loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Ok(status) => break status,
                Err(_) => break None,
            }
        };
        let how = status.map_or_else(|| "it closed its descriptors".into(), |s| s.to_string());
        Refusal::new(
            Reason::Crashed,
            format!("the plugin ended its process ({how})"),
        )
    }

    /// Ends the process, and what the plugin may have started from it.
    fn end(&mut self) {
        #[cfg(unix)]
        {
            // A process that was not waited for keeps its number, so this hits no other.
            if matches!(self.child.try_wait(), Ok(None))
                && let Some(group) = rustix::process::Pid::from_raw(self.child.id() as i32)
            {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.end();
    }
}

fn command(host: &PluginHost, file: &Path) -> Command {
    let mut command = Command::new(&host.program);
    command
        .args(&host.arguments)
        .arg(file)
        // Nothing of the environment is the plugin's business; it may hold secrets.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        // A group of its own: an interrupt from the terminal is for the program alone.
        command.current_dir("/").process_group(0);
    }
    #[cfg(windows)]
    if let Some(root) = std::env::var_os("SystemRoot") {
        command.env("SystemRoot", root);
    }
    command
}

/// Passes questions and answers until the connection is given up or broken.
fn pass(mut questions: ChildStdin, answers: ChildStdout, work: &Receiver<Exchange>) {
    let mut answers = BufReader::new(answers);
    while let Ok(exchange) = work.recv() {
        let result = exchange
            .question
            .map_or(Ok(()), |question| question.write(&mut questions))
            .and_then(|()| Frame::read(&mut answers));
        let broken = result.is_err();
        if exchange.answer.send(result).is_err() || broken {
            break;
        }
    }
}
