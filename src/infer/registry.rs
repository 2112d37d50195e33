//! The rule sets of an engine, and which of them answers for a shell.

use std::path::Path;

use serde::Serialize;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{FileView, Inference, PathInference, Request, Unclear};

use super::{Scope, reading};
use crate::path::WirePath;

/// Where a rule set comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Origin {
    /// Linked into the program.
    BuiltIn,
    /// Given by the program that embeds the engine.
    Registered,
    /// Loaded from a library.
    Loaded {
        /// The library.
        path: WirePath,
    },
}

/// A rule set as `plugins list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleSetReport {
    /// Its name.
    pub name: String,
    /// Its version, where it has one.
    pub version: String,
    /// The shells it reads; empty: any.
    pub shells: Vec<String>,
    /// The shells for which it is asked: those that no other takes precedence for.
    pub answers: Vec<String>,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
    /// Why it is not used, for a plugin that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The rule sets of an engine. Those added later take precedence.
#[derive(Default)]
pub struct Registry {
    rules: Vec<(Box<dyn PathInference>, Origin)>,
}

impl Registry {
    /// Adds a rule set; it takes precedence over those added before.
    pub fn register(&mut self, rules: Box<dyn PathInference>, origin: Origin) {
        self.rules.insert(0, (rules, origin));
    }

    /// The rule set that answers for `shell`.
    pub fn for_shell(&self, shell: &str) -> Option<&dyn PathInference> {
        self.rules
            .iter()
            .find(|(rules, _)| rules.shells().contains(&shell))
            .map(|(rules, _)| rules.as_ref())
    }

    /// Adds commands of the user to the rule set that answers for `shell`.
    ///
    /// # Errors
    /// The text is not valid (the message names line and column), or nobody answers for the shell.
    pub fn add_rules(&mut self, shell: &str, source: &str, toml: &str) -> Result<(), String> {
        self.rules
            .iter_mut()
            .find(|(rules, _)| rules.shells().contains(&shell))
            .ok_or_else(|| format!("{source}: there are no rules for the shell '{shell}'"))?
            .0
            .add_rules(source, toml)
            .map_err(|error| error.to_string())
    }

    /// What `request.command` is expected to touch. Never fails: what a rule set does not
    /// understand is covered by the fallback.
    pub fn infer(&self, request: &Request, view: &dyn FileView) -> Scope {
        let style = style_of(request);
        let (inference, name) = match self.for_shell(&request.shell) {
            Some(rules) => (ask(rules, request, view), rules.name()),
            None => (
                not_understood(
                    request,
                    format!("there are no rules for the shell '{}'", request.shell),
                ),
                super::fallback::NAME,
            ),
        };
        Scope {
            rules: name.into(),
            ..reading::scope(request, inference, style, view)
        }
    }

    /// Every rule set, in order of precedence.
    pub fn reports(&self) -> Vec<RuleSetReport> {
        let mut taken: Vec<&str> = Vec::new();
        self.rules
            .iter()
            .map(|(rules, origin)| {
                let shells = rules.shells();
                let answers: Vec<&str> = shells
                    .iter()
                    .copied()
                    .filter(|shell| !taken.contains(shell))
                    .collect();
                taken.extend(&answers);
                RuleSetReport {
                    name: rules.name().into(),
                    version: rules.version().into(),
                    shells: shells.iter().map(ToString::to_string).collect(),
                    answers: answers.iter().map(ToString::to_string).collect(),
                    origin: origin.clone(),
                    refused: None,
                }
            })
            .collect()
    }
}

/// Asks a rule set. One that panics has understood nothing.
fn ask(rules: &dyn PathInference, request: &Request, view: &dyn FileView) -> Inference {
    let asked = std::panic::AssertUnwindSafe(|| rules.infer(request, view));
    std::panic::catch_unwind(asked).unwrap_or_else(|_| {
        tracing::error!(rules = rules.name(), "the rule set panicked");
        not_understood(request, format!("the rule set '{}' failed", rules.name()))
    })
}

fn not_understood(request: &Request, reason: String) -> Inference {
    Inference {
        unclear: vec![Unclear {
            text: request.command.clone(),
            cwd: None,
            reason,
        }],
        session: super::SessionState {
            unknown: true,
            ..Default::default()
        },
        ..Inference::default()
    }
}

/// How the paths of a request look: by its shell, and by its working directory where a shell exists
/// on several systems.
fn style_of(request: &Request) -> Style {
    style(&request.shell, &request.cwd)
}

fn style(shell: &str, cwd: &[u8]) -> Style {
    let windows_cwd = !cwd.starts_with(b"/") && Style::Windows.is_absolute(cwd);
    match shell {
        "cmd" | "powershell" => Style::Windows,
        _ if windows_cwd => Style::Windows,
        _ => Style::Unix,
    }
}

/// Whether `cwd` is an absolute directory for lines of `shell` that this host cannot have.
pub fn is_foreign(shell: &str, cwd: &Path) -> bool {
    let bytes = cwd.as_os_str().as_encoded_bytes();
    !cwd.is_absolute() && style(shell, bytes).is_absolute(bytes)
}
