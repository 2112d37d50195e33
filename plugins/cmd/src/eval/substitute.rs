//! Puts in what is known only when a command runs: the variables of loops, and `!NAME!`.

use super::{Evaluator, World};
use crate::cell::{ANY_DEEP, ANY_NAME, Cell, UNKNOWN, byte, bytes, cells, is_plain};
use crate::names::{STYLE, split_last};
use crate::percent::changed;

/// The longest that a word grows by what is put in.
const MAX_CELLS: usize = 1 << 16;

impl Evaluator<'_> {
    /// `text` with the variables of loops and, where that is switched on, `!NAME!` replaced.
    pub(crate) fn substitute(&self, text: &[Cell], world: &World) -> Vec<Cell> {
        let percent = Cell::from(b'%');
        let text = if self.variables.is_empty() || !text.contains(&percent) {
            text.to_vec()
        } else {
            self.loop_variables(text, world)
        };
        if world.delayed && text.contains(&Cell::from(b'!')) {
            self.delayed(&text, world)
        } else {
            text
        }
    }

    fn loop_variables(&self, text: &[Cell], world: &World) -> Vec<Cell> {
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() && out.len() < MAX_CELLS {
            if byte(text[at]) == b'%'
                && let Some((value, used)) = self.loop_variable(&text[at + 1..], world)
            {
                out.extend(value);
                at += 1 + used;
            } else {
                out.push(text[at]);
                at += 1;
            }
        }
        out
    }

    /// The value of the variable whose name follows a `%`, and how many cells name it.
    fn loop_variable(&self, rest: &[Cell], world: &World) -> Option<(Vec<Cell>, usize)> {
        let first = byte(*rest.first()?);
        if first != b'~' {
            return Some((self.loop_value(first)?.to_vec(), 1));
        }
        let run = rest[1..].iter().take(12);
        let letters: Vec<u8> = run
            .map(|c| byte(*c))
            .take_while(u8::is_ascii_graphic)
            .collect();
        if letters.first() == Some(&b'$') {
            let colon = letters.iter().position(|b| *b == b':')?;
            self.loop_value(*letters.get(colon + 1)?)?;
            return Some((vec![UNKNOWN], colon + 3));
        }
        // The longest run of modifiers that ends with a variable.
        let modifiers = letters
            .iter()
            .take_while(|b| b"fdpnxsatz".contains(&b.to_ascii_lowercase()))
            .count();
        for length in (0..=modifiers).rev() {
            if let Some(letter) = letters.get(length)
                && let Some(value) = self.loop_value(*letter)
            {
                let kinds = letters[..length].to_ascii_lowercase();
                return Some((modified(value, &kinds, world), length + 2));
            }
        }
        None
    }

    fn loop_value(&self, letter: u8) -> Option<&[Cell]> {
        let found = self
            .variables
            .iter()
            .rev()
            .find(|(name, _)| *name == letter);
        found.map(|(_, value)| value.as_slice())
    }

    fn delayed(&self, text: &[Cell], world: &World) -> Vec<Cell> {
        let mark = Cell::from(b'!');
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        while at < text.len() && out.len() < MAX_CELLS {
            if text[at] != mark {
                out.push(text[at]);
                at += 1;
                continue;
            }
            let Some(length) = text[at + 1..].iter().position(|c| *c == mark) else {
                break;
            };
            let name = &text[at + 1..at + 1 + length];
            out.extend(self.delayed_value(name, world));
            at += length + 2;
        }
        out
    }

    fn delayed_value(&self, name: &[Cell], world: &World) -> Vec<Cell> {
        if !is_plain(name) {
            return vec![UNKNOWN];
        }
        let name = bytes(name);
        let (name, change) = match name.iter().position(|b| *b == b':') {
            Some(colon) if colon > 0 => (&name[..colon], Some(&name[colon + 1..])),
            _ => (name.as_slice(), None),
        };
        let Some(value) = self.variable(&String::from_utf8_lossy(name), world) else {
            return vec![UNKNOWN];
        };
        match change {
            None => value,
            Some(change) if is_plain(&value) => {
                changed(&bytes(&value), change).map_or_else(|| vec![UNKNOWN], |v| cells(&v))
            }
            Some(_) => vec![UNKNOWN],
        }
    }

    /// A variable's value when a command runs: what the line set, or the environment.
    pub(crate) fn variable(&self, name: &str, world: &World) -> Option<Vec<Cell>> {
        if let Some(value) = world.variables.get(&name.to_lowercase()) {
            return value.clone();
        }
        if name.eq_ignore_ascii_case("cd") {
            return world.cwd.as_deref().map(cells);
        }
        self.environment(name).map(|value| cells(&value))
    }

    /// A variable of the environment that the line starts with.
    pub(crate) fn environment(&self, name: &str) -> Option<Vec<u8>> {
        let request = self.request;
        let same = |known: &String| known.eq_ignore_ascii_case(name);
        if request.session.unknown || request.session.assigned.iter().any(same) {
            return None;
        }
        let found = request.env.iter().find(|(known, _)| same(known));
        match found {
            Some((_, value)) => Some(value.clone()),
            None if name.eq_ignore_ascii_case("userprofile") => request.home.clone(),
            None => None,
        }
    }
}

