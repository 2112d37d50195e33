//! One command: finds out what its name stands for.

use super::flow::{Flow, OPEN_VALUE};
use super::{Evaluator, MAX_NESTED, World};
use crate::builtins::{self, Call};
use crate::cell::{Cell, byte, bytes, cells, is_delimiter, is_plain, trim, unquoted};
use crate::syntax::Simple;
use crate::words::shown;

impl Evaluator<'_> {
    pub(crate) fn simple(&mut self, simple: &Simple, world: World) -> Flow {
        let name = self.substitute(&simple.name, &world);
        let tail = self.substitute(&simple.tail, &world);
        if simple.open {
            let text = shown(&name, &tail);
            self.add_unclear(text, world.cwd.clone(), OPEN_VALUE);
        }
        self.run(&name, &tail, world)
    }

    /// Runs the command that a text of one command holds, as `call` and `start` do.
    pub(crate) fn run_text(&mut self, text: &[Cell], world: World) -> Flow {
        let text = trim(text);
        if self.nested >= MAX_NESTED {
            self.add_unclear(bytes(text), world.cwd.clone(), "nested too deeply");
            return Flow::unchanged(world);
        }
        let mut quoted = false;
        let end = text.iter().position(|c| {
            quoted ^= byte(*c) == b'"';
            !quoted && (is_delimiter(*c) || byte(*c) == b'/')
        });
        let (name, tail) = text.split_at(end.unwrap_or(text.len()));
        self.nested += 1;
        let flow = self.run(name, tail, world);
        self.nested -= 1;
        flow
    }

    /// Runs a command, of which variables have been put in.
    pub(crate) fn run(&mut self, name: &[Cell], tail: &[Cell], world: World) -> Flow {
        let is_quoted = name.iter().any(|c| byte(*c) == b'"');
        let blank = !is_quoted && name.iter().any(|c| is_delimiter(*c));
        if !is_plain(name) || blank {
            let text = shown(name, tail);
            let cwd = world.cwd.clone();
            self.add_unclear(text, cwd, "the name of the command is not known");
            return Flow::unchanged(world);
        }
        let text = bytes(&unquoted(name));
        if text.is_empty() {
            if !trim(tail).is_empty() {
                let shown = shown(name, tail);
                self.add_unclear(shown, world.cwd.clone(), "the command has no name");
            }
            return Flow::unchanged(world);
        }
        if let [letter, b':'] = text.as_slice()
            && letter.is_ascii_alphabetic()
        {
            return self.change_drive(*letter, world);
        }
        let (builtin, glued) = if is_quoted {
            (None, &[][..])
        } else {
            builtins::named(&text)
        };
        let lower = text.to_ascii_lowercase();
        if self.is_redefined(builtin.as_ref().map_or(&lower, |b| &b.name)) {
            let shown = shown(name, tail);
            self.add_unclear(shown, world.cwd.clone(), "the name was defined anew before");
            return Flow::unchanged(world);
        }
        if let Some(builtin) = builtin
            && self.rules.user_rule(&builtin.name).is_none()
        {
            let tail = [cells(glued), tail.to_vec()].concat();
            return self.builtin(builtin.run, &builtin.name, &tail, world);
        }
        self.program(&text, name, tail, &world);
        Flow::unchanged(world)
    }

    fn builtin(&mut self, run: builtins::Run, name: &[u8], tail: &[Cell], world: World) -> Flow {
        self.rule = String::from_utf8_lossy(name).into_owned();
        match run {
            builtins::Run::Shell(run) => run(self, tail, world),
            builtins::Run::Files(run) => {
                let mut call = Call::new(self, &world, name, tail);
                run(&mut call);
                let sure = call.sure;
                Flow::kept(vec![world], sure)
            }
            builtins::Run::Nothing => Flow::kept(vec![world], true),
        }
    }

    fn is_redefined(&self, name: &[u8]) -> bool {
        let redefined = self.request.session.redefined.iter();
        let here = self.out.session.redefined.iter();
        redefined
            .chain(here)
            .any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    }
}
