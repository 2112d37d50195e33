//! How connections are made.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version};

use crate::stream::handshake;
use crate::{Certificate, Error, HandshakeError, Identity, Result, TlsStream};

/// Versions of the protocol. Those before 1.2 are never spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// SSL 3.0
    Sslv3,
    /// TLS 1.0
    Tlsv10,
    /// TLS 1.1
    Tlsv11,
    /// TLS 1.2
    Tlsv12,
    /// TLS 1.3
    Tlsv13,
}

/// Collects the settings of a [`TlsConnector`].
#[derive(Clone, Default)]
pub struct TlsConnectorBuilder {
    roots: Vec<Certificate>,
    identity: Option<Identity>,
    min: Option<Protocol>,
    max: Option<Protocol>,
    without_system_roots: bool,
    without_sni: bool,
    unverified: bool,
    alpn: Vec<Vec<u8>>,
}

impl TlsConnectorBuilder {
    /// What this side proves itself with.
    pub fn identity(&mut self, identity: Identity) -> &mut Self {
        self.identity = Some(identity);
        self
    }

    /// The oldest version spoken.
    pub fn min_protocol_version(&mut self, protocol: Option<Protocol>) -> &mut Self {
        self.min = protocol;
        self
    }

    /// The newest version spoken.
    pub fn max_protocol_version(&mut self, protocol: Option<Protocol>) -> &mut Self {
        self.max = protocol;
        self
    }

    /// Trusts one more authority.
    pub fn add_root_certificate(&mut self, certificate: Certificate) -> &mut Self {
        self.roots.push(certificate);
        self
    }

    /// Trusts the added authorities only.
    pub fn disable_built_in_roots(&mut self, disable: bool) -> &mut Self {
        self.without_system_roots = disable;
        self
    }

    /// Refused when the connector is built.
    pub fn danger_accept_invalid_certs(&mut self, accept: bool) -> &mut Self {
        self.unverified |= accept;
        self
    }

    /// Refused when the connector is built.
    pub fn danger_accept_invalid_hostnames(&mut self, accept: bool) -> &mut Self {
        self.unverified |= accept;
        self
    }

    /// Whether the server is told the name that is asked for.
    pub fn use_sni(&mut self, use_sni: bool) -> &mut Self {
        self.without_sni = !use_sni;
        self
    }

    /// Protocols offered to the server.
    pub fn request_alpns(&mut self, protocols: &[&str]) -> &mut Self {
        self.alpn = protocols
            .iter()
            .map(|one| one.as_bytes().to_vec())
            .collect();
        self
    }

    /// Makes the connector.
    ///
    /// # Errors
    /// Where verification is switched off, nothing can be trusted, or a certificate or key is not
    /// valid.
    pub fn build(&self) -> Result<TlsConnector> {
        if self.unverified {
            return Err(Error::new("certificates are always verified here"));
        }
        let versions = self.versions()?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&versions)?
            .with_root_certificates(self.trusted()?);
        let mut config = match self.identity.clone() {
            Some(identity) => builder.with_client_auth_cert(identity.chain, identity.key)?,
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = !self.without_sni;
        config.alpn_protocols.clone_from(&self.alpn);
        Ok(TlsConnector(Arc::new(config)))
    }

    fn versions(&self) -> Result<Vec<&'static SupportedProtocolVersion>> {
        let versions: Vec<_> = [
            (Protocol::Tlsv12, &version::TLS12),
            (Protocol::Tlsv13, &version::TLS13),
        ]
        .into_iter()
        .filter(|(protocol, _)| {
            self.min.is_none_or(|min| *protocol >= min)
                && self.max.is_none_or(|max| *protocol <= max)
        })
        .map(|(_, version)| version)
        .collect();
        if versions.is_empty() {
            return Err(Error::new("versions of TLS before 1.2 are not spoken"));
        }
        Ok(versions)
    }

    fn trusted(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if !self.without_system_roots {
            // Single certificates that cannot be read are passed over, as OpenSSL does.
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
        }
        for certificate in &self.roots {
            roots.add(certificate.0.clone())?;
        }
        if roots.is_empty() {
            return Err(Error::new(
                "no authority is trusted: the system has none (they come with ca-certificates), and none \
                 was added",
            ));
        }
        Ok(roots)
    }
}

/// Makes TLS connections.
#[derive(Clone)]
pub struct TlsConnector(Arc<ClientConfig>);

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl TlsConnector {
    /// One that trusts the system's authorities.
    pub fn new() -> Result<Self> {
        TlsConnectorBuilder::default().build()
    }

    /// Starts with the defaults.
    pub fn builder() -> TlsConnectorBuilder {
        TlsConnectorBuilder::default()
    }

    /// Shakes hands over `stream` with the server called `domain`.
    ///
    /// # Errors
    /// `WouldBlock` with a stream that does not block; otherwise what the handshake failed of.
    pub fn connect<S: Read + Write>(
        &self,
        domain: &str,
        stream: S,
    ) -> std::result::Result<TlsStream<S>, HandshakeError<S>> {
        // URLs have brackets around addresses.
        let bare = domain.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| Error::new(format!("'{domain}' is not a server's name")))?;
        let session = ClientConnection::new(Arc::clone(&self.0), name).map_err(Error::from)?;
        handshake(session, stream)
    }
}
