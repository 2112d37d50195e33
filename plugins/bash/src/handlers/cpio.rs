//! `cpio`: `-o` writes an archive, `-i` takes one apart, `-p` copies.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Outcome, Role};
use deployx_rules_common::words::tree;

/// The rule for `cpio`.
pub(super) fn cpio(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut letters: Vec<u8> = Vec::new();
    let mut operands: Vec<&Arg> = Vec::new();
    let mut archive = None;
    let mut relative = false;
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            findings.unclear("an argument of cpio is not known");
            operands.push(arg);
            continue;
        };
        match text {
            b"--extract" => letters.push(b'i'),
            b"--create" => letters.push(b'o'),
            b"--pass-through" => letters.push(b'p'),
            b"--list" | b"--to-stdout" => letters.push(b't'),
            b"--no-absolute-filenames" => relative = true,
            b"-F" | b"-O" | b"-I" | b"--file" => archive = args.next().cloned(),
            b"-D" | b"--directory" => {
                if let Some(directory) = args.next() {
                    findings.chdir(directory);
                }
            }
            b"-E" | b"-H" | b"-C" | b"-R" | b"-M" | b"--format" | b"--pattern-file"
            | b"--owner" => {
                args.next();
            }
            b"--rsh-command" => findings.unclear("an option runs a program"),
            _ if text.starts_with(b"--file=") => archive = Some(Arg::whole(&text[7..])),
            _ if text.starts_with(b"--directory=") => findings.chdir(&Arg::whole(&text[12..])),
            _ if text.starts_with(b"--") => {}
            _ if text.starts_with(b"-") && text.len() > 1 => {
                let takes = text[1..].iter().position(|b| b"FOIHECRMD".contains(b));
                let end = takes.map_or(text.len(), |at| at + 1);
                letters.extend(&text[1..end]);
                let Some(letter) = text.get(end) else {
                    continue;
                };
                let attached = &text[end + 1..];
                let value = if attached.is_empty() {
                    args.next().cloned()
                } else {
                    Some(Arg::whole(attached))
                };
                match letter {
                    b'F' | b'O' | b'I' => archive = value,
                    b'D' => value.iter().for_each(|directory| findings.chdir(directory)),
                    _ => {}
                }
            }
            _ => operands.push(arg),
        }
    }
    let has = |letter: u8| letters.contains(&letter);
    if has(b't') {
        return findings.finish();
    }
    if has(b'i') {
        tree(&mut findings, b".", "members of the archive");
        if !relative {
            findings.unclear("members may have absolute names");
        }
    } else if has(b'p') {
        operands
            .iter()
            .for_each(|directory| findings.role(&Role::Tree, directory));
    } else if has(b'o') {
        if let Some(archive) = archive {
            findings.role(&Role::Write, &archive);
        }
    } else {
        findings.unclear("no mode of cpio is given");
    }
    findings.finish()
}
