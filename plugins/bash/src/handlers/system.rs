//! Programs of the system whose words decide what they do.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth};
use deployx_rules_common::words::merged;

/// `date`: an operand that is no format sets the clock.
pub(super) fn date(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let sets = call
        .parsed
        .operand_args()
        .any(|arg| !arg.text.starts_with(b"+"));
    if sets {
        findings.irreversible("time", "the clock is set");
    }
    merged(call.described(), findings.finish())
}

/// `ip addr show` looks; `ip addr add` changes.
pub(super) fn ip(call: &HandlerCall<'_>) -> Outcome {
    let word = call.rest().iter().find(|arg| !arg.text.starts_with(b"-"));
    let looks = match word {
        None => true,
        Some(word) => matches!(
            word.value(),
            Some(
                b"show"
                    | b"sh"
                    | b"s"
                    | b"list"
                    | b"ls"
                    | b"l"
                    | b"lst"
                    | b"get"
                    | b"g"
                    | b"help"
                    | b"dev"
                    | b"identify"
                    | b"pids"
            )
        ),
    };
    if looks {
        return call.findings().finish();
    }
    let mut findings = call.findings();
    if word
        .and_then(Arg::value)
        .is_some_and(|word| word.starts_with(b"e"))
    {
        findings.unclear("a program runs in another network namespace");
    }
    merged(call.described(), findings.finish())
}

/// `mount` alone lists; `--mkdir` makes its target.
pub(super) fn mount(call: &HandlerCall<'_>) -> Outcome {
    let parsed = call.parsed;
    let names = ["-a", "--source", "--target", "-L", "-U"];
    if parsed.operands.is_empty() && !names.iter().any(|name| parsed.has(name)) {
        return call.findings().finish();
    }
    let mut findings = call.findings();
    if parsed.has("-m") {
        for target in parsed.operand_args().skip(1) {
            findings.role(&Role::Create, target);
        }
    }
    merged(call.described(), findings.finish())
}

/// `update-alternatives --install LINK NAME PATH PRIORITY`
pub(super) fn alternatives(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for arg in call.rest().iter().filter(|arg| arg.text.starts_with(b"/")) {
        if let Some(path) = arg.value().and_then(|path| findings.resolve(path)) {
            findings.whole(
                &path,
                Depth::Entry,
                Certainty::Likely,
                false,
                "a link is made",
            );
        }
    }
    merged(call.described(), findings.finish())
}

/// `useradd` and programs like it: the home directory and the mail of the user they name.
pub(super) fn users(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for arg in call.rest() {
        let Some(text) = arg.value() else {
            findings.unclear("a user's name is not known");
            continue;
        };
        if text.starts_with(b"/") {
            findings.role(&Role::Tree, arg);
        }
    }
    let named = call.rest().last().and_then(Arg::value);
    let name =
        named.filter(|name| !name.is_empty() && !name.starts_with(b"-") && !name.contains(&b'/'));
    let homes = [
        "useradd", "userdel", "usermod", "adduser", "deluser", "newusers",
    ];
    if let Some(name) = name.filter(|_| homes.iter().any(|known| call.name.ends_with(known))) {
        for above in ["/home", "/var/mail", "/var/spool/mail", "/var/spool/cron"] {
            let path = [above.as_bytes(), b"/", name].concat();
            findings.whole(&path, Depth::Tree, Certainty::Likely, true, "of the user");
        }
    }
    merged(call.described(), findings.finish())
}
