//! Programs: described by tables, or by code where these cannot say it.

use deployx_plugin_sdk::Kind;
use deployx_plugin_sdk::table::{Arg, NestedCommand, Outcome, Place, Rule};

use super::{Evaluator, MAX_NESTED, World};
use crate::builtins::{self, Call};
use crate::cell::{Cell, UNKNOWN, bytes, cells};
use crate::names::{STYLE, split_last};
use crate::words::{Word, shown, split_for_program};

impl Evaluator<'_> {
    /// Runs the program `text`; `name` is the same as it stands in the line.
    pub(crate) fn program(&mut self, text: &[u8], name: &[Cell], tail: &[Cell], world: &World) {
        let program = program_name(text);
        let shown = shown(name, tail);
        if self.is_local(text, &program, world) {
            let reason = "a script, or a program that is not the system's";
            self.add_unclear(shown, world.cwd.clone(), reason);
            return;
        }
        self.rule = String::from_utf8_lossy(&program).into_owned();
        let rules = self.rules;
        if let Some(rule) = rules.user_rule(&program) {
            return self.described(rule, &program, tail, &shown, world);
        }
        match program.as_slice() {
            b"cmd" => return self.nested_cmd(tail, world),
            b"powershell" => return self.other_shell("powershell", tail, world),
            b"pwsh" => return self.other_shell("pwsh", tail, world),
            b"bash" | b"sh" => return self.other_shell("bash", tail, world),
            _ => {}
        }
        if let Some(run) = builtins::program(&program) {
            let mut call = Call::for_program(self, world, &program, tail);
            run(&mut call);
            return;
        }
        if program == b"net" {
            self.remap_by_net(tail);
        }
        match rules.own_rule(&program) {
            Some(rule) => self.described(rule, &program, tail, &shown, world),
            None => self.add_unclear(shown, world.cwd.clone(), "unknown program"),
        }
    }

    /// `net use Z: …`: from here on, the drive is what it was not before.
    fn remap_by_net(&mut self, tail: &[Cell]) {
        let words = split_for_program(tail);
        let mut texts = words.iter().filter_map(Word::text);
        let uses = texts
            .next()
            .is_some_and(|verb| verb.eq_ignore_ascii_case(b"use"));
        if !uses {
            return;
        }
        for text in texts {
            match text.as_slice() {
                [letter, b':'] => self.remapped.push(letter.to_ascii_uppercase()),
                b"*" => self.remapped.extend(b'A'..=b'Z'),
                _ => {}
            }
        }
    }

    /// Whether the name leads to a program that is not the well-known one: a script or a program
    /// given with a relative directory, or one in the working directory, which `cmd` prefers.
    fn is_local(&self, text: &[u8], program: &[u8], world: &World) -> bool {
        let dir = split_last(text).0;
        if !dir.is_empty() {
            let lower = text.to_ascii_lowercase();
            let script = lower.ends_with(b".bat") || lower.ends_with(b".cmd");
            return script || !STYLE.is_absolute(dir);
        }
        let Some(cwd) = world.cwd.as_deref() else {
            return false;
        };
        [b".com".as_slice(), b".exe", b".bat", b".cmd"]
            .iter()
            .filter_map(|extension| STYLE.join(cwd, &[program, *extension].concat()))
            .any(|path| !matches!(self.view.kind(&path), Kind::Missing | Kind::Unknown))
    }

    /// Runs what a table describes.
    fn described(
        &mut self,
        rule: &Rule,
        program: &[u8],
        tail: &[Cell],
        shown: &[u8],
        world: &World,
    ) {
        let args: Vec<Arg> = split_for_program(tail).iter().map(Word::arg).collect();
        let name = String::from_utf8_lossy(program).into_owned();
        let outcome = {
            let variable = |name: &str| {
                let value = self.variable(name, world)?;
                crate::cell::is_plain(&value).then(|| bytes(&value))
            };
            let place = Place {
                style: STYLE,
                cwd: world.cwd.as_deref(),
                home: self.request.home.as_deref(),
                variable: &variable,
                view: self.view,
            };
            rule.apply(&name, &args, &place, &self.rules.handlers)
        };
        self.take(outcome, shown, world);
    }

    fn take(&mut self, outcome: Outcome, shown: &[u8], world: &World) {
        for path in outcome.paths {
            if self.view.kind(&path.path) != Kind::File {
                self.created.push(path.path.clone());
            }
            self.add_path(path);
        }
        for reason in &outcome.unclear {
            self.add_unclear(shown.to_vec(), world.cwd.clone(), reason);
        }
        for effect in outcome.irreversible {
            self.effect(&effect.what, &effect.reason);
        }
        self.out.destructive |= outcome.destructive;
        for nested in outcome.nested {
            let mut inside = world.clone();
            if let Some(cwd) = nested.cwd {
                inside.cwd = cwd;
            }
            for (name, value) in nested.assign {
                let value = value.value().map(cells);
                inside.variables.insert(name.to_lowercase(), value);
            }
            if nested.unknown_arguments_in.is_some() {
                let cwd = inside.cwd.clone();
                self.add_unclear(shown.to_vec(), cwd, "arguments that are not known");
            }
            match nested.what {
                NestedCommand::Words(words) => self.nested_words(&words, inside),
                NestedCommand::Line { shell, text } => {
                    self.nested_line(shell.as_deref(), &text, inside);
                }
            }
        }
    }

    fn nested_words(&mut self, words: &[Arg], world: World) {
        let Some((name, rest)) = words.split_first() else {
            return;
        };
        let mut tail = Vec::new();
        for word in rest {
            tail.push(Cell::from(b' '));
            tail.extend(quoted(word));
        }
        if self.nested >= MAX_NESTED {
            self.add_unclear(bytes(&tail), world.cwd, "nested too deeply");
            return;
        }
        self.commands += 1;
        self.nested += 1;
        self.run(&quoted(name), &tail, world);
        self.nested -= 1;
    }

    fn nested_line(&mut self, shell: Option<&str>, line: &Arg, world: World) {
        let mut text = cells(&line.text);
        if line.value().is_none() {
            text.push(UNKNOWN);
        }
        match shell {
            None | Some("cmd") => self.child(&text, world),
            Some(other) => {
                let known = line.value().map(<[u8]>::to_vec);
                self.other_line(other, known, line.text.clone(), &world);
            }
        }
    }
}

/// An argument as it would stand in a line.
fn quoted(arg: &Arg) -> Vec<Cell> {
    let quote = Cell::from(b'"');
    let mut out = vec![quote];
    out.extend(cells(&arg.text));
    if arg.value().is_none() {
        out.push(UNKNOWN);
    }
    out.push(quote);
    out
}

/// The name of a program without directory and extension, in lower case.
pub(crate) fn program_name(text: &[u8]) -> Vec<u8> {
    let name = split_last(text).1.to_ascii_lowercase();
    for extension in [b".exe".as_slice(), b".com", b".cmd", b".bat"] {
        if let Some(stem) = name.strip_suffix(extension)
            && !stem.is_empty()
        {
            return stem.to_vec();
        }
    }
    name
}
