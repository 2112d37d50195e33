//! How the rules did on each line, and on all of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use deployx::infer::Scope;

use crate::lines::{Answer, Line};
use crate::observe;

/// How the rules did on one line.
pub(crate) struct Score {
    pub(crate) command: String,
    category: String,
    expected: Answer,
    /// What was not understood, and why.
    unclear: Vec<String>,
    /// How many entries the line touched.
    pub(crate) touched: usize,
    /// Those that the scope does not cover.
    pub(crate) missed: Vec<PathBuf>,
    /// Entries covered for each that has to be; only for lines that ran.
    pub(crate) ratio: Option<f64>,
    /// How long the rules took.
    pub(crate) took: Duration,
    /// Expected effects that were not named.
    effects_missed: Vec<String>,
}

impl Score {
    pub(crate) fn new(line: &Line, scope: &Scope) -> Self {
        // A remote end and the network between are two names of one thing.
        let plain = |what: &str| {
            if what == "remote" {
                "network".to_owned()
            } else {
                what.to_owned()
            }
        };
        let named: Vec<String> = scope.irreversible.iter().map(|e| plain(&e.what)).collect();
        Self {
            command: line.command.clone(),
            category: line.category.clone(),
            expected: line.understood,
            unclear: observe::reasons(scope),
            touched: 0,
            missed: Vec::new(),
            ratio: None,
            took: Duration::ZERO,
            effects_missed: line
                .irreversible
                .iter()
                .filter(|what| !named.contains(&plain(what)))
                .cloned()
                .collect(),
        }
    }

    fn understood(&self) -> bool {
        self.unclear.is_empty()
    }

    fn is_expected(&self) -> bool {
        match self.expected {
            Answer::Yes => self.understood(),
            Answer::No => !self.understood(),
            Answer::Either => true,
        }
    }
}

/// All scores.
#[derive(Default)]
pub(crate) struct Board {
    scores: Vec<Score>,
}

impl Board {
    pub(crate) fn add(&mut self, score: Score) {
        self.scores.push(score);
    }

    /// The share of touched entries that were covered.
    pub(crate) fn recall(&self) -> f64 {
        recall(&self.scores.iter().collect::<Vec<_>>())
    }

    /// The mean of the lines' recalls, so that lines that touch little count as much as others.
    pub(crate) fn mean_recall(&self) -> f64 {
        let lines: f64 = self.scores.iter().map(|score| recall(&[score])).sum();
        lines / self.scores.len().max(1) as f64
    }

    /// Lines that were said to be understood and were not covered.
    pub(crate) fn silent(&self) -> impl Iterator<Item = &Score> {
        self.missed().filter(|score| score.understood())
    }

    /// How many lines were said to be understood.
    pub(crate) fn understood(&self) -> usize {
        self.scores
            .iter()
            .filter(|score| score.understood())
            .count()
    }

    fn missed(&self) -> impl Iterator<Item = &Score> {
        self.scores.iter().filter(|score| !score.missed.is_empty())
    }

    /// The median of the lines' ratios.
    pub(crate) fn median_ratio(&self) -> f64 {
        median(self.scores.iter().filter_map(|score| score.ratio))
    }

    /// Lines that were understood although nobody can, or the reverse.
    pub(crate) fn unexpected(&self) -> impl Iterator<Item = &Score> {
        self.scores.iter().filter(|score| !score.is_expected())
    }

    /// Lines with effects that were expected and not named.
    pub(crate) fn effects_missed(&self) -> impl Iterator<Item = &Score> {
        self.scores
            .iter()
            .filter(|score| !score.effects_missed.is_empty())
    }

