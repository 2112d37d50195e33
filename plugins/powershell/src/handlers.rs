//! Rules in code for cmdlets whose paths depend on one another.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Handlers, Known, Outcome, Role};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

/// All of them.
pub(crate) fn all() -> Handlers {
    Handlers::of(&[
        ("new_item", new_item),
        ("rename_item", rename_item),
        ("compress_archive", compress_archive),
        ("invoke_web_request", invoke_web_request),
    ])
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
