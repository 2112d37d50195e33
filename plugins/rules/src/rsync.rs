//! `rsync`: what lies beneath the destination, and a few places more.

use deployx_plugin_sdk::Kind;
use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};

use crate::remote::{is_remote, path_part};
use crate::words::{directory_part, last_part, merged, new_names_in, text, tree};

/// The rule for `rsync`.
pub(crate) fn rsync(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let any = |names: &[&str]| names.iter().any(|name| parsed.has(name));
    if any(&["-V", "--help"]) {
        return findings.finish();
    }
    for shell in parsed.values("-e") {
        let words = text(shell);
        let first = words.split_whitespace().next().unwrap_or_default();
        if shell.known != Known::Whole || !first.ends_with("ssh") || words.contains("Command") {
            findings.unclear("a program named by an option runs");
        }
    }
    let operands: Vec<&Arg> = parsed.operand_args().collect();
    let remote = |arg: &Arg| is_remote(&arg.text) || arg.text.starts_with(b"rsync://");
    if operands.iter().any(|arg| remote(arg)) {
        findings.irreversible("remote", "files are copied from or to another host");
    }
    let dry = any(&["-n", "--list-only"]);
    let Some((target, sources)) = operands
        .split_last()
        .filter(|(_, sources)| !sources.is_empty() && !dry)
    else {
        return merged(call.described(), findings.finish());
    };
    if any(&[
        "--delete",
        "--del",
        "--delete-before",
        "--delete-during",
        "--delete-delay",
        "--delete-after",
        "--delete-excluded",
    ]) {
        findings.destructive();
    }
    if any(&["--remove-source-files"]) {
        findings.destructive();
        sources
            .iter()
            .filter(|s| !remote(s))
            .for_each(|source| findings.role(&Role::Tree, source));
    }
    for name in ["--write-batch", "--only-write-batch"] {
        for file in parsed.values(name) {
            findings.role(&Role::Write, file);
            findings.role(&Role::Write, &crate::words::with_suffix(file, b".sh"));
        }
    }
    if any(&["--only-write-batch"]) || remote(target) {
        return merged(call.described(), findings.finish());
    }
    let temporary = (call.place.variable)("RSYNC_PARTIAL_DIR").is_some_and(|path| !path.is_empty());
    if temporary || any(&["-K", "--copy-as", "-M", "--write-devices"]) {
        findings.unclear("files behind links or devices may be written");
    }
    destination(call, &mut findings, target, sources);
    merged(call.described(), findings.finish())
}

fn destination(
    call: &HandlerCall<'_>,
    findings: &mut Findings<'_>,
    target: &Arg,
    sources: &[&Arg],
) {
    let parsed = call.parsed;
    let Some(directory) = target.value() else {
        findings.role(&Role::Tree, target);
        return;
    };
    for name in ["--backup-dir", "--partial-dir", "-T"] {
        for other in parsed.values(name) {
            // Taken from the destination where it is relative.
            let beneath = other.value().map(|path| {
                if call.place.style.is_absolute(path) {
                    path.to_vec()
                } else {
                    [directory, b"/", path].concat()
                }
            });
            match beneath {
                Some(path) => tree(findings, &path, "a directory named by an option"),
                None => findings.role(&Role::Tree, other),
            }
        }
    }
    let under_their_names = [
        "-R",
        "--files-from",
        "--delete-missing-args",
        "--read-batch",
    ]
    .iter()
    .all(|name| !parsed.has(name))
        && sources
            .iter()
            .all(|source| source.known == Known::Whole && !source.text.ends_with(b"/"));
    let there = findings
        .resolve(directory)
        .map(|path| findings.kind_behind(&path));
    let single_file = sources.len() == 1
        && !directory.ends_with(b"/")
        && matches!(there, Some(Kind::Missing | Kind::File));
    if single_file && parsed.has("-b") {
        let above = directory_part(findings, directory);
        new_names_in(findings, &above, "backups");
    }
    if !under_their_names || there != Some(Kind::Directory) {
        tree(findings, directory, "destination");
        return;
    }
    for source in sources {
        let path = path_part(source);
        let name = last_part(findings, &path.text);
        if path.known != Known::Whole || matches!(name, b"" | b"." | b"..") {
            tree(findings, directory, "destination");
            continue;
        }
        let arrival = [directory, b"/", name].concat();
        tree(findings, &arrival, "destination");
        if parsed.has("-b") {
            new_names_in(findings, directory, "backups");
        }
    }
    // Times and modes of the directory itself stay as they are: its entry is covered by the host.
}
