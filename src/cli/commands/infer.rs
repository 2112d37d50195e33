//! `deployx infer`: the scope that the rules give; runs nothing.

use std::ffi::OsString;
use std::path::Path;

use serde::Serialize;

use super::execution;
use crate::cli::app::App;
use crate::cli::args::InferArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::infer as render;
use crate::infer::{ForeignPath, Irreversible, NotUnderstood, Scope, ScopePath};
use crate::path::WirePath;
use crate::request::ShellName;

/// The result as JSON.
#[derive(Serialize)]
struct Inferred<'a> {
    shell: &'a str,
    rules: &'a str,
    paths: Vec<Listed<'a>>,
    cwd_after: &'a Option<WirePath>,
    destructive: bool,
    irreversible: &'a [Irreversible],
    not_understood: &'a [NotUnderstood],
}

/// A path of this host or of another system.
#[derive(Serialize)]
#[serde(untagged)]
enum Listed<'a> {
    Here(&'a ScopePath),
    Foreign(&'a ForeignPath),
}

impl<'a> Inferred<'a> {
    fn new(shell: &'a str, scope: &'a Scope) -> Self {
        let foreign = scope.foreign.iter().map(Listed::Foreign);
        Self {
            shell,
            rules: &scope.rules,
            paths: scope
                .paths
                .iter()
                .map(Listed::Here)
                .chain(foreign)
                .collect(),
            cwd_after: &scope.cwd_after,
            destructive: scope.destructive,
            irreversible: &scope.irreversible,
            not_understood: &scope.not_understood,
        }
    }
}

/// Shows the scope of the command line.
pub(super) fn infer(app: &App, args: &InferArgs) -> Result<Exit, Failure> {
    let shell = execution::shell(args.shell.as_deref(), &app.settings.config.run);
    let cwd = directory(app, &shell, args.cwd.as_deref())?;
    let command = execution::command_line(&shell, &args.command)?;
    let scope = app.rules()?.infer(&shell, &command, &cwd);
    app.screen
        .result(&Inferred::new(shell.as_str(), &scope), || {
            render::scope(&scope, app.screen.out)
        })?;
    Ok(Exit::Done)
}

/// Where the line would run. A directory of another system (`C:\srv` on Linux) is taken as it is.
fn directory(app: &App, shell: &ShellName, flag: Option<&Path>) -> Result<OsString, Failure> {
    match flag {
        Some(path) if crate::infer::is_foreign(shell.as_str(), path) => Ok(path.into()),
        flag => Ok(execution::directory(app, flag)?.as_path().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_published_fields() {
        let scope = Scope::default();
        let json = serde_json::to_string(&Inferred::new("bash", &scope)).unwrap();
        assert_eq!(
            json,
            r#"{"shell":"bash","rules":"","paths":[],"cwd_after":null,"destructive":false,"irreversible":[],"not_understood":[]}"#
        );
    }
}
