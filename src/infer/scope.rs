//! What a command line is expected to touch, in the engine's terms.

use serde::{Deserialize, Serialize};

use crate::path::{AbsPath, WirePath};

/// How much of a path is in the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// The entry itself: a file with its content, a directory without what is in it.
    Entry,
    /// A directory and the entries directly in it.
    Children,
    /// Everything beneath.
    Tree,
}

/// How sure a rule is that the command touches a path. When limits force the scope to shrink, the
/// least certain paths go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Covered to be on the safe side.
    Possible,
    /// The command is known to use the path, perhaps only for reading.
    Likely,
    /// The command writes it.
    Certain,
}

impl From<deployx_plugin_sdk::Depth> for Depth {
    fn from(depth: deployx_plugin_sdk::Depth) -> Self {
        match depth {
            deployx_plugin_sdk::Depth::Entry => Self::Entry,
            deployx_plugin_sdk::Depth::Children => Self::Children,
            deployx_plugin_sdk::Depth::Tree => Self::Tree,
        }
    }
}

impl From<deployx_plugin_sdk::Certainty> for Certainty {
    fn from(certainty: deployx_plugin_sdk::Certainty) -> Self {
        match certainty {
            deployx_plugin_sdk::Certainty::Possible => Self::Possible,
            deployx_plugin_sdk::Certainty::Likely => Self::Likely,
            deployx_plugin_sdk::Certainty::Certain => Self::Certain,
        }
    }
}

/// One path of a scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScopePath {
    /// Absolute, without symbolic links in its directory part where those exist.
    pub path: AbsPath,
    /// How deep.
    pub depth: Depth,
    /// Why, in a few words.
    pub reason: String,
    /// How sure.
    pub certainty: Certainty,
    /// The rule that said so, for example `rm`; empty where it was no rule of a command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rule: String,
}

/// A path that a line of another system's shell touches and that no entry of this host can have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ForeignPath {
    /// In the shell's own syntax.
    pub path: WirePath,
    /// How deep.
    pub depth: Depth,
    /// Why.
    pub reason: String,
    /// How sure.
    pub certainty: Certainty,
    /// The rule that said so.
    pub rule: String,
}

/// An effect that no rollback can take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Irreversible {
    /// What the effect is on, for example `network` or `service`.
    pub what: String,
    /// Why it is believed to happen.
    pub reason: String,
}

/// A part of a line that the rules did not understand: the conservative fallback covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotUnderstood {
    /// The part, shortened where it is long.
    pub text: String,
    /// Why.
    pub reason: String,
    /// The fallback covers it; false where that would have been everything there is.
    #[serde(default = "yes")]
    pub covered: bool,
}

fn yes() -> bool {
    true
}

/// What earlier lines of a shell session did to the shell, as later lines are read.
pub type Session = deployx_plugin_sdk::SessionState;

/// What a command line is expected to touch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The paths, in no particular order.
    pub paths: Vec<ScopePath>,
    /// Paths that this host cannot have (rules for another system's shell).
    pub foreign: Vec<ForeignPath>,
    /// The working directory after the line, where that can be told.
    pub cwd_after: Option<WirePath>,
    /// Whether the line deletes or overwrites something as its purpose.
    pub destructive: bool,
    /// What cannot be undone.
    pub irreversible: Vec<Irreversible>,
    /// The parts that were not understood.
    pub not_understood: Vec<NotUnderstood>,
    /// The rule set that answered.
    pub rules: String,
    /// What the line does to the shell itself.
    pub session: Session,
}
