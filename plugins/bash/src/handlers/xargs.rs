//! `xargs`: arguments come from its input.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Known, Nested, NestedCommand, Outcome};

/// `xargs -I{} command {}`
pub(super) fn xargs(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let words = call
        .parsed
        .command
        .and_then(|at| call.args.get(at..))
        .unwrap_or(&[]);
    if words.is_empty() {
        // It prints what it reads.
        return findings.finish();
    }
    let replaced = ["-I", "-i", "--replace", "-J"]
        .iter()
        .find(|name| call.parsed.has(name));
    let (words, unknown) = match replaced {
        Some(name) => {
            let mark = call.parsed.value(name).map(|arg| arg.text.clone());
            let mark = mark
                .filter(|mark| !mark.is_empty())
                .unwrap_or_else(|| b"{}".to_vec());
            (words.iter().map(|word| cut(word, &mark)).collect(), None)
        }
        None => (words.to_vec(), Some(Vec::new())),
    };
    findings.nested_as(Nested {
        what: NestedCommand::Words(words),
        cwd: None,
        assign: Vec::new(),
        unknown_arguments_in: unknown,
    });
    findings.finish()
}

/// What is known of a word in which `mark` is replaced.
fn cut(word: &Arg, mark: &[u8]) -> Arg {
    let at = word.text.windows(mark.len()).position(|part| part == mark);
    match at {
        None => word.clone(),
        Some(at) => Arg {
            text: word.text[..at].to_vec(),
            known: if word.known == Known::Whole {
                Known::Beginning
            } else {
                word.known
            },
        },
    }
}
