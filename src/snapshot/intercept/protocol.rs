//! What an engine and the process that answers for its commands say to each other.
//!
//! The process listens at [`CONTROL`] in its session's directory. The first byte on a connection says
//! what it is for. Every question may be asked again, also on another connection: when the process is
//! killed, its stand-in is asked.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::path::AbsPath;
use crate::request::Limits;

/// The socket's name in the session's directory.
pub(super) const CONTROL: &str = "control";
/// The name of the file with the [`Begin`] of the command that runs.
pub(super) const CURRENT: &str = "current";
/// The name it has once that command is over.
pub(super) const OVER: &str = "over";
/// The records of a command, in its directory.
pub(super) const LOG: &str = "log";
/// Content that is kept in the store, in the command's directory.
pub(super) const CONTENT: &str = "content";

/// A connection for questions.
pub(super) const QUESTIONS: u8 = b'q';
/// A connection on which a new shell hands its listener over.
pub(super) const ENTRY: u8 = b'e';

/// The most bytes of a message.
const MAX_MESSAGE: u32 = 16 << 20;

/// A question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Ask {
    /// A command is about to begin.
    Begin(Begin),
    /// It is over: nothing more is written into its log.
    End { number: u64 },
    /// These directories are not needed any more. They are removed after the answer.
    Remove { directories: Vec<AbsPath> },
    /// How it is.
    About,
}

/// What is to be known of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begin {
    /// Its number in the session.
    pub(super) number: u64,
    /// Where its records go; exists.
    pub(super) directory: AbsPath,
    /// The store.
    pub(super) store: AbsPath,
    /// What is left alone.
    pub(super) excluded: Vec<AbsPath>,
    /// Bounds on what is copied.
    pub(super) limits: Limits,
    /// Its snapshot.
    pub(super) snapshot: String,
    /// When it began, in ticks since boot.
    pub(super) began: u64,
    /// The session's commands before it, in their order.
    pub(super) earlier: Vec<Earlier>,
}

/// A command that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Earlier {
    /// Its snapshot.
    pub(super) snapshot: String,
    /// When it began, in ticks since boot.
    pub(super) began: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Failed(String),
    About(About),
}

/// How a session is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The process that answers.
    pub(super) host: u32,
    /// Its stand-in.
    pub(super) stand_in: Option<u32>,
    /// The shells whose listeners it has.
    pub(super) shells: Vec<u32>,
    /// The snapshot of the command that runs.
    pub(super) command: Option<String>,
    /// That of the command that ran last, when none runs.
    pub(super) last_command: Option<String>,
    /// Entries that were changed since by what is left of commands.
    pub(super) late: u64,
}

/// Listens in the session's directory.
pub(super) fn listen(session: &Path) -> io::Result<UnixListener> {
    through(session, UnixListener::bind)
}

/// Connects to who listens in the session's directory.
pub(super) fn connect(session: &Path, purpose: u8) -> io::Result<UnixStream> {
    let mut stream = through(session, UnixStream::connect)?;
    stream.write_all(&[purpose])?;
    Ok(stream)
}

/// A socket's address has little room for a path, so that the directory is named by its descriptor.
fn through<T>(session: &Path, with: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
    let directory = File::open(session)?;
    let name = format!("/proc/self/fd/{}/{CONTROL}", directory.as_raw_fd());
    with(PathBuf::from(name))
}

/// Sends a message.
pub(super) fn send(stream: &mut UnixStream, message: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
    bytes.extend(body);
    stream.write_all(&bytes)
}

/// Receives a message; `None` when the other side is gone.
pub(super) fn receive<T: for<'de> Deserialize<'de>>(
    stream: &mut UnixStream,
) -> io::Result<Option<T>> {
    let mut length = [0_u8; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(e) if is_gone(&e) => return Ok(None),
        Err(e) => return Err(e),
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body)?;
    postcard::from_bytes(&body)
        .map(Some)
        .map_err(io::Error::other)
}

/// Whether an error means that the other side is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionRefused
    )
}
