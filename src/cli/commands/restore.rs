//! `deployx restore`: copies old state out without touching the live tree.

use crate::cli::app::App;
use crate::cli::args::RestoreArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::paths;
use crate::cli::progress::Bars;
use crate::cli::render::rollback as render;
use crate::error::{IoContext as _, Stage};
use crate::path::escape;

/// Copies the paths out, into a directory that is made where it does not exist.
pub(super) fn restore(app: &App, args: &RestoreArgs) -> Result<Exit, Failure> {
    let wanted = app.paths(&args.paths)?;
    let engine = app.open_for_reading()?;
    let to = app.base()?.join(&args.to);
    let made = !to.exists();
    std::fs::create_dir_all(&to).context(Stage::Request, || {
        format!("cannot make the directory {}", escape(&args.to))
    })?;
    let target = paths::directory(app.base()?, &args.to)?;
    let bars = Bars::new(app.screen);
    let outcome = engine.restore(&args.target, &wanted, &target, &bars);
    bars.clear();
    if made && outcome.is_err() {
        // Succeeds only while nothing is in it, which is when it should go.
        let _ = std::fs::remove_dir(&to);
    }
    let report = outcome?;
    app.screen
        .result(&report, || render::restored(&report, app.screen.out))?;
    Ok(if report.failures.is_empty() {
        Exit::Done
    } else {
        Exit::Partial
    })
}
