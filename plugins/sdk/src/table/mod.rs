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
//! same = ["reinstall"]           # another name of the subcommand
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
//! | `same` | other names of the command or subcommand |
//! | `sub` | subcommands: tables of this form by name; `*` is any that is not listed. The first operand names one. Options before it are those of the command, options after it those of the subcommand and of the command. `touch`, `operands`, `when` and the like of the command are for calls without a subcommand. `style`, `other_options` and `inherit_options` are passed on |
//! | `inherit_options` | `false`: after a subcommand's name the options of the command are not known |
//! | `when."-x"` | where the option was given: `operands`, `touch`, `irreversible`, `destructive`, `handler`, `unclear` that replace those of the command. `when."-x -y"`: any of the two. The first that fits, in order of the file, wins. A subcommand's `when` may name options of the commands above it |
//! | `touch` | paths that the command touches whatever its arguments: `path` (`~`, `.`, `$VAR`, `${VAR:-default}` at the beginning are expanded; `^.git` is the nearest `.git` in the working directory or above it, with what a `.git` file points to, and nothing where there is none; `^^.git` is the directory that holds it, the working directory where there is none; both may go on with `/rest`), `depth` (`entry`, `children`, `tree`, the default), `certainty` (`possible`, `likely`, `certain`, the default) |
//! | `irreversible` | effects that cannot be undone: `what` and `reason` |
//! | `destructive` | it deletes or overwrites as its purpose |
//! | `other_options` | `"ignore"`: options that are not listed take no value and touch nothing. Default, `"unclear"`: an unknown option makes the call not understood |
//! | `unclear` | a reason why the call is never understood (`make` runs anything); what the rule says is covered on top. `false` in a `when` takes it back |
//! | `handler` | the name of a rule in code that takes over (`find`, `tar`, `dd`…), see [`HandlerCall`] |
//! | `style` | `posix` (default for bash: `-abc`, `--long=value`, abbreviations of long options, `--` ends options, options and operands mixed), `strict` (options end at the first operand), `single` (`-long value` as in `find`, `java`; a value may be attached to an option of one letter or one with `[ROLE]`), `slash` (default for cmd: `/s`, `/a:value`, `/s/q`, either case; `-s` where `/s` is listed), `named` (default for PowerShell: `-Name value`, `-Name:value`, prefixes, either case, the common parameters) |
//! | `first_word_is_options` | `tar xzf a`: the first argument is a bundle of options without its dash |
//!
//! # Options
//! `"-o --output=ROLE"`: spellings of one option, the last with the role of its value. `=ROLE`: a
//! value is needed, attached or as the next argument, by every spelling. `[=ROLE]` or `[ROLE]`: only
//! attached, and for this spelling alone. No role: no value. `-#` is a number (`head -20`). In the style
//! `named` a parameter's `=ROLE@0` also takes the operand at position 0: operands go to the
//! parameters that are not given by name, in order of their positions; `-WhatIf` makes a built-in
//! command touch nothing.
//!
//! # Arguments that are not known
//! One that may be an option makes the call unclear, unless nothing in the rule can change anything
//! (roles `ignore`, `read` and `chdir` only, no `touch` and the like). One in a role that changes
//! paths does, too, and the tree of the directory that its known beginning names is listed. A pattern
//! ([`Known::Pattern`]) is covered by the directory before its first wildcard; it is unclear only
//! where a role follows symbolic links, which any match may be. Relative paths are unclear where the
//! working directory is not known.
//!
//! # Roles
//! | role | what the command does with the path |
//! |---|---|
//! | `ignore` | it is no path, or does not matter |
//! | `read` | only reads it |
//! | `write` | creates it or replaces its content; follows a symbolic link |
//! | `edit` | replaces it with a new file beside it (`sed -i`): the entry, and a new name in its directory |
//! | `create` | makes it, with the directories above it (`mkdir -p`) |
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
//! be missing. At most one role has `...`. What is needed comes first, then what may be missing from
//! the left, then the rest; more operands than roles make the call unclear.

mod apply;
mod arguments;
mod call;
mod commands;
mod device;
mod findings;
mod form;
mod handlers;
mod operands;
mod options;
mod placing;
mod role;
mod rule;
mod sections;
mod touch;
mod values;

pub use arguments::{Given, Operand, Parsed};
pub use call::{Arg, Known, Nested, NestedCommand, Outcome, Place};
pub use commands::Table;
pub use deployx_plugin_abi::RuleError;
pub use device::is_root_of_process;
pub use findings::Findings;
pub use handlers::{Handler, HandlerCall, Handlers};
pub use options::{OptionSpec, Spelling, Value};
pub use role::Role;
pub use rule::{ArgStyle, Rule};

#[cfg(test)]
mod tests;
