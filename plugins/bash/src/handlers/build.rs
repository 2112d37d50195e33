//! Compilers and linkers: what they write is named by `-o`, or by their sources.

use deployx_plugin_sdk::table::{Arg, HandlerCall, Known, Outcome, Role};
use deployx_rules_common::words::{directory_part, last_part, new_names_in, not_understood};

/// Options whose value is the next argument and changes nothing.
const WITH_VALUE: &[&[u8]] = &[
    b"-I",
    b"-L",
    b"-l",
    b"-D",
    b"-U",
    b"-include",
    b"-imacros",
    b"-isystem",
    b"-idirafter",
    b"-iquote",
    b"-isysroot",
    b"-x",
    b"-arch",
    b"-T",
    b"-u",
    b"-z",
    b"-Xlinker",
    b"-Xpreprocessor",
    b"-Xassembler",
    b"-Xclang",
    b"-framework",
    b"-target",
    b"-MT",
    b"-MQ",
    b"-e",
    b"-m",
    b"-h",
    b"-soname",
    b"-rpath",
    b"-f",
    b"--param",
    b"-aux-info",
    b"-mllvm",
];

/// `cc -c a.c -o a.o`
pub(super) fn compiler(call: &HandlerCall<'_>) -> Outcome {
    let args = call.rest();
    if args.iter().any(|arg| arg.known != Known::Whole) {
        return not_understood(call, "an argument of the compiler is not known");
    }
    let mut findings = call.findings();
    let mut sources: Vec<&Arg> = Vec::new();
    let mut output: Option<Arg> = None;
    let (mut stops, mut none, mut extra) = (None, false, false);
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let text = arg.text.as_slice();
        match text {
            b"-o" => output = rest.next().cloned(),
            b"-c" => stops = Some(&b".o"[..]),
            b"-S" => stops = Some(b".s"),
            b"-E" | b"-M" | b"-MM" | b"-fsyntax-only" | b"--version" | b"-v" | b"-V"
            | b"--help" | b"-###" => none = true,
            b"-MF" | b"-Map" => {
                if let Some(file) = rest.next() {
                    findings.role(&Role::Write, file);
                }
            }
            _ if WITH_VALUE.contains(&text) => {
                rest.next();
            }
            _ if text.starts_with(b"-o") && text.len() > 2 => output = Some(Arg::whole(&text[2..])),
            _ if starts_with_any(
                text,
                &[
                    b"-fplugin",
                    b"-wrapper",
                    b"-B",
                    b"-fuse-ld=/",
                    b"@",
                    b"-load",
                    b"-specs",
                    b"--specs",
                ],
            ) =>
            {
                return not_understood(call, "an option of the compiler runs or reads more");
            }
            _ if starts_with_any(
                text,
                &[
                    b"-save-temps",
                    b"-MD",
                    b"-MMD",
                    b"-gsplit-dwarf",
                    b"--coverage",
                    b"-ftest-coverage",
                    b"-fprofile",
                    b"-fdump",
                    b"-dump",
                    b"-ftime",
                    b"-fdiagnostics-add",
                    b"-fcallgraph",
                    b"-Wl,",
                    b"--serialize",
                    b"-emit",
                    b"-fmodule",
                    b"--dep",
                    b"-Map",
                    b"-fopt-info",
                    b"-da",
                ],
            ) =>
            {
                extra = true;
            }
            _ if text.starts_with(b"-") => {}
            _ => sources.push(arg),
        }
    }
    let near = output.as_ref().map_or_else(
        || b".".to_vec(),
        |file| directory_part(&findings, &file.text),
    );
    if let Some(file) = &output {
        findings.role(&Role::Write, file);
    } else if !none && !sources.is_empty() {
        match stops {
            None => findings.role(&Role::Write, &Arg::whole("a.out")),
            Some(ending) => {
                for source in &sources {
                    let name = last_part(&findings, &source.text);
                    let stem = name
                        .iter()
                        .rposition(|b| *b == b'.')
                        .map_or(name, |dot| &name[..dot]);
                    findings.role(&Role::Write, &Arg::whole([stem, ending].concat()));
                }
            }
        }
    }
    if extra {
        new_names_in(&mut findings, &near, "files beside the result");
        new_names_in(&mut findings, b".", "files beside the result");
    }
    findings.finish()
}

fn starts_with_any(text: &[u8], beginnings: &[&[u8]]) -> bool {
    beginnings
        .iter()
        .any(|beginning| text.starts_with(beginning))
}
