//! `split`, `csplit` and `mktemp`: new files whose names the program chooses.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, NestedCommand, Outcome, Role};
use deployx_rules_common::words::{directory_part, new_names_in};

/// New files beside `prefix`.
fn pieces(findings: &mut Findings<'_>, prefix: Option<&Arg>) {
    match prefix {
        None => new_names_in(findings, b".", "pieces"),
        Some(prefix) if prefix.known == Known::Whole => {
            let directory = directory_part(findings, &prefix.text);
            new_names_in(findings, &directory, "pieces");
        }
        Some(prefix) => findings.role(&Role::Write, prefix),
    }
}

/// `split FILE PREFIX`
pub(super) fn split(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    if let Some(filter) = call.parsed.value("--filter") {
        findings.unclear("each piece is given to a command");
        findings.nested(NestedCommand::Line {
            shell: Some("sh".into()),
            text: filter.clone(),
        });
    }
    pieces(&mut findings, call.parsed.operand_args().nth(1));
    findings.finish()
}

/// `csplit -f PREFIX FILE …`
pub(super) fn csplit(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    pieces(&mut findings, call.parsed.value("-f"));
    findings.finish()
}

/// `mktemp -d -p DIR nameXXXX`
pub(super) fn mktemp(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if ["-u", "--help", "--version"]
        .iter()
        .any(|name| parsed.has(name))
    {
        return findings.finish();
    }
    let template = parsed.operand_args().next();
    let named = parsed.value("-p").or_else(|| parsed.value("--tmpdir"));
    let unknown = |arg: Option<&Arg>| arg.is_some_and(|arg| arg.known != Known::Whole);
    if unknown(template) || unknown(named) {
        findings.unclear("the template is not known");
        return findings.finish();
    }
    let temporary = || {
        let variable = (call.place.variable)("TMPDIR").filter(|value| !value.is_empty());
        variable.unwrap_or_else(|| b"/tmp".to_vec())
    };
    let in_temporary = parsed.has("--tmpdir") || parsed.has("-t") || template.is_none();
    let mut path = match named.filter(|directory| !directory.text.is_empty()) {
        Some(directory) => directory.text.clone(),
        None if in_temporary => temporary(),
        None => b".".to_vec(),
    };
    if let Some(template) = template {
        if template.text.starts_with(b"/") {
            path.clear();
        } else {
            path.push(b'/');
        }
        path.extend_from_slice(&template.text);
        path = directory_part(&findings, &path);
    }
    new_names_in(&mut findings, &path, "a temporary name");
    findings.finish()
}
