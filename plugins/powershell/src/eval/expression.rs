//! Expressions.

use crate::syntax::ast::{Expr, Part, Statement, StatementKind};
use crate::value::{Extent, Text, Value};

use super::Evaluator;

impl Evaluator<'_> {
    /// What is known of an expression's value. What its parts do is noted.
    pub(super) fn expression(&mut self, expression: &Expr) -> Value {
        if !self.step() {
            return Value::Unknown;
        }
        match expression {
            Expr::Word(parts) | Expr::Text(parts) => self.parts(parts),
            Expr::Number(text) => number(text),
            Expr::Variable(name) => self.variable(name),
            Expr::Splat(_) => Value::Unknown,
            Expr::Paren(statement) => self.valued(statement),
            Expr::Array(block) => match self.block(block) {
                value @ (Value::List(_) | Value::Choice(_) | Value::Unknown | Value::Harmless) => {
                    value
                }
                value => Value::List(value.elements()),
            },
            Expr::Statements(block) => self.block(block),
            Expr::Script(block) => Value::Block(block.clone()),
            Expr::Hash(entries) => {
                let mut known = Vec::new();
                let mut whole = true;
                for (key, value) in entries {
                    let key = self.expression(key).string();
                    let value = self.statement(value);
                    match key {
                        Some(key) => known.push((key.to_ascii_lowercase(), value)),
                        None => whole = false,
                    }
                }
                if !whole {
                    return Value::Unknown;
                }
                Value::Hash(known).bounded()
            }
            Expr::Type(name) => Value::Object(type_key(name)),
            Expr::Cast(name, value) if name.eq_ignore_ascii_case(b"ref") => {
                // What gets the reference may change the variable.
                if let Expr::Variable(name) = &**value {
                    self.set_variable(name, Value::Unknown);
                }
                Value::Unknown
            }
            Expr::Cast(name, value) => {
                let value = self.expression(value);
                self.cast(name, value)
            }
            Expr::Unary(operator, operand) => {
                let value = self.expression(operand);
                Self::unary(operator, value)
            }
            Expr::Binary(left, operator, right) => {
                let left = self.expression(left);
                let right = self.expression(right);
                self.binary(left, operator, right)
            }
            Expr::Comma(values) => {
                let values = values.iter().map(|v| self.expression(v)).collect();
                Value::List(values).bounded()
            }
            Expr::Either(condition, yes, no) => {
                self.expression(condition);
                let yes = self.expression(yes);
                let no = self.expression(no);
                if yes.same(&no) {
                    yes
                } else if yes.is_harmless() && no.is_harmless() {
                    Value::Harmless
                } else {
                    Value::Unknown
                }
            }
            Expr::Member {
                object,
                name,
                fixed,
            } => {
                let object = self.expression(object);
                let name = self.expression(name).string();
                match (fixed, name) {
                    (_, None) => Value::Unknown,
                    (true, Some(name)) => self.static_member(&object, &name),
                    (false, Some(name)) => self.member(object, &name),
                }
            }
            Expr::Invoke {
                object,
                name,
                arguments,
                fixed,
            } => {
                let place = object;
                let object = self.expression(place);
                let name = self.expression(name).string();
                let arguments: Vec<Value> = arguments.iter().map(|a| self.expression(a)).collect();
                self.blocks_of_method(&arguments, name.as_deref());
                if matches!(object, Value::Hash(_) | Value::List(_) | Value::Choice(_))
                    && changes_in_place(name.as_deref())
                {
                    self.forget(place);
                }
                match (fixed, name) {
                    (_, None) => {
                        self.unclear("a method whose name is not known is called");
                        Value::Unknown
                    }
                    (true, Some(name)) => self.static_call(&object, &name, &arguments),
                    (false, Some(name)) => self.method(object, &name, &arguments),
                }
            }
            Expr::Index(object, index) => {
                let object = self.expression(object);
                let index = self.expression(index);
                element(object, &index)
            }
            Expr::Step {
                operand,
                by,
                before,
            } => self.stepped(operand, *by, *before),
        }
    }

    /// Follows blocks that a method is given, except those that it is known to run.
    fn blocks_of_method(&mut self, arguments: &[Value], name: Option<&[u8]>) {
        let known = name.is_some_and(|n| {
            n.eq_ignore_ascii_case(b"foreach") || n.eq_ignore_ascii_case(b"where")
        });
        for argument in arguments.iter().filter(|_| !known) {
            if let Value::Block(block) = argument {
                let before = self.state();
                let block = block.clone();
                self.call_block(&block, Vec::new(), Some(Value::Unknown));
                self.merge(&before);
            }
        }
    }

    /// The pieces of a string one after another.
    pub(super) fn parts(&mut self, parts: &[Part]) -> Value {
        let mut value = Value::text("");
        for part in parts {
            let next = match part {
                Part::Text(text) => Value::text(text.clone()),
                Part::Value(expression) => self.expression(expression),
            };
            value = value.then(&next);
        }
        value
    }

    /// `$i++`, `--$i`; what it is where it stands within an expression.
    fn stepped(&mut self, operand: &Expr, by: i64, before: bool) -> Value {
        let old = match self.expression(operand) {
            Value::Null => Value::Int(0),
            old => old,
        };
        let new = match old {
            Value::Int(number) => number.checked_add(by).map_or(Value::Harmless, Value::Int),
            _ => Value::Harmless,
        };
        match operand {
            Expr::Variable(name) => self.set_variable(name, new.clone()),
            other => self.forget(other),
        }
        if before { new } else { old }
    }

    /// A statement in parentheses: there an assignment has a value.
    pub(super) fn valued(&mut self, statement: &Statement) -> Value {
        let value = self.statement(statement);
        match &statement.what {
            StatementKind::Assign { target, .. } => match target {
                Expr::Variable(name) => self.variable(name),
                Expr::Cast(_, inner) => match &**inner {
                    Expr::Variable(name) => self.variable(name),
                    _ => Value::Unknown,
                },
                _ => Value::Unknown,
            },
            _ => value,
        }
    }

    pub(super) fn cast(&mut self, name: &[u8], value: Value) -> Value {
        let key = type_key(name);
        match key.as_slice() {
            b"string" => match value.string() {
                Some(text) => Value::text(text),
                None => match value {
                    Value::Text(_) | Value::Item(_) => value,
                    _ => Value::beginning(""),
                },
            },
            b"void" => Value::Null,
            b"xml" | b"xml.xmldocument" => Value::Object(b"xml".to_vec()),
            b"io.fileinfo" | b"io.directoryinfo" => match value {
                Value::Item(_) => value,
                other => self.object_at(&other),
            },
            b"array" | b"object[]" | b"string[]" | b"psobject" | b"object" | b"ordered"
            | b"pscustomobject" | b"hashtable" | b"scriptblock" => value,
            b"int" | b"int32" | b"int64" | b"long" => match value {
                Value::Int(_) => value,
                other => other
                    .string()
                    .and_then(|t| String::from_utf8(t).ok()?.trim().parse().ok())
                    .map_or(Value::Harmless, Value::Int),
            },
            b"bool" | b"switch" => match value {
                Value::Bool(_) => value,
                _ => Value::Harmless,
            },
            b"char" | b"datetime" | b"timespan" | b"version" | b"guid" | b"double" | b"decimal"
            | b"single" | b"float" | b"byte" | b"byte[]" | b"char[]" | b"int[]" | b"uint32"
            | b"regex" | b"uri" | b"securestring" | b"math" => Value::Harmless,
            _ => Value::Unknown,
        }
    }
}

