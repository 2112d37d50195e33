//! From TOML to rules.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::RuleError;
use super::arguments::named;
use super::operands::{self, OperandSpec};
use super::options::OptionSpec;
use super::rule::{ArgStyle, Deeds, HandlerName, Rule, Sub, When};

/// Keys of a command; those of `DEEDS` may also stand in a `when`.
const KEYS: [&str; 8] = [
    "options",
    "same",
    "sub",
    "when",
    "other_options",
    "style",
    "first_word_is_options",
    "inherit_options",
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

pub(crate) type Key<'i> = Spanned<std::borrow::Cow<'i, str>>;
pub(crate) type Item<'i> = Spanned<DeValue<'i>>;

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
            let (rule, same) = self.rule(&name, key, table, &[])?;
            commands.push(Command { name, same, rule });
        }
        self.no_name_twice(&commands, root.get_ref())?;
        Ok(commands)
    }

    /// The only subcommand of the only command of a text, where `above` is that command.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub(crate) fn subcommand(&self, above: &Rule) -> Result<Rule, RuleError> {
        let root = DeTable::parse(self.text)
            .map_err(|e| self.error(e.span().unwrap_or(0..0), e.message()))?;
        let command = root.get_ref().iter().next();
        let Some((_, subs)) = command
            .and_then(|(_, command)| command.get_ref().as_table())
            .and_then(|command| command.iter().next())
        else {
            return Err(self.error(0..0, "a subcommand is a table: [a.sub.b]"));
        };
        let mut rule = Rule::empty(above.name.clone(), above.style);
        rule.options.clone_from(&above.options);
        rule.other_options = above.other_options;
        rule.inherit_options = above.inherit_options;
        self.subcommands(subs, &mut rule, &[])?;
        let (_, sub) = rule
            .sub
            .pop_first()
            .ok_or_else(|| self.error(0..0, "a subcommand is a table: [a.sub.b]"))?;
        sub.into_rule()
            .ok_or_else(|| self.error(0..0, "nothing is said"))
    }

    fn no_name_twice(&self, commands: &[Command], root: &DeTable<'_>) -> Result<(), RuleError> {
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for command in commands {
            for name in std::iter::once(&command.name).chain(&command.same) {
                if let Some(first) = seen.insert(fold(name, self.style), &command.name) {
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
        above: &[&Rule],
    ) -> Result<(Rule, Vec<String>), RuleError> {
        if above.len() > MAX_SUBS {
            return Err(self.error(key.span(), "subcommands are nested too deeply"));
        }
        let chain = above;
        let above = chain.last().copied();
        let full = above.map_or(name.into(), |a| format!("{} {name}", a.name));
        let mut rule = Rule::empty(full, above.map_or(self.style, |a| a.style));
        rule.other_options = above.is_some_and(|a| a.other_options);
        rule.inherit_options = above.is_none_or(|a| a.inherit_options);
        if self.user {
            let (line, _) = self.position(key.span().start);
            rule.origin = Some(format!("{}:{line}", self.source));
        }
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
        for option in &mut rule.options {
            option.any_case = rule.style.ignores_case();
        }
        self.options_fit(&rule, table)?;
        if let Some(when) = when {
            rule.when = self.when(when, &rule, chain)?;
        }
        if let Some(sub) = sub {
            self.subcommands(sub, &mut rule, chain)?;
        }
        Ok((rule, same))
    }

    fn subcommands(
        &self,
        value: &Item<'_>,
        rule: &mut Rule,
        above: &[&Rule],
    ) -> Result<(), RuleError> {
        let fold = |name: &str| fold(name, rule.style);
        let (mut found, mut found_same) = (BTreeMap::new(), BTreeMap::new());
        let chain: Vec<&Rule> = above.iter().copied().chain([&*rule]).collect();
        for (key, value) in in_order(self.table(value)?) {
            let name = fold(key.get_ref());
            let (sub, same) = self.rule(key.get_ref(), key, self.table(value)?, &chain)?;
            for other in same {
                found_same.insert(fold(&other), name.clone());
            }
            found.insert(name, Sub::from(sub));
        }
        if let Some(name) = found_same.keys().find(|other| found.contains_key(*other)) {
            let message = format!("'{name}' is a subcommand and another name of one");
            return Err(self.error(value.span(), message));
        }
        (rule.sub, rule.sub_same) = (found, found_same);
        Ok(())
    }

    fn when(&self, value: &Item<'_>, rule: &Rule, above: &[&Rule]) -> Result<Vec<When>, RuleError> {
        let mut found = Vec::new();
        for (key, value) in in_order(self.table(value)?) {
            let options: Vec<String> = key.get_ref().split_whitespace().map(Into::into).collect();
            let known = |name: &String| {
                // Options before a subcommand's name count, whether it inherits them or not.
                let above = above.iter().flat_map(|rule| &rule.options);
                let listed = rule.options.iter().chain(above);
                let common = (rule.style == ArgStyle::Named).then(named::common);
                let mut listed = listed.chain(common.into_iter().flatten());
                listed.any(|spec| spec.is(name))
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
            "unclear" if value.get_ref().as_bool() == Some(false) => {
                does.unclear = Some(String::new());
            }
            "unclear" => {
                let reason = self.text(value)?.trim();
                if reason.is_empty() {
                    return Err(self.error(value.span(), "say why the call is never understood"));
                }
                does.unclear = Some(reason.into());
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
                if !seen.insert(fold(&spelling.name, rule.style)) {
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
}

/// The entries of a table in order of the file.
pub(crate) fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t Key<'i>, &'t Item<'i>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

/// A name as it is looked up.
pub(crate) fn fold(name: &str, style: ArgStyle) -> String {
    if style.ignores_case() {
        name.to_ascii_lowercase()
    } else {
        name.into()
    }
}
