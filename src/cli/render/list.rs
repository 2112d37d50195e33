//! The table of snapshots.

use super::table::{Columns, Tone};
use super::{Palette, text};
use crate::engine::SnapshotSummary;
use crate::store::SnapshotState;

/// Commands are never cut below this many characters.
const LEAST: usize = 20;

/// Commands are cut to this many characters where there is no terminal to fit.
const WITHOUT_TERMINAL: usize = 200;

/// One line for each snapshot, in the order given. `width` is the terminal's, if there is one.
pub(crate) fn table(
    snapshots: &[SnapshotSummary],
    width: Option<usize>,
    palette: Palette,
) -> String {
    let batches = snapshots.iter().any(|one| one.batch_id.is_some());
    let room = match width {
        // Everything but the commands tells how much room they have.
        Some(width) => {
            let others = build(snapshots, batches, palette, 0).width_before_last();
            width.saturating_sub(others).max(LEAST)
        }
        None => WITHOUT_TERMINAL,
    };
    build(snapshots, batches, palette, room).text()
}

/// Whether what the command changed is known.
fn is_recorded(state: SnapshotState) -> bool {
    match state {
        SnapshotState::Sealed | SnapshotState::RollingBack | SnapshotState::RolledBack => true,
        SnapshotState::Capturing | SnapshotState::Captured | SnapshotState::Failed => false,
    }
}

fn build(snapshots: &[SnapshotSummary], batches: bool, palette: Palette, room: usize) -> Columns {
    let mut titles = vec!["ID", "AGE", "CHANGES", "SIZE", "STATE", "EXIT", "PIN"];
    if batches {
        titles.push("BATCH");
    }
    titles.push("COMMAND");
    let mut columns = Columns::new(palette, &titles);
    columns.right(&[1, 3, 5]);
    for one in snapshots {
        let age = text::age(one.age_hours);
        let id = text::line(&one.snapshot_id);
        let changes = if is_recorded(one.state) {
            text::short_changes(&one.changes)
        } else {
            "-".into()
        };
        let size = text::size(one.size_bytes);
        let exit = one
            .exit_code
            .map_or_else(|| "-".into(), |code| code.to_string());
        let batch = batch(one);
        let command = text::shortened(&text::wire(&one.command), room);
        let (state, tone) = state(one.state);
        let mut cells = vec![
            (id.as_str(), Tone::Accent),
            (age.as_str(), Tone::Plain),
            (changes.as_str(), Tone::Plain),
            (size.as_str(), Tone::Plain),
            (state, tone),
            (
                exit.as_str(),
                if one.exit_code.is_some_and(|code| code != 0) {
                    Tone::Bad
                } else {
                    Tone::Plain
                },
            ),
            (if one.pinned { "pin" } else { "" }, Tone::Warn),
        ];
        if batches {
            cells.push((batch.as_str(), Tone::Plain));
        }
        cells.push((command.as_str(), Tone::Plain));
        columns.row(cells);
    }
    columns
}

/// `release-7#2`: the batch and the command's place in it, counted from 1.
fn batch(one: &SnapshotSummary) -> String {
    match (&one.batch_id, one.command_index) {
        (Some(id), Some(index)) => format!("{}#{}", text::line(id), index.saturating_add(1)),
        (Some(id), None) => text::line(id),
        (None, _) => String::new(),
    }
}

/// The word for a snapshot's state.
pub(crate) fn state(state: SnapshotState) -> (&'static str, Tone) {
    match state {
        SnapshotState::Capturing => ("capturing", Tone::Warn),
        SnapshotState::Captured => ("captured", Tone::Warn),
        SnapshotState::Sealed => ("sealed", Tone::Good),
        SnapshotState::RollingBack => ("rolling back", Tone::Warn),
        SnapshotState::RolledBack => ("rolled back", Tone::Plain),
        SnapshotState::Failed => ("failed", Tone::Bad),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::path::{AbsPath, WirePath};
    use crate::seal::ChangeCounts;

    const PLAIN: Palette = Palette { on: false };

    pub(crate) fn snapshot(id: &str, command: &str) -> SnapshotSummary {
        SnapshotSummary {
            snapshot_id: id.into(),
            timestamp: 0.0,
            age_hours: 0.1,
            command: WirePath::Text(command.into()),
            command_index: None,
            batch_id: None,
            working_directory: AbsPath::new("/w").unwrap(),
            state: SnapshotState::Sealed,
            strategy: "copy".into(),
            file_count: 3,
            changes: ChangeCounts {
                created: 2,
                modified: 0,
                deleted: 1,
                metadata: 0,
            },
            size_bytes: 2048,
            pinned: false,
            exit_code: Some(0),
        }
    }

    #[test]
    fn columns_are_aligned() {
        let mut second = snapshot("00112233aabbccdd", "rm -rf \u{1b}[2J build");
        second.state = SnapshotState::RolledBack;
        second.age_hours = 30.0;
        second.pinned = true;
        second.exit_code = None;
        second.changes = ChangeCounts::default();
        let text = table(&[snapshot("a1b2c3d4e5f60718", "make"), second], None, PLAIN);
        assert_eq!(
            text,
            "ID                AGE  CHANGES     SIZE  STATE        EXIT  PIN  COMMAND\n\
             a1b2c3d4e5f60718   6m  +2 -1    2.0 KiB  sealed          0       make\n\
             00112233aabbccdd  30h  none     2.0 KiB  rolled back     -  pin  rm -rf \\u{1b}[2J build\n"
        );
    }

    #[test]
    fn changes_that_are_not_recorded_yet_are_not_called_none() {
        let mut one = snapshot("a1b2c3d4e5f60718", "make");
        one.state = SnapshotState::Captured;
        one.changes = ChangeCounts::default();
        let text = table(&[one], None, PLAIN);
        assert!(
            !text.contains("none") && text.contains("captured"),
            "{text}"
        );
    }

    #[test]
    fn long_commands_are_cut_to_the_terminal() {
        let one = snapshot("a1b2c3d4e5f60718", &"x".repeat(500));
        for (width, longest) in [(Some(100), 100), (Some(10), 90), (None, 270)] {
            let text = table(std::slice::from_ref(&one), width, PLAIN);
            let line = text.lines().nth(1).unwrap();
            assert!(line.ends_with('…'), "{line}");
            assert!(line.chars().count() <= longest, "{width:?}: {line}");
        }
    }

    #[test]
    fn batches_are_shown_where_there_are_any() {
        let mut one = snapshot("a1b2c3d4e5f60718", "make");
        one.batch_id = Some("release-7".into());
        one.command_index = Some(1);
        let text = table(&[one, snapshot("00112233aabbccdd", "ls")], None, PLAIN);
        assert!(text.contains("BATCH"), "{text}");
        assert!(text.contains("release-7#2"), "{text}");
        assert!(text.ends_with("ls\n"), "{text}");
    }
}
