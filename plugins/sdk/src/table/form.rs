//! From TOML to rules.

use std::collections::BTreeMap;
use std::ops::Range;

use deployx_plugin_abi::{Certainty, Depth, Effect};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::RuleError;
use super::operands::{self, OperandSpec};
use super::options::OptionSpec;
use super::rule::{ArgStyle, Deeds, HandlerName, Rule, Touch, When};

/// Keys of a command; those of `DEEDS` may also stand in a `when`.
const KEYS: [&str; 9] = [
    "options",
    "same",
    "sub",
    "when",
    "other_options",
    "style",
    "first_word_is_options",
    "inherit_options",
    "operands",
];
const DEEDS: [&str; 6] = [
    "operands",
    "touch",
    "irreversible",
    "destructive",
    "handler",
    "unclear",
];
/// Subcommands of subcommands of …
const MAX_SUBS: usize = 8;

type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
type Item<'i> = Spanned<DeValue<'i>>;

/// A file of rules while it is read.
pub(crate) struct Form<'a> {
    pub(crate) source: &'a str,
    pub(crate) text: &'a str,
    /// Lines before `text` in the file.
    pub(crate) lines_before: usize,
    pub(crate) style: ArgStyle,
    /// Whether rules name their file and line.
    pub(crate) user: bool,
}

/// A command with its other names.
pub(crate) struct Command {
    pub(crate) name: String,
    pub(crate) same: Vec<String>,
    pub(crate) rule: Rule,
}

