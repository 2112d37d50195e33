//! `deployx infer`: the scope that the rules give; runs nothing.

use serde::Serialize;

use super::execution;
use crate::cli::app::App;
use crate::cli::args::InferArgs;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::infer as render;
use crate::infer::Scope;

/// The result as JSON.
#[derive(Serialize)]
struct Inferred<'a> {
    shell: &'a str,
    #[serde(flatten)]
    scope: &'a Scope,
}

/// Shows the scope of the command line.
pub(super) fn infer(app: &App, args: &InferArgs) -> Result<Exit, Failure> {
    let shell = execution::shell(args.shell.as_deref(), &app.settings.config.run);
    let cwd = execution::directory(app, args.cwd.as_deref())?;
    let command = execution::command_line(&shell, &args.command)?;
    let scope = app.open_for_questions()?.infer(&shell, &command, &cwd)?;
    let document = Inferred {
        shell: shell.as_str(),
        scope: &scope,
    };
    app.screen
        .result(&document, || render::scope(&scope, app.screen.out))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_the_published_fields() {
        let scope = Scope {
            paths: Vec::new(),
            cwd_after: None,
            destructive: false,
            irreversible: Vec::new(),
        };
        let json = serde_json::to_string(&Inferred {
            shell: "bash",
            scope: &scope,
        })
        .unwrap();
        assert_eq!(
            json,
            r#"{"shell":"bash","paths":[],"cwd_after":null,"destructive":false,"irreversible":[]}"#
        );
    }
}
