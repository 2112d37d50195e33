//! An engine's side of an interception: starts the process that answers, and asks it.

use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::protocol::{self, Answer, Ask, Earlier};
use super::types::InterceptionHost;
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::snapshot::tree::walk::lock;
use crate::store::Store;
use crate::sys::process_unix::Restraint;
use crate::sys::seccomp::{Program, hand_over};
use crate::sys::{self, Dir};

/// The directory in the store with what belongs to interceptions.
pub(super) const DIRECTORY: &str = "intercept";
/// How often a question is asked before its answerers are taken to be gone for good.
const ATTEMPTS: usize = 5;
/// How many commands of a session are remembered, to tell whose a late change is.
const REMEMBERED: usize = 200;

/// A process, with its stand-in, that is asked before any process of a session's shell changes a file
/// or a name. It lives as long as one of them does, whatever happens to this process.
pub struct Interception {
    directory: AbsPath,
    program: Program,
    questions: Mutex<Option<UnixStream>>,
    commands: AtomicU64,
    begun: Mutex<Vec<Earlier>>,
}

impl Interception {
    /// Starts the process.
    pub(super) fn start(host: &InterceptionHost, store: &Store) -> Result<Self> {
        let program = Program::mutations().ok_or_else(|| {
            let context = "calls cannot be intercepted on this architecture";
            Error::new(ErrorKind::Unsupported, Stage::Capture, context)
        })?;
        let context = || "cannot start the process that answers for intercepted calls";
        let directory = make_session(store).context(Stage::Capture, context)?;
        let started = spawn(host, directory.as_path())
            .and_then(|()| protocol::connect(directory.as_path(), protocol::QUESTIONS));
        match started {
            Ok(questions) => Ok(Self {
                directory,
                program,
                questions: Mutex::new(Some(questions)),
                commands: AtomicU64::new(0),
                begun: Mutex::new(Vec::new()),
            }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(directory.as_path());
                Err(error).context(Stage::Capture, context)
            }
        }
    }

    /// The session's directory.
    pub(super) fn directory(&self) -> &AbsPath {
        &self.directory
    }

    /// The number of the next command.
    pub(super) fn next_command(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes that the command of `snapshot` begins at `began`; gives those before it, the last ones where
    /// they are many.
    pub(super) fn note_begin(&self, snapshot: &str, began: u64) -> Vec<Earlier> {
        let mut begun = lock(&self.begun);
        begun.retain(|one| one.snapshot != snapshot);
        let surplus = begun.len().saturating_sub(REMEMBERED);
        begun.drain(..surplus);
        let earlier = begun.clone();
        begun.push(Earlier {
            snapshot: snapshot.to_owned(),
            began,
        });
        earlier
    }

    /// Asks, of the stand-in where the process is gone.
    pub(super) fn ask(&self, ask: &Ask) -> Result<()> {
        ask_with(&mut lock(&self.questions), self.directory.as_path(), ask)
    }

    /// What the shell takes on when it starts.
    pub(crate) fn enter(&self) -> Result<Entry> {
        let channel = protocol::connect(self.directory.as_path(), protocol::ENTRY);
        let channel = channel.context(
            Stage::Execute,
            || "the process that answers for intercepted calls is gone",
        )?;
        Ok(Entry {
            program: self.program.clone(),
            channel,
        })
    }
}

/// Asks who listens in `session`, by an earlier connection where there is one.
pub(super) fn ask_with(known: &mut Option<UnixStream>, session: &Path, ask: &Ask) -> Result<()> {
    let mut failed = io::Error::from(io::ErrorKind::NotConnected);
    for _ in 0..ATTEMPTS {
        let connected = match known.take() {
            Some(stream) => Ok(stream),
            None => protocol::connect(session, protocol::QUESTIONS),
        };
        match connected.and_then(|stream| exchange(stream, ask)) {
            Ok((stream, answer)) => {
                *known = Some(stream);
                return match answer {
                    Answer::Done | Answer::About(_) => Ok(()),
                    Answer::Failed(why) => Err(Error::new(ErrorKind::Io, Stage::Capture, why)),
                };
            }
            Err(error) => failed = error,
        }
    }
    Err(failed).context(
        Stage::Capture,
        || "the process that answers for intercepted calls cannot be asked",
    )
}

fn exchange(mut stream: UnixStream, ask: &Ask) -> io::Result<(UnixStream, Answer)> {
    protocol::send(&mut stream, ask)?;
    let answer = protocol::receive(&mut stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((stream, answer))
}

/// What a shell takes on.
pub(crate) struct Entry {
    program: Program,
    channel: UnixStream,
}

impl Restraint for Entry {
    fn take_on(&self) -> io::Result<()> {
        let listener = self.program.install()?;
        let process = u64::from(std::process::id());
        hand_over(self.channel.as_fd(), listener.as_fd(), process)
    }
}

fn make_session(store: &Store) -> io::Result<AbsPath> {
    let root = AbsPath::new(store.path()).map_err(io::Error::other)?;
    let all = make(&Dir::open(&root)?, DIRECTORY)?;
    let name = format!("{:032x}", rand::random::<u128>());
    make(&all, &name)?;
    let path = root.as_path().join(DIRECTORY).join(name);
    AbsPath::new(path).map_err(io::Error::other)
}

/// Opens the subdirectory `name`, which is made where it is missing.
pub(super) fn make(dir: &Dir, name: &str) -> io::Result<Dir> {
    match dir.make_dir(name.as_ref()) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let made = dir.open_dir(name.as_ref())?;
    if made.stat_self()?.uid == sys::user_id() {
        Ok(made)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

fn spawn(host: &InterceptionHost, session: &Path) -> io::Result<()> {
    let mut child = Command::new(&host.program)
        .args(&host.arguments)
        .arg(session)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut said)?;
    }
    // It has left a copy of itself behind that goes on.
    if child.wait()?.success() {
        return Ok(());
    }
    Err(io::Error::other(said.trim().to_owned()))
}
