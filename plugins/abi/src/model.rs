//! What a rule set is asked and what it answers.
//!
//! Paths are bytes in the syntax of the shell that is asked about, not of the host: rules for `cmd`
//! answer with `C:\x` on a Linux host too. A path that stands in an answer is absolute.

use std::fmt;

/// How much of a path is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Depth {
    /// The entry itself: a file with its content, a directory without what is in it.
    Entry,
    /// A directory and the entries directly in it.
    Children,
    /// Everything beneath.
    Tree,
}

/// How sure a rule is that a path is touched. When limits force a scope to shrink, the least
/// certain paths go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// Covered to be on the safe side.
    Possible,
    /// The command is known to use the path, perhaps without changing it.
    Likely,
    /// The command changes it.
    Certain,
}

/// What is known about an entry of the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It cannot be told: no permission, or the path is none of this host's.
    Unknown,
    /// Nothing is there.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; what it leads to is another question.
    Link,
    /// A device, socket or pipe.
    Other,
}

/// A command line and what is known of the place where it will run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// The shell's name, for example `bash`.
    pub shell: String,
    /// The command line.
    pub command: Vec<u8>,
    /// The working directory: absolute, no symbolic links in it.
    pub cwd: Vec<u8>,
    /// The user's home directory, where known.
    pub home: Option<Vec<u8>>,
    /// Variables from the host's allow-list, each name once. A variable that is not listed is not
    /// known; it may be set all the same.
    pub env: Vec<(String, Vec<u8>)>,
    /// What earlier lines of the same shell session did to the shell.
    pub session: SessionState,
}

impl Request {
    /// The value of a variable from the allow-list.
    pub fn variable(&self, name: &str) -> Option<&[u8]> {
        self.env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
    }
}

/// What lines of a shell session did to the shell itself, as far as later lines are concerned. In a
/// request it sums up the lines before; in an answer it tells of this line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionState {
    /// Variables that were set, changed or removed. The host leaves them out of later requests.
    pub assigned: Vec<String>,
    /// Functions and aliases that were defined: these names mean something else now.
    pub redefined: Vec<String>,
    /// Options that change how words are read (`set -f`, `shopt -s dotglob`) were set.
    pub options_changed: bool,
    /// Something that cannot be read may have changed anything (`source`, `eval "$x"`).
    pub unknown: bool,
}

/// What a rule set says about a command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inference {
    /// The paths that the line changes, creates or removes, in no particular order.
    pub paths: Vec<PathUse>,
    /// The working directory after the line, where that can be told.
    pub cwd_after: Option<Vec<u8>>,
    /// The parts that were not understood. Where there are any, the host adds its conservative
    /// fallback to `paths`.
    pub unclear: Vec<Unclear>,
    /// What no rollback can take back.
    pub irreversible: Vec<Effect>,
    /// Whether the line deletes or overwrites something as its purpose.
    pub destructive: bool,
    /// What the line does to the shell itself.
    pub session: SessionState,
}

/// One path that a line touches.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathUse {
    /// Absolute, without `.` and `..`.
    pub path: Vec<u8>,
    /// How deep.
    pub depth: Depth,
    /// How sure.
    pub certainty: Certainty,
    /// Where the path is a symbolic link, the command acts on what it leads to (as `> link` does),
    /// not on the link (as `rm link` does). The host then covers both.
    pub follow: bool,
    /// Why, in a few words: `removed`, `target of a redirection`.
    pub reason: String,
    /// Which rule said so: the command's name, with the file and line of a user's rule.
    pub rule: String,
}

/// A part of a line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unclear {
    /// The part's text; the host takes every path that it may name into the scope.
    pub text: Vec<u8>,
    /// The working directory in which the part runs, where it is known and not that of the request;
    /// the host covers it as a tree.
    pub cwd: Option<Vec<u8>>,
    /// Why: `unknown program`, `variable not known`.
    pub reason: String,
}

/// An effect that no rollback can take back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// What it is on: `network`, `service`, `database`, `packages`, `process`, `device`, `container`,
    /// `remote`, `kernel`, `time`, `registry` (that of Windows), `users` (accounts and groups).
    pub what: String,
    /// Why it is believed to happen.
    pub reason: String,
}

/// Why a table of commands was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The file.
    pub source: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.source, self.line, self.column, self.message
        )
    }
}

impl std::error::Error for RuleError {}
