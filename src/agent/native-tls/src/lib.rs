//! The client half of the interface of `native-tls` 0.2, over rustls with *ring*.
//!
//! `rust_socketio` is written against `native-tls`, which needs OpenSSL's headers on Linux. This crate
//! takes its place (`[patch.crates-io]`), so that a Rust toolchain and a C compiler are enough. It
//! has what `rust_socketio`, `rust_engineio`, tungstenite, `tokio-native-tls`, `hyper-tls` and reqwest call.
//!
//! Certificates and host names are always verified: switching that off makes
//! [`TlsConnectorBuilder::build`] fail. There is no server side.

mod connector;
mod error;
mod identity;
mod stream;

pub use connector::{Protocol, TlsConnector, TlsConnectorBuilder};
pub use error::{Error, HandshakeError, Result};
pub use identity::{Certificate, Identity};
pub use stream::{MidHandshakeTlsStream, TlsStream};

use std::io::{Read, Write};

/// The server side, which does not exist here: no value of this type can be made.
#[derive(Clone, Debug)]
pub enum TlsAcceptor {}

impl TlsAcceptor {
    /// Cannot be called.
    pub fn accept<S: Read + Write>(
        &self,
        _: S,
    ) -> std::result::Result<TlsStream<S>, HandshakeError<S>> {
        match *self {}
    }
}
