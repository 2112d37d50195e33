//! Subcommands of Git that change the files they are given: `checkout`, `restore`, `rm`, `clean`.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth};

use crate::git::{Repository, surroundings};
use crate::words::tree;

/// Lists something in every directory of the repository.
fn in_repository(findings: &mut Findings<'_>, name: &[u8]) {
    let Some(repository) = Repository::find(findings) else {
        return;
    };
    for directory in repository.directories {
        if let Some(path) = findings.place().style.join(&directory, name) {
            findings.whole(
                &path,
                Depth::Tree,
                Certainty::Certain,
                true,
                "the repository",
            );
        }
    }
}

/// Anything in the work tree.
fn work_tree(findings: &mut Findings<'_>) {
    match Repository::find(findings).and_then(|repository| repository.top) {
        Some(top) => findings.path(&top, Depth::Tree, Certainty::Certain, true, "the work tree"),
        None => tree(findings, b".", "the work tree"),
    }
}

/// What a pathspec names.
fn pathspec(findings: &mut Findings<'_>, arg: &Arg, removes: bool) {
    let Some(text) = arg.value() else {
        findings.role(&Role::Tree, arg);
        if arg.known == Known::Pattern {
            return;
        }
        work_tree(findings);
        return;
    };
    let wildcard = text.iter().position(|b| b"*?[\\".contains(b));
    if text.starts_with(b":") {
        work_tree(findings);
    } else if let Some(wildcard) = wildcard {
        let end = text[..wildcard].iter().rposition(|b| *b == b'/');
        let directory = end.map_or(&b"."[..], |end| &text[..=end]);
        tree(findings, directory, "named by a pathspec");
    } else if let Some(path) = findings.resolve(text) {
        findings.whole(
            &path,
            Depth::Tree,
            Certainty::Certain,
            false,
            "named by a pathspec",
        );
        if removes {
            above(findings, &path);
        }
    } else {
        findings.unclear("the working directory is not known");
    }
}

/// Directories that become empty are removed as well.
fn above(findings: &mut Findings<'_>, path: &[u8]) {
    let top = Repository::find(findings).and_then(|repository| repository.top);
    let style = findings.place().style;
    let mut at = style.parent(path);
    while let (Some(directory), Some(top)) = (at, &top) {
        if directory == *top || !style.starts_with(&directory, top) {
            return;
        }
        findings.path(
            &directory,
            Depth::Children,
            Certainty::Likely,
            false,
            "removed if empty",
        );
        at = style.parent(&directory);
    }
}

/// `git checkout BRANCH`, `git checkout -b NEW`, `git checkout TREE -- FILE`
pub(crate) fn checkout(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    surroundings(call, &mut findings);
    let parsed = call.parsed;
    let dashes = call.args.iter().position(|arg| arg.value() == Some(b"--"));
    let named: Vec<&Arg> = parsed
        .operands
        .iter()
        .filter(|operand| dashes.is_some_and(|at| operand.at > at))
        .map(|operand| operand.arg)
        .collect();
    if !named.is_empty() {
        findings.destructive();
        in_repository(&mut findings, b"index");
        named
            .into_iter()
            .for_each(|arg| pathspec(&mut findings, arg, true));
        return findings.finish();
    }
    in_repository(&mut findings, b"");
    let new_branch = parsed.has("-b") || parsed.has("-B");
    if new_branch && parsed.operands.is_empty() && !parsed.has("-f") {
        return findings.finish();
    }
    findings.destructive();
    work_tree(&mut findings);
    findings.finish()
}

/// `git restore FILE`, `git rm FILE`
pub(crate) fn restore_or_remove(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    surroundings(call, &mut findings);
    let parsed = call.parsed;
    if parsed.has("-n") {
        return findings.finish();
    }
    in_repository(&mut findings, b"index");
    let index_only = parsed.has("--cached") || parsed.has("-S") && !parsed.has("-W");
    if index_only {
        return findings.finish();
    }
    findings.destructive();
    if parsed.has("--pathspec-from-file") {
        work_tree(&mut findings);
    }
    if crate::git::subcommand(call) == "rm" {
        // A submodule's description goes with it.
        let top = Repository::find(&findings).and_then(|repository| repository.top);
        if let Some(path) = top.and_then(|top| call.place.style.join(&top, b".gitmodules"))
            && call.place.view.kind(&path) != deployx_plugin_sdk::Kind::Missing
        {
            findings.role(&Role::Write, &Arg::whole(path));
            in_repository(&mut findings, b"config");
        }
    }
    parsed
        .operand_args()
        .for_each(|arg| pathspec(&mut findings, arg, true));
    findings.finish()
}

/// `git clean -fd`: untracked files of the working directory, or of the paths that are named.
pub(crate) fn clean(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    surroundings(call, &mut findings);
    if call.parsed.has("-n") {
        return findings.finish();
    }
    findings.destructive();
    if call.parsed.operands.is_empty() {
        tree(&mut findings, b".", "untracked files");
    }
    call.parsed
        .operand_args()
        .for_each(|arg| pathspec(&mut findings, arg, true));
    findings.finish()
}
