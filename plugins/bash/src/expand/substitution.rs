//! Command substitution: the effects of the command, and its output in the few cases where that is
//! worth knowing.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{FileView, Kind};

use crate::evaluate::Evaluator;
use crate::state::{Value, World};
use crate::syntax::{Node, Redirect, Simple};

/// Commands that only print; what they print may be known.
const PRINTERS: [&[u8]; 14] = [
    b"pwd",
    b"echo",
    b"printf",
    b"dirname",
    b"basename",
    b"git",
    b"date",
    b"id",
    b"nproc",
    b"hostname",
    b"whoami",
    b"uname",
    b"realpath",
    b"readlink",
];

impl Evaluator<'_> {
    /// Runs `body` in a copy of `world` and tells what it prints.
    pub(crate) fn substitute(&mut self, world: &World, body: &[u8]) -> Value {
        let Some(node) = self.parsed(world, body) else {
            return Value::Unknown;
        };
        if let Node::Simple(simple) = node.as_ref()
            && is_printer(simple, world)
        {
            // Only its words can have effects, and these are expanded for the output.
            let value = self.nested(world, body, |evaluator| evaluator.output(world, simple));
            match value {
                Some(Value::Unknown) => {}
                Some(value) => return value,
                None => return Value::Unknown,
            }
        }
        self.isolated(&node, vec![world.clone()]);
        Value::Unknown
    }

    /// Runs `body` in a copy of `world`.
    pub(crate) fn in_subshell(&mut self, world: &World, body: &[u8]) {
        if let Some(node) = self.parsed(world, body) {
            self.isolated(&node, vec![world.clone()]);
        }
    }

    /// What a printer prints; unknown where it does more than that.
    fn output(&mut self, world: &World, simple: &Simple) -> Value {
        if !self.step() {
            return Value::Begins(Vec::new());
        }
        let mut copy = world.clone();
        let arguments = self.arguments(&mut copy, &simple.words);
        let values: Option<Vec<&[u8]>> = arguments.iter().map(|a| a.value()).collect();
        let Some(values) = values else {
            let name = arguments
                .first()
                .and_then(|a| a.value())
                .unwrap_or_default();
            let harmless = matches!(name, b"echo" | b"printf" | b"dirname" | b"basename");
            return if harmless {
                Value::Begins(Vec::new())
            } else {
                Value::Unknown
            };
        };
        let Some((name, operands)) = values.split_first() else {
            return Value::Unknown;
        };
        match (*name, operands) {
            (b"pwd", []) => known(world.cwd.logical()),
            (b"pwd", [b"-P"]) => known(world.cwd.physical()),
            (b"echo", [first, ..]) if first.starts_with(b"-") => Value::Begins(Vec::new()),
            (b"echo", operands) if operands.iter().all(|o| !o.contains(&b'\\')) => {
                Value::known(trim_lines(operands.join(&b' ')))
            }
            (b"printf", [b"%s" | b"%s\\n", text]) => Value::known(trim_lines(text.to_vec())),
            (b"dirname", [path]) if !path.starts_with(b"-") => Value::Known(dirname(path)),
            (b"basename", [path]) if !path.starts_with(b"-") => {
                Value::Known(basename(path).to_vec())
            }
            (b"basename", [path, suffix]) if !path.starts_with(b"-") => {
                let name = basename(path);
                let kept = name.strip_suffix(*suffix).filter(|kept| !kept.is_empty());
                Value::Known(kept.unwrap_or(name).to_vec())
            }
            (b"printf" | b"echo" | b"dirname" | b"basename", _) => Value::Begins(Vec::new()),
            (b"git", [b"rev-parse", b"--show-toplevel"]) => self.work_tree(world),
            (b"date", operands) => date(operands),
            (b"id", [b"-u" | b"-g" | b"-un" | b"-gn"])
            | (b"nproc" | b"hostname" | b"whoami", [])
            | (b"uname", [b"-s" | b"-r" | b"-m" | b"-n"]) => Value::Token,
            (b"realpath", [path]) | (b"readlink", [b"-f" | b"-e" | b"-m", path]) => {
                self.real_path(world, path)
            }
            _ => Value::Unknown,
        }
    }

    /// The directory with `.git` that the working directory lies in.
    fn work_tree(&self, world: &World) -> Value {
        let mut directory = world.cwd.physical().map(<[u8]>::to_vec);
        while let Some(path) = directory {
            let git = Style::Unix.join(&path, b".git");
            match git.map_or(Kind::Unknown, |git| self.view.kind(&git)) {
                Kind::Directory | Kind::File => return Value::Known(path),
                Kind::Missing => directory = Style::Unix.parent(&path),
                _ => break,
            }
        }
        Value::Begins(Vec::new())
    }

    fn real_path(&self, world: &World, path: &[u8]) -> Value {
        let Some(cwd) = world.cwd.physical() else {
            return Value::Begins(Vec::new());
        };
        let located = Style::Unix.locate(self.view, cwd, path);
        let real = located.and_then(|path| Style::Unix.follow(self.view, &path));
        real.map_or(Value::Begins(Vec::new()), Value::Known)
    }
}

