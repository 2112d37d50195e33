//! `ssh` and `scp`.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};

use crate::words::{merged, not_understood};

/// Whether a value of `-o` makes the client run a program of this host.
fn runs_here(value: &Arg) -> bool {
    let text = value.text.to_ascii_lowercase();
    let names = [
        "proxycommand",
        "localcommand",
        "permitlocalcommand",
        "knownhostscommand",
        "match",
        "pkcs11",
        "securitykey",
        "userknownhostsfile",
        "globalknownhostsfile",
        "controlpath",
        "controlmaster",
        "localforward",
        "xauthlocation",
        "include",
        "identityagent",
        "revokedhostkeys",
    ];
    let setting = text.split(|b| matches!(b, b'=' | b' ')).nth(1);
    let single = text.iter().filter(|b| matches!(b, b'=' | b' ')).count() == 1;
    let off = setting.is_some_and(|setting| matches!(setting, b"/dev/null" | b"no" | b"none"));
    if value.known == Known::Whole && single && off {
        return false;
    }
    value.known != Known::Whole
        || names
            .iter()
            .any(|name| text.trim_ascii_start().starts_with(name.as_bytes()))
}

fn programs(call: &HandlerCall<'_>, findings: &mut Findings<'_>) {
    if call.parsed.values("-o").any(runs_here)
        || call.parsed.has("-S") && call.name.ends_with("scp")
    {
        findings.unclear("an option runs a program or names a file");
    }
    if call.name.ends_with("ssh") {
        let socket = |arg: &Arg| arg.text.starts_with(b"/") || arg.text.starts_with(b".");
        if call
            .parsed
            .values("-L")
            .chain(call.parsed.values("-D"))
            .any(socket)
        {
            findings.unclear("a socket is made");
        }
        if call.parsed.has("-M") || call.parsed.has("-S") {
            for socket in call
                .parsed
                .values("-S")
                .filter(|s| s.value() != Some(b"none"))
            {
                findings.role(&Role::Write, socket);
            }
        }
    }
}

/// `ssh host command`: the command runs elsewhere.
pub(crate) fn ssh(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    programs(call, &mut findings);
    if ["-V", "-Q", "-G"].iter().any(|name| call.parsed.has(name)) {
        return findings.finish();
    }
    merged(call.described(), findings.finish())
}

/// Whether `text` names a file of another host: `host:file`, `scp://host/file`.
pub(crate) fn is_remote(text: &[u8]) -> bool {
    let colon = text.iter().position(|b| *b == b':');
    let slash = text.iter().position(|b| *b == b'/');
    let drive = colon == Some(1)
        && matches!(text.get(2), Some(b'\\' | b'/'))
        && text[0].is_ascii_alphabetic();
    !drive && colon.is_some_and(|colon| colon > 0 && slash.is_none_or(|slash| colon < slash))
}

/// The path behind `host:`.
pub(crate) fn path_part(arg: &Arg) -> Arg {
    let text = if is_remote(&arg.text) {
        arg.text.splitn(2, |b| *b == b':').nth(1).unwrap_or(b"")
    } else {
        &arg.text
    };
    let wild = is_remote(&arg.text) && text.iter().any(|b| b"*?[{$`~".contains(b));
    Arg {
        text: if text.is_empty() {
            b".".to_vec()
        } else {
            text.to_vec()
        },
        known: if wild { Known::Beginning } else { arg.known },
    }
}

/// `scp host:file .`
pub(crate) fn scp(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    programs(call, &mut findings);
    let operands: Vec<&Arg> = call.parsed.operand_args().collect();
    let Some((target, sources)) = operands.split_last() else {
        return findings.finish();
    };
    if target.known != Known::Whole && !is_remote(&target.text) {
        return not_understood(call, "the destination is not known");
    }
    if !is_remote(&target.text) {
        let sources: Vec<Arg> = sources.iter().map(|source| path_part(source)).collect();
        let sources: Vec<&Arg> = sources.iter().collect();
        findings.place_in(target, &sources, false, false);
    }
    let mut outcome = merged(call.described(), findings.finish());
    if !operands.iter().any(|arg| is_remote(&arg.text)) {
        outcome.irreversible.clear();
    }
    outcome
}
