//! The filesystems that are measured. What is mounted is unmounted in the end, whatever happens.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use deployx::sys;
use tempfile::TempDir;

use crate::common::process::run;
use crate::settings::Settings;
use crate::tools::Needs;

/// What there is, in the order in which it is measured.
pub(crate) const KINDS: [&str; 4] = ["tmpfs", "ext4", "xfs", "btrfs"];

/// Where memory is a filesystem.
const MEMORY: &str = "/dev/shm";

/// A filesystem to measure on.
pub(crate) struct Volume {
    /// Its type.
    pub(crate) kind: String,
    place: Place,
    handle: File,
}

enum Place {
    Memory(TempDir),
    Image(Image),
}

/// A filesystem in a file.
struct Image {
    file: PathBuf,
    mounted: PathBuf,
}

impl Volume {
    /// Makes the filesystem; images of disks lie in `work`.
    pub(crate) fn new(kind: &str, work: &Path, settings: &Settings) -> Result<Self> {
        eprintln!("making {kind}");
        let place = if kind == "tmpfs" {
            let directory = tempfile::Builder::new()
                .prefix("deployx-peers-")
                .tempdir_in(MEMORY)?;
            Place::Memory(directory)
        } else {
            Place::Image(Image::new(kind, work, settings.image_bytes)?)
        };
        let handle = File::open(place.root())?;
        Ok(Self {
            kind: kind.to_owned(),
            place,
            handle,
        })
    }

    /// A directory on it; absolute.
    pub(crate) fn root(&self) -> &Path {
        self.place.root()
    }

    /// Whether it lives in memory, where nothing has to reach a disk.
    pub(crate) fn in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(_))
    }

    /// Whether files can share blocks.
    pub(crate) fn has_clones(&self) -> bool {
        ["xfs", "btrfs"].contains(&self.kind.as_str())
    }

    /// Whether a tool with such needs works on it.
    pub(crate) fn offers(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Disk => !self.in_memory(),
            Needs::Clones => self.has_clones(),
            Needs::Subvolumes => self.kind == "btrfs",
        }
    }

    /// Writes everything that waits in memory.
    pub(crate) fn settle(&self) -> Result<()> {
        Ok(sys::sync_volume(&self.handle)?)
    }
}

impl Place {
    fn root(&self) -> &Path {
        match self {
            Place::Memory(directory) => directory.path(),
            Place::Image(image) => &image.mounted,
        }
    }
}

impl Image {
    fn new(kind: &str, work: &Path, bytes: u64) -> Result<Self> {
        let file = work.join(format!("{kind}.image"));
        let mounted = work.join(kind);
        fs::create_dir_all(&mounted)?;
        File::create(&file)?.set_len(bytes)?;
        let image = Self { file, mounted };
        let (make, mount): (&[&str], &str) = match kind {
            // Inodes for a million files, and none of them initialized behind our back.
            "ext4" => (&["-q", "-F", "-i", "8192"], "loop,noinit_itable"),
            "btrfs" => (&["-q", "-f"], "loop"),
            _ => (&["-q", "-f", "-m", "reflink=1"], "loop"),
        };
        run(Command::new(format!("mkfs.{kind}"))
            .args(make)
            .arg(&image.file))?;
        run(Command::new("mount")
            .args(["-o", mount])
            .args([&image.file, &image.mounted]))
        .context("an image of a filesystem cannot be mounted (needs the administrator)")?;
        let table = sys::mounts()?;
        let there = table.iter().any(|m| m.mount_point == image.mounted);
        ensure!(there, "{kind} was not mounted");
        Ok(image)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // An open directory would keep the filesystem busy.
        if let Ok(elsewhere) = File::open("/") {
            self.handle = elsewhere;
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let unmount =
            |how: &[&str]| run(Command::new("umount").args(how).arg(&self.mounted)).is_ok();
        if !unmount(&[]) && !unmount(&["-l"]) {
            eprintln!("{} is still mounted", self.mounted.display());
        }
        if let Err(error) = fs::remove_file(&self.file) {
            eprintln!("{}: {error}", self.file.display());
        }
    }
}
