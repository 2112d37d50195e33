//! Paths put together and taken apart.

use crate::value::{Extent, Item, Text, Value};

use super::Evaluator;
use super::arguments::Call;

impl Evaluator<'_> {
    pub(super) fn join_path(&self, left: Value, right: &Value) -> Value {
        let is_separator = |b: &u8| matches!(b, b'/' | b'\\');
        let left = match left {
            Value::Text(Text { text, whole: true }) if text.last().is_some_and(is_separator) => {
                Value::text(&text[..text.len() - 1])
            }
            other => other,
        };
        let right = match right {
            Value::Text(Text { text, whole }) if text.first().is_some_and(is_separator) => {
                Value::Text(Text {
                    text: text[1..].to_vec(),
                    whole: *whole,
                })
            }
            other => other.clone(),
        };
        let separator = Value::text([self.separator()]);
        if let Value::Item(Item {
            extent: Extent::Children | Extent::Tree,
            path,
        }) = left
        {
            return Value::beginning([path, vec![self.separator()]].concat());
        }
        left.then(&separator).then(&right)
    }

    pub(super) fn join_path_call(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Path= ChildPath= AdditionalChildPath= Resolve Credential=",
            "Path ChildPath AdditionalChildPath...",
        );
        let Some(path) = bound.get("Path").or(call.input.as_ref()) else {
            return Value::Unknown;
        };
        let mut parts: Vec<Value> = bound.get("ChildPath").into_iter().cloned().collect();
        if let Some(more) = bound.get("AdditionalChildPath") {
            parts.extend(more.clone().elements());
        }
        let mut joined = Vec::new();
        for mut path in path.clone().elements() {
            for part in &parts {
                path = self.join_path(path, part);
            }
            joined.push(path);
        }
        if bound.has("Resolve") {
            let items = joined.iter().flat_map(|path| self.named_items(path, false));
            return Value::gather(items.collect());
        }
        Value::gather(joined)
    }

    pub(super) fn split_path_call(call: &Call) -> Value {
        let bound = call.bind(
            "Path= LiteralPath= Parent Leaf LeafBase Extension Qualifier NoQualifier IsAbsolute \
             Resolve Credential=",
            "Path",
        );
        let path = bound.any(&["Path", "LiteralPath"]).or(call.input.as_ref());
        let Some(path) = path.cloned() else {
            return Value::Unknown;
        };
        let other = [
            "LeafBase",
            "Extension",
            "Qualifier",
            "NoQualifier",
            "IsAbsolute",
        ];
        if other.iter().any(|name| bound.has(name)) {
            return Value::Harmless;
        }
        let part = if bound.has("Leaf") { "leaf" } else { "parent" };
        Self::split_path(&path, part)
    }

    pub(super) fn split_path(path: &Value, part: &str) -> Value {
        let Some(text) = path.string() else {
            return match (path, part) {
                (Value::Item(item), "parent") => Value::Item(item.clone()),
                _ => Value::Unknown,
            };
        };
        let end = text.iter().rposition(|b| matches!(b, b'/' | b'\\'));
        match part {
            "parent" => Value::text(&text[..end.unwrap_or(0)]),
            _ => Value::text(&text[end.map_or(0, |end| end + 1)..]),
        }
    }
}
