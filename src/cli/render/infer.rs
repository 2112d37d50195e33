//! The scope that the rules give.

use super::table::{Columns, Tone};
use super::text::Lines as _;
use super::{Palette, text};
use crate::infer::{Certainty, Depth, NotUnderstood, Scope};

/// The whole text.
pub(crate) fn scope(scope: &Scope, palette: Palette) -> String {
    let mut out = String::new();
    let mut columns = Columns::new(palette, &["PATH", "DEPTH", "CERTAINTY", "RULE", "REASON"]);
    let mut row = |path: &str, depth, certainty, rule: &str, reason: &str| {
        let (certainty, tone) = certainty_of(certainty);
        columns.row([
            (path, Tone::Plain),
            (depth_of(depth), Tone::Plain),
            (certainty, tone),
            (text::line(rule).as_str(), Tone::Accent),
            (text::line(reason).as_str(), Tone::Plain),
        ]);
    };
    for one in &scope.paths {
        let path = text::path(&one.path);
        row(&path, one.depth, one.certainty, &one.rule, &one.reason);
    }
    for one in &scope.foreign {
        let path = text::wire(&one.path);
        row(&path, one.depth, one.certainty, &one.rule, &one.reason);
    }
    if scope.paths.is_empty() && scope.foreign.is_empty() {
        out.push_str("the rules expect no path to be touched\n");
    } else {
        out.push_str(&columns.text());
    }
    if let Some(cwd) = &scope.cwd_after {
        out.line(format_args!("directory afterwards: {}", text::wire(cwd)));
    }
    if scope.destructive {
        out.push_str(&palette.warn("deletes or overwrites something as its purpose"));
        out.push('\n');
    }
    for part in &scope.not_understood {
        let line = format!("not understood: {}", not_understood(part));
        out.line(format_args!("{}", palette.warn(&line)));
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

/// A part that no rule understood, with the reason.
pub(crate) fn not_understood(part: &NotUnderstood) -> String {
    format!("{}: {}", text::line(&part.text), text::line(&part.reason))
}

fn depth_of(depth: Depth) -> &'static str {
    match depth {
        Depth::Entry => "entry",
        Depth::Children => "children",
        Depth::Tree => "tree",
    }
}

fn certainty_of(certainty: Certainty) -> (&'static str, Tone) {
    match certainty {
        Certainty::Possible => ("possible", Tone::Plain),
        Certainty::Likely => ("likely", Tone::Warn),
        Certainty::Certain => ("certain", Tone::Good),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::{ForeignPath, Irreversible, ScopePath};
    use crate::path::{AbsPath, WirePath};

    #[test]
    fn a_scope_is_shown_with_its_reasons() {
        let path = |path: &str, depth, certainty, rule: &str| ScopePath {
            path: AbsPath::new(path).unwrap(),
            depth,
            reason: "removed".into(),
            certainty,
            rule: rule.into(),
        };
        let scope = Scope {
            paths: vec![
                path("/w/build", Depth::Tree, Certainty::Certain, "rm"),
                path("/w", Depth::Children, Certainty::Possible, ""),
            ],
            foreign: vec![ForeignPath {
                path: WirePath::Text(r"C:\x".into()),
                depth: Depth::Entry,
                reason: "written".into(),
                certainty: Certainty::Likely,
                rule: "echo".into(),
            }],
            cwd_after: Some(WirePath::Text("/w".into())),
            destructive: true,
            irreversible: vec![Irreversible {
                what: "network".into(),
                reason: "curl".into(),
            }],
            not_understood: vec![NotUnderstood {
                text: "./x".into(),
                reason: "unknown program".into(),
                covered: true,
            }],
            ..Scope::default()
        };
        assert_eq!(
            super::scope(&scope, Palette { on: false }),
            "PATH      DEPTH     CERTAINTY  RULE  REASON\n\
             /w/build  tree      certain    rm    removed\n\
             /w        children  possible         removed\n\
             C:\\x      entry     likely     echo  written\n\
             directory afterwards: /w\n\
             deletes or overwrites something as its purpose\n\
             not understood: ./x: unknown program\n\
             cannot be undone: network: curl\n"
        );
    }

    #[test]
    fn an_empty_scope_is_said() {
        assert_eq!(
            super::scope(&Scope::default(), Palette { on: false }),
            "the rules expect no path to be touched\n"
        );
    }
}
