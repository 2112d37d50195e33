//! What random programs found once, each by its name.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::common::{Site, has_program, is_root, require, shell, text};

/// Runs a line in a tree and takes it back: nothing may differ, and nothing may have been missed.
fn is_taken_back(plant: &str, line: &str) {
    let site = Site::new();
    shell(&site.tree, plant);
    site.remember();
    let output = site.run_with(&["--strategy", "intercept"], line);
    assert!(output.status.success(), "{line}: {}", text(&output));
    assert_ne!(site.differences(), "", "{line} changed nothing");
    let coverage = &site.json(&["show", "last"])["coverage"];
    assert_eq!(coverage["complete"], true, "{line}: {coverage:#}");
    site.undo();
    assert_eq!(site.differences(), "", "{line}");
}

/// The same with a program of Python; loudly not where there is none, or no right to change the root.
fn python_is_taken_back(test: &str, plant: &str, program: &str) {
    if !require(test, "python3", has_program("python3"))
        || !require(test, "the administrator's rights", is_root())
    {
        return;
    }
    is_taken_back(plant, &format!("python3 -c '{program}'"));
}

#[test]
fn a_file_changed_through_several_of_its_names_is_as_it_was_by_each() {
    let plant = "echo one > a; ln a b; mkdir d; ln a d/c; touch -d '2019-05-06 07:08:09' a d";
    for line in [
        "echo two > a; rm b; chmod 600 d/c; echo three >> d/c; rm d/c a",
        "rm a; echo more >> b; chmod 640 d/c",
        "mv d/c d/e; echo two > b; rm a d/e",
        "echo more >> a; mv b f; echo two > d/c; rm -r d a f",
        "ln a g; echo two > g; rm g; rm b",
        "rm a; cp d/c a; rm b; ln a b; rm d/c; ln a d/c",
    ] {
        is_taken_back(plant, line);
    }
}

#[test]
fn descriptors_mean_the_same_beneath_another_root() {
    let test = "descriptors_mean_the_same_beneath_another_root";
    let plant = "mkdir -p d/in e; for f in out d/f d/in/f d/in/g e/f; do echo $f > $f; done";
    python_is_taken_back(
        test,
        plant,
        r#"
import os
out, within, e = (os.open(p, os.O_RDONLY) for p in (".", "d/in", "e"))
def below():
    os.chroot("d")
    os.chdir("/")
    os.unlink("out", dir_fd=out)
    os.write(os.open("f", os.O_WRONLY | os.O_TRUNC, dir_fd=within), b"new")
    os.rename("g", "h", src_dir_fd=within, dst_dir_fd=e)
    os.mkdir("made", dir_fd=e)
    os.write(os.open("/f", os.O_WRONLY | os.O_TRUNC), b"new")
    os.fchdir(e)
    os.unlink("f")
if os.fork() == 0:
    below()
    os._exit(0)
assert os.wait()[1] == 0
os.write(os.open("/proc/self/fd/%d/made/x" % e, os.O_WRONLY | os.O_CREAT), b"x")
os.rename("/proc/self/fd/%d/h" % e, "/proc/self/fd/%d/i" % out)
"#,
    );
}

#[test]
fn links_to_nothing_are_followed_within_another_root() {
    let test = "links_to_nothing_are_followed_within_another_root";
    let plant = "mkdir -p d/in/er in; ln -s /in/target d/absolute; ln -s ../target d/in/relative; \
         ln -s ../../../target d/in/er/upwards; ln -s absolute d/twice";
    for link in [
        "/absolute",
        "/in/relative",
        "/in/er/upwards",
        "/twice",
        "../relative",
        "upwards",
    ] {
        python_is_taken_back(
            test,
            plant,
            &format!(
                r#"
import os
os.chroot("d")
os.chdir("/in/er")
os.write(os.open("{link}", os.O_WRONLY | os.O_CREAT), b"new")
"#
            ),
        );
    }
}

