//! Builtins that run something, or leave something early; shells within the shell.

use std::rc::Rc;

use deployx_plugin_sdk::table::{Arg, Known};

use super::variables::EXPORTED_FUNCTION;
use super::worked;
use crate::command::Call;
use crate::dialect::Dialect;
use crate::evaluate::{Evaluator, forget_variables};
use crate::state::{Cwd, Exit, Options, Value, World, merge};

impl Evaluator<'_> {
    pub(super) fn eval(&mut self, rest: &[Arg], mut world: World, call: Call<'_>) -> Exit {
        let values: Option<Vec<&[u8]>> = rest.iter().map(Arg::value).collect();
        let Some(values) = values else {
            self.unclear_call(&world, rest, call, "what 'eval' runs is not known");
            forget_variables(&mut world);
            return Exit::either(vec![world]);
        };
        let line = values.join(&b' ');
        let Some(node) = self.parsed(&world, &line) else {
            forget_variables(&mut world);
            return Exit::either(vec![world]);
        };
        let start = world.clone();
        let exit = self.nested(&world, &line, |evaluator| evaluator.run(&node, vec![start]));
        exit.unwrap_or_else(|| Exit::either(vec![world]))
    }

    pub(super) fn source(&mut self, rest: &[Arg], mut world: World, call: Call<'_>) -> Exit {
        self.unclear_call(&world, rest, call, "a sourced file may do anything");
        forget_variables(&mut world);
        Exit::either(vec![world])
    }

    /// The commands of a trap run later, at the end at least.
    pub(super) fn trap(&mut self, rest: &[Arg], mut world: World, call: Call<'_>) -> Exit {
        let operands: Vec<&Arg> = rest
            .iter()
            .skip_while(|arg| matches!(arg.value(), Some(b"--" | b"-p" | b"-l")))
            .collect();
        if let [action, signals @ ..] = operands.as_slice()
            && !signals.is_empty()
        {
            let at_end = signals
                .iter()
                .all(|signal| matches!(signal.value(), Some(b"EXIT" | b"0")));
            match action.value() {
                Some(b"" | b"-") => {}
                Some(line) if !at_end && changes_shell(line) => {
                    self.unclear_call(&world, rest, call, "a trap changes the shell at any time");
                    forget_variables(&mut world);
                    world.cwd = Cwd::Unknown;
                }
                Some(line) => {
                    if !self.traps.iter().any(|trap| trap == line) {
                        self.traps.push(line.to_vec());
                    }
                }
                None => {
                    self.unclear_call(&world, rest, call, "what 'trap' runs is not known");
                    forget_variables(&mut world);
                }
            }
        }
        worked(world)
    }

    pub(super) fn exec(&mut self, rest: &[Arg], world: World, call: Call<'_>) -> Exit {
        let mut operands = rest;
        while let Some((first, more)) = operands.split_first() {
            operands = match first.value() {
                Some(b"-c" | b"-l" | b"-cl" | b"-lc") => more,
                Some(b"-a") => more.get(1..).unwrap_or_default(),
                Some(b"--") => {
                    operands = more;
                    break;
                }
                _ => break,
            };
        }
        if operands.is_empty() {
            return worked(world);
        }
        let call = Call {
            external: true,
            no_functions: true,
            ..call
        };
        let mut after = world.clone();
        self.call(world, operands, call);
        // Only where the program cannot be started does the shell go on, if at all.
        after.improbable = true;
        Exit {
            worked: Vec::new(),
            failed: vec![after],
        }
    }

    pub(super) fn leave_function(&mut self, world: World) -> Exit {
        match self.returns.last_mut() {
            Some(returned) => {
                merge(returned, vec![world]);
                Exit::default()
            }
            None => Exit::either(vec![world]),
        }
    }

    pub(super) fn leave_loop(&mut self, rest: &[Arg], world: World, breaks: bool) -> Exit {
        let levels = match rest.first() {
            None => Some(1),
            Some(argument) => argument
                .value()
                .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok()),
        };
        if self.loops.is_empty() {
            return Exit::either(vec![world]);
        }
        let depth = self.loops.len();
        let target = match levels {
            Some(levels) => depth - levels.clamp(1, depth),
            // Any of them.
            None => {
                for exits in &mut self.loops {
                    merge(&mut exits.breaks, vec![world.clone()]);
                    merge(&mut exits.continues, vec![world.clone()]);
                }
                return Exit::default();
            }
        };
        let exits = &mut self.loops[target];
        let ends = if breaks {
            &mut exits.breaks
        } else {
            &mut exits.continues
        };
        merge(ends, vec![world]);
        Exit::default()
    }

    pub(super) fn command(&mut self, rest: &[Arg], world: World, call: Call<'_>) -> Exit {
        let mut operands = rest;
        while let Some((first, more)) = operands.split_first() {
            match first.value() {
                Some(b"-v" | b"-V") => return Exit::either(vec![world]),
                Some(b"-p" | b"--") => operands = more,
                _ => break,
            }
        }
        if operands.is_empty() {
            return worked(world);
        }
        let call = Call {
            no_functions: true,
            ..call
        };
        self.call(world, operands, call)
    }

    /// Runs a shell as a command: `bash -c '…'`, `sh script`, `bash <<EOF`.
    pub(crate) fn shell(
        &mut self,
        dialect: Dialect,
        arguments: &[Arg],
        world: World,
        call: Call<'_>,
    ) -> Exit {
        let mut inner = world.clone();
        let mut line_follows = false;
        let mut login = false;
        let mut rest = &arguments[1..];
        // What the options set in the new shell.
        let mut fresh = World::new(b"/");
        while let Some((first, more)) = rest.split_first() {
            let Some(text) = first.value() else {
                break;
            };
            match text {
                b"--version" | b"--help" => return Exit::either(vec![world]),
                b"--" | b"-" => {
                    rest = more;
                    break;
                }
                b"--rcfile" | b"--init-file" => {
                    self.unclear_call(&world, arguments, call, "a start-up file may do anything");
                    login = true;
                    rest = more.get(1..).unwrap_or_default();
                    continue;
                }
                b"--login" => login = true,
                _ if text.starts_with(b"--") => {}
                _ if text.len() > 1 && matches!(text[0], b'-' | b'+') => {
                    line_follows |= text.contains(&b'c');
                    login |= text.iter().any(|b| b"li".contains(b));
                    if text.contains(&b'O') {
                        let on = if text[0] == b'-' { "-s" } else { "-u" };
                        let name = more.first().into_iter().cloned();
                        let option: Vec<Arg> = [Arg::whole(on)].into_iter().chain(name).collect();
                        fresh = join_any(super::options::shopt(&option, fresh), dialect);
                        rest = more.get(1..).unwrap_or_default();
                        continue;
                    }
                    let letters: Vec<u8> = text.iter().copied().filter(|b| *b != b'c').collect();
                    if text.contains(&b'o') {
                        let name = more.first().into_iter().cloned();
                        let option: Vec<Arg> =
                            [Arg::whole(letters)].into_iter().chain(name).collect();
                        fresh = join_any(super::options::set(&option, fresh), dialect);
                        rest = more.get(1..).unwrap_or_default();
                        continue;
                    }
                    fresh = join_any(super::options::set(&[Arg::whole(letters)], fresh), dialect);
                }
                _ => break,
            }
            rest = more;
        }
        if login {
            // What its start-up files set is not known.
            forget_variables(&mut inner);
        }
        let set = |name: &str| match self.named(&world, name) {
            Value::Known(text) => !text.is_empty(),
            Value::Unset => false,
            _ => world.variables.contains_key(name),
        };
        if set("BASH_ENV") || set("ENV") {
            self.unclear_call(&world, arguments, call, "a start-up file may do anything");
        }
        if world.options.exports_all {
            for name in world.functions.keys() {
                inner.assign(&format!("{EXPORTED_FUNCTION}{name}"), Value::Unknown);
            }
        }
        inner.options = fresh.options;
        self.shell_commands(dialect, line_follows, rest, arguments, &inner, call);
        Exit::either(vec![world])
    }

    fn shell_commands(
        &mut self,
        dialect: Dialect,
        line_follows: bool,
        rest: &[Arg],
        arguments: &[Arg],
        world: &World,
        call: Call<'_>,
    ) {
        let reason = match (line_follows, rest) {
            (true, [line, more @ ..]) => match line.value() {
                Some(line) => {
                    let line = line.to_vec();
                    let countable = !more
                        .iter()
                        .any(|arg| matches!(arg.known, Known::Several | Known::Pattern));
                    let values = more.iter().skip(1).map(Self::value_of).collect();
                    let positional = countable.then_some(values);
                    self.nested(world, call.text, |evaluator| {
                        evaluator.shell_line(dialect, &line, world, positional);
                    });
                    return;
                }
                None => "the command line within the command is not known",
            },
            (false, []) => match call.input {
                Some(Value::Known(line)) => {
                    let line = line.clone();
                    self.nested(world, call.text, |evaluator| {
                        evaluator.shell_line(dialect, &line, world, Some(Vec::new()));
                    });
                    return;
                }
                _ => "the shell reads commands that are not known",
            },
            (true, []) => "the shell lacks its command line",
            (false, _) => "the script may do anything",
        };
        self.unclear_call(world, arguments, call, reason);
    }

    /// Runs a line in a shell of its own that inherits only the environment.
    pub(crate) fn shell_line(
        &mut self,
        dialect: Dialect,
        line: &[u8],
        world: &World,
        positional: Option<Vec<Value>>,
    ) {
        let mut inner = world.clone();
        inner.functions = Rc::default();
        let exported = inner.variables.keys().filter_map(|name| {
            let name = name.strip_prefix(EXPORTED_FUNCTION)?;
            Some(name.to_string())
        });
        inner.redefined = Rc::new(exported.collect());
        inner.positional = positional.map(Rc::new);
        for variable in Rc::make_mut(&mut inner.variables).values_mut() {
            if !variable.exported {
                variable.value = Value::Unknown;
            }
        }
        let outer = std::mem::replace(&mut self.dialect, dialect);
        if let Some(node) = self.parsed(&inner, line) {
            self.isolated(&node, vec![inner]);
        }
        self.dialect = outer;
    }
}

/// The world after an option was set; one that is not understood may be anything.
fn join_any(exit: Exit, dialect: Dialect) -> World {
    let mut world = exit
        .worked
        .into_iter()
        .next()
        .unwrap_or_else(|| World::new(b"/"));
    world.options.other |= dialect == Dialect::Zsh && world.options != Options::default();
    world
}

/// Words that change the shell that runs them.
const CHANGING: [&[u8]; 18] = [
    b"cd",
    b"pushd",
    b"popd",
    b"read",
    b"export",
    b"declare",
    b"typeset",
    b"local",
    b"readonly",
    b"unset",
    b"set",
    b"shopt",
    b"eval",
    b"source",
    b".",
    b"let",
    b"mapfile",
    b"printf",
];

/// Whether a line may change variables, options or the working directory of its shell.
fn changes_shell(line: &[u8]) -> bool {
    let words = line.split(|b| b.is_ascii_whitespace() || b";&|(){}".contains(b));
    words.into_iter().any(|word| {
        let name = word
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let assigns = name > 0 && matches!(word.get(name), Some(b'=' | b'+' | b'['));
        assigns || CHANGING.contains(&word)
    }) || line.windows(2).any(|pair| pair == b"((")
}
