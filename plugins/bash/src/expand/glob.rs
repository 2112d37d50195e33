//! Pathname expansion against the host's view.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{FileView, Kind};

use super::pattern::{PatternByte, has_wildcards, matches};
use crate::state::Options;

/// How many names are matched before a pattern is left unexpanded.
const MAX_NAMES: usize = 20_000;

/// The longest pattern that is expanded, in bytes: that of a path on Linux. The time grows with the
/// square.
const MAX_PATTERN: usize = 4096;

/// How deep `**` goes.
const MAX_DEPTH: usize = 32;

/// What a pattern stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Matches {
    /// These paths, as the shell would write them; none if there are none.
    Known(Vec<Vec<u8>>),
    /// The view gives no answer.
    Unknown,
}

/// Where a pattern is matched.
pub(crate) struct Files<'a> {
    pub(crate) view: &'a dyn FileView,
    /// The working directory; `None` where it is not known.
    pub(crate) cwd: Option<&'a [u8]>,
    pub(crate) options: Options,
}

/// Paths found so far: as written, and absolute.
type Found = Vec<(Vec<u8>, Vec<u8>)>;

impl Files<'_> {
    /// Expands `pattern`.
    pub(crate) fn expand(&self, pattern: &[PatternByte]) -> Matches {
        self.walk(pattern).map_or(Matches::Unknown, Matches::Known)
    }

    fn walk(&self, pattern: &[PatternByte]) -> Option<Vec<Vec<u8>>> {
        if pattern.len() > MAX_PATTERN {
            return None;
        }
        let absolute = pattern.first().is_some_and(|(byte, _)| *byte == b'/');
        let start = if absolute { b"/" } else { self.cwd? };
        let mut found: Found = vec![(Vec::new(), start.to_vec())];
        let mut components = pattern.split(|(byte, _)| *byte == b'/').peekable();
        let mut budget = MAX_NAMES;
        let mut first = true;
        while let Some(component) = components.next() {
            let last = components.peek().is_none();
            if !first {
                for (written, _) in &mut found {
                    // Nothing is written yet where `**` stood for no directory.
                    if absolute || !written.is_empty() {
                        written.push(b'/');
                    }
                }
            }
            first = false;
            if component.is_empty() {
                if last {
                    found.retain(|(_, path)| self.is_directory(path));
                }
                continue;
            }
            found = self.component(found, component, last, &mut budget)?;
        }
        let mut paths: Vec<Vec<u8>> = found.into_iter().map(|(written, _)| written).collect();
        paths.sort();
        paths.dedup();
        Some(paths)
    }

    fn is_directory(&self, path: &[u8]) -> bool {
        !matches!(
            Style::Unix.kind_behind(self.view, path),
            Kind::File | Kind::Missing | Kind::Other
        )
    }

    fn component(
        &self,
        found: Found,
        component: &[PatternByte],
        last: bool,
        budget: &mut usize,
    ) -> Option<Found> {
        let star_star = self.options.globstar && component == [(b'*', false), (b'*', false)];
        let mut next = Vec::new();
        for (written, path) in found {
            if star_star {
                self.descend(&written, &path, last, &mut next, budget, 0)?;
                continue;
            }
            if !has_wildcards(component) {
                let name: Vec<u8> = component.iter().map(|(byte, _)| *byte).collect();
                let path = Style::Unix.locate(self.view, &path, &name)?;
                let there = !last || self.view.kind(&path) != Kind::Missing;
                if there {
                    next.push(([written, name].concat(), path));
                }
                continue;
            }
            for name in self.names(&path, budget)? {
                let hidden =
                    name.starts_with(b".") && !self.options.dotglob && component[0].0 != b'.';
                if !hidden && matches(component, &name, self.options.nocaseglob) {
                    let below = Style::Unix.join(&path, &name)?;
                    if last || self.is_directory(&below) {
                        next.push(([written.as_slice(), &name].concat(), below));
                    }
                }
            }
        }
        Some(next)
    }

    fn names(&self, dir: &[u8], budget: &mut usize) -> Option<Vec<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = match self.view.list(dir) {
            Some(list) => list.into_iter().map(|(name, _)| name).collect(),
            // What is no directory has nothing in it.
            None if !self.is_directory(dir) => Vec::new(),
            None => return None,
        };
        names.sort();
        names.dedup();
        *budget = budget.checked_sub(names.len())?;
        Some(names)
    }

    fn descend(
        &self,
        written: &[u8],
        path: &[u8],
        last: bool,
        next: &mut Found,
        budget: &mut usize,
        depth: usize,
    ) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        if !last {
            // `**/x` also means `x`; the separator is written once.
            let trimmed = written.strip_suffix(b"/").unwrap_or(written);
            next.push((trimmed.to_vec(), path.to_vec()));
        }
        for name in self.names(path, budget)? {
            if name.starts_with(b".") && !self.options.dotglob {
                continue;
            }
            let below = Style::Unix.join(path, &name)?;
            let mut here = written.to_vec();
            here.extend_from_slice(&name);
            if last {
                next.push((here.clone(), below.clone()));
            }
            // Links to directories are not followed.
            if matches!(self.view.kind(&below), Kind::Directory | Kind::Unknown) {
                here.push(b'/');
                self.descend(&here, &below, last, next, budget, depth + 1)?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deployx_plugin_sdk::testing::MemoryView;

    fn expand(pattern: &str, options: Options) -> Matches {
        let view = MemoryView::new(&[
            "/w/a.txt",
            "/w/b.txt",
            "/w/.c.txt",
            "/w/d/e.txt",
            "/w/d/f/g.txt",
            "/w/x y",
        ]);
        let files = Files {
            view: &view,
            cwd: Some(b"/w"),
            options,
        };
        let pattern: Vec<_> = pattern.bytes().map(|b| (b, false)).collect();
        files.expand(&pattern)
    }

    fn known(paths: &[&str]) -> Matches {
        Matches::Known(paths.iter().map(|p| p.as_bytes().to_vec()).collect())
    }

    #[test]
    fn names_are_matched_component_by_component() {
        let plain = Options::default();
        assert_eq!(expand("*.txt", plain), known(&["a.txt", "b.txt"]));
        assert_eq!(expand("/w/?.txt", plain), known(&["/w/a.txt", "/w/b.txt"]));
        assert_eq!(expand("*/*.txt", plain), known(&["d/e.txt"]));
        assert_eq!(expand("*/", plain), known(&["d/"]));
        assert_eq!(expand("./.*.txt", plain), known(&["./.c.txt"]));
        assert_eq!(expand("nothing*", plain), known(&[]));
        assert_eq!(expand("*/f/g.txt", plain), known(&["d/f/g.txt"]));
    }

    #[test]
    fn two_stars_descend_where_that_is_on() {
        let options = Options {
            globstar: true,
            ..Options::default()
        };
        assert_eq!(
            expand("**/*.txt", options),
            known(&["a.txt", "b.txt", "d/e.txt", "d/f/g.txt"])
        );
        assert_eq!(
            expand("d/**", options),
            known(&["d/e.txt", "d/f", "d/f/g.txt"])
        );
    }
}
