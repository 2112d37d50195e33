//! What a snapshot vouches for when every call was seen.

use std::fs;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Site, has_program, is_root, require, text};

const INTERCEPT: &[&str] = &["--strategy", "intercept"];

fn receipt(site: &Site) -> Value {
    site.json(&["show", "last"])["receipt"].clone()
}

fn run(site: &Site, line: &str) {
    let output = site.run_with(INTERCEPT, line);
    assert!(output.status.success(), "{line}: {}", text(&output));
}

fn effects(receipt: &Value) -> Vec<(String, String)> {
    let effects = receipt["not_undoable"].as_array().expect("effects");
    let word = |one: &Value, name: &str| one[name].as_str().expect(name).to_owned();
    let seen = effects.iter().filter(|one| one["known_by"] == "call");
    seen.map(|one| (word(one, "what"), word(one, "reason")))
        .collect()
}

#[test]
fn what_is_preserved_is_counted() {
    let site = Site::new();
    fs::write(site.tree.join("old"), "12345").unwrap();
    fs::write(site.tree.join("gone"), "1234567").unwrap();
    run(
        &site,
        "echo new > old; rm gone; mkdir d; echo x > d/x; touch -c nothing",
    );
    let receipt = receipt(&site);
    let expected = serde_json::json!({"entries": 2, "bytes": 12, "created": 2, "lost": 0});
    assert_eq!(receipt["preserved"], expected);
    assert_eq!(receipt["outside"]["watch"], "calls");
    assert_eq!(receipt["outside"]["count"], 0, "{receipt:#}");
    assert_eq!(effects(&receipt), []);
    assert_eq!(receipt["late"]["count"], 0);
}

#[test]
fn connections_are_effects_and_those_within_the_command_are_not() {
    let test = "connections_are_effects_and_those_within_the_command_are_not";
    if !require(test, "python3", has_program("python3")) {
        return;
    }
    let site = Site::new();
    let there = site.tree.with_file_name("service");
    let _service = UnixListener::bind(&there).unwrap();
    let program = site.tree.with_file_name("program.py");
    let lines = r#"
import socket, sys
def to(family, address):
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setblocking(False)
    try: s.connect(address)
    except OSError: pass
to(socket.AF_UNIX, sys.argv[1])
own = socket.socket(socket.AF_UNIX)
own.bind("own"); own.listen()
to(socket.AF_UNIX, "own")
to(socket.AF_UNIX, "not-there")
to(socket.AF_INET, ("127.0.0.1", 9))
to(socket.AF_INET, ("192.0.2.7", 80))
"#;
    fs::write(&program, lines).unwrap();
    run(
        &site,
        &format!(
            "python3 '{}' '{}'; rm own",
            program.display(),
            there.display()
        ),
    );
    let receipt = receipt(&site);
    let expected = [
        ("network".to_owned(), "connected to 192.0.2.7:80".to_owned()),
        (
            "service".to_owned(),
            format!("connected to {}", there.display()),
        ),
        ("service".to_owned(), "connected to 127.0.0.1:9".to_owned()),
    ];
    let mut found = effects(&receipt);
    found.sort();
    assert_eq!(found, expected);
    let limits = receipt["limits"].to_string();
    assert!(limits.contains("work_of_others"), "{limits}");
}

#[test]
fn what_changes_where_nothing_is_followed_is_listed() {
    let test = "what_changes_where_nothing_is_followed_is_listed";
    if !require(test, "the administrator's rights", is_root()) {
        return;
    }
    let site = Site::new();
    let file = format!("/run/deployx-test-{}", std::process::id());
    run(
        &site,
        &format!("echo x > {file}; echo x > f; echo x > /dev/null"),
    );
    fs::remove_file(&file).unwrap();
    let outside = &receipt(&site)["outside"];
    let expected = serde_json::json!([{"path": file, "by": "command"}]);
    assert_eq!(outside["changed"], expected, "{outside:#}");
    let output = site
        .deployx()
        .args(["run", "--cwd"])
        .arg(&site.tree)
        .args(INTERCEPT)
        .args(["--", &format!("echo x > {file}")])
        .output()
        .unwrap();
    fs::remove_file(&file).unwrap();
    let line = "1 entry outside seen to change, not preserved";
    assert!(text(&output).contains(line), "{}", text(&output));
}

/// Waits for something that has to come, for as long as that may take on a busy machine.
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(60), "{what} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_change_after_the_end_is_listed_with_its_command() {
    let site = Site::new();
    fs::write(site.tree.join("f"), "old").unwrap();
    run(
        &site,
        "(while [ ! -e ../go ]; do sleep 0.05; done; echo late > late; echo late > f; : > ../done) \
         >/dev/null 2>&1 & echo first > first",
    );
    assert_eq!(receipt(&site)["late"]["count"], 0);
    fs::write(site.tree.with_file_name("go"), "").unwrap();
    wait_until("the late change", || {
        site.tree.with_file_name("done").exists()
    });
    let shown = site.json(&["show", "last"]);
    let late = &shown["receipt"]["late"];
    let of = |name: &str| {
        serde_json::json!({
            "path": site.tree.join(name), "command": shown["snapshot_id"], "recorded_with": null
        })
    };
    let changed = late["changed"].as_array().unwrap();
    assert!(
        changed.contains(&of("late")) && changed.contains(&of("f")),
        "{late:#}"
    );
    assert!(!changed.contains(&of("first")), "{late:#}");
    let said = site.deployx().args(["show", "last"]).output().unwrap();
    let line = format!(
        "{}: by a process of this command after its end, not preserved",
        site.tree.join("late").display()
    );
    assert!(text(&said).contains(&line), "{}", text(&said));
    let kinds = shown["receipt"]["limits"].to_string();
    assert!(kinds.contains("survivors"), "{kinds}");
}

