//! Entries that are not as the commands left them.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::Conflict;
use super::world::{World, assert_same, plan};
use crate::request::OnConflict;
use crate::seal::{PreImage, RecordedVolume};

fn reasons(conflicts: &[Conflict]) -> String {
    let lines = conflicts
        .iter()
        .map(|c| format!("{}: {}", c.path, c.reason));
    lines.collect::<Vec<_>>().join("\n")
}

/// Expects that aborting refuses with `reason` and changes nothing.
fn expect_refusal(world: &World, sources: &[&super::super::compose::Source], reason: &str) {
    let before = world.scan();
    let conflicts = world.try_roll(sources, OnConflict::Abort, &[]).unwrap_err();
    assert!(reasons(&conflicts).contains(reason), "{conflicts:#?}");
    assert_same(&before, &world.scan());
}

#[test]
fn content_changed_since_is_a_conflict_that_can_be_skipped_or_overwritten() {
    let world = World::new();
    world.write("file", "old");
    world.write("other", "old");
    let source = world.snapshot(|| {
        world.write("file", "by the command");
        world.write("other", "by the command");
    });
    world.write("file", "by somebody else");
    let live = world.scan();
    expect_refusal(&world, &[&source], "its content");
    let skipped = world.roll(&[&source], OnConflict::Skip);
    assert!(!skipped.report.success);
    assert_eq!(skipped.report.conflicts.len(), 1);
    assert_eq!(
        (world.read("file"), world.read("other")),
        ("by somebody else".into(), "old".into())
    );
    world.roll(&[&skipped.redo], OnConflict::Abort);
    let overwritten = world.roll(&[&source], OnConflict::Overwrite);
    assert!(overwritten.report.success, "{:#?}", overwritten.report);
    assert_eq!(overwritten.report.conflicts.len(), 1);
    assert_eq!(
        (world.read("file"), world.read("other")),
        ("old".into(), "old".into())
    );
    world.undo(&overwritten.redo, &live);
}

#[test]
fn every_difference_is_noticed_and_named() {
    let world = World::new();
    for name in ["gone", "mode", "kind", "time", "removed"] {
        world.write(name, "old");
    }
    world.mkdir("dir");
    let source = world.snapshot(|| {
        for name in ["gone", "mode", "kind", "time"] {
            world.write(name, "new!");
        }
        world.chmod("dir", 0o700);
        fs::remove_file(world.path("removed")).unwrap();
        world.write("created", "created");
    });
    fs::remove_file(world.path("gone")).unwrap();
    world.chmod("mode", 0o600);
    fs::remove_file(world.path("kind")).unwrap();
    world.mkdir("kind");
    super::world::touch(&world.path("time"), 1, 1);
    world.chmod("dir", 0o711);
    world.write("removed", "somebody made this");
    world.write("created", "and changed this");
    let conflicts = world
        .try_roll(&[&source], OnConflict::Abort, &[])
        .unwrap_err();
    let found = reasons(&conflicts);
    for part in [
        "gone: does not exist any more",
        "mode: was changed after the command: its mode",
        "kind: was changed after the command: is now a directory",
        "time: was changed after the command: its modification time",
        "dir: was changed after the command: its mode (0700 to 0711)",
        "removed: did not exist after the command; now there is a file",
        "created: was changed after the command: its content",
    ] {
        assert!(found.contains(part), "{part} is missing in\n{found}");
    }
    assert_eq!(conflicts.len(), 7);
    let live = world.scan();
    let rolled = world.roll(&[&source], OnConflict::Overwrite);
    assert!(rolled.report.success, "{:#?}", rolled.report);
    world.undo(&rolled.redo, &live);
}

#[test]
fn touching_a_file_without_changing_it_is_no_conflict() {
    let world = World::new();
    world.write("file", "old");
    let before = world.scan();
    let source = world.snapshot(|| world.write("file", "newer"));
    // Another inode with the same content and times, as a backup tool would leave it.
    let time = fs::metadata(world.path("file"))
        .unwrap()
        .modified()
        .unwrap();
    fs::copy(world.path("file"), world.path("copy")).unwrap();
    fs::rename(world.path("copy"), world.path("file")).unwrap();
    let file = fs::File::options()
        .write(true)
        .open(world.path("file"))
        .unwrap();
    file.set_modified(time).unwrap();
    drop(file);
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert!(rolled.report.success);
    assert_eq!(world.read("file"), "old");
    assert_eq!(
        before[&world.abs("file")].modified,
        world.scan()[&world.abs("file")].modified
    );
}

