//! The work directory, and the program under test.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use deployx::sys;
use tempfile::TempDir;

use crate::common::program::{BINARY, SETTINGS, remove};
use crate::settings::Settings;

/// Where everything happens; removed at the end.
pub(crate) struct Work {
    /// What the caller chose.
    pub(crate) settings: Settings,
    /// The filesystem's type, for example `ext4`.
    pub(crate) filesystem: String,
    /// Whether it lives in memory, where nothing has to be made durable.
    pub(crate) in_memory: bool,
    directory: TempDir,
    volume: File,
}

impl Work {
    pub(crate) fn new(settings: Settings) -> Result<Self> {
        let named = settings.directory.display().to_string();
        let parent = settings
            .directory
            .canonicalize()
            .with_context(|| format!("cannot use the work directory {named}"))?;
        let directory = tempfile::Builder::new()
            .prefix("deployx-bench-")
            .tempdir_in(parent)
            .with_context(|| format!("cannot work in {named}"))?;
        let volume = File::open(directory.path())?;
        let device = volume.metadata()?.dev();
        let mount = sys::mounts()?.into_iter().rfind(|m| m.device == device);
        Ok(Self {
            filesystem: mount
                .as_ref()
                .map_or_else(|| "unknown".into(), |m| m.filesystem.clone()),
            in_memory: mount.is_some_and(|m| m.is_memory()),
            settings,
            directory,
            volume,
        })
    }

    /// The directory, absolute and without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes everything that waits in memory to the volume.
    pub(crate) fn settle(&self) -> io::Result<()> {
        sys::sync_volume(&self.volume)
    }

    /// The program under test with its store at `store`.
    pub(crate) fn deployx(&self, store: impl Into<PathBuf>) -> DeployX<'_> {
        DeployX {
            strategy: &self.settings.strategy,
            store: store.into(),
        }
    }
}

/// The program under test with a store.
pub(crate) struct DeployX<'a> {
    strategy: &'a str,
    /// The store's directory; made by the program.
    pub(crate) store: PathBuf,
}

impl DeployX<'_> {
    /// `deployx` with the store, and nothing of the caller's environment that it would heed.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        for variable in SETTINGS {
            command.env_remove(variable);
        }
        command.arg("--snapshot-dir").arg(&self.store);
        command
    }

    /// `deployx run` of a program in `tree` with a snapshot of all of it, whatever the rules say
    /// of the program.
    pub(crate) fn run(&self, tree: &Path, program: &[&str]) -> Command {
        let mut command = self.command();
        command
            .args(["run", "--strategy", self.strategy, "--cwd"])
            .arg(tree)
            .arg("--path")
            .arg(tree)
            .arg("--")
            .args(program);
        command
    }

    /// `deployx rollback` of the newest snapshot.
    pub(crate) fn rollback(&self) -> Command {
        let mut command = self.command();
        command.args(["rollback", "last", "--yes"]);
        command
    }

    /// Deletes the store.
    pub(crate) fn forget(&self) -> io::Result<()> {
        remove(&self.store)
    }
}
