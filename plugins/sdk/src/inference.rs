//! The two traits between host and rule set.

use deployx_plugin_abi::{Inference, Kind, Request};

use crate::table::RuleError;

/// The filesystem as a rule set may see it. Nothing can be changed through it.
///
/// Paths are absolute bytes in the syntax of the shell. What the host cannot tell is
/// [`Kind::Unknown`] or `None`; a rule set must then rather assume too much than too little.
pub trait FileView: Send + Sync {
    /// What is at `path`; a symbolic link at its end is not followed.
    fn kind(&self, path: &[u8]) -> Kind;

    /// The names in a directory, without `.` and `..`, and what they are. `None` where it cannot be
    /// told or where there are too many. Symbolic links at the end of `dir` are followed.
    fn list(&self, dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>>;

    /// What a symbolic link says, as it stands there.
    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>>;

    /// The beginning of a regular file, at most `max` bytes.
    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>>;
}

/// A rule set: reads the command lines of one or more shells.
///
/// # Contract
/// - `infer` must not change anything and must not run anything. It returns quickly: the host gives
///   up on an answer that takes long.
/// - It must rather give too much than too little. What it does not understand it lists in
///   [`Inference::unclear`]; the host then adds its conservative fallback.
/// - Paths that are only read need no cover. The host covers the working directory itself and
///   the directory above every path.
///
/// ```
/// use deployx_plugin_sdk::{FileView, Inference, PathInference, Request, Unclear};
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
///     fn infer(&self, request: &Request, _view: &dyn FileView) -> Inference {
///         Inference {
///             unclear: vec![Unclear {
///                 text: request.command.clone(),
///                 cwd: None,
///                 reason: "this rule set understands nothing".into(),
///             }],
///             ..Inference::default()
///         }
///     }
/// }
/// ```
pub trait PathInference: Send + Sync {
    /// The rule set's name.
    fn name(&self) -> &str;

    /// The rule set's own version, for people; empty where it has none.
    fn version(&self) -> &str {
        Default::default()
    }

    /// The shells whose lines it reads.
    fn shells(&self) -> &[&str];

    /// The paths that `request.command` is expected to touch.
    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference;

    /// Adds commands of the user, in the table form of [`crate::table`]. They take precedence over
    /// the rule set's own. `source` names the file in messages.
    ///
    /// # Errors
    /// The text is not valid, or the rule set has no tables.
    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        let _ = toml;
        Err(RuleError {
            source: source.into(),
            line: 1,
            column: 1,
            message: format!("the rule set '{}' takes no rules of this form", self.name()),
        })
    }
}
