//! What a snapshot vouches for.

use super::text;
use crate::seal::{By, KnownBy, LateChange, Preserved, Receipt, Watch};

/// At most so many paths are shown in one section.
const SHOWN: usize = 20;

/// The sections of `show`: title and lines. `own` is the snapshot's id.
pub(crate) fn sections(receipt: &Receipt, own: &str) -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("Preserved", vec![preserved(&receipt.preserved)]),
        ("Seen to change outside, not preserved", outside(receipt)),
        ("Cannot be undone", effects(receipt)),
        (
            "Limits",
            receipt
                .limits
                .iter()
                .map(|one| text::line(&one.reason))
                .collect(),
        ),
        ("Late changes", late(receipt, own)),
    ]
}

/// The line of a summary; `None` where nothing happened that would be worth one.
pub(crate) fn line(receipt: &Receipt) -> Option<String> {
    let Preserved {
        entries, created, ..
    } = receipt.preserved;
    let warnings = warnings(receipt);
    if entries == 0 && created == 0 && warnings.is_empty() {
        return None;
    }
    let mut parts = vec![preserved(&receipt.preserved)];
    if receipt.outside.by_command == 0 {
        parts.push(match (receipt.outside.watch, receipt.outside.count) {
            (Watch::NotWatched, _) => "outside not watched".into(),
            (_, 0) => "nothing seen to change outside".into(),
            (_, others) => {
                let entries = text::count(others, "entry", "entries");
                format!("{entries} outside changed meanwhile, by whom is not known")
            }
        });
    }
    parts.extend(warnings);
    Some(parts.join("; "))
}

