//! Bad input: a clear error that names the thing, the right exit code, and an untouched tree.

#[path = "../common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Output;

use sha2::{Digest, Sha256};

use common::{Site, fixture, is_root, require, shell, text};

/// Checks code and message. Every message says `deployx` or names what is wrong.
fn refused(output: &Output, code: i32, says: &str) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(says), "'{says}' is not in: {stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

fn one_snapshot() -> (Site, String) {
    let site = Site::new();
    fixture(&site.tree);
    assert!(
        site.run("rm src/file1.txt; echo x > src/file9.txt")
            .status
            .success()
    );
    let list = site.json(&["list"]);
    let id = list[0]["snapshot_id"].as_str().expect("an id").to_owned();
    (site, id)
}

fn rollback(site: &Site, id: &str) -> Output {
    site.deployx()
        .args(["rollback", "--yes", "--", id])
        .output()
        .expect("rollback")
}

#[test]
fn ids_that_name_nothing() {
    let (site, id) = one_snapshot();
    site.remember();
    refused(&rollback(&site, "0123456789abcdef"), 3, "0123456789abcdef");
    refused(&rollback(&site, "nosuchbatch"), 3, "nosuchbatch");
    for hostile in ["../../etc", "a/b", "", "..", &format!("{id}/../{id}")] {
        let output = rollback(&site, hostile);
        assert!(
            matches!(output.status.code(), Some(1..=3)),
            "{hostile:?}: {}",
            text(&output)
        );
    }
    assert_eq!(site.differences(), "");
}

#[test]
fn a_prefix_of_several_ids_lists_them() {
    let site = Site::new();
    // Seventeen snapshots share a first digit for certain; prefixes need four, so name files.
    for n in 0..3 {
        assert!(site.run(&format!("echo {n} > f")).status.success());
    }
    let list = site.json(&["list"]);
    let ids: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["snapshot_id"].as_str().unwrap().to_owned())
        .collect();
    // Give one the beginning of another: only names are looked at for a prefix.
    let twin = format!("{}{}", &ids[0][..8], "00000000");
    fs::copy(
        site.store.join(format!("{}.json", ids[0])),
        site.store.join(format!("{twin}.json")),
    )
    .unwrap();
    let output = rollback(&site, &ids[0][..8]);
    assert!(!output.status.success());
    assert!(
        text(&output).contains(&twin) && text(&output).contains(&ids[0]),
        "{}",
        text(&output)
    );
}

