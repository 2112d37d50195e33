//! `deployx plugins check`, and the process that hosts a plugin.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::cli::app::App;
use crate::cli::args::PluginFileArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::plugins as render;
use crate::error::{Error, ErrorKind, Stage};
use crate::infer::DiskView;
use crate::plugin::{self, PluginHost, PluginState};

/// The argument after which this program hosts a plugin. It is for DeployX itself, so it is no
/// command that the help names.
const HOST: &str = "plugin-host";

/// How this program hosts plugins.
pub(crate) fn host(program: &Path) -> PluginHost {
    PluginHost::new(program, &[HOST])
}

/// Hosts a plugin where the process was started for that; `None` where it was not.
pub(crate) fn serve(arguments: impl IntoIterator<Item = OsString>) -> Option<Exit> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(HOST)) {
        return None;
    }
    let file = arguments.next()?;
    match plugin::serve(Path::new(&file), &DiskView) {
        Ok(()) => Some(Exit::Done),
        Err(_) => Some(Exit::Failed),
    }
}

/// Tells how each check of a plugin's file goes.
pub(super) fn check(app: &App, args: &PluginFileArgs) -> Result<Exit, Failure> {
    let file = app.base()?.join(&args.file);
    let Some(program) = app.environment.program.as_deref() else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            Stage::Infer,
            "the program cannot find its own file, which hosts plugins",
        )
        .into());
    };
    let report = plugin::check(&file, &host(program));
    app.screen
        .result(&report, || render::plugin(&report, app.screen.out))?;
    Ok(match report.state {
        PluginState::Active => Exit::Done,
        PluginState::Refused | PluginState::Disabled => Exit::Failed,
    })
}
