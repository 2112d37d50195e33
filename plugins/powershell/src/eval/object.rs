//! Members and methods of objects.

use deployx_plugin_sdk::{Depth, Kind};

use crate::value::{Extent, Item, MAX_TEXT, Value};

use super::Evaluator;

/// Methods that change nothing outside of memory, whatever object they are called on.
const PURE: [&str; 46] = [
    "add",
    "addrange",
    "adddays",
    "addhours",
    "addminutes",
    "addmonths",
    "addseconds",
    "addyears",
    "clone",
    "compareto",
    "contains",
    "containskey",
    "containsvalue",
    "endswith",
    "equals",
    "getenumerator",
    "gethashcode",
    "getlength",
    "gettype",
    "getvalue",
    "indexof",
    "insert",
    "item",
    "lastindexof",
    "match",
    "matches",
    "next",
    "padleft",
    "padright",
    "selectnodes",
    "selectsinglenode",
    "split",
    "startswith",
    "substring",
    "subtract",
    "toarray",
    "tochararray",
    "tolower",
    "tolowerinvariant",
    "tostring",
    "toupper",
    "toupperinvariant",
    "touniversaltime",
    "trim",
    "trimend",
    "trimstart",
];

impl Evaluator<'_> {
    /// `object.name`
    pub(super) fn member(&mut self, object: Value, name: &[u8]) -> Value {
        let name = name.to_ascii_lowercase();
        match object {
            Value::List(values) => match name.as_slice() {
                b"count" | b"length" => Value::Int(values.len() as i64),
                _ => {
                    let members = values.into_iter().map(|v| self.member(v, &name));
                    Value::gather(members.collect())
                }
            },
            Value::Choice(values) => {
                let members = values.into_iter().map(|v| self.member(v, &name));
                Value::Choice(members.collect()).some()
            }
            Value::Item(item) => self.item_member(item, &name),
            Value::Hash(entries) => entries
                .into_iter()
                .find(|(key, _)| *key == name)
                .map_or(Value::Unknown, |(_, value)| value),
            Value::Text(text) => match name.as_slice() {
                // The members of a path, as `Get-Location` and `Get-Command` give it.
                b"path" | b"providerpath" | b"source" | b"fullname" => Value::Text(text),
                _ => Value::Harmless,
            },
            Value::Object(kind) if kind == b"xml" => Value::Object(kind),
            Value::Harmless | Value::Int(_) | Value::Bool(_) => Value::Harmless,
            Value::Null => Value::Null,
            _ => match name.as_slice() {
                b"count" | b"length" | b"id" | b"status" | b"version" => Value::Harmless,
                _ => Value::Unknown,
            },
        }
    }

    fn item_member(&mut self, item: Item, name: &[u8]) -> Value {
        let exact = item.extent == Extent::Exact;
        let base = self.style.name(&item.path).map(<[u8]>::to_vec);
        let dot = base
            .as_ref()
            .and_then(|base| base.iter().rposition(|b| *b == b'.'));
        match (name, base) {
            (b"fullname" | b"pspath" | b"path" | b"providerpath" | b"target", _) => {
                Value::Item(item)
            }
            (b"name" | b"pschildname", Some(base)) if exact => Value::text(base),
            (b"basename", Some(base)) if exact => {
                let directory = self.kind(&item.path) == Kind::Directory;
                let end = dot.filter(|_| !directory).unwrap_or(base.len());
                Value::text(&base[..end])
            }
            (b"extension", Some(base)) if exact => {
                Value::text(dot.map_or(b"".as_slice(), |dot| &base[dot..]))
            }
            (b"directory" | b"directoryname" | b"parent" | b"psparentpath", _) => {
                match item.extent {
                    Extent::Exact => self
                        .style
                        .parent(&item.path)
                        .map_or(Value::Null, Value::exact),
                    Extent::Children => Value::exact(item.path),
                    Extent::Tree => Value::Item(item),
                }
            }
            _ => Value::Harmless,
        }
    }

    /// Sets a property of something that is no plain data.
    pub(super) fn set_member(&mut self, object: &Value) {
        match object {
            Value::Item(item) => {
                let depth = match item.extent {
                    Extent::Exact => Depth::Entry,
                    Extent::Children => Depth::Children,
                    Extent::Tree => Depth::Tree,
                };
                self.touch(item.path.clone(), depth, true, "attributes changed", "=");
            }
            Value::List(values) | Value::Choice(values) => {
                for value in values {
                    self.set_member(value);
                }
            }
            Value::Object(_) => {}
            value if value.is_harmless() => {}
            _ => self.unclear("a property of an object that is not known is set"),
        }
    }

    /// `object.name(arguments)`
    pub(super) fn method(&mut self, object: Value, name: &[u8], arguments: &[Value]) -> Value {
        let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
        if matches!(lower.as_str(), "foreach" | "where") {
            return self.each_method(object, &lower, arguments);
        }
        if let Value::List(values) | Value::Choice(values) = &object
            && values.iter().any(|v| matches!(v, Value::Item(_)))
        {
            let results = values
                .iter()
                .map(|v| self.method(v.clone(), name, arguments));
            return Value::gather(results.collect());
        }
        if lower.starts_with("invoke") && !matches!(object, Value::Block(_)) {
            self.unclear("a method runs what is not known");
            return Value::Unknown;
        }
        match &object {
            Value::Item(item) => self.item_method(item, &lower, arguments),
            Value::Object(kind) => {
                let kind = kind.clone();
                self.object_method(&kind, &lower, arguments)
            }
            Value::Block(block) if matches!(lower.as_str(), "invoke" | "invokereturnasis") => {
                let block = block.clone();
                self.call_block(&block, Vec::new(), None)
            }
            Value::Text(text) if text.whole => text_method(&text.text, &lower, arguments),
            value if value.is_harmless() => Value::Harmless,
            Value::Hash(_) => Value::Unknown,
            _ if PURE.contains(&lower.as_str()) => Value::Harmless,
            _ => {
                self.unclear(&format!("what the method '{lower}' does is not known"));
                Value::Unknown
            }
        }
    }

    fn each_method(&mut self, object: Value, name: &str, arguments: &[Value]) -> Value {
        match arguments.first() {
            Some(Value::Block(block)) => {
                let block = block.clone();
                let filter = name == "where";
                let kept = object.clone();
                let output = self.each(object, b"_", &mut |e| e.block(&block.body));
                if filter { kept.some() } else { output }
            }
            Some(Value::Text(text)) if text.whole => {
                // The name of a property or of a method.
                let member = text.text.clone();
                let property = name == "where" || arguments.len() == 1 && is_property(&member);
                if property {
                    return self.member(object, &member);
                }
                self.method(object, &member, &arguments[1..])
            }
            _ => {
                self.unclear("a block that is not known is run");
                Value::Unknown
            }
        }
    }

    fn item_method(&mut self, item: &Item, name: &str, arguments: &[Value]) -> Value {
        let rule = format!(".{name}()");
        match name {
            "delete" | "moveto" => {
                self.answer.destructive = true;
                let reason = if name == "delete" {
                    "removed"
                } else {
                    "moved away"
                };
                self.remove_item(item, reason, &rule);
                if let Some(target) = arguments.first().filter(|_| name == "moveto") {
                    self.write_tree(target, &rule);
                }
                Value::Null
            }
            "copyto" => {
                if let Some(target) = arguments.first() {
                    self.write_to(target, "copied to", &rule);
                }
                Value::Unknown
            }
            "create" | "createtext" | "appendtext" | "openwrite" | "open" | "encrypt"
            | "decrypt" | "setaccesscontrol" => {
                self.write_to(&Value::Item(item.clone()), "written", &rule);
                Value::Harmless
            }
            "createsubdirectory" => {
                let base = Value::Item(item.clone()).then(&Value::text([self.separator()]));
                let path = arguments.first().map(|a| base.then(a)).unwrap_or_default();
                self.write_tree(&path, &rule);
                Value::Unknown
            }
            "replace" => {
                self.write_to(&Value::Item(item.clone()), "replaced", &rule);
                for target in arguments {
                    self.write_to(target, "replaced", &rule);
                }
                Value::Unknown
            }
            _ if PURE.contains(&name)
                || matches!(
                    name,
                    "refresh" | "openread" | "opentext" | "getaccesscontrol"
                ) =>
            {
                Value::Harmless
            }
            "getfiles"
            | "getdirectories"
            | "enumeratefiles"
            | "enumeratedirectories"
            | "getfilesysteminfos"
            | "enumeratefilesysteminfos" => {
                let deep = arguments.len() > 1 || item.extent != Extent::Exact;
                Value::Item(Item {
                    path: item.path.clone(),
                    extent: if deep { Extent::Tree } else { Extent::Children },
                })
            }
            _ => {
                self.unclear(&format!("what the method '{name}' does is not known"));
                Value::Unknown
            }
        }
    }

    pub(super) fn remove_item(&mut self, item: &Item, reason: &str, rule: &str) {
        if item.extent == Extent::Exact
            && let Some(parent) = self.style.parent(&item.path)
        {
            self.touch(parent, Depth::Entry, true, "an entry goes", rule);
        }
        self.touch(item.path.clone(), Depth::Tree, false, reason, rule);
    }

    /// Notes that something appears at a path, with all that is beneath.
    pub(super) fn write_tree(&mut self, value: &Value, rule: &str) {
        let path = match value {
            Value::Item(item) => Some(item.path.clone()),
            other => other
                .string()
                .filter(|text| !Self::has_provider(text))
                .and_then(|text| self.absolute(&text)),
        };
        match path {
            Some(path) => self.touch(path, Depth::Tree, true, "written beneath", rule),
            None => {
                self.list_beginning(value, "written beneath", rule);
                self.unclear("a path that is written is not known");
            }
        }
    }
}

