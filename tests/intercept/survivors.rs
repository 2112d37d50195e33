//! Processes that outlive their command, and the death of those who answer for them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Site, text};

/// Waits for something that has to come, for as long as that may take on a busy machine.
fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "{what} never came"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The processes that answer for the store's sessions.
fn answerers(store: &Path) -> Vec<u32> {
    let sessions = store.join("intercept");
    let sessions = sessions.to_str().unwrap().as_bytes();
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let is_host = line.split(|b| *b == 0).nth(1) == Some(b"interception-host");
        if is_host && line.windows(sessions.len()).any(|part| part == sessions) {
            found.push(pid);
        }
    }
    found
}

fn kill(pid: u32) {
    let done = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(done.unwrap().success());
}

/// A process that makes files, one after another, until it is told to stop, and says when one could
/// not be made.
const WRITER: &str = "nohup sh -c 'i=0; while [ ! -e ../stop ]; do i=$((i+1)); \
     echo $i > w$((i % 7)) || echo failed >> ../failed; echo $i > ../alive; done; echo > ../ended' \
     >/dev/null 2>&1 &";

fn progress(site: &Site) -> u64 {
    let text = fs::read_to_string(site.tree.with_file_name("alive")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

fn goes_on(site: &Site) {
    let before = progress(site);
    wait_until("further work", || progress(site) > before + 20);
    assert!(!site.tree.with_file_name("failed").exists());
}

/// The lines of a file as one batch under interception, not started yet.
fn batch(site: &Site, lines: &Path) -> Command {
    let mut command = site.deployx();
    command
        .args(["batch", "--batch-id", "b", "--strategy", "intercept"])
        .arg("--cwd")
        .arg(&site.tree)
        .arg(lines);
    command
}

#[test]
fn survivors_go_on_whoever_of_the_two_that_answer_is_killed() {
    let site = Site::new();
    let output = site.run_with(&["--strategy", "intercept"], WRITER);
    assert!(output.status.success(), "{}", text(&output));
    goes_on(&site);
    for round in 0..6 {
        wait_until("two that answer", || answerers(&site.store).len() == 2);
        let mut pids = answerers(&site.store);
        pids.sort_unstable();
        kill(pids[round % 2]);
        goes_on(&site);
    }
    fs::write(site.tree.with_file_name("stop"), "").unwrap();
    wait_until("the writer's end", || {
        site.tree.with_file_name("ended").exists()
    });
    assert!(!site.tree.with_file_name("failed").exists());
    all_gone(&site);
}

/// Waits until nobody answers any more, and fails where something is left of the sessions.
pub(crate) fn all_gone(site: &Site) {
    wait_until("the end of those that answer", || {
        answerers(&site.store).is_empty()
    });
    let left: Vec<_> = fs::read_dir(site.store.join("intercept"))
        .unwrap()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_command_is_on_record_whoever_is_killed_while_it_runs() {
    let site = Site::new();
    for i in 0..40 {
        fs::write(site.tree.join(format!("f{i}")), format!("old {i}\n")).unwrap();
    }
    site.remember();
    let line = "for i in $(seq 0 39); do echo new > f$i; [ $i = 9 ] && echo > ../one; \
         while [ $i = 9 ] && [ ! -e ../go1 ]; do sleep 0.01; done; \
         while [ $i = 19 ] && [ ! -e ../go2 ]; do echo > ../two; sleep 0.01; done; done; rm f1 f21; mv f2 f22";
    let child = site
        .deployx()
        .args(["run", "--quiet", "--strategy", "intercept", "--cwd"])
        .arg(&site.tree)
        .args(["--", line])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for (reached, go) in [("one", "go1"), ("two", "go2")] {
        wait_until(reached, || site.tree.with_file_name(reached).exists());
        let mut pids = answerers(&site.store);
        pids.sort_unstable();
        kill(pids[0]);
        fs::write(site.tree.with_file_name(go), "").unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn what_a_killed_engine_left_is_sealed_and_taken_back_later() {
    let site = Site::new();
    fs::write(site.tree.join("old"), "old\n").unwrap();
    fs::write(site.tree.join("gone"), "gone\n").unwrap();
    site.remember();
    let mut child = site
        .deployx()
        .args(["run", "--quiet", "--strategy", "intercept", "--cwd"])
        .arg(&site.tree)
        .args([
            "--",
            "rm gone; echo new > old; echo made > made; echo > ../reached; sleep 60",
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the command's work", || {
        site.tree.with_file_name("reached").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("the end of those that answer", || {
        answerers(&site.store).is_empty()
    });
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn a_batch_gives_each_command_its_own_record() {
    let site = Site::new();
    fs::write(site.tree.join("f"), "0\n").unwrap();
    site.remember();
    let lines = "echo 1 > f; mkdir d\nmv f d/f; echo 2 >> d/f\nrm -r d; echo 3 > g\n";
    let file = site.tree.with_file_name("lines");
    fs::write(&file, lines).unwrap();
    let output = batch(&site, &file).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    site.undo();
    assert_eq!(fs::read_to_string(site.tree.join("d/f")).unwrap(), "1\n2\n");
    assert!(!site.tree.join("g").exists());
    site.undo();
    assert_eq!(fs::read_to_string(site.tree.join("f")).unwrap(), "1\n");
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn the_doctor_shows_who_answers_for_a_session() {
    let site = Site::new();
    let output = site.run_with(&["--strategy", "intercept"], WRITER);
    assert!(output.status.success(), "{}", text(&output));
    goes_on(&site);
    wait_until("two that answer", || answerers(&site.store).len() == 2);
    let id = site.json(&["show", "last"])["snapshot_id"].clone();
    let doctor = || site.json(&["doctor", site.tree.to_str().unwrap()]);
    let report = doctor()["interception"].clone();
    assert_eq!(report.as_array().map(Vec::len), Some(1), "{report:#}");
    let holders = report[0]["holders"].as_array().unwrap();
    let mut pids: Vec<u64> = holders
        .iter()
        .filter_map(|one| one["pid"].as_u64())
        .collect();
    pids.sort_unstable();
    let mut expected: Vec<u64> = answerers(&site.store)
        .iter()
        .map(|pid| u64::from(*pid))
        .collect();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    for holder in holders {
        assert_eq!(
            (&holder["alive"], &holder["listeners"]),
            (&true.into(), &1.into())
        );
    }
    assert_eq!(report[0]["last_command"], id);
    assert!(report[0]["late"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report[0]["problem"], serde_json::Value::Null);
    let said = site
        .deployx()
        .arg("doctor")
        .arg(&site.tree)
        .output()
        .unwrap();
    assert!(
        text(&said).contains("Intercepted sessions"),
        "{}",
        text(&said)
    );
    fs::write(site.tree.with_file_name("stop"), "").unwrap();
    all_gone(&site);
    assert_eq!(doctor()["interception"], serde_json::json!([]));
}

/// Stops both that answer before either is killed: none can make itself another.
fn kill_both(site: &Site) {
    wait_until("two that answer", || answerers(&site.store).len() == 2);
    for signal in ["-STOP", "-KILL"] {
        for pid in answerers(&site.store) {
            let done = Command::new("kill")
                .args([signal, &pid.to_string()])
                .status();
            assert!(done.unwrap().success());
        }
    }
}

#[test]
fn the_doctor_says_what_it_means_that_both_that_answer_were_killed() {
    let site = Site::new();
    let output = site.run_with(&["--strategy", "intercept"], WRITER);
    assert!(output.status.success(), "{}", text(&output));
    goes_on(&site);
    kill_both(&site);
    // The survivor cannot write that it failed either.
    let before = progress(&site);
    let report = site.json(&["doctor", site.tree.to_str().unwrap()]);
    let problem = report["interception"][0]["problem"].as_str().unwrap();
    assert!(problem.contains("nobody answers any more"), "{problem}");
    let warnings = report["warnings"].to_string();
    assert!(warnings.contains("nobody answers any more"), "{warnings}");
    assert_eq!(progress(&site), before, "the survivor still changes files");
    fs::write(site.tree.with_file_name("stop"), "").unwrap();
    let cleaned = site.deployx().arg("cleanup").output().unwrap();
    assert!(cleaned.status.success(), "{}", text(&cleaned));
    all_gone(&site);
}

/// Descriptors that are open, and kilobytes of memory that are in use.
fn used_by(pid: u32) -> (usize, u64) {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    let resident = resident.unwrap().trim_end_matches("kB").trim();
    (descriptors, resident.parse().unwrap())
}

/// `DEPLOYX_TEST_COMMANDS` says how many.
#[test]
fn commands_of_one_session_take_no_more_than_the_first_ones() {
    let site = Site::new();
    let count = crate::common::size("DEPLOYX_TEST_COMMANDS", 60);
    let mut lines = String::new();
    for number in 0..count {
        if number == 9 || number == count - 1 {
            let mark = format!("at{number}");
            lines += "echo > ../";
            lines += &mark;
            lines += "; while [ ! -e ../go-";
            lines += &mark;
            lines += " ]; do sleep 0.01; done\n";
        }
        lines += "mkdir d; echo 1 > d/f; mv d e; rm -r e; echo 2 >> g; chmod 600 g\n";
    }
    let file = site.tree.with_file_name("lines");
    fs::write(&file, lines).unwrap();
    let mut child = batch(&site, &file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    for number in [9, count - 1] {
        let mark = site.tree.with_file_name(format!("at{number}"));
        wait_until("the mark", || mark.exists());
        wait_until("two that answer", || answerers(&site.store).len() == 2);
        let mut all = answerers(&site.store);
        all.push(child.id());
        seen.push(all.into_iter().map(used_by).collect::<Vec<_>>());
        fs::write(site.tree.with_file_name(format!("go-at{number}")), "").unwrap();
    }
    assert!(child.wait().unwrap().success());
    for (first, last) in seen[0].iter().zip(&seen[1]) {
        assert!(last.0 <= first.0 + count / 10, "descriptors: {seen:?}");
        assert!(last.1 <= first.1 + 16 * 1024, "memory: {seen:?}");
    }
    all_gone(&site);
}

/// `DEPLOYX_TEST_SECONDS` says for how long. Whoever ran the command is gone then, so that it cannot
/// matter how that came about.
#[test]
fn a_daemon_writes_on_and_those_that_answer_need_no_more_for_it() {
    let site = Site::new();
    let output = site.run_with(&["--strategy", "intercept"], WRITER);
    assert!(output.status.success(), "{}", text(&output));
    let all = || {
        wait_until("two that answer", || answerers(&site.store).len() == 2);
        answerers(&site.store)
    };
    goes_on(&site);
    let first: Vec<_> = all().into_iter().map(used_by).collect();
    let seconds = crate::common::size("DEPLOYX_TEST_SECONDS", 2) as u64;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(seconds) {
        goes_on(&site);
    }
    let last: Vec<_> = all().into_iter().map(used_by).collect();
    for (first, last) in first.iter().zip(&last) {
        assert!(last.0 <= first.0 + 70, "descriptors: {first:?} {last:?}");
        assert!(last.1 <= first.1 + 8 * 1024, "memory: {first:?} {last:?}");
    }
    fs::write(site.tree.with_file_name("stop"), "").unwrap();
    wait_until("the writer's end", || {
        site.tree.with_file_name("ended").exists()
    });
    assert!(!site.tree.with_file_name("failed").exists());
    all_gone(&site);
}
