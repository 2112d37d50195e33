//! A btrfs volume in a file, for tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::path::AbsPath;
use crate::sys::Dir;

/// A mounted volume that goes with the value.
pub(crate) struct Volume {
    keep: tempfile::TempDir,
    root: PathBuf,
}

impl Volume {
    /// A new, empty volume of `bytes`. `None`, said loudly, where this process may not mount one or
    /// the system has no btrfs.
    pub(crate) fn new(test: &str, bytes: u64) -> Option<Self> {
        if !crate::sys::is_root() {
            println!("SKIPPED {test}: needs root");
            return None;
        }
        let keep = tempfile::tempdir().expect("a temporary directory");
        let base = keep.path().canonicalize().expect("its physical path");
        let (image, root) = (base.join("image"), base.join("volume"));
        let file = std::fs::File::create(&image).expect("an image");
        file.set_len(bytes).expect("its size");
        std::fs::create_dir(&root).expect("a mount point");
        let made = run(Command::new("mkfs.btrfs").args(["-q", "-f"]).arg(&image));
        let mounted = made
            && run(Command::new("mount")
                .args(["-o", "loop"])
                .args([&image, &root]));
        if !mounted {
            println!("SKIPPED {test}: needs btrfs, mkfs.btrfs and loop devices");
            return None;
        }
        Some(Self { keep, root })
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A directory beside it, on another filesystem.
    pub(crate) fn outside(&self) -> PathBuf {
        let outside = self.keep.path().join("outside");
        std::fs::create_dir_all(&outside).expect("a directory");
        outside.canonicalize().expect("its physical path")
    }

    /// Makes a subvolume at `relative`.
    pub(crate) fn make_subvolume(&self, relative: &str) -> PathBuf {
        let path = self.root.join(relative);
        let program = Command::new("btrfs")
            .args(["-q", "subvolume", "create"])
            .arg(&path)
            .status();
        assert!(program.is_ok_and(|s| s.success()), "btrfs subvolume create");
        path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if !run(Command::new("umount").arg(&self.root)) {
            run(Command::new("umount").arg("-l").arg(&self.root));
        }
    }
}

/// An open directory at a path.
pub(crate) fn open(path: &Path) -> Dir {
    Dir::open(&AbsPath::new(path).expect("a path")).expect("a directory")
}

fn run(command: &mut Command) -> bool {
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
