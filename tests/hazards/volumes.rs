//! Mounts in the tree, other filesystems, racing processes.

use std::fs;
use std::process::Command;

use crate::common::{Site, is_root, require, shell, text};
use crate::{judged, scale};

/// Runs a script in a mount namespace of its own, with `$deployx` and `$store` set. The script says
/// by its exit status whether everything was as it should be.
pub(crate) fn in_namespace(test: &str, site: &Site, script: &str) {
    let usable = is_root()
        && Command::new("unshare")
            .args([
                "-m",
                "--propagation",
                "private",
                "sh",
                "-c",
                "mount -t tmpfs none /mnt",
            ])
            .status()
            .is_ok_and(|status| status.success());
    if !require(test, "root and mount namespaces", usable) {
        return;
    }
    let output = Command::new("unshare")
        .args([
            "-m",
            "--propagation",
            "private",
            "bash",
            "-eu",
            "-c",
            script,
        ])
        .current_dir(&site.tree)
        .env("deployx", env!("CARGO_BIN_EXE_deployx"))
        .env("DEPLOYX_SNAPSHOT_DIR", &site.store)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Functions that the scripts share: `undone LINE` runs it, takes it back, and compares.
pub(crate) const SHARED: &str = r#"
judge() { rsync -aHAXnic --delete --numeric-ids "$2"/ "$1"/; }
undone() {
    rm -rf ../copy; cp -a . ../copy
    "$deployx" run --quiet -- "$1"
    [ -n "$(judge . ../copy)" ]
    "$deployx" rollback last --yes
    difference=$(judge . ../copy)
    [ -z "$difference" ] || { echo "$1: $difference"; exit 1; }
}
"#;

#[test]
fn filesystems_of_every_kind_are_restored_from_a_store_elsewhere() {
    let test = "filesystems_of_every_kind_are_restored_from_a_store_elsewhere";
    let site = Site::new();
    for kind in ["tmpfs", "ext4", "xfs", "btrfs"] {
        let maker = format!("mkfs.{kind}");
        let has_maker = ["/sbin", "/usr/sbin"]
            .iter()
            .any(|dir| fs::exists(format!("{dir}/{maker}")).unwrap_or(false));
        if !require(test, &maker, kind == "tmpfs" || has_maker) {
            continue;
        }
        let mount = if kind == "tmpfs" {
            "mount -t tmpfs none at".to_owned()
        } else {
            format!("truncate -s 320M image; {maker} -q image; mount -o loop image at")
        };
        let script = format!(
            r"{SHARED}
            mkdir -p at; {mount}; mkdir -p at/tree; cd at/tree
            mkdir d; for i in 1 2 3 4 5 6 7 8; do head -c 9000 /dev/urandom > d/$i; done
            ln d/1 h; truncate -s 9M d/2; setfattr -n trusted.t -v 1 d/3; setcap cap_net_raw+ep d/4
            touch -d 2001-02-03 d/5 d
            undone 'rm -rf d; echo x > d'
            undone 'for i in 1 2 3; do echo x >> d/$i; done; chmod 0 d/4; mv d e; rm h; chown 5:6 e'
            cd ../..; umount at; rm -f image"
        );
        in_namespace(test, &site, &script);
    }
}

#[test]
fn a_full_disk_costs_nothing_and_a_later_try_works() {
    let test = "a_full_disk_costs_nothing_and_a_later_try_works";
    let site = Site::new();
    let script = format!(
        r#"{SHARED}
        mkdir at; mount -t tmpfs -o size=20m,nr_inodes=200 none at; mkdir at/tree; cd at/tree
        for i in 1 2 3 4 5; do head -c 1000000 /dev/urandom > $i; done
        cp -a . "$DEPLOYX_SNAPSHOT_DIR"-copy; copy="$DEPLOYX_SNAPSHOT_DIR"-copy
        "$deployx" run --quiet -- 'for i in 1 2 3 4 5; do echo x >> $i; done'
        cp -a . "$copy"2
        code() {{ c=0; "$deployx" "$@" || c=$?; echo $c; }}
        head -c 99M /dev/zero > ../fill 2>/dev/null || true
        [ "$(code rollback last --yes | tail -1)" = 5 ]
        [ -z "$(judge . "$copy"2)" ]
        rm ../fill
        i=0; while touch ../inode$i 2>/dev/null; do i=$((i+1)); done
        [ "$(code rollback last --yes | tail -1)" = 5 ]
        [ -z "$(judge . "$copy"2)" ]
        rm ../inode*
        mount -o remount,ro "$PWD/.."
        [ "$(code rollback last --yes | tail -1)" = 5 ]
        mount -o remount,rw "$PWD/.."
        "$deployx" rollback last --yes
        difference=$(judge . "$copy"); [ -z "$difference" ] || {{ echo "$difference"; exit 1; }}"#
    );
    in_namespace(test, &site, &script);
}

#[test]
fn a_filesystem_mounted_over_the_tree_is_left_alone() {
    let site = Site::new();
    let script = r#"
        mkdir m; echo 1 > m/f
        "$deployx" run --quiet -- 'rm m/f; echo g > m/g'
        mount -t tmpfs none m; echo g > m/g
        c=0; "$deployx" rollback last --yes --on-conflict overwrite || c=$?; [ $c != 0 ]
        [ "$(ls m)" = g ]
        umount m
        "$deployx" rollback last --yes --on-conflict overwrite; [ "$(ls m)" = f ]"#;
    in_namespace(
        "a_filesystem_mounted_over_the_tree_is_left_alone",
        &site,
        script,
    );
}

#[test]
fn mounts_of_the_same_filesystem_are_not_crossed() {
    let script = r#"
        mkdir -p t/m t/own other; echo 1 > t/own/f; echo 1 > other/f
        mount --bind other t/m
        echo "not asked for: left out and said"
        "$deployx" run --quiet --json --path "$PWD/t" -- 'echo 2 > t/m/f; echo 2 > t/own/f' > report
        grep -q '"complete":false' report; grep -q '/t/m","reason":"another filesystem' report
        "$deployx" rollback last --yes
        [ "$(cat t/own/f)" = 1 ] && [ "$(cat other/f)" = 2 ]
        echo "asked for: covered"
        "$deployx" run --quiet --json --path "$PWD/t" --path "$PWD/t/m" -- 'echo 3 > t/m/f; rm t/own/f; echo n > t/m/n' > report
        grep -q '"complete":true' report
        "$deployx" rollback last --yes
        [ "$(cat t/own/f)" = 1 ] && [ "$(cat other/f)" = 2 ] && [ "$(ls other)" = f ]
        echo "mounted after the command: refused"
        umount t/m; echo 1 > t/m/f
        "$deployx" run --quiet --path "$PWD/t" -- 'echo 5 > t/m/f'
        mount --bind t/m other; mount --bind other t/m
        code=0; "$deployx" rollback last --yes --on-conflict overwrite || code=$?; [ $code != 0 ]
        umount t/m
        [ "$(cat t/m/f)" = 5 ]
        "$deployx" rollback last --yes; [ "$(cat t/m/f)" = 1 ]"#;
    let test = "mounts_of_the_same_filesystem_are_not_crossed";
    in_namespace(test, &Site::new(), script);
}

#[test]
fn what_cannot_change_needs_no_strategy() {
    let script = r#"
        mkdir ro rw; mount -t tmpfs none ro; echo 1 > ro/f; mount -o remount,ro ro; echo 1 > rw/f
        "$deployx" run --quiet --json --require-snapshot --path "$PWD/ro" --path "$PWD/rw" -- 'echo 2 > ro/f; echo 2 > rw/f' > report
        grep -q '"complete":true' report; grep -q '"strategy":"none"' report
        "$deployx" rollback last --yes; [ "$(cat rw/f)" = 1 ]
        echo "made writable by the command: said"
        "$deployx" run --quiet --json --path "$PWD/ro" --path "$PWD/rw" -- 'mount -o remount,rw ro; echo 2 > ro/f; echo 2 > rw/f' > report
        grep -q '"complete":false' report; grep -q 'reading only and is not any more' report
        "$deployx" rollback last --yes --on-conflict skip || true
        [ "$(cat rw/f)" = 1 ]; [ "$(cat ro/f)" = 2 ]"#;
    in_namespace("what_cannot_change_needs_no_strategy", &Site::new(), script);
}

#[test]
fn racing_symbolic_links_never_lead_out_of_the_tree() {
    if !judged("racing_symbolic_links_never_lead_out_of_the_tree") {
        return;
    }
    let site = Site::new();
    let root = site.tree.parent().unwrap().to_owned();
    shell(
        &root,
        "mkdir -p canary/in; for i in 1 2 3 4; do echo canary > canary/in/$i; done; cp -a canary before",
    );
    shell(
        &site.tree,
        "mkdir -p a/in; for i in 1 2 3 4; do echo mine > a/in/$i; done",
    );
    // Swaps a directory with a link to the canary, as fast as it can.
    let mut racer = Command::new("python3")
        .args([
            "-c",
            "
import ctypes, os
libc = ctypes.CDLL(None)
os.symlink('../canary', 'b')
while True: libc.renameat2(-100, b'a', -100, b'b', 2)
",
        ])
        .current_dir(&site.tree)
        .spawn()
        .expect("python3");
    for round in 0..scale(40, 2_000) {
        let line = format!("for i in 1 2; do echo {round} >> own$i; done; true");
        let _ = site.run(&line);
        let _ = site.run_with(&["--path", site.tree.join("a").to_str().unwrap()], "true");
        let _ = crate::rollback(&site, &["last", "--on-conflict", "overwrite"]);
    }
    racer.kill().unwrap();
    racer.wait().unwrap();
    assert_eq!(
        crate::common::differences(&root.join("before"), &root.join("canary")),
        ""
    );
}
