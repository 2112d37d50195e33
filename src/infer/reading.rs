//! Makes a scope of what a rule set said.

use std::path::Path;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{
    Certainty, Depth, Effect, FileView, Inference, Kind, PathUse, Request, Unclear,
};

use super::{ForeignPath, Irreversible, NotUnderstood, Scope, ScopePath, fallback};
use crate::path::{AbsPath, WirePath};

/// The longest text of a part that was not understood, in characters.
const MAX_TEXT: usize = 80;

/// The most parts that are named; the fallback covers all of them.
const MAX_PARTS: usize = 20;

/// Adds the working directory, the fallback where something was not understood, and what symbolic
/// links lead to.
pub(super) fn scope(
    request: &Request,
    mut inference: Inference,
    style: Style,
    view: &dyn FileView,
) -> Scope {
    let linked = links_followed(&inference.paths, style, view);
    inference.paths.extend(linked);
    let mut widened = widen(request, &inference.unclear, style, view);
    let linked = links_followed(&widened, style, view);
    widened.extend(linked);
    let (widened, too_wide) = keep_in_bounds(widened);
    inference.paths.extend(widened);
    if inference.unclear.is_empty() {
        inference.paths.push(working_directory(request));
    }
    let (paths, foreign) = split(inference.paths);
    Scope {
        paths,
        foreign,
        cwd_after: inference.cwd_after.as_deref().map(WirePath::from_bytes),
        destructive: inference.destructive,
        irreversible: effects(inference.irreversible),
        not_understood: too_wide
            .into_iter()
            .chain(named_parts(&inference.unclear))
            .collect(),
        rules: String::new(),
        session: inference.session,
    }
}

fn working_directory(request: &Request) -> PathUse {
    PathUse {
        path: request.cwd.clone(),
        depth: Depth::Entry,
        certainty: Certainty::Likely,
        follow: false,
        reason: fallback::WORKING_DIRECTORY.into(),
        rule: String::new(),
    }
}

/// The fallback for the whole line, and for each part that runs in another directory.
fn widen(
    request: &Request,
    unclear: &[Unclear],
    style: Style,
    view: &dyn FileView,
) -> Vec<PathUse> {
    if unclear.is_empty() {
        return Vec::new();
    }
    let mut paths = fallback::cover(request, &request.command, &request.cwd, style, view);
    let mut seen: Vec<(&[u8], &[u8])> = Vec::new();
    for part in unclear {
        let cwd = part.cwd.as_deref().unwrap_or(&request.cwd);
        let within = cwd == request.cwd && contains(&request.command, &part.text);
        if within || seen.contains(&(&part.text, cwd)) {
            continue;
        }
        seen.push((&part.text, cwd));
        paths.extend(fallback::cover(request, &part.text, cwd, style, view));
    }
    paths
}

/// A guess never takes in the whole filesystem, nor a directory that everybody uses: a rollback
/// would take back what others did there meanwhile. What is left out is named.
fn keep_in_bounds(mut paths: Vec<PathUse>) -> (Vec<PathUse>, Vec<NotUnderstood>) {
    let mut left_out = Vec::new();
    for used in paths.iter_mut().filter(|used| used.depth == Depth::Tree) {
        let Some(path) = host_path(&used.path) else {
            continue;
        };
        let reason = if path.parent().is_none() {
            "a guess does not cover the whole filesystem"
        } else if used.reason != fallback::WORKING_DIRECTORY
            && crate::sys::is_shared_directory(path.as_path())
        {
            "a guess does not cover a directory that everybody uses"
        } else {
            continue;
        };
        used.depth = match path.parent() {
            None => Depth::Children,
            Some(_) => Depth::Entry,
        };
        left_out.push(NotUnderstood {
            text: path.to_string(),
            reason: format!("{reason}; name what matters with --also"),
            covered: false,
        });
    }
    left_out.dedup();
    (paths, left_out)
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    part.is_empty() || part == line || line.windows(part.len()).any(|window| window == part)
}

/// For every path that is a symbolic link and followed: where it leads to.
fn links_followed(paths: &[PathUse], style: Style, view: &dyn FileView) -> Vec<PathUse> {
    paths
        .iter()
        .filter(|used| used.follow && view.kind(&used.path) == Kind::Link)
        .filter_map(|used| {
            let path = style.follow(view, &used.path)?;
            // What does not exist yet is covered with whatever appears in its place.
            let depth = match view.kind(&path) {
                Kind::Missing => Depth::Tree,
                _ => used.depth,
            };
            Some(PathUse {
                path,
                depth,
                follow: false,
                reason: format!("{}, behind a symbolic link", used.reason),
                ..used.clone()
            })
        })
        .collect()
}

