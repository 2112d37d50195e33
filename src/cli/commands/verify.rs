//! `deployx verify`: checks stored content against its hashes.

use crate::cli::app::App;
use crate::cli::args::VerifyArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::progress::Bars;
use crate::cli::render::maintain as render;

/// Checks the snapshots that are named, or all of them.
pub(super) fn verify(app: &App, args: &VerifyArgs) -> Result<Exit, Failure> {
    let engine = app.open_for_reading()?;
    let bars = Bars::new(app.screen);
    let outcome = engine.verify(&args.targets, &bars);
    bars.clear();
    let report = outcome?;
    app.screen
        .result(&report, || render::verification(&report, app.screen.out))?;
    Ok(if report.problems.is_empty() {
        Exit::Done
    } else {
        Exit::Corrupt
    })
}
