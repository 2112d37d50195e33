//! Compressors of single files: `x` becomes `x.gz` and goes away.

use deployx_plugin_sdk::table::{Arg, Findings, HandlerCall, Known, Outcome, Role};
use deployx_rules_common::words::{directory_part, new_names_in, with_suffix};

/// Names that a decompressor knows, and what it puts in their place.
const ENDINGS: &[(&[u8], &[u8])] = &[
    (b".tgz", b".tar"),
    (b".taz", b".tar"),
    (b".tbz2", b".tar"),
    (b".tbz", b".tar"),
    (b".txz", b".tar"),
    (b".tlz", b".tar"),
    (b".tzst", b".tar"),
    (b".gz", b""),
    (b"-gz", b""),
    (b".z", b""),
    (b"-z", b""),
    (b"_z", b""),
    (b".Z", b""),
    (b".bz2", b""),
    (b".bz", b""),
    (b".xz", b""),
    (b".lzma", b""),
    (b".lz", b""),
    (b".lzo", b""),
    (b".zst", b""),
    (b".lz4", b""),
    (b".br", b""),
];

/// The ending that a compressor adds.
fn ending(name: &str) -> &'static [u8] {
    let name = name.rsplit('/').next().unwrap_or(name);
    match name.trim_start_matches("un").trim_start_matches("mt") {
        n if n.contains("bz") || n == "bunzip2" || n.contains("bunzip2") => b".bz2",
        "lzip" | "plzip" => b".lz",
        "lzop" => b".lzo",
        "lzma" => b".lzma",
        n if n.contains("xz") => b".xz",
        n if n.contains("zst") => b".zst",
        n if n.contains("lz4") => b".lz4",
        n if n.contains("brotli") => b".br",
        "compress" => b".Z",
        _ => b".gz",
    }
}

/// `gzip`, `bzip2`, `xz` and programs like them.
pub(super) fn compress(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let parsed = call.parsed;
    let any = |names: &[&str]| names.iter().any(|name| parsed.has(name));
    if any(&["-c", "-l", "-t", "-L", "-V", "-h", "-H"]) {
        return findings.finish();
    }
    let base = call.name.rsplit('/').next().unwrap_or(call.name);
    let expands = base.contains("un") || parsed.has("-d");
    let added = parsed
        .value("-S")
        .map_or_else(|| Arg::whole(ending(call.name)), Clone::clone);
    let tail = Arg {
        text: if added.text.first() == Some(&b'.')
            || parsed.value("-S").is_none()
            || base.contains("gz")
            || base.contains("pi")
        {
            added.text.clone()
        } else {
            [b".", added.text.as_slice()].concat()
        },
        known: added.known,
    };
    if tail.known != Known::Whole {
        findings.unclear("the suffix is not known");
    }
    if any(&["--files", "--files0"]) {
        findings.unclear("the files are named in a list");
    }
    for file in parsed
        .operand_args()
        .filter(|file| file.value() != Some(b"-"))
    {
        if any(&["-r"]) {
            findings.role(&Role::Tree, file);
        }
        if expands {
            expand(&mut findings, file, &tail.text, parsed.has("-k"));
        } else {
            replace(
                &mut findings,
                file,
                &with_suffix(file, &tail.text),
                parsed.has("-k"),
            );
        }
        if expands && parsed.has("-N") && !parsed.has("-k") {
            let directory = directory_part(&findings, &file.text);
            new_names_in(&mut findings, &directory, "a name from the archive");
        }
    }
    findings.finish()
}

/// `from` gives `to`, and goes away unless it is kept.
fn replace(findings: &mut Findings<'_>, from: &Arg, to: &Arg, keeps: bool) {
    if !keeps {
        findings.role(&Role::Remove, from);
    }
    match from.known {
        Known::Whole => findings.role(&Role::Edit, to),
        // What the pattern fits, and as many new names beside it.
        _ => {
            let directory = directory_part(findings, &from.text);
            new_names_in(findings, &directory, "a file beside");
        }
    }
}

/// `x.gz` gives `x`; `x` may stand for `x.gz`.
fn expand(findings: &mut Findings<'_>, file: &Arg, added: &[u8], keeps: bool) {
    let Some(text) = file.value() else {
        replace(findings, file, file, keeps);
        return;
    };
    if let Some(plain) = text
        .strip_suffix(added)
        .filter(|plain| !plain.is_empty() && !added.is_empty())
    {
        replace(findings, file, &Arg::whole(plain), keeps);
        return;
    }
    for (end, instead) in ENDINGS {
        if let Some(plain) = text.strip_suffix(*end) {
            replace(
                findings,
                file,
                &Arg::whole([plain, instead].concat()),
                keeps,
            );
            return;
        }
    }
    for end in [added, b".gz", b".z", b".Z"] {
        let packed = with_suffix(file, end);
        let there = findings.resolve(&packed.text);
        let missing = there.is_some_and(|path| {
            findings.place().view.kind(&path) == deployx_plugin_sdk::Kind::Missing
        });
        if !missing {
            replace(findings, &packed, file, keeps);
        }
    }
    findings.role(&Role::Edit, &with_suffix(file, b".out"));
}

