//! How old content is kept: compressed, as a difference, on another volume. Through the program and
//! the engine, from the command to the rollback.

#[path = "../common/mod.rs"]
mod common;

mod beside;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use common::{Site, has_program, require, text};

/// What the names of compressed files end with.
const COMPRESSED: &str = ".zst";

/// Lines of words, which compress well.
fn words(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut out = Vec::with_capacity(size);
    while out.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        out.extend_from_slice(format!("word{} ", (state >> 40) % 500).as_bytes());
    }
    out.truncate(size);
    out
}

/// Bytes that do not compress.
fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u8
    };
    (0..size).map(next).collect()
}

/// A tree whose content takes every form: words, noise, a sparse file, a large one.
fn tree(site: &Site) {
    for (name, content) in [
        ("words", words(1, 200_000)),
        ("noise", noise(2, 200_000)),
        ("small", words(3, 100)),
        ("db", noise(4, 4 << 20)),
        ("log", words(5, 3 << 20)),
    ] {
        fs::write(site.tree.join(name), content).unwrap();
    }
    let sparse = fs::File::create(site.tree.join("sparse")).unwrap();
    sparse.set_len(6 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &words(6, 2 << 20), 1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &words(7, 2 << 20), 4 << 20).unwrap();
    fs::hard_link(site.tree.join("words"), site.tree.join("words2")).unwrap();
}

fn ready(test: &str) -> Option<Site> {
    if !require(test, "rsync", has_program("rsync")) {
        return None;
    }
    let site = Site::new();
    tree(&site);
    Some(site)
}

