//! Which touched entries are left alone, as patterns and ignore files say.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::io::Read as _;

use crate::error::Result;
use crate::path::AbsPath;
use crate::snapshot::Exclusions;
use crate::snapshot::tree::IGNORE_FILE;
use crate::snapshot::tree::exclude::Rules;
use crate::sys::Dir;

/// The most bytes of an ignore file.
const MOST: u64 = 1 << 20;

/// The rules in each directory: beneath the command's working directory those of patterns and ignore
/// files, elsewhere those of patterns alone.
pub(super) struct Rulebook<'a> {
    exclusions: &'a Exclusions,
    /// Ignore files as they were before, where they changed; `None`: there was none.
    before: HashMap<AbsPath, Option<String>>,
    /// In each directory; `None` where they leave it out.
    known: HashMap<AbsPath, Option<Rules>>,
    /// The directory that was asked for last: most are asked for many times in a row.
    last: Option<(AbsPath, Option<Rules>)>,
    found: BTreeMap<AbsPath, String>,
}

impl<'a> Rulebook<'a> {
    pub(super) fn new(
        exclusions: &'a Exclusions,
        before: HashMap<AbsPath, Option<String>>,
    ) -> Self {
        Self {
            exclusions,
            before,
            known: HashMap::new(),
            last: None,
            found: BTreeMap::new(),
        }
    }

    /// Whether an entry is left alone.
    pub(super) fn excludes(&mut self, path: &AbsPath, is_dir: bool) -> Result<bool> {
        if self.exclusions.covers(path) {
            return Ok(true);
        }
        // The place where the command ran is never left out itself.
        if self.exclusions.base.as_ref() == Some(path) {
            return Ok(false);
        }
        let Some(parent) = path.as_path().parent() else {
            return Ok(false);
        };
        if self
            .last
            .as_ref()
            .is_none_or(|(last, _)| last.as_path().as_os_str() != parent.as_os_str())
            && let Some(parent) = path.parent()
        {
            self.last = Some((parent.clone(), self.within(&parent)?));
        }
        Ok(match self.last.as_ref().map(|(_, rules)| rules) {
            None => false,
            Some(None) => true,
            Some(Some(rules)) => !rules.is_empty() && rules.exclude(path.as_path(), is_dir),
        })
    }

    /// Every ignore file that was read.
    pub(super) fn into_found(self) -> Vec<(AbsPath, String)> {
        self.found.into_iter().collect()
    }

    fn within(&mut self, directory: &AbsPath) -> Result<Option<Rules>> {
        if let Some(rules) = self.known.get(directory) {
            return Ok(rules.clone());
        }
        let base = self.exclusions.base.as_ref();
        let at_base = base == Some(directory);
        let rules = match directory.parent().filter(|_| !at_base) {
            None => Some(Rules::at_root(directory, &self.exclusions.patterns)?),
            Some(parent) => self
                .within(&parent)?
                .filter(|rules| rules.is_empty() || !rules.exclude(directory.as_path(), true)),
        };
        let reads = base.is_some_and(|base| directory.starts_with(base));
        let rules = rules.map(
            |rules| match reads.then(|| self.text(directory)).flatten() {
                Some(text) => {
                    let with = rules.with_file(directory, &text);
                    self.found.insert(directory.clone(), text);
                    with
                }
                None => rules,
            },
        );
        self.known.insert(directory.clone(), rules.clone());
        Ok(rules)
    }

    fn text(&self, directory: &AbsPath) -> Option<String> {
        let name = OsStr::new(IGNORE_FILE);
        if let Some(before) = self.before.get(&directory.join(name).ok()?) {
            return before.clone();
        }
        let file = Dir::open_path(directory).ok()?.open_file(name).ok()?;
        let mut bytes = Vec::new();
        file.take(MOST).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
