//! Which entries are left alone.

use std::path::Path;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::snapshot::Exclusions;

/// The name of the file that lists patterns for its directory and everything beneath.
pub const IGNORE_FILE: &str = ".deployxignore";

/// The rules in force in one directory: its own, then those of the directories above.
#[derive(Debug, Clone, Default)]
pub(in crate::snapshot) struct Rules(Option<Arc<Node>>);

#[derive(Debug)]
struct Node {
    patterns: Gitignore,
    above: Rules,
}

impl Rules {
    /// The rules of the request and the configuration at a scope's root.
    pub(in crate::snapshot) fn at_root(root: &AbsPath, patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let mut builder = GitignoreBuilder::new(root);
        for pattern in patterns {
            builder
                .add_line(None, pattern)
                .map_err(|e| invalid(pattern, &e))?;
        }
        let patterns = builder.build().map_err(|e| invalid("", &e))?;
        Ok(Self(Some(Arc::new(Node {
            patterns,
            above: Self::default(),
        }))))
    }

    /// The rules beneath a directory that has an ignore file with this text. Lines that are not
    /// patterns are passed over, as git does.
    pub(in crate::snapshot) fn with_file(&self, directory: &AbsPath, text: &str) -> Self {
        let mut builder = GitignoreBuilder::new(directory);
        for line in text.lines() {
            if let Err(error) = builder.add_line(None, line) {
                tracing::warn!(%directory, line, %error, "not a pattern");
            }
        }
        match builder.build() {
            Ok(patterns) => Self(Some(Arc::new(Node {
                patterns,
                above: self.clone(),
            }))),
            Err(_) => self.clone(),
        }
    }

    /// Whether the entry at `path` is left alone. The innermost rule that speaks of it decides.
    pub(in crate::snapshot) fn exclude(&self, path: &Path, is_dir: bool) -> bool {
        let mut rules = self;
        while let Some(node) = &rules.0 {
            match node.patterns.matched(path, is_dir) {
                Match::Ignore(_) => return true,
                Match::Whitelist(_) => return false,
                Match::None => rules = &node.above,
            }
        }
        false
    }

    /// Whether there are any rules at all.
    pub(in crate::snapshot) fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Exclusions {
    /// Checks the patterns, so that a wrong one is an error of the request.
    pub fn check(&self) -> Result<()> {
        let root = AbsPath::new(if cfg!(windows) { "C:\\" } else { "/" });
        root.map_err(|e| invalid("", &e))
            .and_then(|root| Rules::at_root(&root, &self.patterns))
            .map(drop)
    }

    /// Whether `path` is a subtree that is never looked into.
    pub fn covers(&self, path: &AbsPath) -> bool {
        self.subtrees
            .iter()
            .any(|subtree| path.starts_with(subtree))
    }
}

fn invalid(pattern: &str, error: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorKind::InvalidRequest,
        Stage::Capture,
        format!("the exclude pattern '{pattern}' is not valid: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    #[test]
    fn inner_rules_override_outer_ones() {
        let outer = Rules::at_root(&path("/r"), &["*.log".into(), "build/".into()]).unwrap();
        let inner = outer.with_file(&path("/r/keep"), "!important.log\n# comment\n");
        assert!(outer.exclude(Path::new("/r/keep/important.log"), false));
        assert!(!inner.exclude(Path::new("/r/keep/important.log"), false));
        assert!(inner.exclude(Path::new("/r/keep/other.log"), false));
        assert!(outer.exclude(Path::new("/r/a/build"), true));
        assert!(!outer.exclude(Path::new("/r/a/build"), false));
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        let exclusions = Exclusions {
            patterns: vec!["[z-a]".into()],
            ..Exclusions::default()
        };
        assert!(
            exclusions
                .check()
                .unwrap_err()
                .to_string()
                .contains("[z-a]")
        );
    }
}