#[test]
fn commands_and_directories_that_make_no_sense() {
    let site = Site::new();
    refused(&site.run(""), 125, "empty");
    refused(&site.run(" \n\t "), 125, "empty");
    let output = site
        .deployx()
        .args(["run", "--cwd", "/no/such/dir", "--", "true"])
        .output()
        .unwrap();
    refused(&output, 125, "/no/such/dir");
    let output = site
        .deployx()
        .args(["run", "--shell", "tcsh-or-so", "--", "true"])
        .output()
        .unwrap();
    refused(&output, 127, "tcsh-or-so");
    let output = site
        .deployx()
        .args(["run", "--strategy", "magic", "--", "true"])
        .output()
        .unwrap();
    refused(&output, 125, "magic");
    let output = site
        .deployx()
        .args(["run", "--exclude", "[z-a]", "--", "true"])
        .output()
        .unwrap();
    refused(&output, 125, "[z-a]");
    let output = site
        .deployx()
        .args(["run", "--env", "NOEQUALS", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    let output = site.deployx().args(["run"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn a_store_that_others_could_have_planted() {
    let site = Site::new();
    let real = site.tree.parent().unwrap().join("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, &site.store).unwrap();
    let output = site.run_with(&["--require-snapshot"], "touch x");
    refused(&output, 125, "store");
    assert!(!site.tree.join("x").exists());
    fs::remove_file(&site.store).unwrap();
    fs::create_dir(&site.store).unwrap();
    fs::set_permissions(&site.store, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&site.run("touch x"), 125, "store");
    fs::remove_dir(&site.store).unwrap();
    fs::write(&site.store, "a file").unwrap();
    refused(&site.run("touch x"), 125, "store");
    assert!(!site.tree.join("x").exists());
}

#[test]
fn a_store_of_another_user() {
    if !require("a_store_of_another_user", "root", is_root()) {
        return;
    }
    let site = Site::new();
    fs::create_dir(&site.store).unwrap();
    fs::set_permissions(&site.store, fs::Permissions::from_mode(0o700)).unwrap();
    shell(&site.tree, &format!("chown 4321 {}", site.store.display()));
    refused(&site.run("touch x"), 125, "4321");
}

#[test]
fn damaged_metadata() {
    let (site, id) = one_snapshot();
    site.remember();
    let file = site.store.join(format!("{id}.json"));
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    let at = flipped.len() / 2;
    flipped[at] ^= 1;
    for bad in [
        b"".to_vec(),
        b"{}".to_vec(),
        b"not json".to_vec(),
        good[..good.len() / 2].to_vec(),
        flipped,
    ] {
        fs::write(&file, &bad).unwrap();
        let output = rollback(&site, &id);
        assert_eq!(output.status.code(), Some(7), "{}", text(&output));
        assert!(text(&output).contains(&id), "{}", text(&output));
        let output = site.deployx().args(["verify"]).output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    }
    assert_eq!(site.differences(), "");
}

#[test]
fn damaged_or_missing_manifest() {
    let (site, id) = one_snapshot();
    site.remember();
    let file = site.store.join(&id).join("manifest");
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    let at = flipped.len() - 20;
    flipped[at] ^= 0x40;
    for bad in [b"".to_vec(), good[..good.len() - 1].to_vec(), flipped] {
        fs::write(&file, &bad).unwrap();
        refused(&rollback(&site, &id), 7, &id);
    }
    fs::remove_file(&file).unwrap();
    refused(&rollback(&site, &id), 7, &id);
    assert_eq!(site.differences(), "");
}

fn stored_files(site: &Site, id: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(site.store.join(id).join("files")).unwrap();
    files.map(|f| f.unwrap().path()).collect()
}

#[test]
fn damaged_or_missing_backup_files_stop_their_entry_and_no_other() {
    let (site, id) = one_snapshot();
    let files = stored_files(&site, &id);
    assert_eq!(files.len(), 2);
    let bad = files
        .iter()
        .find(|f| f.to_string_lossy().contains("file1.txt"))
        .unwrap();
    let mut content = fs::read(bad).unwrap();
    content[0] ^= 1;
    // The baseline may share the inode: damage a copy of its own.
    fs::remove_file(bad).unwrap();
    fs::write(bad, &content).unwrap();
    let output = site.deployx().args(["verify"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let output = rollback(&site, &id);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("file1.txt"), "{}", text(&output));
    assert!(
        !site.tree.join("src/file1.txt").exists(),
        "damaged content was restored"
    );
    assert_eq!(
        fs::read_to_string(site.tree.join("src/file9.txt")).unwrap(),
        "line one\nvalue = 9\n"
    );
    let (site, id) = one_snapshot();
    stored_files(&site, &id)
        .iter()
        .for_each(|f| fs::remove_file(f).unwrap());
    let output = rollback(&site, &id);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("file1.txt"), "{}", text(&output));
}

#[test]
fn a_snapshot_of_a_newer_format() {
    let (site, id) = one_snapshot();
    site.remember();
    let file = site.store.join(format!("{id}.json"));
    let (_, rest) = fs::read_to_string(&file)
        .unwrap()
        .split_once('\n')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let newer = rest.replace("\"format_version\":1", "\"format_version\":99");
    assert_ne!(rest, newer);
    let sum: String = Sha256::digest(&newer)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    fs::write(&file, format!("{{\"checksum\":\"sha256:{sum}\",\n{newer}")).unwrap();
    let output = rollback(&site, &id);
    assert!(!output.status.success());
    assert!(
        common::text(&output).contains("newer"),
        "{}",
        common::text(&output)
    );
    assert_eq!(site.differences(), "");
}

#[test]
fn directories_that_cannot_be_read_are_named_and_left_alone() {
    // Root reads everything, so this runs as somebody else.
    let name = "directories_that_cannot_be_read_are_named_and_left_alone";
    if !require(
        name,
        "root and setpriv, to become somebody else",
        is_root() && common::has_program("setpriv"),
    ) {
        return;
    }
    let site = Site::new();
    fixture(&site.tree);
    let secret = site.tree.join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("f"), "x").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let root = site.tree.parent().unwrap();
    shell(
        root,
        "chmod 755 . ; mkdir -m 700 store; chown 4321:4321 store tree; chown 0:0 tree/secret; chmod 0 tree/secret",
    );
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=4321", "--regid=4321", "--clear-groups"])
        .arg(env!("CARGO_BIN_EXE_deployx"))
        .arg("--snapshot-dir")
        .arg(&site.store)
        .args(["run", "--json", "--cwd"])
        .arg(&site.tree)
        .arg("--path")
        .arg(&site.tree)
        .args(["--", "echo x > new"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["coverage"]["complete"], false, "{report}");
    let unobserved = report["coverage"]["unobserved"].to_string();
    assert!(unobserved.contains("/secret"), "{unobserved}");
}

/// A small filesystem of its own; `None` where it cannot be made.
struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).ok()?;
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(&at)
            .status()
            .ok()?;
        done.success().then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn a_store_on_a_full_disk() {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().canonicalize().unwrap();
    let mounted = if is_root() {
        Mounted::tmpfs(root.join("small"), "1m")
    } else {
        None
    };
    let Some(mounted) = mounted else {
        require("a_store_on_a_full_disk", "root and mount", false);
        return;
    };
    let site = Site::at(&root, &mounted.0.join("store"));
    fixture(&site.tree);
    fs::write(site.tree.join("big"), vec![7; 4 << 20]).unwrap();
    site.remember();
    // The command runs, and the report says what is not covered.
    let output = site.run_with(&["--json"], "rm big; rm src/file1.txt");
    assert!(output.status.success(), "{}", text(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["coverage"]["complete"], false, "{report}");
    assert!(!site.tree.join("big").exists());
    // With a snapshot required it does not.
    fs::write(site.tree.join("big"), vec![7; 4 << 20]).unwrap();
    refused(
        &site.run_with(&["--require-snapshot"], "rm big"),
        126,
        "big",
    );
    assert!(site.tree.join("big").exists());
    // No space at all.
    let filler = mounted.0.join("filler");
    let _ = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!("cat /dev/zero > {} 2>/dev/null", filler.display()))
        .status();
    let output = site.run_with(&["--require-snapshot"], "rm big");
    assert!(
        matches!(output.status.code(), Some(125 | 126)),
        "{}",
        text(&output)
    );
    assert!(site.tree.join("big").exists());
}

#[test]
fn a_store_that_cannot_be_written() {
    let keep = tempfile::tempdir().unwrap();
    let root = keep.path().canonicalize().unwrap();
    let mounted = if is_root() {
        Mounted::tmpfs(root.join("ro"), "4m")
    } else {
        None
    };
    let Some(mounted) = mounted else {
        require("a_store_that_cannot_be_written", "root and mount", false);
        return;
    };
    let site = Site::at(&root, &mounted.0.join("store"));
    fs::write(site.tree.join("f"), "x").unwrap();
    assert!(site.run("echo y > f").status.success());
    let remount = ["-o", "remount,ro"];
    assert!(
        std::process::Command::new("mount")
            .args(remount)
            .arg(&mounted.0)
            .status()
            .unwrap()
            .success()
    );
    let output = site.deployx().args(["list"]).output().unwrap();
    assert!(
        output.status.success(),
        "reading needs no write: {}",
        text(&output)
    );
    let output = site
        .deployx()
        .args(["rollback", "last", "--yes"])
        .output()
        .unwrap();
    assert!(!output.status.success(), "{}", text(&output));
    assert_eq!(fs::read_to_string(site.tree.join("f")).unwrap(), "y\n");
    refused(
        &site.run_with(&["--require-snapshot"], "echo z > f"),
        125,
        "store",
    );
    assert_eq!(fs::read_to_string(site.tree.join("f")).unwrap(), "y\n");
}
