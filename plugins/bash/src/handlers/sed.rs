//! `sed`: scripts that write files or run commands, and `-i` with its backups.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_rules_common::words::{directory_part, last_part};

use super::sed_script;

/// How much of a script file is read, in bytes.
const MAX_SCRIPT: usize = 65536;

/// The rule for `sed`.
pub(super) fn sed(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if parsed.has("--help") || parsed.has("--version") {
        return findings.finish();
    }
    let named = parsed.has("-e") || parsed.has("-f");
    let mut operands = parsed.operand_args();
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for given in parsed
        .options
        .iter()
        .filter(|g| g.spec.is("-e") || g.spec.is("-f"))
    {
        for value in &given.values {
            script(&mut findings, value, given.spec.is("-f"), &mut pieces);
        }
    }
    if !named && let Some(first) = operands.next() {
        script(&mut findings, first, false, &mut pieces);
    }
    let deeds = sed_script::read(&pieces.join(&b'\n'));
    if let Some(reason) = deeds.unclear.filter(|_| !parsed.has("--sandbox")) {
        findings.unclear(reason);
    }
    for file in deeds.writes {
        findings.role(&Role::Write, &Arg::whole(file));
    }
    if parsed.has("-i") {
        let suffix = parsed.value("-i").filter(|suffix| !suffix.text.is_empty());
        for file in operands {
            edit(call, &mut findings, file, suffix);
        }
    }
    findings.finish()
}

/// Adds the text of a script, or says that it is not known.
fn script(findings: &mut Findings<'_>, arg: &Arg, is_file: bool, pieces: &mut Vec<Vec<u8>>) {
    let Some(text) = arg.value() else {
        // Only a text that cannot end a command leaves no doubt, which is not worth telling.
        findings.unclear("the script is not known");
        return;
    };
    if !is_file {
        pieces.push(text.to_vec());
        return;
    }
    let read = findings
        .resolve(text)
        .and_then(|path| findings.place().view.read(&path, MAX_SCRIPT + 1));
    match read.filter(|script| script.len() <= MAX_SCRIPT) {
        Some(script) => pieces.push(script),
        None => findings.unclear("the script cannot be read"),
    }
}

/// A file that is edited in place, and its backup.
fn edit(call: &HandlerCall<'_>, findings: &mut Findings<'_>, file: &Arg, suffix: Option<&Arg>) {
    let role = if call.parsed.has("--follow-symlinks") {
        Role::Write
    } else {
        Role::Edit
    };
    findings.role(&role, file);
    let Some(suffix) = suffix else { return };
    let (Some(file_text), Some(suffix_text)) = (file.value(), suffix.value()) else {
        if suffix.known == Known::Whole {
            // The file's doubts are told already; backups lie beside it.
            findings.role(&Role::Edit, file);
            let directory = directory_part(findings, &file.text);
            findings.role(&Role::Children, &Arg::whole(directory));
        } else {
            findings.unclear("the suffix of backups is not known");
        }
        return;
    };
    findings.role(
        &Role::Edit,
        &Arg::whole(backup(findings, file_text, suffix_text)),
    );
}

/// `a/f` and `.bak` give `a/f.bak`; `*` in the suffix stands for the name, and `/` for a directory.
fn backup(findings: &Findings<'_>, file: &[u8], suffix: &[u8]) -> Vec<u8> {
    let name = last_part(findings, file);
    let mut backup = Vec::new();
    if !suffix.contains(&b'*') {
        backup.extend_from_slice(name);
        backup.extend_from_slice(suffix);
    }
    for byte in suffix.iter().filter(|_| suffix.contains(&b'*')) {
        match byte {
            b'*' => backup.extend_from_slice(name),
            byte => backup.push(*byte),
        }
    }
    if backup.contains(&b'/') {
        return backup;
    }
    let mut path = directory_part(findings, file);
    path.push(b'/');
    path.extend_from_slice(&backup);
    path
}
