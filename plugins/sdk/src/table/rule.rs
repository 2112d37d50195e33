//! A command as its table describes it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use deployx_plugin_abi::{Certainty, Depth, Effect};

use super::form::{Form, fold};
use super::operands::OperandSpec;
use super::options::OptionSpec;
use super::role::Role;
use super::sections::Section;

/// How a command reads its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgStyle {
    /// `-abc`, `--long=value`, options and operands mixed, `--` ends options.
    Posix,
    /// The same; options end at the first operand.
    Strict,
    /// `-long value`, no bundles.
    Single,
    /// `/s`, `/a:value`, either case.
    Slash,
    /// `-Name value`, `-Name:value`, prefixes, either case.
    Named,
}

impl ArgStyle {
    pub(crate) const NAMES: [&'static str; 5] = ["posix", "strict", "single", "slash", "named"];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "posix" => Self::Posix,
            "strict" => Self::Strict,
            "single" => Self::Single,
            "slash" => Self::Slash,
            "named" => Self::Named,
            _ => return None,
        })
    }

    /// Whether `a` and `A` are the same in names of commands and options.
    pub(crate) fn ignores_case(self) -> bool {
        matches!(self, Self::Slash | Self::Named)
    }
}

/// A command or subcommand: its grammar, and what it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// `git commit`
    pub(crate) name: String,
    /// The file and line that defines it, where a user wrote it.
    pub(crate) origin: Option<String>,
    pub(crate) style: ArgStyle,
    pub(crate) options: Vec<OptionSpec>,
    /// Options that are not listed take no value and touch nothing.
    pub(crate) other_options: bool,
    pub(crate) first_word_is_options: bool,
    /// Whether options of the command are known after a subcommand's name, too.
    pub(crate) inherit_options: bool,
    pub(crate) does: Deeds,
    /// In order of the file.
    pub(crate) when: Vec<When>,
    pub(crate) sub: BTreeMap<String, Sub>,
    /// Other names of subcommands, to the key in `sub`.
    pub(crate) sub_same: BTreeMap<String, String>,
}

/// A subcommand; one that is built in is read when it is first asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sub {
    rule: OnceLock<Box<Rule>>,
    later: Option<Later>,
}

/// Where a subcommand is described.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Later {
    pub(crate) source: Cow<'static, str>,
    /// Its own name first.
    pub(crate) names: Vec<&'static str>,
    pub(crate) section: Section,
    /// That of the table.
    pub(crate) style: ArgStyle,
}

impl From<Rule> for Sub {
    fn from(rule: Rule) -> Self {
        Self {
            rule: OnceLock::from(Box::new(rule)),
            later: None,
        }
    }
}

impl Sub {
    /// The subcommand where it was read.
    pub(crate) fn into_rule(self) -> Option<Rule> {
        self.rule.into_inner().map(|rule| *rule)
    }

    fn rule(&self, above: &Rule) -> &Rule {
        self.rule.get_or_init(|| {
            let Some(later) = &self.later else {
                return Box::new(Rule::invalid(&above.name, "nothing is said"));
            };
            let form = Form {
                source: &later.source,
                text: later.section.text,
                lines_before: later.section.lines_before,
                style: later.style,
                user: false,
            };
            let rule = form.subcommand(above);
            let name = format!("{} {}", above.name, later.names[0]);
            Box::new(rule.unwrap_or_else(|error| Rule::invalid(&name, &error.to_string())))
        })
    }
}

/// What a command does, or what differs where an option is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Deeds {
    pub(crate) operands: Option<Vec<OperandSpec>>,
    pub(crate) touch: Option<Vec<Touch>>,
    pub(crate) irreversible: Option<Vec<Effect>>,
    pub(crate) destructive: Option<bool>,
    pub(crate) handler: Option<HandlerName>,
    /// Empty: no longer unclear.
    pub(crate) unclear: Option<String>,
}

/// What differs where one of some options is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct When {
    pub(crate) options: Vec<String>,
    pub(crate) does: Deeds,
}

/// A path that a command touches whatever its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    pub(crate) path: String,
    pub(crate) depth: Depth,
    pub(crate) certainty: Certainty,
}

