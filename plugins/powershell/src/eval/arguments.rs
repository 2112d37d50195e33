//! Arguments of a command, and which parameters they go to.

use crate::syntax::ast::{Argument, Expr};
use crate::value::Value;

use super::Evaluator;

/// A command with its arguments evaluated.
#[derive(Debug, Clone, Default)]
pub(super) struct Call {
    /// The name as it stands in the line.
    pub(super) name: Vec<u8>,
    pub(super) given: Vec<Given>,
    /// What the pipeline passes in.
    pub(super) input: Option<Value>,
    /// An argument stands for any number of others (`@args`).
    pub(super) splatted: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Given {
    /// `-Name`, `-Name:value`
    Parameter(Vec<u8>, Option<Value>),
    /// A value. `bare`: it stands there without quotes.
    Value { value: Value, bare: bool },
}

/// Parameters that every cmdlet has and that take a value.
const COMMON_VALUES: [&str; 10] = [
    "ErrorAction",
    "WarningAction",
    "InformationAction",
    "ProgressAction",
    "ErrorVariable",
    "WarningVariable",
    "InformationVariable",
    "OutVariable",
    "OutBuffer",
    "PipelineVariable",
];
/// Parameters that every cmdlet has and that are switches.
const COMMON_SWITCHES: [&str; 4] = ["Verbose", "Debug", "WhatIf", "Confirm"];
/// Their aliases.
const COMMON_ALIASES: [(&str, &str); 13] = [
    ("ea", "ErrorAction"),
    ("wa", "WarningAction"),
    ("infa", "InformationAction"),
    ("ev", "ErrorVariable"),
    ("wv", "WarningVariable"),
    ("iv", "InformationVariable"),
    ("ov", "OutVariable"),
    ("ob", "OutBuffer"),
    ("pv", "PipelineVariable"),
    ("vb", "Verbose"),
    ("db", "Debug"),
    ("wi", "WhatIf"),
    ("cf", "Confirm"),
];

/// Values by parameter.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) named: Vec<(String, Value)>,
    pub(super) rest: Vec<Value>,
    /// A parameter that is none of the command's.
    pub(super) unknown: Option<String>,
}

impl Bound {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.named
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// Whether a switch is given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| !matches!(value, Value::Bool(false)))
    }

    /// The first of these that is there.
    pub(super) fn any(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| self.get(name))
    }
}

/// A parameter that every cmdlet has, by name, alias or beginning, and whether it takes a value.
pub(super) fn common_parameter(name: &str) -> Option<(&'static str, bool)> {
    let alias = COMMON_ALIASES
        .iter()
        .find(|(alias, _)| alias.eq_ignore_ascii_case(name));
    let name = alias.map_or(name, |(_, full)| full);
    let all = || {
        let values = COMMON_VALUES.iter().map(|n| (*n, true));
        values.chain(COMMON_SWITCHES.iter().map(|n| (*n, false)))
    };
    all()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .or_else(|| all().find(|(known, _)| begins(known, name)))
}

/// Whether `name` is a beginning of `full`, letters of either case being the same.
pub(super) fn begins(full: &str, name: &str) -> bool {
    !name.is_empty()
        && full
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
}

impl Call {
    /// Binds the arguments. `spec` has the parameters' names, those with a value ending in `=`;
    /// `positions` names the parameters that values without a name go to, in order. One that ends
    /// with `...` takes all that are left.
    pub(super) fn bind(&self, spec: &str, positions: &str) -> Bound {
        let mut bound = Bound::default();
        let mut given = self.given.iter().peekable();
        let mut loose = Vec::new();
        while let Some(next) = given.next() {
            let (name, value) = match next {
                Given::Value { value, .. } => {
                    loose.push(value.clone());
                    continue;
                }
                Given::Parameter(name, value) => (String::from_utf8_lossy(name), value),
            };
            let Some((full, takes_value)) = find(spec, &name) else {
                bound.unknown.get_or_insert(name.into_owned());
                continue;
            };
            let value = match value {
                Some(value) => value.clone(),
                None if takes_value => match given.next_if(|g| matches!(g, Given::Value { .. })) {
                    Some(Given::Value { value, .. }) => value.clone(),
                    _ => Value::Unknown,
                },
                None => Value::Bool(true),
            };
            bound.named.push((full, value));
        }
        let mut loose = loose.into_iter();
        for position in positions.split_whitespace() {
            let (name, all) = match position.strip_suffix("...") {
                Some(name) => (name, true),
                None => (position, false),
            };
            if bound.get(name).is_some() {
                continue;
            }
            if all {
                let values: Vec<Value> = loose.by_ref().collect();
                if !values.is_empty() {
                    bound.named.push((name.into(), Value::List(values)));
                }
            } else if let Some(value) = loose.next() {
                bound.named.push((name.into(), value));
            }
        }
        bound.rest = loose.collect();
        bound
    }

