//! Snapshot ids.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, ErrorKind, Result, Stage};

/// A snapshot's id: 16 lowercase hexadecimal digits, chosen at random.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// How many digits an id has.
    pub const DIGITS: usize = 16;

    /// A new random id, from a cryptographically secure generator.
    pub fn random() -> Self {
        Self::from_number(rand::random())
    }

    /// Checks that `text` is a whole id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidRequest`] where it is not exactly 16 lowercase hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        if is_id(text.as_bytes()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::InvalidRequest,
                Stage::Request,
                format!(
                    "'{}' is not a snapshot id (16 hexadecimal digits)",
                    shortened(text)
                ),
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id as a number; ids order as their numbers do.
    pub(super) fn number(&self) -> u64 {
        // Every constructor checked the digits.
        u64::from_str_radix(&self.0, 16).unwrap_or(0)
    }

    pub(super) fn from_number(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }

    /// Reads an id from a file name's bytes.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        if !is_id(name) {
            return None;
        }
        std::str::from_utf8(name).ok().map(|s| Self(s.to_owned()))
    }
}

fn is_id(bytes: &[u8]) -> bool {
    bytes.len() == SnapshotId::DIGITS
        && bytes
            .iter()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
}

/// Text of unknown origin for an error message: control characters escaped, long text cut.
pub(super) fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    let mut out: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SnapshotId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_sixteen_lowercase_hexadecimal_digits() {
        for bad in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
            "../../../../etc/p",
            "0123456789abcde/",
            "0123456789abcde\0",
        ] {
            assert!(SnapshotId::parse(bad).is_err(), "{bad:?} was accepted");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<SnapshotId>(&json).is_err());
        }
        assert!(SnapshotId::parse("0123456789abcdef").is_ok());
    }

    #[test]
    fn random_ids_are_whole_and_differ() {
        let (a, b) = (SnapshotId::random(), SnapshotId::random());
        assert_ne!(a, b);
        assert_eq!(SnapshotId::parse(a.as_str()).unwrap(), a);
        assert_eq!(SnapshotId::from_number(a.number()), a);
    }
}
