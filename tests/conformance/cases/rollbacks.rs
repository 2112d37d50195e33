//! Several commands, and rollbacks in every order.

use std::process::Stdio;

use super::Case;
use crate::cell::Cell;
use crate::common::{shell, text};
use crate::judge::State;

/// The cases of this file.
pub(crate) const ROLLBACKS: &[Case] = &[
    Case::own("batches_in_any_order", batches_in_any_order),
    Case::own("everything_through_a_command", everything_through_a_command),
    Case::own("rolled_back_on_failure", rolled_back_on_failure),
    Case::own("nothing_changed_twice", nothing_changed_twice),
    Case::own("two_at_the_same_time", two_at_the_same_time),
    Case::own("two_volumes_in_one_command", two_volumes_in_one_command),
    Case::own("thousands_of_files", thousands_of_files),
];

/// Four directories with a few files each.
fn plant(cell: &Cell) -> State {
    shell(
        &cell.site.tree,
        "for d in 1 2 3 4; do mkdir -p $d/sub; for f in 1 2 3; do echo $d$f > $d/$f; done; echo x > $d/sub/x; done; \
         find . -depth -exec touch -d '2021-03-04 05:06:07.1234567' {} +",
    );
    cell.site.remember();
    State::of(&cell.site.tree)
}

fn batches_in_any_order(cell: &Cell) {
    let before = plant(cell);
    let script = cell.place.root.join("script");
    let lines = "rm 1/1; echo y > 1/new\nmv 2 2b\nrm -r 3/sub; echo x > 3/sub\necho more >> 4/2; mkdir 4/n; mv 4/1 4/n/\n";
    std::fs::write(&script, lines).unwrap();
    for order in [[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
        let output = cell
            .site
            .deployx()
            .args(["batch", "--strategy", cell.strategy, "--json", "--cwd"])
            .arg(&cell.site.tree)
            .arg(&script)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let results = report["results"].as_array().unwrap();
        let ids: Vec<String> = results.iter().map(Cell::id).collect();
        for number in order {
            // The root's time was moved by another command as well, which is no conflict.
            cell.rollback(&[&ids[number]]);
        }
        shell(
            &cell.site.tree,
            "touch -r ../copy .; touch -d '2021-03-04 05:06:07.1234567' .",
        );
        cell.assert_as_before(&before, &format!("rolled back in the order {order:?}"));
    }
}

fn everything_through_a_command(cell: &Cell) {
    let before = plant(cell);
    let first = Cell::id(&cell.run("echo 1 >> 1/1; mkdir new"));
    for line in ["mv 1/1 new/", "rm -r 1", "mkdir 1; echo 2 > 1/1; mv new 1/"] {
        cell.run(line);
    }
    let redo = cell.rollback(&[&first, "--through"]);
    cell.assert_as_before(&before, "through the first");
    cell.rollback(&[&redo]);
    assert!(cell.site.tree.join("1/new/1").exists());
}

fn rolled_back_on_failure(cell: &Cell) {
    let before = plant(cell);
    let output = cell.site.run_with(
        &["--strategy", cell.strategy, "--rollback-on-failure"],
        "rm -r 1; echo x > 2/1; exit 3",
    );
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    cell.assert_as_before(&before, "after the failure");
}

fn nothing_changed_twice(cell: &Cell) {
    let before = plant(cell);
    let tree = cell.site.tree.to_str().unwrap();
    for round in 1..=3 {
        let report = cell.run_with(&["--path", tree], "cat 1/1; ls -R . > /dev/null");
        let none = serde_json::json!({"created": 0, "modified": 0, "deleted": 0, "metadata": 0});
        assert_eq!(report["changes"], none, "round {round}: {report:#}");
        assert_eq!(report["stored_bytes"], 0, "round {round}: {report:#}");
        cell.assert_as_before(&before, "nothing was changed");
    }
    // What the runs without changes learnt does not hide one.
    cell.undoes("echo x > 1/1; rm 2/2");
}

fn two_at_the_same_time(cell: &Cell) {
    let before = plant(cell);
    for order in [[0, 1], [1, 0]] {
        let start = |dir: &str| {
            let line = "for i in 1 2 3 4 5 6 7 8; do echo $i >> 1; echo $i > n$i; sleep 0.02; done; rm 2; mv 3 sub/";
            let mut command = cell.site.deployx();
            command.args(["run", "--json", "--strategy", cell.strategy, "--cwd"]);
            command.arg(cell.site.tree.join(dir)).args(["--", line]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            command.spawn().unwrap()
        };
        let running = ["1", "2"].map(start);
        let ids = running.map(|child| {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output));
            Cell::id(&serde_json::from_slice(&output.stdout).unwrap())
        });
        for number in order {
            cell.rollback(&[&ids[number]]);
        }
        cell.assert_as_before(&before, &format!("rolled back in the order {order:?}"));
    }
}

fn two_volumes_in_one_command(cell: &Cell) {
    let other = tempfile::tempdir().unwrap();
    plant(cell);
    std::fs::write(other.path().join("f"), "old").unwrap();
    let line = format!(
        "echo x >> 1/1; rm -r 2; echo new > '{0}/f'; echo n > '{0}/n'",
        other.path().display()
    );
    let strategies = format!("{},auto", cell.strategy);
    let output = cell.site.run_with(&["--strategy", &strategies], &line);
    assert!(output.status.success(), "{}", text(&output));
    cell.rollback(&["last"]);
    assert_eq!(
        std::fs::read_to_string(other.path().join("f")).unwrap(),
        "old"
    );
    assert!(!other.path().join("n").exists());
    assert_eq!(
        std::fs::read_to_string(cell.site.tree.join("2/sub/x")).unwrap(),
        "x\n"
    );
    assert_eq!(
        std::fs::read_to_string(cell.site.tree.join("1/1")).unwrap(),
        "11\n"
    );
}

fn thousands_of_files(cell: &Cell) {
    let count = super::scale(1_000, 5_000);
    shell(
        &cell.place.root,
        &format!(
            "mkdir many; cd many; for d in $(seq 20); do mkdir -p d$d/sub; done; \
             for f in $(seq {count}); do echo $f > d$((f % 20 + 1))/f$f; done; cd ..; tar cf many.tar many; rm -r many"
        ),
    );
    let before = plant(cell);
    let unpacked = Cell::id(&cell.run("tar xf ../many.tar"));
    cell.site.remember();
    let there = State::of(&cell.site.tree);
    let removed = Cell::id(&cell.run("rm -rf many"));
    cell.rollback(&[&removed]);
    cell.assert_as_before(&there, "after the rollback of rm");
    let mirrored = Cell::id(
        &cell.run("rm -r many/d1*; echo x > many/d2/x; rsync -a --delete many/d2/ many/d3/"),
    );
    cell.rollback(&[&mirrored]);
    cell.assert_as_before(&there, "after the rollback of rsync");
    cell.rollback(&[&unpacked]);
    let found = before.differences(&State::of(&cell.site.tree));
    assert_eq!(found, "", "after the rollback of tar");
}
