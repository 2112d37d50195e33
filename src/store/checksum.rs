//! Checksums of stored data: SHA-256, or HMAC-SHA256 where the store has a key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result, Stage};

/// Bytes of a checksum.
pub(super) const LENGTH: usize = 32;

/// A finished checksum.
pub(super) type Checksum = [u8; LENGTH];

/// How a store's checksums are made.
#[derive(Clone)]
pub(super) enum Sealing {
    /// SHA-256: finds damage.
    Plain,
    /// HMAC-SHA256: finds forgery too.
    Keyed(Hmac<Sha256>),
}

/// A checksum in the making.
pub(super) enum Hasher {
    Plain(Sha256),
    Keyed(Hmac<Sha256>),
}

impl Sealing {
    /// The fewest bytes of a key.
    pub(super) const MIN_KEY: usize = 32;

    /// Sealing with `key`; `None`: plain.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where the key is shorter than [`MIN_KEY`](Self::MIN_KEY).
    pub(super) fn new(key: Option<&[u8]>) -> Result<Self> {
        let Some(key) = key else {
            return Ok(Self::Plain);
        };
        Some(key)
            .filter(|key| key.len() >= Self::MIN_KEY)
            .and_then(|key| Hmac::new_from_slice(key).ok())
            .map(Self::Keyed)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::InvalidRequest,
                    Stage::Store,
                    format!("the store's key must have {} bytes or more", Self::MIN_KEY),
                )
            })
    }

    /// The name that stands before checksums in JSON.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Plain => "sha256",
            Self::Keyed(_) => "hmac-sha256",
        }
    }

    /// Whether there is a key.
    pub(super) fn is_keyed(&self) -> bool {
        matches!(self, Self::Keyed(_))
    }

    /// Begins a checksum.
    pub(super) fn hasher(&self) -> Hasher {
        match self {
            Self::Plain => Hasher::Plain(Sha256::new()),
            Self::Keyed(mac) => Hasher::Keyed(mac.clone()),
        }
    }

    /// The checksum of `parts`, one after the other.
    pub(super) fn checksum(&self, parts: &[&[u8]]) -> Checksum {
        let mut hasher = self.hasher();
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }
}

impl Hasher {
    /// Takes more bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Plain(hash) => Digest::update(hash, bytes),
            Self::Keyed(mac) => Mac::update(mac, bytes),
        }
    }

    /// The checksum of everything taken.
    pub(super) fn finish(self) -> Checksum {
        match self {
            Self::Plain(hash) => hash.finalize().into(),
            Self::Keyed(mac) => mac.finalize().into_bytes().into(),
        }
    }
}

/// Compares in a time that does not depend on where the difference is.
pub(super) fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (x, y)| diff | (x ^ y)) == 0
}

/// Lowercase hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_keyed_match_published_vectors() {
        assert_eq!(
            hex(&Sealing::Plain.checksum(&[b"a", b"bc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // RFC 4231, test case 6.
        let text: [&[u8]; 2] = [
            b"Test Using Larger Than Block-Size Key",
            b" - Hash Key First",
        ];
        assert_eq!(
            hex(&Sealing::new(Some(&[0xaa; 131])).unwrap().checksum(&text)),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Sealing::new(Some(&[1; 31])).is_err());
        assert!(Sealing::new(Some(&[1; 32])).unwrap().is_keyed());
    }

    #[test]
    fn equal_sees_every_difference() {
        assert!(equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"aa"));
        assert!(!equal(b"ab", b"abc"));
    }
}
