//! The commands that `cmd` has built in.

use super::{Run, copying, creating, removing};
use crate::cell::{Cell, byte, bytes, trim};
use crate::eval::{Evaluator, Flow, World};

/// The command of that name, in lower case.
pub(crate) fn find(name: &[u8]) -> Option<Run> {
    Some(match name {
        b"cd" | b"chdir" => Run::Shell(cd),
        b"pushd" => Run::Shell(pushd),
        b"popd" => Run::Shell(popd),
        b"set" => Run::Shell(set),
        b"path" => Run::Shell(path),
        b"setlocal" => Run::Shell(setlocal),
        b"call" => Run::Shell(call),
        b"start" => Run::Shell(start),
        b"goto" => Run::Shell(goto),
        b"assoc" | b"ftype" => Run::Shell(association),
        b"date" | b"time" => Run::Shell(clock),
        b"del" | b"erase" => Run::Files(removing::del),
        b"rd" | b"rmdir" => Run::Files(removing::rd),
        b"md" | b"mkdir" => Run::Files(creating::md),
        b"mklink" => Run::Files(creating::mklink),
        b"copy" => Run::Files(copying::copy),
        b"move" => Run::Files(copying::move_files),
        b"ren" | b"rename" => Run::Files(copying::ren),
        b"break" | b"cls" | b"color" | b"dir" | b"dpath" | b"echo" | b"endlocal" | b"exit"
        | b"keys" | b"pause" | b"prompt" | b"shift" | b"title" | b"type" | b"ver" | b"verify"
        | b"vol" | b"rem" => Run::Nothing,
        _ => return None,
    })
}

fn cd(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    evaluator.change_directory(tail, world)
}

fn pushd(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    evaluator.push_directory(tail, world)
}

fn set(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    evaluator.set_variable(tail, world)
}

fn call(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    evaluator.call(tail, world)
}

fn start(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    evaluator.start(tail, world)
}

fn popd(_: &mut Evaluator<'_>, _: &[Cell], world: World) -> Flow {
    world.pop_directory()
}

fn setlocal(_: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    world.set_local(tail)
}

/// `path x;y`: programs are found elsewhere from now on.
fn path(evaluator: &mut Evaluator<'_>, tail: &[Cell], mut world: World) -> Flow {
    if !trim(tail).is_empty() {
        evaluator.assign(&mut world, "PATH", None);
    }
    Flow::unchanged(world)
}

fn goto(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    let text = bytes(trim(tail)).to_ascii_lowercase();
    if text != b":eof" {
        let text = [b"goto ".as_slice(), &text].concat();
        evaluator.add_unclear(text, world.cwd.clone(), "a jump to a label");
    }
    Flow::unchanged(world)
}

/// `assoc .x=type`, `ftype type=command`
fn association(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    if tail.iter().any(|c| byte(*c) == b'=') {
        evaluator.effect("registry", "file types are kept in the registry");
    }
    Flow::unchanged(world)
}

/// `date 01-01-2030`
fn clock(evaluator: &mut Evaluator<'_>, tail: &[Cell], world: World) -> Flow {
    let text = bytes(trim(tail)).to_ascii_lowercase();
    if !text.is_empty() && text != b"/t" {
        evaluator.effect("time", "the clock is set");
    }
    Flow::unchanged(world)
}
