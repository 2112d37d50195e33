//! Whole cycles of every tool: first snapshot, unchanged, after edits, undo.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::tools::{PLAIN_CHANGE, TOOLS, Tool};
use crate::process::{Sample, measure as time, output, run};
use crate::report::{Cycle, Figures, Report, Unit};
use crate::rounds::Series;
use crate::site::Site;
use crate::work::{DeployX, SETTINGS, Work};

/// What is timed of a cycle, in order.
const STEPS: [&str; 4] = ["first snapshot", "unchanged", "after edits", "undo"];

/// What one cycle of a tool gave.
struct Outcome {
    /// One for each of [`STEPS`].
    samples: [Sample; 4],
    /// Entries that differ from what they should be after the undo.
    wrong: u64,
    /// Bytes that the repository occupies before the undo.
    stored: u64,
}

/// Lets every installed tool do whole cycles in turn and reports them. A tool that fails is left
/// out from then on.
pub(crate) fn measure(work: &Work, site: &Site<'_>, report: &mut Report) -> Result<()> {
    if output(Command::new("rsync").arg("--version")).is_err() {
        let skipped = "whole cycles: rsync, which judges them, is not installed";
        report.skipped.push(skipped.into());
        return Ok(());
    }
    let mut tools = Vec::new();
    for tool in &TOOLS {
        match version(tool) {
            Ok(version) => tools.push((tool, version, Vec::new())),
            Err(_) => report
                .skipped
                .push(format!("whole cycles: {} is not installed", tool.name)),
        }
    }
    for round in 1..=work.settings.rounds {
        let mut failed = Vec::new();
        for (tool, _, outcomes) in &mut tools {
            eprintln!(
                "{}: whole cycle of {}, round {round} of {}",
                site.name, tool.name, work.settings.rounds
            );
            match cycle(work, site, tool) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    failed.push(tool.name);
                    report
                        .failures
                        .push(format!("whole cycle of {}: {error:#}", tool.name));
                }
            }
            site.clear()?;
        }
        tools.retain(|(tool, _, _)| !failed.contains(&tool.name));
    }
    for (tool, version, outcomes) in tools {
        report.cycles.push(Cycle {
            tree: site.name.to_owned(),
            tool: tool.name.to_owned(),
            version,
            figures: figures(&outcomes),
        });
    }
    Ok(())
}

/// One cycle of one tool, from an untouched tree and an empty repository.
fn cycle(work: &Work, site: &Site<'_>, tool: &Tool) -> Result<Outcome> {
    let place = Place::new(work, site);
    site.reset()?;
    run(&mut place.script(tool.prepare, 0, &[]))?;
    let timed = |script, number| -> Result<Sample> {
        work.settle()?;
        time(&mut place.script(script, number, &[]))
    };
    let first = timed(tool.snapshot, 1)?;
    let unchanged = timed(tool.snapshot, 2)?;
    run(&mut place.script(PLAIN_CHANGE, 0, &site.edit()))?;
    let expected = site.scratch.join("expected");
    mirror(&site.tree, &expected)?;
    let edited = timed(tool.snapshot, 3)?;
    run(&mut place.script(tool.change, 3, &site.mutate()))?;
    let stored = occupied(&place.repository)?;
    let undo = timed(tool.undo, 3)?;
    let wrong = differences(&expected, &site.tree)?;
    Ok(Outcome {
        samples: [first, unchanged, edited, undo],
        wrong,
        stored,
    })
}

/// Where a tool works, for its scripts.
struct Place<'a> {
    work: &'a Work,
    tree: &'a Path,
    repository: PathBuf,
}

impl<'a> Place<'a> {
    fn new(work: &'a Work, site: &'a Site<'_>) -> Self {
        Self {
            work,
            tree: &site.tree,
            repository: site.scratch.join("repository"),
        }
    }

    /// One of a tool's scripts with its variables and arguments.
    fn script(&self, script: &str, number: u32, arguments: &[String]) -> Command {
        let empty = OsStr::new("");
        let mut shell = Command::new("sh");
        for variable in SETTINGS {
            shell.env_remove(variable);
        }
        shell
            .args(["-euc", script, "sh"])
            .args(arguments)
            .env("DEPLOYX", DeployX::BINARY)
            .env("STRATEGY", &self.work.settings.strategy)
            .env("TREE", self.tree)
            .env("PARENT", self.tree.parent().map_or(empty, Path::as_os_str))
            .env("NAME", self.tree.file_name().unwrap_or(empty))
            .env("REPO", &self.repository)
            .env("N", number.to_string())
            // No user's or system's configuration changes what is measured.
            .env("HOME", self.work.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        shell
    }
}

/// The tool's version number.
fn version(tool: &Tool) -> Result<String> {
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", tool.version])
        .env("DEPLOYX", DeployX::BINARY);
    let said = output(&mut shell)?;
    let number = said
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    // In a pipeline the shell sees only the last program's failure.
    ensure!(!said.is_empty(), "{} says no version", tool.name);
    Ok(number.unwrap_or("unknown").to_owned())
}

/// Makes `to` the same as `from`, to the nanosecond.
fn mirror(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    run(&mut rsync(&["-aHAX", "--delete"], from, to))
}

/// How many entries of `found` are not as in `expected`, judged by rsync: content, kind, mode,
/// owner, times to the nanosecond, ACLs, attributes and hard links, missing and surplus entries.
pub(crate) fn differences(expected: &Path, found: &Path) -> Result<u64> {
    let lines = output(&mut rsync(&["-aHAXnic", "--delete"], expected, found))?;
    Ok(lines.lines().filter(|line| !line.is_empty()).count() as u64)
}

fn rsync(options: &[&str], from: &Path, to: &Path) -> Command {
    let mut rsync = Command::new("rsync");
    rsync
        .args(options)
        .args(["--numeric-ids", "--modify-window=-1"])
        .arg(from.join(""))
        .arg(to.join(""));
    rsync
}

/// Bytes that a directory occupies, each file counted once however many names it has.
fn occupied(directory: &Path) -> Result<u64> {
    let du = output(Command::new("du").args(["-s", "-B1"]).arg(directory))?;
    let bytes = du.split_whitespace().next().context("du printed nothing")?;
    Ok(bytes.parse()?)
}

fn figures(outcomes: &[Outcome]) -> Vec<Figures> {
    let steps = STEPS.iter().enumerate().map(|(at, step)| {
        Figures::times(&Series {
            name: (*step).to_owned(),
            samples: outcomes.iter().map(|o| o.samples[at]).collect(),
        })
    });
    let wrong = outcomes.iter().map(|o| o.wrong as f64).collect();
    let stored = outcomes.iter().map(|o| o.stored as f64).collect();
    steps
        .chain([
            Figures::new("entries wrong", Unit::Count, wrong),
            Figures::new("stored", Unit::Bytes, stored),
        ])
        .collect()
}