#[test]
fn a_file_that_could_not_be_removed_is_as_it_was_however_it_is_changed_then() {
    let test = "a_file_that_could_not_be_removed_is_as_it_was_however_it_is_changed_then";
    let plant =
        "mkdir d; for f in f g h i; do echo $f > d/$f; setfattr -n user.note -v old d/$f; done";
    if !require(test, "setfattr", has_program("setfattr")) {
        return;
    }
    python_is_taken_back(
        test,
        plant,
        r#"
import os
d = os.open("d", os.O_RDONLY)
os.chroot("d")
for name in "fghi":
    try:
        # There is no /proc beneath this root.
        os.unlink(f"/proc/self/fd/{d}/{name}")
    except OSError:
        pass
os.setxattr("/f", "user.note", b"new")
os.removexattr("/g", "user.note")
open("/g", "a").write("more")
open("/h", "w").write("changed")
os.setxattr("/h", "user.other", b"new")
os.rename("/i", "/j")
os.setxattr("/j", "user.note", b"new")
os.chmod("/j", 0o600)
"#,
    );
}

#[test]
fn a_pipe_that_was_written_to_has_its_times_again() {
    let test = "a_pipe_that_was_written_to_has_its_times_again";
    if !require(test, "python3", has_program("python3")) {
        return;
    }
    let site = Site::new();
    shell(
        &site.tree,
        "mkfifo pipe; touch -d '2019-05-06 07:08:09.5' pipe",
    );
    let times = || {
        let found = fs::symlink_metadata(site.tree.join("pipe")).unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    let before = times();
    let line = "python3 -c 'import os; p = os.open(\"pipe\", os.O_RDWR); os.write(p, b\"x\"); os.read(p, 1)'";
    let output = site.run_with(&["--strategy", "intercept"], line);
    assert!(output.status.success(), "{}", text(&output));
    assert_ne!(times(), before);
    site.undo();
    assert_eq!(times(), before);
}

#[test]
fn a_directory_that_went_has_its_times_again_and_so_has_the_one_above() {
    let plant = "mkdir -p d/e/f; touch -d '2019-05-06 07:08:09.123456789' d/e/f d/e d .";
    for line in [
        "rmdir d/e/f",
        "rmdir d/e/f; mkdir d/e/f",
        "rmdir d/e/f d/e d",
        "rmdir d/e/f; rmdir d/e; mkdir d/e; echo x > d/e/f",
        "mv d/e/f d/g; rmdir d/e; mv d/g d/e",
    ] {
        is_taken_back(plant, line);
    }
}

#[test]
fn a_file_that_goes_while_it_is_open_for_adding_is_not_kept_by_a_link() {
    let test = "a_file_that_goes_while_it_is_open_for_adding_is_not_kept_by_a_link";
    let begin = "import os\nf = os.open(\"f\", os.O_WRONLY | os.O_APPEND)\n";
    for rest in [
        "os.write(f, b\"1\"); os.unlink(\"f\"); os.write(f, b\"2\")",
        "os.unlink(\"f\"); os.write(f, b\"1\"); os.close(f)",
        "os.write(f, b\"1\"); os.link(\"f\", \"g\"); os.unlink(\"f\"); os.write(f, b\"2\")",
        "os.link(\"f\", \"g\"); os.write(f, b\"1\"); os.unlink(\"g\"); os.truncate(\"f\", 1)",
        "os.link(\"f\", \"g\"); os.rename(\"other\", \"f\"); os.write(f, b\"1\"); os.unlink(\"g\"); os.ftruncate(f, 0)",
    ] {
        let plant = "echo content > f; echo other > other; chmod 640 f";
        python_is_taken_back(test, plant, &format!("{begin}{rest}"));
    }
}

#[test]
fn what_is_moved_to_where_changes_are_not_followed_comes_back() {
    let site = Site::new();
    let beyond = site.tree.with_file_name(".deployx_snapshots");
    fs::create_dir(&beyond).unwrap();
    shell(
        &site.tree,
        "echo f > f; echo g > g; ln g h; touch -d '2019-05-06 07:08:09' f",
    );
    shell(&beyond, "echo other > came; echo another > over");
    site.remember();
    let line = "mv f g ../.deployx_snapshots/ && mv ../.deployx_snapshots/came . && mv ../.deployx_snapshots/over h";
    let output = site.run_with(&["--strategy", "intercept"], line);
    assert!(output.status.success(), "{}", text(&output));
    assert!(!site.tree.join("f").exists() && site.tree.join("came").exists());
    site.undo();
    assert_eq!(site.differences(), "");
}

#[test]
fn a_directory_moved_to_where_changes_are_not_followed_is_told() {
    let site = Site::new();
    fs::create_dir(site.tree.with_file_name(".deployx_snapshots")).unwrap();
    shell(&site.tree, "mkdir d; echo f > d/f");
    let output = site.run_with(
        &["--strategy", "intercept"],
        "mv d ../.deployx_snapshots/d; echo done > done",
    );
    assert!(output.status.success(), "{}", text(&output));
    let coverage = &site.json(&["show", "last"])["coverage"];
    assert_eq!(coverage["complete"], false, "{coverage:#}");
}

/// So many files that their content is flushed at once.
#[test]
fn many_removed_files_come_back_and_nothing_else_is_stored() {
    let site = Site::new();
    shell(
        &site.tree,
        "mkdir t t/empty; for i in $(seq 150); do echo $i > t/$i; done; : > t/none; \
         ln t/1 elsewhere; ln t/2 t/two; chmod 4711 t/3; touch -d '2019-05-06 07:08:09' t/4 t; \
         cp -a t/5 t/6 .; ln -s 5 t/link",
    );
    site.remember();
    let line = "cp -a t/9 ..; rm -rf t; echo new > 5; mv 6 7; echo more >> elsewhere; mkdir t; mv ../9 t/9";
    let output = site.run_with(&["--strategy", "intercept"], line);
    assert!(output.status.success(), "{}", text(&output));
    let shown = site.json(&["show", "last"]);
    let id = shown["snapshot_id"].as_str().expect("its id");
    let files = fs::read_dir(site.store.join(id).join("files")).unwrap();
    // All in the directory but the one that is there again as it was, and two beside it.
    assert_eq!(files.count(), 149 + 2);
    site.undo();
    assert_eq!(site.differences(), "");
}

/// What is read of removed files while the command runs must not be taken for true where they change
/// later, and not be stored where it is not needed.
#[test]
fn removed_files_that_are_changed_later_or_come_back_are_as_they_were() {
    let test = "removed_files_that_are_changed_later_or_come_back_are_as_they_were";
    if !require(test, "python3", has_program("python3"))
        || !require(test, "the administrator's rights", is_root())
    {
        return;
    }
    let site = Site::new();
    shell(
        &site.tree,
        "for i in $(seq 300); do echo $i > f$i; done; touch -d '2019-05-06 07:08:09' f* .; cp -a f1 ../one",
    );
    site.remember();
    let line = r#"python3 -c '
import ctypes, os, shutil, time
def link(opened, to):
    assert ctypes.CDLL(None).linkat(-100, b"/proc/self/fd/%d" % opened, -100, to, 0x400) == 0
opened = [os.open(f"f{i}", os.O_RDONLY) for i in range(2, 8)]
for i in range(1, 301): os.unlink(f"f{i}")
time.sleep(0.5)
shutil.copy2("../one", "f1")
os.setxattr(opened[0], "user.note", b"new")
os.fchmod(opened[1], 0o600)
link(opened[2], b"f4")
link(opened[3], b"f9")
os.write(os.open("f9", os.O_WRONLY | os.O_TRUNC), b"changed")
os.utime(opened[4], (1, 2))
for i in range(10, 20): os.mkdir(f"f{i}")
'"#;
    let output = site.run_with(&["--strategy", "intercept"], line);
    assert!(output.status.success(), "{}", text(&output));
    let shown = site.json(&["show", "last"]);
    assert_eq!(
        shown["coverage"]["complete"], true,
        "{:#}",
        shown["coverage"]
    );
    let verified = site.deployx().args(["verify"]).output().unwrap();
    assert!(verified.status.success(), "{}", text(&verified));
    site.undo();
    assert_eq!(site.differences(), "");
}
