//! Where the program writes: data to standard output, text for people to standard error.

use std::io::{self, ErrorKind, Write as _};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::args::ColorMode;
use super::environment::Environment;
use super::render::Palette;
use crate::error::{Error, Result, Stage};

/// The two output streams and how to write to them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    /// Colours for standard output.
    pub(crate) out: Palette,
    /// Colours for standard error.
    pub(crate) err: Palette,
    /// Standard output is a terminal.
    pub(crate) terminal: bool,
    /// Standard error is a terminal.
    pub(crate) err_terminal: bool,
    /// Data is printed as JSON.
    pub(crate) json: bool,
    /// Summaries are left out.
    pub(crate) quiet: bool,
}

impl Screen {
    /// The streams of this process.
    pub(crate) fn new(
        color: ColorMode,
        json: bool,
        quiet: bool,
        environment: &Environment,
    ) -> Self {
        let choice = match color {
            ColorMode::Auto => ColorChoice::Auto,
            ColorMode::Always => ColorChoice::Always,
            ColorMode::Never => ColorChoice::Never,
        };
        // Making the stream also switches escape sequences on where a console needs that.
        let out = AutoStream::new(io::stdout(), choice).current_choice();
        let err = AutoStream::new(io::stderr(), choice).current_choice();
        Self {
            out: Palette::new(out != ColorChoice::Never),
            err: Palette::new(err != ColorChoice::Never),
            terminal: environment.stdout_terminal,
            err_terminal: environment.stderr_terminal,
            json,
            quiet,
        }
    }

    /// Prints `value` as JSON with a newline: over several lines on a terminal, else on one.
    pub(crate) fn print_json(self, value: &impl Serialize) -> Result<()> {
        let text = if self.terminal {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let text =
            text.map_err(|error| Error::io(Stage::Request, "cannot write JSON", error.into()))?;
        print(&format!("{text}\n"))
    }

    /// Prints the result: `value` under `--json`, else the text.
    pub(crate) fn result(
        self,
        value: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> Result<()> {
        if self.json {
            self.print_json(value)
        } else {
            print(&text())
        }
    }

    /// Writes a summary to standard error, unless it is not wanted.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet && !self.json {
            say(text);
        }
    }

    /// Writes one line that begins with `deployx: warning:`.
    pub(crate) fn warn(self, text: &str) {
        say(&self.warning(text));
    }

    /// The same for what has to be known before something is done.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn must_warn(self, text: &str) -> Result<()> {
        write_to_stderr(&self.warning(text))
            .map_err(|source| Error::io(Stage::Request, format!("cannot warn that {text}"), source))
    }

    fn warning(self, text: &str) -> String {
        format!("deployx: {} {text}\n", self.err.warn("warning:"))
    }
}

/// Prints `text` on standard output. A reader that went away (`deployx list | head`) is not an
/// error: what it wanted to know it knows.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other
            .map_err(|source| Error::io(Stage::Request, "cannot write to standard output", source)),
    }
}

/// Writes to standard error in any case. Nothing can be done when that fails.
pub(crate) fn say(text: &str) {
    let _ = write_to_stderr(text);
}

fn write_to_stderr(text: &str) -> io::Result<()> {
    let mut err = io::stderr().lock();
    err.write_all(text.as_bytes())?;
    err.flush()
}
