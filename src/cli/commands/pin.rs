//! `deployx pin` and `unpin`: exempt snapshots from expiry, or end that.

use serde::Serialize;

use crate::cli::app::App;
use crate::cli::args::PinArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::maintain as render;
use crate::store::SnapshotId;

/// The result as JSON.
#[derive(Serialize)]
struct Pinned<'a> {
    snapshot_ids: &'a [&'a str],
    pinned: bool,
}

/// Pins or unpins what the arguments name.
pub(super) fn pin(app: &App, args: &PinArgs, pinned: bool) -> Result<Exit, Failure> {
    let ids = app.open_for_change()?.pin(&args.target, pinned)?;
    let ids: Vec<&str> = ids.iter().map(SnapshotId::as_str).collect();
    let document = Pinned {
        snapshot_ids: &ids,
        pinned,
    };
    app.screen
        .result(&document, || render::pinned(&ids, pinned))?;
    Ok(Exit::Done)
}
