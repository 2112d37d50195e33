//! `tar`: what is written depends on the mode, and on every `-C` before a name.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};

use crate::words::{all_known, directory_part, merged, new_names_in, text, tree};

/// What the call does with its archive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Extract,
    /// Creates or changes the archive.
    Write,
    /// Lists or compares.
    Look,
}

/// The rule for `tar`.
pub(crate) fn tar(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let any = |names: &[&str]| names.iter().any(|name| parsed.has(name));
    let mode = if any(&["-x"]) {
        Mode::Extract
    } else if any(&["-c", "-r", "-u", "-A", "--delete"]) {
        Mode::Write
    } else if any(&[
        "-t",
        "-d",
        "--test-label",
        "--help",
        "--version",
        "--usage",
        "--show-defaults",
    ]) {
        Mode::Look
    } else {
        findings.unclear("no mode of tar is given");
        Mode::Write
    };
    programs(call, &mut findings);
    match mode {
        Mode::Extract => extract(call, &mut findings),
        Mode::Write => write(call, &mut findings),
        Mode::Look => {}
    }
    merged(call.described(), findings.finish())
}

/// Options that make tar run other programs.
fn programs(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    let parsed = call.parsed;
    for name in ["-F", "--rmt-command", "--rsh-command", "--to-command"] {
        if parsed.has(name) {
            findings.unclear(format!("the option {name} runs a program"));
        }
    }
    for action in parsed.values("--checkpoint-action") {
        let harmless = [
            &b"echo"[..],
            b"dot",
            b"totals",
            b"bell",
            b"ttyout",
            b"sleep",
        ];
        if !harmless.iter().any(|known| action.text.starts_with(known)) {
            findings.unclear("a checkpoint may run a program");
        }
    }
    for program in parsed.values("-I") {
        let known = [
            "gzip", "pigz", "bzip2", "pbzip2", "lbzip2", "xz", "pixz", "zstd", "zstdmt", "pzstd",
            "lz4", "lzip", "plzip", "lzop", "lzma", "brotli", "unzstd", "gunzip", "unxz",
        ];
        let words = text(program);
        let first = words.split_whitespace().next().unwrap_or_default();
        if program.known != Known::Whole || !known.contains(&first) {
            findings.unclear("a program named by an option compresses");
        }
    }
}

/// The archive is written.
fn write(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    let parsed = call.parsed;
    if parsed.has("--backup") {
        for archive in parsed.values("-f").filter_map(Arg::value) {
            let directory = directory_part(findings, archive);
            new_names_in(findings, &directory, "a backup of the archive");
        }
    }
    for archive in parsed.values("-f") {
        if is_remote(call, archive) {
            findings.irreversible("remote", "an archive on another host is written");
        } else if archive.value() != Some(b"-") {
            findings.role(&Role::Write, archive);
            if parsed.has("-M") {
                findings.unclear("further volumes are written");
            }
        }
    }
    if parsed.has("--remove-files") {
        findings.destructive();
        each_in_its_directory(call, findings, |findings, name| {
            findings.role(&Role::Remove, name);
        });
        if parsed.has("-T") {
            findings.unclear("the files that are removed are named in a list");
        }
    }
}

/// A name like `host:file`, which tar takes for a file of another host.
fn is_remote(call: &HandlerCall<'_>, archive: &Arg) -> bool {
    if call.parsed.has("--force-local")
        || call.place.style == deployx_plugin_sdk::path::Style::Windows
    {
        return false;
    }
    let colon = archive.text.iter().position(|b| *b == b':');
    let slash = archive.text.iter().position(|b| *b == b'/');
    colon.is_some_and(|colon| colon > 0 && slash.is_none_or(|slash| colon < slash))
}

/// The archive's members are written beneath the directories of `-C`.
fn extract(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    let parsed = call.parsed;
    if parsed.has("-O") || parsed.has("--to-command") {
        return;
    }
    if parsed.has("-P") {
        findings.unclear("members may have absolute names");
    }
    if parsed.has("--keep-directory-symlink") {
        findings.unclear("members may lie behind symbolic links");
    }
    let archives: Vec<&Arg> = parsed.values("-f").collect();
    if archives.iter().any(|archive| is_remote(call, archive)) {
        findings.irreversible("network", "an archive is read from another host");
    }
    if parsed.has("-T") && !parsed.has("--verbatim-files-from") {
        findings.unclear("a list of names may lead to other directories");
    }
    if parsed.has("--one-top-level") {
        match parsed.value("--one-top-level") {
            Some(directory) if !parsed.has("-C") => findings.role(&Role::Tree, directory),
            Some(directory) if directory.text.starts_with(b"/") => {
                findings.role(&Role::Tree, directory);
            }
            _ => everything(call, findings),
        }
        return;
    }
    let named = !parsed.operands.is_empty();
    let literal = [
        "--transform",
        "--strip-components",
        "--wildcards",
        "--no-anchored",
        "--ignore-case",
        "--backup",
        "-K",
        "-T",
        "-P",
    ];
    // A member is given without the separator at its beginning, and `bsdtar` reads patterns.
    let plain =
        |arg: &Arg| !arg.text.starts_with(b"/") && !arg.text.iter().any(|b| b"*?[".contains(b));
    let plain = parsed.operand_args().all(plain);
    if named && plain && !literal.iter().any(|name| parsed.has(name)) {
        each_in_its_directory(call, findings, |findings, name| {
            findings.role(&Role::Tree, name);
        });
    } else {
        everything(call, findings);
    }
}

/// Anything beneath the directories that members go to.
fn everything(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    let mut any = false;
    let mut inner = Findings::new(call.rule.label(), *findings.place());
    for given in call
        .parsed
        .options
        .iter()
        .filter(|given| given.spec.is("-C"))
    {
        any = true;
        for directory in &given.values {
            inner.role(&Role::Tree, directory);
            inner.chdir(directory);
        }
    }
    if !any {
        tree(&mut inner, b".", "members of the archive");
    }
    take(findings, inner);
}

/// Calls `each` for every operand, relative paths taken from the `-C` before it.
fn each_in_its_directory(
    call: &HandlerCall<'_>,
    findings: &mut Findings<'_>,
    each: impl Fn(&mut Findings<'_>, &Arg),
) {
    let mut inner = Findings::new(call.rule.label(), *findings.place());
    let mut directories = call
        .parsed
        .options
        .iter()
        .filter(|given| given.spec.is("-C"))
        .peekable();
    for operand in &call.parsed.operands {
        while let Some(given) = directories.next_if(|given| given.at < operand.at) {
            given.values.iter().for_each(|value| inner.chdir(value));
        }
        each(&mut inner, operand.arg);
    }
    if directories.peek().is_some() && !all_known(call.args) {
        inner.unclear("the order of the arguments is not known");
    }
    take(findings, inner);
}

fn take(findings: &mut Findings<'_>, inner: Findings<'_>) {
    let outcome = inner.finish();
    for reason in outcome.unclear {
        findings.unclear(reason);
    }
    for effect in outcome.irreversible {
        findings.irreversible(&effect.what, effect.reason);
    }
    for path in outcome.paths {
        findings.path(
            &path.path,
            path.depth,
            path.certainty,
            path.follow,
            &path.reason,
        );
    }
}
