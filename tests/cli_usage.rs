//! How the program answers to its arguments, as far as that needs no snapshot: help, generated
//! text, wrong usage, configuration, and output that nobody reads.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program in an environment of its own, with `store` as the place for snapshots.
fn deployx(store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deployx"));
    for name in [
        "DEPLOYX_CONFIG",
        "DEPLOYX_LOG",
        "NO_COLOR",
        "CLICOLOR_FORCE",
    ] {
        command.env_remove(name);
    }
    command
        .env("DEPLOYX_SNAPSHOT_DIR", store)
        .current_dir(store.parent().unwrap_or(store))
        .stdin(Stdio::null());
    command
}

/// Runs the program with `arguments`; the store does not exist.
fn run(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    deployx(&dir.path().join("store"))
        .args(arguments)
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

const COMMANDS: [&str; 18] = [
    "run",
    "batch",
    "rollback",
    "list",
    "show",
    "diff",
    "restore",
    "pin",
    "unpin",
    "cleanup",
    "verify",
    "recover",
    "infer",
    "doctor",
    "plugins",
    "agent",
    "completions",
    "man",
];

#[test]
fn help_lists_every_command_and_only_those_that_exist() {
    let output = run(&["--help"]);
    assert_eq!(code(&output), 0);
    for name in COMMANDS {
        assert!(
            stdout(&output).contains(&format!("\n  {name} ")),
            "{name} is missing"
        );
    }
    let later = "serve";
    assert!(!stdout(&output).contains(&format!("\n  {later} ")));
    assert_eq!(code(&run(&[later])), 2);
}

#[test]
fn every_command_has_help_with_examples_or_nothing_to_show() {
    for name in COMMANDS {
        let output = run(&[name, "--help"]);
        assert_eq!(code(&output), 0, "{name}");
        assert!(
            stdout(&output).contains(&format!("Usage: deployx {name}")),
            "{name}"
        );
        let simple = ["unpin", "pin", "show", "recover", "plugins"];
        assert!(
            simple.contains(&name) || stdout(&output).contains("Example"),
            "{name} has no example"
        );
    }
}

#[test]
fn the_help_of_run_tells_how_arguments_become_a_command() {
    let output = run(&["run", "--help"]);
    assert!(stdout(&output).contains("Usage: deployx run [OPTIONS] -- <COMMAND>..."));
    assert!(stdout(&output).contains("several are an argument vector"));
    let output = run(&["cleanup", "--help"]);
    assert!(stdout(&output).contains("Without ids and without flags"));
}

#[test]
fn no_arguments_show_help_and_fail_as_usage() {
    let output = run(&[]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("Usage:"));
    assert!(stdout(&output).is_empty());
}

#[test]
fn the_version_is_printed() {
    let output = run(&["--version"]);
    assert_eq!(code(&output), 0);
    assert_eq!(
        stdout(&output),
        format!("deployx {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    for wrong in [
        &["no-such-command"][..],
        &["run"],
        &["run", "--no-such-flag", "--", "true"],
        &["run", "--timeout", "soon", "--", "true"],
        &["run", "--env", "=x", "--", "true"],
        &["rollback"],
        &["rollback", "last", "--on-conflict", "maybe"],
        &["restore", "last", "file"],
        &["diff", "last", "--stat", "--name-status"],
        &["cleanup", "abcd1234", "--max-count", "1"],
        &["list", "--since", "2 fortnights"],
        &["completions", "tcsh"],
    ] {
        let output = run(wrong);
        assert_eq!(code(&output), 2, "{wrong:?}");
        assert!(stdout(&output).is_empty(), "{wrong:?}");
        assert!(stderr(&output).contains("error:"), "{wrong:?}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert_eq!(code(&output), 0, "{shell}");
        assert!(stdout(&output).contains("rollback"), "{shell}");
    }
}

#[test]
fn the_manual_page_is_printed_and_all_pages_are_written() {
    let output = run(&["man"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).contains(".TH deployx 1"));

    let dir = tempfile::tempdir().unwrap();
    let output = deployx(&dir.path().join("store"))
        .args(["man", "--dir", "man1"])
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
    for name in COMMANDS {
        let page = dir.path().join(format!("man1/deployx-{name}.1"));
        assert!(page.is_file(), "{name} has no page");
    }
}

#[test]
fn what_fails_before_a_command_runs_ends_with_125() {
    for (arguments, text) in [
        (&["run", "--", ""][..], "the command is empty"),
        (&["run", "--", "   "], "the command is empty"),
        (&["run", "--cwd", "gone", "--", "true"], "gone"),
        (
            &["run", "--no-snapshot", "--require-snapshot", "--", "true"],
            "--no-snapshot",
        ),
        (
            &[
                "run",
                "--no-snapshot",
                "--rollback-on-failure",
                "--",
                "true",
            ],
            "--rollback-on-failure",
        ),
        (&["batch", "gone"], "gone"),
        (&["batch", "-"], "no command in standard input"),
        (&["batch", "--stdin", "-"], "--stdin"),
        (&["--config", "gone.toml", "run", "--", "true"], "gone.toml"),
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 125, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn errors_are_json_on_stdout_and_text_on_stderr() {
    let output = run(&["--json", "run", "--", ""]);
    assert_eq!(code(&output), 125);
    let value: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(value["error"]["kind"], "invalid_request");
    assert_eq!(value["error"]["stage"], "request");
    assert_eq!(value["error"]["message"], "the command is empty");
    assert_eq!(value["error"]["hint"], "see: deployx run --help");
    assert!(stdout(&output).ends_with("}\n"));
    assert_eq!(
        stderr(&output),
        "deployx: error: the command is empty\nhint: see: deployx run --help\n"
    );
}

#[test]
fn a_store_that_does_not_exist_is_empty_for_list_and_an_error_for_others() {
    let output = run(&["list"]);
    assert_eq!(code(&output), 0);
    assert!(stdout(&output).is_empty());
    assert!(stderr(&output).contains("no snapshots"));
    assert_eq!(stdout(&run(&["list", "--json"])), "[]\n");
    assert_eq!(stdout(&run(&["recover"])), "nothing was interrupted\n");

    for arguments in [
        &["show", "last"][..],
        &["diff", "last"],
        &["rollback", "last"],
        &["pin", "last"],
        &["verify"],
        &["cleanup", "abcd1234"],
        &["restore", "last", "x", "--to", "out"],
    ] {
        let output = run(arguments);
        assert_eq!(code(&output), 3, "{arguments:?}");
        assert!(stderr(&output).contains("--snapshot-dir"), "{arguments:?}");
    }
}

#[test]
fn asking_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    for arguments in [&["list"][..], &["show", "last"], &["cleanup"], &["recover"]] {
        deployx(&store).args(arguments).output().unwrap();
        assert!(!store.exists(), "{arguments:?} made a store");
    }
}

#[test]
fn an_unknown_key_of_the_configuration_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, "[run]\nshel = \"bash\"\n").unwrap();
    let output = deployx(&dir.path().join("store"))
        .env("DEPLOYX_CONFIG", &file)
        .arg("list")
        .output()
        .unwrap();
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("`shel`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("`shell`"), "{}", stderr(&output));
    assert!(stderr(&output).contains("config.toml"));
}

#[test]
fn the_example_configuration_is_accepted() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/config.toml");
    let dir = tempfile::tempdir().unwrap();
    let output = deployx(&dir.path().join("store"))
        .arg("--config")
        .arg(&example)
        .arg("list")
        .output()
        .unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn colours_follow_the_flag() {
    let escape = '\u{1b}';
    let always = run(&["--color=always", "show", "last"]);
    assert!(stderr(&always).contains(escape));
    for arguments in [&["--color=never", "show", "last"][..], &["show", "last"]] {
        assert!(!stderr(&run(arguments)).contains(escape), "{arguments:?}");
    }
}

#[test]
fn foreign_names_in_errors_are_escaped() {
    let output = run(&["run", "--cwd", "evil\u{1b}[2J", "--", "true"]);
    assert!(!stderr(&output).contains('\u{1b}'), "{:?}", stderr(&output));
    assert!(stderr(&output).contains("evil\\u{1b}[2J"));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["list", "--json"],
        &["--help"],
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = deployx(&dir.path().join("store"))
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(code(&output), 0, "{arguments:?}");
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

#[test]
fn a_reader_of_errors_that_went_away_keeps_the_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = deployx(&dir.path().join("store"))
        .args(["show", "last"])
        .stderr(writer)
        .output()
        .unwrap();
    assert_eq!(code(&output), 3);
}

#[cfg(target_os = "linux")]
#[cfg(unix)]
#[test]
fn directories_that_are_made_are_closed_to_others_whatever_the_umask_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("above/store");
    let status = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" run -- true"])
        .arg(env!("CARGO_BIN_EXE_deployx"))
        .env("DEPLOYX_SNAPSHOT_DIR", &store)
        .current_dir(dir.path())
        .status();
    assert!(status.unwrap().success());
    for path in [store.as_path(), store.parent().unwrap()] {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{}", path.display());
    }
}

