//! `deployx rollback`: takes commands back.

use std::io::BufRead as _;

use crate::cli::app::App;
use crate::cli::args::RollbackArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::hints;
use crate::cli::progress::Bars;
use crate::cli::render::rollback as render;
use crate::cli::screen;
use crate::cli::signals;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result, Stage};
use crate::execute::Cancel;
use crate::progress::Silent;
use crate::request::{OnConflict, RollbackRequest};
use crate::rollback::RollbackReport;

/// Rollbacks of more entries are asked about before.
const ASK_ABOVE: usize = 100;

/// Undoes what the arguments name, or shows what that would do.
pub(super) fn rollback(app: &App, args: RollbackArgs) -> Result<Exit, Failure> {
    let config = &app.settings.config.rollback;
    let request = RollbackRequest {
        dry_run: args.dry_run,
        on_conflict: args
            .on_conflict
            .or(config.on_conflict)
            .unwrap_or_default()
            .into(),
        paths: app.paths(&args.path)?,
        through: args.through.or(config.through).unwrap_or_default(),
        ..RollbackRequest::new(args.target)
    };
    let engine = app.open_for_change()?;
    let agreed = args.yes.or(config.yes).unwrap_or_default();
    let ask = !agreed && !request.dry_run && !app.screen.json && app.environment.interactive;
    if ask && !confirmed(&engine, &request)? {
        screen::say("deployx: nothing was changed\n");
        return Ok(Exit::Failed);
    }
    let cancel = Cancel::default();
    let signals = signals::watch(&cancel, signals::FINISHING, app.screen.err_terminal)?;
    let bars = Bars::new(app.screen);
    let outcome = engine.rollback(&request, &cancel, &bars);
    bars.clear();
    let report = outcome.map_err(|error| {
        let mut failure = Failure::from(error);
        if failure.error.kind() == ErrorKind::Cancelled {
            failure.exit = signals.number().map(Exit::signal);
        }
        failure
    })?;
    show(app, &report)?;
    let exit = exit(&report, request.on_conflict);
    if exit == Exit::Conflicts && !app.screen.json {
        let situation = app.situation("rollback", false);
        if let Some(hint) = hints::hint(ErrorKind::Conflict, Stage::Rollback, situation) {
            screen::say(&format!("{} {hint}\n", app.screen.err.accent("hint:")));
        }
    }
    Ok(exit)
}

/// A dry run is data; what a rollback did is a summary, and trouble is shown in any case.
fn show(app: &App, report: &RollbackReport) -> Result<()> {
    let quiet = app.screen.quiet && report.success && !report.dry_run;
    if app.screen.json {
        app.screen.print_json(report)
    } else if quiet {
        Ok(())
    } else {
        screen::print(&render::report(report, &app.program, app.screen.out))
    }
}

/// Whether the rollback is small, or was agreed to. Conflicts that stop it are not asked about.
fn confirmed(engine: &Engine, request: &RollbackRequest) -> Result<bool> {
    let dry = RollbackRequest {
        dry_run: true,
        ..request.clone()
    };
    let plan = engine.rollback(&dry, &Cancel::default(), &Silent)?;
    if !is_large(&plan) || stops(&plan, request.on_conflict) {
        return Ok(true);
    }
    screen::say(&format!(
        "deployx: {}. Go on? [y/N] ",
        render::question(&plan)
    ));
    let mut answer = String::new();
    // An answer that cannot be read is none.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    Ok(is_yes(&answer))
}

fn is_large(plan: &RollbackReport) -> bool {
    plan.snapshot_ids.len() > 1 || plan.plan.as_ref().map_or(0, Vec::len) > ASK_ABOVE
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

/// Whether conflicts keep the rollback from changing anything.
fn stops(report: &RollbackReport, on_conflict: OnConflict) -> bool {
    on_conflict == OnConflict::Abort && !report.conflicts.is_empty()
}

/// The exit code after a rollback or a dry run of one.
fn exit(report: &RollbackReport, on_conflict: OnConflict) -> Exit {
    let skipped = on_conflict == OnConflict::Skip && !report.conflicts.is_empty();
    if stops(report, on_conflict) {
        Exit::Conflicts
    } else if skipped || !report.failures.is_empty() || !report.not_undone.is_empty() {
        Exit::Partial
    } else if report.success || report.dry_run {
        Exit::Done
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::AbsPath;
    use crate::rollback::{Conflict, Failure as EntryFailure, NotUndone, PlannedAction};

    fn path() -> AbsPath {
        AbsPath::new("/f").unwrap()
    }

    fn report(conflicts: usize, failures: usize, success: bool) -> RollbackReport {
        let conflict = Conflict {
            path: path(),
            reason: "changed".into(),
        };
        let failure = EntryFailure {
            path: path(),
            error: "busy".into(),
        };
        RollbackReport {
            success,
            conflicts: vec![conflict; conflicts],
            failures: vec![failure; failures],
            ..RollbackReport::default()
        }
    }

    #[test]
    fn exit_codes_tell_conflicts_from_partial_work() {
        let code = |report: &RollbackReport, mode| exit(report, mode).code();
        assert_eq!(code(&report(0, 0, true), OnConflict::Abort), 0);
        assert_eq!(code(&report(1, 0, false), OnConflict::Abort), 4);
        assert_eq!(code(&report(1, 0, false), OnConflict::Skip), 5);
        assert_eq!(code(&report(1, 0, true), OnConflict::Overwrite), 0);
        assert_eq!(code(&report(0, 1, false), OnConflict::Abort), 5);
        assert_eq!(code(&report(0, 0, false), OnConflict::Abort), 1);
        let mut left_out = report(0, 0, false);
        left_out.not_undone = vec![NotUndone {
            snapshot_id: "a".into(),
            reason: "its command still runs".into(),
        }];
        assert_eq!(code(&left_out, OnConflict::Overwrite), 5);
    }

    #[test]
    fn a_dry_run_tells_beforehand_that_conflicts_would_stop_it() {
        let mut dry = report(1, 0, false);
        dry.dry_run = true;
        assert_eq!(exit(&dry, OnConflict::Abort), Exit::Conflicts);
        dry.conflicts.clear();
        assert_eq!(exit(&dry, OnConflict::Abort), Exit::Done);
    }

    #[test]
    fn only_large_rollbacks_are_asked_about() {
        let mut plan = report(0, 0, true);
        plan.snapshot_ids = vec!["a".into()];
        assert!(!is_large(&plan));
        let action = PlannedAction {
            action: "restore".into(),
            path: path(),
        };
        plan.plan = Some(vec![action; ASK_ABOVE]);
        assert!(!is_large(&plan));
        plan.snapshot_ids.push("b".into());
        assert!(is_large(&plan));
    }

    #[test]
    fn only_a_clear_yes_counts() {
        for yes in ["y\n", "Y", " yes \n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "yep", "yes please"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
