//! Why a plugin is not used.

use std::fmt;

use serde::Serialize;

/// What kind of fault it is, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The file or a directory above it is not there, is of the wrong kind, or could be changed by
    /// others.
    File,
    /// The file is no complete library for this machine with the plugin interface.
    Library,
    /// The library's description is not acceptable, or no version of the interface fits.
    Interface,
    /// The process that hosts the plugin could not be started.
    Host,
    /// It claims to understand what it cannot.
    Lies,
    /// There was no answer in time.
    TimedOut,
    /// The process that hosts the plugin ended.
    Crashed,
    /// It reported a failure inside.
    Failed,
    /// The answer was malformed.
    BadAnswer,
}

/// Why a plugin is not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of fault it is.
    pub reason: Reason,
    /// What exactly, for people; may quote the plugin.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
