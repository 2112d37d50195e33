//! `deployx diff`: what a command changed.

use crate::cli::app::App;
use crate::cli::args::DiffArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::diff::{self as render, Content};
use crate::engine::DiffOptions;

/// Shows the differences in the form that was asked for.
pub(super) fn diff(app: &App, args: &DiffArgs) -> Result<Exit, Failure> {
    let options = DiffOptions {
        paths: app.paths(&args.paths)?,
        live: args.live,
        text: !args.stat && !args.name_status,
        max_bytes: None,
    };
    let diffs = app.open_for_reading()?.diff(&args.target, &options)?;
    let palette = app.screen.out;
    app.screen.result(&diffs, || {
        if args.stat {
            render::stat(&diffs, palette)
        } else if args.name_status {
            render::name_status(&diffs, palette)
        } else {
            let content = if app.screen.terminal || palette.is_on() {
                Content::Escaped
            } else {
                Content::Raw
            };
            render::unified(&diffs, content, palette)
        }
    })?;
    Ok(Exit::Done)
}
