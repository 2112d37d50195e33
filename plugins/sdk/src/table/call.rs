//! A call of a command as a shell's rule set sees it, and what a rule makes of it.

use deployx_plugin_abi::{Effect, PathUse};

use crate::FileView;
use crate::path::Style;

/// One argument after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    /// The value, or what of its beginning is known.
    pub text: Vec<u8>,
    /// How much of the value that is.
    pub known: Known,
}

/// How much of an argument is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// All of it.
    Whole,
    /// It begins like this and goes on in a way that is not known; it is one argument.
    Beginning,
    /// The same, and it may also be several arguments, or none where nothing is known of it
    /// (`$x` without quotes).
    Several,
    /// All of it as a pattern: `text` has wildcards that could not be expanded, because the host's
    /// view gives no answer. It stands for names in the directory before the first wildcard.
    Pattern,
}

impl Arg {
    /// An argument that is known.
    pub fn whole(text: impl Into<Vec<u8>>) -> Self {
        Self {
            text: text.into(),
            known: Known::Whole,
        }
    }

    /// The value, where it is known.
    pub fn value(&self) -> Option<&[u8]> {
        (self.known == Known::Whole).then_some(self.text.as_slice())
    }
}

/// Where a command runs.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// How paths look.
    pub style: Style,
    /// The working directory; `None` where an earlier part of the line made it unknown.
    pub cwd: Option<&'a [u8]>,
    /// The user's home directory.
    pub home: Option<&'a [u8]>,
    /// The value of a variable at this place in the line, where known.
    pub variable: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    /// The filesystem.
    pub view: &'a dyn FileView,
}

/// What a rule makes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The paths it touches.
    pub paths: Vec<PathUse>,
    /// Why the call is not understood, or not completely; empty where it is.
    pub unclear: Vec<String>,
    /// What cannot be undone.
    pub irreversible: Vec<Effect>,
    /// Whether it deletes or overwrites as its purpose.
    pub destructive: bool,
    /// Commands within the call that the rule set has to read in turn.
    pub nested: Vec<Nested>,
}

/// A command within a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nested {
    /// What runs.
    pub what: NestedCommand,
    /// The working directory in which it runs, where it differs from the call's. `Some(None)`: it
    /// differs and is not known.
    pub cwd: Option<Option<Vec<u8>>>,
    /// Variables that are set for it (`env A=b cmd`).
    pub assign: Vec<(String, Arg)>,
    /// Arguments that are not known follow those given (`xargs rm`, `find -exec rm {} +`), or stand
    /// in their place. Where the rule knows in which directory trees the paths they name lie, these
    /// are listed: the nested command's path roles then touch these trees.
    pub unknown_arguments_in: Option<Vec<Vec<u8>>>,
}

/// What a nested command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NestedCommand {
    /// A name and its arguments (`sudo rm x`).
    Words(Vec<Arg>),
    /// A line of a shell (`bash -c 'rm x'`). The name as given, `None` for the same shell.
    Line {
        /// Which shell reads it.
        shell: Option<String>,
        /// The line.
        text: Arg,
    },
}
