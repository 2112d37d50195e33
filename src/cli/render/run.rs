//! Summaries of commands that ran.

use super::{Palette, infer, receipt, rollback, text};
use crate::engine::{BatchReport, RunReport};
use crate::rollback::RollbackReport;
use crate::seal::Receipt;
use crate::store::CoverageRecord;

/// At most so many parts of a list are shown in a summary.
const SHOWN: usize = 5;

/// How the summary's commands are written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming<'a> {
    /// How to call the program again for the same store.
    pub(crate) program: &'a str,
    /// The text to name the snapshot or batch by.
    pub(crate) target: &'a str,
}

/// The lines after `run`: what changed, what the receipt says of it, and how to undo it.
pub(crate) fn summary(report: &RunReport, naming: Naming<'_>, palette: Palette) -> String {
    format!(
        "deployx: {}\n{}{}\n",
        facts(report, palette),
        vouched(report, receipt::line, palette),
        palette.dim(&next_step(report, naming))
    )
}

/// A line made of the receipt, or nothing.
fn vouched(
    report: &RunReport,
    line: impl Fn(&Receipt) -> Option<String>,
    palette: Palette,
) -> String {
    let line = report.receipt.as_ref().and_then(line);
    line.map_or_else(String::new, |line| format!("{}\n", palette.dim(&line)))
}

/// The line after each command of a batch, with a second one where the receipt has a warning;
/// `position` counts from 1.
pub(crate) fn batch_line(
    report: &RunReport,
    position: usize,
    total: usize,
    palette: Palette,
) -> String {
    format!(
        "deployx: [{position}/{total}] {}\n{}",
        facts(report, palette),
        vouched(report, receipt::warning, palette)
    )
}

/// The two lines after `batch`.
pub(crate) fn batch_summary(report: &BatchReport, program: &str, palette: Palette) -> String {
    let commands = text::count(report.total_commands as u64, "command", "commands");
    let mut parts = vec![format!("{} succeeded", report.successful_commands)];
    if report.failed_commands > 0 {
        parts.push(palette.bad(&format!("{} failed", report.failed_commands)));
    }
    if !report.skipped.is_empty() {
        parts.push(palette.warn(&format!("{} skipped", report.skipped.len())));
    }
    let undone = report.rollback.as_ref().filter(|undo| undo.success);
    let next = match undone {
        Some(undo) => redo_step(undo.redo_snapshot_id.as_deref(), program),
        None if report.results.iter().any(|one| one.snapshot_id.is_some()) => {
            format!("undo with: {program} rollback {}", report.batch_id)
        }
        None => "cannot be undone: no snapshot was taken".into(),
    };
    format!(
        "deployx: batch {}: {commands}, {}\n{}\n",
        palette.accent(&text::line(&report.batch_id)),
        parts.join(", "),
        palette.dim(&next)
    )
}

/// Changes, how it ended, how long it took, the strategy and the id.
fn facts(report: &RunReport, palette: Palette) -> String {
    let mut parts = Vec::new();
    parts.push(if report.snapshot_id.is_none() {
        "no snapshot".into()
    } else if report.snapshot_error.is_some() {
        palette.bad("changes not recorded")
    } else {
        text::changes(&report.changes)
    });
    if report.timed_out {
        parts.push(palette.bad("timed out"));
    } else if report.cancelled {
        parts.push(palette.bad("cancelled"));
    } else if report.exit_code != 0 {
        parts.push(palette.bad(&format!("exit {}", report.exit_code)));
    }
    parts.push(text::run_time(report.duration_ms));
    if let Some(id) = &report.snapshot_id {
        parts.push(text::line(&report.strategy));
        parts.push(palette.accent(&text::line(id)));
    }
    parts.join("  ·  ")
}

/// The second line: what can be done about it.
fn next_step(report: &RunReport, naming: Naming<'_>) -> String {
    let Naming { program, target } = naming;
    let undone = report.rollback.as_ref().filter(|undo| undo.success);
    match undone {
        Some(undo) => redo_step(undo.redo_snapshot_id.as_deref(), program),
        None if report.snapshot_id.is_none() => "cannot be undone: no snapshot was taken".into(),
        None if report.snapshot_error.is_some() => {
            format!(
                "record them with: {program} recover, then undo with: {program} rollback {target}"
            )
        }
        None if report.changes.is_empty() => {
            format!("nothing to undo; details with: {program} show {target}")
        }
        None => format!("undo with: {program} rollback {target}"),
    }
}

fn redo_step(redo: Option<&str>, program: &str) -> String {
    match redo {
        Some(id) => format!("already undone; bring it back with: {program} rollback {id}"),
        None => "already undone".into(),
    }
}

/// What is said before a command runs of which there is no snapshot.
pub(crate) fn no_snapshot(why: &str) -> String {
    format!(
        "no snapshot, the command cannot be undone: {}",
        text::line(why)
    )
}

