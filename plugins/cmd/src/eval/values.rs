//! The values that the variable of a `for` takes.

use deployx_plugin_sdk::Kind;

use super::{Evaluator, World};
use crate::cell::{
    ANY_DEEP, ANY_NAME, Cell, UNKNOWN, byte, bytes, cells, has_unknown, is_delimiter, is_plain,
    trim, unquoted,
};
use crate::names::{STYLE, has_wildcard, split_last};
use crate::syntax::{For, Form};

/// The values of a loop's variable.
pub(crate) struct Values {
    pub(crate) each: Vec<Vec<Cell>>,
    /// They are all there are; otherwise one stands for any number.
    pub(crate) complete: bool,
}

impl Values {
    pub(crate) fn complete(each: Vec<Vec<Cell>>) -> Self {
        Self {
            each,
            complete: true,
        }
    }

    pub(crate) fn any(value: Vec<Cell>) -> Self {
        Self {
            each: vec![value],
            complete: false,
        }
    }
}

/// How many values are followed one by one.
const MAX_VALUES: usize = 100;

impl Evaluator<'_> {
    /// The values of a loop other than `/f`.
    pub(crate) fn loop_values(&self, repetition: &For, world: &World) -> Values {
        let set = self.substitute(&repetition.set, world);
        let values = match &repetition.form {
            Form::Numbers => numbers(&set),
            Form::Recursive { directories, root } => {
                let root = unquoted(&self.substitute(root, world));
                self.recursive(&set, *directories, &root, world)
            }
            Form::Directories => self.items(&set, true, world),
            Form::Items | Form::Lines { .. } => self.items(&set, false, world),
        };
        if values.each.len() > MAX_VALUES {
            return Values::any(vec![UNKNOWN]);
        }
        values
    }

    fn items(&self, set: &[Cell], directories: bool, world: &World) -> Values {
        let mut values = Values::complete(Vec::new());
        for item in items_of(set) {
            let name = unquoted(&item);
            if !name.iter().any(|c| matches!(byte(*c), b'*' | b'?')) {
                values.complete &= is_plain(&item);
                values.each.push(item);
                continue;
            }
            match self.matched(&name, directories, world) {
                Some(found) => values.each.extend(found),
                None => {
                    values.complete = false;
                    values.each.push(as_marks(&name));
                }
            }
        }
        values
    }

    /// The names that fit a pattern, with its directory as it was given.
    fn matched(
        &self,
        pattern: &[Cell],
        directories: bool,
        world: &World,
    ) -> Option<Vec<Vec<Cell>>> {
        if !is_plain(pattern) {
            return None;
        }
        let text = bytes(pattern);
        let (dir, last) = split_last(&text);
        if has_wildcard(dir) {
            return None;
        }
        let found = self.matching_in(&world.resolve(dir)?, last)?;
        let unwanted = if directories {
            Kind::File
        } else {
            Kind::Directory
        };
        let names = found.iter().filter(|(_, kind)| *kind != unwanted);
        Some(
            names
                .map(|(path, _)| cells(&[dir, split_last(path).1].concat()))
                .collect(),
        )
    }

    fn recursive(&self, set: &[Cell], directories: bool, root: &[Cell], world: &World) -> Values {
        let root = if is_plain(root) {
            world.resolve(&bytes(root))
        } else {
            None
        };
        let Some(root) = root else {
            return Values::any(vec![UNKNOWN]);
        };
        let mut values = Values::complete(Vec::new());
        for item in items_of(set) {
            let name = unquoted(&item);
            let found = if is_plain(&name) {
                self.found_beneath(&root, &bytes(&name), directories)
            } else {
                None
            };
            match found {
                Some(found) => values.each.extend(found.iter().map(|path| cells(path))),
                None => {
                    let mut value = cells(&root);
                    value.extend([Cell::from(b'\\'), ANY_DEEP]);
                    return Values::any(value);
                }
            }
        }
        values
    }

    fn found_beneath(&self, root: &[u8], name: &[u8], directories: bool) -> Option<Vec<Vec<u8>>> {
        let entries = self.walk(root, if has_wildcard(name) { name } else { b"*" })?;
        if has_wildcard(name) {
            let unwanted = if directories {
                Kind::File
            } else {
                Kind::Directory
            };
            let wanted = entries.into_iter().filter(|(_, kind)| *kind != unwanted);
            return Some(wanted.map(|(path, _)| path).collect());
        }
        // Without a wildcard, the name is put behind every directory, whether it is there or not.
        let beneath = entries
            .into_iter()
            .filter(|(_, kind)| *kind != Kind::File)
            .map(|(path, _)| path);
        std::iter::once(root.to_vec())
            .chain(beneath)
            .map(|dir| STYLE.join(&dir, name))
            .collect()
    }
}

