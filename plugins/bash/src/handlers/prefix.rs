//! Programs that run another program, where more is to be said than which words are its own.

use deployx_plugin_sdk::Kind;
use deployx_plugin_sdk::table::{
    Arg, Findings, HandlerCall, Known, Nested, NestedCommand, Outcome, Role,
};
use deployx_rules_common::words::merged;

/// An argument of which nothing is known.
pub(super) fn anything() -> Arg {
    Arg {
        text: Vec::new(),
        known: Known::Beginning,
    }
}

/// A line that `sh` reads.
pub(super) fn line_of(text: &Arg) -> NestedCommand {
    NestedCommand::Line {
        shell: Some("sh".into()),
        text: text.clone(),
    }
}

/// `A=b` at the beginning of a prefix's words.
fn assignment(arg: &Arg) -> Option<(String, Arg)> {
    let equals = arg.text.iter().position(|b| *b == b'=')?;
    let name = std::str::from_utf8(&arg.text[..equals]).ok()?;
    let valid = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    valid.then(|| {
        let value = Arg {
            text: arg.text[equals + 1..].to_vec(),
            known: arg.known,
        };
        (name.to_string(), value)
    })
}

/// The command that a prefix runs: its words from `at` on, with assignments before it.
fn nested(call: &HandlerCall<'_>, findings: &Findings<'_>, at: usize) -> Nested {
    let mut words = call.args.get(at..).unwrap_or(&[]);
    let mut assign = Vec::new();
    while let Some((first, rest)) = words.split_first()
        && let Some(found) = assignment(first)
    {
        assign.push(found);
        words = rest;
    }
    let moved = findings.cwd() != call.place.cwd;
    Nested {
        what: NestedCommand::Words(words.to_vec()),
        cwd: moved.then(|| findings.cwd().map(<[u8]>::to_vec)),
        assign,
        unknown_arguments_in: None,
    }
}

fn is_empty(nested: &Nested) -> bool {
    matches!(&nested.what, NestedCommand::Words(words) if words.is_empty())
}

/// `env -C dir A=b command`
pub(super) fn env(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    if call.parsed.has("-S") {
        findings.unclear("a string is split into arguments");
        return findings.finish();
    }
    let Some(at) = call.parsed.command else {
        return findings.finish();
    };
    let mut inner = nested(call, &findings, at);
    for name in call.parsed.values("-u") {
        if let Some(name) = name.value().and_then(|name| std::str::from_utf8(name).ok()) {
            inner.assign.insert(0, (name.to_string(), Arg::whole("")));
        }
    }
    if call.parsed.has("-i") {
        for name in ["HOME", "PATH", "TMPDIR"] {
            inner.assign.insert(0, (name.into(), anything()));
        }
    }
    if !is_empty(&inner) {
        findings.nested_as(inner);
    }
    findings.finish()
}

/// `sudo` and programs like it: the user changes, and the home directory with it.
pub(super) fn sudo(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let doas = call.name.ends_with("doas");
    if ["-l", "-v", "-K", "-V", "--help"]
        .iter()
        .any(|name| parsed.has(name))
    {
        return findings.finish();
    }
    if !doas && parsed.has("-e") {
        let at = parsed.command.unwrap_or(call.args.len());
        for file in &call.args[at..] {
            findings.role(&Role::Write, file);
        }
        return findings.finish();
    }
    if parsed.has("-R") {
        findings.unclear("paths mean something else under another root");
    }
    let inner = parsed.command.map(|at| nested(call, &findings, at));
    let Some(mut inner) = inner.filter(|inner| !is_empty(inner)) else {
        if parsed.has("-i") || parsed.has("-s") {
            findings.unclear("an interactive shell runs");
        }
        return findings.finish();
    };
    if !inner.assign.iter().any(|(name, _)| name == "HOME") {
        inner.assign.insert(0, ("HOME".into(), anything()));
    }
    if parsed.has("-i") {
        // A login shell begins in the user's home.
        inner.cwd = Some(None);
    }
    findings.nested_as(inner);
    findings.finish()
}

/// `flock FILE command`, `flock FILE -c 'line'`, `flock 9`
pub(super) fn flock(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let words = call
        .parsed
        .command
        .and_then(|at| call.args.get(at..))
        .unwrap_or(&[]);
    let line = call.parsed.value("-c");
    if let Some(file) = call.parsed.operand_args().next() {
        let descriptor =
            words.is_empty() && line.is_none() && file.text.iter().all(u8::is_ascii_digit);
        let path = file.value().and_then(|path| findings.resolve(path));
        let there = path.is_some_and(|path| {
            matches!(findings.kind_behind(&path), Kind::File | Kind::Directory)
        });
        if !there && !descriptor {
            findings.role(&Role::Write, file);
        }
    }
    match (line, words) {
        (Some(line), _) => findings.nested(line_of(line)),
        (None, [dash_c, line, ..]) if matches!(dash_c.value(), Some(b"-c" | b"--command")) => {
            findings.nested(line_of(line));
        }
        (None, []) => {}
        (None, words) => findings.nested(NestedCommand::Words(words.to_vec())),
    }
    findings.finish()
}

/// `watch -n 2 'line'`: the words are joined and read by a shell, unless `-x` is given.
pub(super) fn watch(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let at = call
        .parsed
        .operands
        .first()
        .map_or(call.args.len(), |operand| operand.at);
    let words = &call.args[at..];
    if words.is_empty() {
        return call.described();
    }
    if call.parsed.has("-x") {
        findings.nested(NestedCommand::Words(words.to_vec()));
    } else {
        let known = words.iter().all(|word| word.known == Known::Whole);
        let texts: Vec<&[u8]> = words.iter().map(|word| word.text.as_slice()).collect();
        let text = Arg {
            text: texts.join(&b' '),
            known: if known {
                Known::Whole
            } else {
                Known::Beginning
            },
        };
        findings.nested(line_of(&text));
    }
    merged(call.described(), findings.finish())
}

/// `script -c 'line' FILE`
pub(super) fn script(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if parsed.operands.is_empty() && !parsed.has("-O") && !parsed.has("-B") {
        findings.role(&Role::Write, &Arg::whole("typescript"));
    }
    match parsed.value("-c") {
        Some(line) => findings.nested(line_of(line)),
        None => findings.unclear("an interactive shell runs"),
    }
    merged(call.described(), findings.finish())
}
