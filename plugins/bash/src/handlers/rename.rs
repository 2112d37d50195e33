//! `rename`: of util-linux (`rename FROM TO FILE…`) or of Perl (`rename 's/a/b/' FILE…`).

use deployx_plugin_sdk::table::{Arg, HandlerCall, Known, Outcome, Role};
use deployx_rules_common::words::{directory_part, new_names_in, not_understood};

use super::perl::only_substitutes;

/// The rule for `rename`.
pub(super) fn rename(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    findings.destructive();
    let mut operands: Vec<&Arg> = Vec::new();
    for arg in call.rest() {
        match arg.value() {
            Some(b"-n" | b"--no-act" | b"-V" | b"--version" | b"-h" | b"--help") => {
                return call.findings().finish();
            }
            Some(
                b"-v" | b"--verbose" | b"-f" | b"--force" | b"-o" | b"--no-overwrite" | b"-i"
                | b"--interactive" | b"-a" | b"--all" | b"-l" | b"--last" | b"-d" | b"--filename"
                | b"--nopath" | b"--nofullpath" | b"--",
            ) => {}
            Some(text) if text.starts_with(b"-") => {
                return not_understood(call, "an unknown option of rename");
            }
            _ => operands.push(arg),
        }
    }
    let Some((first, mut files)) = operands.split_first() else {
        return findings.finish();
    };
    let Some(expression) = first.value() else {
        return not_understood(call, "the expression is not known");
    };
    if only_substitutes(expression) {
        // Perl's: a slash in the replacement could lead elsewhere.
        if expression.split(|b| *b == b'/').count() > 4 || !expression.contains(&b'/') {
            findings.unclear("names may lead to other directories");
        }
    } else if expression.iter().any(|b| b"/$(){};|`\\".contains(b)) {
        return not_understood(call, "the expression may do anything");
    } else {
        let Some((to, rest)) = files.split_first() else {
            return not_understood(call, "the expression may do anything");
        };
        if to.known != Known::Whole || to.text.contains(&b'/') {
            findings.unclear("names may lead to other directories");
        }
        files = rest;
    }
    for file in files {
        findings.role(&Role::Take, file);
        if file.known == Known::Whole {
            let directory = directory_part(&findings, &file.text);
            new_names_in(&mut findings, &directory, "new names");
        }
    }
    findings.finish()
}