/// `zstd`, `lz4`, `brotli` and `compress`: what goes in is kept by most of them.
pub(super) fn zstd(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let base = call.name.rsplit('/').next().unwrap_or(call.name);
    let old = base.ends_with("compress");
    let mut expands = base.starts_with("un");
    let mut removes = old;
    let mut outputs = false;
    let mut ending: Vec<u8> = ending(call.name).to_vec();
    let mut files: Vec<&Arg> = Vec::new();
    let mut args = call.rest().iter();
    while let Some(arg) = args.next() {
        let Some(text) = arg.value() else {
            if arg.text.is_empty() || arg.text.starts_with(b"-") {
                findings.unclear("an argument is not known");
            }
            files.push(arg);
            continue;
        };
        match text {
            b"--rm" | b"-j" | b"-m" => removes = true,
            b"-c" | b"--stdout" | b"--to-stdout" | b"-t" | b"--test" | b"-l" | b"--list"
            | b"-V" | b"--version" | b"-h" | b"--help" | b"-H" => return findings.finish(),
            b"-o" | b"--output" => {
                outputs = true;
                if let Some(file) = args.next().filter(|file| file.value() != Some(b"-")) {
                    findings.role(&Role::Write, file);
                }
            }
            b"--output-dir-flat" | b"--output-dir-mirror" => {
                outputs = true;
                if let Some(directory) = args.next() {
                    findings.role(&Role::Tree, directory);
                }
            }
            b"-S" | b"--suffix" if base == "brotli" => match args.next().and_then(Arg::value) {
                Some(suffix) => ending = suffix.to_vec(),
                None => findings.unclear("the suffix is not known"),
            },
            b"-D" | b"--patch-from" | b"-M" | b"-w" | b"-q"
                if base == "brotli" || text == b"-D" =>
            {
                args.next();
            }
            b"--decompress" | b"--uncompress" => expands = true,
            b"-" => {}
            _ if text.starts_with(b"--output=") => {
                outputs = true;
                findings.role(&Role::Write, &Arg::whole(&text[9..]));
            }
            _ if text.starts_with(b"--suffix=") => ending = text[9..].to_vec(),
            _ if text.starts_with(b"--output-dir-") => {
                outputs = true;
                let directory = text.splitn(2, |b| *b == b'=').nth(1).unwrap_or(b".");
                findings.role(&Role::Tree, &Arg::whole(directory));
            }
            _ if text.starts_with(b"--format=") => {
                ending = match &text[9..] {
                    b"gzip" => b".gz".to_vec(),
                    b"xz" => b".xz".to_vec(),
                    b"lzma" => b".lzma".to_vec(),
                    b"lz4" => b".lz4".to_vec(),
                    _ => ending,
                };
            }
            _ if text.starts_with(b"--train")
                || text.starts_with(b"--filelist")
                || text.starts_with(b"--trace") =>
            {
                findings.unclear("an option of zstd that is not described");
            }
            _ if text.starts_with(b"--") => {}
            _ if text.starts_with(b"-o") => {
                outputs = true;
                findings.role(&Role::Write, &Arg::whole(&text[2..]));
            }
            _ if text.starts_with(b"-") => {
                expands |= text.contains(&b'd');
                if text.ends_with(b"o") && text.len() > 2 {
                    outputs = true;
                    if let Some(file) = args.next().filter(|file| file.value() != Some(b"-")) {
                        findings.role(&Role::Write, file);
                    }
                    continue;
                }
                if text.contains(&b'c') || text.contains(&b't') && !text.starts_with(b"-T") {
                    return findings.finish();
                }
                if text.contains(&b'r') || text.contains(&b'o') {
                    findings.unclear("options in a bundle");
                    files
                        .iter()
                        .for_each(|file| findings.role(&Role::Tree, file));
                }
            }
            _ => files.push(arg),
        }
    }
    if base.contains("lz4") && files.len() == 2 {
        findings.role(&Role::Write, files[1]);
        files.truncate(1);
        outputs = true;
    }
    for file in files {
        if outputs {
            if removes {
                findings.role(&Role::Remove, file);
            }
        } else if expands {
            expand(&mut findings, file, &ending, !removes);
        } else {
            replace(&mut findings, file, &with_suffix(file, &ending), !removes);
        }
    }
    findings.finish()
}