/// Whether entries of the filesystem have a property of this name.
pub(super) fn is_property(name: &[u8]) -> bool {
    matches!(
        name.to_ascii_lowercase().as_slice(),
        b"fullname"
            | b"name"
            | b"basename"
            | b"directory"
            | b"directoryname"
            | b"parent"
            | b"length"
            | b"extension"
            | b"path"
            | b"count"
            | b"id"
            | b"version"
    )
}

/// Methods of a known string.
fn text_method(text: &[u8], name: &str, arguments: &[Value]) -> Value {
    let argument = |at: usize| arguments.get(at).and_then(Value::string);
    match (name, argument(0), argument(1)) {
        ("tostring", _, _) if arguments.is_empty() => Value::text(text),
        ("trim", _, _) if arguments.is_empty() => Value::text(text.trim_ascii()),
        ("tolower" | "tolowerinvariant", _, _) => Value::text(text.to_ascii_lowercase()),
        ("toupper" | "toupperinvariant", _, _) => Value::text(text.to_ascii_uppercase()),
        ("trimend", Some(set), _) => {
            let end = text.iter().rposition(|b| !set.contains(b));
            Value::text(&text[..end.map_or(0, |end| end + 1)])
        }
        ("replace", Some(from), Some(to)) if !from.is_empty() => {
            let mut result = Vec::new();
            let mut rest = text;
            while !rest.is_empty() {
                if let Some(after) = rest.strip_prefix(from.as_slice()) {
                    result.extend_from_slice(&to);
                    rest = after;
                } else {
                    result.push(rest[0]);
                    rest = &rest[1..];
                }
            }
            if result.len() > MAX_TEXT {
                return Value::Harmless;
            }
            Value::text(result)
        }
        ("split", Some(at), None) if at.len() == 1 => {
            let pieces = text.split(|b| *b == at[0]);
            Value::gather(pieces.map(Value::text).collect())
        }
        _ => Value::Harmless,
    }
}