#[test]
fn a_change_during_a_later_command_is_recorded_there_and_attributed() {
    let site = Site::new();
    fs::write(site.tree.join("f"), "old\n").unwrap();
    site.remember();
    let lines = "(while [ ! -e ../go ]; do sleep 0.02; done; sh -c 'echo late > f'; : > ../done) \
                 >/dev/null 2>&1 &\n\
                 sleep 0.05; : > ../go; while [ ! -e ../done ]; do sleep 0.02; done; echo own > own\n";
    let file = site.tree.with_file_name("lines");
    fs::write(&file, lines).unwrap();
    let output = site
        .deployx()
        .args(["batch", "--json", "--strategy", "intercept", "--cwd"])
        .arg(&site.tree)
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (first, second) = (&report["results"][0], &report["results"][1]);
    let of = |path: std::path::PathBuf| {
        serde_json::json!({
            "path": path,
            "command": first["snapshot_id"],
            "recorded_with": second["snapshot_id"],
        })
    };
    let expected = [
        of(site.tree.with_file_name("done")),
        of(site.tree.join("f")),
    ];
    let expected = serde_json::json!(expected);
    assert_eq!(second["receipt"]["late"]["changed"], expected);
    // Whose process it was shows it too.
    let first = first["snapshot_id"].as_str().unwrap();
    let shown = site.json(&["show", first]);
    assert_eq!(shown["receipt"]["late"]["changed"], expected);
    site.undo();
    assert_eq!(fs::read_to_string(site.tree.join("f")).unwrap(), "old\n");
    assert_eq!(site.differences(), "");
}

#[test]
fn lists_of_late_changes_go_with_their_snapshots() {
    let site = Site::new();
    run(
        &site,
        "(while [ ! -e ../go ]; do sleep 0.05; done; echo late > late; : > ../done) >/dev/null 2>&1 &",
    );
    fs::write(site.tree.with_file_name("go"), "").unwrap();
    wait_until("the late change", || {
        site.tree.with_file_name("done").exists()
    });
    let lists = || fs::read_dir(site.store.join("late")).unwrap().count();
    let cleanup = |arguments: &[&str]| {
        let mut command = site.deployx();
        let output = command.arg("cleanup").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    cleanup(&[]);
    assert_eq!(lists(), 1);
    cleanup(&["last"]);
    cleanup(&[]);
    assert_eq!(lists(), 0);
}

#[test]
fn rules_are_scored_by_what_was_touched_misses_first() {
    let site = Site::new();
    let script = site.tree.with_file_name("tool");
    let elsewhere = site.tree.with_file_name("elsewhere");
    fs::write(
        &script,
        format!("echo x > '{}'; echo x > here\n", elsewhere.display()),
    )
    .unwrap();
    fs::write(site.tree.join("f"), "f").unwrap();
    fs::write(site.tree.join("g"), "g").unwrap();
    run(&site, "rm f; touch g");
    run(&site, "rm -f missing");
    run(&site, &format!("sh '{}'", script.display()));
    // Without interception it is not known what was touched.
    assert!(site.run("echo x > h").status.success());
    let report = site.json(&["rules", "score"]);
    assert_eq!(report["snapshots"], 3, "{report:#}");
    let commands = report["commands"].as_array().unwrap();
    assert_eq!(commands[0]["command"], "sh", "{report:#}");
    assert_eq!(
        commands[0]["misses"][0]["path"],
        elsewhere.to_str().unwrap()
    );
    assert_eq!(commands[0]["touched"], 2);
    assert_eq!(commands[0]["recall"], 0.5);
    let of = |name: &str| {
        let found = commands.iter().find(|one| one["command"] == name);
        found.unwrap_or_else(|| panic!("{name}: {report:#}"))
    };
    let (rm, touch) = (of("rm"), of("touch"));
    assert_eq!(
        (&rm["recall"], &touch["recall"]),
        (&1.0.into(), &1.0.into())
    );
    assert_eq!(rm["lines"], 2);
    let precision = rm["precision"].as_f64().unwrap();
    assert!(
        precision < 1.0 && precision > 0.0,
        "one file was missing: {rm:#}"
    );
    assert_eq!(touch["precision"], 1.0, "{touch:#}");
    let said = site.deployx().args(["rules", "score"]).output().unwrap();
    let said = text(&said);
    let row = said.lines().nth(2).unwrap_or_default();
    assert!(
        row.starts_with("sh ") && row.contains("50 % (1/2)"),
        "{said}"
    );
    assert!(said.contains("Missed by sh"), "{said}");
}

#[test]
fn a_command_within_a_command_says_that_interception_stepped_aside() {
    let site = Site::new();
    let line = format!(
        "'{}' --snapshot-dir ../inner run --json --strategy intercept,copy -- 'echo x > inner'",
        env!("CARGO_BIN_EXE_deployx")
    );
    let output = site.run_with(INTERCEPT, &line);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["receipt"]["limits"][0]["kind"], "stepped_aside");
    assert_eq!(report["receipt"]["outside"]["watch"], "not_watched");
    let own = receipt(&site)["limits"].to_string();
    assert!(own.contains("own_listener"), "{own}");
}
