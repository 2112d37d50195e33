//! The commands that a rule set knows, by name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, OnceLock};

use super::RuleError;
use super::form::Form;
use super::handlers::Handlers;
use super::rule::{ArgStyle, Later, Rule};
use super::sections::{self, Section};

/// The commands that a rule set knows.
#[derive(Debug, Clone)]
pub struct Table {
    ignores_case: bool,
    /// Every name, other names included.
    commands: HashMap<Cow<'static, str>, Arc<Entry>, BuildHasherDefault<NameHasher>>,
}

/// A command; one that is built in is read when it is first asked for.
#[derive(Debug)]
struct Entry {
    source: Cow<'static, str>,
    section: Option<(Section, ArgStyle)>,
    rule: OnceLock<Box<Rule>>,
}

/// About how many bytes of a table there are for each name.
const BYTES_A_NAME: usize = 80;

/// FNV-1a: names are short, and nobody who could choose them gains from a collision.
#[derive(Debug, Clone)]
struct NameHasher(u64);

impl Default for NameHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Table {
    /// No commands. `style` says whether letters of either case are the same in names.
    pub fn new(style: ArgStyle) -> Self {
        Self {
            ignores_case: style.ignores_case(),
            commands: HashMap::default(),
        }
    }

    /// Reads a user's file of commands; `source` names it in messages and labels. Commands without a
    /// `style` have `default_style`.
    ///
    /// # Errors
    /// The first mistake, with its place and what would be right.
    pub fn parse(source: &str, toml: &str, default_style: ArgStyle) -> Result<Self, RuleError> {
        let form = Form {
            source,
            text: toml,
            lines_before: 0,
            style: default_style,
            user: true,
        };
        let mut table = Self::new(default_style);
        for command in form.commands()? {
            let entry = Arc::new(Entry {
                source: Cow::Owned(source.into()),
                section: None,
                rule: OnceLock::from(Box::new(command.rule)),
            });
            for name in command.same.into_iter().chain([command.name]) {
                table.insert(Cow::Owned(name), &entry);
            }
        }
        Ok(table)
    }

    /// The commands of files that are built into a rule set, each with its name; where a command
    /// stands in several, the last wins. Labels are the commands' names alone.
    ///
    /// Only headers and `same` are read now, so they must begin their lines, and all of a command must
    /// stand together. A command whose description is not valid is never understood: let a test
    /// call [`Table::check`].
    ///
    /// # Errors
    /// A line that stands in no command.
    pub fn embedded(
        files: &[(&'static str, &'static str)],
        default_style: ArgStyle,
    ) -> Result<Self, RuleError> {
        let mut table = Self::new(default_style);
        let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
        table.commands.reserve(bytes / BYTES_A_NAME);
        for (source, text) in files {
            let mut names = Vec::with_capacity(256);
            let found = sections::find(text, |name, at| names.push((name, at)));
            let found = found.map_err(|(line, message)| RuleError {
                source: (*source).into(),
                line,
                column: 1,
                message,
            })?;
            let entries = found.into_iter().map(|section| {
                Arc::new(Entry {
                    source: Cow::Borrowed(source),
                    section: Some((section, default_style)),
                    rule: OnceLock::new(),
                })
            });
            let entries: Vec<Arc<Entry>> = entries.collect();
            for (name, at) in names {
                table.insert(Cow::Borrowed(name), &entries[at]);
            }
        }
        Ok(table)
    }

