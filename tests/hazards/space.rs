//! Bounds on the store, volumes without space or inodes, quotas; and what the doctor says of volumes.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use crate::common::{Site, shell, text};
use crate::volumes::{SHARED, in_namespace};
use crate::{ids, rollback};

/// Bytes of the files in some directories, each inode once.
fn held(directories: &[PathBuf]) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut seen = std::collections::HashSet::new();
    directories
        .iter()
        .flat_map(walkdir::WalkDir::new)
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|found| found.is_file() && seen.insert(found.ino()))
        .map(|found| found.len())
        .sum()
}

/// Old content in the store: of snapshots and of the cache.
fn content(site: &Site) -> u64 {
    let stored = std::fs::read_dir(&site.store).unwrap().flatten();
    let mut directories: Vec<_> = stored.map(|entry| entry.path().join("files")).collect();
    directories.push(site.store.join("baseline/objects"));
    held(&directories)
}

/// Bytes in the tree.
fn tree(site: &Site) -> u64 {
    held(std::slice::from_ref(&site.tree))
}

/// Runs a line within 100,000 bytes of store.
fn run(site: &Site, options: &[&str], line: &str) -> (Output, Value) {
    let all = [&["--json", "--max-store-size", "100000"], options].concat();
    let output = site.run_with(&all, line);
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    (output, report)
}

/// `name` with 10,000 bytes that no other has.
fn fill(site: &Site, names: &str) {
    let line = format!("for f in {names}; do head -c 10000 /dev/urandom > $f; done");
    shell(&site.tree, &line);
}

fn notes(report: &Value) -> String {
    report["coverage"]["notes"].to_string()
}

#[test]
fn the_oldest_snapshots_make_room_for_new_ones() {
    let site = Site::new();
    let mut expired = 0;
    for round in 0..20 {
        fill(&site, "a b c");
        let (_, report) = run(&site, &[], "for f in a b c; do echo x >> $f; done");
        assert_eq!(report["coverage"]["complete"], true, "{round}: {report}");
        assert_eq!(report["stored_bytes"], 30_000, "{report}");
        expired += notes(&report).matches("expired to keep the store").count();
        assert!(content(&site) <= 100_000, "{round}: {}", content(&site));
    }
    let left = ids(&site);
    assert!(
        left.len() >= 2 && expired > 0,
        "{left:?}, {expired} expired"
    );
    assert_eq!(left.len() + expired, 20);
    // The newest can be undone, one that was pinned stays.
    site.undo();
    fill(&site, "a b c");
    let (_, pinned) = run(&site, &[], "for f in a b c; do echo x >> $f; done");
    let id = pinned["snapshot_id"].as_str().unwrap();
    assert!(
        site.deployx()
            .args(["pin", id])
            .output()
            .unwrap()
            .status
            .success()
    );
    for _ in 0..5 {
        fill(&site, "a b c");
        run(&site, &[], "for f in a b c; do echo x >> $f; done");
        assert!(content(&site) <= 100_000);
    }
    assert!(ids(&site).iter().any(|one| one == id));
}

