//! What a command changed, entry by entry.

use std::fs::File;
use std::io::Read;

use similar::TextDiff;

use super::{DiffOptions, Engine, FileDiff};
use crate::entry::{ContentHash, EntryKind, EntryState};
use crate::error::Result;
use crate::path::AbsPath;
use crate::seal::{Change, ChangeKind, PreImage};
use crate::store::OpenDirs;
use crate::store::content::{self, Stored};
use crate::sys::{Dir, hash_file, read_state};

/// Files above this size are summarised unless the caller says otherwise.
const MAX_TEXT: u64 = 1 << 20;
/// This many bytes without a NUL make a text.
const SNIFF: usize = 8_000;

impl Engine {
    /// What a command changed, or with `live` what differs between the state before and now.
    pub fn diff(&self, target: &str, options: &DiffOptions) -> Result<Vec<FileDiff>> {
        let id = self.select_one(target)?;
        let _in_use = self.store.acquire_shared(&id)?;
        let files = self.store.content_dirs(&self.store.meta(&id)?).open();
        let record = self.store.record(&id)?;
        let wanted = |path: &AbsPath| {
            options.paths.is_empty() || options.paths.iter().any(|p| path.starts_with(p))
        };
        let changes = record.changes.iter().filter(|change| wanted(&change.path));
        Ok(changes
            .filter_map(|change| diff_entry(change, &files, options))
            .collect())
    }
}

fn diff_entry(change: &Change, files: &OpenDirs, options: &DiffOptions) -> Option<FileDiff> {
    let live = live_state(&change.path);
    let change = if options.live {
        Change {
            after: live.clone(),
            ..change.clone()
        }
    } else {
        change.clone()
    };
    let kind = kind_of(&change, options.live)?;
    let size = |state: &Option<EntryState>| state.as_ref().filter(|s| s.is_file()).map(|s| s.size);
    let mut diff = FileDiff {
        path: change.path.clone(),
        change: kind,
        notes: notes(&change),
        added: None,
        removed: None,
        bytes: (size(&change.before), size(&change.after)),
        text: None,
        summary: None,
    };
    let touches_file = [&change.before, &change.after]
        .into_iter()
        .flatten()
        .any(EntryState::is_file);
    if touches_file && kind != ChangeKind::Metadata {
        let limit = options.max_bytes.unwrap_or(MAX_TEXT);
        match contents(&change, files, live.as_ref(), limit) {
            Ok((old, new)) => compare_text(&mut diff, &old, &new, options.text),
            Err(summary) => diff.summary = Some(summary),
        }
    }
    Some(diff)
}

/// How the entry differs; `None` where there is nothing to show.
fn kind_of(change: &Change, live: bool) -> Option<ChangeKind> {
    let kind = match (&change.before, &change.after) {
        (None, None) => return None,
        (Some(before), Some(after)) if live => {
            if before.same_content(after) {
                let times = before.is_dir() || before.modified == after.modified;
                if before.same_metadata(after) && times {
                    return None;
                }
                ChangeKind::Metadata
            } else {
                ChangeKind::Modified
            }
        }
        _ => change.kind(),
    };
    (kind != ChangeKind::Incidental).then_some(kind)
}

/// Differences other than content, in words.
fn notes(change: &Change) -> Vec<String> {
    let (Some(before), Some(after)) = (&change.before, &change.after) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    if before.kind != after.kind {
        notes.push(format!("{:?} -> {:?}", before.kind, after.kind).to_lowercase());
    }
    if before.mode != after.mode {
        notes.push(format!("mode {:04o} -> {:04o}", before.mode, after.mode));
    }
    if (before.uid, before.gid) != (after.uid, after.gid) {
        notes.push(format!(
            "owner {}:{} -> {}:{}",
            before.uid, before.gid, after.uid, after.gid
        ));
    }
    if before.xattrs != after.xattrs {
        notes.push("extended attributes changed".into());
    }
    if before.flags != after.flags {
        notes.push(format!("flags {:#x} -> {:#x}", before.flags, after.flags));
    }
    if before.target != after.target {
        let text = |state: &EntryState| {
            state
                .target
                .as_deref()
                .map(|t| t.escape_ascii().to_string())
                .unwrap_or_default()
        };
        notes.push(format!("link {} -> {}", text(before), text(after)));
    }
    let only_times = notes.is_empty() && before.same_content(after);
    if only_times && before.modified != after.modified {
        notes.push("modification time changed".into());
    }
    notes
}