#[test]
fn a_created_directory_with_foreign_entries_stays_even_when_overwriting() {
    let world = World::new();
    let source = world.snapshot(|| {
        world.mkdir("new/sub");
        world.write("new/sub/file", "x");
    });
    world.write("new/mine", "not the command's");
    expect_refusal(
        &world,
        &[&source],
        "contains 1 entry that the command did not create (mine)",
    );
    let rolled = world.roll(&[&source], OnConflict::Overwrite);
    assert!(!rolled.report.success);
    assert_eq!(world.read("new/mine"), "not the command's");
    assert!(!world.exists("new/sub"));
}

#[test]
fn a_directory_around_a_skipped_entry_stays() {
    let world = World::new();
    let source = world.snapshot(|| {
        world.mkdir("new");
        world.write("new/a", "a");
        world.write("new/b", "b");
    });
    world.write("new/a", "changed later");
    let rolled = world.roll(&[&source], OnConflict::Skip);
    assert!(!rolled.report.success);
    assert_eq!(world.read("new/a"), "changed later");
    assert!(!world.exists("new/b"));
}

#[test]
fn a_parent_swapped_for_a_link_is_refused_whatever_the_policy() {
    let world = World::new();
    world.mkdir("dir");
    world.write("dir/file", "old");
    world.write("dir/gone", "gone");
    let source = world.snapshot(|| {
        world.write("dir/file", "newer");
        fs::remove_file(world.path("dir/gone")).unwrap();
        world.write("dir/created", "created");
    });
    world.mkdir("victim");
    world.write("victim/file", "newer");
    world.write("victim/created", "created");
    fs::rename(world.path("dir"), world.path("moved")).unwrap();
    symlink("victim", world.path("dir")).unwrap();
    expect_refusal(&world, &[&source], "is now a symbolic link");
    let live = world.scan();
    let rolled = world.roll(&[&source], OnConflict::Skip);
    assert!(!rolled.report.success);
    assert_same(&live, &world.scan());
    let rolled = world.roll(&[&source], OnConflict::Overwrite);
    assert!(!rolled.report.success);
    assert_eq!(world.read("victim/file"), "newer");
    assert_eq!(world.read("victim/created"), "created");
    assert_eq!(world.read("moved/file"), "newer");
}

#[test]
fn what_replaced_a_directory_again_is_no_conflict_for_what_was_in_it() {
    let world = World::new();
    world.write("file", "old");
    world.mkdir("victim");
    world.write("victim/inside", "somebody's");
    symlink("victim", world.path("link")).unwrap();
    let before = world.scan();
    let source = world.snapshot(|| {
        for name in ["file", "link"] {
            fs::remove_file(world.path(name)).unwrap();
            world.mkdir(name);
            world.write(&format!("{name}/inside"), "new");
        }
    });
    assert!(world.undo(&source, &before).report.success);
    let plan = plan(&[&source]);
    let conflicts: Vec<_> = plan
        .entries
        .iter()
        .filter_map(|e| e.conflict.as_ref())
        .collect();
    assert!(conflicts.is_empty(), "{conflicts:?}");
    assert_eq!(world.read("victim/inside"), "somebody's");
}

#[test]
fn a_parent_that_is_gone_is_refused() {
    let world = World::new();
    world.mkdir("dir");
    world.write("dir/file", "old");
    let source = world.snapshot(|| world.write("dir/file", "newer"));
    let mut record = source.clone();
    record
        .record
        .changes
        .retain(|c| c.path == world.abs("dir/file"));
    fs::remove_dir_all(world.path("dir")).unwrap();
    expect_refusal(&world, &[&record], "does not exist any more");
    let rolled = world.roll(&[&record], OnConflict::Overwrite);
    assert!(!rolled.report.success);
    assert!(!world.exists("dir"));
}

#[test]
fn entries_of_a_volume_that_is_not_there_are_refused() {
    let world = World::new();
    world.write("file", "old");
    let mut source = world.snapshot(|| world.write("file", "newer"));
    let here = world.scan()[&world.root].identity.device;
    for state in source
        .record
        .changes
        .iter_mut()
        .flat_map(|c| [&mut c.before, &mut c.after])
    {
        state.as_mut().unwrap().identity.device = 0x7777;
    }
    // Renumbered by a reboot: the anchor tells.
    source.record.volumes = vec![RecordedVolume {
        device: 0x7777,
        anchor: world.root.clone(),
    }];
    assert!(plan(&[&source]).conflicts().is_empty());
    // Two volumes of which one took the other's place.
    source.record.volumes.push(RecordedVolume {
        device: here,
        anchor: world.root.clone(),
    });
    expect_refusal(&world, &[&source], "another filesystem is mounted there");
}

