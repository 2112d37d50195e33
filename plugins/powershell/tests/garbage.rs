//! No line makes the rules panic, and none that is not understood goes without saying so.

use std::time::{Duration, Instant};

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Inference, PathInference, Request};
use deployx_rules_powershell::PowerShellRules;
use proptest::prelude::*;

fn infer(rules: &PowerShellRules, shell: &str, command: &[u8]) -> Inference {
    let request = Request {
        shell: shell.into(),
        command: command.to_vec(),
        cwd: br"C:\srv".to_vec(),
        ..Request::default()
    };
    rules.infer(
        &request,
        &MemoryView::new(&[r"C:\srv\a.txt", r"C:\srv\d\b.txt"]),
    )
}

const PIECES: [&str; 46] = [
    "rm ",
    "Remove-Item ",
    "gci ",
    "-Recurse ",
    "-Path:",
    "$x",
    "$_",
    "$env:TEMP",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "@(",
    "@{",
    "$(",
    "\"",
    "'",
    "`",
    "|",
    "||",
    "&&",
    "&",
    ";",
    ",",
    ".",
    "..",
    "::",
    "=",
    "+",
    "-",
    ">",
    ">>",
    "2>&1",
    "%",
    "?",
    "a.txt",
    "*.txt",
    "\n",
    " ",
    "if",
    "foreach",
    "function f",
    "@'\n",
    "--%",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bytes_do_not_panic(command in proptest::collection::vec(any::<u8>(), 0..200)) {
        infer(&PowerShellRules::new(), "pwsh", &command);
    }

    #[test]
    fn pieces_of_the_language_do_not_panic(picks in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let line: String = picks.iter().map(|at| PIECES[*at]).collect();
        let answer = infer(&PowerShellRules::new(), "powershell", line.as_bytes());
        for used in &answer.paths {
            prop_assert!(used.path.starts_with(b"C:\\"), "{line}: {:?}", used);
        }
    }

    #[test]
    fn an_unknown_command_is_never_understood(line in "[a-z]{3,8}-zzz( [a-z./-]{1,8}){0,4}") {
        let answer = infer(&PowerShellRules::new(), "powershell", line.as_bytes());
        prop_assert!(!answer.unclear.is_empty());
    }
}

/// Bounded work on a stack of ordinary size. The bound is wide: an unoptimised build on a
/// busy machine must keep it.
#[test]
fn nested_garbage_is_given_up_early() {
    let rules = PowerShellRules::new();
    for piece in [
        "(",
        "$(",
        "{",
        "\"$(",
        "@(",
        "@{a=",
        "a|",
        "a;",
        "&{",
        "%{",
        "!",
        "-",
        "[",
        "[a[",
        "if(",
        "if(1){",
        ".a",
        "$x.a",
        "$x[",
        "1+",
        "a,",
        "$a,",
        "`",
        "\"",
        "'",
        "@'\n",
        "@\"\n",
        "rm a\n",
        "{}|",
        "foreach($x in 1){",
        "function f{",
        "f;",
        "\0",
        "\u{e9}",
        "$x=",
        "& ",
        "<#",
        "1..9|%{",
        "for(;;){",
        "gci|",
        "a>b ",
        "iex 'iex ",
    ] {
        let line = piece.repeat(65_536 / piece.len());
        let start = Instant::now();
        let answer = infer(&rules, "pwsh", line.as_bytes());
        println!("{:>8.2} ms {piece:?}", start.elapsed().as_secs_f64() * 1e3);
        assert!(start.elapsed() < Duration::from_secs(20), "{piece:?}");
        drop(answer);
    }
}

/// Values that double with every step stay small.
#[test]
fn values_that_grow_are_given_up() {
    let rules = PowerShellRules::new();
    for (first, step) in [
        ("$x='ab'", ";$x=\"$x$x\""),
        ("$x='ab'", ";$x+=$x"),
        ("$x='a'", ";$x=$x,$x"),
        ("$x='a'", ";$x=@{a=$x;b=$x}"),
        ("$x='aa'", ";$x=$x.Replace('a','aaaaaaaa')"),
        ("$x='aa'", ";$x=$x -replace 'a','aaaaaaaa'"),
        ("$x='aa'", ";$x='{0}{0}{0}' -f $x"),
        ("$x='rm a;'", ";$x=\"$x$x\";iex $x"),
        ("1", "..32|%{1..32"),
    ] {
        let mut line = first.to_string() + &step.repeat(60);
        line.push_str(&"}".repeat(step.matches('{').count() * 60));
        let start = Instant::now();
        infer(&rules, "pwsh", line.as_bytes());
        println!("{:>8.2} ms {step}", start.elapsed().as_secs_f64() * 1e3);
        assert!(start.elapsed() < Duration::from_secs(20), "{step}");
    }
}

/// Prints what ordinary lines cost, the tables included.
#[test]
fn ordinary_lines_are_answered() {
    let line: &[u8] = b"Get-ChildItem d -Recurse -Filter *.txt | Where-Object { $_.Length -gt 5 } | Remove-Item -Force";
    let start = Instant::now();
    let rules = PowerShellRules::new();
    let first = infer(&rules, "pwsh", line);
    let cold = start.elapsed();
    let start = Instant::now();
    for _ in 0..100 {
        infer(&rules, "pwsh", line);
    }
    println!(
        "first {:.0} us, then {:.0} us",
        cold.as_secs_f64() * 1e6,
        start.elapsed().as_secs_f64() * 1e4
    );
    assert!(first.unclear.is_empty());
}
