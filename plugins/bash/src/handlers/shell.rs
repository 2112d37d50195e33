//! Shells: `bash -c 'line'` is read in turn, a script is not.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Nested, NestedCommand, Outcome};

/// Options of one letter that do not make the shell do anything else.
const LETTERS: &[u8] = b"abefhiklmnptuvxBCEHPTrcsoO";

/// `bash -ec 'line' name argument`
pub(super) fn shell(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let mut args = call.rest().iter();
    let (mut line, mut only_checks) = (false, false);
    let mut rest: Vec<&Arg> = Vec::new();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            if line {
                rest.push(arg);
                rest.extend(args.by_ref());
                break;
            }
            findings.unclear("an argument of the shell is not known");
            return findings.finish();
        };
        match text {
            b"--" | b"-" => rest.extend(args.by_ref()),
            b"--version" | b"--help" => return findings.finish(),
            b"--rcfile" | b"--init-file" => {
                args.next();
            }
            _ if text.starts_with(b"--") => {}
            _ if text.len() > 1 && matches!(text[0], b'-' | b'+') => {
                let letters = &text[1..];
                line |= letters.contains(&b'c');
                only_checks |= text[0] == b'-' && letters.contains(&b'n');
                if letters.contains(&b's') {
                    findings.unclear("commands come from its input");
                }
                for _ in letters.iter().filter(|b| matches!(b, b'o' | b'O')) {
                    args.next();
                }
                if !letters.iter().all(|b| LETTERS.contains(b)) {
                    findings.unclear("an unknown option of the shell");
                }
            }
            _ => {
                rest.push(arg);
                rest.extend(args.by_ref());
            }
        }
    }
    match rest.split_first() {
        _ if only_checks => {}
        Some((text, parameters)) if line => {
            let numbered = parameters.iter().enumerate();
            findings.nested_as(Nested {
                what: NestedCommand::Line {
                    shell: Some(
                        call.name
                            .rsplit('/')
                            .next()
                            .unwrap_or(call.name)
                            .to_string(),
                    ),
                    text: (*text).clone(),
                },
                cwd: None,
                assign: numbered
                    .map(|(n, arg)| (n.to_string(), (*arg).clone()))
                    .collect(),
                unknown_arguments_in: None,
            });
        }
        Some(_) => findings.unclear("a script runs"),
        None => findings.unclear("commands come from its input"),
    }
    findings.finish()
}
