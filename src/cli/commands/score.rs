//! `deployx rules score`: what the rules expected, and what commands touched.

use super::list;
use crate::cli::app::App;
use crate::cli::args::ScoreArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::{score as render, text};
use crate::engine::ScoreReport;
use crate::entry::Timestamp;
use crate::store::ListFilter;

/// Scores the rules on the stored snapshots. A store that does not exist yet has none.
pub(super) fn score(app: &App, args: ScoreArgs) -> Result<Exit, Failure> {
    let now = Timestamp::now().as_seconds();
    let filter = ListFilter {
        batch_id: args.batch,
        since: args.since.map(|span| list::start(now, span)),
        limit: None,
    };
    let (report, damaged) = if app.settings.store.exists() {
        app.open_for_reading()?.score_rules(&filter)?
    } else {
        (ScoreReport::default(), Vec::new())
    };
    list::warn_of(app, &damaged);
    app.screen
        .result(&report, || render::report(&report, app.screen.out))?;
    if report.snapshots == 0 {
        app.screen.note(&format!(
            "deployx: no snapshots taken with interception in {}\n",
            text::os_path(&app.settings.store)
        ));
    }
    Ok(Exit::Done)
}
