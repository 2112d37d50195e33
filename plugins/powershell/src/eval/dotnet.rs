//! Calls of .NET: `[IO.File]::Delete('x')`, `New-Object Net.WebClient`.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{Depth, Kind};

use crate::value::{Extent, Item, Value};

use super::Evaluator;
use super::dotnet_types::{
    CHANGES, Use,
    Use::{Create, Meta, Read, Remove, Tree, Write},
    XML, is_pure,
};

impl Evaluator<'_> {
    /// `[type]::Name`
    pub(super) fn static_member(&mut self, object: &Value, name: &[u8]) -> Value {
        let Value::Object(kind) = object else {
            return Value::Unknown;
        };
        match (kind.as_slice(), name.to_ascii_lowercase().as_slice()) {
            (b"io.path", b"directoryseparatorchar") => Value::text([self.separator()]),
            _ => Value::Harmless,
        }
    }

    /// `[type]::Name(arguments)`
    pub(super) fn static_call(
        &mut self,
        object: &Value,
        name: &[u8],
        arguments: &[Value],
    ) -> Value {
        let kind = match object {
            Value::Object(kind) => String::from_utf8_lossy(kind).into_owned(),
            _ => String::new(),
        };
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name == "new" {
            return self.new_object(&kind, arguments);
        }
        let change = CHANGES.iter().find(|(k, n, _)| *k == kind && *n == name);
        if let Some((_, _, uses)) = change {
            let rule = format!("[{kind}]::{name}");
            self.answer.destructive |=
                matches!(uses.first(), Some(Remove)) || name.starts_with("writeall");
            for (used, argument) in uses.iter().zip(arguments) {
                self.use_argument(*used, argument, &rule);
            }
            return Value::Harmless;
        }
        match kind.as_str() {
            "io.path" => self.path_call(&name, arguments),
            "environment" => self.environment_call(&name, arguments),
            "io.file" | "io.directory" | "io.compression.zipfile" if is_reader(&name) => {
                // Methods that give names of files.
                if name.contains("files") || name.contains("director") || name.contains("entries") {
                    Value::Unknown
                } else {
                    Value::Harmless
                }
            }
            "scriptblock" | "management.automation.scriptblock" => Value::Unknown,
            kind if is_pure(kind) => Value::Harmless,
            _ => {
                self.unclear(&format!("what [{kind}]::{name} does is not known"));
                Value::Unknown
            }
        }
    }

    fn use_argument(&mut self, used: Use, argument: &Value, rule: &str) {
        if matches!(used, Read) {
            return;
        }
        // .NET takes relative paths from the directory of the process, which `Set-Location` does
        // not change.
        let relative = argument.string().is_some_and(|text| {
            !matches!(argument, Value::Item(_)) && !self.style.is_absolute(&self.separators(&text))
        });
        if relative {
            self.unclear("a relative path in a call of .NET");
        }
        match used {
            Read => {}
            Write | Meta => self.write_to(argument, "written", rule),
            Remove => self.remove_value(argument, rule),
            Create => match argument.string().and_then(|path| self.absolute(&path)) {
                Some(path) => {
                    if let Some(parent) = self.style.parent(&path) {
                        self.touch(parent, Depth::Entry, true, "an entry appears", rule);
                    }
                    self.touch_created(path, rule);
                }
                None => self.write_tree(argument, rule),
            },
            Tree => self.write_tree(argument, rule),
        }
    }

    fn remove_value(&mut self, value: &Value, rule: &str) {
        if let Value::Item(item) = value {
            self.remove_item(&item.clone(), "removed", rule);
            return;
        }
        match value.string().and_then(|path| self.absolute(&path)) {
            Some(path) => {
                let extent = Extent::Exact;
                self.remove_item(&Item { path, extent }, "removed", rule);
            }
            None => {
                self.list_beginning(value, "removed", rule);
                self.unclear("a path that is removed is not known");
            }
        }
    }

    /// Lists a directory that is made, and the topmost of those above it that are missing.
    fn touch_created(&mut self, path: Vec<u8>, rule: &str) {
        let mut topmost = path.clone();
        while let Some(parent) = self.style.parent(&topmost) {
            if self.kind(&parent) != Kind::Missing {
                break;
            }
            topmost = parent;
        }
        self.touch_written(topmost, "created", rule);
        self.touch_written(path, "created", rule);
    }

    fn path_call(&mut self, name: &str, arguments: &[Value]) -> Value {
        let first = arguments.first().cloned().unwrap_or(Value::Null);
        match name {
            "combine" | "join" => {
                let mut path = first;
                for part in arguments.iter().skip(1) {
                    // A part that is absolute stands alone.
                    let absolute = part
                        .string()
                        .is_some_and(|text| self.style.is_absolute(&self.separators(&text)));
                    path = if absolute && name == "combine" {
                        part.clone()
                    } else {
                        self.join_path(path, part)
                    };
                }
                path
            }
            "getfullpath" => match self.object_at(&first).string() {
                Some(path) => Value::text(path),
                None => Value::Unknown,
            },
            "getfilename" => Self::split_path(&first, "leaf"),
            "getdirectoryname" => Self::split_path(&first, "parent"),
            "gettempfilename" => {
                self.unclear("a file is made in the directory for temporary files");
                Value::Unknown
            }
            "gettemppath" => {
                let names: &[&[u8]] = match self.style {
                    Style::Windows => &[b"TMP", b"TEMP"],
                    Style::Unix => &[b"TMPDIR"],
                };
                let mut values = names.iter().map(|name| self.environment_value(name));
                values
                    .find(|value| !matches!(value, Value::Unknown))
                    .unwrap_or_default()
            }
            "changeextension" => {
                let extension = arguments.get(1).and_then(Value::string);
                let (Some(path), Some(extension)) = (first.string(), extension) else {
                    return Value::Unknown;
                };
                let dot = path.iter().rposition(|b| *b == b'.').unwrap_or(path.len());
                let extension = extension
                    .strip_prefix(b".".as_slice())
                    .unwrap_or(&extension);
                Value::text([&path[..dot], b".", extension].concat())
            }
            _ => Value::Harmless,
        }
    }

    fn environment_call(&mut self, name: &str, arguments: &[Value]) -> Value {
        let first = arguments.first().and_then(Value::string);
        match (name, first) {
            ("setenvironmentvariable", Some(variable)) => {
                let value = arguments.get(1).cloned().unwrap_or(Value::Unknown);
                let target = arguments.get(2).and_then(Value::string);
                match target.map(|t| t.to_ascii_lowercase()).as_deref() {
                    None if arguments.len() > 2 => {
                        self.effect("registry", "an environment variable may be kept for good");
                        self.set_environment(&variable, &Value::Unknown);
                    }
                    None | Some(b"process") => self.set_environment(&variable, &value),
                    Some(_) => {
                        self.effect("registry", "an environment variable is kept for good");
                    }
                }
                Value::Null
            }
            ("setenvironmentvariable", None) => {
                self.unclear("a variable whose name is not known is set");
                Value::Null
            }
            ("getenvironmentvariable", Some(variable)) if arguments.len() == 1 => {
                self.environment_value(&variable)
            }
            ("exit" | "getcommandlineargs" | "expandenvironmentvariables", _) => Value::Harmless,
            _ => Value::Unknown,
        }
    }

    /// `New-Object type arguments`, `[type]::new(arguments)`
    pub(super) fn new_object(&mut self, kind: &str, arguments: &[Value]) -> Value {
        let first = arguments.first().cloned().unwrap_or(Value::Null);
        match kind {
            "io.fileinfo" | "io.directoryinfo" => self.object_at(&first),
            "io.streamwriter" | "io.filestream" | "io.binarywriter" => {
                if !matches!(first, Value::Harmless) {
                    self.use_argument(Write, &first, &format!("[{kind}]::new"));
                }
                Value::Harmless
            }
            "net.webclient" | "net.http.httpclient" => Value::Object(kind.as_bytes().to_vec()),
            "xml" | "xml.xmldocument" => Value::Object(b"xml".to_vec()),
            _ if is_pure(kind) => Value::Harmless,
            _ => {
                self.unclear(&format!(
                    "what an object of the type '{kind}' does is not known"
                ));
                Value::Unknown
            }
        }
    }

    /// The entry that .NET finds at a path: one that is relative is taken from the directory of the
    /// process, which is not known.
    pub(super) fn object_at(&self, path: &Value) -> Value {
        if let Value::Item(_) = path {
            return path.clone();
        }
        let text = path
            .string()
            .filter(|text| self.style.is_absolute(&self.separators(text)));
        text.and_then(|path| self.absolute(&path))
            .map_or(Value::Unknown, Value::exact)
    }

    /// A method of an object of a known type.
    pub(super) fn object_method(&mut self, kind: &[u8], name: &str, arguments: &[Value]) -> Value {
        match (kind, name) {
            (b"net.webclient", "downloadfile" | "downloadfileasync" | "downloadfiletaskasync") => {
                self.effect("network", "a file is downloaded");
                if let Some(target) = arguments.get(1) {
                    self.use_argument(Write, target, ".DownloadFile()");
                }
                Value::Null
            }
            (b"xml", "save") => {
                if let Some(target) = arguments.first() {
                    self.use_argument(Write, target, ".Save()");
                }
                Value::Null
            }
            (b"xml", name) if XML.contains(&name) || name.starts_with("create") => {
                Value::Object(kind.to_vec())
            }
            (b"net.webclient" | b"net.http.httpclient", _) if !name.contains("file") => {
                self.effect("network", "a request is sent");
                Value::Harmless
            }
            _ => {
                self.unclear(&format!("what the method '{name}' does is not known"));
                Value::Unknown
            }
        }
    }
}

fn is_reader(name: &str) -> bool {
    name.starts_with("get")
        || name.starts_with("read")
        || name.starts_with("enumerate")
        || matches!(name, "exists" | "openread" | "opentext")
}