    /// Whether `-WhatIf` is given so that the call changes nothing.
    pub(super) fn is_dry(&self) -> bool {
        self.given.iter().any(|given| match given {
            Given::Parameter(name, value) => {
                let name = String::from_utf8_lossy(name);
                let dry =
                    name.eq_ignore_ascii_case("wi") || name.len() >= 2 && begins("WhatIf", &name);
                dry && matches!(value, None | Some(Value::Bool(true)))
            }
            Given::Value { .. } => false,
        })
    }

    /// All values.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.given.iter().filter_map(|given| match given {
            Given::Value { value, .. } => Some(value),
            Given::Parameter(_, value) => value.as_ref(),
        })
    }

    /// Values without a parameter's name.
    pub(super) fn positional(&self) -> Vec<Value> {
        let values = self.given.iter().filter_map(|given| match given {
            Given::Value { value, .. } => Some(value.clone()),
            Given::Parameter(..) => None,
        });
        values.collect()
    }
}

fn find(spec: &str, name: &str) -> Option<(String, bool)> {
    let all = || {
        spec.split_whitespace()
            .map(|word| match word.strip_suffix('=') {
                Some(full) => (full, true),
                None => (word, false),
            })
    };
    all()
        .find(|(full, _)| full.eq_ignore_ascii_case(name))
        .or_else(|| all().find(|(full, _)| begins(full, name)))
        .or_else(|| common_parameter(name))
        .map(|(full, takes)| (full.to_string(), takes))
}

impl Evaluator<'_> {
    /// Evaluates the arguments of a command.
    pub(super) fn given(&mut self, arguments: &[Argument], call: &mut Call) {
        for argument in arguments {
            match argument {
                Argument::Parameter { name, value } => {
                    let value = value.as_ref().map(|v| self.expression(v));
                    call.given.push(Given::Parameter(name.clone(), value));
                }
                Argument::Value(Expr::Splat(name)) => self.splat(name, call),
                Argument::Value(expression) => {
                    let value = self.expression(expression);
                    let bare = matches!(expression, Expr::Word(_));
                    call.given.push(Given::Value { value, bare });
                }
                Argument::Verbatim(text) => verbatim(text, call),
            }
        }
    }

    /// `@name`: the entries of a hash table or the values of a list as arguments.
    fn splat(&mut self, name: &[u8], call: &mut Call) {
        match self.variable(name) {
            Value::Hash(entries) => {
                for (name, value) in entries {
                    call.given.push(Given::Parameter(name, Some(value)));
                }
            }
            // A string in it that looks like a parameter is one.
            Value::List(values)
                if values.iter().all(|value| {
                    let text = value.string();
                    text.is_some_and(|text| !text.starts_with(b"-"))
                }) =>
            {
                for value in values {
                    call.given.push(Given::Value { value, bare: false });
                }
            }
            _ => call.splatted = true,
        }
    }
}

/// What follows `--%`. Quotes and `%VARIABLES%` in it are read by the program.
fn verbatim(text: &[u8], call: &mut Call) {
    call.splatted |= text.contains(&b'"') || text.contains(&b'%');
    let words = text.split(u8::is_ascii_whitespace);
    for word in words.filter(|word| !word.is_empty()) {
        call.given.push(Given::Value {
            value: Value::text(word),
            bare: false,
        });
    }
}
