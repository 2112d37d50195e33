//! A tree to measure with: copied into the work directory, edited, deleted from and put back.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::process::run;
use super::program::remove;

/// How many files an edit changes.
pub(crate) const EDITS: usize = 100;

/// How many entries the subtree that gets deleted should have.
const VICTIM: u64 = 10_000;

/// Appends a line to every file that the list names. Arguments: list, line.
const EDIT: &str = r#"while IFS= read -r file; do
    printf '%s\n' "$2" >> "$file"
done < "$1"
"#;

/// A tree to work in.
pub(crate) struct Site {
    /// The directory that everything else is in.
    root: PathBuf,
    /// Where a case keeps its stores and copies; empty when it begins.
    pub(crate) scratch: PathBuf,
    /// Its name in the report.
    pub(crate) name: String,
    /// The tree that is worked in.
    pub(crate) tree: PathBuf,
    /// A copy of it that nobody touches.
    pub(crate) pristine: PathBuf,
    /// How many entries it has, itself not counted.
    pub(crate) entries: u64,
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// The subtree that gets deleted, relative to the tree.
    pub(crate) victim: PathBuf,
    /// How many entries that has.
    pub(crate) victim_entries: u64,
}

impl Site {
    /// Makes copies of `pristine`, which nobody may touch, in the new directory `root`.
    pub(crate) fn new(root: PathBuf, name: &str, pristine: PathBuf) -> Result<Self> {
        eprintln!("{name}: copying");
        fs::create_dir_all(&root)?;
        let mut survey = Survey::default();
        survey.directory(&pristine, Path::new(""))?;
        let (victim, victim_entries) = survey.victim()?;
        let site = Self {
            tree: root.join("tree"),
            scratch: root.join("scratch"),
            name: name.to_owned(),
            pristine,
            entries: survey.entries,
            bytes: survey.bytes,
            victim_entries,
            victim,
            root,
        };
        let editable = editable(&site.pristine, &site.victim)?;
        fs::write(site.list(), editable.join(&b'\n'))?;
        site.reset()?;
        site.clear()?;
        Ok(site)
    }

    /// Makes the tree anew from the pristine copy.
    pub(crate) fn reset(&self) -> Result<()> {
        remove(&self.tree)?;
        run(Command::new("cp")
            .arg("-a")
            .args([&self.pristine, &self.tree]))
    }

    /// Deletes what a case left in the scratch directory.
    pub(crate) fn clear(&self) -> Result<()> {
        remove(&self.scratch)?;
        Ok(fs::create_dir(&self.scratch)?)
    }

    /// Deletes everything that belongs to the tree.
    pub(crate) fn remove(&self) -> Result<()> {
        Ok(remove(&self.root)?)
    }

    /// The file that names the files to edit, relative to the tree.
    pub(crate) fn list(&self) -> PathBuf {
        self.root.join("edits")
    }

    /// A program that edits files of the tree in its working directory, [`EDITS`] times.
    pub(crate) fn edit(&self) -> Vec<String> {
        self.script(EDIT)
    }

    /// A program of `bash` that is given the list of files to edit and a line.
    pub(crate) fn script(&self, text: &str) -> Vec<String> {
        let list = self.list().display().to_string();
        let line = "a line that was not there before";
        ["bash", "-c", text, "bash", &list, line]
            .map(str::to_owned)
            .to_vec()
    }
}

/// What a tree consists of.
#[derive(Default)]
struct Survey {
    entries: u64,
    bytes: u64,
    /// Every directory relative to the tree, with the entries beneath it.
    directories: Vec<(PathBuf, u64)>,
}

impl Survey {
    /// Counts what is in the directory at `root`/`path`; gives the entries beneath it.
    fn directory(&mut self, root: &Path, path: &Path) -> Result<u64> {
        let before = self.entries;
        let full = root.join(path);
        for entry in fs::read_dir(&full).with_context(|| format!("reading {}", full.display()))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            self.entries += 1;
            if metadata.is_file() {
                self.bytes += metadata.len();
            } else if metadata.is_dir() {
                let inner = path.join(entry.file_name());
                let entries = self.directory(root, &inner)?;
                self.directories.push((inner, entries));
            }
        }
        Ok(self.entries - before)
    }

    /// The subtree to delete: as near to [`VICTIM`] entries as there is one of at most half the
    /// tree, with a name that survives becoming a script's argument.
    fn victim(&self) -> Result<(PathBuf, u64)> {
        self.directories
            .iter()
            .filter(|(path, entries)| path.to_str().is_some() && *entries <= self.entries / 2)
            .min_by_key(|(_, entries)| entries.abs_diff(VICTIM))
            .cloned()
            .context("the tree has no subtree of at most half its entries")
    }
}

/// The files to edit, [`EDITS`] names a line can hold: spread evenly over the tree outside `victim`,
/// each several times where there are fewer.
fn editable(root: &Path, victim: &Path) -> Result<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    each_file(root, Path::new(""), victim, &mut |path| {
        all.push(path.as_os_str().as_bytes().to_vec());
    })?;
    anyhow::ensure!(
        !all.is_empty(),
        "{} has no files outside {}",
        root.display(),
        victim.display()
    );
    let spread = |at: usize| all[(at * all.len() / EDITS.min(all.len())) % all.len()].clone();
    Ok((0..EDITS).map(spread).collect())
}

/// Calls `visit` with every file beneath `root`/`path` outside `except`, in the order of names.
fn each_file(root: &Path, path: &Path, except: &Path, visit: &mut dyn FnMut(&Path)) -> Result<()> {
    let mut entries = fs::read_dir(root.join(path))?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let inner = path.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && inner != except {
            each_file(root, &inner, except, visit)?;
        } else if kind.is_file() && !inner.as_os_str().as_bytes().contains(&b'\n') {
            visit(&inner);
        }
    }
    Ok(())
}
