//! The commands that people run, on trees that people have.
//!
//! `DEPLOYX_TEST_TREES` names the trees, separated by colons (default: `/usr/lib/python3`); each is
//! copied first. Every command is undone and judged by `rsync` and `find`.

#[path = "../common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Site, has_program, is_root, require, text};

const COMMANDS: &[&str] = &[
    "rm -rf ./*",
    "rm -rf \"$(ls -d */ | head -1)\"",
    "find . -type f -size +0 | head -400 | xargs -d '\\n' sed -i '1s/^/x/'",
    "mkdir moved && mv $(ls -d */ | grep -v moved) moved/",
    "chmod -R go-rwx,u+x .",
    "mkdir out && tar cf - --exclude=./out . | tar xf - -C out",
    "tar cf all.tar --exclude=./all.tar . && tar xf all.tar --touch && rm all.tar",
    "git init -q . && git add -A . && git -c user.email=a@b -c user.name=c commit -qm all && git rm -rq . && git checkout -q HEAD~0 -- . ",
    "find . -type f | head -300 | while read -r f; do printf changed | dd of=\"$f\" conv=notrunc status=none; done",
    "find . -type f | head -300 | xargs -d '\\n' truncate -s 7",
    "f=$(find . -type f -size +0 | head -1); find . -type f | tail -200 | while read -r g; do ln -f \"$f\" \"$g\" 2>/dev/null; done; true",
    "f=$(find . -type f | head -1); cp \"$f\" /dev/null; rm \"$f\"; mkdir \"$f\"; touch \"$f/x\"; rm -r \"$f\"; echo back > \"$f\"",
    "find . -depth -exec touch -h -d 2001-02-03 {} +",
];

const AS_ROOT: &[&str] = &["chown -R 1234:4321 ."];

fn trees() -> Vec<PathBuf> {
    let named = std::env::var("DEPLOYX_TEST_TREES").unwrap_or_else(|_| "/usr/lib/python3".into());
    named
        .split(':')
        .filter(|t| !t.is_empty())
        .map(PathBuf::from)
        .collect()
}

fn undo_everything_on(tree: &Path) {
    let site = Site::new();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(format!("{}/.", tree.display()))
        .arg(&site.tree)
        .status();
    assert!(
        copied.is_ok_and(|s| s.success()),
        "cannot copy {}",
        tree.display()
    );
    site.remember();
    let commands = COMMANDS.iter().chain(AS_ROOT.iter().filter(|_| is_root()));
    for line in commands {
        let output = site.run(line);
        assert!(output.status.success(), "{line}: {}", text(&output));
        let list = site.json(&["list", "--limit", "1"]);
        let changes = list[0]["changes"].as_object().expect("changes");
        assert!(
            changes.values().any(|n| n != 0),
            "{line} changed nothing on {}",
            tree.display()
        );
        site.undo();
        let differences = site.differences();
        let first: Vec<&str> = differences.lines().take(10).collect();
        assert!(
            first.is_empty(),
            "{line} on {} was not undone: {first:#?}",
            tree.display()
        );
        println!("undone on {}: {changes:?} by {line}", tree.display());
    }
}

#[test]
fn everything_done_to_a_real_tree_is_undone_exactly() {
    let name = "everything_done_to_a_real_tree_is_undone_exactly";
    for program in ["rsync", "git"] {
        if !require(name, program, has_program(program)) {
            return;
        }
    }
    for tree in trees() {
        if require(name, &tree.display().to_string(), tree.is_dir()) {
            undo_everything_on(&tree);
        }
    }
}
