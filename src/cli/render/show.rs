//! Everything about one snapshot.

use super::text::Lines as _;
use super::{Palette, infer, list, receipt, text};
use crate::engine::{EntryChange, EntryView, SnapshotDetail};
use crate::entry::EntryKind;
use crate::seal::ChangeKind;

/// The whole text.
pub(crate) fn detail(detail: &SnapshotDetail, palette: Palette) -> String {
    let mut out = String::new();
    for (name, value) in facts(detail) {
        let title = palette.bold(&format!("{name:<12}"));
        out.line(format_args!("{title} {value}"));
    }
    section(&mut out, palette, "Covers", paths(detail));
    section(
        &mut out,
        palette,
        "Not covered",
        detail
            .coverage
            .unobserved
            .iter()
            .map(|one| format!("{}: {}", text::path(&one.path), text::line(&one.reason)))
            .collect(),
    );
    match &detail.receipt {
        Some(found) => {
            for (title, lines) in receipt::sections(found, &detail.summary.snapshot_id) {
                section(&mut out, palette, title, lines);
            }
        }
        None => section(&mut out, palette, "Cannot be undone", irreversible(detail)),
    }
    let guessed = &detail.coverage.not_understood;
    section(
        &mut out,
        palette,
        "Not understood, covered by a guess",
        guessed.iter().map(infer::not_understood).collect(),
    );
    section(&mut out, palette, "Notes", notes(detail));
    section(&mut out, palette, "Environment", variables(detail));
    section(&mut out, palette, "Metadata", metadata(detail));
    section(&mut out, palette, "Changes", entries(detail, palette));
    out
}

/// The short facts with their titles.
fn facts(detail: &SnapshotDetail) -> Vec<(&'static str, String)> {
    let summary = &detail.summary;
    let mut facts = vec![
        ("Snapshot", text::line(&summary.snapshot_id)),
        ("Command", text::wire(&summary.command)),
        ("Shell", text::line(&detail.shell)),
        ("Directory", text::path(&summary.working_directory)),
        (
            "When",
            format!(
                "{} ({} ago)",
                text::instant(summary.timestamp),
                text::age(summary.age_hours)
            ),
        ),
        ("State", list::state(summary.state).0.to_owned()),
        (
            "Ended",
            match summary.exit_code {
                Some(code) => format!("exit {code} after {}", text::run_time(detail.duration_ms)),
                None => "not (running or interrupted)".into(),
            },
        ),
        ("Changed", text::changes(&summary.changes)),
        ("Stored", text::size(summary.size_bytes)),
    ];
    if let Some(batch) = &summary.batch_id {
        let place = summary
            .command_index
            .map(|index| format!(", command {}", index.saturating_add(1)))
            .unwrap_or_default();
        facts.insert(1, ("Batch", format!("{}{place}", text::line(batch))));
    }
    for used in &detail.strategies {
        facts.push((
            "Strategy",
            format!(
                "{} on {} ({})",
                text::line(&used.strategy),
                text::path(&used.volume),
                text::line(&used.reason)
            ),
        ));
    }
    for place in &detail.places {
        facts.push(("Content", format!("in {}", text::path(&place.directory))));
    }
    if summary.pinned {
        facts.push(("Pinned", "yes, never expires".into()));
    }
    if let Some(redo) = &detail.redo_snapshot_id {
        facts.push(("Redo", format!("{} undoes its rollback", text::line(redo))));
    }
    if let Some(error) = &detail.error {
        facts.push(("Error", text::line(error)));
    }
    facts
}

fn section(out: &mut String, palette: Palette, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    out.line(format_args!("\n{}", palette.bold(title)));
    for line in lines {
        out.line(format_args!("  {line}"));
    }
}

fn paths(detail: &SnapshotDetail) -> Vec<String> {
    detail.monitored_paths.iter().map(text::path).collect()
}

/// Remarks that are not among the limits already.
fn notes(detail: &SnapshotDetail) -> Vec<String> {
    let limits = detail.receipt.iter().flat_map(|receipt| &receipt.limits);
    let said: Vec<&str> = limits.map(|limit| limit.reason.as_str()).collect();
    let notes = detail.coverage.notes.iter();
    notes
        .filter(|note| !said.contains(&note.as_str()))
        .map(|note| text::line(note))
        .collect()
}

/// What the rules expect, where a program that gave no receipts made the snapshot.
fn irreversible(detail: &SnapshotDetail) -> Vec<String> {
    let effects = detail.coverage.irreversible.iter();
    effects
        .map(|one| format!("{}: {}", text::line(&one.what), text::line(&one.reason)))
        .collect()
}

fn variables(detail: &SnapshotDetail) -> Vec<String> {
    detail
        .environment_vars
        .iter()
        .map(|(name, value)| format!("{}={}", text::line(name), text::line(value)))
        .collect()
}

fn metadata(detail: &SnapshotDetail) -> Vec<String> {
    detail
        .metadata
        .iter()
        .map(|(name, value)| format!("{}: {}", text::line(name), text::line(&value.to_string())))
        .collect()
}

/// The changed entries; those that moved only by the way are counted in one line.
fn entries(detail: &SnapshotDetail, palette: Palette) -> Vec<String> {
    let mut lines: Vec<String> = detail
        .entries
        .iter()
        .filter(|one| one.change != ChangeKind::Incidental)
        .map(|one| entry(one, palette))
        .collect();
    let incidental = (detail.entries.len() - lines.len()) as u64;
    if incidental > 0 {
        lines.push(palette.dim(&format!(
            "and {} whose times or links moved with these",
            text::count(incidental, "entry", "entries")
        )));
    }
    lines
}

