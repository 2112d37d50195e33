//! The corpus as it stands in its file.

use serde::Deserialize;

/// What good rules say about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// They understand it completely.
    #[default]
    Yes,
    /// It cannot be understood completely, and they say so.
    No,
    /// Both are good answers.
    Either,
}

/// One line of the corpus; the head of `bash.toml` says what the fields mean.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) category: String,
    pub(crate) command: String,
    #[serde(default)]
    pub(crate) setup: String,
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    #[serde(default = "yes")]
    pub(crate) observe: bool,
    #[serde(default)]
    pub(crate) touches: Vec<String>,
    #[serde(default)]
    pub(crate) understood: Answer,
    #[serde(default)]
    pub(crate) irreversible: Vec<String>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct File {
    line: Vec<Line>,
}

/// Every `step`th line; those that contain `DEPLOYX_TEST_CORPUS_ONLY` where that is set. They come
/// from the file that `DEPLOYX_TEST_CORPUS_FILE` names, if it is set.
pub(crate) fn chosen(step: usize) -> Vec<Line> {
    let other = std::env::var_os("DEPLOYX_TEST_CORPUS_FILE");
    let other = other.map(|path| std::fs::read_to_string(path).expect("DEPLOYX_TEST_CORPUS_FILE"));
    let text = other.as_deref().unwrap_or(include_str!("bash.toml"));
    let file: File = toml::from_str(text).expect("lines");
    let only = std::env::var("DEPLOYX_TEST_CORPUS_ONLY").unwrap_or_default();
    let mut lines = file.line;
    if only.is_empty() {
        lines = lines.into_iter().step_by(step.max(1)).collect();
    } else {
        lines.retain(|line| line.command.contains(&only));
    }
    lines
}
