//! What rules in code do with arguments again and again.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

/// How many entries of a directory are looked at for a name.
const MAX_NUMBERS: usize = 4096;

/// An argument as text, for messages and comparisons.
pub fn text(arg: &Arg) -> String {
    String::from_utf8_lossy(&arg.text).into_owned()
}

/// Whether every argument is wholly known.
pub fn all_known(args: &[Arg]) -> bool {
    args.iter().all(|arg| arg.known == Known::Whole)
}

/// The outcome of a call that is not understood: what the table says, and every argument that may be
/// a path as a tree.
pub fn not_understood(call: &HandlerCall<'_>, reason: &str) -> Outcome {
    let mut findings = call.findings();
    findings.unclear(reason);
    for arg in call.rest() {
        if !arg.text.starts_with(b"-") {
            findings.role(&Role::Tree, arg);
        }
    }
    merged(call.described(), findings.finish())
}

/// Both together.
pub fn merged(mut first: Outcome, mut second: Outcome) -> Outcome {
    first.paths.append(&mut second.paths);
    first.unclear.append(&mut second.unclear);
    first.irreversible.append(&mut second.irreversible);
    first.nested.append(&mut second.nested);
    first.destructive |= second.destructive;
    first
}

/// `arg` with `suffix` behind it.
pub fn with_suffix(arg: &Arg, suffix: &[u8]) -> Arg {
    let mut text = arg.text.clone();
    text.extend_from_slice(suffix);
    Arg {
        text,
        known: arg.known,
    }
}

/// The directory part of a path as it is written: `.` where it has none.
pub fn directory_part(findings: &Findings<'_>, path: &[u8]) -> Vec<u8> {
    let style = findings.place().style;
    match path.iter().rposition(|b| style.is_separator(*b)) {
        Some(0) => path[..1].to_vec(),
        Some(end) => path[..end].to_vec(),
        None => b".".to_vec(),
    }
}

/// The last component of a path as it is written; separators at its end do not count.
pub fn last_part<'p>(findings: &Findings<'_>, path: &'p [u8]) -> &'p [u8] {
    let style = findings.place().style;
    let mut parts = path.rsplit(|b| style.is_separator(*b));
    parts.find(|part| !part.is_empty()).unwrap_or(b"")
}

/// New names appear in `directory`, which names may not be told.
pub fn new_names_in(findings: &mut Findings<'_>, directory: &[u8], reason: &str) {
    match findings.resolve(directory) {
        Some(path) => {
            findings.whole(&path, Depth::Children, Certainty::Certain, true, reason);
        }
        None => findings.unclear("the working directory is not known"),
    }
}

/// Lists the tree of a path as it is written, with the directories above it that are missing.
pub fn tree(findings: &mut Findings<'_>, path: &[u8], reason: &str) {
    match findings.resolve(path) {
        Some(path) => findings.whole(&path, Depth::Tree, Certainty::Certain, true, reason),
        None => findings.unclear("the working directory is not known"),
    }
}

/// Lists the backup that is made of `path`, an absolute one, where it exists: `name~`, `name.~1~`.
pub fn backup_of(findings: &mut Findings<'_>, path: &[u8], suffix: &[u8], numbered: bool) {
    let style = findings.place().style;
    let view = findings.place().view;
    if view.kind(path) == Kind::Missing {
        return;
    }
    let (Some(parent), Some(name)) = (style.parent(path), style.name(path)) else {
        return;
    };
    let reason = "backup";
    let Some(entries) = view.list(&parent).filter(|list| list.len() <= MAX_NUMBERS) else {
        findings.path(&parent, Depth::Children, Certainty::Likely, true, reason);
        return;
    };
    let number = |entry: &[u8]| {
        let rest = entry
            .strip_prefix(name)?
            .strip_prefix(b".~")?
            .strip_suffix(b"~")?;
        std::str::from_utf8(rest).ok()?.parse::<u64>().ok()
    };
    let last = entries.iter().filter_map(|(entry, _)| number(entry)).max();
    let mut backup = path.to_vec();
    if numbered || last.is_some() {
        let next = last.unwrap_or(0).saturating_add(1);
        backup.extend_from_slice(format!(".~{next}~").as_bytes());
        findings.path(&backup, Depth::Tree, Certainty::Certain, false, reason);
    }
    if !numbered {
        let mut simple = path.to_vec();
        simple.extend_from_slice(suffix);
        findings.path(&simple, Depth::Tree, Certainty::Likely, false, reason);
    }
}