/// A type's name in lower case without `system.`.
pub(super) fn type_key(name: &[u8]) -> Vec<u8> {
    let lower: Vec<u8> = name
        .iter()
        .filter(|b| **b != b' ')
        .map(u8::to_ascii_lowercase)
        .collect();
    let short = lower.strip_prefix(b"system.".as_slice());
    short.map(<[u8]>::to_vec).unwrap_or(lower)
}

/// A number; names of members and keys stand in the tree in the same place and are text.
fn number(text: &[u8]) -> Value {
    let parsed = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
    parsed.map_or_else(|| Value::text(text.to_vec()), Value::Int)
}

/// An element of a list or hash table.
fn element(object: Value, index: &Value) -> Value {
    match (object, index) {
        // The order of entries is not that of the view.
        (Value::List(values), _)
            if values.len() > 1 && values.iter().any(|v| matches!(v, Value::Item(_))) =>
        {
            Value::Choice(values)
        }
        (Value::Choice(values), _) => Value::Choice(values),
        (Value::List(values), Value::Int(at)) => {
            let length = i64::try_from(values.len()).unwrap_or(i64::MAX);
            let at = if *at < 0 { length + at } else { *at };
            let found = usize::try_from(at).ok().and_then(|at| values.get(at));
            found.cloned().unwrap_or(Value::Null)
        }
        (Value::Hash(entries), index) => match index.string() {
            Some(key) => entries
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(&key))
                .map_or(Value::Unknown, |(_, value)| value),
            None => Value::Unknown,
        },
        (Value::Item(item), index)
            if item.extent != Extent::Exact || matches!(index, Value::Int(0 | -1)) =>
        {
            Value::Item(item)
        }
        (Value::Harmless | Value::Text(Text { .. }), _) => Value::Harmless,
        (Value::List(values), _) if values.iter().all(Value::is_harmless) => Value::Harmless,
        _ => Value::Unknown,
    }
}

/// Whether a method of this name may change a list or hash table.
fn changes_in_place(name: Option<&[u8]>) -> bool {
    let reads: [&[u8]; 8] = [
        b"foreach",
        b"where",
        b"contains",
        b"containskey",
        b"containsvalue",
        b"getenumerator",
        b"indexof",
        b"gettype",
    ];
    name.is_none_or(|name| !reads.iter().any(|r| r.eq_ignore_ascii_case(name)))
}
