//! `deployx completions` and `deployx man`: made from the definition of the arguments.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use serde::Serialize;

use crate::cli::app::App;
use crate::cli::args::{Cli, CompletionsArgs, ManArgs};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::render::text::{self, Lines as _};
use crate::error::{IoContext as _, Result, Stage};
use crate::path::{WirePath, escape};

/// Completions as JSON.
#[derive(Serialize)]
struct Script {
    shell: String,
    script: String,
}

/// The manual page as JSON.
#[derive(Serialize)]
struct Page {
    page: String,
}

/// Written manual pages as JSON.
#[derive(Serialize)]
struct Written {
    written: Vec<WirePath>,
}

/// Prints the completion script.
pub(super) fn completions(app: &App, args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "deployx", &mut script);
    let document = Script {
        shell: args.shell.to_string(),
        script: String::from_utf8_lossy(&script).into_owned(),
    };
    app.screen.result(&document, || document.script.clone())?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes one for every command.
pub(super) fn man(app: &App, args: &ManArgs) -> Result<Exit, Failure> {
    let Some(dir) = &args.dir else {
        let (_, page) = pages()?.swap_remove(0);
        let document = Page { page };
        app.screen.result(&document, || document.page.clone())?;
        return Ok(Exit::Done);
    };
    let document = Written {
        written: write(&app.base()?.join(dir))?,
    };
    app.screen.result(&document, || {
        let mut out = String::new();
        for path in &document.written {
            out.line(format_args!("{}", text::wire(path)));
        }
        out
    })?;
    Ok(Exit::Done)
}

fn write(dir: &Path) -> Result<Vec<WirePath>> {
    std::fs::create_dir_all(dir).context(Stage::Request, || {
        format!("cannot make the directory {}", escape(dir))
    })?;
    pages()?
        .into_iter()
        .map(|(name, page)| {
            let file = dir.join(name);
            std::fs::write(&file, page)
                .context(Stage::Request, || format!("cannot write {}", escape(&file)))?;
            Ok(WirePath::from_bytes(file.as_os_str().as_encoded_bytes()))
        })
        .collect()
}

/// File names and texts of all pages, that of the program first.
fn pages() -> Result<Vec<(String, String)>> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut pages = Vec::new();
    collect(root, &mut pages)?;
    Ok(pages)
}

fn collect(command: Command, pages: &mut Vec<(String, String)>) -> Result<()> {
    let children: Vec<Command> = command
        .get_subcommands()
        .filter(|child| !child.is_hide_set())
        .cloned()
        .collect();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render(&mut page)
        .context(Stage::Request, || "cannot make the manual page")?;
    pages.push((
        man.get_filename(),
        String::from_utf8_lossy(&page).into_owned(),
    ));
    children
        .into_iter()
        .try_for_each(|child| collect(child, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[0], "deployx.1");
        for name in [
            "deployx-run.1",
            "deployx-man.1",
            "deployx-plugins-check.1",
            "deployx-rules-score.1",
        ] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        assert_eq!(pages.len(), 1 + 19 + 3);
        assert!(pages.iter().all(|(_, page)| page.contains(".SH NAME")));
    }

    #[test]
    fn pages_are_written_into_a_new_directory() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("man/man1");
        let written = write(&target).unwrap();
        assert_eq!(written.len(), std::fs::read_dir(&target).unwrap().count());
        assert!(target.join("deployx-rollback.1").is_file());
    }
}
