//! Probes on real volumes, and what is remembered of them.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;

use super::*;

fn mount(device: u64) -> Mount {
    Mount {
        id: 1,
        parent: 0,
        root: "/".into(),
        mount_point: "/m".into(),
        filesystem: "testfs".into(),
        source: "none".into(),
        device,
        read_only: false,
    }
}

fn store() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// Asks and counts how often the probe itself was made.
fn ask(probes: &Probes, device: u64, finding: &Finding, made: &Cell<u32>) -> Result<(), String> {
    probes.cached("kind", &mount(device), || {
        made.set(made.get() + 1);
        finding.clone()
    })
}

#[test]
fn a_probe_is_made_once_for_each_volume() {
    let (_keep, store) = store();
    let (probes, made) = (Probes::new(&store), Cell::new(0));
    assert_eq!(ask(&probes, 1, &Finding::Works, &made), Ok(()));
    assert_eq!(ask(&probes, 1, &Finding::Never("no".into()), &made), Ok(()));
    assert_eq!(made.get(), 1);
    let no = Err("no".to_owned());
    assert_eq!(ask(&probes, 2, &Finding::Never("no".into()), &made), no);
    assert_eq!(made.get(), 2);
    // Another process knows both.
    let later = Probes::new(&store);
    assert_eq!(ask(&later, 1, &Finding::NotNow("x".into()), &made), Ok(()));
    assert_eq!(ask(&later, 2, &Finding::Works, &made), no);
    assert_eq!(made.get(), 2);
    // Another kind of probe is another question.
    assert!(probes.cached("other", &mount(2), || Finding::Works).is_ok());
}

#[test]
fn what_may_pass_is_not_written_down() {
    let (_keep, store) = store();
    let (probes, made) = (Probes::new(&store), Cell::new(0));
    let full = Finding::NotNow("full".into());
    assert!(ask(&probes, 1, &full, &made).is_err());
    assert!(ask(&probes, 1, &Finding::Works, &made).is_err());
    assert_eq!(made.get(), 1);
    assert!(ask(&Probes::new(&store), 1, &Finding::Works, &made).is_ok());
    assert_eq!(made.get(), 2);
}

#[test]
fn a_damaged_memory_means_to_probe_again() {
    let (_keep, store) = store();
    let made = Cell::new(0);
    for text in ["", "{", "{\"version\":9,\"probes\":[]}", "[]", "\u{0}"] {
        std::fs::write(store.join("probes.json"), text).unwrap();
        assert!(ask(&Probes::new(&store), 1, &Finding::Works, &made).is_ok());
    }
    assert_eq!(made.get(), 5);
    assert!(ask(&Probes::new(&store), 1, &Finding::Works, &made).is_ok());
    assert_eq!(made.get(), 5, "it was written anew");
}

#[test]
fn an_answer_expires_after_a_day_or_when_the_clock_is_set_back() {
    let record = Record::new(Key::new("k", &mount(1)), &Finding::Works, 1000.0);
    assert!(record.holds(1000.0));
    assert!(record.holds(1000.0 + 86_399.0));
    assert!(!record.holds(1000.0 + 86_400.0));
    assert!(!record.holds(999.0));
    let passing = Record::new(
        Key::new("k", &mount(1)),
        &Finding::NotNow(String::new()),
        0.0,
    );
    assert!(passing.holds(59.0) && !passing.holds(60.0));
}

#[test]
fn nothing_is_left_where_something_was_tried() {
    let (_keep, store) = store();
    let place = store.join("place");
    std::fs::create_dir(&place).unwrap();
    Fidelity::probe(&place).unwrap();
    drop(clones::try_out(&Scratch::new(&place).unwrap(), "fs"));
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), 0);
    let missing = Fidelity::probe(Path::new("/nonexistent/dir"));
    assert!(missing.is_err());
}

/// A filesystem in a file, mounted while alive.
struct Volume {
    keep: tempfile::TempDir,
    at: PathBuf,
}

impl Volume {
    /// `None`, said loudly, where this host cannot make one.
    fn new(test: &str, filesystem: &str) -> Option<Self> {
        let keep = tempfile::tempdir().unwrap();
        let at = keep.path().canonicalize().unwrap().join("at");
        std::fs::create_dir(&at).unwrap();
        let script = match filesystem {
            "tmpfs" => "mount -t tmpfs none at".to_owned(),
            "xfs" => "truncate -s 320M i && mkfs.xfs -q i && mount -o loop i at".to_owned(),
            kind => format!("truncate -s 128M i && mkfs.{kind} -q i && mount -o loop i at"),
        };
        let made = Command::new("sh")
            .args(["-c", &format!("PATH=$PATH:/sbin:/usr/sbin; {script}")])
            .current_dir(keep.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !made {
            println!("SKIPPED {test}: needs root and a mounted {filesystem}");
            return None;
        }
        Some(Self { keep, at })
    }

    fn path(&self) -> AbsPath {
        AbsPath::new(&self.at).unwrap()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
        let _ = self.keep.path();
    }
}

#[test]
fn clones_are_found_where_there_are_some() {
    let (_keep, store) = store();
    for (filesystem, expected) in [
        ("btrfs", true),
        ("xfs", true),
        ("ext4", false),
        ("tmpfs", false),
    ] {
        let Some(volume) = Volume::new("clones_are_found_where_there_are_some", filesystem) else {
            continue;
        };
        // From a store elsewhere, and from one on the volume itself.
        let own = volume.at.join("store");
        std::fs::create_dir(&own).unwrap();
        for store in [&store, &own] {
            let found = Probes::new(store).clones(&volume.path());
            assert_eq!(found.is_ok(), expected, "{filesystem}: {found:?}");
        }
        let mut left: Vec<_> = std::fs::read_dir(&volume.at)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.retain(|name| name != "lost+found" && name != "store");
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn filesystems_keep_what_they_are_known_to_keep() {
    let everything = |fidelity: Fidelity| {
        let properties = fidelity.properties();
        let lost: Vec<_> = properties
            .iter()
            .filter(|(_, kept)| *kept != Some(true))
            .collect();
        format!("{:?} {lost:?}", fidelity.time_step_ns)
    };
    for filesystem in ["btrfs", "xfs", "ext4", "tmpfs"] {
        let test = "filesystems_keep_what_they_are_known_to_keep";
        let Some(volume) = Volume::new(test, filesystem) else {
            continue;
        };
        let mut found = Fidelity::probe(&volume.at).unwrap();
        if filesystem == "tmpfs" {
            // Depends on how the kernel was built.
            found.acls = Some(true);
            found.flags = Some(true);
            found.xattrs = Some(true);
        }
        assert_eq!(everything(found), "Some(1) []", "{filesystem}");
    }
}
