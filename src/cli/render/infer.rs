//! The scope that the rules give.

use super::table::{Columns, Tone};
use super::text::Lines as _;
use super::{Palette, text};
use crate::infer::{Certainty, Depth, Scope};

/// The whole text.
pub(crate) fn scope(scope: &Scope, palette: Palette) -> String {
    let mut out = String::new();
    if scope.paths.is_empty() {
        out.push_str("the rules expect no path to be touched\n");
    } else {
        let mut columns = Columns::new(palette, &["PATH", "DEPTH", "CERTAINTY", "REASON"]);
        for one in &scope.paths {
            let (certainty, tone) = match one.certainty {
                Certainty::Possible => ("possible", Tone::Plain),
                Certainty::Likely => ("likely", Tone::Warn),
                Certainty::Certain => ("certain", Tone::Good),
            };
            let depth = match one.depth {
                Depth::Entry => "entry",
                Depth::Children => "children",
                Depth::Tree => "tree",
            };
            columns.row([
                (text::path(&one.path).as_str(), Tone::Plain),
                (depth, Tone::Plain),
                (certainty, tone),
                (text::line(&one.reason).as_str(), Tone::Plain),
            ]);
        }
        out.push_str(&columns.text());
    }
    if let Some(cwd) = &scope.cwd_after {
        out.line(format_args!("directory afterwards: {}", text::path(cwd)));
    }
    if scope.destructive {
        out.push_str(&palette.warn("deletes or overwrites something as its purpose"));
        out.push('\n');
    }
    for effect in &scope.irreversible {
        let line = format!(
            "cannot be undone: {}: {}",
            text::line(&effect.what),
            text::line(&effect.reason)
        );
        out.line(format_args!("{}", palette.bad(&line)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{Irreversible, ScopePath};
    use crate::path::AbsPath;

    #[test]
    fn a_scope_is_shown_with_its_reasons() {
        let path = |path: &str, depth, certainty| ScopePath {
            path: AbsPath::new(path).unwrap(),
            depth,
            reason: "argument of rm".into(),
            certainty,
        };
        let scope = Scope {
            paths: vec![
                path("/w/build", Depth::Tree, Certainty::Certain),
                path("/w", Depth::Children, Certainty::Possible),
            ],
            cwd_after: Some(AbsPath::new("/w").unwrap()),
            destructive: true,
            irreversible: vec![Irreversible {
                what: "network".into(),
                reason: "curl".into(),
            }],
        };
        assert_eq!(
            super::scope(&scope, Palette { on: false }),
            "PATH      DEPTH     CERTAINTY  REASON\n\
             /w/build  tree      certain    argument of rm\n\
             /w        children  possible   argument of rm\n\
             directory afterwards: /w\n\
             deletes or overwrites something as its purpose\n\
             cannot be undone: network: curl\n"
        );
    }

    #[test]
    fn an_empty_scope_is_said() {
        let scope = Scope {
            paths: Vec::new(),
            cwd_after: None,
            destructive: false,
            irreversible: Vec::new(),
        };
        assert_eq!(
            super::scope(&scope, Palette { on: false }),
            "the rules expect no path to be touched\n"
        );
    }
}