fn host_path(path: &[u8]) -> Option<AbsPath> {
    let path = crate::path::os_string(path).ok()?;
    AbsPath::normalize(&AbsPath::new("/").ok()?, Path::new(&path))
        .ok()
        .filter(|normal| normal.to_bytes() == path.as_encoded_bytes())
}

/// Paths of this host, and those that are none.
fn split(paths: Vec<PathUse>) -> (Vec<ScopePath>, Vec<ForeignPath>) {
    let mut here = Vec::new();
    let mut foreign: Vec<ForeignPath> = Vec::new();
    for used in paths {
        match host_path(&used.path) {
            Some(path) => here.push(ScopePath {
                path,
                depth: used.depth.into(),
                reason: used.reason,
                certainty: used.certainty.into(),
                rule: used.rule,
            }),
            None => foreign.push(ForeignPath {
                path: WirePath::from_bytes(&used.path),
                depth: used.depth.into(),
                reason: used.reason,
                certainty: used.certainty.into(),
                rule: used.rule,
            }),
        }
    }
    here.sort_by(|a, b| {
        (&a.path, b.depth, b.certainty, !b.rule.is_empty()).cmp(&(
            &b.path,
            a.depth,
            a.certainty,
            !a.rule.is_empty(),
        ))
    });
    here.dedup_by(|a, b| a.path == b.path);
    (here, foreign)
}

fn effects(effects: Vec<Effect>) -> Vec<Irreversible> {
    let mut listed: Vec<Irreversible> = Vec::new();
    for Effect { what, reason } in effects {
        let effect = Irreversible { what, reason };
        if !listed.contains(&effect) {
            listed.push(effect);
        }
    }
    listed
}

fn named_parts(unclear: &[Unclear]) -> Vec<NotUnderstood> {
    let mut parts: Vec<NotUnderstood> = Vec::new();
    for part in unclear {
        let text = String::from_utf8_lossy(&part.text);
        let mut short: String = text.chars().take(MAX_TEXT).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        let part = NotUnderstood {
            text: short,
            reason: part.reason.clone(),
            covered: true,
        };
        if parts.len() < MAX_PARTS && !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::super::Depth;
    use super::{Inference, Request, Scope, Style, Unclear, scope};
    use deployx_plugin_sdk::testing::MemoryView;

    fn read(cwd: &str, line: &str, unclear: &[&str]) -> Scope {
        let request = Request {
            shell: "bash".into(),
            command: line.into(),
            cwd: cwd.into(),
            ..Request::default()
        };
        let unclear = unclear.iter().map(|text| Unclear {
            text: (*text).into(),
            cwd: None,
            reason: "unknown program".into(),
        });
        let inference = Inference {
            unclear: unclear.collect(),
            ..Inference::default()
        };
        let view = MemoryView::new(&["/work/", "/data/x", "/tmp/"]);
        scope(&request, inference, Style::Unix, &view)
    }

    fn shown(scope: &Scope) -> Vec<(String, Depth)> {
        let paths = scope.paths.iter();
        paths.map(|p| (p.path.to_string(), p.depth)).collect()
    }

    #[test]
    fn a_line_that_is_understood_covers_the_working_directory_as_an_entry() {
        let scope = read("/work", "ls /data", &[]);
        assert_eq!(shown(&scope), [("/work".into(), Depth::Entry)]);
        assert_eq!(scope.not_understood, []);
    }

    #[test]
    fn a_part_that_is_not_understood_brings_the_fallback() {
        let scope = read("/work", "tool /data", &["tool /data"]);
        let expected = [("/data".into(), Depth::Tree), ("/work".into(), Depth::Tree)];
        assert_eq!(shown(&scope), expected);
        assert!(scope.not_understood[0].covered);
    }

    #[cfg(unix)]
    #[test]
    fn a_guess_takes_in_neither_the_whole_filesystem_nor_shared_directories() {
        let scope = read("/work", "tool / /tmp", &["tool / /tmp"]);
        let expected = [
            ("/".into(), Depth::Children),
            ("/tmp".into(), Depth::Entry),
            ("/work".into(), Depth::Tree),
        ];
        assert_eq!(shown(&scope), expected);
        let left_out: Vec<&str> = scope
            .not_understood
            .iter()
            .filter(|part| !part.covered)
            .map(|part| part.text.as_str())
            .collect();
        assert_eq!(left_out, ["/", "/tmp"]);
        let scope = read("/", "tool", &["tool"]);
        assert_eq!(shown(&scope), [("/".into(), Depth::Children)]);
    }
}
