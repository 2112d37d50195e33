//! What a later process needs to take up a capture.

use serde::{Deserialize, Serialize};

use crate::path::AbsPath;
use crate::request::Limits;
use crate::snapshot::Exclusions;

/// A capture as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token {
    /// The session's directory.
    pub(super) session: AbsPath,
    /// The command's number in it.
    pub(super) number: u64,
    pub(super) exclusions: Exclusions,
    pub(super) limits: Limits,
    /// The system's start during which the command ran.
    pub(super) boot: Option<String>,
}

impl Token {
    pub(super) fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    /// Reads a token, which may be damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// The command's directory.
    pub(super) fn directory(&self) -> Option<AbsPath> {
        self.session.join(self.number.to_string().as_ref()).ok()
    }
}
