//! Commands whose rules are code: those that `cmd` has built in, and programs that name files in
//! ways of their own.

mod attributes;
mod call;
mod copying;
mod creating;
mod forfiles;
mod mirroring;
mod removing;
mod shell;
mod system;

pub(crate) use call::Call;

use crate::cell::Cell;
use crate::eval::{Evaluator, World};

/// How a command of `cmd` is run.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// It changes the shell itself.
    Shell(ShellRun),
    /// It touches files.
    Files(ProgramRun),
    /// It touches nothing.
    Nothing,
}

/// How a command is run that changes the shell.
pub(crate) type ShellRun =
    for<'e, 'a, 't> fn(&'e mut Evaluator<'a>, &'t [Cell], World) -> crate::eval::Flow;

/// How a program is run.
pub(crate) type ProgramRun = for<'c, 'e, 'a> fn(&'c mut Call<'e, 'a>);

/// A command of `cmd`.
#[derive(Clone)]
pub(crate) struct Builtin {
    pub(crate) name: Vec<u8>,
    pub(crate) run: Run,
}

/// The command that `text` begins with, and what is glued to it (`cd..`, `echo.`, `md\x`).
pub(crate) fn named(text: &[u8]) -> (Option<Builtin>, &[u8]) {
    let lower = text.to_ascii_lowercase();
    if let Some(run) = shell::find(&lower) {
        let name = lower;
        return (Some(Builtin { name, run }), &text[text.len()..]);
    }
    let end = lower
        .iter()
        .position(|b| !b.is_ascii_alphabetic())
        .unwrap_or(lower.len());
    let (name, glued) = lower.split_at(end);
    let separates = match glued {
        // `start.bat` is a file; `cd..` and `echo.` are not.
        [b'.', rest @ ..] => name == b"echo" || rest.iter().all(|b| matches!(b, b'.' | b'\\')),
        [b'\\', rest @ ..] => takes_directory(name) && !is_program(rest),
        [b':' | b'[' | b']' | b'+' | b'(', ..] => true,
        _ => false,
    };
    match shell::find(name) {
        Some(run) if separates => {
            let name = name.to_vec();
            (Some(Builtin { name, run }), &text[end..])
        }
        _ => (None, &[]),
    }
}

/// `cd\x` is `cd \x`; `dir\x` may be a program in `dir`.
fn takes_directory(name: &[u8]) -> bool {
    matches!(name, b"cd" | b"chdir" | b"md" | b"mkdir" | b"rd" | b"rmdir")
}

fn is_program(name: &[u8]) -> bool {
    let extensions: [&[u8]; 4] = [b".exe", b".com", b".bat", b".cmd"];
    extensions.iter().any(|extension| name.ends_with(extension))
}

/// The rule for a program.
pub(crate) fn program(name: &[u8]) -> Option<ProgramRun> {
    Some(match name {
        b"xcopy" => mirroring::xcopy,
        b"robocopy" => mirroring::robocopy,
        b"replace" => mirroring::replace,
        b"attrib" => attributes::attrib,
        b"icacls" => attributes::icacls,
        b"cacls" | b"xcacls" => attributes::cacls,
        b"takeown" => attributes::takeown,
        b"compact" => attributes::compact,
        b"cipher" => attributes::cipher,
        b"sc" => system::sc,
        b"netsh" => system::netsh,
        b"wmic" => system::wmic,
        b"makecab" | b"diamond" => system::makecab,
        b"msiexec" => system::msiexec,
        b"format" => system::format,
        b"subst" => system::subst,
        b"doskey" => system::doskey,
        b"forfiles" => forfiles::forfiles,
        _ => return None,
    })
}
