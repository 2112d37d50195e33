//! `set`, `shopt`, `alias`.

use std::rc::Rc;

use deployx_plugin_sdk::table::{Arg, Known};

use super::worked;
use crate::evaluate::Evaluator;
use crate::state::{Exit, World};

/// Options of `shopt` that do not change how words are read.
const HARMLESS: [&[u8]; 20] = [
    b"extglob",
    b"failglob",
    b"checkwinsize",
    b"checkjobs",
    b"cmdhist",
    b"histappend",
    b"histverify",
    b"histreedit",
    b"lithist",
    b"huponexit",
    b"interactive_comments",
    b"inherit_errexit",
    b"globasciiranges",
    b"globskipdots",
    b"progcomp",
    b"promptvars",
    b"sourcepath",
    b"xpg_echo",
    b"localvar_inherit",
    b"expand_aliases",
];

/// `set`
pub(super) fn set(rest: &[Arg], mut world: World) -> Exit {
    let mut at = 0;
    while let Some(argument) = rest.get(at) {
        at += 1;
        let Some(text) = argument.value() else {
            // It may be options, or positional parameters, or both.
            if argument.known != Known::Beginning || argument.text.is_empty() {
                world.options.other = true;
            }
            world.positional = None;
            return worked(world);
        };
        match text {
            b"--" => {
                set_positional(&mut world, &rest[at..]);
                break;
            }
            b"-o" | b"+o" => {
                if let Some(name) = rest.get(at) {
                    set_long(&mut world, name, text == b"-o");
                    at += 1;
                }
            }
            _ if text.len() > 1 && matches!(text[0], b'-' | b'+') => {
                let on = text[0] == b'-';
                for letter in &text[1..] {
                    match letter {
                        b'f' => world.options.noglob = on,
                        b'a' => world.options.exports_all = on,
                        b'P' => world.options.physical = on,
                        b'B' => world.options.other |= !on,
                        b'o' => {
                            if let Some(name) = rest.get(at) {
                                set_long(&mut world, name, on);
                                at += 1;
                            }
                        }
                        b'k' => world.options.other = true,
                        _ => {}
                    }
                }
            }
            _ => {
                set_positional(&mut world, &rest[at - 1..]);
                break;
            }
        }
    }
    worked(world)
}

/// `shopt`
pub(super) fn shopt(rest: &[Arg], mut world: World) -> Exit {
    let given = |option: &[u8]| rest.iter().any(|arg| arg.text == option);
    let on = given(b"-s");
    if !on && !given(b"-u") {
        return Exit::either(vec![world]);
    }
    let long = given(b"-o");
    for argument in rest.iter().filter(|arg| !arg.text.starts_with(b"-")) {
        if long {
            set_long(&mut world, argument, on);
            continue;
        }
        match argument.value() {
            Some(b"dotglob") => world.options.dotglob = on,
            Some(b"nullglob") => world.options.nullglob = on,
            Some(b"globstar") => world.options.globstar = on,
            Some(b"nocaseglob") => world.options.nocaseglob = on,
            Some(name) if HARMLESS.contains(&name) => {}
            _ => world.options.other = true,
        }
    }
    worked(world)
}

/// Aliases replace words of lines that are read later.
pub(super) fn alias(rest: &[Arg], mut world: World) -> Exit {
    for argument in rest {
        let text = &argument.text;
        let end = text.iter().position(|b| *b == b'=').unwrap_or(text.len());
        if argument.known != Known::Whole && end == text.len() {
            world.anything_assigned = true;
        }
        let name = String::from_utf8_lossy(&text[..end]).into_owned();
        if !name.is_empty() && !name.starts_with('-') && !world.redefined.contains(&name) {
            Rc::make_mut(&mut world.redefined).push(name);
        }
    }
    Exit::either(vec![world])
}
fn set_positional(world: &mut World, arguments: &[Arg]) {
    let countable = !arguments
        .iter()
        .any(|arg| matches!(arg.known, Known::Several | Known::Pattern));
    world.positional =
        countable.then(|| Rc::new(arguments.iter().map(Evaluator::value_of).collect()));
}

fn set_long(world: &mut World, name: &Arg, on: bool) {
    match name.value() {
        Some(b"noglob") => world.options.noglob = on,
        Some(b"allexport") => world.options.exports_all = on,
        Some(b"physical") => world.options.physical = on,
        Some(b"braceexpand") => world.options.other |= !on,
        Some(b"posix" | b"keyword") | None => world.options.other = true,
        Some(_) => {}
    }
}