fn run(site: &Site, line: &str) -> String {
    let output = site.run(line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    let list = site.json(&["list"]);
    list[0]["snapshot_id"].as_str().unwrap().to_owned()
}

/// Names in a snapshot's directory of content.
fn kept(site: &Site, id: &str) -> Vec<String> {
    let files = fs::read_dir(site.store.join(id).join("files")).unwrap();
    let mut names: Vec<String> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn has(names: &[String], end: &str) -> bool {
    names.iter().any(|name| name.ends_with(end))
}

fn verified(site: &Site) {
    let report = site.json(&["verify"]);
    assert_eq!(report["problems"], serde_json::json!([]), "{report}");
}

#[test]
fn a_deleted_tree_comes_back_from_compressed_content() {
    let Some(site) = ready("a_deleted_tree_comes_back_from_compressed_content") else {
        return;
    };
    site.remember();
    let sparse = site.tree.join("sparse").metadata().unwrap();
    let id = run(&site, "rm -rf ./*");
    let names = kept(&site, &id);
    for end in [
        "-words.zst",
        "-log.zst",
        "-sparse.zst",
        "-noise",
        "-db",
        "-small",
    ] {
        assert!(has(&names, end), "{end}: {names:?}");
    }
    verified(&site);
    site.undo();
    assert_eq!(site.differences(), "");
    let back = site.tree.join("sparse").metadata().unwrap();
    assert!(
        back.blocks() <= sparse.blocks() + 64,
        "{} {}",
        back.blocks(),
        sparse.blocks()
    );
}

#[test]
fn compression_can_be_switched_off_and_made_up_for() {
    let Some(site) = ready("compression_can_be_switched_off_and_made_up_for") else {
        return;
    };
    site.remember();
    let output = site.run_with(&["--compression", "off"], "rm -rf ./*");
    assert!(output.status.success(), "{}", text(&output));
    let list = site.json(&["list"]);
    let id = list[0]["snapshot_id"].as_str().unwrap();
    assert!(!has(&kept(&site, id), ".zst"));
    // What was switched off is not made up for: nothing was left over.
    let done = site.json(&["cleanup", "--max-age", "24"]);
    assert_eq!(done["compacted"]["snapshots"], 0);
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn small_edits_of_large_files_are_kept_as_differences_and_undone_one_by_one() {
    let Some(site) = ready("small_edits_of_large_files_are_kept_as_differences") else {
        return;
    };
    let edit = |at: usize| {
        format!(
            "printf changed | dd of=db bs=1 seek={at} conv=notrunc 2>/dev/null; printf x | dd of=log bs=1 seek={at} conv=notrunc 2>/dev/null"
        )
    };
    let mut ids = Vec::new();
    let mut states = Vec::new();
    for at in [10, 900_000, 2_000_000, 2_900_000] {
        states.push(["db", "log"].map(|name| fs::read(site.tree.join(name)).unwrap()));
        ids.push(run(&site, &edit(at)));
    }
    let names = kept(&site, &ids[0]);
    assert!(has(&names, "-db") && has(&names, "-log.zst"), "{names:?}");
    for id in &ids[1..] {
        let names = kept(&site, id);
        assert!(
            has(&names, "-db.delta") && has(&names, "-log.delta"),
            "{names:?}"
        );
    }
    let list = site.json(&["list"]);
    let size = list[0]["size_bytes"].as_u64().unwrap();
    assert!(size < 400_000, "{size}");
    verified(&site);
    // The snapshot that keeps the full version goes; the others do not need it.
    let gone = site.deployx().args(["cleanup", &ids[0]]).output().unwrap();
    assert!(gone.status.success(), "{}", text(&gone));
    verified(&site);
    let out = site.tree.parent().unwrap().join("out");
    let restored = site
        .deployx()
        .args(["restore", &ids[2]])
        .arg(site.tree.join("db"))
        .arg("--to")
        .arg(&out)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", text(&restored));
    assert!(fs::read(out.join("db")).unwrap() == states[2][0]);
    let diff = site.json(&["diff", &ids[1]]);
    assert!(diff.to_string().contains("log"), "{diff}");
    for (id, state) in ids.iter().zip(&states).skip(1).rev() {
        let undone = site
            .deployx()
            .args(["rollback", id, "--yes"])
            .output()
            .unwrap();
        assert!(undone.status.success(), "{}", text(&undone));
        assert!(fs::read(site.tree.join("db")).unwrap() == state[0]);
        assert!(fs::read(site.tree.join("log")).unwrap() == state[1]);
    }
}

#[test]
fn a_diff_shows_compressed_text() {
    let Some(site) = ready("a_diff_shows_compressed_text") else {
        return;
    };
    let lines: String = (0..2000).map(|n| format!("line {n}\n")).collect();
    fs::write(site.tree.join("conf"), lines).unwrap();
    let id = run(&site, "sed -i 's/line 77$/LINE 77/' conf");
    assert!(has(&kept(&site, &id), "-conf.zst"));
    let diff = site.deployx().args(["diff", &id]).output().unwrap();
    let diff = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert!(
        diff.contains("-line 77") && diff.contains("+LINE 77"),
        "{diff}"
    );
}

#[test]
fn content_that_was_left_is_compressed_by_a_cleanup_and_still_undoes() {
    let Some(site) = ready("content_that_was_left_is_compressed_by_a_cleanup") else {
        return;
    };
    for n in 0..400 {
        fs::write(site.tree.join(format!("f{n}")), words(n, 20_000)).unwrap();
    }
    site.remember();
    let id = run(&site, "rm -rf ./*");
    let before = kept(&site, &id);
    let count = |names: &[String]| {
        names
            .iter()
            .filter(|name| name.ends_with(COMPRESSED))
            .count()
    };
    assert!(count(&before) < 300, "the budget is not kept");
    let done = site.json(&["cleanup", "--max-age", "24"]);
    assert_eq!(done["compacted"]["snapshots"], 1, "{done}");
    assert!(done["compacted"]["saved_bytes"].as_u64().unwrap() > 500_000);
    assert!(count(&kept(&site, &id)) > 400);
    verified(&site);
    site.undo();
    assert_eq!(site.differences(), "");
}

/// A filesystem that shares blocks, unmounted when dropped.
struct Loop(PathBuf);

impl Loop {
    fn xfs(test: &str, temp: &Path) -> Option<Self> {
        let at = temp.join("volume");
        fs::create_dir(&at).unwrap();
        let script = "truncate -s 400M image && mkfs.xfs -q image && mount -o loop image volume";
        let mounted = common::is_root()
            && std::process::Command::new("sh")
                .args(["-c", script])
                .current_dir(temp)
                .output()
                .is_ok_and(|output| output.status.success());
        require(test, "root, mkfs.xfs and loop devices", mounted).then_some(Self(at))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .output();
    }
}

#[test]
fn raw_content_is_restored_by_sharing_its_blocks() {
    let test = "raw_content_is_restored_by_sharing_its_blocks";
    if !require(test, "filefrag", has_program("filefrag")) {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let Some(volume) = Loop::xfs(test, temp.path()) else {
        return;
    };
    let site = Site::at(&volume.0, &volume.0.join("store"));
    fs::write(site.tree.join("large"), noise(1, 8 << 20)).unwrap();
    let id = run(&site, "rm large");
    site.undo();
    assert!(fs::read(site.tree.join("large")).unwrap() == noise(1, 8 << 20));
    for file in [site.tree.join("large"), stored(&site, &id, "-large")] {
        let output = std::process::Command::new("filefrag")
            .arg("-v")
            .arg(file)
            .output()
            .unwrap();
        assert!(text(&output).contains("shared"), "{}", text(&output));
    }
}

/// Stored files of one ending each, with something done to them.
fn stored(site: &Site, id: &str, end: &str) -> PathBuf {
    let names = kept(site, id);
    let name = names.iter().find(|name| name.ends_with(end)).unwrap();
    site.store.join(id).join("files").join(name)
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    // The file may be linked with others: a new one is put in its place.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn damaged_content_of_every_form_is_named_and_its_entry_left_alone() {
    let Some(site) = ready("damaged_content_of_every_form_is_named") else {
        return;
    };
    run(
        &site,
        "printf 1 | dd of=db bs=1 seek=5 conv=notrunc 2>/dev/null",
    );
    let line = "printf 2 | dd of=db bs=1 seek=900000 conv=notrunc 2>/dev/null; \
                echo x >> words; echo x >> noise; echo x >> log";
    let id = run(&site, line);
    flip(&stored(&site, &id, "-db.delta"));
    flip(&stored(&site, &id, "-words.zst"));
    flip(&stored(&site, &id, "-noise"));
    let cut = stored(&site, &id, "-log.zst");
    let half = fs::read(&cut).unwrap();
    fs::write(&cut, &half[..half.len() / 2]).unwrap();
    let report = site.json(&["verify", &id]);
    assert_eq!(report["problems"].as_array().unwrap().len(), 4, "{report}");
    site.remember();
    let output = site
        .deployx()
        .args(["rollback", &id, "--yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(
        text(&output).matches("damaged").count() >= 4,
        "{}",
        text(&output)
    );
    assert_eq!(site.differences(), "");
}

#[test]
fn the_base_of_a_difference_that_is_gone_is_named() {
    let Some(site) = ready("the_base_of_a_difference_that_is_gone_is_named") else {
        return;
    };
    run(
        &site,
        "printf 1 | dd of=db bs=1 seek=5 conv=notrunc 2>/dev/null",
    );
    let id = run(
        &site,
        "printf 2 | dd of=db bs=1 seek=900000 conv=notrunc 2>/dev/null",
    );
    fs::remove_file(stored(&site, &id, "-db.base")).unwrap();
    site.remember();
    let output = site
        .deployx()
        .args(["rollback", &id, "--yes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
    assert!(text(&output).contains("is missing"), "{}", text(&output));
    assert_eq!(site.differences(), "");
}
