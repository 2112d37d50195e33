//! Random programs, each taken back.

use std::path::Path;

use crate::common::{Site, has_program, is_root, require, shell, size, text};

const PROGRAM: &str = include_str!("program.py");

/// A tree with something of everything.
fn plant(tree: &Path) {
    shell(
        tree,
        "mkdir -p a/deep/er b 'c d' e; \
         for i in 1 2 3 4 5; do echo \"content $i\" > a/f$i; head -c ${i}0000 /dev/zero | tr '\\0' $i > b/g$i; done; \
         echo deep > a/deep/er/leaf; : > empty; : > a/none; ln a/f1 hard; ln a/f1 b/hard; ln -s a/f2 link; \
         ln -s nowhere dangling; ln -s b dirlink; mkfifo pipe; head -c 200000 /dev/urandom > 'c d/random'; \
         truncate -s 1M sparse; setfattr -n user.note -v here a/f3; chmod 700 e; chmod 444 a/f4; \
         chown 4321:99 b/g2; touch -d '2019-05-06 07:08:09.123456789' a b a/deep e a/f2 link",
    );
}

/// The interpreter itself: what is found by its name may be a script that does much to find it.
fn interpreter() -> String {
    let output = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn random_programs_are_taken_back_exactly() {
    let test = "random_programs_are_taken_back_exactly";
    let programs = ["python3", "rsync", "setfattr"];
    let missing = programs.iter().find(|p| !has_program(p));
    if !require(test, missing.unwrap_or(&""), missing.is_none())
        || !require(test, "the administrator's rights", is_root())
    {
        return;
    }
    let count = size("DEPLOYX_TEST_PROGRAMS", 25);
    let first = size("DEPLOYX_TEST_PROGRAMS_FIRST", 1);
    let site = Site::new();
    plant(&site.tree);
    site.remember();
    let script = site.tree.with_file_name("program.py");
    std::fs::write(&script, PROGRAM).unwrap();
    let python = interpreter();
    for seed in first..first + count {
        let steps = 1 + seed % 37;
        let line = format!("'{python}' '{}' {seed} {steps}", script.display());
        let output = site.run_with(&["--strategy", "intercept"], &line);
        assert!(output.status.success(), "seed {seed}: {}", text(&output));
        let shown = site.json(&["show", "last"]);
        assert_eq!(
            shown["coverage"]["complete"], true,
            "seed {seed}: {:#}",
            shown["coverage"]
        );
        let output = site
            .deployx()
            .args(["rollback", "last", "--yes"])
            .output()
            .unwrap();
        assert!(output.status.success(), "seed {seed}: {}", text(&output));
        let differences = site.differences();
        assert_eq!(differences, "", "seed {seed}");
        if seed % 50 == 0 {
            println!("{seed}");
            std::fs::remove_dir_all(&site.store).unwrap();
        }
    }
}
