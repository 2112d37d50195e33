//! Real commands on trees with one of everything: run, roll back, and let other programs judge.

#[path = "../common/mod.rs"]
mod common;

mod cancelled;

use common::{Site, fixture, has_program, is_root, require, text};

/// Runs `line` on the fixture, checks that it changed something, undoes it, and compares.
fn undoes(test: &str, line: &str) {
    if !require(test, "rsync", has_program("rsync")) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    let output = site.run(line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    assert_ne!(
        site.differences(),
        "",
        "{line} changed nothing, so the test proves nothing"
    );
    site.undo();
    assert_eq!(site.differences(), "", "{line} was not undone exactly");
}

macro_rules! undoes {
    ($($name:ident: $line:expr;)*) => {
        $(#[test] fn $name() { undoes(stringify!($name), $line); })*
    };
}

undoes! {
    deleting_everything: "rm -rf ./* .[!.]* ; ls -A";
    deleting_one_directory: "rm -rf src";
    editing_many_files: "sed -i s/value/VALUE/ src/file[1-4]*.txt src/file8.txt";
    moving_directories: "mv src elsewhere && mv docs elsewhere/src2";
    moving_a_file_over_another: "mv src/file1.txt src/file9.txt";
    swapping_two_files: "mv src/file1.txt t && mv src/file9.txt src/file1.txt && mv t src/file9.txt";
    changing_modes: "chmod -R u+x,go-r src docs && chmod 0 docs/binary && chmod u+s,+t src/file1.txt";
    writing_in_place: "printf changed | dd of=docs/binary bs=1 seek=1000 conv=notrunc 2>/dev/null";
    appending: "echo more >> src/file1.txt; echo more >> hard2";
    truncating: "truncate -s 10 docs/binary; : > src/file2.txt; truncate -s 20M sparse";
    replacing_by_hard_links: "ln -f src/file1.txt docs/binary && ln -f docs/hard src/file9.txt";
    breaking_hard_links: "cp hard2 t && mv t hard2; rm docs/hard";
    replacing_a_file_by_a_directory: "rm src/file1.txt && mkdir -p src/file1.txt/a/b && echo x > src/file1.txt/a/b/c";
    replacing_a_directory_by_a_file: "rm -r src && echo x > src";
    replacing_a_directory_by_a_link: "mv docs docs2 && ln -s docs2 docs";
    retargeting_links: "ln -sfn docs/binary link; rm dangling; mkdir dangling; ln -sfn ../empty src/dirlink";
    touching_files_and_directories: "touch src docs/binary empty -d 2001-01-01; touch -h -d 2002-02-02 link";
    only_reading_and_creating_temporarily: "cp -a src t && rm -rf t && touch empty";
    creating_awkward_names: "touch $'a\\nb' $'\\xff\\xfe x' ' ' '*' '-x' \"$(printf 'q%.0s' {1..255})\" ; mkdir -p \"$(printf 'd/%.0s' {1..300})\"";
    unpacking_an_archive: "tar cf /dev/stdout src docs | (mkdir out && cd out && tar xf -) && tar cf a.tar src && tar xf a.tar --touch";
    deleting_with_find: "find . -type f -name '*.txt' -delete; find . -type d -empty -delete";
    fifos_and_sockets: "rm pipe && mkfifo src/p2 && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'";
    attributes: "setfattr -x user.note src/file6.txt; setfattr -n user.new -v 1 src/file9.txt docs; setfattr -n user.dir -v changed docs";
    access_control_lists: "setfacl -b src/file7.txt; setfacl -m u:4321:r src/file9.txt; setfacl -k docs; setfacl -m g:99:rwx docs";
    punching_holes: "fallocate -p -o 0 -l 100000 docs/binary; dd if=/dev/zero of=sparse bs=1M count=2 conv=notrunc 2>/dev/null";
    renaming_in_a_cycle: "cd src && mv deep d0 && mkdir -p deep/deeper && mv d0 deep/deeper/d && mv deep ../deep && mv ../deep/deeper/d/deeper ..";
    with_a_version_control_system: "git init -q . && git add -A . 2>/dev/null; git -c user.email=a@b -c user.name=c commit -qm x && git rm -rq --cached docs && rm -rf docs && git checkout -q . 2>/dev/null; git gc -q; true";
}

macro_rules! undoes_as_root {
    ($($name:ident: $line:expr;)*) => {
        $(#[test] fn $name() {
            if require(stringify!($name), "root", is_root()) {
                undoes(stringify!($name), $line);
            }
        })*
    };
}

undoes_as_root! {
    changing_owners: "chown -R 4321:8765 src docs && chown -h 1:1 dangling pipe";
    devices: "rm dev && mknod dev b 7 200 && mknod src/null c 1 3";
    capabilities: "setcap cap_net_raw+ep src/file1.txt && chmod u+s src/file9.txt";
    flags: "chattr +i src/file1.txt && chattr +a docs/binary && chattr +d src";
    writing_what_was_immutable: "chattr +i src/file1.txt; chattr -i src/file1.txt; echo x > src/file1.txt; chattr +i src/file1.txt src/file9.txt";
}

#[test]
fn a_batch_is_undone_in_reverse_order() {
    let test = "a_batch_is_undone_in_reverse_order";
    if !require(test, "rsync", has_program("rsync")) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    let script = site.tree.parent().unwrap().join("script");
    let lines = "cd src\nmkdir backup\ncp -r deep backup/\nrm -rf deep\nmkdir deep; echo new > deep/file\nx=5\necho $x >> file1.txt\nmv file1.txt ../moved\n";
    std::fs::write(&script, lines).unwrap();
    let output = site
        .deployx()
        .current_dir(&site.tree)
        .args(["batch", "--batch-id", "deploy.1", "--quiet"])
        .arg(&script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(
        std::fs::read_to_string(site.tree.join("moved")).unwrap(),
        "line one\nvalue = 1\n5\n"
    );
    let output = site
        .deployx()
        .args(["rollback", "deploy.1", "--yes"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.differences(), "");
}

#[test]
fn a_rollback_can_itself_be_rolled_back() {
    if !require(
        "a_rollback_can_itself_be_rolled_back",
        "rsync",
        has_program("rsync"),
    ) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    assert!(
        site.run("rm -r docs; echo x > src/new; sed -i s/1/2/ src/file1.txt; mv src/deep src/d2")
            .status
            .success()
    );
    site.remember();
    let report = site.json(&["rollback", "last", "--yes"]);
    assert_ne!(site.differences(), "");
    let redo = report["redo_snapshot_id"]
        .as_str()
        .expect("a redo snapshot")
        .to_owned();
    let output = site
        .deployx()
        .args(["rollback", &redo, "--yes"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.differences(), "");
}

#[test]
fn conflicts_stop_a_rollback_unless_the_caller_says_otherwise() {
    let site = Site::new();
    fixture(&site.tree);
    let file = site.tree.join("src/file1.txt");
    assert!(
        site.run("echo changed > src/file1.txt; rm src/file9.txt")
            .status
            .success()
    );
    std::fs::write(&file, "edited by hand").unwrap();
    let output = site
        .deployx()
        .args(["rollback", "last", "--yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    assert!(text(&output).contains("file1.txt"), "{}", text(&output));
    assert!(
        !site.tree.join("src/file9.txt").exists(),
        "something was changed all the same"
    );
    let output = site
        .deployx()
        .args(["rollback", "last", "--yes", "--on-conflict", "skip"])
        .output()
        .unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "edited by hand");
    assert!(
        site.tree.join("src/file9.txt").exists(),
        "{}",
        text(&output)
    );
}

#[test]
fn overwriting_a_conflict_keeps_what_was_there() {
    let site = Site::new();
    fixture(&site.tree);
    let file = site.tree.join("src/file1.txt");
    assert!(site.run("echo changed > src/file1.txt").status.success());
    std::fs::write(&file, "edited by hand").unwrap();
    let report = site.json(&["rollback", "last", "--yes", "--on-conflict", "overwrite"]);
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "line one\nvalue = 1\n"
    );
    let redo = report["redo_snapshot_id"]
        .as_str()
        .expect("a redo snapshot");
    let output = site
        .deployx()
        .args(["rollback", redo, "--yes"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "edited by hand");
}

#[test]
fn files_that_others_put_into_a_created_directory_stay() {
    let site = Site::new();
    assert!(site.run("mkdir d; echo mine > d/mine").status.success());
    std::fs::write(site.tree.join("d/theirs"), "theirs").unwrap();
    for policy in ["skip", "overwrite"] {
        let arguments = ["rollback", "last", "--yes", "--on-conflict", policy];
        site.deployx().args(arguments).output().unwrap();
        assert_eq!(
            std::fs::read_to_string(site.tree.join("d/theirs")).unwrap(),
            "theirs"
        );
    }
}

#[test]
fn a_directory_above_that_became_a_link_is_not_followed() {
    let site = Site::new();
    fixture(&site.tree);
    assert!(
        site.run("rm src/deep/deeper/leaf; echo x > src/deep/deeper/new")
            .status
            .success()
    );
    let outside = site.tree.parent().unwrap().join("outside/deeper");
    std::fs::create_dir_all(&outside).unwrap();
    std::fs::write(outside.join("new"), "canary").unwrap();
    std::fs::rename(site.tree.join("src/deep"), site.tree.join("src/away")).unwrap();
    std::os::unix::fs::symlink(outside.parent().unwrap(), site.tree.join("src/deep")).unwrap();
    for policy in ["abort", "skip", "overwrite"] {
        let arguments = ["rollback", "last", "--yes", "--on-conflict", policy];
        let output = site.deployx().args(arguments).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{}", text(&output));
        assert_eq!(
            std::fs::read_to_string(outside.join("new")).unwrap(),
            "canary"
        );
        assert!(!outside.join("leaf").exists());
    }
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let site = Site::new();
    fixture(&site.tree);
    assert!(
        site.run("rm src/file1.txt; echo x > new; chmod 600 src/file9.txt")
            .status
            .success()
    );
    site.remember();
    let report = site.json(&["rollback", "last", "--dry-run"]);
    assert_eq!(site.differences(), "");
    let plan = report["plan"].as_array().expect("a plan");
    let has = |action: &str, name: &str| {
        plan.iter()
            .any(|p| p["action"] == action && p["path"].as_str().is_some_and(|p| p.ends_with(name)))
    };
    assert!(
        has("restore", "/src/file1.txt")
            && has("remove", "/new")
            && has("metadata", "/src/file9.txt"),
        "{plan:?}"
    );
}

#[test]
fn only_the_paths_asked_for_are_restored() {
    let site = Site::new();
    fixture(&site.tree);
    assert!(site.run("rm -r src docs").status.success());
    let path = site.tree.join("docs");
    let output = site
        .deployx()
        .args(["rollback", "last", "--yes", "--path"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(path.join("binary").exists() && !site.tree.join("src").exists());
}

#[test]
fn through_undoes_everything_back_to_a_command() {
    if !require(
        "through_undoes_everything_back_to_a_command",
        "rsync",
        has_program("rsync"),
    ) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    for line in [
        "echo 1 >> src/file1.txt",
        "mv src/file1.txt docs/",
        "rm -r docs",
        "mkdir docs; echo 2 > docs/file1.txt",
    ] {
        assert!(site.run(line).status.success());
    }
    let list = site.json(&["list"]);
    let first = list.as_array().unwrap().last().unwrap()["snapshot_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = site
        .deployx()
        .args(["rollback", &first, "--through", "--yes"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(site.differences(), "");
}

#[test]
fn a_failing_command_can_be_taken_back_at_once() {
    if !require(
        "a_failing_command_can_be_taken_back_at_once",
        "rsync",
        has_program("rsync"),
    ) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    site.remember();
    let output = site.run_with(&["--rollback-on-failure"], "rm -r src; exit 3");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert_eq!(site.differences(), "");
}

#[test]
fn a_deleted_working_directory_is_stood_in_for_by_the_one_above() {
    let site = Site::new();
    let script = site.tree.parent().unwrap().join("script");
    std::fs::write(
        &script,
        "mkdir z; cd z\nrmdir ../z\necho x > ../../tree/made\n",
    )
    .unwrap();
    let output = site
        .deployx()
        .current_dir(&site.tree)
        .args(["batch", "--json"])
        .arg(&script)
        .output()
        .unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = report["results"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["working_directory"],
        site.tree.to_str().unwrap(),
        "{report}"
    );
    let monitored = last["monitored_paths"].to_string();
    assert!(
        !monitored.contains("\"/\""),
        "the whole filesystem was covered: {monitored}"
    );
}
