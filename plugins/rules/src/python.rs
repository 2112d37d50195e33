//! `python`: a few modules are known, everything else is a script.

use deployx_plugin_sdk::table::{Arg, HandlerCall, NestedCommand, Outcome, Role};

use crate::words::new_names_in;

/// `python -m venv DIR`, `python script.py`
pub(crate) fn python(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut args = call.rest();
    while let Some((first, rest)) = args.split_first() {
        args = rest;
        let Some(text) = first.value() else {
            findings.unclear("an argument is not known");
            return findings.finish();
        };
        match text {
            b"-V" | b"--version" | b"-VV" | b"-h" | b"--help" => return findings.finish(),
            b"-m" => {
                let (Some(module), rest) = (rest.first(), rest.get(1..).unwrap_or(&[])) else {
                    break;
                };
                self::module(&mut findings, module, rest);
                return findings.finish();
            }
            b"-W" | b"-X" => args = rest.get(1..).unwrap_or(&[]),
            b"-c" | b"-" => {
                findings.unclear("code runs");
                return findings.finish();
            }
            _ if text.starts_with(b"-c") || !text.starts_with(b"-") => {
                findings.unclear("a script runs");
                return findings.finish();
            }
            _ => {}
        }
    }
    findings.unclear("code comes from its input");
    findings.finish()
}

fn module(findings: &mut deployx_plugin_sdk::table::Findings<'_>, module: &Arg, args: &[Arg]) {
    let operands = || {
        args.iter()
            .filter(|arg| !arg.text.starts_with(b"-") || arg.text == b"-")
    };
    match module.value().unwrap_or(b"") {
        b"venv" | b"virtualenv" => {
            let mut skip = false;
            for arg in args {
                let is_value = std::mem::replace(
                    &mut skip,
                    matches!(arg.text.as_slice(), b"--prompt" | b"-p" | b"--python"),
                );
                if !is_value && (!arg.text.starts_with(b"-") || arg.value().is_none()) {
                    findings.role(&Role::Tree, arg);
                }
            }
        }
        b"pip" => {
            let mut words = vec![Arg::whole("pip")];
            words.extend_from_slice(args);
            findings.nested(NestedCommand::Words(words));
        }
        b"json.tool" => {
            let mut files = operands().filter(|arg| !arg.text.iter().all(u8::is_ascii_digit));
            if let Some(output) = files.nth(1) {
                findings.role(&Role::Write, output);
            }
        }
        b"http.server" | b"this" | b"platform" | b"calendar" | b"base64" | b"site"
        | b"sysconfig" | b"tokenize" | b"ast" | b"dis" | b"SimpleHTTPServer" => {}
        b"compileall" => operands().for_each(|arg| findings.role(&Role::Tree, arg)),
        b"py_compile" => {
            for file in operands() {
                let directory = crate::words::directory_part(findings, &file.text);
                let cache = [directory.as_slice(), b"/__pycache__"].concat();
                crate::words::tree(findings, &cache, "compiled modules");
            }
        }
        b"zipfile" | b"tarfile" => {
            let extracts = args
                .iter()
                .any(|arg| matches!(arg.text.as_slice(), b"-e" | b"--extract"));
            let creates = args
                .iter()
                .any(|arg| matches!(arg.text.as_slice(), b"-c" | b"--create"));
            if extracts {
                match operands().nth(1) {
                    Some(directory) => findings.role(&Role::Tree, directory),
                    None => crate::words::tree(findings, b".", "members of the archive"),
                }
            } else if creates {
                operands()
                    .take(1)
                    .for_each(|archive| findings.role(&Role::Write, archive));
            }
        }
        b"ensurepip" => findings.unclear("packages are installed"),
        _ => {
            findings.unclear("code of a module runs");
            new_names_in(findings, b".", "files of the module");
        }
    }
}
