//! Simple commands: which command a name means, and what it does.

use std::collections::HashSet;
use std::rc::Rc;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Known, Nested, NestedCommand, Outcome, Place};
use deployx_plugin_sdk::{Depth, FileView, Kind, PathUse};

use crate::builtins::is_declaration;
use crate::dialect::Dialect;
use crate::evaluate::{Evaluator, rejoin};
use crate::state::{Cwd, Exit, Value, Variable, World};
use crate::syntax::{AssignedValue, Assignment, Index, Node, Simple};

/// Directories whose programs are known by their names.
const PROGRAM_DIRECTORIES: [&[u8]; 9] = [
    b"/bin/",
    b"/sbin/",
    b"/usr/bin/",
    b"/usr/sbin/",
    b"/usr/local/bin/",
    b"/usr/local/sbin/",
    b"/opt/homebrew/bin/",
    b"/run/current-system/sw/bin/",
    b"/snap/bin/",
];

/// Values of such variables that change nothing.
const PLAIN_PROGRAMS: [&[u8]; 9] = [
    b"", b":", b"cat", b"less", b"more", b"nano", b"true", b"vi", b"vim",
];

/// Variables that make a program do something else, or start another one.
fn variables_of(program: &[u8]) -> &'static [&'static str] {
    match program {
        b"tar" => &["TAR_OPTIONS"],
        b"cp" | b"mv" | b"ln" | b"install" | b"patch" => {
            &["SIMPLE_BACKUP_SUFFIX", "VERSION_CONTROL"]
        }
        b"unzip" => &["UNZIP", "UNZIPOPT"],
        b"zip" => &["ZIP", "ZIPOPT"],
        b"gzip" | b"gunzip" => &["GZIP"],
        b"xz" | b"unxz" => &["XZ_OPT", "XZ_DEFAULTS"],
        b"perl" => &["PERL5OPT"],
        b"less" | b"man" => &["LESSOPEN", "LESSEDIT", "MANPAGER"],
        b"git" => &[
            "EDITOR",
            "VISUAL",
            "PAGER",
            "GIT_PAGER",
            "GIT_EDITOR",
            "GIT_SEQUENCE_EDITOR",
            "GIT_EXTERNAL_DIFF",
            "GIT_SSH_COMMAND",
            "GIT_ASKPASS",
            "GIT_CONFIG_COUNT",
            "GIT_CONFIG_PARAMETERS",
            "GIT_EXEC_PATH",
        ],
        _ => &[],
    }
}

/// A call of a command.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The call's text, for messages.
    pub(crate) text: &'a [u8],
    /// It is started by another program: functions and most builtins are not meant.
    pub(crate) external: bool,
    /// Functions are passed over (`command`, `builtin`).
    pub(crate) no_functions: bool,
    /// What is read from standard input, where it is known.
    pub(crate) input: Option<&'a Value>,
}

