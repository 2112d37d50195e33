//! `${…}`: the value of a parameter and what is done with it.

use super::parameter;
use crate::dialect::Dialect;
use crate::evaluate::Evaluator;
use crate::state::{Value, World};
use crate::syntax::{Index, Parameter, ParameterOp, Word};

impl Evaluator<'_> {
    /// `"${a[@]}"`, `$*`: the values, where all that there are is known.
    pub(super) fn list(&mut self, world: &mut World, parameter: &Parameter) -> Option<Vec<Value>> {
        let values = if parameter.name == "@" || parameter.name == "*" {
            let positional = world.positional.clone();
            positional.map(|values| values.to_vec())
        } else {
            match self.variable(world, &parameter.name, &Index::None) {
                Value::List(values) => Some(values),
                Value::Unset => Some(Vec::new()),
                value @ Value::Known(_) => Some(vec![value]),
                _ => None,
            }
        };
        match &parameter.op {
            ParameterOp::None => values,
            op => {
                let known = values.is_some();
                let mut changed = Vec::new();
                for value in values.unwrap_or_else(|| vec![Value::Unknown]) {
                    changed.push(self.operate_each(world, op, value)?);
                }
                known.then_some(changed)
            }
        }
    }

    /// An operation that applies to every element of a list.
    fn operate_each(&mut self, world: &mut World, op: &ParameterOp, value: Value) -> Option<Value> {
        match op {
            ParameterOp::Trim { .. } | ParameterOp::Replace { .. } | ParameterOp::Case { .. } => {
                Some(self.operate(world, op, value))
            }
            ParameterOp::Default { word, .. } | ParameterOp::Other(word) => {
                self.value(world, word);
                None
            }
            ParameterOp::Slice { offset, length } => {
                self.forget_assigned(world, offset);
                if let Some(length) = length {
                    self.forget_assigned(world, length);
                }
                None
            }
            _ => None,
        }
    }

    pub(super) fn parameter(&mut self, world: &mut World, parameter: &Parameter) -> Value {
        if let ParameterOp::Default { sign, colon, word } = &parameter.op {
            return self.with_default(world, parameter, *sign, *colon, word);
        }
        if is_length(parameter) {
            return self.length(world, parameter);
        }
        let value = self.variable(world, &parameter.name, &parameter.index);
        if self.dialect == Dialect::Zsh && matches!(value, Value::List(_)) {
            return Value::Unknown;
        }
        self.operate(world, &parameter.op, value.scalar())
    }

    fn length(&mut self, world: &mut World, parameter: &Parameter) -> Value {
        let whole = matches!(parameter.index, Index::All | Index::Joined)
            || ["@", "*"].contains(&parameter.name.as_str());
        let count = if whole {
            let plain = Parameter {
                op: ParameterOp::None,
                ..parameter.clone()
            };
            self.list(world, &plain).map(|values| values.len())
        } else {
            let value = self.variable(world, &parameter.name, &parameter.index);
            match value.scalar() {
                Value::Known(text) => std::str::from_utf8(&text).ok().map(|t| t.chars().count()),
                Value::Unset => Some(0),
                _ => None,
            }
        };
        count.map_or(Value::Token, |n| Value::Known(n.to_string().into_bytes()))
    }

    fn with_default(
        &mut self,
        world: &mut World,
        parameter: &Parameter,
        sign: u8,
        colon: bool,
        word: &Word,
    ) -> Value {
        let value = self.variable(world, &parameter.name, &parameter.index);
        let value = value.scalar();
        let decided = takes_default(&value, sign, colon);
        if decided == Some(false) {
            return if sign == b'+' { Value::Unset } else { value };
        }
        let other = self.value(world, word);
        let result = match (sign, decided) {
            (b'+', None) => Value::Unknown,
            // The shell stops where the value is missing.
            (b'?', _) => value,
            (_, Some(_)) => other,
            _ => match &value {
                Value::Unknown => Value::Begins(Vec::new()),
                value => value.join(&other),
            },
        };
        if sign == b'=' && parameter.index == Index::None {
            world.assign(&parameter.name, result.clone());
        }
        result
    }

    fn operate(&mut self, world: &mut World, op: &ParameterOp, value: Value) -> Value {
        match op {
            ParameterOp::None => value,
            ParameterOp::Trim {
                suffix,
                longest,
                pattern,
            } => {
                let pattern = self.pattern(world, pattern);
                parameter::trim(&value, pattern.as_deref(), *suffix, *longest)
            }
            ParameterOp::Replace {
                mode,
                pattern,
                with,
            } => {
                let pattern = self.pattern(world, pattern);
                let with = match self.value(world, with) {
                    Value::Known(text) => Some(text),
                    _ => None,
                };
                parameter::replace(&value, pattern.as_deref(), with.as_deref(), *mode)
            }
            ParameterOp::Slice { offset, length } => {
                let numbers = [Some(offset), length.as_ref()].into_iter().flatten();
                let before = world.clone();
                for text in numbers {
                    // Which of them are evaluated depends on the value.
                    self.forget_assigned(world, text);
                }
                let mut before = before;
                let offset = self.arithmetic(&mut before, offset);
                let known = length
                    .as_ref()
                    .map(|text| self.arithmetic(&mut before, text));
                match known {
                    Some(None) => Value::Unknown,
                    known => parameter::slice(&value, offset, known.flatten()),
                }
            }
            ParameterOp::Case { upper, all } => parameter::case(&value, *upper, *all),
            ParameterOp::Other(word) => {
                self.value(world, word);
                Value::Unknown
            }
            ParameterOp::Length | ParameterOp::Default { .. } => Value::Unknown,
        }
    }
}

/// Whether the expansion may be several words even between quotes.
pub(super) fn is_list(parameter: &Parameter) -> bool {
    let all = matches!(parameter.index, Index::All | Index::Joined)
        || ["@", "*"].contains(&parameter.name.as_str());
    all && !is_length(parameter)
}

fn is_length(parameter: &Parameter) -> bool {
    matches!(parameter.op, ParameterOp::Length)
}

/// Whether the word of `${x:-word}` is taken (with `+` too); `None` where that cannot be told.
pub(super) fn takes_default(value: &Value, sign: u8, colon: bool) -> Option<bool> {
    let missing = match value {
        Value::Unset => true,
        Value::Known(text) => colon && text.is_empty(),
        Value::Begins(text) if colon && text.is_empty() => return None,
        Value::Begins(_) | Value::List(_) | Value::Token => false,
        Value::Unknown => return None,
    };
    Some(missing != (sign == b'+'))
}
