//! `deployx list`: snapshots, newest first.

use std::time::Duration;

use crate::cli::app::App;
use crate::cli::args::ListArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::{list as render, table, text};
use crate::engine::SnapshotSummary;
use crate::entry::Timestamp;
use crate::store::{Damaged, ListFilter};

/// Lists snapshots. A store that does not exist yet has none; damaged ones are named on standard
/// error.
pub(super) fn list(app: &App, args: ListArgs) -> Result<Exit, Failure> {
    let config = &app.settings.config.list;
    let now = Timestamp::now().as_seconds();
    let filter = ListFilter {
        batch_id: args.batch,
        since: args.since.or(config.since()).map(|span| start(now, span)),
        limit: args.limit.or(config.limit),
    };
    let (snapshots, damaged) = if app.settings.store.exists() {
        app.open_for_reading()?.list(&filter)?
    } else {
        (Vec::new(), Vec::new())
    };
    warn_of(app, &damaged);
    app.screen.result(&snapshots, || rows(app, &snapshots))?;
    if snapshots.is_empty() {
        app.screen.note(&format!(
            "deployx: no snapshots to show in {}\n",
            text::os_path(&app.settings.store)
        ));
    }
    Ok(Exit::Done)
}

/// Names damaged snapshots.
pub(super) fn warn_of(app: &App, damaged: &Damaged) {
    for (name, error) in damaged {
        app.screen.warn(&format!(
            "{} is damaged: {}",
            text::line(name),
            text::line(&error.to_string())
        ));
    }
}

fn rows(app: &App, snapshots: &[SnapshotSummary]) -> String {
    if snapshots.is_empty() {
        return String::new();
    }
    let width = app.screen.terminal.then(table::terminal_width).flatten();
    render::table(snapshots, width, app.screen.out)
}

/// The instant `span` before `now`, both in seconds since the epoch.
pub(super) fn start(now: f64, span: Duration) -> f64 {
    now - span.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_ends_now() {
        let begin = start(10_000.0, Duration::from_secs(7200));
        assert!((begin - 2800.0).abs() < f64::EPSILON);
    }
}
