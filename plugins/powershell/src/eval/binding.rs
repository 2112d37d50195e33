//! Which arguments a cmdlet's parameters get.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Known, OptionSpec, Role, Rule, Value as Takes};

use crate::value::Value;

use super::Evaluator;
use super::arguments::{Call, Given, begins, common_parameter};
use super::location::Drive;
use super::table_call::BY_PIPELINE;

impl Evaluator<'_> {
    /// The arguments of a cmdlet; `None` where it works on another provider.
    pub(super) fn lists(&mut self, rule: &Rule, name: &str, call: &Call) -> Option<Vec<Vec<Arg>>> {
        let mut lists: Vec<Vec<Arg>> = Vec::new();
        let named: Vec<&OptionSpec> = call
            .given
            .iter()
            .filter_map(|given| match given {
                Given::Parameter(name, _) => find(rule, name),
                Given::Value { .. } => None,
            })
            .collect();
        let mut free: Vec<&OptionSpec> = rule
            .options()
            .iter()
            .filter(|spec| spec.position.is_some())
            .filter(|spec| !named.iter().any(|other| std::ptr::eq(*other, *spec)))
            .collect();
        free.sort_by_key(|spec| spec.position);
        let mut free = free.into_iter();
        let mut bound_to = named.clone();
        let mut path_given = named.iter().any(|spec| is_path(spec));
        let mut given = call.given.iter().peekable();
        while let Some(next) = given.next() {
            match next {
                Given::Parameter(parameter, value) => {
                    let spec = find(rule, parameter);
                    let takes = spec.map_or_else(
                        || {
                            let shown = String::from_utf8_lossy(parameter);
                            common_parameter(&shown).is_some_and(|common| common.1)
                        },
                        takes_value,
                    );
                    let dashed = [b"-", parameter.as_slice()].concat();
                    if !takes {
                        lists.push(vec![switch(dashed, value.as_ref())]);
                        continue;
                    }
                    let value = match value {
                        Some(value) => Some(value),
                        None => match given.next_if(|g| matches!(g, Given::Value { .. })) {
                            Some(Given::Value { value, .. }) => Some(value),
                            _ => None,
                        },
                    };
                    lists.push(vec![Arg::whole(dashed)]);
                    if let Some(value) = value {
                        let args = self.parameter(spec, is_literal(parameter), value, name)?;
                        lists.push(args);
                    }
                }
                Given::Value { value, .. } => {
                    let spec = free.next();
                    bound_to.extend(spec);
                    path_given |= spec.is_some_and(is_path);
                    lists.push(self.parameter(spec, false, value, name)?);
                }
            }
        }
        let place = rule.options().iter().find(|s| s.role == Role::Place);
        if place.is_some_and(|p| !bound_to.iter().any(|b| std::ptr::eq(*b, p))) {
            // Without a destination things go where the shell stands.
            lists.push(vec![Arg::whole("-Destination")]);
            lists.push(vec![Arg::whole(".")]);
        }
        if let Some(input) = &call.input
            && !path_given
        {
            if rule.is_users() {
                lists.push(input.arguments(self.separator()));
            } else if BY_PIPELINE.contains(&name.to_ascii_lowercase().as_str()) {
                let spec = rule.options().iter().find(|spec| is_path(spec));
                lists.push(vec![Arg::whole("-Path")]);
                let args = self.parameter(spec, false, input, name)?;
                lists.push(args);
            }
        }
        Some(lists)
    }

    /// The values of a parameter. `None` where they are on a drive that holds no files.
    fn parameter(
        &mut self,
        spec: Option<&OptionSpec>,
        literal: bool,
        value: &Value,
        rule: &str,
    ) -> Option<Vec<Arg>> {
        let path = spec.is_some_and(|spec| !matches!(spec.role, Role::Ignore | Role::Remote));
        if !path {
            return Some(
                value
                    .arguments(self.separator())
                    .into_iter()
                    .map(no_parameter)
                    .collect(),
            );
        }
        let expands = !literal && spec.is_some_and(expands_wildcards);
        let mut args = Vec::new();
        for mut value in value.clone().elements() {
            if let Value::Text(text) = &mut value {
                if let Some(plain) = Self::without_provider(&text.text) {
                    text.text = plain.to_vec();
                }
                if self.may_be_elsewhere(&text.text) {
                    args.push(unknown());
                    continue;
                }
                match Self::drive(&text.text) {
                    Drive::Files => {}
                    Drive::Provider(drive, effect) => {
                        self.change_on_drive(drive, effect, &text.text, rule);
                        if spec.is_some_and(is_path) {
                            return None;
                        }
                        continue;
                    }
                    Drive::Unknown => {
                        args.push(unknown());
                        continue;
                    }
                }
            }
            if expands {
                for item in self.named_items(&value, false) {
                    match item {
                        Value::Item(_) => args.extend(item.arguments(self.separator())),
                        _ => args.extend(value.arguments(self.separator())),
                    }
                }
            } else {
                args.extend(value.arguments(self.separator()));
            }
        }
        let args = args
            .into_iter()
            .map(|arg| no_parameter(self.plain_path(&arg)));
        Some(args.collect())
    }

    /// A path as the tables take it: the system's separators, the home directory in place of `~`.
    fn plain_path(&self, arg: &Arg) -> Arg {
        let mut text = self.separators(&arg.text);
        if self.style == Style::Windows && arg.known == Known::Whole {
            text = super::names::plain(&text);
        }
        let separator = |b: &u8| self.style.is_separator(*b);
        if text.first() != Some(&b'~') || !text.get(1).is_none_or(separator) {
            return Arg {
                text,
                known: arg.known,
            };
        }
        match &self.request.home {
            Some(home) => Arg {
                text: [home.as_slice(), &text[1..]].concat(),
                known: arg.known,
            },
            None => unknown(),
        }
    }

    fn change_on_drive(&mut self, drive: &str, effect: Option<&str>, path: &[u8], rule: &str) {
        let reads = rule.to_ascii_lowercase().starts_with("get-")
            || rule.to_ascii_lowercase().starts_with("test-");
        if reads {
            return;
        }
        let colon = path.iter().position(|b| *b == b':').unwrap_or(0);
        let name = path[colon + 1..].trim_ascii_start();
        let name = name
            .strip_prefix(b"\\")
            .or(name.strip_prefix(b"/"))
            .unwrap_or(name);
        let shown = String::from_utf8_lossy(name).into_owned();
        match (effect, drive) {
            (Some(effect), _) => {
                let reason = format!("{rule} on {}", String::from_utf8_lossy(path));
                self.effect(effect, &reason);
            }
            (None, "env" | "microsoft.powershell.core\\environment") => {
                self.set_environment(name, &Value::Unknown);
            }
            (None, "variable") => self.set_variable(name, Value::Unknown),
            (None, _) => {
                self.answer.session.redefined.push(shown);
                let key = name.to_ascii_lowercase();
                self.functions.remove(&key);
                self.aliases.remove(&key);
            }
        }
    }
}

