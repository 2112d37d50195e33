//! Work that people do, taken back: programs with processes, threads and files of their own.

use crate::common::{Site, has_program, require, shell, text};

/// A repository with some history, an archive, a database, and a tree to mirror.
const PLANT: &str = "mkdir origin && cd origin && git init -q . && for i in 1 2 3 4 5 6; do \
     mkdir -p d$i && for j in 1 2 3 4 5 6 7 8; do echo \"$i $j\" > d$i/f$j; done; \
     git add -A && git -c user.email=a@b -c user.name=c commit -qm $i; \
     git rm -q d1/f$i && sed -i s/1/one/ d$i/f*; done; git -c user.email=a@b -c user.name=c commit -qam last; \
     cd .. && tar cf archive.tar origin && mkdir mirror && cp -a origin/d2 origin/d3 mirror/ && \
     python3 -c 'import sqlite3; d = sqlite3.connect(\"data.db\"); d.execute(\"create table t (a, b)\"); \
     d.executemany(\"insert into t values (?, ?)\", [(i, \"x\" * 100) for i in range(2000)]); d.commit()'";

/// A line each, with the programs that it needs.
const WORK: &[(&str, &str)] = &[
    (
        "git",
        "git clone -q origin clone && cd clone && git checkout -q HEAD~3 && git gc -q && git checkout -q - && git status --short",
    ),
    (
        "git",
        "cd origin && git checkout -q HEAD~2 && git gc --aggressive --prune=now -q",
    ),
    (
        "git",
        "cd origin && rm -rf d4 && git stash -q && git stash pop -q && git reset -q --hard && git clean -qfdx",
    ),
    (
        "tar",
        "mkdir out && tar xf archive.tar -C out && tar xf archive.tar && tar cf archive.tar mirror",
    ),
    (
        "rsync",
        "rsync -a --delete origin/d5/ mirror/d2/ && rsync -a --delete --inplace origin/ mirror/",
    ),
    (
        "find",
        "find origin -type f -name 'f[1-4]' -delete && find . -type f -name '*.db' -exec sed -i s/x/y/ {} +",
    ),
    (
        "python3",
        "python3 -c 'import sqlite3; d = sqlite3.connect(\"data.db\"); d.execute(\"pragma journal_mode=wal\"); d.execute(\"update t set b = 1 where a % 3\"); d.commit(); d.execute(\"delete from t where a < 900\"); d.commit(); d.execute(\"vacuum\"); d.close()'",
    ),
    (
        "python3",
        "python3 -m venv --without-pip env && python3 -m compileall -q env && python3 -m zipfile -c z.zip origin && python3 -m zipfile -e z.zip unzipped",
    ),
    (
        "make",
        "printf 'all: a b c\\n%%: ; for i in 1 2 3 4; do echo $$i >> $@; done; cp $@ $@.bak; mv $@.bak d-$@\\n' > Makefile && make -s -j4 && make -s -j4",
    ),
    (
        "perl",
        "perl -pi.orig -e 's/ /-/' origin/d2/* && rm origin/d2/*.orig && cp -a origin/d3 x && mv -T x origin/d3.new && mv origin/d3 y && mv origin/d3.new origin/d3",
    ),
    (
        "patch",
        "printf -- '--- a\\n+++ b\\n@@ -1 +1 @@\\n-2 7\\n+patched\\n' | patch -s -b mirror/d2/f7",
    ),
    (
        "sort",
        "sort -R mirror/d2/f* -o mirror/d2/f2; truncate -s 3 mirror/d3/f3; dd if=/dev/zero of=data.db bs=100 count=3 conv=notrunc status=none; split -n 4 archive.tar part.",
    ),
];

#[test]
fn work_of_many_processes_is_taken_back_exactly() {
    let test = "work_of_many_processes_is_taken_back_exactly";
    let needed = ["git", "python3", "rsync", "tar"];
    let missing = needed.iter().find(|p| !has_program(p));
    if !require(test, missing.unwrap_or(&""), missing.is_none()) {
        return;
    }
    let site = Site::new();
    shell(&site.tree, PLANT);
    site.remember();
    for (program, line) in WORK {
        if !require(&format!("{test}: {line}"), program, has_program(program)) {
            continue;
        }
        let output = site.run_with(&["--strategy", "intercept"], line);
        assert!(output.status.success(), "{line}: {}", text(&output));
        assert_ne!(site.differences(), "", "{line} changed nothing");
        let shown = site.json(&["show", "last"]);
        assert_eq!(
            shown["coverage"]["complete"], true,
            "{line}: {:#}",
            shown["coverage"]
        );
        assert_eq!(shown["strategy"], "intercept");
        site.undo();
        assert_eq!(site.differences(), "", "{line}");
    }
}

#[test]
fn what_lies_outside_of_what_the_line_says_is_taken_back_too() {
    let site = Site::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let there = elsewhere.path().canonicalize().unwrap();
    std::fs::write(there.join("old"), "old\n").unwrap();
    let script = site.tree.with_file_name("script");
    let lines = format!(
        "cd '{0}'; rm old; mkdir made; echo x > made/x\n",
        there.display()
    );
    std::fs::write(&script, lines).unwrap();
    let line = format!("sh '{}'", script.display());
    let output = site.run_with(&["--strategy", "intercept"], &line);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!there.join("old").exists() && there.join("made/x").exists());
    site.undo();
    assert_eq!(std::fs::read_to_string(there.join("old")).unwrap(), "old\n");
    assert!(!there.join("made").exists());
}

#[test]
fn many_commands_in_a_row_leave_nothing_behind() {
    let site = Site::new();
    let count = crate::common::size("DEPLOYX_TEST_PROGRAMS", 25);
    for number in 0..count {
        let output = site.run_with(&["--strategy", "intercept"], &format!("echo {number} > f"));
        assert!(output.status.success(), "{}", text(&output));
    }
    crate::survivors::all_gone(&site);
}

#[test]
fn a_command_within_a_command_is_told_that_only_one_can_intercept() {
    let site = Site::new();
    let line = format!(
        "'{}' --snapshot-dir ../inner run --strategy intercept,copy -- 'echo x > inner'",
        env!("CARGO_BIN_EXE_deployx")
    );
    let output = site.run_with(&["--strategy", "intercept"], &line);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("only one can"), "{}", text(&output));
    assert!(site.tree.join("inner").exists());
    site.undo();
    assert!(!site.tree.join("inner").exists());
}
