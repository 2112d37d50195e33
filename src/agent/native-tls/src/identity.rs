//! Certificates and private keys.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::{Error, Result};

/// A certificate.
#[derive(Clone, Debug)]
pub struct Certificate(pub(crate) CertificateDer<'static>);

impl Certificate {
    /// From its DER encoding, which is checked when it is used.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        Ok(Self(CertificateDer::from(der.to_vec())))
    }

    /// The first certificate of a PEM text.
    pub fn from_pem(pem: &[u8]) -> Result<Self> {
        CertificateDer::from_pem_slice(pem)
            .map(Self)
            .map_err(|error| Error::new(format!("not a certificate in PEM: {error}")))
    }

    /// Every certificate of a PEM text.
    pub fn stack_from_pem(pem: &[u8]) -> Result<Vec<Self>> {
        CertificateDer::pem_slice_iter(pem)
            .map(|one| {
                one.map(Self)
                    .map_err(|error| Error::new(format!("not a certificate in PEM: {error}")))
            })
            .collect()
    }

    /// The DER encoding.
    pub fn to_der(&self) -> Result<Vec<u8>> {
        Ok(self.0.to_vec())
    }
}

/// A certificate with its chain and its private key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

/// Whether a PEM text says that its key is encrypted, in the old way or in the new one.
fn is_encrypted(key: &[u8]) -> bool {
    let text = String::from_utf8_lossy(key);
    text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED")
}

impl Identity {
    /// From PEM: the certificate with its chain, and the private key.
    pub fn from_pkcs8(pem: &[u8], key: &[u8]) -> Result<Self> {
        let chain: Vec<_> = Certificate::stack_from_pem(pem)?
            .into_iter()
            .map(|certificate| certificate.0)
            .collect();
        if chain.is_empty() {
            return Err(Error::new("there is no certificate in the PEM text"));
        }
        if is_encrypted(key) {
            return Err(Error::new(
                "the private key is encrypted with a passphrase, which nobody could enter: \
                 openssl pkey -in KEY -out PLAIN writes it without one",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| Error::new(format!("not a private key in PEM: {error}")))?;
        Ok(Self { chain, key })
    }

    /// Not supported: always an error.
    pub fn from_pkcs12(_: &[u8], _: &str) -> Result<Self> {
        Err(Error::new("PKCS #12 is not supported: use PEM"))
    }
}
