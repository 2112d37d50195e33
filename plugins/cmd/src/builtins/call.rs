//! A call of a command with its switches and operands told apart.

use deployx_plugin_sdk::{Depth, Kind};

use crate::cell::{Cell, byte, bytes};
use crate::eval::{Evaluator, Targets, World};
use crate::names::STYLE;
use crate::words::{Word, split_for_cmd, split_for_program};

/// A call.
pub(crate) struct Call<'e, 'a> {
    pub(crate) evaluator: &'e mut Evaluator<'a>,
    pub(crate) world: &'e World,
    /// Words that begin with `/`, without it.
    pub(crate) switches: Vec<Word>,
    pub(crate) operands: Vec<Word>,
    /// Every word, in order.
    pub(crate) words: Vec<Word>,
    /// What stands behind the name.
    pub(crate) tail: Vec<Cell>,
    /// It can be relied on to succeed.
    pub(crate) sure: bool,
    /// The call as it stands in the line.
    text: Vec<u8>,
}

/// What a switch such as `/s` does with an operand that is a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beneath {
    /// Everything in it is meant.
    Content,
    /// Whatever has its name is meant, at any depth.
    Names,
}

impl<'e, 'a> Call<'e, 'a> {
    /// A call of one of `cmd`'s own commands.
    pub(crate) fn new(
        evaluator: &'e mut Evaluator<'a>,
        world: &'e World,
        name: &[u8],
        tail: &[Cell],
    ) -> Self {
        let mut call = Self::empty(evaluator, world, name, tail);
        call.words = split_for_cmd(tail);
        call.doubt_several();
        for word in call.words.clone() {
            if !word.quoted && word.cells.first().is_some_and(|c| byte(*c) == b'/') {
                call.add_switches(&word);
                continue;
            }
            if !word.quoted {
                call.add_glued(&word);
            }
            call.operands.push(word);
        }
        call
    }

    /// A call of a program that takes `/x` as switches.
    pub(crate) fn for_program(
        evaluator: &'e mut Evaluator<'a>,
        world: &'e World,
        name: &[u8],
        tail: &[Cell],
    ) -> Self {
        let mut call = Self::empty(evaluator, world, name, tail);
        call.words = split_for_program(tail);
        call.doubt_several();
        for word in call.words.clone() {
            if word.cells.first().is_some_and(|c| byte(*c) == b'/') {
                call.add_switches(&word);
            } else {
                call.operands.push(word);
            }
        }
        call
    }

    fn empty(
        evaluator: &'e mut Evaluator<'a>,
        world: &'e World,
        name: &[u8],
        tail: &[Cell],
    ) -> Self {
        Self {
            evaluator,
            world,
            switches: Vec::new(),
            operands: Vec::new(),
            words: Vec::new(),
            tail: tail.to_vec(),
            sure: false,
            text: [name, b" ", bytes(tail).trim_ascii()].concat(),
        }
    }

    /// What is not known and not in quotes may be several words.
    fn doubt_several(&mut self) {
        let several = |word: &Word| !word.quoted && word.cells.iter().any(|c| *c >= 0x100);
        if self.words.iter().any(several) {
            self.unclear("a value that is not known may be several words");
        }
    }

    /// `/s/q` is two switches; the value of one (`/log:a/b`) stays together.
    fn add_switches(&mut self, word: &Word) {
        let mut current: Vec<Cell> = Vec::new();
        let mut has_value = false;
        for &cell in &word.cells[1..] {
            if byte(cell) == b'/' && !has_value {
                self.push_switch(std::mem::take(&mut current), word.quoted);
                continue;
            }
            has_value |= byte(cell) == b':' && current.len() > 1;
            current.push(cell);
        }
        self.push_switch(current, word.quoted);
    }

    fn push_switch(&mut self, cells: Vec<Cell>, quoted: bool) {
        self.switches.push(Word { cells, quoted });
    }

    /// `x/q` may be `x` with a switch as well as a path: both are taken.
    fn add_glued(&mut self, word: &Word) {
        let pieces: Vec<&[Cell]> = word.cells.split(|c| byte(*c) == b'/').collect();
        let short = |piece: &[Cell]| (1..=2).contains(&piece.len());
        if pieces.len() > 1 && pieces[1..].iter().all(|piece| short(piece)) {
            self.operands.push(Word {
                cells: pieces[0].to_vec(),
                quoted: false,
            });
            for piece in &pieces[1..] {
                self.push_switch(piece.to_vec(), false);
            }
        }
    }