/// The line of a summary with what should not go unseen only.
pub(crate) fn warning(receipt: &Receipt) -> Option<String> {
    let warnings = warnings(receipt);
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

fn warnings(receipt: &Receipt) -> Vec<String> {
    let mut parts = Vec::new();
    if receipt.outside.by_command > 0 {
        let entries = text::count(receipt.outside.by_command, "entry", "entries");
        parts.push(format!("{entries} outside seen to change, not preserved"));
    }
    let mut kinds: Vec<&str> = receipt
        .not_undoable
        .iter()
        .map(|one| one.what.as_str())
        .collect();
    kinds.dedup();
    if !kinds.is_empty() {
        parts.push(format!("not undoable: {}", text::line(&kinds.join(", "))));
    }
    if receipt.late.count > 0 {
        let changes = text::count(receipt.late.count, "change", "changes");
        parts.push(format!("{changes} by processes of earlier commands"));
    }
    parts
}

fn preserved(preserved: &Preserved) -> String {
    let Preserved {
        entries,
        bytes,
        created,
        lost,
    } = *preserved;
    if entries == 0 && lost == 0 {
        return match created {
            0 => "nothing to preserve".into(),
            _ => format!(
                "{} to remove",
                text::count(created, "new entry", "new entries")
            ),
        };
    }
    let entries = text::count(entries, "entry", "entries");
    let size = text::size(bytes);
    match lost {
        0 => format!("preserved {entries} ({size})"),
        _ => format!("preserved {entries} ({size}), content of {lost} could not be kept"),
    }
}

fn outside(receipt: &Receipt) -> Vec<String> {
    let outside = &receipt.outside;
    let mut lines: Vec<String> = outside
        .changed
        .iter()
        .take(SHOWN)
        .map(|one| match one.by {
            By::Command => text::path(&one.path),
            By::Anyone => format!(
                "{} (while the command ran, by any process)",
                text::path(&one.path)
            ),
        })
        .collect();
    let rest = outside.count - lines.len() as u64;
    if rest > 0 {
        lines.push(format!("and {rest} more"));
    }
    let how = match (outside.watch, lines.is_empty()) {
        (Watch::NotWatched, _) => "not watched",
        (_, true) => "nothing",
        (_, false) => "seen by",
    };
    lines.push(match outside.reason.as_str() {
        "" => how.to_owned(),
        reason => format!("{how}: {}", text::line(reason)),
    });
    lines
}

fn effects(receipt: &Receipt) -> Vec<String> {
    let effects = receipt.not_undoable.iter();
    effects
        .map(|one| {
            let (what, reason) = (text::line(&one.what), text::line(&one.reason));
            match one.known_by {
                KnownBy::Call => format!("{what}: {reason}"),
                KnownBy::Rule => format!("{what}: {reason} (expected)"),
            }
        })
        .collect()
}

fn late(receipt: &Receipt, own: &str) -> Vec<String> {
    let late = &receipt.late;
    let mut lines: Vec<String> = late
        .changed
        .iter()
        .take(SHOWN)
        .map(|one| late_change(one, own))
        .collect();
    let rest = late.count - lines.len() as u64;
    if rest > 0 {
        lines.push(format!("and {rest} more"));
    }
    lines
}

fn late_change(change: &LateChange, own: &str) -> String {
    let path = text::path(&change.path);
    let whose = match change.command.as_deref() {
        Some(command) if command == own => "a process of this command after its end".to_owned(),
        Some(command) => format!("a process of {}", text::line(command)),
        None => "a process of an earlier command".to_owned(),
    };
    let where_to = match change.recorded_with.as_deref() {
        Some(snapshot) if snapshot == own => "recorded here".to_owned(),
        Some(snapshot) => format!("recorded with {}", text::line(snapshot)),
        None => "not preserved".to_owned(),
    };
    format!("{path}: by {whose}, {where_to}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;
    use crate::seal::{Effect, Late, Limit, LimitKind, Outside, Seen};

    fn receipt() -> Receipt {
        Receipt {
            preserved: Preserved {
                entries: 12,
                bytes: 3_250_586,
                created: 2,
                lost: 0,
            },
            outside: Outside::of(Watch::Calls, "every call was seen", Vec::new()),
            ..Receipt::default()
        }
    }

    #[test]
    fn a_clean_receipt_is_one_short_line() {
        assert_eq!(
            line(&receipt()).unwrap(),
            "preserved 12 entries (3.1 MiB); nothing seen to change outside"
        );
        assert_eq!(warning(&receipt()), None);
        assert_eq!(line(&Receipt::default()), None, "nothing happened");
    }

    #[test]
    fn what_nobody_looked_at_is_not_vouched_for() {
        let mut receipt = receipt();
        receipt.outside = Outside::default();
        let line = line(&receipt).unwrap();
        assert!(line.ends_with("; outside not watched"), "{line}");
    }

    #[test]
    fn what_others_may_have_changed_is_no_warning() {
        let mut receipt = receipt();
        let seen = Seen {
            path: AbsPath::new("/var/log/x").unwrap(),
            by: By::Anyone,
        };
        receipt.outside = Outside::of(Watch::Events, "events on /", vec![seen]);
        assert_eq!(warning(&receipt), None);
        let line = line(&receipt).unwrap();
        let end = "; 1 entry outside changed meanwhile, by whom is not known";
        assert!(line.ends_with(end), "{line}");
        let sections = sections(&receipt, "a");
        let expected = [
            "/var/log/x (while the command ran, by any process)",
            "seen by: events on /",
        ];
        assert_eq!(sections[1].1, expected);
    }

    #[test]
    fn warnings_are_in_the_line_and_alone_in_a_batch() {
        let mut receipt = receipt();
        let path = AbsPath::new("/run/x").unwrap();
        let seen = |by| Seen {
            path: path.clone(),
            by,
        };
        receipt.outside = Outside::of(Watch::Calls, "", vec![seen(By::Command)]);
        receipt.not_undoable = vec![Effect {
            what: "network".into(),
            reason: "connected to 10.0.0.1:443".into(),
            known_by: KnownBy::Call,
        }];
        receipt.late = Late::of(vec![LateChange {
            path,
            command: Some("a".into()),
            recorded_with: Some("b".into()),
        }]);
        let expected = "1 entry outside seen to change, not preserved; not undoable: network; \
                        1 change by processes of earlier commands";
        assert_eq!(warning(&receipt).unwrap(), expected);
        let whole = format!("preserved 12 entries (3.1 MiB); {expected}");
        assert_eq!(line(&receipt).unwrap(), whole);
        receipt.limits = vec![Limit::new(LimitKind::SetUid, "sudo gains no rights")];
        let sections = sections(&receipt, "b");
        let lines = |at: usize| sections[at].1.as_slice();
        assert_eq!(lines(1), ["/run/x", "seen by"]);
        assert_eq!(lines(2), ["network: connected to 10.0.0.1:443"]);
        assert_eq!(lines(3), ["sudo gains no rights"]);
        assert_eq!(lines(4), ["/run/x: by a process of a, recorded here"]);
    }
}
