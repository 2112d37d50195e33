//! What snapshots cost within a process that lives on, without the start of a shell.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use deployx::engine::RunContext;
use deployx::execute::{Cancel, Output};
use deployx::progress::{Event, Phase, Progress};
use deployx::request::BatchRequest;
use serde::Serialize;

use crate::common::figures::{Figures, Unit};
use crate::runner::{engine, request};
use crate::tools::Needs;
use crate::volumes::Volume;

/// The strategies that are timed, with what they need.
pub(crate) const STRATEGIES: [(&str, Needs); 2] = [
    ("journal", Needs::Nothing),
    ("subvolume", Needs::Subvolumes),
];

/// How many files the commands edit.
const EDITS: [usize; 4] = [1, 10, 100, 1000];

/// What one kind of command cost.
#[derive(Debug, Serialize)]
pub(crate) struct Timing {
    /// What the command does.
    pub(crate) what: String,
    /// From the end of the report before to the command's start: the snapshot.
    pub(crate) begin: Figures,
    /// From the command's end to its report.
    pub(crate) seal: Figures,
    /// Both.
    pub(crate) both: Figures,
}

/// Times `runs` commands of each kind in `tree`.
pub(crate) fn measure(
    volume: &Volume,
    tree: &Path,
    strategy: &str,
    runs: usize,
) -> Result<Vec<Timing>> {
    let store = tempfile::Builder::new()
        .prefix("store-")
        .tempdir_in(volume.root())?;
    let engine = engine(store.path())?;
    let lists = tempfile::tempdir_in(volume.root())?;
    let mut timings = vec![time(&engine, tree, strategy, "first snapshot", "true", 1)?];
    timings.push(time(&engine, tree, strategy, "unchanged", "true", runs)?);
    let files = spread(tree, EDITS[EDITS.len() - 1])?;
    for edits in EDITS {
        let list = lists.path().join(edits.to_string());
        let chosen: Vec<&str> = (0..edits)
            .map(|at| files[at * files.len() / edits].as_str())
            .collect();
        fs::write(&list, chosen.join("\n") + "\n")?;
        let command = format!(
            "while IFS= read -r file; do echo line >> \"$file\"; done < '{}'",
            list.display()
        );
        volume.settle()?;
        let what = format!("{edits} edits");
        timings.push(time(&engine, tree, strategy, &what, &command, runs)?);
    }
    Ok(timings)
}

/// Runs `command` so often in one shell, after once that does not count unless it is the only one.
fn time(
    engine: &deployx::engine::Engine,
    tree: &Path,
    strategy: &str,
    what: &str,
    command: &str,
    runs: usize,
) -> Result<Timing> {
    eprintln!("{what}");
    let skipped = usize::from(runs > 1);
    let batch = BatchRequest {
        batch_id: None,
        commands: vec![command.into(); runs + skipped],
        run: request(strategy, tree, command)?,
        keep_going: false,
    };
    let clock = Clock::default();
    let (mut begins, mut seals) = (Vec::new(), Vec::new());
    let mut last = Instant::now();
    let mut on_report = |report: &deployx::engine::RunReport| {
        let now = Instant::now();
        if let Some((started, ended)) = clock.take()
            && report.snapshot_error.is_none()
        {
            begins.push((started - last).as_secs_f64());
            seals.push((now - ended).as_secs_f64());
        }
        last = now;
    };
    let cancel = Cancel::default();
    let mut context = RunContext::new(Output::inherit(), &cancel, &clock);
    context.on_report = Some(&mut on_report);
    let report = engine.batch(&batch, context).context("the engine")?;
    ensure!(report.success, "a command failed");
    ensure!(begins.len() == runs + skipped, "a snapshot failed");
    let (begins, seals) = (begins.split_off(skipped), seals.split_off(skipped));
    let both = begins.iter().zip(&seals).map(|(a, b)| a + b).collect();
    Ok(Timing {
        what: what.to_owned(),
        begin: Figures::new("before the command", Unit::Seconds, begins),
        seal: Figures::new("after the command", Unit::Seconds, seals),
        both: Figures::new("both", Unit::Seconds, both),
    })
}

/// When the command started and ended.
#[derive(Default)]
struct Clock {
    command: Mutex<(Option<Instant>, Option<Instant>)>,
}

impl Clock {
    fn take(&self) -> Option<(Instant, Instant)> {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, ended) = std::mem::take(&mut *command);
        started.zip(ended)
    }
}

impl Progress for Clock {
    fn event(&self, event: Event) {
        let mut command = self.command.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Begin {
                phase: Phase::Command,
                ..
            } => *command = (Some(Instant::now()), None),
            Event::End if command.0.is_some() && command.1.is_none() => {
                command.1 = Some(Instant::now());
            }
            _ => {}
        }
    }
}

/// Names of so many files, spread over the tree.
fn spread(tree: &Path, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::new();
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                directories.push(entry.path());
            } else if let Some(name) = entry.path().to_str() {
                all.push(name.to_owned());
            }
        }
    }
    all.sort();
    ensure!(all.len() >= count, "the tree has fewer than {count} files");
    Ok((0..count)
        .map(|at| all[at * all.len() / count].clone())
        .collect())
}
