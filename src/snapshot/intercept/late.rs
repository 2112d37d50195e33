//! Lists of what processes changed that outlived their command.
//!
//! Each is a log in the store's directory `late`, whose records are
//! [`Record::Late`](super::record::Record): one for a session, of what changed while no command ran, and
//! one for a command, of what earlier commands' processes changed meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use super::log::{self, Log};
use super::record::Record;
use super::session::make;
use crate::path::AbsPath;
use crate::seal::LateChange;
use crate::store::{SnapshotId, Store};
use crate::sys::Dir;

/// The lists' directory in the store.
const DIRECTORY: &str = "late";
/// Between a session's name and that of a snapshot in a list's name.
const WITH: char = '+';

/// Makes a place for the list of a session whose directory this is, or of the command of `snapshot` in
/// it.
pub(super) fn make_list(
    store: &AbsPath,
    session: &Path,
    snapshot: Option<&str>,
) -> io::Result<PathBuf> {
    make(&Dir::open(store)?, DIRECTORY)?;
    let session = session.file_name().unwrap_or_default().to_string_lossy();
    let name = match snapshot {
        None => session.into_owned(),
        Some(snapshot) => format!("{session}{WITH}{snapshot}"),
    };
    Ok(store.as_path().join(DIRECTORY).join(name))
}

/// Writes down what processes of earlier commands changed while the command of `snapshot` ran.
pub(super) fn write_list(
    store: &AbsPath,
    session: &Path,
    snapshot: &str,
    late: &[LateChange],
) -> io::Result<()> {
    if late.is_empty() {
        return Ok(());
    }
    let path = make_list(store, session, Some(snapshot))?;
    // A seal may be repeated.
    let _ = std::fs::remove_file(&path);
    let (mut log, _) = Log::open(&path)?;
    for change in late {
        log.add(&Record::Late {
            path: change.path.clone(),
            command: change.command.clone(),
        })?;
    }
    log.flush()
}

/// What processes of the command of `snapshot` changed after it was over, as far as that was seen.
pub fn late_changes(store: &Store, snapshot: &SnapshotId) -> Vec<LateChange> {
    let mut found = Vec::new();
    for (path, recorded_with) in lists(store) {
        let records = log::read(&path).unwrap_or_default();
        found.extend(records.into_iter().filter_map(|record| match record {
            Record::Late { path, command } if command.as_deref() == Some(snapshot.as_str()) => {
                Some(LateChange {
                    path,
                    command,
                    recorded_with: recorded_with.clone(),
                })
            }
            _ => None,
        }));
    }
    found
}

/// Removes lists that speak of no snapshot which is still there.
pub(super) fn sweep(store: &Store, is_needed: impl Fn(&str) -> bool) {
    for (path, _) in lists(store) {
        let records = log::read(&path).unwrap_or_default();
        let needed = records.iter().any(|record| match record {
            Record::Late {
                command: Some(command),
                ..
            } => is_needed(command),
            _ => false,
        });
        if !needed {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Every list, and the snapshot with which its changes are on record.
fn lists(store: &Store) -> Vec<(PathBuf, Option<String>)> {
    let all = std::fs::read_dir(store.path().join(DIRECTORY));
    let paths = all.into_iter().flatten().flatten().map(|one| one.path());
    paths
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let with = name.split_once(WITH).map(|(_, id)| id.to_owned());
            (path, with)
        })
        .collect()
}