/// Whether a command only prints.
fn is_printer(simple: &Simple, world: &World) -> bool {
    let Some(name) = simple.words.first().map(|word| word.raw.as_slice()) else {
        return false;
    };
    let quiet = |redirect: &Redirect| match redirect {
        Redirect::Descriptor => true,
        Redirect::File { target, .. } => target.raw == b"/dev/null",
        Redirect::Here { .. } => false,
    };
    let mut redefined = world.functions.keys().chain(world.redefined.iter());
    PRINTERS.contains(&name)
        && simple.assignments.is_empty()
        && simple.redirects.iter().all(quiet)
        && !redefined.any(|redefined| redefined.as_bytes() == name)
}

fn known(path: Option<&[u8]>) -> Value {
    path.map_or(Value::Begins(Vec::new()), |path| {
        Value::Known(path.to_vec())
    })
}

fn trim_lines(mut text: Vec<u8>) -> Vec<u8> {
    while text.last() == Some(&b'\n') {
        text.pop();
    }
    text
}

/// A date is a name where its format has no `/` and no blanks in it.
fn date(operands: &[&[u8]]) -> Value {
    let [format] = operands else {
        return Value::Unknown;
    };
    let Some(format) = format.strip_prefix(b"+") else {
        return Value::Unknown;
    };
    let mut bytes = format.iter();
    while let Some(byte) = bytes.next() {
        let fits = if *byte == b'%' {
            let letter = bytes.next();
            letter.is_some_and(|b| b"YmdHMSsFTNjuyVUGgIz-0123456789".contains(b))
        } else {
            byte.is_ascii_alphanumeric() || b"-_.:+,".contains(byte)
        };
        if !fits {
            return Value::Begins(Vec::new());
        }
    }
    Value::Token
}

fn basename(path: &[u8]) -> &[u8] {
    let trimmed = trim_slashes(path);
    if trimmed.is_empty() {
        return &path[..path.len().min(1)];
    }
    trimmed.rsplit(|b| *b == b'/').next().unwrap_or(trimmed)
}

fn dirname(path: &[u8]) -> Vec<u8> {
    let trimmed = trim_slashes(path);
    match trimmed.iter().rposition(|b| *b == b'/') {
        None if trimmed.is_empty() && !path.is_empty() => b"/".to_vec(),
        None => b".".to_vec(),
        Some(at) => {
            let above = trim_slashes(&trimmed[..at]);
            if above.is_empty() {
                b"/".to_vec()
            } else {
                above.to_vec()
            }
        }
    }
}

fn trim_slashes(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_directories_of_paths() {
        for (path, name, directory) in [
            ("/a/b/", "b", "/a"),
            ("a", "a", "."),
            ("/", "/", "/"),
            ("/a", "a", "/"),
            ("a//b", "b", "a"),
        ] {
            assert_eq!(basename(path.as_bytes()), name.as_bytes(), "{path}");
            assert_eq!(dirname(path.as_bytes()), directory.as_bytes(), "{path}");
        }
    }

    #[test]
    fn a_date_is_a_name_where_its_format_says_so() {
        assert_eq!(date(&[b"+%Y-%m-%d"]), Value::Token);
        assert_eq!(date(&[b"+%D"]), Value::Begins(Vec::new()));
        assert_eq!(date(&[]), Value::Unknown);
    }
}