    /// Whether the switch was given, with or without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|s| is_named(s, name))
    }

    /// The value of `/name:value`.
    pub(crate) fn value(&self, name: &str) -> Option<Word> {
        let switch = self.switches.iter().find(|s| is_named(s, name))?;
        let colon = switch.cells.iter().position(|c| byte(*c) == b':')?;
        Some(Word {
            cells: switch.cells[colon + 1..].to_vec(),
            quoted: true,
        })
    }

    /// Whether every switch is one of `known`; otherwise the call is not understood.
    pub(crate) fn expect(&mut self, known: &[&str]) -> bool {
        let understood = self
            .switches
            .iter()
            .all(|switch| known.iter().any(|name| is_named(switch, name)));
        if !understood {
            self.unclear("a switch that is not known");
        }
        understood
    }

    pub(crate) fn unclear(&mut self, reason: &str) {
        let (text, cwd) = (self.text.clone(), self.world.cwd.clone());
        self.evaluator.add_unclear(text, cwd, reason);
    }

    /// What an operand names; doubts are noted.
    pub(crate) fn targets(&mut self, word: &Word) -> Targets {
        let targets = self.evaluator.targets(self.world, word);
        self.evaluator
            .note_doubt(&targets, self.text.clone(), self.world);
        targets
    }

    /// What an operand names in its directory and in every directory beneath.
    pub(crate) fn beneath(&mut self, word: &Word, directory: Beneath) -> Targets {
        let mut targets = self.targets(word);
        for (_, deep) in &mut targets.within {
            *deep = true;
        }
        let Some(text) = word.text().filter(|_| targets.doubt.is_none()) else {
            return targets;
        };
        if text.is_empty() || crate::names::is_device(&text) {
            return targets;
        }
        let (dir, pattern) = crate::names::split_last(&text);
        let from = match targets.known.as_slice() {
            [(path, Kind::Directory | Kind::Link)]
                if !targets.pattern && directory == Beneath::Content =>
            {
                Some((path.clone(), b"*".to_vec()))
            }
            _ if crate::names::has_wildcard(dir) => None,
            _ => self.world.resolve(dir).map(|dir| (dir, pattern.to_vec())),
        };
        targets.pattern = true;
        let Some((dir, pattern)) = from else {
            return targets;
        };
        match self.evaluator.walk(&dir, &pattern) {
            Some(found) => targets.known = found,
            None => {
                targets.known.clear();
                targets.within = vec![(dir, true)];
            }
        }
        targets
    }

    pub(crate) fn kind_behind(&self, path: &[u8]) -> Kind {
        STYLE.kind_behind(self.evaluator.view, path)
    }

    /// Notes a file that the call writes, such as a log.
    pub(crate) fn write_word(&mut self, word: &Word, reason: &str) {
        let targets = self.targets(word);
        for (path, _) in &targets.known {
            self.evaluator.write(path, reason);
        }
        self.evaluator
            .note_within(&targets, Depth::Children, reason);
    }

    /// Notes that attributes of entries change.
    pub(crate) fn change(&mut self, targets: &Targets, deep: bool, reason: &str) {
        let depth = if deep { Depth::Tree } else { Depth::Entry };
        for (path, _) in &targets.known {
            self.evaluator.touch(path, depth, true, reason);
        }
        let shallow = if deep { Depth::Tree } else { Depth::Children };
        self.evaluator.note_within(targets, shallow, reason);
    }
}

/// Whether a switch is `name`, `name:value`, `name+:value` or, for single letters such as `/a`,
/// `name` with attributes glued to it.
fn is_named(switch: &Word, name: &str) -> bool {
    let text = bytes(&switch.cells).to_ascii_lowercase();
    match text.strip_prefix(name.as_bytes()) {
        Some(rest) => rest.is_empty() || matches!(rest[0], b':' | b'+' | b'='),
        None => false,
    }
}

/// The current directory as an operand.
pub(crate) fn here() -> Word {
    Word {
        cells: vec![Cell::from(b'.')],
        quoted: true,
    }
}

/// A word of a text that is known.
pub(crate) fn word(text: &[u8]) -> Word {
    Word {
        cells: crate::cell::cells(text),
        quoted: true,
    }
}