/// What went wrong around the command; shown even where summaries are not wanted.
pub(crate) fn errors(report: &RunReport, palette: Palette) -> Vec<String> {
    let mut lines = Vec::new();
    // Of one that has no snapshot that was said before it ran.
    if let Some(error) = &report.snapshot_error
        && report.snapshot_id.is_some()
    {
        let error = text::line(error);
        lines.push(format!("the snapshot is not complete: {error}"));
    }
    if let Some(undo) = &report.rollback {
        lines.extend(undo_errors(undo, palette));
    }
    lines
}

/// What a person should know besides the summary, one text a line.
pub(crate) fn remarks(report: &RunReport) -> Vec<String> {
    let mut lines = coverage(&report.coverage, report.receipt.is_some());
    lines.extend(report.rollback.as_ref().and_then(undo_remark));
    lines
}

/// What `--rollback-on-failure` could not do, for a run or a whole batch.
pub(crate) fn undo_errors(undo: &RollbackReport, palette: Palette) -> Vec<String> {
    if undo.success {
        return Vec::new();
    }
    let mut lines = vec![palette.bad("it failed and could not be undone completely")];
    lines.extend(rollback::troubles(undo));
    lines
}

/// What `--rollback-on-failure` did.
pub(crate) fn undo_remark(undo: &RollbackReport) -> Option<String> {
    undo.success
        .then(|| format!("it failed and was undone: {}", rollback::counts(undo)))
}

/// What is not covered, and what cannot be undone where no receipt says that.
fn coverage(coverage: &CoverageRecord, has_receipt: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !coverage.unobserved.is_empty() {
        let paths = coverage
            .unobserved
            .iter()
            .map(|one| format!("{} ({})", text::path(&one.path), text::line(&one.reason)));
        lines.push(format!(
            "{} not covered, a rollback leaves {} alone: {}",
            text::count(coverage.unobserved.len() as u64, "path is", "paths are"),
            if coverage.unobserved.len() == 1 {
                "it"
            } else {
                "them"
            },
            first(paths)
        ));
    } else if !coverage.complete {
        lines.push("the snapshot does not cover everything".into());
    }
    if !coverage.not_understood.is_empty() {
        let parts = coverage.not_understood.iter().map(infer::not_understood);
        lines.push(format!("what it touches was guessed: {}", first(parts)));
    }
    if !coverage.irreversible.is_empty() && !has_receipt {
        let effects = coverage
            .irreversible
            .iter()
            .map(|one| format!("{} ({})", text::line(&one.what), text::line(&one.reason)));
        lines.push(format!("cannot be undone: {}", first(effects)));
    }
    lines.extend(coverage.notes.iter().map(|note| text::line(note)));
    lines
}