    fn insert(&mut self, name: Cow<'static, str>, entry: &Arc<Entry>) {
        let name = if self.ignores_case && name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            name
        };
        self.commands.insert(name, Arc::clone(entry));
    }

    /// Adds the commands of `other`; they win over those of the same name.
    pub fn extend(&mut self, other: Self) {
        for (name, entry) in other.commands {
            self.insert(name, &entry);
        }
    }

    /// The command of that name, other names included.
    pub fn rule(&self, name: &[u8]) -> Option<&Rule> {
        let name = std::str::from_utf8(name).ok()?;
        let entry = if self.ignores_case {
            self.commands.get(name.to_ascii_lowercase().as_str())
        } else {
            self.commands.get(name)
        };
        entry.map(|entry| entry.rule(name))
    }

    /// Every name, in no particular order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(AsRef::as_ref)
    }

    /// Reads every command, and looks for every handler that one names among `handlers`.
    ///
    /// # Errors
    /// The first mistake by file and line.
    pub fn check(&self, handlers: &Handlers) -> Result<(), RuleError> {
        let mistakes = self
            .commands
            .iter()
            .filter_map(|(name, entry)| entry.check(name, handlers).err());
        let first = mistakes.min_by(|a, b| {
            let place = |e: &RuleError| (e.source.clone(), e.line, e.column);
            place(a).cmp(&place(b))
        });
        first.map_or(Ok(()), Err)
    }
}

impl Entry {
    fn rule(&self, name: &str) -> &Rule {
        self.rule.get_or_init(|| {
            let rule = match self.in_parts() {
                Some(rule) => rule,
                None => self.read().map(|(rule, _)| rule),
            };
            Box::new(rule.unwrap_or_else(|error| Rule::invalid(name, &error.to_string())))
        })
    }

    /// The command with its subcommands left for later; `None` where they do not stand apart.
    fn in_parts(&self) -> Option<Result<Rule, RuleError>> {
        let (section, style) = self.section?;
        let (head, subs) = sections::split(section).filter(|(_, subs)| !subs.is_empty())?;
        if head.text.trim().is_empty() {
            return None;
        }
        let later = subs.into_iter().map(|(names, section)| Later {
            source: self.source.clone(),
            names,
            section,
            style,
        });
        let form = self.form(head, style);
        Some(form.commands().and_then(|mut commands| {
            let command = commands.pop().ok_or_else(|| self.no_command(head))?;
            let mut rule = command.rule;
            later.for_each(|later| rule.add_later(later));
            Ok(rule)
        }))
    }

    fn form(&self, section: Section, style: ArgStyle) -> Form<'_> {
        Form {
            source: &self.source,
            text: section.text,
            lines_before: section.lines_before,
            style,
            user: false,
        }
    }

    fn no_command(&self, section: Section) -> RuleError {
        self.error(
            section.lines_before + 1,
            "headers must begin their lines".into(),
        )
    }

    /// The command as its section describes it, and its names.
    fn read(&self) -> Result<(Rule, Vec<String>), RuleError> {
        let Some((section, style)) = self.section else {
            return Err(self.error(1, "the command has no section".into()));
        };
        let form = self.form(section, style);
        let mut commands = form.commands()?;
        match (commands.pop(), commands.is_empty()) {
            (Some(command), true) => {
                let mut names = command.same;
                names.push(command.name);
                Ok((command.rule, names))
            }
            _ => Err(self.no_command(section)),
        }
    }

    fn check(&self, name: &str, handlers: &Handlers) -> Result<(), RuleError> {
        if let Some((section, _)) = self.section {
            let (rule, names) = self.read()?;
            let parts = self.in_parts().transpose()?;
            if parts.is_some_and(|parts| !parts.knows_as(&rule)) {
                let message = "headers and 'same' of subcommands must begin their lines".into();
                return Err(self.error(section.lines_before + 1, message));
            }
            if !names.iter().any(|other| other.eq_ignore_ascii_case(name)) {
                let message = format!("'{name}' is no name of the command");
                return Err(self.error(section.lines_before + 1, message));
            }
        }
        let mut named = Vec::new();
        self.rule(name).handlers(&mut named);
        match named.iter().find(|h| handlers.get(&h.name).is_none()) {
            None => Ok(()),
            Some(unknown) => Err(RuleError {
                column: unknown.column,
                ..self.error(
                    unknown.line,
                    format!(
                        "unknown handler '{}'; the handlers are {}",
                        unknown.name,
                        handlers.names().collect::<Vec<_>>().join(", ")
                    ),
                )
            }),
        }
    }

    fn error(&self, line: usize, message: String) -> RuleError {
        RuleError {
            source: self.source.to_string(),
            line,
            column: 1,
            message,
        }
    }
}
