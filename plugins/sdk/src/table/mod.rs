//! Commands described by data: which of a command's arguments are paths, and what it does to them.
//!
//! Rule sets read their own tables and the user's with [`Table::parse`]. The form:
//!
//! ```toml
//! [rm]
//! options = ["-r -R --recursive", "-f --force", "-i", "-I", "--interactive[=ignore]", "-v --verbose"]
//! operands = "remove..."
//! destructive = true
//!
//! [cp]
//! options = ["-r -R --recursive", "-a --archive", "-t --target-directory=into", "-T", "-S --suffix=ignore"]
//! operands = "read... place"
//!
//! [cp.when."-t"]                 # what differs when an option is given
//! operands = "read..."
//!
//! [sed]
//! options = ["-n --quiet --silent", "-i[ignore] --in-place[=ignore]", "-e --expression=ignore", "-f --file=read"]
//! operands = "ignore read..."
//! [sed.when."-i"]
//! operands = "ignore edit..."
//!
//! [git]
//! options = ["-C=chdir", "-c=ignore", "--git-dir=tree", "--work-tree=tree"]
//! [git.sub.init]
//! options = ["--bare", "-q --quiet", "-b --initial-branch=ignore"]
//! operands = "[tree=.]"          # an operand that may be missing, and what stands for it then
//!
//! [apt-get]
//! [apt-get.sub.install]
//! same = ["apt-get.reinstall"]   # see the key `same`
//! operands = "ignore..."
//! touch = [{ path = "/usr", depth = "tree" }, { path = "/var/lib/dpkg", depth = "tree" }]
//! irreversible = [{ what = "packages", reason = "scripts of packages run" }]
//!
//! [sudo]
//! options = ["-u --user=ignore", "-g --group=ignore", "-E", "-n", "-D --chdir=chdir"]
//! operands = "command..."        # the rest is a command of its own
//! ```
//!
//! # Keys of a command
//! | key | meaning |
//! |---|---|
//! | `options` | every option the command knows; see below |
//! | `operands` | what the arguments are that are no options; see below. Missing: `ignore...` |
//! | `same` | other names of the command |
//! | `sub` | subcommands: tables of this form by name. The first operand names one. Options before it are those of the command, options after it those of the subcommand and of the command |
//! | `when."-x"` | where the option was given: `operands`, `touch`, `irreversible`, `destructive`, `handler` that replace those of the command. `when."-x -y"`: any of the two. The first that fits, in order of the file, wins |
//! | `touch` | paths that the command touches whatever its arguments: `path` (`~`, `.`, `$VAR`, `${VAR:-default}` are expanded; `^.git` is the nearest `.git` in the working directory or above it), `depth` (`entry`, `children`, `tree`), `certainty` (`possible`, `likely`, `certain`, the default) |
//! | `irreversible` | effects that cannot be undone |
//! | `destructive` | it deletes or overwrites as its purpose |
//! | `other_options` | `"ignore"`: options that are not listed take no value and touch nothing. Default: an unknown option makes the call not understood |
//! | `unclear` | a reason why the call is never understood (`make` runs anything); what the rule says is covered on top |
//! | `handler` | the name of a rule in code that takes over (`find`, `tar`, `dd`…) |
//! | `style` | `posix` (default for bash: `-abc`, `--long=value`, abbreviations of long options, `--` ends options, options and operands mixed), `strict` (options end at the first operand), `single` (`-long value` as in `find`, `java`), `slash` (default for cmd: `/s`, `/a:value`, either case), `named` (default for PowerShell: `-Name value`, `-Name:value`, prefixes, either case) |
//! | `first_word_is_options` | `tar xzf a`: the first argument is a bundle of options without its dash |
//!
//! # Options
//! `"-o --output=ROLE"`: spellings of one option, the last with the role of its value. `=ROLE`: a
//! value is needed, attached or as the next argument. `[=ROLE]` or `[ROLE]`: only attached. No role:
//! no value. In the style `named` a parameter's `=ROLE@0` also takes the operand at position 0.
//!
//! # Roles
//! | role | what the command does with the path |
//! |---|---|
//! | `ignore` | it is no path, or does not matter |
//! | `read` | only reads it |
//! | `write` | creates it or replaces its content; follows a symbolic link |
//! | `edit` | replaces it with a new file beside it (`sed -i`): the entry, and a new name in its directory |
//! | `create` | makes it and everything beneath (`mkdir -p`) |
//! | `remove` | removes it with everything beneath; never follows a link |
//! | `meta` | changes permissions, owner or times of the entry; follows a link |
//! | `metatree` | the same for everything beneath |
//! | `tree` | may change anything beneath |
//! | `children` | may create, change or remove entries directly in it |
//! | `take` | as `remove`, and its name is used by a `place` of the same call (`mv`) |
//! | `place` | where the `read` and `take` operands go: into it under their names where it is a directory or there are several; it itself otherwise |
//! | `into` | the same, always a directory |
//! | `chdir` | the other paths of the call are taken from there |
//! | `command` | it and everything after it is a command of its own |
//! | `script` | a command line of the same shell; `script:cmd` of another |
//! | `remote` | runs or lies elsewhere: an effect on the network |
//!
//! # Operands
//! Roles in order: `read... place` is any number and then one; `ignore edit...` one and then any
//! number; `[tree=.]` one that may be missing, with what stands for it then; `[write]` one that may
//! be missing. At most one role has `...`.

