//! Commands beside and within each other, and rollbacks in every order.

use std::fs;
use std::process::Stdio;

use crate::common::{Site, text};
use crate::{ids, judged, rollback, run, scale};

/// Undoes everything that the store knows of.
fn undo_everything(site: &Site) {
    let oldest = ids(site).pop().expect("a snapshot");
    let output = rollback(site, &[&oldest, "--through"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.differences(), "");
}

#[test]
fn commands_that_ran_at_the_same_time_are_undone_together() {
    if !judged("commands_that_ran_at_the_same_time_are_undone_together") {
        return;
    }
    let site = Site::new();
    for number in 0..50 {
        fs::write(site.tree.join(format!("f{number}")), number.to_string()).unwrap();
    }
    site.remember();
    for round in 0..scale(3, 40) {
        let commands: Vec<_> = (0..6)
            .map(|n| {
                let line =
                    format!("echo {round} >> f{n}; echo new > n{round}.{n}; rm -f f{round}{n}");
                site.deployx()
                    .args(["run", "--quiet", "--cwd"])
                    .arg(&site.tree)
                    .args(["--", &line])
                    .stdin(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let expire = site
            .deployx()
            .args(["cleanup", "--quiet"])
            .output()
            .unwrap();
        assert!(expire.status.success(), "{}", text(&expire));
        for mut command in commands {
            assert!(command.wait().unwrap().success());
        }
    }
    undo_everything(&site);
}

#[test]
fn a_command_within_a_command_is_undone_with_it_or_alone() {
    if !judged("a_command_within_a_command_is_undone_with_it_or_alone") {
        return;
    }
    let site = Site::new();
    fs::write(site.tree.join("a"), "a").unwrap();
    fs::write(site.tree.join("b"), "b").unwrap();
    site.remember();
    let program = format!(
        "'{}' --snapshot-dir '{}' run --quiet --",
        env!("CARGO_BIN_EXE_deployx"),
        site.store.display()
    );
    let line = format!("echo 1 >> a; {program} 'echo 2 >> b; {program} \"rm a; echo c > c\"'");
    run(&site, &line);
    let all = ids(&site);
    assert_eq!(all.len(), 3);
    undo_everything(&site);
    run(&site, &line);
    // Only what the innermost one did, then the rest.
    assert!(rollback(&site, &[&ids(&site)[0]]).status.success());
    assert_eq!(fs::read_to_string(site.tree.join("a")).unwrap(), "a1\n");
    assert!(!site.tree.join("c").exists());
    undo_everything(&site);
}

#[test]
fn everything_is_undone_however_often_it_was_rolled_back() {
    if !judged("everything_is_undone_however_often_it_was_rolled_back") {
        return;
    }
    let site = Site::new();
    fs::write(site.tree.join("a"), "1").unwrap();
    site.remember();
    run(&site, "echo 2 >> a");
    run(&site, "echo 3 >> a; echo b > b");
    // The second is rolled back, and so are three redo snapshots one after another.
    for _ in 0..4 {
        let output = rollback(&site, &[&ids(&site)[0]]);
        assert!(output.status.success(), "{}", text(&output));
    }
    assert_eq!(fs::read_to_string(site.tree.join("a")).unwrap(), "12\n3\n");
    undo_everything(&site);
}

#[test]
fn rollbacks_in_the_wrong_order_change_nothing() {
    if !judged("rollbacks_in_the_wrong_order_change_nothing") {
        return;
    }
    let site = Site::new();
    fs::write(site.tree.join("a"), "1").unwrap();
    run(&site, "echo 2 >> a");
    site.remember();
    run(
        &site,
        "touch -r a ../stamp; echo 3 > a; touch -r ../stamp a",
    );
    let [newer, older] = &ids(&site)[..] else {
        panic!("two snapshots")
    };
    let output = rollback(&site, &[older]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains(newer.as_str()), "{}", text(&output));
    assert!(rollback(&site, &[newer]).status.success());
    assert_eq!(site.differences(), "");
    assert!(rollback(&site, &[newer]).status.success(), "a second time");
    assert_eq!(site.differences(), "");
}

#[test]
fn what_a_background_process_writes_later_is_a_conflict() {
    let site = Site::new();
    run(
        &site,
        "(while [ ! -e ../go ]; do sleep 0.02; done; echo late >> out; touch ../done) >/dev/null 2>&1 & echo first > out",
    );
    fs::write(site.tree.parent().unwrap().join("go"), "").unwrap();
    while !site.tree.parent().unwrap().join("done").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = rollback(&site, &["last"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert_eq!(
        fs::read_to_string(site.tree.join("out")).unwrap(),
        "first\nlate\n"
    );
}

#[test]
fn a_timeout_with_writers_left_over_is_undone() {
    if !judged("a_timeout_with_writers_left_over_is_undone") {
        return;
    }
    let site = Site::new();
    fs::write(site.tree.join("a"), "a").unwrap();
    site.remember();
    let output = site.run_with(
        &["--timeout", "1", "--rollback-on-failure"],
        "rm a; mkdir q; (while :; do date > q/$RANDOM; done) & while :; do echo x > n$RANDOM; done",
    );
    assert_eq!(output.status.code(), Some(124), "{}", text(&output));
    assert_eq!(site.differences(), "");
}
