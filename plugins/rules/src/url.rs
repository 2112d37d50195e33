//! `curl` and `wget`: the names of downloads come from options or from addresses.

use deployx_plugin_sdk::Kind;
use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};

use crate::words::{directory_part, merged, new_names_in, tree};

/// The last part of an address's path, without query and fragment.
fn name_in(url: &[u8], keeps_query: bool) -> Option<&[u8]> {
    let start = url
        .windows(3)
        .position(|part| part == b"://")
        .map_or(0, |at| at + 3);
    let rest = &url[start..];
    let end = rest
        .iter()
        .position(|b| *b == b'#' || *b == b'?' && !keeps_query);
    let rest = &rest[..end.unwrap_or(rest.len())];
    let query = rest.iter().position(|b| *b == b'?').unwrap_or(rest.len());
    let slash = rest[..query].iter().rposition(|b| *b == b'/')?;
    Some(&rest[slash + 1..]).filter(|name| !name.is_empty() && name[0] != b'?')
}

/// `curl -O url`, `curl -o file url`
pub(crate) fn curl(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let any = |names: &[&str]| names.iter().any(|name| parsed.has(name));
    if any(&["-h", "-V", "-M"]) {
        return findings.finish();
    }
    if any(&["-K"]) {
        findings.unclear("options come from a file");
    }
    if parsed.values("-w").any(|format| {
        format.known != Known::Whole
            || format.text.starts_with(b"@")
            || format.text.windows(7).any(|part| part == b"%output")
    }) {
        findings.unclear("what is written at the end may go to files");
    }
    // An upload to an address of this host writes its file.
    let urls = || parsed.operand_args().chain(parsed.values("--url"));
    if parsed.has("-T") {
        for url in urls().filter(|url| url.text.to_ascii_lowercase().starts_with(b"file:")) {
            let path = url.text[5..].strip_prefix(b"//").unwrap_or(&url.text[5..]);
            let path = path.strip_prefix(b"localhost").unwrap_or(path);
            let target = Arg {
                text: path.to_vec(),
                known: url.known,
            };
            findings.role(&Role::Tree, &target);
        }
    }
    let base = parsed
        .value("--output-dir")
        .cloned()
        .unwrap_or_else(|| Arg::whole("."));
    for file in parsed
        .values("-o")
        .filter(|file| file.value() != Some(b"-"))
    {
        output(&mut findings, &base, file);
    }
    if any(&["-O", "--remote-name-all"]) {
        let Some(directory) = base.value() else {
            findings.role(&Role::Tree, &base);
            return merged(call.described(), findings.finish());
        };
        if any(&["-J"]) {
            new_names_in(&mut findings, directory, "a name that the server chooses");
        }
        for url in parsed.operand_args().chain(parsed.values("--url")) {
            let globs = !any(&["-g"]) && url.text.iter().any(|b| b"{}[]".contains(b));
            match url
                .value()
                .filter(|_| !globs)
                .and_then(|url| name_in(url, false))
            {
                Some(name) => {
                    let path = [directory, b"/", name].concat();
                    findings.role(&Role::Write, &Arg::whole(path));
                }
                None => new_names_in(&mut findings, directory, "a name from an address"),
            }
        }
    }
    merged(call.described(), findings.finish())
}

/// `-o`, in the directory that another option names; `#1` stands for what is not known.
fn output(findings: &mut Findings<'_>, base: &Arg, file: &Arg) {
    let beneath = match (base.value(), file.value()) {
        (Some(b"."), _) => file.clone(),
        (Some(base), Some(name)) => Arg::whole([base, b"/", name].concat()),
        _ => {
            findings.unclear("the name of a download is not known");
            findings.role(&Role::Tree, base);
            return;
        }
    };
    if beneath.known == Known::Whole && beneath.text.contains(&b'#') {
        let directory = directory_part(findings, &beneath.text);
        tree(findings, &directory, "names from addresses");
    } else {
        findings.role(&Role::Write, &beneath);
    }
}

/// `wget url`, `wget -O file url`, `wget -r url`
pub(crate) fn wget(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let any = |names: &[&str]| names.iter().any(|name| parsed.has(name));
    if any(&["-h", "-V"]) {
        return findings.finish();
    }
    if any(&["-e"]) || any(&["--use-askpass"]) {
        findings.unclear("a command of a configuration is given");
    }
    if any(&["-b"]) && !any(&["-o", "-a"]) {
        new_names_in(&mut findings, b".", "wget-log");
    }
    for file in parsed.values("--warc-file") {
        match file.value() {
            Some(path) => {
                let directory = directory_part(&findings, path);
                new_names_in(&mut findings, &directory, "an archive of what is fetched");
            }
            None => findings.unclear("the name of an archive is not known"),
        }
    }
    if call.name.ends_with("wget2") {
        let data = (call.place.variable)("XDG_DATA_HOME").filter(|path| !path.is_empty());
        let data = data.or_else(|| {
            let home = call.place.home?;
            Some([home, b"/.local/share"].concat())
        });
        match data {
            Some(data) => tree(
                &mut findings,
                &[&data, &b"/wget"[..]].concat(),
                "remembered hosts",
            ),
            None => findings.unclear("the home directory is not known"),
        }
    }
    let base = parsed
        .value("-P")
        .cloned()
        .unwrap_or_else(|| Arg::whole("."));
    let Some(directory) = base.value() else {
        findings.role(&Role::Tree, &base);
        return merged(call.described(), findings.finish());
    };
    if let Some(file) = parsed.value("-O") {
        if file.value() != Some(b"-") {
            findings.role(&Role::Write, file);
        }
    } else if any(&["-r", "-m", "-p", "-x", "-i", "-F"]) {
        tree(&mut findings, directory, "names from addresses");
    } else if any(&["--content-disposition", "--trust-server-names", "-K", "-E"]) {
        new_names_in(&mut findings, directory, "a name that the server chooses");
    } else if !any(&["--spider"]) {
        for url in parsed.operand_args() {
            download(&mut findings, directory, url);
        }
    }
    merged(call.described(), findings.finish())
}

/// A download under the address's name; where that is taken, a number is put behind it.
fn download(findings: &mut Findings<'_>, directory: &[u8], url: &Arg) {
    let Some(address) = url.value() else {
        new_names_in(findings, directory, "a name from an address");
        return;
    };
    let name = name_in(address, true).unwrap_or(b"index.html");
    let path = [directory, b"/", name].concat();
    findings.role(&Role::Write, &Arg::whole(path.clone()));
    let taken = |findings: &Findings<'_>, path: &[u8]| {
        let kind = findings
            .resolve(path)
            .map(|path| findings.place().view.kind(&path));
        kind.is_none_or(|kind| kind != Kind::Missing)
    };
    if !taken(findings, &path) {
        return;
    }
    for number in 1..=16 {
        let next = [path.as_slice(), format!(".{number}").as_bytes()].concat();
        if !taken(findings, &next) {
            findings.role(&Role::Write, &Arg::whole(next));
            return;
        }
    }
    new_names_in(findings, directory, "a name that is not taken");
}
