//! `patch`: the files are named on the command line or in the patch.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Outcome, Role};
use deployx_rules_common::words::{directory_part, merged, new_names_in, tree, with_suffix};

/// How much of a patch is read, in bytes.
const MAX_PATCH: usize = 1 << 20;

/// The rule for `patch`.
pub(super) fn patch(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if ["--dry-run", "-v", "--help"]
        .iter()
        .any(|name| parsed.has(name))
    {
        return findings.finish();
    }
    let other_backups = ["-B", "-Y", "-z", "-V"].iter().any(|name| parsed.has(name));
    if other_backups || (call.place.variable)("VERSION_CONTROL").is_some_and(|v| !v.is_empty()) {
        tree(&mut findings, b".", "backups");
        if let Some(file) = parsed.operand_args().next() {
            let directory = directory_part(&findings, &file.text);
            new_names_in(&mut findings, &directory, "backups");
        }
        if parsed.has("-B") {
            findings.unclear("backups go where a prefix leads");
        }
    }
    if let Some(file) = parsed.operand_args().next() {
        patched(&mut findings, file);
        return merged(outputs(call), findings.finish());
    }
    if parsed.has("-o") {
        return merged(outputs(call), findings.finish());
    }
    match named_files(call, &findings) {
        Some(files) => files
            .iter()
            .for_each(|file| patched(&mut findings, &Arg::whole(file.clone()))),
        None => tree(&mut findings, b".", "named in the patch"),
    }
    if parsed.has("--follow-symlinks") {
        findings.unclear("symbolic links are followed");
    }
    merged(outputs(call), findings.finish())
}

/// `-o` and `-r`, which stand in the directory that `-d` names.
fn outputs(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for name in ["-o", "-r"] {
        for file in call
            .parsed
            .values(name)
            .filter(|file| file.value() != Some(b"-"))
        {
            findings.role(&Role::Write, file);
        }
    }
    findings.finish()
}

fn patched(findings: &mut Findings<'_>, file: &Arg) {
    findings.role(&Role::Edit, file);
    for suffix in [&b".orig"[..], b".rej"] {
        findings.role(&Role::Edit, &with_suffix(file, suffix));
    }
}

/// The files that the patch given with `-i` names; `None` where that cannot be told.
fn named_files(call: &HandlerCall<'_>, findings: &Findings<'_>) -> Option<Vec<Vec<u8>>> {
    let strip: usize = match call.parsed.value("-p") {
        None => return None,
        Some(value) => std::str::from_utf8(value.value()?).ok()?.parse().ok()?,
    };
    let path = findings.resolve(call.parsed.value("-i")?.value()?)?;
    let text = call.place.view.read(&path, MAX_PATCH + 1)?;
    if text.len() > MAX_PATCH {
        return None;
    }
    let mut files = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let header = [
            &b"--- "[..],
            b"+++ ",
            b"*** ",
            b"Index: ",
            b"rename to ",
            b"rename from ",
            b"copy to ",
            b"copy from ",
        ];
        if let Some(both) = line.strip_prefix(b"diff --git ") {
            // Files that are only made, removed or given a mode are named nowhere else.
            files.extend(named_by_git(both, strip)?);
            continue;
        }
        let Some(rest) = header.iter().find_map(|header| line.strip_prefix(*header)) else {
            continue;
        };
        let name = rest
            .split(|b| *b == b'\t')
            .next()
            .unwrap_or(rest)
            .trim_ascii();
        if name == b"/dev/null"
            || name.is_empty()
            || name.starts_with(b"\"")
            || name.ends_with(b" ****")
        {
            if name.starts_with(b"\"") {
                return None;
            }
            continue;
        }
        // Names in the lines of Git about renames have no prefix.
        let bare = line.starts_with(b"rename ") || line.starts_with(b"copy ");
        let strip = strip.saturating_sub(usize::from(bare));
        let stripped = name.splitn(strip + 1, |b| *b == b'/').nth(strip)?;
        files.push(stripped.to_vec());
    }
    Some(files)
}

/// The files of a line `diff --git a/NAME b/NAME`; `None` where they cannot be told.
fn named_by_git(both: &[u8], strip: usize) -> Option<Vec<Vec<u8>>> {
    let both = both.trim_ascii();
    let mut names = both.split(|b| *b == b' ');
    let (first, second) = (names.next()?, names.next()?);
    if names.next().is_some() || both.starts_with(b"\"") {
        return None;
    }
    let stripped = |name: &[u8]| {
        let part = name.splitn(strip + 1, |b| *b == b'/').nth(strip);
        part.map(<[u8]>::to_vec)
    };
    Some(vec![stripped(first)?, stripped(second)?])
}
