//! `chmod`, `chown`, `chgrp` and `chattr`: modes may look like options.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Outcome, Role};

/// `chmod -x file`: `-x` is a mode.
pub(super) fn chmod(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let (mut recursive, mut mode_given, mut ended) = (false, false, false);
    let mut operands: Vec<&Arg> = Vec::new();
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        if ended || !arg.text.starts_with(b"-") {
            may_be_option(&mut findings, arg, ended);
            operands.push(arg);
            continue;
        }
        match arg.value() {
            Some(b"--") => ended = true,
            Some(b"--reference") => {
                mode_given = true;
                args.next();
            }
            Some(text) if text.starts_with(b"--ref") => mode_given = true,
            Some(text) if text.starts_with(b"--") => recursive |= text.starts_with(b"--rec"),
            Some(text) if is_mode(text) => mode_given = true,
            Some(text) => {
                recursive |= text.contains(&b'R');
                if !text[1..].iter().all(|b| b"cfvRHLPh".contains(b)) {
                    findings.unclear("an unknown option of chmod");
                }
            }
            None => findings.unclear("an option is not known"),
        }
    }
    let files = operands.into_iter().skip(usize::from(!mode_given));
    apply(&mut findings, files, recursive);
    findings.finish()
}

/// Says so where nothing of an argument is known.
fn may_be_option(findings: &mut Findings<'_>, arg: &Arg, ended: bool) {
    if !ended && arg.text.is_empty() && arg.value().is_none() {
        findings.unclear("an argument may be an option");
    }
}

/// `-x`, `-rw`, `-u+s`, `-0755`
fn is_mode(text: &[u8]) -> bool {
    text.len() > 1
        && text[1..]
            .iter()
            .all(|b| b"rwxXstugoa01234567+-=,".contains(b))
}

/// `chown` and `chgrp`.
pub(super) fn chown(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let skip = usize::from(!call.parsed.has("--reference"));
    let recursive = call.parsed.has("-R");
    if recursive && call.parsed.has("-L") {
        findings.unclear("symbolic links to directories are followed");
    }
    apply(
        &mut findings,
        call.parsed.operand_args().skip(skip),
        recursive,
    );
    findings.finish()
}

/// `chattr -R +i file`.
pub(super) fn chattr(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut recursive = false;
    let mut files: Vec<&Arg> = Vec::new();
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        match arg.text.first() {
            Some(b'-') => {
                recursive |= arg.text.contains(&b'R');
                if matches!(arg.value(), Some(b"-p" | b"-v")) {
                    args.next();
                }
            }
            Some(b'+' | b'=') => {}
            _ => {
                may_be_option(&mut findings, arg, false);
                files.push(arg);
            }
        }
    }
    apply(&mut findings, files.into_iter(), recursive);
    findings.finish()
}

fn apply<'a>(findings: &mut Findings<'_>, files: impl Iterator<Item = &'a Arg>, recursive: bool) {
    let role = if recursive {
        Role::MetaTree
    } else {
        Role::Meta
    };
    files.for_each(|file| findings.role(&role, file));
}
