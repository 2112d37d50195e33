//! Full disks, missing rights, locked files, exclusions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{Site, has_program, is_root, require, shell, text};
use crate::{judged, rollback, run, scale, undone};

/// Runs the program as a user without rights, where the test itself has all of them.
fn as_nobody(site: &Site, arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(env!("CARGO_BIN_EXE_deployx"));
    command.arg("--snapshot-dir").arg(&site.store);
    command.args(arguments).current_dir(&site.tree);
    command.env_remove("DEPLOYX_SNAPSHOT_DIR").output().unwrap()
}

#[test]
fn directories_that_their_owner_closed_are_opened_again() {
    let test = "directories_that_their_owner_closed_are_opened_again";
    if !judged(test)
        || !require(
            test,
            "root and setpriv",
            is_root() && has_program("setpriv"),
        )
    {
        return;
    }
    let site = Site::new();
    let root = site.tree.parent().unwrap();
    // The program has to be within reach of that user as well.
    let reachable = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .args([env!("CARGO_BIN_EXE_deployx"), "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !require(test, "a program that everybody may run", reachable) {
        return;
    }
    shell(
        root,
        "chmod 755 .; mkdir -p tree/own/in tree/shut; echo a > tree/own/in/a; chmod 0 tree/shut; chown -R 65534:65534 . ",
    );
    site.remember();
    for line in [
        "chmod 0 own",
        "chmod 700 shut",
        "chmod 311 own/in; mkdir new",
        "chmod 0 .",
    ] {
        let output = as_nobody(
            &site,
            &[
                "run",
                "--quiet",
                "--cwd",
                site.tree.to_str().unwrap(),
                "--",
                line,
            ],
        );
        assert!(output.status.success(), "{line}: {}", text(&output));
        assert_ne!(site.differences(), "", "{line}");
        let output = as_nobody(&site, &["rollback", "last", "--yes"]);
        assert!(output.status.success(), "{line}: {}", text(&output));
        assert_eq!(site.differences(), "", "{line}");
    }
}

#[test]
fn no_mask_and_no_mode_gets_in_the_way() {
    let site = Site::new();
    if !judged("no_mask_and_no_mode_gets_in_the_way") {
        return;
    }
    shell(
        &site.tree,
        "mkdir z; echo a > z/a; echo b > b; chmod 0 b; chmod 3770 z",
    );
    site.remember();
    for mask in ["000", "077", "777"] {
        let line =
            format!("umask {mask}; chmod 700 z b; echo q > z/q; rm z/a; echo y >> b; mkdir n");
        undone(&site, &line);
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("umask {mask}; exec \"$@\""))
            .arg("sh")
            .arg(env!("CARGO_BIN_EXE_deployx"))
            .arg("--snapshot-dir")
            .arg(&site.store)
            .args(["run", "--quiet", "--cwd"])
            .arg(&site.tree)
            .args(["--", "rm -rf z b"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        site.undo();
        assert_eq!(site.differences(), "", "umask {mask}");
    }
}

#[test]
fn what_is_excluded_is_never_touched() {
    let site = Site::new();
    shell(
        &site.tree,
        "mkdir -p d/sub d/cache; printf '*.log\\n!keep.log\\n/d/cache/\\n' > .deployxignore; \
         echo '!deep.log' > d/.deployxignore; for f in a.log keep.log deep.log n sub/x.log cache/c; do echo 1 > d/$f; done",
    );
    run(
        &site,
        "for f in $(find d -type f -not -name '.*'); do echo 2 >> $f; done; rm d/n; echo new > new.log; mkdir e; echo x > e/x.log; echo y > e/y",
    );
    let output = rollback(&site, &["last"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let output = rollback(&site, &["last", "--on-conflict", "skip"]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    let content = |name: &str| fs::read_to_string(site.tree.join(name)).unwrap_or_default();
    for (name, expected) in [
        ("d/a.log", "1\n2\n"),
        ("d/sub/x.log", "1\n2\n"),
        ("d/cache/c", "1\n2\n"),
        ("d/keep.log", "1\n"),
        ("d/deep.log", "1\n"),
        ("d/n", "1\n"),
        ("new.log", "new\n"),
        ("e/x.log", "x\n"),
        ("e/y", ""),
    ] {
        assert_eq!(content(name), expected, "{name}");
    }
}

#[test]
fn times_of_every_century_come_back() {
    if !judged("times_of_every_century_come_back") {
        return;
    }
    let site = Site::new();
    for time in [
        "1902-01-01",
        "1969-12-31T23:59:59.999999999",
        "2106-03-01",
        "2300-01-01",
        "2446-05-01",
        "2030-01-01T01:02:03.123456789",
    ] {
        shell(
            &site.tree,
            &format!(
                "echo x > f-{time}; ln -s x l-{time}; touch -h -d {time} f-{time} l-{time}; mkdir d-{time}; touch -d {time} d-{time}"
            ),
        );
    }
    site.remember();
    undone(&site, "rm -rf ./*");
    undone(&site, "touch -h f-* l-*; touch d-*");
    undone(
        &site,
        "for f in f-*; do touch -r $f ../stamp; echo y > $f; touch -r ../stamp $f; done",
    );
}

/// Whether nothing that a rollback stages is left beside `tree`'s entries.
fn is_tidy(tree: &Path) -> bool {
    !walkdir::WalkDir::new(tree)
        .into_iter()
        .flatten()
        .any(|e| e.file_name().to_string_lossy().starts_with(".deployx-"))
}

#[test]
fn what_may_not_be_replaced_is_reported_and_can_be_restored_later() {
    let test = "what_may_not_be_replaced_is_reported_and_can_be_restored_later";
    if !judged(test)
        || !require(
            test,
            "root and setpriv",
            is_root() && has_program("setpriv"),
        )
    {
        return;
    }
    let site = Site::new();
    shell(site.tree.parent().unwrap(), "chmod 755 .");
    shell(
        &site.tree,
        "mkdir d; for i in 1 2 3; do echo $i > d/$i; done; echo r > r",
    );
    site.remember();
    run(&site, "for i in 1 2 3; do echo x >> d/$i; done; rm r");
    // A mount point is in the way of the file, which cannot be replaced.
    fs::set_permissions(site.tree.join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    let busy = site.tree.join("d/2");
    let file = busy.to_str().unwrap();
    let line = format!(
        "mount --bind '{file}' '{file}' && '{}' --snapshot-dir '{}' rollback last --yes --on-conflict overwrite; echo code $?",
        env!("CARGO_BIN_EXE_deployx"),
        site.store.display()
    );
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &line])
        .output()
        .unwrap();
    if !require(test, "mount namespaces", output.status.success()) {
        return;
    }
    assert!(
        text(&output).contains("code 5") || text(&output).contains("code 4"),
        "{}",
        text(&output)
    );
    assert!(is_tidy(&site.tree), "{}", text(&output));
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn large_files_changed_in_place_come_back() {
    if !judged("large_files_changed_in_place_come_back") {
        return;
    }
    let site = Site::new();
    let megabytes = scale(16, 2_048);
    shell(
        &site.tree,
        &format!(
            "head -c {megabytes}M /dev/urandom > big; truncate -s 2G holes; printf x | dd of=holes bs=1 seek=1G conv=notrunc 2>/dev/null"
        ),
    );
    site.remember();
    undone(
        &site,
        "echo tail >> big; printf middle | dd of=big bs=1 seek=9000000 conv=notrunc 2>/dev/null",
    );
}
