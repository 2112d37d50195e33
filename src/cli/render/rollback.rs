//! What a rollback did or would do, and what `restore` and `recover` did.

use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::{RecoverReport, RestoreReport};
use crate::path::AbsPath;
use crate::rollback::RollbackReport;

/// The whole report.
pub(crate) fn report(report: &RollbackReport, program: &str, palette: Palette) -> String {
    let mut out = String::new();
    for action in report.plan.iter().flatten() {
        let verb = format!("{:<9}", text::line(&action.action));
        let verb = match action.action.as_str() {
            "remove" => palette.bad(&verb),
            _ => palette.good(&verb),
        };
        out.line(format_args!("{verb} {}", text::path(&action.path)));
    }
    for line in troubles(report) {
        out.line(format_args!("{}", palette.warn(&line)));
    }
    for note in &report.notes {
        out.line(format_args!("note: {}", text::line(note)));
    }
    out.line(format_args!("{}", outcome(report, palette)));
    if let Some(redo) = report.redo_snapshot_id.as_ref().filter(|_| !report.dry_run) {
        let line = format!("take this rollback back with: {program} rollback {redo}");
        out.line(format_args!("{}", palette.dim(&line)));
    }
    out
}

/// The sentence that sums it up.
fn outcome(report: &RollbackReport, palette: Palette) -> String {
    let what = match report.snapshot_ids.as_slice() {
        [] if !report.not_undone.is_empty() => {
            text::count(report.not_undone.len() as u64, "snapshot", "snapshots")
        }
        [one] => text::line(one),
        several => text::count(several.len() as u64, "snapshot", "snapshots"),
    };
    if report.dry_run {
        let steps = report.plan.as_ref().map_or(0, Vec::len) as u64;
        return format!(
            "dry run, nothing was changed: a rollback of {what} would take {}",
            text::count(steps, "step", "steps")
        );
    }
    let left_out = report.not_undone.len();
    let rest_is_whole = report.conflicts.is_empty() && report.failures.is_empty();
    // A snapshot of which everything was as before already is taken back as well.
    let changed = report.restored + report.removed > 0
        || left_out > 0 && rest_is_whole && !report.snapshot_ids.is_empty();
    if report.success {
        palette.good(&format!("rolled back {what}: {}", counts(report)))
    } else if changed {
        palette.bad(&format!(
            "rolled back {what} in part: {}, {} not",
            counts(report),
            report.failures.len() + report.conflicts.len() + left_out
        ))
    } else {
        let was = if report.snapshot_ids.len().max(left_out) == 1 {
            "was"
        } else {
            "were"
        };
        palette.bad(&format!(
            "{what} {was} not rolled back; nothing was changed"
        ))
    }
}

