//! Lines within a line: `cmd /c`, `start`, `call`, and lines of other shells.

use deployx_plugin_sdk::Request;

use super::flow::Flow;
use super::{Evaluator, MAX_NESTED, World};
use crate::cell::{Cell, byte, bytes, is_plain, trim};
use crate::parse::parse;
use crate::words::{Word, split_for_program};

impl Evaluator<'_> {
    /// Runs a line in a `cmd` of its own.
    pub(crate) fn child(&mut self, text: &[Cell], world: World) {
        if self.nested >= MAX_NESTED {
            self.add_unclear(bytes(text), world.cwd, "nested too deeply");
            return;
        }
        self.nested += 1;
        let (list, error) = parse(text);
        if let Some(error) = error {
            self.add_unclear(bytes(text), world.cwd.clone(), error);
        }
        let before = self.out.session.clone();
        let rule = self.rule.clone();
        self.list(&list, &[world]);
        self.out.session = before;
        self.rule = rule;
        self.nested -= 1;
    }

    /// `cmd …`
    pub(crate) fn nested_cmd(&mut self, tail: &[Cell], world: &World) {
        let mut world = world.clone();
        let mut rest = trim(tail);
        loop {
            let letter = match rest {
                [slash, letter, ..] if byte(*slash) == b'/' => byte(*letter).to_ascii_lowercase(),
                _ => 0,
            };
            match letter {
                b'c' | b'k' | b'r' => {
                    self.child(&without_outer_quotes(trim(&rest[2..])), world);
                    return;
                }
                0 => break,
                _ => {
                    let end = rest[1..]
                        .iter()
                        .position(|c| matches!(byte(*c), b' ' | b'\t' | b'/'))
                        .map_or(rest.len(), |at| at + 1);
                    let switch = bytes(&rest[..end]).to_ascii_lowercase();
                    if letter == b'v' {
                        world.delayed = switch != b"/v:off";
                    }
                    rest = trim(&rest[end..]);
                }
            }
        }
        let text = [b"cmd ".as_slice(), &bytes(tail)].concat();
        self.add_unclear(
            text,
            world.cwd,
            "the shell reads its commands from its input",
        );
    }

    /// `call`
    pub(crate) fn call(&mut self, tail: &[Cell], world: World) -> Flow {
        let text = trim(tail);
        let shown = [b"call ".as_slice(), &bytes(text)].concat();
        if text.is_empty() {
            return Flow::unchanged(world);
        }
        if byte(text[0]) == b':' {
            self.add_unclear(shown, world.cwd.clone(), "a label is called");
            return Flow::unchanged(world);
        }
        if text.iter().any(|c| byte(*c) == b'%') {
            self.add_unclear(shown, world.cwd.clone(), "variables are replaced twice");
        }
        self.run_text(text, world)
    }

    /// `start`
    pub(crate) fn start(&mut self, tail: &[Cell], world: World) -> Flow {
        let mut inside = world.clone();
        let mut rest = trim(tail);
        let mut titled = false;
        loop {
            let (word, behind) = rest.split_at(end_of_word(rest));
            match rest.first().map(|c| byte(*c)) {
                Some(b'"') if !titled => {
                    titled = true;
                    rest = trim(behind);
                }
                Some(b'/') => {
                    let switch = bytes(word).to_ascii_lowercase();
                    rest = trim(behind);
                    match switch.as_slice() {
                        b"/d" | b"/affinity" | b"/node" | b"/machine" => {
                            let (value, behind) = rest.split_at(end_of_word(rest));
                            if switch == b"/d" {
                                start_in(value, &mut inside);
                            }
                            rest = trim(behind);
                        }
                        [b'/', b'd', ..] => start_in(&word[2..], &mut inside),
                        _ => {}
                    }
                }
                _ => break,
            }
        }
        if !rest.is_empty() {
            self.run_text(rest, inside);
        }
        Flow::unchanged(world)
    }

    /// A call of another shell.
    pub(crate) fn other_shell(&mut self, shell: &str, tail: &[Cell], world: &World) {
        let line = if !is_plain(tail) {
            None
        } else if matches!(shell, "powershell" | "pwsh") {
            power_shell_line(tail)
        } else {
            posix_line(tail)
        };
        let shown = [shell.as_bytes(), b" ", &bytes(trim(tail))].concat();
        self.other_line(shell, line, shown, world);
    }

    /// A line of another shell, where it can be read.
    pub(crate) fn other_line(
        &mut self,
        shell: &str,
        line: Option<Vec<u8>>,
        shown: Vec<u8>,
        world: &World,
    ) {
        let answered = line.and_then(|line| self.ask_other(shell, line, world));
        if answered.is_none() {
            self.add_unclear(shown, world.cwd.clone(), "a line of another shell");
        }
    }

    /// Hands a line to the rule set of another shell. `None` where there is none.
    fn ask_other(&mut self, shell: &str, line: Vec<u8>, world: &World) -> Option<()> {
        let nested = self.rules.nested.as_ref()?;
        let request = Request {
            shell: shell.into(),
            command: line,
            cwd: world.cwd.clone()?,
            ..self.request.clone()
        };
        let answer = nested(&request, self.view)?;
        for path in answer.paths {
            self.created.push(path.path.clone());
            self.add_path(path);
        }
        for unclear in answer.unclear {
            let cwd = unclear.cwd.or_else(|| world.cwd.clone());
            self.add_unclear(unclear.text, cwd, &unclear.reason);
        }
        for effect in answer.irreversible {
            self.effect(&effect.what, &effect.reason);
        }
        self.out.destructive |= answer.destructive;
        Some(())
    }
}

