//! What the backend may be reached by, and what it is trusted for.

use std::net::{IpAddr, ToSocketAddrs as _};

use native_tls::{Certificate, Identity, TlsConnector};
use url::{Host, Url};

use crate::error::{Error, ErrorKind, Result, Stage};

/// Trust beyond the system's, and what this agent proves itself with.
#[derive(Clone, Default)]
pub struct TlsSettings {
    /// Authorities in PEM that are trusted besides the system's.
    pub authorities: Option<Vec<u8>>,
    /// A certificate with its chain, and its private key, both in PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsSettings {
    /// The connector with these settings. Certificates and names are always verified.
    ///
    /// # Errors
    /// `InvalidRequest` where a certificate or key cannot be read, or there is no authority to trust.
    pub fn connector(&self) -> Result<TlsConnector> {
        let invalid = |what: &str, error: native_tls::Error| {
            Error::new(
                ErrorKind::InvalidRequest,
                Stage::Agent,
                format!("the {what} cannot be used: {error}"),
            )
        };
        let mut builder = TlsConnector::builder();
        if let Some(pem) = &self.authorities {
            let authorities =
                Certificate::stack_from_pem(pem).map_err(|e| invalid("CA file", e))?;
            if authorities.is_empty() {
                return Err(Error::new(
                    ErrorKind::InvalidRequest,
                    Stage::Agent,
                    "the CA file has no certificate in PEM",
                ));
            }
            for authority in authorities {
                builder.add_root_certificate(authority);
            }
        }
        if let Some((chain, key)) = &self.identity {
            let identity =
                Identity::from_pkcs8(chain, key).map_err(|e| invalid("client certificate", e))?;
            builder.identity(identity);
        }
        builder.build().map_err(|e| invalid("TLS settings", e))
    }
}

/// Whether a server may be spoken to without encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Secrecy {
    /// Only on this host.
    #[default]
    Required,
    /// Anywhere: said explicitly.
    Waived,
}

/// Reads a server's address and checks that it may be spoken to.
///
/// # Errors
/// `InvalidRequest` for anything but `http`, `https`, `ws` and `wss`, for an address with a user or
/// password, and for plain text to another host unless that was allowed.
pub fn check_server(address: &str, secrecy: Secrecy) -> Result<Url> {
    let invalid = |message: String| Error::new(ErrorKind::InvalidRequest, Stage::Agent, message);
    let url = Url::parse(address)
        .map_err(|error| invalid(format!("the server's address cannot be read: {error}")))?;
    let plain = match url.scheme() {
        "http" | "ws" => true,
        "https" | "wss" => false,
        other => {
            return Err(invalid(format!(
                "the server's address begins with '{other}': use https://"
            )));
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid(
            "the server's address holds a password: put a token into a file (--token-file)".into(),
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(invalid(
            "the server's address has a query or a fragment: leave them out".into(),
        ));
    }
    let Some(host) = url.host() else {
        return Err(invalid("the server's address names no host".into()));
    };
    if plain && secrecy == Secrecy::Required && !is_loopback(&host) {
        return Err(invalid(format!(
            "{host} would be spoken to without encryption: use https://, or --insecure-http to \
             do so all the same"
        )));
    }
    Ok(url)
}

/// Whether a host is this one. A name is it where all that it stands for is.
fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => {
            let local = *name == "localhost" || name.ends_with(".localhost");
            local
                && (*name, 0)
                    .to_socket_addrs()
                    .is_ok_and(|mut all| all.all(|address| address.ip().is_loopback()))
        }
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_on_this_host() {
        for near in [
            "http://localhost:3000",
            "http://127.0.0.1:1",
            "ws://[::1]:9",
            "https://backend.example",
            "wss://10.0.0.1",
        ] {
            assert!(check_server(near, Secrecy::Required).is_ok(), "{near}");
        }
        for far in [
            "http://backend.example",
            "http://10.0.0.1",
            "ws://[2001:db8::1]",
            "http://localhost.example",
            "http://127.0.0.1.example",
        ] {
            let error = check_server(far, Secrecy::Required).unwrap_err();
            assert!(error.to_string().contains("--insecure-http"), "{far}");
            assert!(check_server(far, Secrecy::Waived).is_ok(), "{far}");
        }
    }

    #[test]
    fn addresses_that_hold_secrets_or_make_no_sense_are_refused() {
        for bad in [
            "",
            "backend",
            "ftp://x",
            "https://user:pw@x",
            "https://x/?token=1",
            "https://x/#y",
            "unix:/x",
        ] {
            assert!(check_server(bad, Secrecy::Waived).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let settings = TlsSettings {
            authorities: Some(b"nothing".to_vec()),
            identity: None,
        };
        assert!(settings.connector().is_err());
        let settings = TlsSettings {
            authorities: None,
            identity: Some((b"x".to_vec(), b"y".to_vec())),
        };
        assert!(settings.connector().is_err());
    }
}