/// `3 restored, 1 removed, 2 already as they were`.
pub(crate) fn counts(report: &RollbackReport) -> String {
    let parts: Vec<String> = [
        (report.restored, "restored"),
        (report.removed, "removed"),
        (report.unchanged, "already as before"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    if parts.is_empty() {
        "nothing to do".into()
    } else {
        parts.join(", ")
    }
}

/// Every conflict and failure, and every snapshot that was left out, one line each.
pub(crate) fn troubles(report: &RollbackReport) -> Vec<String> {
    let conflicts = report
        .conflicts
        .iter()
        .map(|one| ("conflict", &one.path, &one.reason));
    let failures = report
        .failures
        .iter()
        .map(|one| ("failed", &one.path, &one.error));
    let left_out = report.not_undone.iter().map(|one| {
        let (id, why) = (text::line(&one.snapshot_id), text::line(&one.reason));
        format!("{:<9} {id}: {why}", "left out")
    });
    conflicts
        .chain(failures)
        .map(|(word, path, why)| trouble(word, path, why))
        .chain(left_out)
        .collect()
}

fn trouble(word: &str, path: &AbsPath, why: &str) -> String {
    format!("{word:<9} {}: {}", text::path(path), text::line(why))
}

/// The question before a large rollback, without the answer's place.
pub(crate) fn question(plan: &RollbackReport) -> String {
    let entries = plan.plan.as_ref().map_or(0, Vec::len) as u64;
    format!(
        "this undoes {} and changes {}",
        text::count(plan.snapshot_ids.len() as u64, "snapshot", "snapshots"),
        text::count(entries, "entry", "entries")
    )
}

/// What `restore` copied out.
pub(crate) fn restored(report: &RestoreReport, palette: Palette) -> String {
    let mut out = String::new();
    for path in &report.written {
        out.line(format_args!("{}", text::path(path)));
    }
    for failure in &report.failures {
        let line = trouble("failed", &failure.path, &failure.error);
        out.line(format_args!("{}", palette.bad(&line)));
    }
    let copied = text::count(report.restored, "entry", "entries");
    match report.failures.len() {
        0 => out.line(format_args!("{copied} copied out")),
        failed => out.line(format_args!("{copied} copied out, {failed} not")),
    }
    out
}

/// What `recover` finished.
pub(crate) fn recovered(report: &RecoverReport, program: &str, palette: Palette) -> String {
    let mut out = String::new();
    for id in &report.sealed {
        let id = text::line(id);
        let missing = report.incomplete.iter().find(|(of, _)| *of == id);
        let how = missing.map_or_else(
            || "complete".to_owned(),
            |(_, what)| palette.warn(&format!("sealed, with {}", text::line(what))),
        );
        out.line(format_args!(
            "{} the interrupted command's snapshot is {how}; undo with: {program} rollback {id}",
            palette.accent(&id)
        ));
    }
    for (id, reason) in &report.failed {
        out.line(format_args!(
            "{} given up: {}",
            palette.accent(&text::line(id)),
            palette.warn(&text::line(reason))
        ));
    }
    for (id, reason) in &report.postponed {
        out.line(format_args!(
            "{} cannot be completed now, try again later: {}",
            palette.accent(&text::line(id)),
            palette.warn(&text::line(reason))
        ));
    }
    for rollback in &report.rollbacks {
        out.push_str(&self::report(rollback, program, palette));
    }
    if out.is_empty() {
        out.push_str("nothing was interrupted\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollback::{Conflict, Failure, NotUndone, PlannedAction};

    const PLAIN: Palette = Palette { on: false };

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn done() -> RollbackReport {
        RollbackReport {
            snapshot_ids: vec!["a1b2c3d4e5f60718".into()],
            success: true,
            restored: 2,
            removed: 1,
            redo_snapshot_id: Some("00112233aabbccdd".into()),
            ..RollbackReport::default()
        }
    }

    #[test]
    fn a_rollback_can_be_taken_back() {
        assert_eq!(
            report(&done(), "deployx", PLAIN),
            "rolled back a1b2c3d4e5f60718: 2 restored, 1 removed\n\
             take this rollback back with: deployx rollback 00112233aabbccdd\n"
        );
    }

    #[test]
    fn a_dry_run_lists_the_plan() {
        let mut dry = done();
        dry.dry_run = true;
        dry.plan = Some(vec![
            PlannedAction {
                action: "restore".into(),
                path: path("/a\n"),
            },
            PlannedAction {
                action: "remove".into(),
                path: path("/b"),
            },
        ]);
        assert_eq!(
            report(&dry, "deployx", PLAIN),
            "restore   /a\\n\nremove    /b\n\
             dry run, nothing was changed: a rollback of a1b2c3d4e5f60718 would take 2 steps\n"
        );
        assert_eq!(
            question(&dry),
            "this undoes 1 snapshot and changes 2 entries"
        );
    }

    #[test]
    fn conflicts_are_listed_with_their_reasons() {
        let report = RollbackReport {
            snapshot_ids: vec!["a1b2c3d4e5f60718".into()],
            conflicts: vec![Conflict {
                path: path("/c"),
                reason: "changed later by 00112233aabbccdd".into(),
            }],
            ..RollbackReport::default()
        };
        assert_eq!(
            super::report(&report, "deployx", PLAIN),
            "conflict  /c: changed later by 00112233aabbccdd\n\
             a1b2c3d4e5f60718 was not rolled back; nothing was changed\n"
        );
    }

    #[test]
    fn a_partial_rollback_says_how_much_is_missing() {
        let mut partial = done();
        partial.success = false;
        partial.snapshot_ids.push("x".into());
        partial.failures = vec![Failure {
            path: path("/f"),
            error: "read-only".into(),
        }];
        let text = report(&partial, "deployx", PLAIN);
        assert!(text.starts_with("failed    /f: read-only\n"), "{text}");
        assert!(
            text.contains("rolled back 2 snapshots in part: 2 restored, 1 removed, 1 not\n"),
            "{text}"
        );
    }

    #[test]
    fn snapshots_that_were_left_out_are_listed() {
        let left_out = NotUndone {
            snapshot_id: "bb".into(),
            reason: "its command still runs".into(),
        };
        let mut partial = done();
        partial.success = false;
        partial.not_undone = vec![left_out];
        let text = report(&partial, "deployx", PLAIN);
        assert!(
            text.starts_with(
                "left out  bb: its command still runs\n\
                 rolled back a1b2c3d4e5f60718 in part: 2 restored, 1 removed, 1 not\n"
            ),
            "{text}"
        );
        let nothing = RollbackReport {
            not_undone: partial.not_undone,
            ..RollbackReport::default()
        };
        assert_eq!(
            report(&nothing, "deployx", PLAIN),
            "left out  bb: its command still runs\n\
             1 snapshot was not rolled back; nothing was changed\n"
        );
    }

    #[test]
    fn restored_copies_are_listed() {
        let report = RestoreReport {
            restored: 1,
            failures: vec![Failure {
                path: path("/f"),
                error: "gone".into(),
            }],
            written: vec![path("/to/a")],
        };
        assert_eq!(
            restored(&report, PLAIN),
            "/to/a\nfailed    /f: gone\n1 entry copied out, 1 not\n"
        );
    }

    #[test]
    fn recovery_names_what_is_not_covered_and_what_still_waits() {
        let report = RecoverReport {
            sealed: vec!["aa".into()],
            incomplete: vec![("aa".into(), "1 part of the scope not covered".into())],
            postponed: vec![("bb".into(), "no space left".into())],
            ..RecoverReport::default()
        };
        assert_eq!(
            recovered(&report, "deployx", PLAIN),
            "aa the interrupted command's snapshot is sealed, with 1 part of the scope not covered; \
             undo with: deployx rollback aa\n\
             bb cannot be completed now, try again later: no space left\n"
        );
    }

    #[test]
    fn recovery_says_so_when_there_was_nothing_to_do() {
        let mut report = RecoverReport::default();
        assert_eq!(
            recovered(&report, "deployx", PLAIN),
            "nothing was interrupted\n"
        );
        report.sealed = vec!["aa".into()];
        report.failed = vec![("bb".into(), "no token".into())];
        report.rollbacks = vec![done()];
        let text = recovered(&report, "deployx", PLAIN);
        assert!(text.contains("undo with: deployx rollback aa"), "{text}");
        assert!(text.contains("bb given up: no token"), "{text}");
        assert!(text.contains("rolled back a1b2c3d4e5f60718"), "{text}");
    }
}
