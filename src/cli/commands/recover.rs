//! `deployx recover`: finishes or undoes interrupted work.

use crate::cli::app::App;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Bars;
use crate::cli::render::rollback as render;
use crate::engine::RecoverReport;

/// Recovers. The store is opened as if for looking, because opening it for work would already
/// recover and leave nothing to report.
pub(super) fn recover(app: &App) -> Result<Exit, Failure> {
    let report = match app.open_if_begun()? {
        Some(engine) => {
            let bars = Bars::new(app.screen);
            let outcome = engine.recover(&bars);
            bars.clear();
            outcome?
        }
        None => RecoverReport::default(),
    };
    app.screen.result(&report, || {
        render::recovered(&report, &app.program, app.screen.out)
    })?;
    Ok(exit(&report))
}

/// A rollback that could not be finished completely, and a snapshot that still waits, are not well.
fn exit(report: &RecoverReport) -> Exit {
    if report.rollbacks.iter().all(|one| one.success) && report.postponed.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollback::RollbackReport;

    #[test]
    fn an_unfinished_rollback_is_partial() {
        let mut report = RecoverReport {
            failed: vec![("a".into(), "the command never started".into())],
            ..RecoverReport::default()
        };
        assert_eq!(exit(&report), Exit::Done);
        report.rollbacks.push(RollbackReport::default());
        assert_eq!(exit(&report), Exit::Partial);
    }

    #[test]
    fn a_snapshot_that_still_waits_is_partial() {
        let report = RecoverReport {
            postponed: vec![("a".into(), "no space left".into())],
            ..RecoverReport::default()
        };
        assert_eq!(exit(&report), Exit::Partial);
    }
}
