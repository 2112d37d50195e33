//! The one error type of the library.
//!
//! An [`Error`] says what kind of failure it was (what a caller can react to), at which stage it
//! happened, what exactly was being done (the *context*, which names the path or id), and what the
//! system said (the source). Front ends add hints and choose exit codes; they match on
//! [`ErrorKind`], never on text.

use std::fmt;
use std::io;

/// A result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the terms a caller can react to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself makes no sense: empty command, relative path, malformed id.
    InvalidRequest,
    /// A snapshot, batch, path or program that was named does not exist.
    NotFound,
    /// An id prefix fits more than one snapshot.
    Ambiguous,
    /// Live entries differ from what the undo record says the command left.
    Conflict,
    /// Another process holds the store, or a snapshot is in use.
    Busy,
    /// Stored data is damaged: a checksum differs, a file is missing or cut short.
    Corrupt,
    /// Stored data was written by a newer version of the program.
    NewerFormat,
    /// The store directory is not acceptable (owner, permissions, not a directory).
    UnsafeStore,
    /// The system refused access.
    PermissionDenied,
    /// No space, no inodes, or a quota or configured limit was reached.
    NoSpace,
    /// The shell of a request is not on this host or not allowed.
    ShellNotFound,
    /// The command was refused or could not be started.
    NotExecutable,
    /// The work was cancelled by its caller.
    Cancelled,
    /// Not possible on this system or with this filesystem.
    Unsupported,
    /// Any other failure of the operating system.
    Io,
}

/// The stage of the pipeline at which an error happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reading and checking the request.
    Request,
    /// Reading which paths the command may touch.
    Infer,
    /// Securing the state before the command.
    Capture,
    /// Running the command.
    Execute,
    /// Comparing before and after.
    Seal,
    /// Reading or writing the store.
    Store,
    /// Planning, checking or applying a rollback.
    Rollback,
    /// Talking to a backend.
    Agent,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Request => "request",
            Stage::Infer => "infer",
            Stage::Capture => "capture",
            Stage::Execute => "execute",
            Stage::Seal => "seal",
            Stage::Store => "store",
            Stage::Rollback => "rollback",
            Stage::Agent => "agent",
        })
    }
}

/// An error with kind, stage, context and source.
#[derive(Debug, thiserror::Error)]
#[error("{context}{}", .source.as_ref().map(|s| format!(": {s}")).unwrap_or_default())]
pub struct Error {
    kind: ErrorKind,
    stage: Stage,
    context: String,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    /// An error without a system error behind it. `context` names the thing and what to do.
    pub fn new(kind: ErrorKind, stage: Stage, context: impl Into<String>) -> Self {
        Self {
            kind,
            stage,
            context: context.into(),
            source: None,
        }
    }

    /// An error that the operating system reported; the kind follows from `source`.
    pub fn io(stage: Stage, context: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => ErrorKind::NoSpace,
            io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock => ErrorKind::Busy,
            io::ErrorKind::Unsupported => ErrorKind::Unsupported,
            _ => ErrorKind::Io,
        };
        Self {
            kind,
            stage,
            context: context.into(),
            source: Some(source),
        }
    }

    /// The same error with another kind, where the caller knows better than the system's code.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What a caller can react to.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where in the pipeline it happened.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// What was being done, without the system's message.
    pub fn context(&self) -> &str {
        &self.context
    }
}

/// Adds stage and context to an [`io::Result`].
pub trait IoContext<T> {
    /// Turns an [`io::Error`] into an [`Error`] at `stage`; `context` is only built on failure.
    fn context<C: Into<String>>(self, stage: Stage, context: impl FnOnce() -> C) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context<C: Into<String>>(self, stage: Stage, context: impl FnOnce() -> C) -> Result<T> {
        self.map_err(|source| Error::io(stage, context(), source))
    }
}