/// The first few, with the number of the others.
fn first(parts: impl ExactSizeIterator<Item = String>) -> String {
    let rest = parts.len().saturating_sub(SHOWN);
    let shown = parts.take(SHOWN).collect::<Vec<_>>().join(", ");
    if rest > 0 {
        format!("{shown} and {rest} more")
    } else {
        shown
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::infer::Irreversible;
    use crate::path::{AbsPath, WirePath};
    use crate::rollback::Failure;
    use crate::seal::ChangeCounts;
    use crate::snapshot::Unobserved;

    const PLAIN: Palette = Palette { on: false };
    const NAMING: Naming<'_> = Naming {
        program: "deployx",
        target: "a1b2c3d4",
    };

    pub(crate) fn report() -> RunReport {
        RunReport {
            snapshot_id: Some("a1b2c3d4e5f60718".into()),
            batch_id: None,
            command: WirePath::Text("make".into()),
            shell: "bash".into(),
            working_directory: AbsPath::new("/w").unwrap(),
            exit_code: 0,
            success: true,
            timed_out: false,
            cancelled: false,
            duration_ms: 12,
            strategy: "copy".into(),
            strategies: Vec::new(),
            monitored_paths: Vec::new(),
            changes: ChangeCounts {
                created: 3,
                modified: 1,
                deleted: 2,
                metadata: 0,
            },
            coverage: CoverageRecord {
                complete: true,
                ..CoverageRecord::default()
            },
            receipt: None,
            stored_bytes: 0,
            snapshot_error: None,
            rollback: None,
        }
    }

    #[test]
    fn a_summary_says_what_changed_and_how_to_undo_it() {
        assert_eq!(
            summary(&report(), NAMING, PLAIN),
            "deployx: 3 created, 1 modified, 2 deleted  ·  12 ms  ·  copy  ·  a1b2c3d4e5f60718\n\
             undo with: deployx rollback a1b2c3d4\n"
        );
        assert_eq!(errors(&report(), PLAIN), Vec::<String>::new());
        assert_eq!(remarks(&report()), Vec::<String>::new());
    }

    #[test]
    fn nothing_changed_is_said() {
        let mut report = report();
        report.changes = ChangeCounts::default();
        assert_eq!(
            summary(&report, NAMING, PLAIN),
            "deployx: nothing changed  ·  12 ms  ·  copy  ·  a1b2c3d4e5f60718\n\
             nothing to undo; details with: deployx show a1b2c3d4\n"
        );
    }

    #[test]
    fn a_failed_command_shows_how_it_ended() {
        let mut report = report();
        report.exit_code = 3;
        assert!(summary(&report, NAMING, PLAIN).contains("  ·  exit 3  ·  "));
        report.timed_out = true;
        assert!(summary(&report, NAMING, PLAIN).contains("  ·  timed out  ·  "));
    }

    #[test]
    fn without_a_snapshot_no_undo_is_offered() {
        let mut report = report();
        report.snapshot_id = None;
        report.snapshot_error = Some("disk\nfull".into());
        assert_eq!(
            summary(&report, NAMING, PLAIN),
            "deployx: no snapshot  ·  12 ms\ncannot be undone: no snapshot was taken\n"
        );
        assert_eq!(
            no_snapshot("disk\nfull"),
            "no snapshot, the command cannot be undone: disk\\nfull"
        );
        assert_eq!(
            errors(&report, PLAIN),
            Vec::<String>::new(),
            "that was said before"
        );
    }

    #[test]
    fn changes_that_could_not_be_recorded_are_not_called_none() {
        let mut report = report();
        report.changes = ChangeCounts::default();
        report.snapshot_error = Some("disk full".into());
        let summary = summary(&report, NAMING, PLAIN);
        assert!(
            summary.starts_with("deployx: changes not recorded  ·  "),
            "{summary}"
        );
        let next = "record them with: deployx recover, then undo with: deployx rollback a1b2c3d4\n";
        assert!(summary.ends_with(next), "{summary}");
    }

    #[test]
    fn gaps_in_the_coverage_are_listed_but_not_endlessly() {
        let mut report = report();
        report.coverage.complete = false;
        report.coverage.unobserved = (0..7)
            .map(|n| Unobserved {
                path: AbsPath::new(format!("/p{n}")).unwrap(),
                reason: "too large".into(),
            })
            .collect();
        report.coverage.irreversible = vec![Irreversible {
            what: "network".into(),
            reason: "curl".into(),
        }];
        report.coverage.notes = vec!["a process goes on".into()];
        let lines = remarks(&report);
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("7 paths are not covered"), "{lines:?}");
        assert!(
            lines[0].ends_with("/p4 (too large) and 2 more"),
            "{lines:?}"
        );
        assert_eq!(lines[1], "cannot be undone: network (curl)");
        assert_eq!(lines[2], "a process goes on");
    }

    #[test]
    fn what_was_undone_on_failure_is_not_offered_again() {
        let mut report = report();
        report.exit_code = 1;
        report.rollback = Some(RollbackReport {
            success: true,
            restored: 3,
            removed: 1,
            redo_snapshot_id: Some("00112233aabbccdd".into()),
            ..RollbackReport::default()
        });
        assert!(
            summary(&report, NAMING, PLAIN).ends_with(
                "already undone; bring it back with: deployx rollback 00112233aabbccdd\n"
            )
        );
        assert_eq!(
            remarks(&report),
            ["it failed and was undone: 3 restored, 1 removed"]
        );
    }

    #[test]
    fn an_undo_that_failed_is_still_offered() {
        let mut report = report();
        report.rollback = Some(RollbackReport {
            failures: vec![Failure {
                path: AbsPath::new("/f").unwrap(),
                error: "no space".into(),
            }],
            ..RollbackReport::default()
        });
        assert!(summary(&report, NAMING, PLAIN).contains("undo with: deployx rollback"));
        assert_eq!(remarks(&report), Vec::<String>::new());
        let lines = errors(&report, PLAIN);
        assert!(lines[0].contains("could not be undone"), "{lines:?}");
        assert!(lines[1].contains("/f: no space"), "{lines:?}");
    }

    #[test]
    fn a_batch_is_summed_up() {
        let mut report = BatchReport {
            batch_id: "release-7".into(),
            success: false,
            exit_code: 2,
            total_commands: 3,
            successful_commands: 1,
            failed_commands: 1,
            results: vec![report()],
            skipped: vec![WirePath::Text("make install".into())],
            rollback: None,
        };
        assert_eq!(
            batch_summary(&report, "deployx", PLAIN),
            "deployx: batch release-7: 3 commands, 1 succeeded, 1 failed, 1 skipped\n\
             undo with: deployx rollback release-7\n"
        );
        report.results[0].snapshot_id = None;
        assert!(batch_summary(&report, "deployx", PLAIN).contains("cannot be undone"));
        assert!(batch_line(&report.results[0], 2, 3, PLAIN).starts_with("deployx: [2/3] "));
    }
}