/// The items of a set, with their quotes.
fn items_of(set: &[Cell]) -> Vec<Vec<Cell>> {
    let mut items = Vec::new();
    let mut item: Vec<Cell> = Vec::new();
    let mut quoted = false;
    for &cell in set {
        let blank = is_delimiter(cell) || matches!(byte(cell), b'\n' | b'\r');
        if blank && !quoted {
            if !item.is_empty() {
                items.push(std::mem::take(&mut item));
            }
            continue;
        }
        quoted ^= byte(cell) == b'"';
        item.push(cell);
    }
    if !item.is_empty() {
        items.push(item);
    }
    items
}

/// A pattern as a value: each wildcard stands for a part of a name.
fn as_marks(pattern: &[Cell]) -> Vec<Cell> {
    pattern
        .iter()
        .map(|c| match byte(*c) {
            b'*' | b'?' => ANY_NAME,
            _ => *c,
        })
        .collect()
}

/// `(start,step,end)`
fn numbers(set: &[Cell]) -> Values {
    let unknown = || Values::any(vec![UNKNOWN]);
    if !is_plain(set) {
        return unknown();
    }
    let text = String::from_utf8_lossy(&bytes(set)).into_owned();
    let parts: Vec<i64> = text
        .split([',', ' ', ';', '='])
        .filter(|p| !p.is_empty())
        .map_while(|p| p.parse::<i32>().ok().map(i64::from))
        .collect();
    let [start, step, end] = parts[..] else {
        return unknown();
    };
    if step == 0 {
        return unknown();
    }
    let mut each = Vec::new();
    let mut at = start;
    while if step > 0 { at <= end } else { at >= end } {
        if each.len() > MAX_VALUES {
            return unknown();
        }
        each.push(cells(at.to_string().as_bytes()));
        at += step;
    }
    Values::complete(each)
}

/// The options of `for /f` as far as they matter here.
pub(crate) struct LineOptions {
    pub(crate) use_back_quotes: bool,
    /// Whole lines are taken as they are, not their first word.
    pub(crate) whole_lines: bool,
}

/// Reads `"usebackq tokens=* delims="`.
pub(crate) fn line_options(options: &[Cell]) -> LineOptions {
    let text = String::from_utf8_lossy(&bytes(&unquoted(options))).to_ascii_lowercase();
    let no_delimiters = text
        .split("delims=")
        .nth(1)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' ') && !rest.starts_with("  "));
    let all_tokens = text
        .split("tokens=")
        .nth(1)
        .is_some_and(|rest| rest.starts_with('*'));
    let other_tokens = text.contains("tokens=") && !all_tokens;
    LineOptions {
        use_back_quotes: text.contains("usebackq"),
        whole_lines: !other_tokens && (no_delimiters || all_tokens),
    }
}

/// What `for /f` reads.
pub(crate) enum Source {
    /// The output of a command.
    Command(Vec<Cell>),
    /// A string.
    Text(Vec<Cell>),
    /// Lines of files.
    Files,
}

/// Takes apart the set of a `for /f`.
pub(crate) fn source(set: &[Cell], options: &LineOptions) -> Source {
    let set = trim_lines(set);
    let enclosed = |quote: u8| match set {
        [first, inner @ .., last] if byte(*first) == quote && byte(*last) == quote => {
            Some(inner.to_vec())
        }
        _ => None,
    };
    let (command, text) = if options.use_back_quotes {
        (b'`', b'\'')
    } else {
        (b'\'', b'"')
    };
    if let Some(inner) = enclosed(command) {
        return Source::Command(inner);
    }
    enclosed(text).map_or(Source::Files, Source::Text)
}

fn trim_lines(set: &[Cell]) -> &[Cell] {
    let mut set = trim(set);
    while let [rest @ .., last] = set
        && matches!(byte(*last), b'\n' | b'\r')
    {
        set = trim(rest);
    }
    set
}

/// The value that a string gives, where it is the whole string or its first word.
pub(crate) fn text_value(text: &[Cell], options: &LineOptions, has_options: bool) -> Vec<Cell> {
    if options.whole_lines && !has_unknown(text) {
        return text.to_vec();
    }
    let first_word = |cells: &[Cell]| {
        let from = cells
            .iter()
            .take_while(|c| matches!(byte(**c), b' ' | b'\t'))
            .count();
        let word = cells[from..]
            .iter()
            .take_while(|c| !matches!(byte(**c), b' ' | b'\t'));
        word.copied().collect::<Vec<_>>()
    };
    if has_options || has_unknown(text) {
        return vec![UNKNOWN];
    }
    first_word(text)
}