fn entry(change: &EntryChange, palette: Palette) -> String {
    let word = painted(change.change, palette);
    let path = text::path(&change.path);
    let states = match (&change.before, &change.after) {
        (None, Some(after)) => state(after),
        (Some(before), None) => state(before),
        (Some(before), Some(after)) => {
            let (before, after) = (state(before), state(after));
            if before == after {
                before
            } else {
                format!("{before} → {after}")
            }
        }
        (None, None) => String::new(),
    };
    format!("{word} {path}  {}", palette.dim(&states))
}

/// The word for a change in its colour, padded to a column.
pub(crate) fn painted(kind: ChangeKind, palette: Palette) -> String {
    let word = format!("{:<8}", text::change(kind));
    match kind {
        ChangeKind::Created => palette.good(&word),
        ChangeKind::Deleted => palette.bad(&word),
        ChangeKind::Modified | ChangeKind::Metadata => palette.warn(&word),
        ChangeKind::Incidental => palette.dim(&word),
    }
}

/// `file 0644 1.5 KiB`, `directory 0755`, `symlink -> target`.
fn state(view: &EntryView) -> String {
    let kind = match view.kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symlink",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharDevice => "character device",
        EntryKind::BlockDevice => "block device",
    };
    let mode = text::line(&view.permissions);
    match (&view.target, view.kind) {
        (Some(target), _) => format!("{kind} -> {}", text::wire(target)),
        (None, EntryKind::File) => format!("{kind} {mode} {}", text::size(view.size)),
        (None, _) => format!("{kind} {mode}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::{AbsPath, WirePath};
    use crate::store::{CoverageRecord, StrategyUse};

    const PLAIN: Palette = Palette { on: false };

    fn view(kind: EntryKind, permissions: &str, size: u64) -> EntryView {
        EntryView {
            kind,
            permissions: permissions.into(),
            uid: 0,
            gid: 0,
            size,
            modified_time: 0.0,
            content_hash: None,
            target: None,
        }
    }

    fn sample() -> SnapshotDetail {
        let file = |mode| Some(view(EntryKind::File, mode, 1536));
        let change = |path: &str, change, before, after| EntryChange {
            path: AbsPath::new(path).unwrap(),
            change,
            before,
            after,
        };
        let link = EntryView {
            target: Some(WirePath::Text("x\ny".into())),
            ..view(EntryKind::Symlink, "0777", 0)
        };
        SnapshotDetail {
            summary: super::super::list::tests::snapshot("a1b2c3d4e5f60718", "make"),
            shell: "bash".into(),
            monitored_paths: vec![AbsPath::new("/w").unwrap()],
            environment_vars: [("LANG".to_owned(), "C".to_owned())].into(),
            metadata: [("ticket".to_owned(), serde_json::json!(7))].into(),
            coverage: CoverageRecord {
                complete: true,
                ..CoverageRecord::default()
            },
            receipt: None,
            strategies: vec![StrategyUse {
                volume: AbsPath::new("/").unwrap(),
                strategy: "copy".into(),
                version: 1,
                reason: "works everywhere".into(),
            }],
            places: Vec::new(),
            error: None,
            redo_snapshot_id: None,
            duration_ms: 12,
            entries: vec![
                change("/w", ChangeKind::Incidental, file("0755"), file("0755")),
                change("/w/a", ChangeKind::Metadata, file("0644"), file("0600")),
                change("/w/b", ChangeKind::Created, None, Some(link)),
                change("/w/c", ChangeKind::Deleted, file("0644"), None),
            ],
        }
    }

    #[test]
    fn a_snapshot_is_shown_in_full() {
        assert_eq!(
            detail(&sample(), PLAIN),
            "Snapshot     a1b2c3d4e5f60718\n\
             Command      make\n\
             Shell        bash\n\
             Directory    /w\n\
             When         1970-01-01 00:00:00 UTC (6m ago)\n\
             State        sealed\n\
             Ended        exit 0 after 12 ms\n\
             Changed      2 created, 1 deleted\n\
             Stored       2.0 KiB\n\
             Strategy     copy on / (works everywhere)\n\
             \n\
             Covers\n  /w\n\
             \n\
             Environment\n  LANG=C\n\
             \n\
             Metadata\n  ticket: 7\n\
             \n\
             Changes\n  \
             metadata /w/a  file 0644 1.5 KiB → file 0600 1.5 KiB\n  \
             created  /w/b  symlink -> x\\ny\n  \
             deleted  /w/c  file 0644 1.5 KiB\n  \
             and 1 entry whose times or links moved with these\n"
        );
    }

    #[test]
    fn what_is_special_is_named() {
        let mut sample = sample();
        sample.summary.batch_id = Some("b".into());
        sample.summary.command_index = Some(0);
        sample.summary.pinned = true;
        sample.summary.exit_code = None;
        sample.error = Some("half".into());
        sample.redo_snapshot_id = Some("00112233aabbccdd".into());
        let text = detail(&sample, PLAIN);
        for line in [
            "Batch        b, command 1\n",
            "Ended        not (running or interrupted)\n",
            "Pinned       yes, never expires\n",
            "Error        half\n",
            "Redo         00112233aabbccdd undoes its rollback\n",
        ] {
            assert!(text.contains(line), "{line:?} is missing in {text}");
        }
    }
}
