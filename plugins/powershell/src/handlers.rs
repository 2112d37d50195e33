//! Rules in code for cmdlets whose paths depend on one another.

use deployx_plugin_sdk::table::{Arg, Handler, HandlerCall, Handlers, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

const OWN: [(&str, Handler); 7] = [
    ("expand_archive", expand_archive),
    ("start_bits_transfer", start_bits_transfer),
    ("start_transcript", start_transcript),
    ("new_item", new_item),
    ("rename_item", rename_item),
    ("compress_archive", compress_archive),
    ("invoke_web_request", invoke_web_request),
];

/// All of them, those for programs of every shell included.
pub(crate) fn all() -> Handlers {
    Handlers::of(&[&OWN, deployx_rules_common::HANDLERS].concat())
}

/// `New-Item -Path a -Name b`: the name is taken from the path.
fn new_item(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let paths: Vec<&Arg> = call.parsed.values("-Path").collect();
    let names: Vec<&Arg> = call.parsed.values("-Name").collect();
    if names.is_empty() {
        for path in paths {
            findings.role(&Role::Create, path);
        }
        return findings.finish();
    }
    let here = Arg::whole(".");
    let bases = if paths.is_empty() { vec![&here] } else { paths };
    for base in bases {
        for name in &names {
            let mut joined = base.clone();
            if base.known == Known::Whole {
                joined.text.push(b'/');
                joined.text.extend_from_slice(&name.text);
                joined.known = name.known;
            }
            findings.role(&Role::Create, &joined);
        }
    }
    findings.finish()
}

/// `Rename-Item a b`: the new name is in the directory of the old.
fn rename_item(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let style = call.place.style;
    let new_name = call.parsed.value("-NewName").cloned();
    for path in call.parsed.values("-Path") {
        findings.role(&Role::Take, path);
        let resolved = path.value().and_then(|text| findings.resolve(text));
        let parent = match (&resolved, path.known) {
            (Some(resolved), _) => style.parent(resolved),
            // Somewhere beneath the directory that the role has listed.
            _ => continue,
        };
        let Some(parent) = parent else {
            continue;
        };
        let name = new_name
            .as_ref()
            .and_then(Arg::value)
            .and_then(|text| style.name(text))
            .filter(|name| !name.is_empty());
        match name.and_then(|name| style.join(&parent, name)) {
            Some(target) => {
                findings.whole(&target, Depth::Tree, Certainty::Certain, false, "new name");
            }
            None => {
                let reason = "a new name in it";
                findings.path(&parent, Depth::Children, Certainty::Certain, true, reason);
            }
        }
    }
    findings.finish()
}

/// `Compress-Archive`: `.zip` is added to a name without it.
fn compress_archive(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for target in call.parsed.values("-DestinationPath") {
        findings.role(&Role::Write, target);
        let zip = target.text.to_ascii_lowercase().ends_with(b".zip");
        if target.known == Known::Whole && !zip {
            let named = Arg::whole([target.text.as_slice(), b".zip"].concat());
            findings.role(&Role::Write, &named);
        }
    }
    findings.finish()
}

/// `Expand-Archive`: into a directory of the archive's name where none is given.
fn expand_archive(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut given = call.parsed.values("-DestinationPath").peekable();
    if given.peek().is_none() {
        for archive in call.parsed.values("-Path") {
            let name = archive.value().and_then(|text| call.place.style.name(text));
            match name {
                Some(name) => {
                    let dot = name.iter().rposition(|b| *b == b'.');
                    let stem = Arg::whole(&name[..dot.unwrap_or(name.len())]);
                    findings.role(&Role::Tree, &stem);
                }
                None => findings.role(&Role::Tree, &Arg::whole(".")),
            }
        }
    }
    for target in given {
        findings.role(&Role::Tree, target);
    }
    findings.finish()
}

/// `Start-BitsTransfer`: into the working directory where no destination is given.
fn start_bits_transfer(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    findings.irreversible("network", "a file is transferred");
    let mut given = call.parsed.values("-Destination").peekable();
    if given.peek().is_none() {
        findings.role(&Role::Children, &Arg::whole("."));
    }
    for target in given {
        findings.role(&Role::Tree, target);
    }
    findings.finish()
}

/// `Start-Transcript`: into the user's documents where no path is given.
fn start_transcript(call: &HandlerCall<'_>) -> Outcome {
    if call.parsed.has("-Path") || call.parsed.has("-OutputDirectory") {
        return call.described();
    }
    let mut findings = call.findings();
    findings.unclear("the transcript is written where the user's documents are");
    findings.finish()
}

/// `Invoke-WebRequest -OutFile x`: into a directory, under the name that the address has.
fn invoke_web_request(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    findings.irreversible("network", "a request is sent");
    let changes = call.parsed.value("-Method").is_some_and(|method| {
        !matches!(
            method.text.to_ascii_lowercase().as_slice(),
            b"get" | b"head" | b"options"
        )
    });
    if changes {
        findings.irreversible("remote", "the request may change something");
    }
    for target in call.parsed.values("-OutFile") {
        let resolved = target.value().and_then(|text| findings.resolve(text));
        let directory = resolved
            .as_ref()
            .is_some_and(|path| findings.kind_behind(path) == Kind::Directory);
        let role = if directory {
            Role::Children
        } else {
            Role::Write
        };
        findings.role(&role, target);
    }
    findings.finish()
}
