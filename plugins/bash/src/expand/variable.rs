//! Looking up variables, and arithmetic on them.

use super::arithmetic::{self, Variables};
use crate::dialect::Dialect;
use crate::evaluate::{Evaluator, forget_variables};
use crate::parse;
use crate::state::{Value, World};
use crate::syntax::Index;

impl Evaluator<'_> {
    /// The value of a variable or special parameter.
    pub(crate) fn variable(&mut self, world: &mut World, name: &str, index: &Index) -> Value {
        let value = self.named(world, name);
        let Index::At(text) = index else {
            return value;
        };
        let at = self.arithmetic(world, text);
        match (value, at) {
            // Elements are counted from 1 there, or characters.
            (Value::List(_) | Value::Known(_), _) if self.dialect == Dialect::Zsh => Value::Unknown,
            (Value::List(values), Some(at)) => {
                let at = if at < 0 { at + values.len() as i64 } else { at };
                let found = usize::try_from(at).ok().and_then(|at| values.get(at));
                found.cloned().unwrap_or(Value::Unset)
            }
            (value @ Value::Known(_), Some(0)) => value,
            (Value::Unset, _) => Value::Unset,
            _ => Value::Unknown,
        }
    }

    /// The value of a plain name.
    pub(crate) fn named(&self, world: &World, name: &str) -> Value {
        if name.starts_with(|c: char| c.is_ascii_digit()) {
            return numbered(world, name);
        }
        match name {
            "@" | "*" => {
                let values = world.positional.as_ref();
                return values.map_or(Value::Unknown, |v| Value::List(v.to_vec()));
            }
            "#" => {
                let count = world
                    .positional
                    .as_ref()
                    .map(|values| values.len().to_string());
                return count.map_or(Value::Token, |count| Value::Known(count.into_bytes()));
            }
            "?" | "$" | "!" | "-" => return Value::Token,
            _ => {}
        }
        if opens_descriptor(&self.request.command, name) {
            return Value::Unknown;
        }
        if let Some(variable) = world.variables.get(name) {
            return variable.value.clone();
        }
        let directory = match name {
            "PWD" => Some(world.cwd.logical()),
            "OLDPWD" => Some(world.previous.as_ref().and_then(|cwd| cwd.logical())),
            _ => None,
        };
        if let Some(directory) = directory {
            return directory.map_or(Value::Unknown, |path| Value::Known(path.to_vec()));
        }
        if world.anything_assigned || self.request.session.assigned.iter().any(|n| n == name) {
            return Value::Unknown;
        }
        if let Some(value) = self.request.variable(name) {
            return Value::Known(value.to_vec());
        }
        match name {
            "HOME" => match &self.request.home {
                Some(home) => Value::Known(home.clone()),
                None => Value::Unknown,
            },
            "RANDOM" | "SECONDS" | "EPOCHSECONDS" | "LINENO" | "UID" | "EUID" | "PPID"
            | "BASHPID" | "SRANDOM" | "HOSTNAME" | "SHLVL" => Value::Token,
            _ => Value::Unknown,
        }
    }

    /// Makes every variable unknown that an arithmetic expression may set.
    pub(crate) fn forget_assigned(&mut self, world: &mut World, expression: &[u8]) {
        let scope = &mut Scope {
            evaluator: self,
            world,
        };
        arithmetic::forget(expression, scope);
    }

    /// The value of an arithmetic expression, with its effects on variables.
    pub(crate) fn arithmetic(&mut self, world: &mut World, expression: &[u8]) -> Option<i64> {
        let mut text = expression.to_vec();
        if expression.iter().any(|b| b"$`\"\\".contains(b)) {
            let word = parse::read_word(expression, parse::Context::Quoted);
            let value = word.map_or(Value::Unknown, |word| self.value(world, &word));
            let Value::Known(expanded) = value else {
                let scope = &mut Scope {
                    evaluator: self,
                    world,
                };
                arithmetic::forget(expression, scope);
                return None;
            };
            text = expanded;
        }
        let scope = &mut Scope {
            evaluator: self,
            world,
        };
        arithmetic::evaluate(&text, scope)
    }
}

/// Whether `{name}>file` stands in the line: it sets the variable to the number of a descriptor.
fn opens_descriptor(line: &[u8], name: &str) -> bool {
    let braced = format!("{{{name}}}");
    let mut parts = line.windows(braced.len() + 1);
    parts
        .any(|part| part.starts_with(braced.as_bytes()) && matches!(part.last(), Some(b'<' | b'>')))
}

fn numbered(world: &World, name: &str) -> Value {
    let (Some(values), Ok(number)) = (&world.positional, name.parse::<usize>()) else {
        return Value::Unknown;
    };
    match number.checked_sub(1) {
        None => Value::Unknown,
        Some(at) => values.get(at).cloned().unwrap_or(Value::Unset),
    }
}

/// The variables of a world as numbers.
struct Scope<'e, 'a, 'w> {
    evaluator: &'e Evaluator<'a>,
    world: &'w mut World,
}

impl Variables for Scope<'_, '_, '_> {
    fn get(&mut self, name: &str) -> Option<i64> {
        match self.evaluator.named(self.world, name).scalar() {
            Value::Unset => Some(0),
            Value::Known(text) if text.is_empty() => Some(0),
            Value::Known(text) => {
                let number = std::str::from_utf8(&text).ok()?.trim().parse().ok();
                if number.is_none() && text.iter().any(|b| b"=+-[$`".contains(b)) {
                    // The value is an expression in turn, and may set variables.
                    forget_variables(self.world);
                }
                number
            }
            _ => None,
        }
    }

    fn set(&mut self, name: &str, value: Option<i64>) {
        let value = value.map_or(Value::Token, |v| Value::Known(v.to_string().into_bytes()));
        self.world.assign(name, value);
    }
}