#[test]
fn records_that_do_not_fit_together_are_a_conflict() {
    let world = World::new();
    world.write("file", "one");
    let older = world.snapshot(|| world.write("file", "two"));
    world.write("file", "in between");
    let newer = world.snapshot(|| world.write("file", "three"));
    let reason = format!(
        "changed between {} and {} outside of DeployX",
        older.id, newer.id
    );
    expect_refusal(&world, &[&newer, &older], &reason);
    let live = world.scan();
    let rolled = world.roll(&[&newer, &older], OnConflict::Overwrite);
    assert_eq!(world.read("file"), "one");
    world.undo(&rolled.redo, &live);
}

#[test]
fn several_snapshots_are_undone_as_one() {
    let world = World::new();
    world.write("file", "one");
    world.write("kept", "kept");
    world.mkdir("dir");
    let before = world.scan();
    let first = world.snapshot(|| {
        world.write("file", "two");
        world.write("dir/temporary", "t");
        world.chmod("kept", 0o600);
    });
    let second = world.snapshot(|| {
        fs::remove_file(world.path("dir/temporary")).unwrap();
        fs::remove_file(world.path("file")).unwrap();
        world.write("kept", "changed");
    });
    let third = world.snapshot(|| world.mkdir("file/now/directories"));
    let after = world.scan();
    let rolled = world.roll(&[&third, &second, &first], OnConflict::Abort);
    assert!(rolled.report.success, "{:#?}", rolled.report);
    assert_same(&before, &world.scan());
    world.undo(&rolled.redo, &after);
}

#[test]
fn snapshots_can_be_undone_one_after_the_other() {
    let world = World::new();
    world.mkdir("d");
    world.write("d/file", "one");
    let states = std::cell::RefCell::new(vec![world.scan()]);
    let step = |command: &dyn Fn()| {
        let source = world.snapshot(command);
        states.borrow_mut().push(world.scan());
        source
    };
    let first = step(&|| world.write("d/file", "two"));
    let second = step(&|| fs::remove_dir_all(world.path("d")).unwrap());
    let third = step(&|| world.write("x", "x"));
    let mut states = states.into_inner();
    for source in [third, second, first] {
        states.pop();
        world.undo(&source, states.last().unwrap());
    }
}

#[test]
fn damaged_missing_and_lost_content_fails_that_entry_only() {
    let world = World::new();
    for name in ["cut", "flipped", "missing", "lost", "fine"] {
        world.write(name, "old content");
    }
    let mut source = world.snapshot(|| {
        for name in ["cut", "flipped", "missing", "lost", "fine"] {
            world.write(name, "new");
        }
    });
    let files = world.files(&source.id);
    for change in &mut source.record.changes {
        let PreImage::Stored { name, .. } = change.content.clone() else {
            continue;
        };
        match change.path.name().unwrap().to_str().unwrap() {
            "cut" => fs::write(files.join(name), "old").unwrap(),
            "flipped" => fs::write(files.join(name), "old cXntent").unwrap(),
            "missing" => fs::remove_file(files.join(name)).unwrap(),
            "lost" => {
                change.content = PreImage::Lost {
                    reason: "too large".into(),
                }
            }
            _ => {}
        }
    }
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert!(!rolled.report.success);
    assert_eq!(rolled.report.restored, 1);
    let failures: Vec<String> = rolled
        .report
        .failures
        .iter()
        .map(|f| f.error.clone())
        .collect();
    for part in [
        "too large",
        "is damaged: it has 3",
        "is damaged: size or hash differ",
        "is missing",
    ] {
        assert!(
            failures.iter().any(|f| f.contains(part)),
            "{part}: {failures:#?}"
        );
    }
    assert_eq!(world.read("fine"), "old content");
    for name in ["cut", "flipped", "missing", "lost"] {
        assert_eq!(world.read(name), "new");
    }
    world.assert_tidy();
}

#[test]
fn lost_content_does_not_matter_where_only_metadata_changed() {
    let world = World::new();
    world.write("file", "same");
    let before = world.scan();
    let mut source = world.snapshot(|| {
        world.write("file", "same");
        world.chmod("file", 0o600);
    });
    for change in &mut source.record.changes {
        change.content = PreImage::Lost {
            reason: "too large".into(),
        };
    }
    world.undo(&source, &before);
}

