//! A rule set that understands one command, as a library: `cargo build --example careful`.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::RuleError;
use deployx_plugin_sdk::{
    Certainty, Depth, FileView, Inference, Kind, PathInference, PathUse, Request, Unclear,
};

/// Understands `drop NAME`.
#[derive(Debug, Default)]
pub struct Careful {
    sources: Vec<String>,
}

impl PathInference for Careful {
    fn name(&self) -> &'static str {
        "careful"
    }

    fn version(&self) -> &'static str {
        "0.1"
    }

    fn shells(&self) -> &[&str] {
        &["toy", "toysh"]
    }

    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        assert!(request.command != b"panic", "asked to");
        let name = request.command.strip_prefix(b"drop ");
        let path = name.and_then(|name| Style::Unix.resolve(&request.cwd, name));
        let Some(path) = path else {
            return Inference {
                unclear: vec![Unclear {
                    text: request.command.clone(),
                    cwd: None,
                    reason: "unknown program".into(),
                }],
                ..Inference::default()
            };
        };
        let depth = match view.kind(&path) {
            Kind::Directory | Kind::Unknown | Kind::Missing => Depth::Tree,
            _ => Depth::Entry,
        };
        let entries = view.list(&path).map_or(0, |names| names.len());
        let link = view.read_link(&path).unwrap_or_default();
        let head = view.read(&path, 4).unwrap_or_default();
        Inference {
            paths: vec![PathUse {
                path,
                depth,
                certainty: Certainty::Certain,
                follow: false,
                reason: format!(
                    "{entries} entries, link to '{}', begins with '{}', {} tables",
                    link.escape_ascii(),
                    head.escape_ascii(),
                    self.sources.len()
                ),
                rule: "drop".into(),
            }],
            destructive: true,
            ..Inference::default()
        }
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        if toml.is_empty() {
            return Err(RuleError {
                source: source.into(),
                line: 1,
                column: 1,
                message: "there is nothing in it".into(),
            });
        }
        self.sources.push(source.into());
        Ok(())
    }
}

deployx_plugin_sdk::export_plugin!(Careful::default);
