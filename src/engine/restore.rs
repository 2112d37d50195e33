//! Copying the state before a command out, without touching the live tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;

use super::{Engine, RestoreReport};
use crate::entry::{EntryKind, EntryState};
use crate::error::{Error, ErrorKind, IoContext, Result, Stage};
use crate::path::AbsPath;
use crate::progress::{Event, Phase, Progress};
use crate::rollback::Failure;
use crate::seal::{Change, PreImage};
use crate::store::OpenDirs;
use crate::store::content::{self, CopyError, Stored};
use crate::sys::{self, Dir, Pinned, apply_metadata, copy_content};

impl Engine {
    /// Copies the state before of `paths`, and of what lies beneath them, into the directory `to`,
    /// which is made where it does not exist. Nothing that is there is overwritten.
    ///
    /// Each path arrives under its own name, as with `cp -a PATH… DIR`. Only entries that the
    /// command changed are in a snapshot; of the others the live tree still has the same state.
    pub fn restore(
        &self,
        target: &str,
        paths: &[AbsPath],
        to: &AbsPath,
        progress: &dyn Progress,
    ) -> Result<RestoreReport> {
        let id = self.select_one(target)?;
        let _in_use = self.store.acquire_shared(&id)?;
        let files = self.store.content_dirs(&self.store.meta(&id)?).open();
        let record = self.store.record(&id)?;
        std::fs::create_dir_all(to).context(Stage::Rollback, || format!("cannot make {to}"))?;
        let to = to
            .as_path()
            .canonicalize()
            .context(Stage::Rollback, || format!("cannot reach {to}"))?;
        let to = AbsPath::new(to)
            .map_err(|e| Error::new(ErrorKind::InvalidRequest, Stage::Request, e.to_string()))?;
        let mut report = RestoreReport::default();
        for path in paths {
            let changes: Vec<&Change> = record
                .changes
                .iter()
                .filter(|c| c.path.starts_with(path) && c.before.is_some())
                .collect();
            if changes.is_empty() {
                let reason = "has no old state in this snapshot: the command did not change it";
                report.failures.push(Failure {
                    path: path.clone(),
                    error: reason.into(),
                });
                continue;
            }
            progress.event(Event::Begin {
                phase: Phase::Stage,
                total: Some(changes.len() as u64),
            });
            copy_out(&changes, path, &files, &to, &mut report, progress);
            progress.event(Event::End);
        }
        Ok(report)
    }
}

/// Writes `changes`, all at or beneath `base`, into `to`. Directories' metadata comes last, the
/// deepest first, so that what is written into them does not change their times.
fn copy_out(
    changes: &[&Change],
    base: &AbsPath,
    files: &OpenDirs,
    to: &AbsPath,
    report: &mut RestoreReport,
    progress: &dyn Progress,
) {
    let mut links: HashMap<(u64, u64), AbsPath> = HashMap::new();
    let mut directories: Vec<(AbsPath, &EntryState)> = Vec::new();
    for change in changes {
        let Some(before) = &change.before else {
            continue;
        };
        let result = destination(base, &change.path, to).and_then(|path| {
            copy_entry(change, before, files, &path, &mut links)?;
            Ok(path)
        });
        match result {
            Ok(path) => {
                report.restored += 1;
                if before.is_dir() {
                    directories.push((path.clone(), before));
                }
                report.written.push(path);
            }
            Err(error) => {
                report.failures.push(Failure {
                    path: change.path.clone(),
                    error: error.to_string(),
                });
            }
        }
        progress.event(Event::Advance { by: 1 });
    }
    for (path, state) in directories.into_iter().rev() {
        if let Err(error) = with_parent(&path, |dir, name| settle(dir, name, state)) {
            report.failures.push(Failure {
                path,
                error: error.to_string(),
            });
        }
    }
}