fn start_in(directory: &[Cell], world: &mut World) {
    let directory = crate::cell::unquoted(directory);
    world.cwd = if is_plain(&directory) {
        world.resolve(&bytes(&directory))
    } else {
        None
    };
}

fn end_of_word(cells: &[Cell]) -> usize {
    let mut quoted = false;
    cells
        .iter()
        .position(|c| {
            quoted ^= byte(*c) == b'"';
            !quoted && matches!(byte(*c), b' ' | b'\t')
        })
        .unwrap_or(cells.len())
}

/// What `/c` runs: where it begins with a quote, that and the last one go.
fn without_outer_quotes(text: &[Cell]) -> Vec<Cell> {
    match text {
        [first, rest @ ..] if byte(*first) == b'"' => {
            let mut rest = rest.to_vec();
            if let Some(last) = rest.iter().rposition(|c| byte(*c) == b'"') {
                rest.remove(last);
            }
            rest
        }
        _ => text.to_vec(),
    }
}

/// The commands of `powershell -Command …`.
fn power_shell_line(tail: &[Cell]) -> Option<Vec<u8>> {
    const FLAGS: [&[u8]; 6] = [
        b"noprofile",
        b"nologo",
        b"noninteractive",
        b"noexit",
        b"sta",
        b"mta",
    ];
    const VALUED: [&[u8]; 5] = [
        b"executionpolicy",
        b"ep",
        b"windowstyle",
        b"version",
        b"inputformat",
    ];
    let words = split_for_program(tail);
    let mut at = 0;
    while at < words.len() {
        let word = words[at].text()?.to_ascii_lowercase();
        let Some(name) = word.strip_prefix(b"-").or_else(|| word.strip_prefix(b"/")) else {
            break;
        };
        if b"command".starts_with(name) && !name.is_empty() {
            at += 1;
            break;
        }
        let is_one_of = |all: &[&[u8]]| all.iter().any(|known| known.starts_with(name));
        if is_one_of(&FLAGS) {
            at += 1;
        } else if is_one_of(&VALUED) {
            at += 2;
        } else {
            return None;
        }
    }
    let texts: Option<Vec<_>> = words.get(at..)?.iter().map(Word::text).collect();
    let line = texts?.join(&b' ');
    (!line.is_empty() && line != b"-").then_some(line)
}

/// The line of `bash -c "…"`.
fn posix_line(tail: &[Cell]) -> Option<Vec<u8>> {
    let words = split_for_program(tail);
    let at = words.iter().position(|w| {
        w.text().is_some_and(|text| {
            matches!(text.as_slice(), b"-c" | b"-lc" | b"-ec" | b"-xc" | b"-exc")
        })
    })?;
    let only_flags = words[..at]
        .iter()
        .all(|w| w.text().is_some_and(|text| text.starts_with(b"-")));
    only_flags.then(|| words.get(at + 1)?.text())?
}
