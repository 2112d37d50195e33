//! Content on the volume it came from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use deployx::engine::{Engine, EngineConfig, RunContext};
use deployx::execute::{Cancel, Output};
use deployx::progress::{Progress, Silent};
use deployx::request::{OnConflict, RetentionPolicy, RollbackRequest, RunRequest};
use deployx::snapshot::baseline::Baseline;
use deployx::snapshot::copy::Copy;
use deployx::snapshot::{
    Capability, Capture, CaptureRequest, Exclusions, Placement, Sealed, SnapshotStrategy,
    Unobserved,
};
use deployx::{AbsPath, Result};

use crate::COMPRESSED;
use crate::common::{is_root, require};

/// `copy`, with baseline and content on a volume.
struct Beside {
    copy: Copy,
    volume: AbsPath,
    cloned: bool,
}

struct BesideCapture {
    capture: Box<dyn Capture>,
    volume: AbsPath,
    cloned: bool,
}

impl Beside {
    fn wrap(&self, capture: Box<dyn Capture>) -> Box<dyn Capture> {
        Box::new(BesideCapture {
            capture,
            volume: self.volume.clone(),
            cloned: self.cloned,
        })
    }
}

impl SnapshotStrategy for Beside {
    fn name(&self) -> &'static str {
        "beside"
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        self.copy.capability()
    }

    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
        self.copy.probe(path)
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        Ok(self.wrap(self.copy.begin(request)?))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        Ok(self.wrap(self.copy.resume(token)?))
    }
}

impl Capture for BesideCapture {
    fn token(&self) -> Vec<u8> {
        self.capture.token()
    }

    fn entries(&self) -> u64 {
        self.capture.entries()
    }

    fn unobserved(&self) -> &[Unobserved] {
        self.capture.unobserved()
    }

    fn content_beside(&self) -> Option<&AbsPath> {
        Some(&self.volume)
    }

    fn content_is_cloned(&self) -> bool {
        self.cloned
    }

    fn exclusions(&self) -> &Exclusions {
        self.capture.exclusions()
    }

    fn seal(&mut self, placement: Placement<'_>, progress: &dyn Progress) -> Result<Sealed> {
        self.capture.seal(placement, progress)
    }

    fn finish(self: Box<Self>) {
        self.capture.finish();
    }
}

/// A mounted tmpfs, unmounted and removed when dropped.
struct Mounted {
    at: PathBuf,
    _temp: tempfile::TempDir,
}

impl Mounted {
    fn new(test: &str) -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        let at = temp.path().canonicalize().unwrap().join("volume");
        fs::create_dir(&at).unwrap();
        let mounted = is_root() && mount(&at);
        require(test, "root and the right to mount", mounted).then_some(Self { at, _temp: temp })
    }

    /// Moves the filesystem elsewhere, as if it were not mounted, and gives that place.
    fn away(&self) -> PathBuf {
        let away = self.at.with_file_name("away");
        fs::create_dir_all(&away).unwrap();
        mount_move(&self.at, &away);
        away
    }
}

fn mount(at: &Path) -> bool {
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "mode=0755", "none"])
        .arg(at)
        .status()
        .is_ok_and(|status| status.success());
    // A shared mount above would not let it be moved.
    mounted
        && Command::new("mount")
            .arg("--make-private")
            .arg(at)
            .status()
            .is_ok_and(|status| status.success())
}

fn mount_move(from: &Path, to: &Path) {
    // By a bind and a lazy unmount: moving is refused below shared mounts.
    for arguments in [
        vec![
            "mount".as_ref(),
            "--bind".as_ref(),
            from.as_os_str(),
            to.as_os_str(),
        ],
        vec!["umount".as_ref(), "--lazy".as_ref(), from.as_os_str()],
    ] {
        let done = Command::new(arguments[0])
            .args(&arguments[1..])
            .status()
            .unwrap();
        assert!(done.success(), "{arguments:?}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for path in [self.at.clone(), self.at.with_file_name("away")] {
            // One of the two is no mount point.
            let _ = Command::new("umount").arg("-l").arg(path).output();
        }
    }
}

fn engine(store: &Path, volume: &Path, cloned: bool) -> Engine {
    let mut engine = Engine::open(EngineConfig::new(store)).unwrap();
    let volume = AbsPath::new(volume).unwrap();
    let sibling = engine.store().sibling(&volume).unwrap();
    engine.register_strategy(Arc::new(Beside {
        copy: Copy::new(Baseline::new(sibling.join("baseline"))),
        volume,
        cloned,
    }));
    engine
}

