//! Editors that change the files they are given.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth};
use deployx_rules_common::words::{directory_part, last_part, merged};

/// Files beside `file` with these beginnings and endings of its name.
fn beside(findings: &mut Findings<'_>, file: &Arg, names: &[(&[u8], &[u8])]) {
    let Some(text) = file.value() else { return };
    for (before, after) in names {
        let mut path = directory_part(findings, text);
        path.push(b'/');
        path.extend_from_slice(before);
        path.extend_from_slice(last_part(findings, text));
        path.extend_from_slice(after);
        if let Some(path) = findings.resolve(&path) {
            findings.path(
                &path,
                Depth::Tree,
                Certainty::Possible,
                false,
                "kept beside the file",
            );
        }
    }
}

/// What the editor remembers in the home directory.
fn remembered(findings: &mut Findings<'_>, names: &[&str]) {
    let Some(home) = findings.place().home.map(<[u8]>::to_vec) else {
        findings.unclear("the home directory is not known");
        return;
    };
    for name in names {
        if let Some(path) = findings.place().style.join(&home, name.as_bytes()) {
            findings.whole(
                &path,
                Depth::Tree,
                Certainty::Possible,
                true,
                "remembered by the editor",
            );
        }
    }
}

/// `vi`, `vim`, `nvim`, `ex` and `view`.
pub(super) fn vim(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let base = call.name.rsplit('/').next().unwrap_or(call.name);
    let mut files: Vec<&Arg> = Vec::new();
    let mut ended = false;
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let text = arg.text.as_slice();
        if ended
            || arg.known == Known::Pattern
            || text == b"-"
            || !matches!(text.first(), Some(b'-' | b'+'))
        {
            files.push(arg);
            continue;
        }
        match text {
            b"--" => ended = true,
            b"--version" | b"--help" | b"-h" => return call.findings().finish(),
            b"-c" | b"-S" | b"--cmd" | b"-s" | b"-u" | b"-U" | b"-w" | b"-W" | b"-t" | b"-i"
            | b"-T" | b"-r" => {
                findings.unclear("a script of the editor may do anything");
                args.next();
            }
            b"-R" | b"-d" | b"-o" | b"-O" | b"-p" | b"-n" | b"-N" | b"-b" | b"-Z" | b"-m"
            | b"-M" => {}
            _ if text[0] == b'+' && text[1..].iter().all(u8::is_ascii_digit) => {}
            _ => findings.unclear("an option of the editor is not described"),
        }
    }
    if base.contains("ex") || files.is_empty() || files.iter().any(|file| file.text == b"-") {
        findings.unclear("commands of the editor may do anything");
    }
    for file in files {
        findings.role(&Role::Write, file);
        beside(
            &mut findings,
            file,
            &[
                (b".", b".swp"),
                (b".", b".swo"),
                (b"", b"~"),
                (b".", b".un~"),
            ],
        );
    }
    remembered(
        &mut findings,
        &[".viminfo", ".vim", ".local/state/nvim", ".local/share/nvim"],
    );
    findings.finish()
}

/// `nano`.
pub(super) fn nano(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    if call.parsed.has("-V") || call.parsed.has("-h") {
        return findings.finish();
    }
    if call.parsed.operands.is_empty() {
        findings.unclear("the editor asks for a name");
    }
    for file in call.parsed.operand_args() {
        beside(
            &mut findings,
            file,
            &[(b"", b"~"), (b".", b".swp"), (b"", b".save")],
        );
    }
    merged(call.described(), findings.finish())
}
