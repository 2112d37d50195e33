//! What a command changed: unified diffs, a histogram, or names.

use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::FileDiff;
use crate::seal::ChangeKind;

/// The widest histogram bar, in characters.
const BAR: u64 = 40;

/// How file content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Control characters are escaped: for terminals.
    Escaped,
    /// As it is: for `patch` and other programs.
    Raw,
}

/// Unified diffs, one entry after the other.
pub(crate) fn unified(diffs: &[FileDiff], content: Content, palette: Palette) -> String {
    let mut out = String::new();
    for diff in shown(diffs) {
        let path = text::path(&diff.path);
        let title = format!("diff {} {path}", text::change(diff.change));
        out.line(format_args!("{}", palette.bold(&title)));
        for note in &diff.notes {
            out.line(format_args!("{}", palette.warn(&text::line(note))));
        }
        match (&diff.text, &diff.summary) {
            (Some(body), _) => {
                if !body.is_empty() && !body.starts_with("--- ") {
                    out.push_str(&names(diff, &path, palette));
                }
                push_body(&mut out, body, content, palette);
            }
            (None, Some(summary)) => {
                out.line(format_args!("{}{}", text::line(summary), sizes(diff)));
            }
            (None, None) => {}
        }
    }
    out
}

/// The two lines before the first hunk.
fn names(diff: &FileDiff, path: &str, palette: Palette) -> String {
    let before = match diff.change {
        ChangeKind::Created => "/dev/null".to_owned(),
        _ => format!("a{path}"),
    };
    let after = match diff.change {
        ChangeKind::Deleted => "/dev/null".to_owned(),
        _ => format!("b{path}"),
    };
    format!(
        "{}\n{}\n",
        palette.bold(&format!("--- {before}")),
        palette.bold(&format!("+++ {after}"))
    )
}

fn push_body(out: &mut String, body: &str, content: Content, palette: Palette) {
    if content == Content::Raw {
        out.push_str(body);
        if !body.is_empty() && !body.ends_with('\n') {
            out.push('\n');
        }
        return;
    }
    for line in body.split_terminator('\n') {
        let line = text::content(line);
        let painted = match line.as_bytes().first() {
            _ if line.starts_with("--- ") || line.starts_with("+++ ") => palette.bold(&line),
            Some(b'+') => palette.good(&line),
            Some(b'-') => palette.bad(&line),
            Some(b'@') => palette.accent(&line),
            _ => line,
        };
        out.push_str(&painted);
        out.push('\n');
    }
}

/// `, 3 B before, 1.0 KiB after`, as far as known.
fn sizes(diff: &FileDiff) -> String {
    let part = |bytes: Option<u64>, word| {
        bytes
            .map(|bytes| format!(", {} {word}", text::size(bytes)))
            .unwrap_or_default()
    };
    part(diff.bytes.0, "before") + &part(diff.bytes.1, "after")
}

/// One line for each entry with a histogram of changed lines, and a total.
pub(crate) fn stat(diffs: &[FileDiff], palette: Palette) -> String {
    let rows: Vec<(String, &FileDiff)> = shown(diffs)
        .map(|diff| (text::path(&diff.path), diff))
        .collect();
    let widest = rows
        .iter()
        .map(|(path, _)| path.chars().count())
        .max()
        .unwrap_or(0);
    let lines = |diff: &FileDiff| diff.added.unwrap_or(0) + diff.removed.unwrap_or(0);
    let most = rows.iter().map(|(_, diff)| lines(diff)).max().unwrap_or(0);
    let mut out = String::new();
    for (path, diff) in &rows {
        let tail = match (diff.added, diff.removed) {
            (None, None) => without_lines(diff),
            (added, removed) => {
                let plus = palette.good(&"+".repeat(scaled(added.unwrap_or(0), most)));
                let minus = palette.bad(&"-".repeat(scaled(removed.unwrap_or(0), most)));
                format!("{:>5} {plus}{minus}", lines(diff))
            }
        };
        let padding = " ".repeat(widest - path.chars().count());
        out.push_str(format!(" {path}{padding} | {tail}").trim_end());
        out.push('\n');
    }
    let sum = |part: fn(&FileDiff) -> Option<u64>| -> u64 {
        rows.iter().filter_map(|(_, diff)| part(diff)).sum()
    };
    out.line(format_args!(
        " {}, {}(+), {}(-)",
        text::count(rows.len() as u64, "entry changed", "entries changed"),
        text::count(sum(|diff| diff.added), "insertion", "insertions"),
        text::count(sum(|diff| diff.removed), "deletion", "deletions"),
    ));
    out
}

/// What stands for the histogram of an entry that has no lines.
fn without_lines(diff: &FileDiff) -> String {
    match diff.bytes {
        (None, None) if diff.notes.is_empty() => text::change(diff.change).to_owned(),
        (None, None) => diff
            .notes
            .iter()
            .map(|note| text::line(note))
            .collect::<Vec<_>>()
            .join(", "),
        (before, after) => {
            let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".into(), text::size);
            format!("  Bin {} -> {}", size(before), size(after))
        }
    }
}