/// Old and new content of a file, or why it cannot be shown.
fn contents(
    change: &Change,
    files: &OpenDirs,
    live: Option<&EntryState>,
    limit: u64,
) -> Result<(Vec<u8>, Vec<u8>), String> {
    let too_large = |state: &Option<EntryState>| {
        state
            .as_ref()
            .is_some_and(|s| s.is_file() && s.size > limit)
    };
    if too_large(&change.before) || too_large(&change.after) {
        return Err(format!("larger than {limit} bytes"));
    }
    let unchanged_live = |state: &EntryState| live.is_some_and(|live| live.same_content(state));
    let old = match (&change.before, &change.content) {
        (Some(before), PreImage::Stored { .. }) if before.is_file() => {
            stored_content(change, files)?
        }
        (Some(_), PreImage::Lost { reason }) => {
            return Err(format!("old content was not kept: {reason}"));
        }
        (Some(before), PreImage::NotNeeded) if before.is_file() && before.size > 0 => {
            if !unchanged_live(before) {
                return Err("the content has changed since".into());
            }
            read(File::open(change.path.as_path()), limit)?
        }
        _ => Vec::new(),
    };
    let new = match &change.after {
        Some(after) if after.is_file() && after.size > 0 => {
            if !unchanged_live(after) {
                return Err("the new content is no longer there to compare with".into());
            }
            read(File::open(change.path.as_path()), limit)?
        }
        _ => Vec::new(),
    };
    Ok((old, new))
}

/// The old content that is kept for a change, which is within the limit.
fn stored_content(change: &Change, files: &OpenDirs) -> Result<Vec<u8>, String> {
    let Some(stored) = Stored::of(change) else {
        return Ok(Vec::new());
    };
    let old = |what: String| format!("the backup {} {what}", stored.name);
    let mut read = Vec::new();
    content::open(files, &stored)
        .map_err(old)?
        .verified(*stored.hash)
        .read_to_end(&mut read)
        .map_err(|e| old(content::unreadable(&e)))?;
    Ok(read)
}

fn read(file: std::io::Result<File>, limit: u64) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    file.and_then(|file| file.take(limit + 1).read_to_end(&mut content))
        .map_err(|e| format!("cannot be read: {e}"))?;
    Ok(content)
}

fn compare_text(diff: &mut FileDiff, old: &[u8], new: &[u8], with_text: bool) {
    let binary = |content: &[u8]| content[..content.len().min(SNIFF)].contains(&0);
    if binary(old) || binary(new) {
        diff.summary = Some("binary".into());
        return;
    }
    let lines = TextDiff::from_lines(old, new);
    let count = |tag| lines.iter_all_changes().filter(|c| c.tag() == tag).count() as u64;
    diff.added = Some(count(similar::ChangeTag::Insert));
    diff.removed = Some(count(similar::ChangeTag::Delete));
    if with_text && old != new {
        let name = diff.path.to_string();
        let name = name.trim_start_matches('/');
        let mut bytes = Vec::new();
        let from = if diff.change == ChangeKind::Created {
            "/dev/null".into()
        } else {
            format!("a/{name}")
        };
        let to = if diff.change == ChangeKind::Deleted {
            "/dev/null".into()
        } else {
            format!("b/{name}")
        };
        let mut unified = lines.unified_diff();
        unified.header(&from, &to);
        // Writing to memory cannot fail.
        let _ = unified.to_writer(&mut bytes);
        diff.text = Some(String::from_utf8_lossy(&bytes).into_owned());
    }
}

/// The live entry's full state; `None` where there is none or it cannot be reached.
fn live_state(path: &AbsPath) -> Option<EntryState> {
    let (parent, name) = (path.parent()?, path.name()?);
    let dir = Dir::open_path(&parent).ok()?;
    let stat = dir.stat_opt(name).ok()??;
    let mut state = read_state(&dir, name, &stat).ok()?;
    if stat.kind == EntryKind::File {
        state.hash = if stat.size == 0 {
            Some(ContentHash::EMPTY)
        } else {
            dir.open_file(name).and_then(|file| hash_file(&file)).ok()
        };
    }
    Some(state)
}