fn run(engine: &Engine, tree: &Path, line: &str) -> String {
    let tree = AbsPath::new(tree).unwrap();
    let mut request = RunRequest::new(line, tree.clone());
    request.snapshot.strategies = vec!["beside".into()];
    request.snapshot.replace_paths = vec![tree];
    let cancel = Cancel::default();
    let report = engine
        .run(
            &request,
            RunContext::new(Output::inherit(), &cancel, &Silent),
        )
        .unwrap();
    assert!(
        report.success && report.snapshot_error.is_none(),
        "{report:?}"
    );
    report.snapshot_id.unwrap()
}

fn roll_back(engine: &Engine, id: &str) -> deployx::rollback::RollbackReport {
    let mut request = RollbackRequest::new(id);
    request.on_conflict = OnConflict::Abort;
    engine
        .rollback(&request, &Cancel::default(), &Silent)
        .unwrap()
}

fn fill(tree: &Path) {
    fs::create_dir_all(tree).unwrap();
    for n in 0..20 {
        fs::write(tree.join(format!("f{n}")), vec![b'a' + n; 10_000]).unwrap();
    }
}

#[test]
fn content_lies_on_its_volume_and_is_restored_from_there() {
    let test = "content_lies_on_its_volume_and_is_restored_from_there";
    let Some(volume) = Mounted::new(test) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let tree = volume.at.join("tree");
    fill(&tree);
    for cloned in [true, false] {
        let engine = engine(&temp.path().join("store"), &volume.at, cloned);
        let id = run(&engine, &tree, "rm f1; echo x > f2");
        let detail = engine.show(&id).unwrap();
        let directory = detail.places[0].directory.as_path();
        assert!(directory.starts_with(&volume.at), "{directory:?}");
        let names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 2);
        let zst = names
            .iter()
            .filter(|name| name.ends_with(COMPRESSED))
            .count();
        assert_eq!(zst, if cloned { 0 } else { 2 }, "{names:?}");
        let own = engine.store().path().join(&id).join("files");
        assert_eq!(fs::read_dir(own).unwrap().count(), 0);
        assert!(engine.verify(&[], &Silent).unwrap().problems.is_empty());
        let report = roll_back(&engine, &id);
        assert!(report.success, "{report:?}");
        assert_eq!(fs::read(tree.join("f1")).unwrap(), vec![b'b'; 10_000]);
        assert_eq!(fs::read(tree.join("f2")).unwrap(), vec![b'c'; 10_000]);
    }
}

#[test]
fn a_volume_that_is_not_mounted_makes_its_content_missing_not_absent() {
    let test = "a_volume_that_is_not_mounted_makes_its_content_missing_not_absent";
    let Some(volume) = Mounted::new(test) else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    // What the command changes is elsewhere; only the old content is on the volume.
    let tree = temp.path().canonicalize().unwrap().join("tree");
    fill(&tree);
    let engine = engine(&temp.path().join("store"), &volume.at, false);
    let id = run(&engine, &tree, "rm f1; echo x > f2; echo y > new");
    let other = run(&engine, &tree, "rm f3");
    let away = volume.away();
    let report = roll_back(&engine, &id);
    assert!(!report.success);
    assert_eq!(report.failures.len(), 2, "{report:?}");
    for failure in &report.failures {
        assert!(failure.error.contains("mounted?"), "{failure:?}");
    }
    assert!(!tree.join("f1").exists());
    assert_eq!(fs::read(tree.join("f2")).unwrap(), b"x\n");
    assert!(
        !tree.join("new").exists(),
        "what needs no content is undone"
    );
    // It can be deleted all the same, and the rest goes once the volume is there again.
    let policy = RetentionPolicy::default();
    let done = engine
        .cleanup(std::slice::from_ref(&id), &policy, false, &Silent)
        .unwrap();
    assert_eq!(done.expired.len(), 1, "{done:?}");
    mount_move(&away, &volume.at);
    let name = fs::read_dir(volume.at.join(".deployx_snapshots"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(name.join(&id).exists());
    engine.cleanup(&[], &policy, false, &Silent).unwrap();
    assert!(!name.join(&id).exists());
    assert!(name.join(&other).exists());
    assert!(roll_back(&engine, &other).success);
    assert_eq!(fs::read(tree.join("f3")).unwrap(), vec![b'd'; 10_000]);
}
