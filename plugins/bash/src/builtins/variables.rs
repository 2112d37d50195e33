//! Builtins that set variables.

use std::rc::Rc;

use deployx_plugin_sdk::table::Arg;

use super::worked;
use crate::evaluate::{Evaluator, forget_variables};
use crate::parse;
use crate::state::{Exit, Value, World};
use crate::syntax::Simple;

/// How the variables begin that stand for exported functions.
pub(crate) const EXPORTED_FUNCTION: &str = "BASH_FUNC_";

impl Evaluator<'_> {
    /// `export a=b` and its like: the right sides are not split.
    pub(crate) fn declaration(&mut self, simple: &Simple, mut world: World) -> Exit {
        for redirect in &simple.redirects {
            self.redirect(&mut world, redirect);
        }
        let mut others = Vec::new();
        let mut assignments = Vec::new();
        for word in &simple.words[1..] {
            match parse::assignment(&word.raw) {
                Some(assignment) => assignments.push(assignment),
                None => others.push(word.clone()),
            }
        }
        let others = self.arguments(&mut world, &others);
        let option = |letters: &[u8]| {
            others.iter().any(|arg| {
                arg.text.starts_with(b"-") && arg.text.iter().any(|b| letters.contains(b))
            })
        };
        let changed = option(b"iulc");
        let global = option(b"g");
        let functions = option(b"f");
        let exports = simple.words[0].raw == b"export" || option(b"x");
        if simple.words[0].raw != b"export" && option(b"n") {
            self.unclear(&world, &simple.text, "a variable stands for another one");
            forget_variables(&mut world);
        }
        let local = !self.returns.is_empty()
            && !global
            && !matches!(simple.words[0].raw.as_slice(), b"export" | b"readonly");
        // Outside functions some shells refuse it.
        let misplaced = self.returns.is_empty() && simple.words[0].raw == b"local";
        for assignment in assignments {
            if local {
                world.hide(&assignment.name);
            }
            self.assign(&mut world, &assignment);
            if misplaced {
                world.assign(&assignment.name, Value::Unknown);
            }
            if changed {
                // The value is rewritten (`declare -i`, `-u`, `-n`).
                rewrite(&mut world, &assignment.name);
            }
            if exports {
                self.export(&mut world, &assignment.name);
            }
        }
        for other in others.iter().filter(|arg| !arg.text.starts_with(b"-")) {
            match other.value().and_then(name_of) {
                // Shells that are started have it, too.
                Some(name) if functions && exports => {
                    let name = format!("{EXPORTED_FUNCTION}{name}");
                    world.assign(&name, Value::Unknown);
                }
                Some(_) if functions => {}
                Some(name) if exports => self.export(&mut world, &name),
                Some(name) if local => {
                    // The value that was there is hidden, or in some shells kept.
                    world.hide(&name);
                    world.assign(&name, Value::Unknown);
                    if changed {
                        rewrite(&mut world, &name);
                    }
                }
                Some(name) if changed => rewrite(&mut world, &name),
                Some(_) => {}
                None => assign_unknown(&mut world, other),
            }
        }
        worked(world)
    }

    fn export(&self, world: &mut World, name: &str) {
        if !world.variables.contains_key(name) {
            let value = self.named(world, name);
            world.assign(name, value);
        }
        if let Some(variable) = Rc::make_mut(&mut world.variables).get_mut(name) {
            variable.exported = true;
        }
    }

    pub(super) fn let_builtin(&mut self, rest: &[Arg], mut world: World) -> Exit {
        for argument in rest {
            match argument.value() {
                Some(expression) => {
                    let expression = expression.to_vec();
                    self.arithmetic(&mut world, &expression);
                }
                None => forget_variables(&mut world),
            }
        }
        Exit::either(vec![world])
    }
}

/// What is assigned to a variable is rewritten from here on.
fn rewrite(world: &mut World, name: &str) {
    world.assign(name, Value::Unknown);
    if let Some(variable) = Rc::make_mut(&mut world.variables).get_mut(name) {
        variable.rewritten = true;
    }
}

/// `text` as the name of a variable.
fn name_of(text: &[u8]) -> Option<String> {
    let first = *text.first()?;
    let fits = (first.is_ascii_alphabetic() || first == b'_')
        && text.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    fits.then(|| String::from_utf8_lossy(text).into_owned())
}