impl Form<'_> {
    /// Every command of the file.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub(crate) fn commands(&self) -> Result<Vec<Command>, RuleError> {
        let root = DeTable::parse(self.text)
            .map_err(|e| self.error(e.span().unwrap_or(0..0), e.message()))?;
        let mut commands = Vec::new();
        for (key, value) in in_order(root.get_ref()) {
            let Some(table) = value.get_ref().as_table() else {
                return Err(self.error(
                    key.span(),
                    format!(
                        "'{0}' is no command; a command is a table: [{0}]",
                        key.get_ref()
                    ),
                ));
            };
            let name = key.get_ref().to_string();
            let (rule, same) = self.rule(&name, key, table, None, 0)?;
            commands.push(Command { name, same, rule });
        }
        self.no_name_twice(&commands, root.get_ref())?;
        Ok(commands)
    }

    fn no_name_twice(&self, commands: &[Command], root: &DeTable<'_>) -> Result<(), RuleError> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for command in commands {
            for name in std::iter::once(&command.name).chain(&command.same) {
                if let Some(first) = seen.insert(self.fold(name), &command.name) {
                    let span = root
                        .iter()
                        .find(|(key, _)| *key.get_ref() == command.name.as_str())
                        .map_or(0..0, |(key, _)| key.span());
                    let message = format!("'{name}' is also a name of [{first}]");
                    return Err(self.error(span, message));
                }
            }
        }
        Ok(())
    }

    /// A command or, with `above`, a subcommand, and its other names.
    fn rule(
        &self,
        name: &str,
        key: &Key<'_>,
        table: &DeTable<'_>,
        above: Option<&Rule>,
        level: usize,
    ) -> Result<(Rule, Vec<String>), RuleError> {
        if level > MAX_SUBS {
            return Err(self.error(key.span(), "subcommands are nested too deeply"));
        }
        let mut rule = Rule {
            name: above.map_or(name.into(), |a| format!("{} {name}", a.name)),
            origin: self.user.then(|| {
                let (line, _) = self.position(key.span().start);
                format!("{}:{line}", self.source)
            }),
            style: above.map_or(self.style, |a| a.style),
            options: Vec::new(),
            other_options: above.is_some_and(|a| a.other_options),
            first_word_is_options: false,
            inherit_options: above.is_none_or(|a| a.inherit_options),
            does: Deeds::default(),
            when: Vec::new(),
            sub: BTreeMap::new(),
            sub_same: BTreeMap::new(),
        };
        let mut same = Vec::new();
        let (mut sub, mut when) = (None, None);
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "options" => {
                    for entry in self.list(value)? {
                        rule.options.push(self.option(entry)?);
                    }
                }
                "same" => same = self.names(value)?,
                "sub" => sub = Some(value),
                "when" => when = Some(value),
                "other_options" => match self.text(value)? {
                    "ignore" => rule.other_options = true,
                    "unclear" => rule.other_options = false,
                    other => {
                        let message =
                            format!("'{other}' is not known here; write \"ignore\" or \"unclear\"");
                        return Err(self.error(value.span(), message));
                    }
                },
                "style" => rule.style = self.arg_style(value)?,
                "first_word_is_options" => rule.first_word_is_options = self.boolean(value)?,
                "inherit_options" => rule.inherit_options = self.boolean(value)?,
                _ => self.deed(key, value, &mut rule.does, &KEYS)?,
            }
        }
        self.options_fit(&rule, table)?;
        if let Some(when) = when {
            rule.when = self.when(when, &rule, above)?;
        }
        if let Some(sub) = sub {
            self.subcommands(sub, &mut rule, level)?;
        }
        Ok((rule, same))
    }

    fn subcommands(
        &self,
        value: &Item<'_>,
        rule: &mut Rule,
        level: usize,
    ) -> Result<(), RuleError> {
        for (key, value) in in_order(self.table(value)?) {
            let name = self.fold(key.get_ref());
            let (sub, same) = self.rule(
                key.get_ref(),
                key,
                self.table(value)?,
                Some(rule),
                level + 1,
            )?;
            for other in same {
                rule.sub_same.insert(self.fold(&other), name.clone());
            }
            rule.sub.insert(name, sub);
        }
        let twice = rule
            .sub_same
            .keys()
            .find(|other| rule.sub.contains_key(*other));
        match twice {
            Some(name) => Err(self.error(
                value.span(),
                format!("'{name}' is a subcommand and another name of one"),
            )),
            None => Ok(()),
        }
    }

    fn when(
        &self,
        value: &Item<'_>,
        rule: &Rule,
        above: Option<&Rule>,
    ) -> Result<Vec<When>, RuleError> {
        let mut found = Vec::new();
        for (key, value) in in_order(self.table(value)?) {
            let options: Vec<String> = key.get_ref().split_whitespace().map(Into::into).collect();
            let known = |name: &String| {
                let above = above.filter(|a| a.inherit_options).map(|a| &a.options);
                let listed = rule.options.iter().chain(above.into_iter().flatten());
                listed.into_iter().any(|spec| spec.is(name)) || name == "-WhatIf"
            };
            if let Some(name) = options.iter().find(|name| !known(name)) {
                let message = format!("'{name}' is not among the options of '{}'", rule.name);
                return Err(self.error(key.span(), message));
            }
            if options.is_empty() {
                return Err(self.error(key.span(), "name an option, as in [x.when.\"-i\"]"));
            }
            let mut does = Deeds::default();
            for (key, value) in in_order(self.table(value)?) {
                self.deed(key, value, &mut does, &[])?;
            }
            found.push(When { options, does });
        }
        Ok(found)
    }

    /// One of the keys that say what a command does.
    fn deed(
        &self,
        key: &Key<'_>,
        value: &Item<'_>,
        does: &mut Deeds,
        others: &[&str],
    ) -> Result<(), RuleError> {
        match key.get_ref().as_ref() {
            "operands" => does.operands = Some(self.operands(value)?),
            "touch" => {
                let list = self.list(value)?.iter().map(|item| self.touch(item));
                does.touch = Some(list.collect::<Result<_, _>>()?);
            }
            "irreversible" => {
                let list = self.list(value)?.iter().map(|item| self.effect(item));
                does.irreversible = Some(list.collect::<Result<_, _>>()?);
            }
            "destructive" => does.destructive = Some(self.boolean(value)?),
            "handler" => {
                let (line, column) = self.position(value.span().start);
                let name = self.text(value)?.to_string();
                does.handler = Some(HandlerName { name, line, column });
            }
            "unclear" if value.get_ref().as_bool() == Some(false) => does.unclear = Some(None),
            "unclear" => {
                let reason = self.text(value)?.trim();
                if reason.is_empty() {
                    return Err(self.error(value.span(), "say why the call is never understood"));
                }
                does.unclear = Some(Some(reason.into()));
            }
            other => return Err(self.unknown_key(key, other, &[others, &DEEDS].concat())),
        }
        Ok(())
    }

    fn operands(&self, value: &Item<'_>) -> Result<Vec<OperandSpec>, RuleError> {
        operands::parse(self.text(value)?).map_err(|message| self.error(value.span(), message))
    }

    fn option(&self, value: &Item<'_>) -> Result<OptionSpec, RuleError> {
        OptionSpec::parse(self.text(value)?).map_err(|message| self.error(value.span(), message))
    }

    /// No spelling twice, and none that the style cannot read.
    fn options_fit(&self, rule: &Rule, table: &DeTable<'_>) -> Result<(), RuleError> {
        let Some(list) = table.get("options").and_then(|v| v.get_ref().as_array()) else {
            return Ok(());
        };
        let mut seen = std::collections::HashSet::new();
        for (spec, entry) in rule.options.iter().zip(list) {
            for spelling in &spec.spellings {
                let name = if rule.style.ignores_case() {
                    spelling.name.to_ascii_lowercase()
                } else {
                    spelling.name.clone()
                };
                if !seen.insert(name) {
                    let message = format!("'{}' is listed twice", spelling.name);
                    return Err(self.error(entry.span(), message));
                }
                let slash = spelling.name.starts_with('/');
                if slash && rule.style != ArgStyle::Slash {
                    let message = format!("'{}' needs style = \"slash\"", spelling.name);
                    return Err(self.error(entry.span(), message));
                }
            }
            if spec.position.is_some() && rule.style != ArgStyle::Named {
                return Err(self.error(entry.span(), "'@' needs style = \"named\""));
            }
        }
        Ok(())
    }

    fn touch(&self, item: &Item<'_>) -> Result<Touch, RuleError> {
        let mut touch = Touch {
            path: String::new(),
            depth: Depth::Tree,
            certainty: Certainty::Certain,
        };
        for (key, value) in in_order(self.table(item)?) {
            match key.get_ref().as_ref() {
                "path" => touch.path = self.text(value)?.into(),
                "depth" => {
                    touch.depth = self.one_of(
                        value,
                        &[
                            ("entry", Depth::Entry),
                            ("children", Depth::Children),
                            ("tree", Depth::Tree),
                        ],
                    )?;
                }
                "certainty" => {
                    touch.certainty = self.one_of(
                        value,
                        &[
                            ("possible", Certainty::Possible),
                            ("likely", Certainty::Likely),
                            ("certain", Certainty::Certain),
                        ],
                    )?;
                }
                other => {
                    return Err(self.unknown_key(key, other, &["path", "depth", "certainty"]));
                }
            }
        }
        if touch.path.is_empty() {
            return Err(self.error(item.span(), "a path is missing: { path = \"/etc\" }"));
        }
        if let Err(message) = super::touch::check(&touch.path) {
            return Err(self.error(item.span(), message));
        }
        Ok(touch)
    }

    fn effect(&self, item: &Item<'_>) -> Result<Effect, RuleError> {
        let mut effect = Effect {
            what: String::new(),
            reason: String::new(),
        };
        for (key, value) in in_order(self.table(item)?) {
            match key.get_ref().as_ref() {
                "what" => effect.what = self.text(value)?.into(),
                "reason" => effect.reason = self.text(value)?.into(),
                other => return Err(self.unknown_key(key, other, &["what", "reason"])),
            }
        }
        if effect.what.is_empty() || effect.reason.is_empty() {
            let message = "an effect is { what = \"network\", reason = \"why it happens\" }";
            return Err(self.error(item.span(), message));
        }
        Ok(effect)
    }

    fn arg_style(&self, value: &Item<'_>) -> Result<ArgStyle, RuleError> {
        let name = self.text(value)?;
        ArgStyle::parse(name).ok_or_else(|| {
            let known = ArgStyle::NAMES.join(", ");
            self.error(
                value.span(),
                format!("unknown style '{name}'; the styles are {known}"),
            )
        })
    }

    fn one_of<T: Copy>(&self, value: &Item<'_>, known: &[(&str, T)]) -> Result<T, RuleError> {
        let name = self.text(value)?;
        let found = known.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.error(
                value.span(),
                format!("'{name}' is not known here; write {}", names.join(", ")),
            )
        })
    }

    fn names(&self, value: &Item<'_>) -> Result<Vec<String>, RuleError> {
        self.list(value)?
            .iter()
            .map(|item| self.text(item).map(Into::into))
            .collect()
    }

    fn text<'v>(&self, value: &'v Item<'_>) -> Result<&'v str, RuleError> {
        value
            .get_ref()
            .as_str()
            .ok_or_else(|| self.kind(value, "a string"))
    }

    fn boolean(&self, value: &Item<'_>) -> Result<bool, RuleError> {
        value
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.kind(value, "true or false"))
    }

    fn list<'v, 'i>(&self, value: &'v Item<'i>) -> Result<&'v [Item<'i>], RuleError> {
        match value.get_ref().as_array() {
            Some(array) => Ok(array),
            None => Err(self.kind(value, "a list")),
        }
    }

    fn table<'v, 'i>(&self, value: &'v Item<'i>) -> Result<&'v DeTable<'i>, RuleError> {
        value
            .get_ref()
            .as_table()
            .ok_or_else(|| self.kind(value, "a table"))
    }

    fn kind(&self, value: &Item<'_>, wanted: &str) -> RuleError {
        let found = value.get_ref().type_str();
        self.error(value.span(), format!("this must be {wanted}, not {found}"))
    }

    fn unknown_key(&self, key: &Key<'_>, name: &str, known: &[&str]) -> RuleError {
        let near = known
            .iter()
            .map(|other| (distance(name, other), *other))
            .min();
        let message = match near {
            Some((steps, other)) if steps <= 2 => {
                format!("unknown key '{name}'; did you mean '{other}'?")
            }
            _ => format!("unknown key '{name}'; the keys are {}", known.join(", ")),
        };
        self.error(key.span(), message)
    }

    /// A name as it is looked up.
    fn fold(&self, name: &str) -> String {
        if self.style.ignores_case() {
            name.to_ascii_lowercase()
        } else {
            name.into()
        }
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>) -> RuleError {
        let (line, column) = self.position(span.start);
        RuleError {
            source: self.source.into(),
            line,
            column,
            message: message.into(),
        }
    }

    /// Line and column of a byte, from 1.
    fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count();
        let start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1);
        (self.lines_before + line + 1, before.len() - start + 1)
    }
}

/// The entries of a table in order of the file.
fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Item<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// How many letters differ (Levenshtein), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(32).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(32).enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let step = (corner + usize::from(x != *y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = step;
        }
    }
    row[b.len()]
}