#[test]
fn an_entry_that_changes_at_the_last_moment_is_left() {
    use super::super::fault::{Fault, Interrupted};
    struct Meddle<'a>(&'a World);
    impl Fault for Meddle<'_> {
        fn point(&self) -> Result<(), Interrupted> {
            self.0.write("file", "just now");
            Ok(())
        }
    }
    let world = World::new();
    world.write("file", "old");
    world.write("other", "old");
    let source = world.snapshot(|| {
        world.write("file", "newer");
        fs::remove_file(world.path("other")).unwrap();
    });
    let files = world.files_of(&[&source]);
    let super::super::verify::Verdict::Ready(verified) =
        super::super::verify::verify(plan(&[&source]), OnConflict::Abort, &files)
    else {
        panic!("refused");
    };
    let (verified, id) = world.save(*verified, OnConflict::Abort).unwrap();
    let rolled = World::run(&verified, &files, &id, &[&Meddle(&world)]);
    assert_eq!(rolled.report.failures.len(), 1);
    assert!(
        rolled.report.failures[0]
            .error
            .contains("changed while rolling back")
    );
    assert_eq!(world.read("file"), "just now");
    assert_eq!(world.read("other"), "old");
    world.assert_tidy();
}

#[test]
fn a_filesystem_mounted_over_a_parent_is_refused_whatever_the_policy() {
    let world = World::new();
    world.mkdir("dir");
    world.write("dir/file", "old");
    world.write("dir/gone", "gone");
    let source = world.snapshot(|| {
        world.write("dir/file", "newer");
        fs::remove_file(world.path("dir/gone")).unwrap();
    });
    let mount = |program: &str, arguments: &[&str]| {
        let directory = world.path("dir");
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).arg(directory).status();
        status.is_ok_and(|s| s.success())
    };
    if !crate::sys::is_root() || !mount("mount", &["-t", "tmpfs", "deployx-test"]) {
        eprintln!("skipped for want of privilege: mounting");
        return;
    }
    world.write("dir/file", "newer");
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        expect_refusal(&world, &[&source], "another filesystem is mounted there");
        let rolled = world.roll(&[&source], OnConflict::Overwrite);
        assert!(!rolled.report.success);
        assert_eq!(world.read("dir/file"), "newer");
        assert!(!world.exists("dir/gone"));
    }));
    assert!(mount("umount", &[]));
    refused.unwrap();
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert!(rolled.report.success);
    assert_eq!(world.read("dir/gone"), "gone");
}

#[test]
fn a_directory_in_use_as_a_mount_point_is_reported() {
    let world = World::new();
    let source = world.snapshot(|| world.mkdir("mnt"));
    let mount = |program: &str, arguments: &[&str]| {
        let directory = world.path("mnt");
        let mut command = std::process::Command::new(program);
        let status = command.args(arguments).arg(directory).status();
        status.is_ok_and(|s| s.success())
    };
    let bind = world
        .root
        .as_path()
        .parent()
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned();
    if !crate::sys::is_root() || !mount("mount", &["--bind", &format!("{bind}/journals")]) {
        eprintln!("skipped for want of privilege: mounting");
        return;
    }
    let rolled = world.try_roll(&[&source], OnConflict::Overwrite, &[]);
    assert!(mount("umount", &[]));
    assert!(!rolled.unwrap().report.success);
    assert!(world.exists("mnt"));
}

#[test]
fn what_an_ordinary_user_cannot_set_is_left_and_reported() {
    if crate::sys::is_root() {
        eprintln!("skipped for too much privilege: owners that cannot be set");
        return;
    }
    let world = World::new();
    for name in ["content", "mode", "fine"] {
        world.write(name, "old");
    }
    let mut source = world.snapshot(|| {
        world.write("content", "newer");
        world.chmod("mode", 0o600);
        world.write("fine", "newer");
    });
    for change in &mut source.record.changes {
        if change.path != world.abs("fine") {
            change.before.as_mut().unwrap().uid = 0;
        }
    }
    let live = world.scan();
    let rolled = world.roll(&[&source], OnConflict::Abort);
    assert_eq!(rolled.report.failures.len(), 2, "{:#?}", rolled.report);
    assert_eq!(world.read("content"), "newer");
    assert_eq!(
        world.scan()[&world.abs("mode")].mode,
        live[&world.abs("mode")].mode
    );
    assert_eq!(world.read("fine"), "old");
    world.assert_tidy();
}
