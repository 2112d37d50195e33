//! What a command finds when it runs: directory, variables, stack of directories.

use std::collections::BTreeMap;

use crate::cell::Cell;
use crate::names::STYLE;

/// How many states are followed side by side.
const MAX_WORLDS: usize = 4;

/// One state in which a part of a line may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct World {
    /// The working directory, where known.
    pub(crate) cwd: Option<Vec<u8>>,
    /// The current drive, where known without its directory.
    pub(crate) drive: Option<u8>,
    /// Directories of other drives, by letter.
    pub(crate) drives: BTreeMap<u8, Option<Vec<u8>>>,
    /// What `pushd` kept.
    pub(crate) stack: Vec<Option<Vec<u8>>>,
    /// Variables set by the line, by name in lower case; `None` where the value is not known.
    pub(crate) variables: BTreeMap<String, Option<Vec<Cell>>>,
    /// `!NAME!` is replaced.
    pub(crate) delayed: bool,
}

impl World {
    pub(crate) fn new(cwd: Option<Vec<u8>>) -> Self {
        Self {
            cwd,
            drive: None,
            drives: BTreeMap::new(),
            stack: Vec::new(),
            variables: BTreeMap::new(),
            delayed: false,
        }
    }

    /// `path` made absolute and plain; `None` where the working directory would have to be known.
    pub(crate) fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let path = crate::names::plain(path);
        if let Some(cwd) = &self.cwd
            && let Some(found) = STYLE.resolve(cwd, &path)
        {
            return Some(found);
        }
        if STYLE.is_absolute(&path) {
            return STYLE.resolve(&path, b"");
        }
        match (path.as_slice(), self.drive) {
            ([b'\\' | b'/', ..], Some(drive)) => STYLE.resolve(&[drive, b':', b'\\'], &path),
            ([letter, b':', rest @ ..], _) if letter.is_ascii_alphabetic() => {
                let directory = self.drives.get(&letter.to_ascii_uppercase())?.as_ref()?;
                STYLE.resolve(directory, rest)
            }
            _ => None,
        }
    }

    /// Forgets everything that can change within a line.
    pub(crate) fn forget(&mut self) {
        self.cwd = None;
        self.drive = None;
        self.drives.clear();
        self.stack.clear();
        for value in self.variables.values_mut() {
            *value = None;
        }
    }
}

/// Each state once; one that knows nothing where there would be too many.
pub(crate) fn settle(worlds: Vec<World>) -> Vec<World> {
    let mut kept: Vec<World> = Vec::with_capacity(worlds.len());
    for world in worlds {
        if !kept.contains(&world) {
            kept.push(world);
        }
    }
    if kept.len() > MAX_WORLDS {
        let names: Vec<String> = kept
            .iter()
            .flat_map(|w| w.variables.keys().cloned())
            .collect();
        kept.truncate(1);
        for name in names {
            kept[0].variables.insert(name, None);
        }
        kept[0].forget();
    }
    kept
}
