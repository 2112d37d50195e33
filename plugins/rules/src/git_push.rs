//! `git push`: a repository on this host is changed as files are.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Outcome};

use crate::git::{Repository, changes};
use crate::remote::is_remote;
use crate::words::{merged, tree};

/// How much of a configuration is read, in bytes.
const MAX_CONFIG: usize = 65536;

/// What the table says, and the repositories on this host that the push may lead to.
pub(crate) fn push(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let named = call.parsed.operand_args().next();
    match named.map(|arg| (arg, arg.value())) {
        Some((_, Some(name))) if is_address(name) => local(&mut findings, name),
        Some((_, Some(name))) => configured(&mut findings, Some(name)),
        Some((arg, None)) => unknown(&mut findings, arg),
        None => configured(&mut findings, None),
    }
    merged(changes(call), findings.finish())
}

/// Whether the first operand is where a repository is, not the name of a remote.
fn is_address(text: &[u8]) -> bool {
    text.iter().any(|b| matches!(b, b'/' | b'\\' | b':')) || matches!(text, b"." | b"..")
}

fn unknown(findings: &mut Findings<'_>, arg: &Arg) {
    let shown = String::from_utf8_lossy(&arg.text).into_owned();
    findings.unclear(format!("the repository '{shown}…' is not known"));
}

/// The tree of a repository at `address`, where that is on this host.
fn local(findings: &mut Findings<'_>, address: &[u8]) {
    let path = address.strip_prefix(b"file://").unwrap_or(address);
    if path.len() == address.len() && is_remote(address) {
        return;
    }
    tree(findings, path, "the repository that is pushed to");
}

/// The addresses of a remote, or of all where none is named; a name that no remote has may be a
/// directory.
fn configured(findings: &mut Findings<'_>, name: Option<&[u8]>) {
    let Some(repository) = Repository::find(findings) else {
        return;
    };
    let (style, view) = (findings.place().style, findings.place().view);
    let mut addresses = Vec::new();
    for directory in &repository.directories {
        let config = style
            .join(directory, b"config")
            .and_then(|path| view.read(&path, MAX_CONFIG));
        addresses.extend(addresses_in(&config.unwrap_or_default(), name));
    }
    if let (Some(name), true) = (name, addresses.is_empty()) {
        addresses.push(name.to_vec());
    }
    // Relative addresses start at the top of the work tree.
    let base = repository
        .top
        .or_else(|| repository.directories.into_iter().next());
    for address in addresses {
        let from_base = base
            .as_deref()
            .filter(|_| !address.starts_with(b"file://") && !is_remote(&address))
            .and_then(|base| style.locate(view, base, &address));
        local(findings, &from_base.unwrap_or(address));
    }
}

/// The values of `url` and `pushurl` in the sections of a remote, or of every remote.
fn addresses_in(config: &[u8], name: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut addresses = Vec::new();
    let mut within = false;
    for line in config.split(|b| *b == b'\n').map(<[u8]>::trim_ascii) {
        if line.starts_with(b"[") {
            let remote = line
                .strip_prefix(b"[remote \"")
                .and_then(|rest| rest.strip_suffix(b"\"]"));
            within = remote.is_some_and(|remote| name.is_none_or(|name| name == remote));
        } else if within && let Some(at) = line.iter().position(|b| *b == b'=') {
            let key = line[..at].trim_ascii();
            if key.eq_ignore_ascii_case(b"url") || key.eq_ignore_ascii_case(b"pushurl") {
                let value = line[at + 1..].trim_ascii();
                addresses.push(value.iter().copied().filter(|b| *b != b'"').collect());
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &[u8] = b"[core]\n\turl = /no\n[remote \"origin\"]\n\turl = ../up.git\n\
        [remote \"web\"]\n\tpushurl = \"file:///srv/web.git\"\n\tfetch = x\n";

    #[test]
    fn addresses_are_those_of_the_remote() {
        let shown = |name: Option<&str>| -> Vec<String> {
            addresses_in(CONFIG, name.map(str::as_bytes))
                .into_iter()
                .map(|address| String::from_utf8(address).unwrap())
                .collect()
        };
        assert_eq!(shown(Some("origin")), ["../up.git"]);
        assert_eq!(shown(None), ["../up.git", "file:///srv/web.git"]);
        assert_eq!(shown(Some("none")), <[&str; 0]>::default());
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        for (text, address) in [
            ("origin", false),
            ("../x", true),
            ("h:x", true),
            (".", true),
        ] {
            assert_eq!(is_address(text.as_bytes()), address, "{text}");
        }
    }
}