#[test]
fn what_does_not_fit_into_the_store_is_left_out_and_said() {
    let site = Site::new();
    fill(&site, "a b c d e f g h i j k l m n o p");
    let (output, report) = run(&site, &[], "for f in ?; do echo x >> $f; done");
    assert!(output.status.success(), "the command runs all the same");
    assert_eq!(report["coverage"]["complete"], false, "{report}");
    let left_out = report["coverage"]["unobserved"].as_array().unwrap().len();
    assert!((6..=7).contains(&left_out), "{left_out}: {report}");
    assert!(content(&site) <= 100_000, "{}", content(&site));
    let output = rollback(&site, &["last", "--on-conflict", "skip"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let changed = tree(&site) - 160_000;
    assert_eq!(changed, 2 * left_out as u64, "the others are as before");
    // Where it must be complete the command does not run.
    let all = ["--max-store-size", "100000", "--require-snapshot"];
    let output = site.run_with(&all, "for f in ?; do echo x >> $f; done");
    assert_eq!(output.status.code(), Some(126), "{}", text(&output));
    assert_eq!(tree(&site) - 160_000, changed);
}

#[test]
fn the_cache_of_other_trees_makes_room_before_content_is_left_out() {
    let site = Site::new();
    shell(&site.tree, "mkdir one two");
    fill(&site, "one/a one/b one/c one/d one/e one/f");
    fill(&site, "two/a two/b two/c two/d two/e two/f");
    let cover = |name: &str| {
        let path = site.tree.join(name);
        run(&site, &["--path", path.to_str().unwrap()], "true").1
    };
    assert_eq!(cover("one")["coverage"]["complete"], true);
    // Roots are told apart by the second in which they were used last.
    std::thread::sleep(std::time::Duration::from_millis(2_500));
    let report = cover("two");
    assert_eq!(report["coverage"]["complete"], true, "{report}");
    assert!(content(&site) <= 100_000);
}

#[test]
fn the_batch_that_runs_never_loses_its_snapshots() {
    let site = Site::new();
    fill(&site, "a b c d");
    run(&site, &[], "for f in a b c d; do echo x >> $f; done");
    let file = site.tree.parent().unwrap().join("lines");
    let line = "head -c 10000 /dev/urandom > a; head -c 10000 /dev/urandom > b\n";
    std::fs::write(&file, line.repeat(8)).unwrap();
    let output = site
        .deployx()
        .args(["batch", "--json", "--quiet", "--max-store-size", "100000"])
        .args(["--batch-id", "kept", "--cwd"])
        .arg(&site.tree)
        .arg(&file)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    assert_eq!(report["successful_commands"], 8, "{report}");
    let left = site.json(&["list", "--batch", "kept"]);
    assert_eq!(left.as_array().unwrap().len(), 8);
    assert_eq!(ids(&site).len(), 8, "the one before made room");
    let complete = |at: usize| report["results"][at]["coverage"]["complete"] == true;
    assert!(complete(0) && !complete(7), "{report}");
    assert!(content(&site) <= 100_000, "{}", content(&site));
}

#[test]
fn a_volume_with_few_inodes_holds_what_they_suffice_for() {
    let script = format!(
        r#"{SHARED}
        mkdir s; mount -t tmpfs -o nr_inodes=1000 none s
        export DEPLOYX_SNAPSHOT_DIR=$PWD/s/store
        mkdir t; cd t; for i in $(seq 5000); do echo $i > $i; done
        "$deployx" run --quiet --json --path "$PWD" -- 'for i in 1 2 3; do echo x >> $i; done' > ../report
        grep -q '"complete":false' ../report; grep -q 'no room left' ../report
        grep -q '"snapshot_id":"' ../report
        [ "$(df --output=iavail ../s | tail -1)" -ge 40 ]
        "$deployx" rollback last --yes --on-conflict skip || [ $? = 5 ]
        cd ..; rm -rf t; umount s"#
    );
    let test = "a_volume_with_few_inodes_holds_what_they_suffice_for";
    in_namespace(test, &Site::new(), &script);
}

#[test]
fn the_doctor_shows_every_volume_with_what_it_keeps() {
    let script = r#"
        mkdir ro full; mount -t tmpfs none full; mount -t tmpfs none ro; mount -o remount,ro ro
        "$deployx" run --quiet -- true
        "$deployx" doctor --json > report; "$deployx" doctor > words
        "$deployx" doctor --json full > one
        [ -z "$(ls -A full)" ]
        python3 - "$PWD" <<'END'
import json, sys
here = sys.argv[1]
volumes = {v['mount_point']: v for v in json.load(open('report'))['volumes']}
full, ro = volumes[here + '/full'], volumes[here + '/ro']
assert len(volumes) >= 3 and '/proc' not in volumes, volumes.keys()
assert full['filesystem'] == 'tmpfs' and full['source'] == 'none' and not full['read_only']
assert full['chosen'] == 'copy' and full['free_bytes'] > 0, full
assert not full['content']['in_store'] and full['content']['directory'].startswith(here + '/full/')
kept = full['fidelity']
assert kept['directory'] == here + '/full' and kept['not_tried'] is None, kept
assert kept['time_step_ns'] == 1 and kept['hard_links'] and kept['sparse_files'] and kept['owners']
assert ro['read_only'] and ro['chosen'] is None, ro
assert ro['fidelity'] == {'directory': None, 'not_tried': 'mounted for reading only'}, ro
one = json.load(open('one'))
assert [v['mount_point'] for v in one['volumes']] == [here + '/full']
limits = one['limits']
assert limits['max_store_bytes'] is None and limits['watches']['max_user_watches'] > 0, limits
END
        grep -q 'nothing can change here' words; grep -q 'watched directories' words"#;
    let test = "the_doctor_shows_every_volume_with_what_it_keeps";
    in_namespace(test, &Site::new(), script);
}
