//! What was measured, as Markdown and as data.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::agent::Timing;
use crate::common::figures::{Figures, Unit, in_unit};
use crate::common::site::Site;
use crate::cycle::{Outcome, STEPS};
use crate::tools::Tool;
use crate::volumes::Volume;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// How the benchmark was called.
    command: String,
    /// What it was measured on.
    machine: String,
    /// How often each cycle was measured.
    pub(crate) rounds: usize,
    /// The tools with their versions.
    versions: BTreeMap<String, String>,
    /// What the trees consist of.
    trees: BTreeMap<String, String>,
    /// Whole cycles.
    pub(crate) cycles: Vec<Cycles>,
    /// Snapshots within a process that lives on.
    agents: Vec<Agent>,
    /// What could not be measured and why.
    pub(crate) skipped: Vec<String>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
}

/// The cycles of one tool on one tree and filesystem.
#[derive(Debug, Serialize)]
pub(crate) struct Cycles {
    pub(crate) tree: String,
    pub(crate) volume: String,
    pub(crate) tool: String,
    /// Seconds, one list for each step; one value a round, none where there is no such step.
    seconds: [Vec<f64>; 4],
    wrong: Vec<u64>,
    stored: Vec<u64>,
    record: Vec<u64>,
    own: Vec<u64>,
    peak_bytes: u64,
}

/// Snapshots of one strategy within a process that lives on.
#[derive(Debug, Serialize)]
struct Agent {
    tree: String,
    volume: String,
    strategy: String,
    timings: Vec<Timing>,
}

impl Cycles {
    /// The median of a step in seconds, where it was measured.
    pub(crate) fn median(&self, step: usize) -> Option<f64> {
        self.figures(step).map(|figures| figures.median)
    }

    fn figures(&self, step: usize) -> Option<Figures> {
        let seconds = &self.seconds[step];
        (!seconds.is_empty()).then(|| Figures::new(STEPS[step], Unit::Seconds, seconds.clone()))
    }

    fn add(&mut self, outcome: &Outcome) {
        for (seconds, sample) in self.seconds.iter_mut().zip(&outcome.samples) {
            let Some(sample) = sample else { continue };
            seconds.push(sample.seconds);
            self.peak_bytes = self.peak_bytes.max(sample.peak_bytes);
        }
        self.wrong.extend(outcome.wrong);
        self.stored.push(outcome.stored);
        self.record.extend(outcome.record);
        self.own.extend(outcome.own);
    }

    fn row(&self) -> String {
        let mut cells = vec![self.tool.clone()];
        let none = String::new;
        cells.extend(
            (0..STEPS.len()).map(|step| self.figures(step).map_or_else(none, |f| f.text())),
        );
        for (values, unit) in [
            (&self.wrong, Unit::Count),
            (&self.stored, Unit::Bytes),
            (&self.record, Unit::Bytes),
            (&self.own, Unit::Bytes),
        ] {
            let values: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            let text = Figures::new("", unit, values.clone()).text();
            cells.push(if values.is_empty() { none() } else { text });
        }
        let peak = in_unit(self.peak_bytes as f64, Unit::Bytes);
        cells.push(if self.peak_bytes == 0 { none() } else { peak });
        format!("| {} |\n", cells.join(" | "))
    }
}

impl Report {
    pub(crate) fn new(command: String, machine: String) -> Self {
        Self {
            command,
            machine,
            rounds: 0,
            versions: BTreeMap::new(),
            trees: BTreeMap::new(),
            cycles: Vec::new(),
            agents: Vec::new(),
            skipped: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Notes a tool's version, once for all ways in which the same program is used.
    pub(crate) fn version(&mut self, tool: &Tool, version: &str) {
        let program = tool.name.split(' ').next().unwrap_or(tool.name);
        self.versions.insert(program.to_owned(), version.to_owned());
    }

    /// Notes what a tree consists of.
    pub(crate) fn describe(&mut self, site: &Site) {
        let text = format!(
            "{} entries, {:.1} MB; the deleted subtree has {} entries",
            thousands(site.entries),
            site.bytes as f64 / 1e6,
            thousands(site.victim_entries),
        );
        self.trees.insert(site.name.clone(), text);
    }

    /// Adds a cycle.
    pub(crate) fn add(&mut self, volume: &Volume, site: &Site, tool: &Tool, outcome: &Outcome) {
        let same = |cycles: &&mut Cycles| {
            cycles.tree == site.name && cycles.volume == volume.kind && cycles.tool == tool.name
        };
        if let Some(cycles) = self.cycles.iter_mut().find(same) {
            return cycles.add(outcome);
        }
        let mut cycles = Cycles {
            tree: site.name.clone(),
            volume: volume.kind.clone(),
            tool: tool.name.to_owned(),
            seconds: [const { Vec::new() }; 4],
            wrong: Vec::new(),
            stored: Vec::new(),
            record: Vec::new(),
            own: Vec::new(),
            peak_bytes: 0,
        };
        cycles.add(outcome);
        self.cycles.push(cycles);
    }

    /// Adds what was timed within a process.
    pub(crate) fn agent(
        &mut self,
        volume: &Volume,
        tree: &str,
        strategy: &str,
        timings: Vec<Timing>,
    ) {
        self.agents.push(Agent {
            tree: tree.to_owned(),
            volume: volume.kind.clone(),
            strategy: strategy.to_owned(),
            timings,
        });
    }

    /// The report for people.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "# DeployX and its peers\n\nWritten by `{}`; [README.md](README.md) says what is \
             measured, [results.svg](results.svg) is the chart.\n\n- {}\n- rounds: {}\n",
            self.command, self.machine, self.rounds
        );
        let versions = self
            .versions
            .iter()
            .map(|(name, of)| format!("{name} {of}"));
        let _ = writeln!(text, "- {}", versions.collect::<Vec<_>>().join(", "));
        for (name, what) in &self.trees {
            let _ = writeln!(text, "- `{name}`: {what}");
        }
        self.write_cycles(&mut text);
        self.write_agents(&mut text);
        for (title, lines) in [("Skipped", &self.skipped), ("Failed", &self.failures)] {
            if !lines.is_empty() {
                let _ = writeln!(text, "\n## {title}\n");
                for line in lines {
                    let _ = writeln!(text, "- {line}");
                }
            }
        }
        text
    }

    fn write_cycles(&self, text: &mut String) {
        let mut last = None;
        for cycles in &self.cycles {
            let place = (&cycles.volume, &cycles.tree);
            if last != Some(place) {
                last = Some(place);
                let _ = writeln!(
                    text,
                    "\n## {}, `{}`\n\n\
                     | tool | {} | entries wrong | stored | last snapshot | own blocks | \
                     peak memory |\n|---|---|---|---|---|---|---|---|---|---|",
                    cycles.volume,
                    cycles.tree,
                    STEPS.join(" | "),
                );
            }
            text.push_str(&cycles.row());
        }
    }

    fn write_agents(&self, text: &mut String) {
        if self.agents.is_empty() {
            return;
        }
        text.push_str(
            "\n## Within a process that lives on\n\n\
             | filesystem | tree | strategy | command | before it | after it | both |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for agent in &self.agents {
            for timing in &agent.timings {
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {} | {} | {} | {} |",
                    agent.volume,
                    agent.tree,
                    agent.strategy,
                    timing.what,
                    timing.begin.text(),
                    timing.seal.text(),
                    timing.both.text(),
                );
            }
        }
    }
}

/// A number with commas.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
