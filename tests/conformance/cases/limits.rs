//! What is left out, on purpose or because it is too much.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Case;
use crate::cell::Cell;
use crate::common::{shell, text};

/// The cases of this file.
pub(crate) const LIMITS: &[Case] = &[
    Case::own("excluded_is_never_touched", excluded_is_never_touched),
    Case::own("too_large_is_said", too_large_is_said),
    Case::own("too_many_is_said", too_many_is_said),
    Case::own("refused_where_incomplete", refused_where_incomplete),
];

fn excluded_is_never_touched(cell: &Cell) {
    let tree = &cell.site.tree;
    shell(
        tree,
        "mkdir -p d/cache d/sub; printf '*.log\\n!keep.log\\n/d/cache/\\n' > .deployxignore; \
         for f in a.log keep.log sub/x.log cache/c n secret.tmp; do echo 1 > d/$f; done",
    );
    cell.run_with(
        &["--exclude", "*.tmp"],
        "for f in $(find d -type f); do echo 2 >> $f; done; echo new > new.log; rm d/n; echo m > d/made; echo t > made.tmp",
    );
    cell.rollback(&["last"]);
    let content = |name: &str| fs::read_to_string(tree.join(name)).unwrap_or_default();
    for (name, expected) in [
        ("d/a.log", "1\n2\n"),
        ("d/sub/x.log", "1\n2\n"),
        ("d/cache/c", "1\n2\n"),
        ("d/secret.tmp", "1\n2\n"),
        ("d/keep.log", "1\n"),
        ("d/n", "1\n"),
        ("new.log", "new\n"),
        ("made.tmp", "t\n"),
        ("d/made", ""),
    ] {
        assert_eq!(content(name), expected, "{name}");
    }
}

/// Writes a configuration with these limits and gives its path as an argument.
fn limited(cell: &Cell, limits: &str) -> String {
    let file = cell.place.root.join("limits.toml");
    fs::write(&file, format!("[limits]\n{limits}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

/// Whether the report says that `name` is not covered, by itself or with a directory above it in the
/// tree.
fn unobserved(report: &Value, cell: &Cell, name: &str) -> bool {
    let path = cell.site.tree.join(name);
    let said = report["coverage"]["unobserved"].as_array().unwrap();
    let mut said = said.iter().map(|u| Path::new(u["path"].as_str().unwrap()));
    said.any(|u| path.starts_with(u) && u.starts_with(&cell.site.tree))
}

/// Rolls back what can be, and checks that each file is as before unless the report said that it
/// is not covered; then it is as after.
fn restored_or_said(cell: &Cell, report: &Value, files: &[(&str, &str, &str)]) {
    let output = cell.try_rollback(&[&Cell::id(report), "--on-conflict", "skip"]);
    let all = files
        .iter()
        .all(|(name, ..)| !unobserved(report, cell, name));
    assert_eq!(report["coverage"]["complete"], all, "{report:#}");
    // What nobody looked at is not in the record, so that there is nothing that fails.
    let codes: &[i32] = if all { &[0] } else { &[0, 5] };
    let code = output.status.code().unwrap_or(-1);
    assert!(codes.contains(&code), "{}", text(&output));
    for (name, before, after) in files {
        let found = fs::read_to_string(cell.site.tree.join(name)).unwrap_or_default();
        let expected = if unobserved(report, cell, name) {
            after
        } else {
            before
        };
        assert!(
            found == **expected,
            "{name}: {} bytes; {report:#}",
            found.len()
        );
    }
}

fn too_large_is_said(cell: &Cell) {
    let config = limited(cell, "max_file_bytes = 1000");
    let large = "x".repeat(5_000);
    fs::write(cell.site.tree.join("large"), &large).unwrap();
    fs::write(cell.site.tree.join("small"), "old").unwrap();
    let report = cell.run_with(
        &["--config", &config],
        "printf new > large; printf new > small",
    );
    restored_or_said(
        cell,
        &report,
        &[("large", &large, "new"), ("small", "old", "new")],
    );
}

fn too_many_is_said(cell: &Cell) {
    let config = limited(cell, "max_files = 20");
    // One within another, as the limit is looked at before a directory is looked into.
    let names: Vec<String> = (1..=6).map(|depth| "d/".repeat(depth)).collect();
    for dir in &names {
        fs::create_dir(cell.site.tree.join(dir)).unwrap();
        for number in 0..10 {
            fs::write(cell.site.tree.join(format!("{dir}{number}")), "old").unwrap();
        }
    }
    let report = cell.run_with(
        &["--config", &config],
        "find . -type f -exec sh -c 'printf new > $0' {} ';'",
    );
    let files: Vec<String> = names
        .iter()
        .flat_map(|dir| (0..10).map(move |n| format!("{dir}{n}")))
        .collect();
    let files: Vec<_> = files.iter().map(|f| (f.as_str(), "old", "new")).collect();
    restored_or_said(cell, &report, &files);
    assert!(
        unobserved(&report, cell, files[59].0) || walks_nothing(cell),
        "{report:#}"
    );
}

/// Whether nothing is walked before the command, so that the number of entries does not matter.
fn walks_nothing(cell: &Cell) -> bool {
    ["intercept", "subvolume"].contains(&cell.strategy)
}

fn refused_where_incomplete(cell: &Cell) {
    let config = limited(cell, "max_files = 5");
    shell(&cell.site.tree, "for i in $(seq 30); do echo $i > $i; done");
    let arguments = [
        "--config",
        &config,
        "--strategy",
        cell.strategy,
        "--require-snapshot",
    ];
    let output = cell.site.run_with(&arguments, "rm *");
    if walks_nothing(cell) {
        assert!(output.status.success(), "{}", text(&output));
        cell.site.undo();
    } else {
        assert_eq!(output.status.code(), Some(126), "{}", text(&output));
    }
    assert_eq!(fs::read_dir(&cell.site.tree).unwrap().count(), 30);
}
