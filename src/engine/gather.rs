//! Joins what the captures of one snapshot found.

use crate::entry::EntryState;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::progress::Progress;
use crate::seal::{Observed, PreImage, RecordedVolume, UndoRecord};
use crate::snapshot::{Capture, Placement, Sealed};
use crate::store::OpenSnapshot;
use crate::sys::Dir;

/// What captures found besides the record.
#[derive(Default)]
pub(super) struct Found {
    pub(super) stored_bytes: u64,
    pub(super) notes: Vec<String>,
    pub(super) observed: Observed,
}

/// Seals every capture and joins what they found.
pub(super) fn gather(
    captures: &mut [(String, Box<dyn Capture>)],
    open: &mut OpenSnapshot,
    scope: &[ScopePath],
    progress: &dyn Progress,
) -> Result<(UndoRecord, Found)> {
    let alone = captures.len() == 1;
    let mut found = Found::default();
    let mut record = UndoRecord::default();
    for (at, (_, capture)) in captures.iter_mut().enumerate() {
        let prefix = prefix_of(at, alone);
        let files = match capture.content_beside() {
            Some(volume) => open.place_on(volume, &prefix)?,
            None => open.files_dir(),
        };
        for (number, volume) in capture.further_volumes()?.iter().enumerate() {
            let prefix = format!("{prefix}v{number}-");
            let files = open.place_on(volume, &prefix)?;
            let placement = Placement {
                files: &files,
                prefix: &prefix,
            };
            capture.place_further(volume, placement);
        }
        if capture.content_is_cloned() {
            open.keep_clones(&prefix);
        }
        let sealed = capture.seal(
            Placement {
                files: &files,
                prefix: &prefix,
            },
            progress,
        )?;
        check_names(&sealed, &prefix)?;
        found.stored_bytes += sealed.stored_bytes;
        found.notes.extend(sealed.notes);
        found.observed.extend(sealed.observed);
        if record.changes.is_empty() {
            record.changes = sealed.changes;
        } else {
            record.changes.extend(sealed.changes);
        }
        record
            .unobserved
            .extend(capture.unobserved().iter().cloned());
        record.unobserved.extend(sealed.unobserved);
        let exclusions = capture.exclusions();
        record
            .exclusions
            .subtrees
            .extend(exclusions.subtrees.iter().cloned());
        record
            .exclusions
            .patterns
            .extend(exclusions.patterns.iter().cloned());
        record
            .exclusions
            .files
            .extend(exclusions.files.iter().cloned());
    }
    record.changes.sort_by(|a, b| a.path.cmp(&b.path));
    record.changes.dedup_by(|a, b| a.path == b.path);
    record.unobserved.sort_by(|a, b| a.path.cmp(&b.path));
    record.unobserved.dedup_by(|a, b| a.path == b.path);
    record.exclusions.subtrees.dedup();
    record.exclusions.patterns.sort();
    record.exclusions.patterns.dedup();
    record.volumes = volumes(&record, scope);
    Ok((record, found))
}

/// What the names of a capture's content begin with. Which capture a name is of can be told from its
/// digits up to the first hyphen.
pub(super) fn prefix_of(at: usize, alone: bool) -> String {
    if alone {
        String::new()
    } else {
        format!("{at}-")
    }
}

/// The directories in the record that are on another mount than the path of the scope which they lie
/// beneath: they were not found by a walk from there.
pub(super) fn beyond(record: &UndoRecord, scope: &[ScopePath]) -> Vec<ScopePath> {
    let mount = |path: &AbsPath| {
        let stat = Dir::open_path(path).and_then(|dir| dir.stat_self()).ok()?;
        stat.mount
    };
    let trees: Vec<(&AbsPath, Option<u64>)> = scope
        .iter()
        .filter(|one| one.depth == crate::infer::Depth::Tree)
        .map(|one| (&one.path, mount(&one.path)))
        .collect();
    let mut directories: Vec<AbsPath> = record
        .changes
        .iter()
        .filter_map(|change| change.path.parent())
        .collect();
    directories.dedup();
    directories.sort();
    directories.dedup();
    let is_beyond = |directory: &AbsPath| {
        let within = trees.iter().filter(|(tree, _)| directory.starts_with(tree));
        let root = within.max_by_key(|(tree, _)| tree.to_bytes().len());
        root.is_some_and(|(_, on)| mount(directory).is_some_and(|here| Some(here) != *on))
    };
    directories
        .into_iter()
        .filter(is_beyond)
        .map(|path| ScopePath {
            path,
            depth: crate::infer::Depth::Children,
            reason: "on another volume".into(),
            certainty: crate::infer::Certainty::Certain,
            rule: String::new(),
        })
        .collect()
}

/// Where a name lies is told by what it begins with, so that every name has to begin like that.
fn check_names(sealed: &Sealed, prefix: &str) -> Result<()> {
    let astray = sealed.changes.iter().find(|change| {
        matches!(&change.content, PreImage::Stored { name, .. } if !name.starts_with(prefix))
    });
    match astray {
        Some(change) => Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Seal,
            format!(
                "the strategy stored {} under a name of its own",
                change.path
            ),
        )),
        None => Ok(()),
    }
}

/// For every device in the record a directory that stands for it.
fn volumes(record: &UndoRecord, scope: &[ScopePath]) -> Vec<RecordedVolume> {
    let states = record
        .changes
        .iter()
        .flat_map(|c| c.before.iter().chain(&c.after));
    let mut devices: Vec<u64> = states.map(|s| s.identity.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let device_of = |path: &AbsPath| {
        Dir::open_path(path)
            .and_then(|dir| dir.stat_self())
            .ok()
            .map(|stat| stat.identity.device)
    };
    let mut anchors: Vec<(u64, AbsPath)> = scope
        .iter()
        .flat_map(|s| [Some(s.path.clone()), s.path.parent()])
        .flatten()
        .filter_map(|path| device_of(&path).map(|device| (device, path)))
        .collect();
    // What lies outside of the scope is on volumes that its directories tell.
    for change in &record.changes {
        let known = |state: &EntryState| anchors.iter().any(|(d, _)| *d == state.identity.device);
        let state = change.after.as_ref().or(change.before.as_ref());
        if state.is_none_or(known) {
            continue;
        }
        let above = change.path.as_path().ancestors().skip(1);
        let found = above
            .filter_map(|path| AbsPath::new(path).ok())
            .find_map(|path| device_of(&path).map(|device| (device, path)));
        anchors.extend(found);
    }
    devices
        .into_iter()
        .filter_map(|device| {
            let (_, anchor) = anchors.iter().find(|(d, _)| *d == device)?;
            Some(RecordedVolume {
                device,
                anchor: anchor.clone(),
            })
        })
        .collect()
}
