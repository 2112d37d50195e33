//! Single values of a file of rules, and the messages for wrong ones.

use std::ops::Range;

use deployx_plugin_abi::{Certainty, Depth, Effect};
use toml::de::DeTable;

use super::RuleError;
use super::form::{Form, Item, Key, in_order};
use super::rule::{ArgStyle, Touch};

impl Form<'_> {
    pub(crate) fn touch(&self, item: &Item<'_>) -> Result<Touch, RuleError> {
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

    pub(crate) fn effect(&self, item: &Item<'_>) -> Result<Effect, RuleError> {
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

    pub(crate) fn arg_style(&self, value: &Item<'_>) -> Result<ArgStyle, RuleError> {
        let name = self.text(value)?;
        ArgStyle::parse(name).ok_or_else(|| {
            let known = ArgStyle::NAMES.join(", ");
            self.error(
                value.span(),
                format!("unknown style '{name}'; the styles are {known}"),
            )
        })
    }

    pub(crate) fn one_of<T: Copy>(
        &self,
        value: &Item<'_>,
        known: &[(&str, T)],
    ) -> Result<T, RuleError> {
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

    pub(crate) fn names(&self, value: &Item<'_>) -> Result<Vec<String>, RuleError> {
        self.list(value)?
            .iter()
            .map(|item| self.text(item).map(Into::into))
            .collect()
    }

    pub(crate) fn text<'v>(&self, value: &'v Item<'_>) -> Result<&'v str, RuleError> {
        value
            .get_ref()
            .as_str()
            .ok_or_else(|| self.kind(value, "a string"))
    }

    pub(crate) fn boolean(&self, value: &Item<'_>) -> Result<bool, RuleError> {
        value
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.kind(value, "true or false"))
    }

    pub(crate) fn list<'v, 'i>(&self, value: &'v Item<'i>) -> Result<&'v [Item<'i>], RuleError> {
        match value.get_ref().as_array() {
            Some(array) => Ok(array),
            None => Err(self.kind(value, "a list")),
        }
    }

    pub(crate) fn table<'v, 'i>(&self, value: &'v Item<'i>) -> Result<&'v DeTable<'i>, RuleError> {
        value
            .get_ref()
            .as_table()
            .ok_or_else(|| self.kind(value, "a table"))
    }

    pub(crate) fn kind(&self, value: &Item<'_>, wanted: &str) -> RuleError {
        let found = value.get_ref().type_str();
        self.error(value.span(), format!("this must be {wanted}, not {found}"))
    }

    pub(crate) fn unknown_key(&self, key: &Key<'_>, name: &str, known: &[&str]) -> RuleError {
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

    pub(crate) fn error(&self, span: Range<usize>, message: impl Into<String>) -> RuleError {
        let (line, column) = self.position(span.start);
        RuleError {
            source: self.source.into(),
            line,
            column,
            message: message.into(),
        }
    }

    /// Line and column of a byte, from 1.
    pub(crate) fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = before.split(|b| *b == b'\n').count();
        let start = before
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |n| n + 1);
        (self.lines_before + line, before.len() - start + 1)
    }
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
