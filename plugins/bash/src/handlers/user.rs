//! `su`, `runuser` and `sg`: commands under another user or group.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Nested, NestedCommand, Outcome};

use super::prefix::{anything, line_of};

/// What the words of `su` say.
#[derive(Default)]
struct Words {
    line: Option<Arg>,
    shell: Option<Arg>,
    command: Vec<Arg>,
    login: bool,
    unclear: bool,
}

impl Words {
    fn read(args: &[Arg]) -> Self {
        let mut words = Self::default();
        let mut by_option = false;
        let mut rest = args.iter().enumerate();
        while let Some((at, arg)) = rest.next() {
            let Some(value) = arg.value() else {
                // The user's name, or anything.
                words.unclear |= arg.text.is_empty() || arg.text.starts_with(b"-");
                continue;
            };
            match value {
                b"-" | b"-l" | b"--login" => words.login = true,
                b"-c" | b"--command" | b"--session-command" => {
                    words.line = rest.next().map(|(_, arg)| arg.clone());
                }
                b"-lc" => {
                    words.login = true;
                    words.line = rest.next().map(|(_, arg)| arg.clone());
                }
                b"-s" | b"--shell" => words.shell = rest.next().map(|(_, arg)| arg.clone()),
                b"-g"
                | b"--group"
                | b"-G"
                | b"--supp-group"
                | b"-w"
                | b"--whitelist-environment" => {
                    rest.next();
                }
                b"-u" | b"--user" => {
                    by_option = true;
                    rest.next();
                }
                b"--" if by_option => {
                    words.command = args[at + 1..].to_vec();
                    return words;
                }
                b"-m"
                | b"-p"
                | b"--preserve-environment"
                | b"-f"
                | b"--fast"
                | b"-P"
                | b"--pty"
                | b"-T"
                | b"--no-pty"
                | b"--" => {}
                _ if value.starts_with(b"--command=") => {
                    words.line = Some(Arg::whole(&value[10..]));
                }
                _ if value.starts_with(b"-") => words.unclear = true,
                _ if by_option => {
                    words.command = args[at..].to_vec();
                    return words;
                }
                _ => {}
            }
        }
        words
    }
}

/// `su - user -c 'line'`, `runuser -u user -- command`
pub(super) fn su(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let words = Words::read(call.rest());
    if words.unclear {
        findings.unclear("an argument is not known");
    }
    let what = match (words.line, words.command.is_empty()) {
        (Some(text), _) => NestedCommand::Line {
            shell: Some(shell_name(words.shell.as_ref())),
            text,
        },
        (None, false) => NestedCommand::Words(words.command),
        (None, true) => {
            findings.unclear("an interactive shell runs");
            return findings.finish();
        }
    };
    findings.nested_as(Nested {
        what,
        cwd: words.login.then_some(None),
        assign: vec![("HOME".into(), anything())],
        unknown_arguments_in: None,
    });
    findings.finish()
}

/// The name of the shell at a path; `sh` where none is given.
fn shell_name(path: Option<&Arg>) -> String {
    let text = path.map_or(&b"sh"[..], |arg| &arg.text);
    let name = text.rsplit(|b| *b == b'/').next().unwrap_or(b"sh");
    String::from_utf8_lossy(name).into_owned()
}

/// `sg group -c 'line'`
pub(super) fn sg(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut words = call
        .rest()
        .iter()
        .filter(|arg| arg.text != b"-" && arg.text != b"-c");
    match words.nth(1) {
        Some(line) => findings.nested(line_of(line)),
        None => findings.unclear("an interactive shell runs"),
    }
    findings.finish()
}
