//! What expiry, pinning and checking did.

use super::text::Lines as _;
use super::{Palette, text};
use crate::engine::VerifyReport;
use crate::store::{ExpiryReason, ExpiryReport};

/// What `cleanup` deleted or would delete.
pub(crate) fn expiry(report: &ExpiryReport, dry_run: bool, palette: Palette) -> String {
    let mut out = String::new();
    let verb = if dry_run { "would delete" } else { "deleted" };
    for one in &report.expired {
        let reason = match one.reason {
            ExpiryReason::Age => "too old",
            ExpiryReason::Count => "too many snapshots",
            ExpiryReason::Size => "too many bytes",
            ExpiryReason::Named => "named",
        };
        let id = palette.accent(one.snapshot_id.as_str());
        out.line(format_args!(
            "{verb} {id} ({reason}, {})",
            text::size(one.bytes)
        ));
    }
    for (id, why) in &report.kept {
        out.line(format_args!(
            "{} {id}: {}",
            palette.warn("kept"),
            text::line(why)
        ));
    }
    for (id, why) in &report.failures {
        out.line(format_args!(
            "{} {id}: {}",
            palette.bad("failed"),
            text::line(why)
        ));
    }
    let snapshots = text::count(report.expired.len() as u64, "snapshot", "snapshots");
    let bytes = text::size(report.freed_bytes);
    if dry_run {
        out.line(format_args!(
            "{snapshots} would be deleted, {bytes} freed; this was a dry run"
        ));
    } else {
        out.line(format_args!("{snapshots} deleted, {bytes} freed"));
        let compacted = &report.compacted;
        if compacted.snapshots > 0 {
            out.line(format_args!(
                "{} compressed, {} saved",
                text::count(compacted.snapshots, "snapshot", "snapshots"),
                text::size(compacted.saved_bytes)
            ));
        }
    }
    out
}

/// What `verify` found.
pub(crate) fn verification(report: &VerifyReport, palette: Palette) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        out.line(format_args!(
            "{} {} {}: {}",
            palette.bad("damaged"),
            palette.accent(&text::line(&problem.snapshot_id)),
            text::line(&problem.file),
            text::line(&problem.problem)
        ));
    }
    let checked = text::count(report.checked, "snapshot", "snapshots");
    let problems = report.problems.len() as u64;
    let found = if problems == 0 {
        palette.good("no damage found")
    } else {
        palette.bad(&format!(
            "{} found",
            text::count(problems, "problem", "problems")
        ))
    };
    out.line(format_args!("{checked} checked, {found}"));
    out
}

/// What `pin` and `unpin` did, given the ids.
pub(crate) fn pinned(ids: &[&str], pinned: bool) -> String {
    let what = if pinned {
        "pinned; it never expires"
    } else {
        "no longer pinned"
    };
    let mut out = String::new();
    for id in ids {
        out.line(format_args!("{} {what}", text::line(id)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VerifyProblem;

    const PLAIN: Palette = Palette { on: false };

    #[test]
    fn an_expiry_is_summed_up() {
        let mut report = ExpiryReport::default();
        assert_eq!(
            expiry(&report, false, PLAIN),
            "0 snapshots deleted, 0 B freed\n"
        );
        report.freed_bytes = 2048;
        assert_eq!(
            expiry(&report, true, PLAIN),
            "0 snapshots would be deleted, 2.0 KiB freed; this was a dry run\n"
        );
    }

    #[test]
    fn damage_is_named() {
        let mut report = VerifyReport {
            checked: 1,
            problems: Vec::new(),
        };
        assert_eq!(
            verification(&report, PLAIN),
            "1 snapshot checked, no damage found\n"
        );
        report.problems.push(VerifyProblem {
            snapshot_id: "a1".into(),
            file: "a1/files/0".into(),
            problem: "the hash differs".into(),
        });
        assert_eq!(
            verification(&report, PLAIN),
            "damaged a1 a1/files/0: the hash differs\n1 snapshot checked, 1 problem found\n"
        );
    }

    #[test]
    fn pins_are_confirmed_one_by_one() {
        assert_eq!(
            pinned(&["a", "b"], true),
            "a pinned; it never expires\nb pinned; it never expires\n"
        );
        assert_eq!(pinned(&["a"], false), "a no longer pinned\n");
    }
}
