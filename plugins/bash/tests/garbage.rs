//! No line, however broken, may bring the reader down.

use std::sync::atomic::{AtomicUsize, Ordering};

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{FileView, Inference, Kind, PathInference, Request};
use deployx_rules_bash::BashRules;
use proptest::prelude::*;

/// The stack of a test thread. Lines are read on whatever stack the caller has.
const STACK: usize = 2 * 1024 * 1024;

fn infer(rules: &BashRules, shell: &str, command: &[u8]) -> Inference {
    let view = MemoryView::new(&["/w/a", "/w/b", "/w/d/c"]);
    let request = Request {
        shell: shell.into(),
        command: command.to_vec(),
        cwd: b"/w".to_vec(),
        home: Some(b"/home/me".to_vec()),
        ..Request::default()
    };
    rules.infer(&request, &view)
}

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(STACK);
    thread.spawn(work).unwrap().join().unwrap();
}

/// What nests, with what closes it.
const NESTING: &[(&str, &str)] = &[
    ("$(", ")"),
    ("\"$(", ")\""),
    ("$((", "))"),
    ("<(", ")"),
    ("(", ")"),
    ("((", "))"),
    ("{ ", ";}"),
    ("${x:-", "}"),
    ("\"${x:-", "}\""),
    ("${x[", "]}"),
    ("$[", "]"),
    ("`", "`"),
    ("\\`", "\\`"),
    ("'", "'"),
    ("\"", "\""),
    ("{a,", "}"),
    ("if ", "; then x; fi"),
    ("while ", "; do x; done"),
    ("for x in y; do ", "; done"),
    ("case x in a) ", ";; esac"),
    ("x() { ", "; }"),
    ("[[ ( ", " ) ]]"),
    ("! ", ""),
    ("a && ", "b"),
    ("a | ", "b"),
    ("a; ", "b"),
    ("a\n", "b"),
    ("a & ", "b"),
    ("cat <<A\n", "\nA\n"),
    ("x=(", ")"),
    ("@(", ")"),
    ("a=b ", "c"),
    (">a ", "c"),
    ("\\", ""),
    ("$", ""),
    ("eval ", "x"),
    ("bash -c ", "x"),
    ("sudo ", "x"),
];

#[test]
fn deep_nesting_is_answered() {
    on_a_small_stack(|| {
        let rules = BashRules::new();
        for (open, close) in NESTING {
            for count in [3, 10, 14, 15, 25, 60, 300, 2000, 65_000 / open.len()] {
                let opened = open.repeat(count);
                infer(&rules, "bash", opened.as_bytes());
                infer(&rules, "bash", format!("echo {opened}").as_bytes());
                let closed = format!("{opened}x{}", close.repeat(count));
                infer(&rules, "bash", closed.as_bytes());
                infer(&rules, "zsh", format!("echo {closed}").as_bytes());
            }
        }
    });
}

#[test]
fn what_cannot_be_read_is_said() {
    let rules = BashRules::new();
    for line in [
        "\"", "$(", "if", "a &&", "((", "case", "}", "a\0b", "for", "x=(", "<<", "${", "[[", "rm (",
    ] {
        let inference = infer(&rules, "bash", line.as_bytes());
        assert!(!inference.unclear.is_empty(), "{line}");
    }
    assert!(
        !infer(&rules, "bash", &vec![b'a'; 70_000])
            .unclear
            .is_empty()
    );
}

#[test]
fn functions_that_call_themselves_end() {
    on_a_small_stack(|| {
        let rules = BashRules::new();
        for line in [
            "f() { f; }; f",
            "f() { f; f; f; }; f",
            ":(){ :|:& };:",
            "f() { g; }; g() { f; }; f",
            "x='eval \"$x$x\"'; eval \"$x\"",
            "x=a; while true; do x=$x$x; done; rm $x",
            "f() { for i in {1..200}; do f; done; }; f",
            "f() { echo $(f) $(f); }; f",
            "trap 'trap \"rm x\" EXIT' EXIT",
        ] {
            infer(&rules, "bash", line.as_bytes());
        }
    });
}

