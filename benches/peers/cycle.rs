//! A whole cycle of a tool: first snapshot, unchanged, after edits, undo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::common::judge::differences;
use crate::common::process::{Sample, output, run};
use crate::common::site::Site;
use crate::runner::Runner;
use crate::sharing::own_bytes;
use crate::tools::{How, Tool};
use crate::volumes::Volume;

/// What is timed of a cycle, in order.
pub(crate) const STEPS: [&str; 4] = ["first snapshot", "unchanged", "after 100 edits", "undo"];

/// Deletes a subtree, edits files and creates one for each edit. Arguments: list, line, subtree.
const MUTATE: &str = r#"rm -rf -- "$3"
number=0
while IFS= read -r file; do
    number=$((number + 1))
    printf '%s\n' "$2" >> "$file"
    printf '%s\n' "$2" > "$file.created$number"
done < "$1"
"#;

/// What one cycle of a tool gave.
pub(crate) struct Outcome {
    /// One for each of [`STEPS`].
    pub(crate) samples: [Option<Sample>; 4],
    /// Entries that differ from what they should be after the undo.
    pub(crate) wrong: Option<u64>,
    /// Bytes that the repository occupies before the undo.
    pub(crate) stored: u64,
    /// Bytes that the snapshot of the last change occupies, of DeployX.
    pub(crate) record: Option<u64>,
    /// Bytes in blocks of its own that the repository has after the first snapshot.
    pub(crate) own: Option<u64>,
}

/// One cycle of one tool, from an untouched tree and an empty repository. `looking`: at blocks too.
pub(crate) fn run_cycle(
    volume: &Volume,
    site: &Site,
    tool: &Tool,
    looking: bool,
) -> Result<Outcome> {
    site.reset()?;
    let runner = Runner::start(site, tool)?;
    let snapshot = |number| -> Result<Option<Sample>> {
        volume.settle()?;
        runner.snapshot(number)
    };
    let first = snapshot(1)?;
    let own = if looking && first.is_some() && volume.has_clones() {
        volume.settle()?;
        Some(own_bytes(runner.repository())?)
    } else {
        None
    };
    let unchanged = snapshot(2)?;
    let expected = site.scratch.join("expected");
    if first.is_some() {
        edit(site)?;
        // Sharing blocks with it would change what is measured.
        run(Command::new("cp")
            .args(["-a", "--reflink=never"])
            .args([&site.tree, &expected]))?;
    }
    let edited = snapshot(3)?;
    let before = snapshots(runner.repository());
    let mut mutate = site.script(MUTATE);
    mutate.push(site.victim.display().to_string());
    runner.change(&mutate)?;
    let record = is_deployx(tool)
        .then(|| record_bytes(runner.repository(), &before))
        .transpose()?;
    let snapshots_hold = occupied(runner.repository())?;
    volume.settle()?;
    let undo = runner.undo()?;
    let (wrong, stored) = if first.is_some() {
        (Some(differences(&expected, &site.tree)?), snapshots_hold)
    } else {
        (None, occupied(runner.repository())?)
    };
    Ok(Outcome {
        samples: [first, unchanged, edited, Some(undo)],
        wrong,
        stored,
        record,
        own,
    })
}

/// Edits files behind the tool's back.
fn edit(site: &Site) -> Result<()> {
    let edit = site.edit();
    run(Command::new(&edit[0])
        .args(&edit[1..])
        .current_dir(&site.tree))
}

fn is_deployx(tool: &Tool) -> bool {
    matches!(tool.how, How::Resident) || tool.name.starts_with("deployx")
}

/// What a repository has at its top.
fn snapshots(repository: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Bytes that what is new at the top of a repository occupies.
fn record_bytes(repository: &Path, before: &[PathBuf]) -> Result<u64> {
    let new = snapshots(repository)
        .into_iter()
        .filter(|path| !before.contains(path));
    new.map(|path| occupied(&path)).sum()
}

/// Bytes that a directory occupies, each file counted once however many names it has.
fn occupied(directory: &Path) -> Result<u64> {
    let du = output(Command::new("du").args(["-s", "-B1"]).arg(directory))?;
    let bytes = du.split_whitespace().next().context("du printed nothing")?;
    Ok(bytes.parse()?)
}
