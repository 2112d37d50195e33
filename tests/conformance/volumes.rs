//! Filesystems of every kind, made for the tests and taken away again.
//!
//! One volume of a kind is shared by whoever uses it at the same time; each test has a directory of
//! its own there, a [`Place`]. Both go when they are dropped, also when a test fails. What a killed
//! process left is taken away by the next.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::common::{has_program, is_root, text};

/// The kinds of filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filesystem {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    /// The kernel's overlay, the tree's entries in the lower layer.
    Overlay,
    /// NTFS through FUSE, names compared without case.
    Folding,
    /// A directory shown again through FUSE.
    Bind,
}

impl Filesystem {
    pub(crate) const ALL: [Self; 7] = [
        Self::Ext4,
        Self::Xfs,
        Self::Btrfs,
        Self::Tmpfs,
        Self::Overlay,
        Self::Folding,
        Self::Bind,
    ];

    /// Its name in tests and tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlayfs",
            Self::Folding => "case-insensitive",
            Self::Bind => "bindfs",
        }
    }

    /// The programs that make and mount it.
    fn programs(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["mkfs.ext4"],
            Self::Xfs => &["mkfs.xfs"],
            Self::Btrfs => &["mkfs.btrfs", "btrfs"],
            Self::Tmpfs | Self::Overlay => &[],
            Self::Folding => &["mkntfs", "lowntfs-3g"],
            Self::Bind => &["bindfs"],
        }
    }

    /// What is missing on this machine to test it; `None`: nothing.
    pub(crate) fn lacks(self) -> Option<String> {
        if !is_root() {
            return Some("root".into());
        }
        let missing = self.programs().iter().find(|p| !installed(p));
        if let Some(program) = missing {
            return Some((*program).into());
        }
        // Whether the kernel has it shows when it is mounted.
        Volume::shared(self).err()
    }
}

fn installed(program: &str) -> bool {
    has_program(program)
        || ["/sbin", "/usr/sbin"]
            .iter()
            .any(|dir| Path::new(dir).join(program).is_file())
}

/// A mounted filesystem.
pub(crate) struct Volume {
    /// Below it the image and the mount point.
    base: PathBuf,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
}

const PREFIX: &str = "deployx-volume-";

impl Volume {
    /// A volume of this kind that others may use as well; made where there is none.
    pub(crate) fn shared(kind: Filesystem) -> Result<Arc<Self>, String> {
        static VOLUMES: Mutex<Vec<(Filesystem, Weak<Volume>)>> = Mutex::new(Vec::new());
        let mut volumes = VOLUMES.lock().unwrap_or_else(PoisonError::into_inner);
        let known = volumes.iter().find(|(k, _)| *k == kind);
        if let Some(volume) = known.and_then(|(_, volume)| volume.upgrade()) {
            return Ok(volume);
        }
        volumes.retain(|(k, _)| *k != kind);
        let volume = Arc::new(Self::make(kind)?);
        volumes.push((kind, Arc::downgrade(&volume)));
        Ok(volume)
    }

    /// A volume for one test alone, which may unmount it.
    pub(crate) fn make(kind: Filesystem) -> Result<Self, String> {
        sweep();
        let base = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir()
            .map_err(|e| e.to_string())?
            .keep();
        let base = base.canonicalize().map_err(|e| e.to_string())?;
        let volume = Self {
            mount_point: base.join("at"),
            base,
        };
        fs::create_dir(&volume.mount_point).map_err(|e| e.to_string())?;
        volume.mount(kind)?;
        Ok(volume)
    }

