//! Encrypted streams.

use std::fmt;
use std::io::{self, Read, Write};

use rustls::{ClientConnection, Stream};

use crate::{Certificate, Error, HandshakeError, Result};

/// An encrypted stream over `S`.
pub struct TlsStream<S> {
    // On the heap: a session is large, and streams are moved.
    session: Box<ClientConnection>,
    stream: S,
}

/// A handshake that waits for its stream.
#[derive(Debug)]
pub struct MidHandshakeTlsStream<S>(TlsStream<S>);

/// Goes on with a handshake until it ends or the stream would block.
pub(crate) fn handshake<S: Read + Write>(
    session: ClientConnection,
    stream: S,
) -> std::result::Result<TlsStream<S>, HandshakeError<S>> {
    MidHandshakeTlsStream(TlsStream {
        session: Box::new(session),
        stream,
    })
    .handshake()
}

impl<S> MidHandshakeTlsStream<S> {
    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.0.stream
    }

    /// The stream beneath.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.0.stream
    }
}

impl<S: Read + Write> MidHandshakeTlsStream<S> {
    /// Goes on.
    ///
    /// # Errors
    /// As for [`TlsConnector::connect`](crate::TlsConnector::connect).
    pub fn handshake(mut self) -> std::result::Result<TlsStream<S>, HandshakeError<S>> {
        let TlsStream { session, stream } = &mut self.0;
        while session.is_handshaking() {
            match session.complete_io(stream) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(HandshakeError::WouldBlock(self));
                }
                Err(error) => return Err(Error::new(error.to_string()).into()),
            }
        }
        Ok(self.0)
    }
}

impl<S> TlsStream<S> {
    /// The stream beneath.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// The stream beneath.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: Read + Write> TlsStream<S> {
    /// Bytes that can be read without the stream beneath: not known here, so none.
    pub fn buffered_read_size(&self) -> Result<usize> {
        Ok(0)
    }

    /// The server's certificate.
    pub fn peer_certificate(&self) -> Result<Option<Certificate>> {
        let chain = self.session.peer_certificates();
        Ok(chain
            .and_then(|chain| chain.first())
            .map(|first| Certificate(first.clone().into_owned())))
    }

    /// The protocol that the server chose.
    pub fn negotiated_alpn(&self) -> Result<Option<Vec<u8>>> {
        Ok(self.session.alpn_protocol().map(<[u8]>::to_vec))
    }

    /// Tells the other side that nothing more will come.
    pub fn shutdown(&mut self) -> io::Result<()> {
        self.session.send_close_notify();
        while self.session.wants_write() {
            self.session.write_tls(&mut self.stream)?;
        }
        self.stream.flush()
    }

    fn plain(&mut self) -> Stream<'_, ClientConnection, S> {
        Stream::new(&mut self.session, &mut self.stream)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsStream")
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.plain().read(buffer)
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.plain().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.plain().flush()
    }
}