#[test]
fn log_lines_that_cannot_be_written_end_nothing() {
    let full = || {
        let file = std::fs::File::options().write(true).open("/dev/full");
        file.expect("/dev/full")
    };
    let dir = tempfile::tempdir().unwrap();
    let output = deployx(&dir.path().join("store"))
        .env("DEPLOYX_LOG", "trace")
        .args(["run", "--", "echo ran > file; echo done"])
        .stderr(full())
        .output()
        .unwrap();
    assert_eq!(code(&output), 0);
    assert_eq!(stdout(&output), "done\n");
    let file = std::fs::read_to_string(dir.path().join("file"));
    assert_eq!(file.unwrap(), "ran\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_is_not_run_without_a_snapshot_where_nobody_can_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let before = deployx(&store).args(["run", "--", "true"]).output();
    assert_eq!(code(&before.unwrap()), 0);
    // No directory for what is saved.
    let baseline = store.join("baseline");
    std::fs::remove_dir_all(&baseline).unwrap();
    std::fs::write(&baseline, "").unwrap();
    let run = |stderr: Stdio| {
        deployx(&store)
            .args(["run", "--", "echo ran >> log"])
            .stderr(stderr)
            .output()
            .unwrap()
    };
    let told = run(Stdio::piped());
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    assert!(stderr(&told).contains("no snapshot, the command cannot be undone"));
    let full = std::fs::File::options().write(true).open("/dev/full");
    assert_eq!(code(&run(full.unwrap().into())), 125);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    assert_eq!(log, "ran\n");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let output = deployx(&dir.path().join("store"))
        .arg("man")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("cannot write to standard output"));
}
