//! Operators on what is known.

use crate::value::{MAX_LIST, MAX_TEXT, Value};
use crate::wildcard;

use super::Evaluator;

impl Evaluator<'_> {
    pub(super) fn unary(operator: &[u8], value: Value) -> Value {
        match operator {
            b"!" | b"-not" => match value {
                Value::Bool(known) => Value::Bool(!known),
                _ => Value::Harmless,
            },
            b"-" => match value {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                _ => Value::Harmless,
            },
            b"," => Value::List(vec![value]),
            b"-join" => match value {
                Value::List(values) => values.iter().fold(Value::text(""), Value::then),
                Value::Choice(_) => Value::beginning(""),
                other => other,
            },
            b"+" => value,
            _ => Value::Harmless,
        }
    }

    pub(super) fn binary(&mut self, left: Value, operator: &[u8], right: Value) -> Value {
        match operator {
            b"+" => Self::plus(left, right),
            b"-" | b"*" | b"/" | b"%" => arithmetic(&left, operator, &right),
            b".." => range(&left, &right),
            b"f" => format(&left, &right),
            b"join" => join(left, &right),
            b"eq" | b"ieq" | b"ne" | b"ine" | b"lt" | b"le" | b"gt" | b"ge" => {
                compare(left, operator, &right)
            }
            b"like" | b"notlike" | b"match" | b"notmatch" => keep(left, operator, &right),
            b"replace" | b"ireplace" | b"creplace" => replace(&left, &right),
            b"split" | b"isplit" => match left {
                Value::Text(_) | Value::Harmless => Value::Harmless,
                _ => Value::Unknown,
            },
            b"as" => match right {
                Value::Object(name) => self.cast(&name, left),
                _ => Value::Unknown,
            },
            _ => Value::Harmless,
        }
    }

    pub(super) fn plus(left: Value, right: Value) -> Value {
        match (left, right) {
            (Value::Choice(mut values), right) => {
                values.extend(right.elements());
                Value::Choice(values).bounded()
            }
            (Value::Int(a), Value::Int(b)) => a.checked_add(b).map_or(Value::Harmless, Value::Int),
            (Value::List(mut values), right) => {
                values.extend(right.elements());
                if values.len() > MAX_LIST {
                    return Value::Unknown;
                }
                Value::List(values).bounded()
            }
            (Value::Null, right) => right,
            (left, Value::Null) => left,
            (left @ (Value::Text(_) | Value::Item(_)), right) => left.then(&right),
            (left, right) if left.is_harmless() && right.is_harmless() => Value::Harmless,
            _ => Value::Unknown,
        }
    }
}

fn arithmetic(left: &Value, operator: &[u8], right: &Value) -> Value {
    let (Value::Int(a), Value::Int(b)) = (left, right) else {
        return Value::Harmless;
    };
    let result = match operator {
        b"-" => a.checked_sub(*b),
        b"*" => a.checked_mul(*b),
        b"%" => a.checked_rem(*b),
        // A division may give a fraction.
        _ => a.checked_rem(*b).filter(|rest| *rest == 0).map(|_| a / b),
    };
    result.map_or(Value::Harmless, Value::Int)
}

fn range(left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Int(from), Value::Int(to)) if from.abs_diff(*to) < MAX_LIST as u64 => {
            let step = if from <= to { 1 } else { -1 };
            let count = from.abs_diff(*to) as i64;
            Value::List((0..=count).map(|n| Value::Int(from + n * step)).collect())
        }
        _ => Value::Harmless,
    }
}

/// `'{0}-{1}' -f a, b`, without formats.
fn format(left: &Value, right: &Value) -> Value {
    let Some(pattern) = left.string() else {
        return Value::beginning("");
    };
    let values = right.clone().elements();
    let mut result = Value::text("");
    let mut rest = pattern.as_slice();
    while let Some(open) = rest.iter().position(|b| matches!(b, b'{' | b'}')) {
        result = result.then(&Value::text(rest[..open].to_vec()));
        let close = rest[open..].iter().position(|b| *b == b'}');
        let digits = close.map(|close| &rest[open + 1..open + close.max(1)]);
        let at = digits
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| d.parse::<usize>().ok());
        match (at.and_then(|at| values.get(at)), close) {
            (Some(value), Some(close)) => {
                result = result.then(value);
                rest = &rest[open + close + 1..];
            }
            _ => return result.then(&Value::Unknown),
        }
    }
    result.then(&Value::text(rest.to_vec()))
}