/// Counts how often it is asked.
struct Counting(AtomicUsize);

impl FileView for Counting {
    fn kind(&self, _path: &[u8]) -> Kind {
        self.0.fetch_add(1, Ordering::Relaxed);
        Kind::Missing
    }
    fn list(&self, _dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Vec::new())
    }
    fn read_link(&self, _path: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn read(&self, _path: &[u8], _max: usize) -> Option<Vec<u8>> {
        None
    }
}

fn count_questions(command: &str) -> (Inference, usize) {
    let request = Request {
        shell: "bash".into(),
        command: command.into(),
        cwd: b"/w".to_vec(),
        ..Request::default()
    };
    let view = Counting(AtomicUsize::new(0));
    let answer = BashRules::new().infer(&request, &view);
    (answer, view.0.into_inner())
}

#[test]
fn a_function_that_starts_itself_twice_is_given_up_soon() {
    let (answer, questions) = count_questions(":() { :|x|cd d; rm *.o s|:& }; :");
    assert!(!answer.unclear.is_empty());
    assert!(questions < 1000, "{questions}");
}

#[test]
fn what_follows_a_function_that_calls_itself_is_followed() {
    let (answer, _) = count_questions("f() { f; }; f; rm /opt/x");
    let listed = answer.paths.iter().any(|used| used.path == b"/opt/x");
    assert!(listed && !answer.unclear.is_empty(), "{answer:?}");
}

#[test]
fn a_pattern_longer_than_any_path_is_not_expanded() {
    let (answer, questions) = count_questions(&format!("rm {}*.log", "d/".repeat(30_000)));
    assert!(!answer.unclear.is_empty() || !answer.paths.is_empty());
    assert!(questions < 10, "{questions}");
}

#[test]
fn every_word_of_a_long_unknown_command_is_told_once() {
    let words: Vec<String> = (0..8000).map(|at| format!("w{at}")).collect();
    let line = format!("x=1; frobnicate {} $x w3 'a b' 'a b'", words.join(" "));
    let (answer, _) = count_questions(&line);
    let [unclear] = answer.unclear.as_slice() else {
        panic!("{:?}", answer.unclear.len());
    };
    let text = String::from_utf8(unclear.text.clone()).unwrap();
    let told = |word: &str| text.split(' ').filter(|w| *w == word).count();
    assert_eq!((told("w7999"), told("1")), (1, 1));
    assert!(text.contains("'a b'"));
}

const TOKENS: &[&str] = &[
    "rm", "cd", "echo", "d", "a", "*", "-rf", "'", "\"", "`", "$(", ")", "(", "{", "}", "${", "$x",
    "x=", "x=1", ";", "&&", "||", "|", "&", "\n", ">", ">>", "<", "<<E", "\nE\n", "<<<", "2>&1",
    "if", "then", "else", "fi", "for", "in", "do", "done", "while", "case", "esac", ";;", "f()",
    "function", "[[", "]]", "((", "))", "$((", "\\", "~", "!", "[", "]", "?", ":-", "%", "#", "/",
    "eval", "bash -c", "set --", "$@", "break", "return", "exit", "trap", "read", "local",
    "\u{e9}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn token_soups_are_answered(
        tokens in prop::collection::vec(0..TOKENS.len(), 0..60),
        glued in any::<bool>(),
    ) {
        let words: Vec<&str> = tokens.iter().map(|at| TOKENS[*at]).collect();
        let line = words.join(if glued { "" } else { " " });
        on_a_small_stack(move || {
            let rules = BashRules::new();
            for shell in ["bash", "sh", "zsh"] {
                infer(&rules, shell, line.as_bytes());
            }
        });
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        infer(&BashRules::new(), "bash", &bytes);
    }
}