/// Where an entry arrives: `base` itself under its own name, the rest beneath it.
fn destination(base: &AbsPath, path: &AbsPath, to: &AbsPath) -> io::Result<AbsPath> {
    let above = base.parent().unwrap_or_else(|| base.clone());
    let relative = path
        .as_path()
        .strip_prefix(above.as_path())
        .map_err(io::Error::other)?;
    let destination = to.as_path().join(relative);
    if let Some(parent) = destination.parent() {
        // A directory above that the command did not change.
        std::fs::create_dir_all(parent)?;
    }
    AbsPath::new(destination).map_err(io::Error::other)
}

fn copy_entry(
    change: &Change,
    before: &EntryState,
    files: &OpenDirs,
    path: &AbsPath,
    links: &mut HashMap<(u64, u64), AbsPath>,
) -> io::Result<()> {
    let inode = (before.identity.device, before.identity.inode);
    if before.identity.links > 1
        && !before.is_dir()
        && let Some(first) = links.get(&inode)
    {
        return std::fs::hard_link(first, path);
    }
    with_parent(path, |dir, name| {
        match before.kind {
            EntryKind::Directory => match dir.make_dir(name) {
                // Made on the way to an entry in it.
                Err(e)
                    if e.kind() == io::ErrorKind::AlreadyExists
                        && dir.stat(name)?.kind == EntryKind::Directory => {}
                other => other?,
            },
            EntryKind::File => copy_file(change, before, files, dir, name)?,
            EntryKind::Symlink => {
                dir.make_symlink(name, before.target.as_deref().unwrap_or_default())?;
            }
            kind => dir.make_node(name, kind, before.device)?,
        }
        if before.is_dir() {
            Ok(())
        } else {
            settle(dir, name, before)
        }
    })?;
    links.insert(inode, path.clone());
    Ok(())
}

fn copy_file(
    change: &Change,
    before: &EntryState,
    files: &OpenDirs,
    dir: &Dir,
    name: &OsStr,
) -> io::Result<()> {
    if let Some(stored) = Stored::of(change) {
        let sparse = before.allocated < before.size;
        let copied = content::copy_into(files, &stored, &dir.create_file(name)?, sparse);
        return copied.map_err(|error| {
            let _ = dir.unlink(name);
            match error {
                CopyError::Stored(what) => {
                    io::Error::other(format!("the backup {} {what}", stored.name))
                }
                CopyError::Target(error) => error,
            }
        });
    }
    if let PreImage::Lost { reason } = &change.content {
        return Err(io::Error::other(format!(
            "old content was not kept: {reason}"
        )));
    }
    let copy = dir.create_file(name)?;
    if before.size == 0 {
        return Ok(());
    }
    // Only metadata changed: the live file still has the old content.
    let (length, hash) = copy_content(&File::open(change.path.as_path())?, &copy)?;
    if length == before.size && before.hash.is_none_or(|expected| expected == hash) {
        return Ok(());
    }
    dir.unlink(name)?;
    Err(io::Error::other(
        "it was changed since, and the snapshot does not have its old content",
    ))
}

/// Metadata as it was; who may not give files away keeps them.
fn settle(dir: &Dir, name: &OsStr, state: &EntryState) -> io::Result<()> {
    let pinned = Pinned::open(dir, name)?;
    let mut state = state.clone();
    if !sys::is_root() {
        let own = pinned.stat()?;
        (state.uid, state.gid) = (own.uid, own.gid);
        state
            .xattrs
            .retain(|xattr| xattr.name.starts_with(b"user."));
    }
    // A copy that cannot be changed or deleted would be a nuisance.
    state.flags &= !crate::entry::flags::LOCKING;
    apply_metadata(&pinned, &state)
}

fn with_parent<T>(
    path: &AbsPath,
    work: impl FnOnce(&Dir, &OsStr) -> io::Result<T>,
) -> io::Result<T> {
    match (path.parent(), path.name()) {
        (Some(parent), Some(name)) => work(&Dir::open_path(&parent)?, name),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a root cannot be restored",
        )),
    }
}
