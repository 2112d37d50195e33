//! Names of every kind, deep trees and wide directories.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::common::{Site, has_program, require};
use crate::{judged, run, scale, undone};

#[test]
fn every_byte_and_every_length_of_names_comes_back() {
    if !judged("every_byte_and_every_length_of_names_comes_back") {
        return;
    }
    let site = Site::new();
    for byte in (1..=255u8).filter(|b| !b"./".contains(b)) {
        let name = |times: usize| site.tree.join(OsStr::from_bytes(&vec![byte; times]));
        fs::write(name(1), [byte]).unwrap();
        fs::write(name(255), "the longest name").unwrap();
        let dir = site.tree.join(OsStr::from_bytes(&[b'd', byte]));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join(OsStr::from_bytes(&[byte; 255])), "inside").unwrap();
    }
    for name in [
        ".deployx",
        ".deployx-1",
        ".deployx-0123456789abcdef-0",
        ".deployx_snapshots",
    ] {
        fs::write(site.tree.join(name), name).unwrap();
    }
    site.remember();
    undone(
        &site,
        "for f in * .deployx*; do [ -f \"$f\" ] && echo more >> \"$f\"; done; rm -rf d*",
    );
    undone(&site, "rm -rf ./* .deployx*");
    undone(
        &site,
        "for f in ./*; do mv -- \"$f\" \"${f:0:200}.moved\" 2>/dev/null; done; true",
    );
}

/// Makes a chain of directories by descriptors, as its path is too long for a system call, and
/// sums up names, modes, times and contents along it.
const CHAIN: &str = r"
import hashlib, os, sys
what, levels = sys.argv[1], int(sys.argv[2])
at = os.open('.', os.O_RDONLY)
def file(name, text):
    f = os.open(name, os.O_CREAT | os.O_WRONLY, dir_fd=at); os.write(f, text); os.close(f)
if what == 'make':
    for level in range(levels):
        os.mkdir('level', dir_fd=at)
        below = os.open('level', os.O_RDONLY, dir_fd=at); os.close(at); at = below
        if level % 100 == 0: file('file', b'%d' % level)
    file('leaf', b'leaf')
else:
    total, depth = hashlib.sha256(), 0
    while True:
        state, names, below = os.fstat(at), sorted(os.listdir(at)), None
        total.update(repr((state.st_mode, state.st_mtime_ns, names)).encode())
        for name in names:
            s = os.stat(name, dir_fd=at, follow_symlinks=False)
            if s.st_mode & 0o170000 == 0o040000: below = os.open(name, os.O_RDONLY, dir_fd=at)
            else:
                f = os.open(name, os.O_RDONLY, dir_fd=at)
                total.update(os.read(f, 99) + repr((s.st_mode, s.st_mtime_ns)).encode()); os.close(f)
        if below is None: break
        os.close(at); at = below; depth += 1
    print(depth, total.hexdigest())
";

#[test]
fn trees_beyond_path_max_come_back() {
    if !require(
        "trees_beyond_path_max_come_back",
        "python3",
        has_program("python3"),
    ) {
        return;
    }
    let site = Site::new();
    let levels = scale(1_000, 10_000).to_string();
    let chain = |what: &str| {
        let output = Command::new("python3")
            .args(["-c", CHAIN, what, &levels])
            .current_dir(&site.tree)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", crate::common::text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    chain("make");
    let before = chain("sum");
    assert!(before.starts_with(&format!("{levels} ")), "{before}");
    for line in [
        "mv level other",
        "find . -name leaf -execdir sh -c 'echo changed > leaf' ';'; find . -name file -execdir chmod 600 file ';'",
        "rm -rf level",
    ] {
        run(&site, line);
        site.undo();
        assert_eq!(chain("sum"), before, "{line}");
    }
    // The standard library's removal of the scratch directory does not go that deep.
    crate::common::shell(&site.tree, "rm -rf level");
}

#[test]
fn a_wide_directory_comes_back() {
    if !judged("a_wide_directory_comes_back") {
        return;
    }
    let site = Site::new();
    for number in 0..scale(2_000, 100_000) {
        fs::write(site.tree.join(format!("f{number}")), number.to_string()).unwrap();
    }
    site.remember();
    undone(
        &site,
        "find . -name 'f*5*' -delete; echo x > f1; mkdir n; cp f2* n/",
    );
}