impl Evaluator<'_> {
    /// Runs a simple command.
    pub(crate) fn simple(&mut self, simple: &Simple, mut world: World) -> Exit {
        if !self.step() {
            return Exit::either(vec![world]);
        }
        if let Some(first) = simple.words.first()
            && is_declaration(&world, &first.raw)
        {
            return self.declaration(simple, world);
        }
        let options_known = world.options.are_known(self.request);
        let dialect = self.dialect;
        let otherwise = |raw: &[u8]| dialect.reads_otherwise(raw, options_known);
        if simple.words.iter().any(|word| otherwise(&word.raw)) {
            self.unclear(
                &world,
                &simple.text,
                "this shell reads a word in its own way",
            );
        }
        let arguments = self.arguments(&mut world, &simple.words);
        let mut input = None;
        for redirect in &simple.redirects {
            if let crate::syntax::Redirect::Here { content } = redirect {
                input = Some(self.value(&mut world, content));
            } else {
                self.redirect(&mut world, redirect);
            }
        }
        if arguments.is_empty() {
            for assignment in &simple.assignments {
                self.assign(&mut world, assignment);
            }
            let substituted = simple.text.iter().any(|b| b"$`".contains(b));
            return if substituted {
                Exit::either(vec![world])
            } else {
                Exit {
                    worked: vec![world],
                    failed: Vec::new(),
                }
            };
        }
        let call = Call {
            text: &simple.text,
            external: false,
            no_functions: false,
            input: input.as_ref(),
        };
        if simple.assignments.is_empty() {
            return self.call(world, &arguments, call);
        }
        self.with_assignments(simple, world, &arguments, call)
    }

    /// `a=b command`: the variables are set for the command only.
    fn with_assignments(
        &mut self,
        simple: &Simple,
        mut world: World,
        arguments: &[Arg],
        call: Call<'_>,
    ) -> Exit {
        let before = Rc::clone(&world.variables);
        for assignment in &simple.assignments {
            self.assign(&mut world, assignment);
            if let Some(variable) = Rc::make_mut(&mut world.variables).get_mut(&assignment.name) {
                variable.exported = true;
            }
        }
        let mut exit = self.call(world, arguments, call);
        for world in exit.worked.iter_mut().chain(&mut exit.failed) {
            let variables = Rc::make_mut(&mut world.variables);
            for assignment in &simple.assignments {
                // In plain POSIX shells they stay after some builtins; that is rare and unknown.
                let restored = match before.get(&assignment.name) {
                    Some(variable) if self.dialect != Dialect::Dash => Some(variable.clone()),
                    None if self.dialect != Dialect::Dash => None,
                    _ => Some(Variable::unknown()),
                };
                match restored {
                    Some(variable) => variables.insert(assignment.name.clone(), variable),
                    None => variables.remove(&assignment.name),
                };
            }
        }
        exit
    }

    /// Sets a variable as `name=value` says.
    pub(crate) fn assign(&mut self, world: &mut World, assignment: &Assignment) {
        let old = |evaluator: &Self, world: &World| evaluator.named(world, &assignment.name);
        let value = match &assignment.value {
            AssignedValue::Word(word) => {
                let value = self.value(world, word);
                if let Some(subscript) = &assignment.subscript {
                    let at = self.arithmetic(world, subscript);
                    set_element(old(self, world), at, value)
                } else if self.dialect != Dialect::Zsh
                    && !assignment.append
                    && let old @ Value::List(_) = old(self, world)
                {
                    set_element(old, Some(0), value)
                } else if assignment.append {
                    append(&old(self, world), &value)
                } else {
                    value
                }
            }
            AssignedValue::Array(words) => {
                let arguments = self.arguments(world, words);
                let several = |arg: &Arg| matches!(arg.known, Known::Several | Known::Pattern);
                if arguments.iter().any(several) {
                    Value::Unknown
                } else {
                    let added = arguments.iter().map(Self::value_of);
                    match (assignment.append, old(self, world)) {
                        (false, _) => Value::List(added.collect()),
                        (true, Value::List(values)) => {
                            Value::List(values.into_iter().chain(added).collect())
                        }
                        _ => Value::Unknown,
                    }
                }
            }
            AssignedValue::Unreadable => Value::Unknown,
        };
        let harmless = match assignment.name.as_str() {
            "BASH_CMDS" | "BASH_ALIASES" => false,
            // It is expanded before every command where `set -x` is on.
            "PS4" => {
                matches!(&value, Value::Known(text) if !text.iter().any(|b| b"$`".contains(b)))
            }
            _ => true,
        };
        if !harmless {
            let text = assignment.name.clone().into_bytes();
            self.unclear(world, &text, "a variable changes what commands do");
        }
        world.assign(&assignment.name, value);
    }

    /// Runs a command given as its arguments.
    pub(crate) fn call(&mut self, world: World, arguments: &[Arg], call: Call<'_>) -> Exit {
        let Some((name, rest)) = arguments.split_first() else {
            return Exit::either(vec![world]);
        };
        let Some(name) = name.value() else {
            self.unclear_call(&world, arguments, call, "the command's name is not known");
            return Exit::either(vec![world]);
        };
        if name.is_empty() {
            return Exit {
                worked: Vec::new(),
                failed: vec![world],
            };
        }
        if !call.external {
            let text = String::from_utf8_lossy(name);
            let redefined = self
                .request
                .session
                .redefined
                .iter()
                .chain(world.redefined.iter());
            if !call.no_functions {
                if let Some(body) = world.functions.get(text.as_ref()).cloned()
                    && !world.redefined.iter().any(|n| *n == text)
                {
                    return self.function(&body, world, rest, call);
                }
                if redefined.into_iter().any(|n| *n == text) {
                    let reason = format!("'{text}' was redefined");
                    self.unclear_call(&world, arguments, call, &reason);
                    return Exit::either(vec![world]);
                }
            }
        }
        let known = PROGRAM_DIRECTORIES
            .iter()
            .find_map(|directory| name.strip_prefix(*directory))
            .filter(|name| !name.contains(&b'/'));
        let plain = known.unwrap_or(name);
        if known.is_none() && !call.external {
            match self.builtin(plain, rest, world, call) {
                Ok(exit) => return exit,
                Err(world) => return self.program(plain, arguments, *world, call),
            }
        }
        self.program(plain, arguments, world, call)
    }

    /// Runs a function with its arguments.
    fn function(
        &mut self,
        body: &Rc<Node>,
        mut world: World,
        rest: &[Arg],
        call: Call<'_>,
    ) -> Exit {
        let positional = world.positional.take();
        let values: Vec<Value> = rest.iter().map(Self::value_of).collect();
        let countable = !rest
            .iter()
            .any(|arg| matches!(arg.known, Known::Several | Known::Pattern));
        world.positional = countable.then(|| Rc::new(values));
        let loops = std::mem::take(&mut self.loops);
        let hidden = std::mem::take(&mut world.hidden);
        self.returns.push(Vec::new());
        let start = world.clone();
        let exit = self.nested(&world, call.text, |evaluator| {
            evaluator.run(body, vec![start])
        });
        let mut exit = exit.unwrap_or_else(|| Exit::either(vec![world]));
        let returned = self.returns.pop().unwrap_or_default();
        rejoin(&mut exit, returned);
        self.loops = loops;
        for world in exit.worked.iter_mut().chain(&mut exit.failed) {
            world.positional.clone_from(&positional);
            world.unhide(&hidden);
        }
        exit
    }

    /// Runs a program that the tables describe.
    fn program(&mut self, name: &[u8], arguments: &[Arg], world: World, call: Call<'_>) -> Exit {
        if let Some(dialects) = std::str::from_utf8(name).ok().and_then(Dialect::readings) {
            return self.shell(dialects[0], arguments, world, call);
        }
        let Some(rule) = self.commands.rule(name) else {
            let reason = format!("unknown program '{}'", String::from_utf8_lossy(name));
            self.unclear_call(&world, arguments, call, &reason);
            return Exit::either(vec![world]);
        };
        if self.is_shadowed(&world, name) {
            let reason = "PATH leads to a program of the line's own";
            self.unclear_call(&world, arguments, call, reason);
        }
        let redirecting = |name: &&&str| match self.named(&world, name).scalar() {
            Value::Known(text) if matches!(**name, "EDITOR" | "VISUAL" | "PAGER") => {
                world.variables.contains_key(**name) && !PLAIN_PROGRAMS.contains(&text.as_slice())
            }
            Value::Known(text) => !PLAIN_PROGRAMS.contains(&text.as_slice()),
            Value::Unset => false,
            _ => world.variables.contains_key(**name),
        };
        if let Some(variable) = variables_of(name).iter().find(redirecting) {
            let reason = format!(
                "{variable} changes what '{}' does",
                String::from_utf8_lossy(name)
            );
            self.unclear_call(&world, arguments, call, &reason);
        }
        let home = match self.named(&world, "HOME") {
            Value::Known(home) => Some(home),
            _ => None,
        };
        let variable = |name: &str| match self.named(&world, name).scalar() {
            Value::Known(text) => Some(text),
            _ => None,
        };
        let place = Place {
            style: Style::Unix,
            cwd: world.cwd.physical(),
            home: home.as_deref(),
            variable: &variable,
            view: self.view,
        };
        let shown = String::from_utf8_lossy(name);
        let outcome = rule.apply(&shown, &arguments[1..], &place, self.commands.handlers());
        self.take(outcome, &shown, arguments, &world, call);
        Exit::either(vec![world])
    }

    /// Whether a `PATH` that the line has set may lead to another program of that name.
    fn is_shadowed(&self, world: &World, name: &[u8]) -> bool {
        if self.dialect == Dialect::Zsh && world.variables.contains_key("path") {
            return true;
        }
        let (text, all) = match world.variables.get("PATH").map(|v| &v.value) {
            None => return false,
            Some(Value::Known(text)) => (text, true),
            Some(Value::Begins(text)) => (text, false),
            Some(_) => return true,
        };
        let mut directories: Vec<&[u8]> = text.split(|b| *b == b':').collect();
        if !all {
            // What follows is taken to be the path as it was.
            directories.pop();
        }
        directories.into_iter().any(|directory| {
            let mut prefix = directory.to_vec();
            prefix.push(b'/');
            if PROGRAM_DIRECTORIES.contains(&prefix.as_slice()) {
                return false;
            }
            let place = self.locate(world, directory);
            let program = place.and_then(|place| Style::Unix.join(&place, name));
            program.is_none_or(|path| self.view.kind(&path) != Kind::Missing)
        })
    }

    /// Takes over what a rule made of a call.
    fn take(
        &mut self,
        outcome: Outcome,
        name: &str,
        arguments: &[Arg],
        world: &World,
        call: Call<'_>,
    ) {
        let linking = matches!(name, "ln" | "mv" | "cp" | "rsync").then(|| outcome.paths.clone());
        for path in outcome.paths {
            self.touch(world, path);
        }
        if let Some(paths) = linking {
            self.note_links(name, arguments, world, &paths);
        }
        for effect in outcome.irreversible {
            self.answer.irreversible(&effect.what, effect.reason);
        }
        if outcome.destructive {
            self.answer.destructive();
        }
        for reason in outcome.unclear {
            self.unclear_call(world, arguments, call, &reason);
        }
        for nested in outcome.nested {
            self.nested_command(nested, name, world, call);
        }
    }

    /// Notes where a command that makes, copies or moves links may have put some.
    fn note_links(&self, name: &str, arguments: &[Arg], world: &World, paths: &[PathUse]) {
        let targets = || {
            let made = |used: &&PathUse| used.depth != Depth::Entry || !used.follow;
            paths.iter().filter(made).map(|used| used.path.as_slice())
        };
        let given = |letters: &[u8], long: &[&[u8]]| {
            arguments[1..]
                .iter()
                .any(|arg| match arg.text.strip_prefix(b"--") {
                    Some(text) => long.iter().any(|name| text.starts_with(name)),
                    None => {
                        arg.text.starts_with(b"-") && arg.text.iter().any(|b| letters.contains(b))
                    }
                })
        };
        let linking = match name {
            "ln" => true,
            "cp" => given(b"ls", &[b"link", b"sym"]),
            "rsync" => given(b"", &[b"link-dest"]),
            _ => false,
        };
        if linking {
            // Written through, a hard link changes its other names.
            for path in targets() {
                self.view.link(path);
            }
            return;
        }
        if name == "cp" && !given(b"adPRr", &[b"a", b"no-d", b"preserve", b"rec"]) {
            return;
        }
        for source in arguments[1..].iter().filter_map(Arg::value) {
            if let Some(source) = self.locate(world, source) {
                targets()
                    .filter(|path| *path != source)
                    .for_each(|path| self.view.moved(&source, path));
            }
        }
    }

    /// Runs a command that another one starts.
    fn nested_command(&mut self, nested: Nested, by: &str, world: &World, call: Call<'_>) {
        let mut world = world.clone();
        match nested.cwd {
            None => {}
            Some(Some(path)) => {
                world.cwd = Cwd::Known {
                    logical: path.clone(),
                    physical: path,
                };
            }
            Some(None) => world.cwd = Cwd::Unknown,
        }
        if matches!(
            by,
            "sudo" | "doas" | "su" | "runuser" | "pkexec" | "machinectl"
        ) {
            // The other user's environment and home.
            crate::evaluate::forget_variables(&mut world);
            world.assign("HOME", Value::Unknown);
        }
        for (name, value) in &nested.assign {
            world.assign(name, Self::value_of(value));
            if let Some(variable) = Rc::make_mut(&mut world.variables).get_mut(name) {
                variable.exported = true;
            }
        }
        let inner = Call {
            external: true,
            no_functions: true,
            ..call
        };
        let text = call.text;
        let outer = world.clone();
        self.nested(&outer, text, |evaluator| match nested.what {
            NestedCommand::Words(mut arguments) => {
                arguments.extend(unknown_arguments(nested.unknown_arguments_in));
                evaluator.call(world, &arguments, inner);
            }
            NestedCommand::Line { shell, text } => {
                let readings = match &shell {
                    None => Some(evaluator.dialect),
                    Some(shell) => Dialect::readings(shell).map(|readings| readings[0]),
                };
                match (readings, text.value()) {
                    (Some(dialect), Some(line)) => {
                        let mut world = world;
                        world.options = crate::state::Options::default();
                        evaluator.shell_line(dialect, line, &world, None);
                    }
                    _ => {
                        let reason = "a command line within the command is not known";
                        evaluator.unclear_call(&world, std::slice::from_ref(&text), inner, reason);
                    }
                }
            }
        });
    }

    /// Says that a call was not understood, with the words that it has after expansion.
    pub(crate) fn unclear_call(
        &mut self,
        world: &World,
        arguments: &[Arg],
        call: Call<'_>,
        reason: &str,
    ) {
        let mut text = call.text.to_vec();
        let mut standing: HashSet<&[u8]> = call.text.split(u8::is_ascii_whitespace).collect();
        for argument in arguments {
            if argument.text.is_empty() || !standing.insert(&argument.text) {
                continue;
            }
            if !text.is_empty() {
                text.push(b' ');
            }
            if argument.text.iter().any(|b| b" \t\n'\"\\".contains(b)) {
                text.extend(quoted(&argument.text));
            } else {
                text.extend_from_slice(&argument.text);
            }
        }
        self.unclear(world, &text, reason);
    }

    /// The element of an array or a plain variable, for builtins that name one.
    pub(crate) fn plain(&mut self, world: &mut World, name: &str) -> Value {
        self.variable(world, name, &Index::None).scalar()
    }
}