    /// Everything for people.
    pub(crate) fn table(&self) -> String {
        let mut out = String::new();
        self.details(&mut out);
        self.worst(&mut out);
        let _ = writeln!(
            out,
            "\n{:<28} {:>5} {:>8} {:>8} {:>7} {:>7} {:>11} {:>7}",
            "bash", "lines", "touched", "recall", "missed", "silent", "understood", "median"
        );
        let mut rooms: BTreeMap<&str, Vec<&Score>> = BTreeMap::new();
        for score in &self.scores {
            rooms.entry(&score.category).or_default().push(score);
        }
        for (room, scores) in &rooms {
            row(&mut out, room, scores);
        }
        row(&mut out, "all", &self.scores.iter().collect::<Vec<_>>());
        let ran: Vec<&Score> = self.scores.iter().filter(|s| s.ratio.is_some()).collect();
        let understood: Vec<f64> = ran
            .iter()
            .filter(|score| score.understood())
            .filter_map(|score| score.ratio)
            .collect();
        let _ = writeln!(
            out,
            "observed {} of {}; recall of the mean line {:.4}; median of those understood {:.2}; rules took {:.2} ms at the median, {:.2} ms at most",
            ran.len(),
            self.scores.len(),
            self.mean_recall(),
            median(understood.into_iter()),
            median(self.scores.iter().map(milliseconds)),
            self.scores.iter().map(milliseconds).fold(0.0, f64::max),
        );
        out
    }

    fn details(&self, out: &mut String) {
        for score in self.missed() {
            let how = if score.understood() {
                "MISSED IN SILENCE"
            } else {
                "missed"
            };
            let _ = writeln!(out, "{how}: {}", score.command);
            for path in score.missed.iter().take(5) {
                let _ = writeln!(out, "    {}", path.display());
            }
            if score.missed.len() > 5 {
                let _ = writeln!(out, "    and {} more", score.missed.len() - 5);
            }
        }
        for score in self.unexpected() {
            if score.understood() {
                let _ = writeln!(out, "understood, but nobody can: {}", score.command);
            } else {
                let _ = writeln!(out, "not understood: {}", score.command);
                for reason in score.unclear.iter().take(3) {
                    let _ = writeln!(out, "    {reason}");
                }
            }
        }
        for score in self.effects_missed() {
            let _ = writeln!(
                out,
                "effects not named ({}): {}",
                score.effects_missed.join(", "),
                score.command
            );
        }
    }

    fn worst(&self, out: &mut String) {
        let mut ran: Vec<&Score> = self
            .scores
            .iter()
            .filter(|score| score.ratio.is_some() && score.understood())
            .collect();
        ran.sort_by(|a, b| b.ratio.unwrap_or(0.0).total_cmp(&a.ratio.unwrap_or(0.0)));
        let _ = writeln!(out, "\nwidest scopes of lines that were understood:");
        for score in ran.iter().take(10) {
            let _ = writeln!(
                out,
                "{:>8.1}  {}",
                score.ratio.unwrap_or(0.0),
                score.command.lines().next().unwrap_or_default()
            );
        }
    }
}

fn row(out: &mut String, name: &str, scores: &[&Score]) {
    let count = |which: &dyn Fn(&Score) -> bool| scores.iter().filter(|s| which(s)).count();
    let expected = count(&|s| s.expected == Answer::Yes);
    let understood = count(&|s| s.expected == Answer::Yes && s.understood());
    let _ = writeln!(
        out,
        "{name:<28} {:>5} {:>8} {:>8.4} {:>7} {:>7} {:>11} {:>7.2}",
        scores.len(),
        scores.iter().map(|s| s.touched).sum::<usize>(),
        recall(scores),
        count(&|s| !s.missed.is_empty()),
        count(&|s| !s.missed.is_empty() && s.understood()),
        format!("{understood}/{expected}"),
        median(scores.iter().filter_map(|s| s.ratio)),
    );
}

fn recall(scores: &[&Score]) -> f64 {
    let touched: usize = scores.iter().map(|score| score.touched).sum();
    let missed: usize = scores.iter().map(|score| score.missed.len()).sum();
    if touched == 0 {
        return 1.0;
    }
    (touched - missed) as f64 / touched as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn milliseconds(score: &Score) -> f64 {
    score.took.as_secs_f64() * 1e3
}
