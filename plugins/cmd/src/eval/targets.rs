//! Which paths an operand names.

use deployx_plugin_sdk::Kind;

use super::{Evaluator, MAX_LISTINGS, World};
use crate::cell::{ANY_DEEP, Cell, byte, bytes, has_unknown};
use crate::names::{
    STYLE, has_wildcard, is_device, is_raw, is_short, matches, may_be_short_for, plain, split_last,
};
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
        if is_raw(&text) {
            return Targets {
                doubt: Some("a path that names no drive"),
                ..Targets::default()
            };
        }
        if text.starts_with(br"\\?\") || text.starts_with(br"\??\") {
            text = plain(&text);
        }
        if text.is_empty() || is_device(&text) {
            return Targets::default();
        }
        let mut targets = if has_wildcard(&text) {
            self.matching(world, &text)
        } else {
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
        };
        // These act on a link, not on what it leads to.
        let on_links = matches!(
            self.rule.as_str(),
            "rd" | "rmdir" | "ren" | "rename" | "move" | "mklink"
        );
        let directory = world.resolve(split_last(&text).0);
        let doubt = directory
            .and_then(|path| self.leads_elsewhere(&path, true))
            .or_else(|| {
                let mut known = targets.known.iter();
                known.find_map(|(path, _)| self.leads_elsewhere(path, !on_links))
            });
        if let Some(doubt) = doubt {
            targets.doubt.get_or_insert(doubt);
        }
        targets
    }

    /// Why what is at `path` may lie elsewhere under another name. `follow`: links at the end count.
    fn leads_elsewhere(&self, path: &[u8], follow: bool) -> Option<&'static str> {
        if let [letter, b':', ..] = path
            && self.remapped.contains(&letter.to_ascii_uppercase())
        {
            return Some("the drive stands for another place now");
        }
        if let Some(rest) = path.strip_prefix(br"\\") {
            let host = rest.split(|b| STYLE.is_separator(*b)).next()?;
            let local: [&[u8]; 5] = [b"localhost", b"127.0.0.1", b"::1", b".", b"?"];
            let own = self.environment("COMPUTERNAME");
            if local.iter().any(|name| host.eq_ignore_ascii_case(name))
                || own.is_some_and(|own| host.eq_ignore_ascii_case(&own))
            {
                return Some("a share of this computer");
            }
        }
        let behind_link =
            |link: &Vec<u8>| STYLE.starts_with(path, link) && (follow || path.len() > link.len());
        if self.links.iter().any(behind_link) {
            return Some("a path through a link that the line makes");
        }
        self.has_short_name(path)
            .then_some("a short name of a file that has a longer one")
    }

    /// Whether a part of the path is the short name of an entry, which the view does not know by it.
    fn has_short_name(&self, path: &[u8]) -> bool {
        if !path.contains(&b'~') {
            return false;
        }
        let mut at = Some(path.to_vec());
        while let Some(path) = at {
            let parent = STYLE.parent(&path);
            if let (Some(parent), Some(name)) = (&parent, STYLE.name(&path))
                && is_short(name)
                && self.view.kind(&path) == Kind::Missing
            {
                if self.listings.get() >= MAX_LISTINGS {
                    return true;
                }
                self.listings.set(self.listings.get() + 1);
                let names = self.view.list(parent).unwrap_or_default();
                if names.iter().any(|(long, _)| may_be_short_for(name, long)) {
                    return true;
                }
            }
            at = parent;
        }
        false
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
            .filter_map(|(name, kind)| Some((STYLE.join(dir, &name)?, kind)))
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