/// A handler as a table names it, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HandlerName {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Rule {
    /// What stands in [`PathUse::rule`](deployx_plugin_abi::PathUse::rule): the command's name,
    /// with file and line where a user wrote the rule.
    pub fn label(&self) -> String {
        match &self.origin {
            Some(origin) => format!("{} ({origin})", self.name),
            None => self.name.clone(),
        }
    }

    /// How the command reads its arguments.
    pub fn style(&self) -> ArgStyle {
        self.style
    }

    /// The options that the command knows, those that every cmdlet has not included.
    pub fn options(&self) -> &[OptionSpec] {
        &self.options
    }

    /// Whether a user wrote the rule.
    pub fn is_users(&self) -> bool {
        self.origin.is_some()
    }

    /// A command that is never understood, because its description is not valid.
    pub(crate) fn invalid(name: &str, reason: &str) -> Self {
        Self {
            other_options: true,
            does: Deeds {
                unclear: Some(format!("the rule is not valid: {reason}")),
                ..Deeds::default()
            },
            ..Self::empty(name.into(), ArgStyle::Posix)
        }
    }

    /// A command of which nothing is said.
    pub(crate) fn empty(name: String, style: ArgStyle) -> Self {
        Self {
            name,
            origin: None,
            style,
            options: Vec::new(),
            other_options: false,
            first_word_is_options: false,
            inherit_options: true,
            does: Deeds::default(),
            when: Vec::new(),
            sub: BTreeMap::new(),
            sub_same: BTreeMap::new(),
        }
    }

    /// The subcommand of that name, other names included; `*` is not looked up.
    pub(crate) fn subcommand(&self, name: &[u8]) -> Option<&Self> {
        let name = std::str::from_utf8(name).ok().filter(|name| *name != "*")?;
        let name = if self.style.ignores_case() {
            name.to_ascii_lowercase()
        } else {
            name.to_string()
        };
        let key = self.sub_same.get(&name).unwrap_or(&name);
        self.sub.get(key).map(|sub| sub.rule(self))
    }

    /// What is said of subcommands that are not listed.
    pub(crate) fn any_subcommand(&self) -> Option<&Self> {
        self.sub.get("*").map(|sub| sub.rule(self))
    }

    /// Adds a subcommand that is read when it is asked for.
    pub(crate) fn add_later(&mut self, later: Later) {
        let name = fold(later.names[0], self.style);
        for other in &later.names[1..] {
            self.sub_same.insert(fold(other, self.style), name.clone());
        }
        let rule = OnceLock::new();
        let later = Some(later);
        self.sub.insert(name, Sub { rule, later });
    }

    /// Whether the subcommands have the names that they have in `other`.
    pub(crate) fn knows_as(&self, other: &Self) -> bool {
        self.sub.keys().eq(other.sub.keys()) && self.sub_same == other.sub_same
    }

    /// Whether an operand may be a command of its own.
    pub(crate) fn has_command(&self) -> bool {
        let all = self.when.iter().map(|w| &w.does).chain([&self.does]);
        all.flat_map(|does| does.operands.iter().flatten())
            .any(|spec| spec.role == Role::Command)
    }

    /// Every handler that the rule and its subcommands name.
    pub(crate) fn handlers<'a>(&'a self, found: &mut Vec<&'a HandlerName>) {
        found.extend(self.does.handler.as_ref());
        found.extend(self.when.iter().filter_map(|w| w.does.handler.as_ref()));
        for sub in self.sub.values() {
            sub.rule(self).handlers(found);
        }
    }
}

impl Deeds {
    /// Whether nothing in it can change anything.
    pub(crate) fn is_harmless(&self) -> bool {
        let operands = self.operands.iter().flatten();
        operands.map(|spec| &spec.role).all(Role::is_harmless)
            && self.touch.iter().flatten().next().is_none()
            && self.irreversible.iter().flatten().next().is_none()
            && self.destructive != Some(true)
            && self.handler.is_none()
            && self.unclear.as_ref().is_none_or(String::is_empty)
    }
}