/// Arguments that are not known but name something in these trees.
fn unknown_arguments(trees: Option<Vec<Vec<u8>>>) -> Vec<Arg> {
    let Some(trees) = trees else {
        return Vec::new();
    };
    if trees.is_empty() {
        return vec![Arg {
            text: Vec::new(),
            known: Known::Several,
        }];
    }
    let pattern = |tree: Vec<u8>| {
        let mut text = tree;
        if text.last() != Some(&b'/') {
            text.push(b'/');
        }
        text.extend_from_slice(b"**/*");
        Arg {
            text,
            known: Known::Pattern,
        }
    };
    trees.into_iter().map(pattern).collect()
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in text {
        if *byte == b'\'' {
            quoted.extend_from_slice(b"'\\''");
        } else {
            quoted.push(*byte);
        }
    }
    quoted.push(b'\'');
    quoted
}

fn append(old: &Value, more: &Value) -> Value {
    match (old, more) {
        (Value::Known(old), Value::Known(more)) => Value::known([old.as_slice(), more].concat()),
        (Value::Unset, more) => more.clone(),
        (Value::Known(old), Value::Begins(more)) => Value::Begins([old.as_slice(), more].concat()),
        (Value::Known(old) | Value::Begins(old), _) => Value::Begins(old.clone()),
        _ => Value::Begins(Vec::new()),
    }
}

fn set_element(old: Value, at: Option<i64>, value: Value) -> Value {
    let mut values = match old {
        Value::List(values) => values,
        Value::Unset => Vec::new(),
        Value::Known(text) => vec![Value::Known(text)],
        _ => return Value::Unknown,
    };
    let Some(at) = at.and_then(|at| usize::try_from(at).ok()) else {
        return Value::Unknown;
    };
    match at.cmp(&values.len()) {
        std::cmp::Ordering::Less => values[at] = value,
        std::cmp::Ordering::Equal => values.push(value),
        std::cmp::Ordering::Greater => return Value::Unknown,
    }
    Value::List(values)
}
