//! `deployx show`: everything about one snapshot.

use crate::cli::app::App;
use crate::cli::args::ShowArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::show as render;

/// Shows the snapshot.
pub(super) fn show(app: &App, args: &ShowArgs) -> Result<Exit, Failure> {
    let detail = app.open_for_reading()?.show(&args.target)?;
    app.screen
        .result(&detail, || render::detail(&detail, app.screen.out))?;
    Ok(Exit::Done)
}
