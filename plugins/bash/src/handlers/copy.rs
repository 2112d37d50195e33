//! `cp`, `mv`, `install`, `ln`, `rmdir` and `shred`, where their options are more than a table says.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth, Kind};
use deployx_rules_common::words::{backup_of, merged};

/// Sources and where they go, by the options that `cp`, `mv`, `install` and `ln` share.
struct Transfer<'a> {
    sources: Vec<&'a Arg>,
    target: Option<&'a Arg>,
    /// The target is always a directory.
    into: bool,
    /// The target is never taken for a directory.
    itself: bool,
}

impl<'a> Transfer<'a> {
    fn of(call: &'a HandlerCall<'a>) -> Self {
        let mut sources: Vec<&Arg> = call.parsed.operand_args().collect();
        let into = call.parsed.value("-t");
        let target = into.or_else(|| sources.pop());
        Self {
            sources,
            target,
            into: into.is_some(),
            itself: call.parsed.has("-T"),
        }
    }

    /// Lists the target, or the names that appear in it.
    fn list(&self, findings: &mut Findings<'_>, moved: bool) {
        let Some(target) = self.target else { return };
        if self.itself {
            findings.place_in(target, &[], false, moved);
        } else {
            findings.place_in(target, &self.sources, self.into, moved);
        }
    }
}

/// `cp` and `mv` with `--parents`, `-b` or `-T`.
pub(super) fn copy(call: &HandlerCall<'_>) -> Outcome {
    let moved = call.name.ends_with("mv");
    let mut findings = call.findings();
    let transfer = Transfer::of(call);
    if moved {
        for source in &transfer.sources {
            findings.role(&Role::Take, source);
        }
    }
    if call.parsed.has("--parents") {
        with_parents(&transfer, &mut findings);
    } else {
        transfer.list(&mut findings, moved);
    }
    let outcome = findings.finish();
    with_backups(call, outcome)
}

/// `cp --parents a/b d` makes `d/a/b`.
fn with_parents(transfer: &Transfer<'_>, findings: &mut Findings<'_>) {
    let Some(target) = transfer.target else {
        return;
    };
    for source in &transfer.sources {
        let (Some(directory), Some(name)) = (target.value(), source.value()) else {
            findings.role(&Role::Tree, target);
            if target.known != Known::Whole {
                findings.unclear("the destination is not known");
            }
            continue;
        };
        let mut path = directory.to_vec();
        for component in name.split(|b| *b == b'/').filter(|c| !c.is_empty()) {
            // The directories on the way get the attributes of their sources.
            findings.role(&Role::Meta, &Arg::whole(path.clone()));
            path.push(b'/');
            path.extend_from_slice(component);
        }
        findings.role(&Role::Tree, &Arg::whole(path));
    }
}

/// Adds the backups of what is overwritten.
fn with_backups(call: &HandlerCall<'_>, outcome: Outcome) -> Outcome {
    let parsed = call.parsed;
    if !["-b", "--backup", "-S"].iter().any(|name| parsed.has(name)) {
        return outcome;
    }
    let mut findings = call.findings();
    let given = |name: &str| (call.place.variable)(name).is_some_and(|value| !value.is_empty());
    if given("VERSION_CONTROL") && parsed.value("--backup").is_none()
        || given("SIMPLE_BACKUP_SUFFIX") && !parsed.has("-S")
    {
        findings.unclear("a variable says how backups are named");
    }
    let control = parsed.value("--backup").map(|arg| arg.text.clone());
    if matches!(control.as_deref(), Some(b"none" | b"off")) {
        return outcome;
    }
    let numbered = matches!(control.as_deref(), Some(b"t" | b"numbered"));
    let suffix = match parsed.value("-S") {
        None => b"~".to_vec(),
        Some(suffix) if suffix.known == Known::Whole && !suffix.text.contains(&b'/') => {
            suffix.text.clone()
        }
        Some(_) => {
            findings.unclear("the suffix of backups is not known");
            b"~".to_vec()
        }
    };
    let targets = outcome
        .paths
        .iter()
        .filter(|path| path.reason == "destination");
    for path in targets {
        // Within a directory that is merged, backups are covered with its tree.
        backup_of(&mut findings, &path.path, &suffix, numbered);
    }
    merged(outcome, findings.finish())
}

/// `install`: replaces what is there, makes directories with `-d` and `-D`.
pub(super) fn install(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    if call.parsed.has("-d") {
        for directory in call.parsed.operand_args() {
            findings.role(&Role::Create, directory);
        }
        return findings.finish();
    }
    Transfer::of(call).list(&mut findings, true);
    with_backups(call, findings.finish())
}

/// `ln`: a link is made at the target, not at what a link there leads to.
pub(super) fn link(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut transfer = Transfer::of(call);
    let here = Arg::whole(".");
    if transfer.sources.is_empty() && !transfer.into {
        // `ln -s /a/b` links here.
        transfer.sources.extend(transfer.target);
        transfer.target = Some(&here);
        transfer.into = true;
    }
    if !call.parsed.has("-s") {
        // The file gets one more name. With its old ones unknown, a rollback of the rollback could
        // not make it one file again.
        for source in &transfer.sources {
            findings.role(&Role::Meta, source);
        }
    }
    let not_followed = call.parsed.has("-n") || transfer.itself;
    let at = transfer
        .target
        .and_then(Arg::value)
        .and_then(|path| findings.resolve(path));
    match at {
        Some(path) if not_followed && call.place.view.kind(&path) == Kind::Link => {
            findings.path(
                &path,
                Depth::Entry,
                Certainty::Certain,
                false,
                "destination",
            );
        }
        _ => transfer.list(&mut findings, true),
    }
    with_backups(call, findings.finish())
}

/// `rmdir`: only empty directories go, with `-p` those above as well.
pub(super) fn rmdir(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    findings.destructive();
    for operand in call.parsed.operand_args() {
        let Some(text) = operand.value().filter(|text| !text.is_empty()) else {
            findings.role(&Role::Remove, operand);
            continue;
        };
        let mut end = text.len();
        while end > 0 {
            match findings.resolve(&text[..end]) {
                Some(path) => {
                    findings.path(
                        &path,
                        Depth::Children,
                        Certainty::Certain,
                        false,
                        "removed if empty",
                    );
                }
                None => findings.unclear("the working directory is not known"),
            }
            let above = text[..end].iter().rposition(|b| *b == b'/');
            end = above.filter(|_| call.parsed.has("-p")).unwrap_or(0);
        }
    }
    findings.finish()
}

/// `shred`: overwrites, and with `-u` removes.
pub(super) fn shred(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    findings.destructive();
    for operand in call.parsed.operand_args() {
        findings.role(&Role::Write, operand);
        if call.parsed.has("-u") || call.parsed.has("--remove") {
            findings.role(&Role::Remove, operand);
        }
    }
    findings.finish()
}