/// `%~fdpnx…` of a value.
fn modified(value: &[Cell], kinds: &[u8], world: &World) -> Vec<Cell> {
    let quote = Cell::from(b'"');
    let value: Vec<Cell> = match value {
        [first, rest @ .., last] if *first == quote && *last == quote => rest.to_vec(),
        _ => value.to_vec(),
    };
    if kinds.is_empty() {
        return value;
    }
    if kinds.iter().any(|k| b"satz".contains(k)) {
        return vec![UNKNOWN];
    }
    if !is_plain(&value) {
        return modified_mark(&value, kinds, world);
    }
    let text = bytes(&value);
    let Some(full) = full_path(&text, kinds, world) else {
        return vec![UNKNOWN];
    };
    if kinds.contains(&b'f') {
        return cells(&full);
    }
    let (dir, name) = split_last(&full);
    let dot = name.iter().rposition(|b| *b == b'.').unwrap_or(name.len());
    let drive = if dir.get(1) == Some(&b':') { 2 } else { 0 };
    let mut out = Vec::new();
    for (kind, part) in [
        (b'd', &dir[..drive]),
        (b'p', &dir[drive..]),
        (b'n', &name[..dot]),
        (b'x', &name[dot..]),
    ] {
        if kinds.contains(&kind) {
            out.extend_from_slice(part);
        }
    }
    cells(&out)
}

/// The absolute path of a value. For names alone, no directory is needed.
fn full_path(text: &[u8], kinds: &[u8], world: &World) -> Option<Vec<u8>> {
    let names_only = kinds.iter().all(|k| b"nx".contains(k));
    match world.resolve(text) {
        Some(path) => Some(path),
        None if names_only => Some(text.to_vec()),
        None => None,
    }
}

/// Modifiers of a value of which only the directory is known.
fn modified_mark(value: &[Cell], kinds: &[u8], world: &World) -> Vec<Cell> {
    let mark = value.iter().position(|c| *c >= 0x100).unwrap_or(0);
    let within = value[mark..]
        .iter()
        .all(|c| matches!(*c, ANY_NAME | ANY_DEEP) || *c < 0x100);
    if !within {
        return vec![UNKNOWN];
    }
    if kinds.iter().all(|k| b"nx".contains(k)) {
        return vec![ANY_NAME];
    }
    if kinds == b"d" {
        return vec![UNKNOWN];
    }
    let before = bytes(&value[..mark]);
    match world.resolve(split_last(&before).0) {
        Some(mut dir) => {
            if !dir.last().is_some_and(|b| STYLE.is_separator(*b)) {
                dir.push(b'\\');
            }
            let mut out = cells(&dir);
            let shallow = value[mark..]
                .iter()
                .all(|c| *c != ANY_DEEP && byte(*c) != b'\\');
            let names_itself = kinds.contains(&b'f') || kinds.contains(&b'n');
            match (shallow, names_itself) {
                (true, true) => out.push(ANY_NAME),
                (true, false) => {}
                (false, _) => out.push(ANY_DEEP),
            }
            out
        }
        None => vec![UNKNOWN],
    }
}
