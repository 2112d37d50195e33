//! What people and programs are told about a plugin.

use serde::Serialize;

use super::Reason;
use crate::path::WirePath;

/// Whether a plugin is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PluginState {
    /// It answers.
    Active,
    /// It was not accepted.
    Refused,
    /// It was accepted and failed later.
    Disabled,
}

/// One plugin file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PluginReport {
    /// The file.
    pub path: WirePath,
    /// The rule set's name; empty where the file did not get so far.
    pub name: String,
    /// The rule set's version; may be empty.
    pub version: String,
    /// The shells it reads.
    pub shells: Vec<String>,
    /// Whether it is used.
    pub state: PluginState,
    /// Why it is not used.
    pub reason: Option<Reason>,
    /// The same for people.
    pub message: Option<String>,
    /// The checks made at loading, in order.
    pub checks: Vec<CheckReport>,
}

/// One check of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What is checked.
    pub check: &'static str,
    /// How it went.
    pub outcome: CheckOutcome,
    /// What was found.
    pub detail: String,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// As it should be.
    Passed,
    /// Not as it should be; the plugin is refused.
    Failed,
    /// Not made, because an earlier one failed.
    NotReached,
}
