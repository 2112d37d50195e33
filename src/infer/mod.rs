//! Which paths will a command line touch?
//!
//! A [`PathInference`] rule set reads a command line and gives a [`Scope`]. Where no rule set
//! understands the line, the [`fallback`] covers the working directory and everything the line
//! could name.

pub mod fallback;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::path::AbsPath;

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
}

/// An effect that no rollback can take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Irreversible {
    /// What the effect is on, for example `network` or `service`.
    pub what: String,
    /// Why it is believed to happen.
    pub reason: String,
}

/// What a command line is expected to touch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The paths, in no particular order.
    pub paths: Vec<ScopePath>,
    /// The working directory after the line, where that can be told.
    pub cwd_after: Option<AbsPath>,
    /// Whether the line deletes or overwrites something as its purpose.
    pub destructive: bool,
    /// What cannot be undone.
    pub irreversible: Vec<Irreversible>,
}

/// What a rule set may look at.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The shell's name.
    pub shell: &'a str,
    /// The command line as bytes.
    pub command: &'a [u8],
    /// Where it starts; physical (no symbolic links).
    pub cwd: &'a AbsPath,
    /// The user's home directory, where known.
    pub home: Option<&'a AbsPath>,
    /// Variables from the allow-list.
    pub env: &'a BTreeMap<String, String>,
}

/// A rule set: reads command lines of one or more shells.
///
/// # Contract
/// - `infer` must not change anything and must not run anything.
/// - It must rather give too much than too little; the engine adds the working directory and the
///   parents of every path on its own.
///
/// ```
/// use deployx::infer::{Context, PathInference, Scope, fallback::ConservativeFallback};
///
/// /// Treats every line as not understood.
/// struct Careful;
///
/// impl PathInference for Careful {
///     fn name(&self) -> &str {
///         "careful"
///     }
///     fn shells(&self) -> &[&str] {
///         &["toy"]
///     }
///     fn infer(&self, context: &Context<'_>) -> Scope {
///         ConservativeFallback.infer(context)
///     }
/// }
/// ```
pub trait PathInference: Send + Sync {
    /// The rule set's name.
    fn name(&self) -> &str;
    /// The shells whose lines it reads; empty means any.
    fn shells(&self) -> &[&str];
    /// The paths that `context.command` is expected to touch.
    fn infer(&self, context: &Context<'_>) -> Scope;
}

/// The rule sets of an engine, asked in order of registration; the fallback answers last.
#[derive(Default)]
pub struct Registry {
    rules: Vec<Box<dyn PathInference>>,
}

impl Registry {
    /// Adds a rule set; it takes precedence over those added before.
    pub fn register(&mut self, rules: Box<dyn PathInference>) {
        self.rules.insert(0, rules);
    }

    /// The rule set that answers for `shell`.
    pub fn for_shell(&self, shell: &str) -> &dyn PathInference {
        self.rules
            .iter()
            .find(|r| r.shells().is_empty() || r.shells().contains(&shell))
            .map_or(&fallback::ConservativeFallback as &dyn PathInference, |r| {
                r.as_ref()
            })
    }

    /// Every rule set with the fallback last.
    pub fn all(&self) -> Vec<&dyn PathInference> {
        self.rules
            .iter()
            .map(AsRef::as_ref)
            .chain([&fallback::ConservativeFallback as &dyn PathInference])
            .collect()
    }
}