    fn mount(&self, kind: Filesystem) -> Result<(), String> {
        let script = match kind {
            Filesystem::Ext4 => {
                "truncate -s 300M image; mkfs.ext4 -q -b 4096 image; mount -o loop image at"
            }
            Filesystem::Xfs => {
                "truncate -s 300M image; mkfs.xfs -q -m reflink=1 image; mount -o loop image at"
            }
            Filesystem::Btrfs => {
                "truncate -s 300M image; mkfs.btrfs -q image; mount -o loop image at"
            }
            Filesystem::Tmpfs | Filesystem::Overlay => {
                "mount -t tmpfs -o size=300m,mode=755 deployx at"
            }
            Filesystem::Folding => {
                "truncate -s 300M image; mkntfs -F -Q -q image; \
                 lowntfs-3g -o ignore_case,permissions image at; chmod 755 at"
            }
            // Attributes must not be cached: for a second after a change through one name of a
            // file its other names would still show the old state.
            Filesystem::Bind => {
                "mkdir under; mount -t tmpfs -o size=300m,mode=755 deployx under; \
                 bindfs -o attr_timeout=0,entry_timeout=0,negative_timeout=0 under at"
            }
        };
        script_in(&self.base, script)?;
        // A mount that failed in silence would put the tests onto another filesystem.
        if mounted(&self.mount_point) {
            return Ok(());
        }
        Err(format!("{} could not be mounted", kind.name()))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount_below(&self.base);
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Whether something is mounted at `path`.
pub(crate) fn mounted(path: &Path) -> bool {
    mount_points().iter().any(|m| m == path)
}

fn mount_points() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|l| l.split(' ').nth(4));
    points.map(PathBuf::from).collect()
}

/// Unmounts everything at and below `base`, the last mounted first.
fn unmount_below(base: &Path) {
    for point in mount_points().iter().rev().filter(|m| m.starts_with(base)) {
        // Something may still be about to leave: a second try, then without waiting for it.
        for options in [&[][..], &[], &["-l"]] {
            let done = Command::new("umount").args(options).arg(point).output();
            if done.is_ok_and(|output| output.status.success()) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    }
}

/// Takes away what processes that were killed have left.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let owner = name.strip_prefix(PREFIX).and_then(|n| n.split('-').next());
        let Some(owner) = owner.filter(|pid| pid.parse::<u32>().is_ok()) else {
            continue;
        };
        if !Path::new("/proc").join(owner).exists() {
            unmount_below(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A directory on a volume for one test.
pub(crate) struct Place {
    pub(crate) kind: Filesystem,
    /// The directory that belongs to this place; on an overlay, what holds its layers.
    base: PathBuf,
    /// The directory to work in.
    pub(crate) root: PathBuf,
    /// Holds the volume as long as the place is there.
    pub(crate) volume: Arc<Volume>,
}

impl Place {
    /// A new one. `plant` fills a directory before an overlay is mounted over it, so that its
    /// entries are in the lower layer there.
    pub(crate) fn new(kind: Filesystem, plant: impl FnOnce(&Path)) -> Self {
        let volume = Volume::shared(kind).expect("a volume");
        let base = tempfile::Builder::new()
            .prefix("place-")
            .tempdir_in(&volume.mount_point)
            .expect("a directory on the volume")
            .keep();
        let overlay = kind == Filesystem::Overlay;
        let root = if overlay {
            base.join("at")
        } else {
            base.clone()
        };
        let place = Self {
            kind,
            base,
            root,
            volume,
        };
        let filled = if overlay {
            place.base.join("lower")
        } else {
            place.root.clone()
        };
        fs::create_dir_all(&filled).expect("a directory");
        if kind == Filesystem::Btrfs {
            script_in(&filled, "btrfs -q subvolume create tree").expect("a subvolume");
        } else {
            fs::create_dir(filled.join("tree")).expect("a directory");
        }
        plant(&filled.join("tree"));
        if overlay {
            let script = "mkdir upper work at; \
                mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work deployx at";
            script_in(&place.base, script).expect("an overlay");
        }
        place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.kind == Filesystem::Overlay {
            unmount_below(&self.base);
        }
        // What a test locked must not be in the way; a subvolume goes with what is in it.
        let script = "chattr -R -ia . 2>/dev/null || true; find . -mindepth 1 -delete";
        if let Err(problem) = script_in(&self.base, script) {
            eprintln!("{}: {problem}", self.base.display());
        }
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// Runs a script that stops at the first failure.
pub(crate) fn script_in(dir: &Path, script: &str) -> Result<(), String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let done: std::io::Result<Output> = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .current_dir(dir)
        .output();
    match done {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(text(&output)),
        Err(e) => Err(e.to_string()),
    }
}
