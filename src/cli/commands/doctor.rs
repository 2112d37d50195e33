//! `deployx doctor` and `deployx plugins`: what works on this host.

use std::path::Path;

use crate::cli::app::App;
use crate::cli::args::DoctorArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::paths;
use crate::cli::render::doctor as render;

/// Shows the store, the volumes of the paths (without paths: all of them), shells, rule sets and limits.
pub(super) fn doctor(app: &App, args: &DoctorArgs) -> Result<Exit, Failure> {
    let asked = if args.paths.is_empty() {
        vec![paths::directory(app.base()?, Path::new("."))?]
    } else {
        app.paths(&args.paths)?
    };
    let everywhere = args.paths.is_empty();
    let report = app.open_for_questions()?.doctor(&asked, everywhere)?;
    app.screen
        .result(&report, || render::report(&report, app.screen.out))?;
    Ok(Exit::Done)
}

/// Lists the rule sets.
pub(super) fn plugins(app: &App) -> Result<Exit, Failure> {
    let reports = app.rules()?.reports();
    app.screen
        .result(&reports, || render::plugins(&reports, app.screen.out))?;
    Ok(Exit::Done)
}
