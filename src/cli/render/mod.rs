//! Text for people. Every function gives a string and prints nothing, so that it can be tested
//! with fixed inputs; what comes from the host goes through [`text`], which keeps control
//! characters away from the terminal.

pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod infer;
pub(crate) mod list;
pub(crate) mod maintain;
pub(crate) mod plugins;
pub(crate) mod receipt;
pub(crate) mod rollback;
pub(crate) mod run;
pub(crate) mod score;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod text;

use anstyle::{AnsiColor, Style};

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    on: bool,
}

impl Palette {
    /// Colours when `on`.
    pub(crate) fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether text gets escape sequences.
    pub(crate) fn is_on(self) -> bool {
        self.on
    }

    /// What went well or is new.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint(AnsiColor::Green.on_default(), text)
    }

    /// What went wrong or is gone.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint(AnsiColor::Red.on_default(), text)
    }

    /// What needs attention or was changed.
    pub(crate) fn warn(self, text: &str) -> String {
        self.paint(AnsiColor::Yellow.on_default(), text)
    }

    /// Names to pick out: ids, hunks.
    pub(crate) fn accent(self, text: &str) -> String {
        self.paint(AnsiColor::Cyan.on_default(), text)
    }

    /// Titles.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    fn paint(self, style: Style, text: &str) -> String {
        if self.on && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_balanced_and_optional() {
        assert_eq!(Palette::new(false).bad("x"), "x");
        assert_eq!(Palette::new(true).bad("x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(Palette::new(true).dim(""), "");
    }
}
