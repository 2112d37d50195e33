//! Plugins and rules of one's own, from the command line.

use std::path::Path;
use std::process::Output;

use crate::common::text;
use crate::site::{Site, compile};

/// Runs the program with nothing of the user's around it.
fn deployx(arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_deployx"))
        .args(arguments)
        .current_dir("/")
        .env_remove("DEPLOYX_PLUGIN_DIR")
        .env_remove("DEPLOYX_RULES_DIR")
        .env("XDG_CONFIG_HOME", "/nowhere")
        .env("XDG_DATA_HOME", "/nowhere")
        .output()
        .unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn built_in_rule_sets_are_listed_with_the_shells_they_answer_for() {
    let listed = json(&deployx(&["--json", "plugins", "list"]));
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["bash", "cmd", "powershell"]);
    assert_eq!(listed[0]["source"], "built_in");
    assert!(listed[0]["answers"].to_string().contains("zsh"));
}

#[test]
fn a_loaded_plugin_answers_for_its_shell_and_a_refused_one_is_named() {
    let test = "a_loaded_plugin_answers_for_its_shell_and_a_refused_one_is_named";
    let site = Site::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/plugin_in_c/plugin.c");
    let library = site.at("libtoy.so");
    if compile(test, &source, &library).is_none() {
        return;
    }
    let broken = site.put("libbroken.so", b"this is text");
    let dir = site.path().to_str().unwrap();
    let listed = json(&deployx(&[
        "--json",
        "--plugin-dir",
        dir,
        "plugins",
        "list",
    ]));
    let rows = listed.as_array().unwrap();
    let of = |path: &Path| {
        let path = path.to_str().unwrap();
        rows.iter()
            .find(|row| row["path"] == path)
            .unwrap_or_else(|| panic!("{path}: {listed}"))
    };
    assert_eq!(of(&library)["source"], "loaded");
    assert_eq!(of(&library)["answers"][0], "toy");
    assert!(of(&broken)["refused"].is_string());
    assert_eq!(of(&broken)["answers"], serde_json::json!([]));

    let line = [
        "--json",
        "--plugin-dir",
        dir,
        "infer",
        "--shell",
        "toy",
        "--",
        "drop /srv",
    ];
    let answer = json(&deployx(&line));
    assert_eq!(answer["rules"], "toy-in-c");
    let paths = answer["paths"].to_string();
    assert!(paths.contains("\"/srv\""), "{paths}");
    // Without it nobody answers, and the line is guessed.
    let answer = json(&deployx(&[
        "--json",
        "infer",
        "--shell",
        "toy",
        "--",
        "drop /srv",
    ]));
    assert_eq!(answer["rules"], "fallback");
    assert_ne!(answer["not_understood"], serde_json::json!([]));
}

#[test]
fn rules_of_ones_own_make_a_program_known() {
    let site = Site::new();
    site.put(
        "bash.toml",
        b"[release]\noptions = [\"-o=write\"]\noperands = \"read...\"\n",
    );
    let dir = site.path().to_str().unwrap();
    let line = ["infer", "--", "release -o /srv/app.tar src"];
    let guessed = json(&deployx(&[&["--json"][..], &line].concat()));
    assert_ne!(guessed["not_understood"], serde_json::json!([]));
    let known = json(&deployx(
        &[&["--json", "--rules-dir", dir][..], &line].concat(),
    ));
    assert_eq!(known["not_understood"], serde_json::json!([]));
    let rows = known["paths"].as_array().unwrap();
    let row = rows
        .iter()
        .find(|row| row["path"] == "/srv/app.tar")
        .unwrap();
    let rule = row["rule"].as_str().unwrap();
    assert!(
        rule.starts_with("release (") && rule.ends_with("bash.toml:1)"),
        "{rule}"
    );
}

#[test]
fn wrong_rules_are_refused_with_line_and_column() {
    for (name, content, said) in [
        (
            "bash.toml",
            "[release]\noperands = \"raed...\"\n",
            "bash.toml:2:",
        ),
        ("bash.toml", "[release\n", "bash.toml:1:"),
        ("tcsh.toml", "[x]\n", "shells with rules are"),
    ] {
        let site = Site::new();
        site.put(name, content.as_bytes());
        let dir = site.path().to_str().unwrap();
        for command in [
            &["infer", "--", "ls"][..],
            &["run", "--no-snapshot", "--", "ls"],
        ] {
            let store = site.at("store");
            let store = store.to_str().unwrap();
            let arguments = [&["--snapshot-dir", store, "--rules-dir", dir][..], command].concat();
            let output = deployx(&arguments);
            assert!(!output.status.success());
            assert!(text(&output).contains(said), "{name}: {}", text(&output));
        }
    }
}

#[test]
fn rules_that_others_may_write_are_refused() {
    let site = Site::new();
    let file = site.put("bash.toml", b"[release]\n");
    crate::site::set_mode(&file, 0o666);
    let output = deployx(&[
        "--rules-dir",
        site.path().to_str().unwrap(),
        "infer",
        "--",
        "ls",
    ]);
    assert!(!output.status.success());
    assert!(text(&output).contains("bash.toml"), "{}", text(&output));
}
