//! A volume with a tree on it, captured in two ways at once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::entry::Timestamp;
use crate::execute::Cancel;
use crate::infer::{Depth, ScopePath};
use crate::path::AbsPath;
use crate::progress::Silent;
use crate::request::Limits;
use crate::seal::{Change, PreImage};
use crate::snapshot::baseline::{Baseline, Keep};
use crate::snapshot::probe::Probes;
use crate::snapshot::subvolume::Subvolume;
use crate::snapshot::subvolume::view::scope_path;
use crate::snapshot::{
    Capture, CaptureRequest, Exclusions, Placement, Sealed, SnapshotStrategy, Unobserved,
};
use crate::store::{Store, StoreOptions};
use crate::sys::btrfs::testing::Volume;

const BYTES: u64 = 512 << 20;

pub(super) struct World {
    pub(super) volume: Volume,
    pub(super) strategy: Subvolume,
    pub(super) store: Store,
    pub(super) tree: PathBuf,
    pub(super) limits: Limits,
    pub(super) base: Option<AbsPath>,
    pub(super) patterns: Vec<String>,
    outside: PathBuf,
    cancel: Cancel,
}

/// What a change says, with the content itself in place of the name that it is stored under.
pub(super) type Said = (Change, Option<Vec<u8>>);

impl World {
    /// A volume with the directory `tree`, and a store on another filesystem.
    pub(super) fn new(test: &str) -> Option<Self> {
        let volume = Volume::new(test, BYTES)?;
        let outside = volume.outside();
        let tree = volume.root().join("tree");
        fs::create_dir(&tree).unwrap();
        let options = StoreOptions {
            create: true,
            key: None,
            lock_timeout: Duration::from_secs(30),
        };
        let store = Store::open(&outside.join("store"), options).unwrap();
        let probes = Arc::new(Probes::new(store.path()));
        Some(Self {
            strategy: Subvolume::new(store.clone(), probes),
            store,
            tree,
            limits: Limits {
                min_free_bytes: 0,
                ..Limits::default()
            },
            base: None,
            patterns: vec![".deployx_snapshots/".into()],
            outside,
            volume,
            cancel: Cancel::default(),
        })
    }

    pub(super) fn whole(&self) -> Vec<ScopePath> {
        vec![at(&self.tree, Depth::Tree)]
    }

    fn request<'a>(&'a self, scope: &'a [ScopePath]) -> CaptureRequest<'a> {
        CaptureRequest {
            snapshot: "",
            scope,
            exclusions: Exclusions {
                patterns: self.patterns.clone(),
                base: self.base.clone(),
                ..Exclusions::default()
            },
            limits: self.limits,
            room: &|needed| needed,
            cancel: &self.cancel,
            progress: &Silent,
        }
    }

    pub(super) fn begin(&self, scope: &[ScopePath]) -> Box<dyn Capture> {
        self.strategy.begin(self.request(scope)).unwrap()
    }

    /// Where content is placed: on the volume, or with `far` in the store's filesystem.
    pub(super) fn files(&self, far: bool) -> PathBuf {
        let root = if far {
            &self.outside
        } else {
            self.volume.root()
        };
        let files = root.join(".deployx_snapshots").join("files");
        fs::create_dir_all(&files).unwrap();
        files
    }

    /// Captures `scope` in both ways around `command`, and fails unless they find the same.
    pub(super) fn compare(&self, scope: &[ScopePath], command: impl FnOnce(&Path)) -> Sealed {
        self.compare_in(scope, &self.files(false), command)
    }

    pub(super) fn compare_in(
        &self,
        scope: &[ScopePath],
        files: &Path,
        command: impl FnOnce(&Path),
    ) -> Sealed {
        // What is still on its way to the disk has no blocks yet.
        rustix::fs::sync();
        let keep = tempfile::tempdir().unwrap();
        let baseline = Baseline::new(keep.path().join("baseline"));
        let judge_files = keep.path().join("files");
        fs::create_dir(&judge_files).unwrap();
        let mut ours = self.begin(scope);
        let mut judge = baseline.begin(self.request(scope), Keep::Copy).unwrap();
        command(&self.tree);
        rustix::fs::sync();
        let sealed = seal(&mut *ours, files);
        let judged = seal(&mut judge, &judge_files);
        let (ours_said, judge_said) = (said(&sealed, files), said(&judged, &judge_files));
        for (one, other) in ours_said.iter().zip(&judge_said) {
            assert_eq!(one, other, "the strategies differ");
        }
        let paths = |said: &[Said]| -> Vec<String> {
            said.iter()
                .map(|(change, _)| change.path.to_string())
                .collect()
        };
        assert_eq!(paths(&ours_said), paths(&judge_said));
        let not_seen = |begun: &[Unobserved], sealed: &Sealed| -> BTreeSet<String> {
            let all = begun.iter().chain(&sealed.unobserved);
            // What is in the scope by itself is observed there.
            let by_itself = |u: &&Unobserved| scope.iter().any(|s| s.path == u.path);
            all.filter(|u| !by_itself(u))
                .map(|u| u.path.to_string())
                .collect()
        };
        assert_eq!(
            not_seen(ours.unobserved(), &sealed),
            not_seen(judge.unobserved(), &judged),
            "the strategies do not observe the same"
        );
        ours.finish();
        Box::new(judge).finish();
        sealed
    }
}

pub(super) fn seal(capture: &mut dyn Capture, files: &Path) -> Sealed {
    let placement = Placement {
        files,
        prefix: "p-",
    };
    capture.seal(placement, &Silent).unwrap()
}

pub(super) fn at(path: &Path, depth: Depth) -> ScopePath {
    scope_path(AbsPath::new(path).unwrap(), depth)
}

/// What both strategies must say alike. When an entry was last read, and a change time that
/// proves nothing, are of no account.
pub(super) fn said(sealed: &Sealed, files: &Path) -> Vec<Said> {
    let plain = |change: &Change| {
        let mut change = change.clone();
        for state in change.before.iter_mut().chain(&mut change.after) {
            state.accessed = Timestamp::default();
        }
        if let Some(after) = &mut change.after {
            after.identity.changed = Timestamp::default();
        }
        let content = match &mut change.content {
            PreImage::Stored { name, .. } => {
                let content = fs::read(files.join(&name)).unwrap();
                name.clear();
                Some(content)
            }
            _ => None,
        };
        (change, content)
    };
    sealed.changes.iter().map(plain).collect()
}

/// The paths of the changes, relative to `root`.
pub(super) fn paths(sealed: &Sealed, root: &Path) -> Vec<String> {
    let relative = |change: &Change| {
        let path = change.path.as_path().strip_prefix(root).unwrap();
        path.display().to_string()
    };
    sealed.changes.iter().map(relative).collect()
}

/// What is not observed, relative to `root`, each with the reason.
pub(super) fn unobserved<'a>(
    list: impl IntoIterator<Item = &'a Unobserved>,
    root: &Path,
) -> Vec<(String, String)> {
    list.into_iter()
        .map(|u| {
            let path = u
                .path
                .as_path()
                .strip_prefix(root)
                .unwrap_or(u.path.as_path());
            (path.display().to_string(), u.reason.clone())
        })
        .collect()
}