/// A bar's length: exact where everything fits, else in proportion but never zero.
fn scaled(lines: u64, most: u64) -> usize {
    let length = if most <= BAR || lines == 0 {
        lines
    } else {
        (lines * BAR / most).max(1)
    };
    length as usize
}

/// A letter and the path of each entry.
pub(crate) fn name_status(diffs: &[FileDiff], palette: Palette) -> String {
    let mut out = String::new();
    for diff in shown(diffs) {
        let letter = match diff.change {
            ChangeKind::Created => palette.good("A"),
            ChangeKind::Deleted => palette.bad("D"),
            ChangeKind::Modified => palette.warn("M"),
            ChangeKind::Metadata | ChangeKind::Incidental => palette.warn("P"),
        };
        out.line(format_args!("{letter}\t{}", text::path(&diff.path)));
    }
    out
}

/// Entries that changed only by the way are not shown.
fn shown(diffs: &[FileDiff]) -> impl Iterator<Item = &FileDiff> {
    diffs
        .iter()
        .filter(|diff| diff.change != ChangeKind::Incidental)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;

    const PLAIN: Palette = Palette { on: false };

    fn diff(path: &str, change: ChangeKind) -> FileDiff {
        FileDiff {
            path: AbsPath::new(path).unwrap(),
            change,
            notes: Vec::new(),
            added: None,
            removed: None,
            bytes: (None, None),
            text: None,
            summary: None,
        }
    }

    fn samples() -> Vec<FileDiff> {
        vec![
            diff("/w", ChangeKind::Incidental),
            FileDiff {
                added: Some(1),
                removed: Some(2),
                bytes: (Some(4), Some(2)),
                text: Some("@@ -1,2 +1 @@\n-a\n-\u{1b}[2Jb\n+c\td\n".into()),
                ..diff("/w/a\n", ChangeKind::Modified)
            },
            FileDiff {
                bytes: (None, Some(2048)),
                summary: Some("binary".into()),
                ..diff("/w/b", ChangeKind::Created)
            },
            FileDiff {
                notes: vec!["mode 0644 -> 0600".into()],
                ..diff("/w/c", ChangeKind::Metadata)
            },
            diff("/w/d", ChangeKind::Deleted),
        ]
    }

    #[test]
    fn a_diff_on_a_terminal_is_escaped() {
        assert_eq!(
            unified(&samples(), Content::Escaped, PLAIN),
            "diff modified /w/a\\n\n\
             --- a/w/a\\n\n\
             +++ b/w/a\\n\n\
             @@ -1,2 +1 @@\n\
             -a\n\
             -\\u{1b}[2Jb\n\
             +c\td\n\
             diff created /w/b\n\
             binary, 2.0 KiB after\n\
             diff metadata /w/c\n\
             mode 0644 -> 0600\n\
             diff deleted /w/d\n"
        );
    }

    #[test]
    fn a_diff_for_programs_keeps_its_content() {
        let text = unified(&samples(), Content::Raw, PLAIN);
        assert!(text.contains("\n-\u{1b}[2Jb\n+c\td\n"), "{text:?}");
        assert!(text.contains("+++ b/w/a\\n\n"), "{text:?}");
    }

    #[test]
    fn names_of_the_engine_are_not_doubled() {
        let one = FileDiff {
            text: Some("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b".into()),
            ..diff("/x", ChangeKind::Modified)
        };
        let text = unified(&[one], Content::Escaped, PLAIN);
        assert_eq!(text.matches("--- ").count(), 1);
        assert!(text.ends_with("+b\n"), "{text}");
    }

    #[test]
    fn created_and_deleted_files_have_no_other_side() {
        let body = Some("@@ -0,0 +1 @@\n+a\n".to_owned());
        let created = FileDiff {
            text: body.clone(),
            ..diff("/x", ChangeKind::Created)
        };
        let deleted = FileDiff {
            text: body,
            ..diff("/x", ChangeKind::Deleted)
        };
        let text = unified(&[created, deleted], Content::Raw, PLAIN);
        assert!(text.contains("--- /dev/null\n+++ b/x\n"), "{text}");
        assert!(text.contains("--- a/x\n+++ /dev/null\n"), "{text}");
    }

    #[test]
    fn a_histogram_is_aligned_and_summed_up() {
        assert_eq!(
            stat(&samples(), PLAIN),
            " /w/a\\n |     3 +--\n \
             /w/b   |   Bin - -> 2.0 KiB\n \
             /w/c   | mode 0644 -> 0600\n \
             /w/d   | deleted\n \
             4 entries changed, 1 insertion(+), 2 deletions(-)\n"
        );
    }

    #[test]
    fn bars_are_scaled_but_never_vanish() {
        assert_eq!(scaled(3, 40), 3);
        assert_eq!(scaled(1, 4000), 1);
        assert_eq!(scaled(4000, 4000), 40);
        assert_eq!(scaled(0, 4000), 0);
    }

    #[test]
    fn names_have_a_letter_each() {
        assert_eq!(
            name_status(&samples(), PLAIN),
            "M\t/w/a\\n\nA\t/w/b\nP\t/w/c\nD\t/w/d\n"
        );
    }
}
