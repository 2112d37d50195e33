//! Clients of databases that write files of their own.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Outcome, Role};
use deployx_rules_common::words::{merged, with_suffix};

/// How much of a file of statements is read, in bytes.
const MAX_STATEMENTS: usize = 1 << 20;

/// `psql`: commands that begin with a backslash write files and run programs.
pub(super) fn psql(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    for statement in call.parsed.values("-c") {
        let plain = statement.value().is_some_and(|text| !writes(text));
        if !plain {
            findings.unclear("a command of the client may write files");
        }
    }
    for file in call.parsed.values("-f") {
        let read = file
            .value()
            .and_then(|path| findings.resolve(path))
            .and_then(|path| call.place.view.read(&path, MAX_STATEMENTS + 1));
        let plain = read.is_some_and(|text| text.len() <= MAX_STATEMENTS && !writes(&text));
        if !plain {
            findings.unclear("a command of the client in a file may write files");
        }
    }
    merged(call.described(), findings.finish())
}

/// Whether statements hold a command of the client that is more than a look.
fn writes(text: &[u8]) -> bool {
    text.split(|b| *b == b'\\').skip(1).any(|after| {
        let word: &[u8] = after
            .split(|b| !b.is_ascii_alphabetic())
            .next()
            .unwrap_or(b"");
        let looks = word.starts_with(b"d")
            || matches!(
                word,
                b"l" | b"x"
                    | b"q"
                    | b"timing"
                    | b"c"
                    | b"connect"
                    | b"echo"
                    | b"set"
                    | b"z"
                    | b"conninfo"
                    | b"pset"
                    | b"t"
                    | b"a"
            );
        !looks
    })
}

/// `sqlite3`: the database and the files beside it.
pub(super) fn sqlite3(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    if parsed.has("-version") || parsed.has("-help") {
        return findings.finish();
    }
    if parsed.has("-init") {
        findings.unclear("statements come from a file");
    }
    let mut operands = parsed.operand_args();
    let database = operands.next();
    if let Some(database) = database.filter(|d| !matches!(d.value(), Some(b":memory:" | b"")))
        && !parsed.has("-readonly")
    {
        findings.role(&Role::Write, database);
        for suffix in [&b"-journal"[..], b"-wal", b"-shm"] {
            findings.role(&Role::Edit, &with_suffix(database, suffix));
        }
    }
    let statements: Vec<&Arg> = operands.chain(parsed.values("-cmd")).collect();
    if statements.is_empty() {
        findings.unclear("statements come from its input");
    }
    for statement in statements {
        let plain = statement.value().is_some_and(is_plain);
        if !plain {
            findings.unclear("a statement may write other files");
        }
    }
    findings.finish()
}

/// Whether a statement touches nothing but the database.
fn is_plain(text: &[u8]) -> bool {
    let lower = text.to_ascii_lowercase();
    let has = |part: &[u8]| lower.windows(part.len()).any(|window| window == part);
    let dot = lower.trim_ascii_start().strip_prefix(b".").map(|rest| {
        let word = rest
            .split(|b| !b.is_ascii_alphabetic())
            .next()
            .unwrap_or(b"");
        matches!(
            word,
            b"tables"
                | b"schema"
                | b"dump"
                | b"indexes"
                | b"indices"
                | b"databases"
                | b"mode"
                | b"headers"
                | b"header"
                | b"timeout"
                | b"width"
                | b"stats"
                | b"show"
                | b"fullschema"
                | b"bail"
                | b"echo"
                | b"separator"
                | b"nullvalue"
        )
    });
    let elsewhere = [
        &b"attach"[..],
        b"writefile",
        b"edit(",
        b"load_extension",
        b"\n.",
    ];
    let copied = has(b"vacuum") && has(b"into");
    dot.unwrap_or(true) && !copied && !elsewhere.iter().any(|part| has(part))
}
