//! Errors of the handshake and of the configuration.

use std::fmt;

use crate::MidHandshakeTlsStream;

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in words.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

/// Why a handshake has not ended well yet.
#[derive(Debug)]
pub enum HandshakeError<S> {
    /// It failed.
    Failure(Error),
    /// The stream would block; call [`MidHandshakeTlsStream::handshake`] when it is ready.
    WouldBlock(MidHandshakeTlsStream<S>),
}

impl<S> From<Error> for HandshakeError<S> {
    fn from(error: Error) -> Self {
        Self::Failure(error)
    }
}

impl<S> fmt::Display for HandshakeError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failure(error) => error.fmt(f),
            Self::WouldBlock(_) => f.write_str("the handshake was interrupted"),
        }
    }
}

impl<S: fmt::Debug> std::error::Error for HandshakeError<S> {}