/// `a=…` of which something is not known.
fn assign_unknown(world: &mut World, argument: &Arg) {
    let text = &argument.text;
    match text.iter().position(|b| *b == b'=') {
        Some(at) if name_of(&text[..at]).is_some() => {
            let name = String::from_utf8_lossy(&text[..at]).into_owned();
            world.assign(&name, Value::Unknown);
        }
        _ => forget_variables(world),
    }
}

pub(super) fn unset(rest: &[Arg], mut world: World) -> Exit {
    let functions = rest.iter().any(|arg| arg.text == b"-f");
    for argument in rest.iter().filter(|arg| !arg.text.starts_with(b"-")) {
        let Some(name) = argument.value().and_then(name_of) else {
            forget_variables(&mut world);
            continue;
        };
        if functions {
            Rc::make_mut(&mut world.functions).remove(&name);
        } else {
            world.assign(&name, Value::Unset);
            // Without a variable of that name, a function of it goes.
            if world.functions.contains_key(&name) {
                Rc::make_mut(&mut world.redefined).push(name);
            }
        }
    }
    worked(world)
}

/// Sets every variable that `rest` names, and `others`, to something unknown.
pub(super) fn read(rest: &[Arg], mut world: World, others: &[&str]) -> Exit {
    for name in others {
        world.assign(name, Value::Unknown);
    }
    for argument in rest {
        match argument.value() {
            Some(text) => {
                if let Some(name) = name_of(text) {
                    world.assign(&name, Value::Unknown);
                } else if text.contains(&b'[') {
                    forget_variables(&mut world);
                } else if text.starts_with(b"-")
                    && let Some(name) = text.get(2..).and_then(name_of)
                {
                    // `-aNAME`
                    world.assign(&name, Value::Unknown);
                }
            }
            None => forget_variables(&mut world),
        }
    }
    Exit::either(vec![world])
}

pub(super) fn printf(rest: &[Arg], mut world: World) -> Exit {
    match rest {
        [option, name, ..] if option.value() == Some(b"-v") => {
            match name.value().and_then(name_of) {
                Some(name) => world.assign(&name, Value::Unknown),
                None => forget_variables(&mut world),
            }
        }
        [option, ..] if option.text.starts_with(b"-v") => forget_variables(&mut world),
        _ => {}
    }
    Exit::either(vec![world])
}

pub(super) fn shift(rest: &[Arg], mut world: World) -> Exit {
    let count = match rest.first() {
        None => Some(1),
        Some(argument) => argument
            .value()
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok()),
    };
    world.positional = match (world.positional.take(), count) {
        (Some(values), Some(count)) if count <= values.len() => {
            Some(Rc::new(values[count..].to_vec()))
        }
        (values @ Some(_), Some(_)) => values,
        _ => None,
    };
    Exit::either(vec![world])
}

/// Whether a command word is a builtin whose arguments are read as assignments.
pub(crate) fn is_declaration(world: &World, name: &[u8]) -> bool {
    let declares = matches!(
        name,
        b"export" | b"declare" | b"typeset" | b"local" | b"readonly"
    );
    let text = String::from_utf8_lossy(name);
    declares
        && !world.functions.contains_key(text.as_ref())
        && !world.redefined.iter().any(|n| *n == text)
}

/// Declarations that are called through `command` or `builtin`: words are arguments already.
pub(super) fn declare(rest: &[Arg], mut world: World) -> Exit {
    for argument in rest {
        match argument.value() {
            Some(option) if option.starts_with(b"-") => {
                if option.iter().any(|b| b"niulc".contains(b)) {
                    forget_variables(&mut world);
                    world.options.other = true;
                }
            }
            Some(text) => {
                let at = text.iter().position(|b| *b == b'=').unwrap_or(text.len());
                match name_of(&text[..at]) {
                    Some(name) if at < text.len() => {
                        let value = Value::known(text[at + 1..].to_vec());
                        world.assign(&name, value);
                    }
                    Some(_) => {}
                    None => forget_variables(&mut world),
                }
            }
            None => assign_unknown(&mut world, argument),
        }
    }
    worked(world)
}