mod apply;
mod arguments;
mod call;
mod findings;
mod form;
mod handlers;
mod operands;
mod options;
mod role;
mod rule;
mod touch;

pub use arguments::{Given, Operand, Parsed};
pub use call::{Arg, Known, Nested, NestedCommand, Outcome, Place};
pub use findings::Findings;
pub use handlers::{Handler, HandlerCall, Handlers};
pub use options::{OptionSpec, Spelling, Value};
pub use role::Role;
pub use rule::{ArgStyle, Rule};

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use form::Form;

/// The commands that a rule set knows.
#[derive(Debug, Clone)]
pub struct Table {
    ignores_case: bool,
    /// Every name, other names included.
    commands: HashMap<String, Arc<Entry>>,
}

/// A command and where it was read.
#[derive(Debug)]
struct Entry {
    source: String,
    rule: Rule,
}

impl Table {
    /// No commands. `style` says whether letters of either case are the same in names.
    pub fn new(style: ArgStyle) -> Self {
        Self {
            ignores_case: style.ignores_case(),
            commands: HashMap::new(),
        }
    }

    /// Reads a user's file of commands; `source` names it in messages and labels. Commands without a
    /// `style` have `default_style`.
    ///
    /// # Errors
    /// The first mistake, with its place and what would be right.
    pub fn parse(source: &str, toml: &str, default_style: ArgStyle) -> Result<Self, RuleError> {
        Self::read(source, toml, default_style, true)
    }

    /// Reads the files that are built into a rule set, each with its name. Their labels are the
    /// commands' names alone.
    ///
    /// # Errors
    /// As for [`Table::parse`].
    pub fn embedded(files: &[(&str, &str)], default_style: ArgStyle) -> Result<Self, RuleError> {
        let mut table = Self::new(default_style);
        for (source, toml) in files {
            table.extend(Self::read(source, toml, default_style, false)?);
        }
        Ok(table)
    }

    fn read(source: &str, toml: &str, style: ArgStyle, user: bool) -> Result<Self, RuleError> {
        let form = Form {
            source,
            text: toml,
            lines_before: 0,
            style,
            user,
        };
        let mut table = Self::new(style);
        for command in form.commands()? {
            let entry = Arc::new(Entry {
                source: source.into(),
                rule: command.rule,
            });
            for name in command.same.into_iter().chain([command.name]) {
                table.commands.insert(table.fold(&name), Arc::clone(&entry));
            }
        }
        Ok(table)
    }

    /// Adds the commands of `other`; they win over those of the same name.
    pub fn extend(&mut self, other: Self) {
        for (name, entry) in other.commands {
            self.commands.insert(self.fold(&name), entry);
        }
    }

    /// The command of that name, other names included.
    pub fn rule(&self, name: &[u8]) -> Option<&Rule> {
        let name = std::str::from_utf8(name).ok()?;
        let entry = if self.ignores_case {
            self.commands.get(&name.to_ascii_lowercase())
        } else {
            self.commands.get(name)
        };
        entry.map(|entry| &entry.rule)
    }

    /// Every name, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(String::as_str)
    }

    /// Whether every handler that a command names is among `handlers`.
    ///
    /// # Errors
    /// A handler that is not.
    pub fn check(&self, handlers: &Handlers) -> Result<(), RuleError> {
        for entry in self.commands.values() {
            let mut named = Vec::new();
            entry.rule.handlers(&mut named);
            if let Some(unknown) = named.iter().find(|h| handlers.get(&h.name).is_none()) {
                let known: Vec<&str> = handlers.names().collect();
                return Err(RuleError {
                    source: entry.source.clone(),
                    line: unknown.line,
                    column: unknown.column,
                    message: format!(
                        "unknown handler '{}'; the handlers are {}",
                        unknown.name,
                        known.join(", ")
                    ),
                });
            }
        }
        Ok(())
    }

    fn fold(&self, name: &str) -> String {
        if self.ignores_case {
            name.to_ascii_lowercase()
        } else {
            name.into()
        }
    }
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

#[cfg(test)]
mod tests;