fn join(left: Value, right: &Value) -> Value {
    let Some(separator) = right.string() else {
        return Value::beginning("");
    };
    if matches!(left, Value::Choice(_)) {
        return Value::beginning("");
    }
    let mut result = Value::text("");
    for (at, value) in left.elements().iter().enumerate() {
        if at > 0 {
            result = result.then(&Value::text(separator.clone()));
        }
        result = result.then(value);
    }
    result
}

fn compare(left: Value, operator: &[u8], right: &Value) -> Value {
    match (&left, right) {
        (Value::Int(a), Value::Int(b)) => Value::Bool(match operator {
            b"eq" | b"ieq" => a == b,
            b"ne" | b"ine" => a != b,
            b"lt" => a < b,
            b"le" => a <= b,
            b"gt" => a > b,
            _ => a >= b,
        }),
        // With a list on the left the elements that fit are the result.
        (Value::List(_) | Value::Choice(_), _) => match left.any() {
            Value::Choice(values) if values.iter().all(Value::is_harmless) => Value::Harmless,
            other => other,
        },
        (Value::Item(_) | Value::Unknown, _) => Value::Unknown,
        _ => Value::Harmless,
    }
}

/// `-like` and `-match` with a list on the left keep elements.
fn keep(left: Value, operator: &[u8], right: &Value) -> Value {
    let (Value::List(values) | Value::Choice(values)) = left else {
        return match left {
            Value::Unknown | Value::Item(_) => Value::Unknown,
            _ => Value::Harmless,
        };
    };
    let pattern = right.string();
    let kept = values
        .into_iter()
        .filter(|value| match (operator, &pattern, value.string()) {
            (b"like", Some(pattern), Some(text)) => wildcard::fits(pattern, &text),
            (b"notlike", Some(pattern), Some(text)) => !wildcard::fits(pattern, &text),
            _ => true,
        });
    Value::Choice(kept.collect()).some()
}

/// `-replace` with a pattern that has no special characters.
fn replace(left: &Value, right: &Value) -> Value {
    let mut arguments = right.clone().elements().into_iter();
    let pattern = arguments.next().and_then(|v| v.string());
    let with = arguments.next().map_or(Some(Vec::new()), |v| v.string());
    let (Some(text), Some(pattern), Some(with)) = (left.string(), pattern, with) else {
        return match left {
            Value::List(_) | Value::Choice(_) | Value::Unknown => Value::Unknown,
            Value::Harmless => Value::Harmless,
            _ => Value::beginning(""),
        };
    };
    let pattern = literal_pattern(&pattern);
    let (Some((pattern, at_end)), false) = (pattern, with.contains(&b'$')) else {
        return Value::beginning("");
    };
    if pattern.is_empty() {
        return Value::beginning("");
    }
    let mut result = Vec::new();
    let mut rest = text.as_slice();
    while !rest.is_empty() {
        let here = rest.len() >= pattern.len()
            && rest[..pattern.len()].eq_ignore_ascii_case(&pattern)
            && (!at_end || rest.len() == pattern.len());
        if here {
            result.extend_from_slice(&with);
            rest = &rest[pattern.len()..];
        } else {
            result.push(rest[0]);
            rest = &rest[1..];
        }
    }
    if result.len() > MAX_TEXT {
        return Value::beginning("");
    }
    Value::text(result)
}

/// The text that a regular expression without special characters stands for, and whether it must
/// stand at the end.
fn literal_pattern(pattern: &[u8]) -> Option<(Vec<u8>, bool)> {
    let (pattern, at_end) = match pattern {
        [rest @ .., b'$'] => (rest, true),
        _ => (pattern, false),
    };
    let mut literal = Vec::new();
    let mut rest = pattern;
    loop {
        match rest {
            [] => return Some((literal, at_end)),
            [b'\\', byte, after @ ..] if byte.is_ascii_punctuation() => {
                literal.push(*byte);
                rest = after;
            }
            [byte, ..] if b"\\^$.|?*+()[]{}".contains(byte) => return None,
            [byte, after @ ..] => {
                literal.push(*byte);
                rest = after;
            }
        }
    }
}