fn unknown() -> Arg {
    Arg {
        text: Vec::new(),
        known: Known::Beginning,
    }
}

/// A value that could be taken for a parameter, as a path that cannot.
fn no_parameter(arg: Arg) -> Arg {
    if arg.text.first() == Some(&b'-') {
        return Arg {
            text: [b"./", arg.text.as_slice()].concat(),
            ..arg
        };
    }
    arg
}

fn switch(mut dashed: Vec<u8>, value: Option<&Value>) -> Arg {
    match value {
        None | Some(Value::Bool(true)) => Arg::whole(dashed),
        Some(Value::Bool(false)) => {
            dashed.extend_from_slice(b":$false");
            Arg::whole(dashed)
        }
        // On or off: on is the more for every switch but `-WhatIf`.
        Some(_) if begins("-WhatIf", &String::from_utf8_lossy(&dashed)) => {
            Arg::whole(b"-WhatIf:$false".as_slice())
        }
        Some(_) => Arg::whole(dashed),
    }
}

fn find<'r>(rule: &'r Rule, name: &[u8]) -> Option<&'r OptionSpec> {
    let name = format!("-{}", String::from_utf8_lossy(name));
    let by = |fits: &dyn Fn(&str) -> bool| {
        rule.options()
            .iter()
            .find(|spec| spec.spellings.iter().any(|s| fits(&s.name)))
    };
    by(&|own| own.eq_ignore_ascii_case(&name)).or_else(|| by(&|own| begins(own, &name)))
}

fn takes_value(spec: &OptionSpec) -> bool {
    spec.spellings.iter().any(|s| s.value != Takes::None)
}

/// Whether it is the parameter for the paths that the cmdlet works on.
pub(super) fn is_path(spec: &OptionSpec) -> bool {
    spec.is("-Path") || spec.is("-path")
}

/// Whether wildcards in its values stand for names.
fn expands_wildcards(spec: &OptionSpec) -> bool {
    is_path(spec)
        && !spec.is("-NoWildcards")
        && !matches!(spec.role, Role::Place | Role::Into | Role::Create)
}

/// `-LiteralPath` and its other names.
fn is_literal(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name);
    begins("LiteralPath", &name)
        || name.eq_ignore_ascii_case("lp")
        || name.eq_ignore_ascii_case("pspath")
}
