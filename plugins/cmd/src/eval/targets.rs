//! Which paths an operand names.

use deployx_plugin_sdk::Kind;

use super::{Evaluator, World};
use crate::cell::{ANY_DEEP, Cell, byte, bytes, has_unknown};
use crate::names::{has_wildcard, is_device, matches, split_last};
use crate::words::Word;

/// What an operand names.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    /// Paths by name, and what is there; for wildcards those that fit.
    pub(crate) known: Vec<(Vec<u8>, Kind)>,
    /// Directories that hold the others, and whether these may lie deeper than directly in them.
    pub(crate) within: Vec<(Vec<u8>, bool)>,
    /// The operand has wildcards, so that any number of paths may be meant.
    pub(crate) pattern: bool,
    /// Why it is not completely known.
    pub(crate) doubt: Option<&'static str>,
}

const UNKNOWN_VALUE: &str = "the value of a variable is not known";
const UNKNOWN_DIRECTORY: &str = "the working directory is not known here";

impl Evaluator<'_> {
    /// What `word` names in `world`.
    pub(crate) fn targets(&self, world: &World, word: &Word) -> Targets {
        if has_unknown(&word.cells) {
            let known = word.cells.iter().take_while(|c| **c < 0x100);
            let known: Vec<u8> = known.map(|c| byte(*c)).collect();
            return Targets {
                within: directory_of(world, &known)
                    .map(|dir| (dir, true))
                    .into_iter()
                    .collect(),
                pattern: true,
                doubt: Some(UNKNOWN_VALUE),
                ..Targets::default()
            };
        }
        if let Some(mark) = word.cells.iter().position(|c| *c >= 0x100) {
            return within_mark(world, &word.cells, mark);
        }
        let mut text = bytes(&word.cells);
        if text.starts_with(br"\\?\") {
            text = crate::names::plain(&text);
        }
        if text.is_empty() || is_device(&text) {
            return Targets::default();
        }
        if has_wildcard(&text) {
            return self.matching(world, &text);
        }
        match world.resolve(&text) {
            Some(path) => {
                let kind = self.view.kind(&path);
                Targets {
                    known: vec![(path, kind)],
                    ..Targets::default()
                }
            }
            None => Targets {
                doubt: Some(UNKNOWN_DIRECTORY),
                ..Targets::default()
            },
        }
    }

    fn matching(&self, world: &World, text: &[u8]) -> Targets {
        let (dir, pattern) = split_last(text);
        let mut targets = Targets {
            pattern: true,
            ..Targets::default()
        };
        if has_wildcard(dir) {
            let first = text.iter().position(|b| matches!(b, b'*' | b'?'));
            let (dir, _) = split_last(&text[..first.unwrap_or(0)]);
            match world.resolve(dir) {
                Some(dir) => targets.within.push((dir, true)),
                None => targets.doubt = Some(UNKNOWN_DIRECTORY),
            }
            return targets;
        }
        let Some(dir) = world.resolve(dir) else {
            targets.doubt = Some(UNKNOWN_DIRECTORY);
            return targets;
        };
        match self.matching_in(&dir, pattern) {
            Some(known) => targets.known = known,
            None => targets.within.push((dir, false)),
        }
        targets
    }

    /// The entries of a directory whose names fit. `None` where it cannot be told.
    pub(crate) fn matching_in(&self, dir: &[u8], pattern: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        if self.view.kind(dir) == Kind::Missing && !self.made_something_in(dir) {
            return Some(Vec::new());
        }
        let names = self.list_directory(dir)?;
        let mut found: Vec<_> = names
            .into_iter()
            .filter(|(name, _)| matches(pattern, name))
            .filter_map(|(name, kind)| Some((crate::names::STYLE.join(dir, &name)?, kind)))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Some(found)
    }

    /// The entries beneath a directory whose names fit, at any depth; what links lead to is left
    /// out. `None` where it cannot be told or there is too much.
    pub(crate) fn walk(&self, dir: &[u8], pattern: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        const MAX_FOUND: usize = 500;
        let mut found = Vec::new();
        let mut ahead = vec![dir.to_vec()];
        while let Some(dir) = ahead.pop() {
            for (path, kind) in self.matching_in(&dir, b"*")? {
                let name = split_last(&path).1;
                if matches(pattern, name) {
                    found.push((path.clone(), kind));
                }
                match kind {
                    Kind::Directory => ahead.push(path),
                    Kind::Unknown => return None,
                    _ => {}
                }
            }
            if found.len() > MAX_FOUND {
                return None;
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Some(found)
    }
}

/// The directory that the beginning of a path leads into, where it can be told.
fn directory_of(world: &World, beginning: &[u8]) -> Option<Vec<u8>> {
    let dir = split_last(beginning).0;
    if dir.is_empty() || has_wildcard(dir) {
        return None;
    }
    world.resolve(dir)
}

/// A path with a part that stands for names that are not known.
fn within_mark(world: &World, cells: &[Cell], mark: usize) -> Targets {
    let before = bytes(&cells[..mark]);
    let dir = split_last(&before).0;
    let deep = cells[mark..].contains(&ANY_DEEP)
        || cells[mark..]
            .iter()
            .any(|c| matches!(byte(*c), b'\\' | b'/'))
        || has_wildcard(dir);
    let leaves = cells[mark..]
        .windows(2)
        .any(|pair| pair.iter().all(|c| byte(*c) == b'.'));
    if leaves {
        return Targets {
            pattern: true,
            doubt: Some("a path that leaves the directory of a name that is not known"),
            ..Targets::default()
        };
    }
    let first = before
        .iter()
        .position(|b| matches!(b, b'*' | b'?'))
        .unwrap_or(before.len());
    let dir = split_last(&before[..first]).0;
    match world.resolve(dir) {
        Some(dir) => Targets {
            within: vec![(dir, deep)],
            pattern: true,
            ..Targets::default()
        },
        None => Targets {
            pattern: true,
            doubt: Some(UNKNOWN_DIRECTORY),
            ..Targets::default()
        },
    }
}
