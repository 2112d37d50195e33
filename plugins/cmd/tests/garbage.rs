//! Any bytes are answered: without a panic, on a small stack, and without getting lost.

use deployx_plugin_sdk::testing::MemoryView;
use deployx_plugin_sdk::{Inference, PathInference, Request};
use deployx_rules_cmd::CmdRules;
use proptest::prelude::*;

const SIZE: usize = 64 << 10;

fn infer(command: &[u8]) -> Inference {
    let view = MemoryView::new(&[
        r"C:\srv\a.txt",
        r"C:\srv\dir\b.txt",
        r"C:\srv\dir\sub\c.txt",
        r"C:\srv\link -> C:\srv\dir",
    ]);
    let request = Request {
        shell: "cmd".into(),
        command: command.to_vec(),
        cwd: br"C:\srv".to_vec(),
        env: vec![("APP".into(), b"x & del y".to_vec())],
        ..Request::default()
    };
    CmdRules::new().infer(&request, &view)
}

/// Runs on a stack of 2 MiB, as threads have it.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn nested_garbage_is_not_understood() {
    on_a_small_stack(|| {
        for piece in [
            "(",
            "if 1==1 ",
            "if exist x (",
            "if 1==1 (a) else ",
            "for %f in (a) do ",
            "for %f in (a) do (",
            "for /f %f in ('",
            "cmd /c ",
            "cmd /c \"",
            "call ",
            "start ",
            "a & (",
            "a | (",
        ] {
            for size in [2_000, SIZE] {
                let line = piece.repeat(size / piece.len());
                let inference = infer(line.as_bytes());
                assert!(!inference.unclear.is_empty(), "{piece} {size}");
            }
        }
    });
}

#[test]
fn a_nul_byte_makes_the_line_unclear() {
    let inference = infer(b"pushd d\0ir && del b.txt");
    assert!(inference.paths.is_empty(), "{inference:?}");
    assert!(!inference.unclear.is_empty(), "{inference:?}");
}

#[test]
fn long_lines_of_one_sign_are_answered() {
    on_a_small_stack(|| {
        for piece in [
            "^",
            "\"",
            "%",
            "!",
            "%a:",
            "%a%",
            "&",
            "|",
            ">",
            "2>",
            "a>b ",
            ")",
            "@",
            "=",
            "/",
            "\\",
            "del a&",
            "set /a x=1&",
            "cd dir&",
            "pushd dir&",
            "*",
            "del *.txt&",
            "%~f",
            "\n",
            "^\n",
            "rem ",
            "forfiles /c \"",
            ":",
            "\0",
            "\u{ff}",
            "copy a+",
            "del /s *.txt&",
            "cd ..|",
        ] {
            for size in [2_000, 40_000, SIZE] {
                infer(piece.repeat(size / piece.len()).as_bytes());
            }
        }
    });
}

#[test]
fn loops_in_loops_end() {
    let line = "for %a in (1 2 3 4 5 6 7 8 9) do ".repeat(30) + "del %a";
    assert!(!infer(line.as_bytes()).unclear.is_empty());
    let line = "for /f %a in (x) do (cd %a & ".repeat(30) + "del %a" + &")".repeat(30);
    assert!(!infer(line.as_bytes()).unclear.is_empty());
    let line = "for /l %a in (1,1,1000000000) do del %a";
    assert!(!infer(line.as_bytes()).unclear.is_empty());
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "del",
        "copy",
        "move",
        "ren",
        "rd",
        "md",
        "cd",
        "pushd",
        "popd",
        "set",
        "call",
        "start",
        "cmd",
        "/c",
        "/s",
        "/q",
        "/d",
        "for",
        "%f",
        "%%f",
        "in",
        "do",
        "if",
        "not",
        "exist",
        "else",
        "==",
        "(",
        ")",
        "&",
        "&&",
        "||",
        "|",
        ">",
        ">>",
        "2>&1",
        "<",
        "nul",
        "^",
        "\"",
        " ",
        " ",
        " ",
        "\n",
        "%APP%",
        "%X%",
        "%X:~0,3%",
        "!X!",
        "setlocal enabledelayedexpansion",
        "*.txt",
        "a.txt",
        "dir",
        "..",
        "\\",
        "C:\\",
        "D:",
        "\\\\h\\s",
        "%~nxf",
        "%~$PATH:f",
        "'",
        "`",
        "/f",
        "\"delims=\"",
        "dir /b",
        "xcopy",
        "robocopy",
        "forfiles",
        "/p",
        "/m",
        "@path",
        "reg",
        "add",
        "git",
        "tar",
        "-xf",
        "attrib",
        "+r",
        "+",
        ",",
        "=",
        "rem",
        "::",
        "@",
        "echo",
        "ä",
        "\u{fffd}",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_bytes_are_answered(line in prop::collection::vec(any::<u8>(), 0..400)) {
        infer(&line);
    }

    #[test]
    fn any_row_of_pieces_is_answered(line in pieces()) {
        for path in infer(line.as_bytes()).paths {
            prop_assert!(!path.path.is_empty());
        }
    }
}
