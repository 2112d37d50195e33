//! What was measured, as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::rounds::Series;

/// What a row's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Wall-clock seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Things counted.
    Count,
}

/// Several measurements of one thing.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figures {
    /// Who or what was measured.
    name: String,
    /// What `values` are.
    unit: Unit,
    /// One per round.
    values: Vec<f64>,
    /// The middle one.
    median: f64,
    /// The largest peak memory, in bytes.
    peak_bytes: Option<u64>,
}

impl Figures {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            median: median(&values),
            values,
            peak_bytes: None,
        }
    }

    /// The times and the peak memory of a series.
    pub(crate) fn times(series: &Series) -> Self {
        Self {
            peak_bytes: Some(series.peak_bytes()),
            ..Self::new(&series.name, Unit::Seconds, series.seconds())
        }
    }

    /// The median with its range, for people.
    pub(crate) fn text(&self) -> String {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(0.0, f64::max);
        let median = in_unit(self.median, self.unit);
        if low.total_cmp(&high).is_lt() {
            let (low, high) = (in_unit(low, self.unit), in_unit(high, self.unit));
            format!("{median} ({low} – {high})")
        } else {
            median
        }
    }
}

/// A figure that DeployX is to reach.
#[derive(Debug, Serialize)]
struct Target {
    text: String,
    met: bool,
}

/// One line of the table: DeployX beside a peer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// Which tree, or none.
    tree: Option<String>,
    /// What was measured.
    what: String,
    deployx: Figures,
    peer: Option<Figures>,
    /// The median of the ratios DeployX / peer of each round.
    ratio: Option<f64>,
    target: Option<Target>,
}

impl Row {
    /// DeployX beside a peer; both series have the same rounds.
    pub(crate) fn pair(what: impl Into<String>, deployx: &Series, peer: &Series) -> Self {
        let pairs = deployx.samples.iter().zip(&peer.samples);
        let ratios: Vec<f64> = pairs.map(|(a, b)| a.seconds / b.seconds).collect();
        Self {
            tree: None,
            what: what.into(),
            deployx: Figures::times(deployx),
            peer: Some(Figures::times(peer)),
            ratio: Some(median(&ratios)),
            target: None,
        }
    }

    /// A figure of DeployX that no peer has.
    pub(crate) fn alone(what: impl Into<String>, deployx: Figures) -> Self {
        Self {
            tree: None,
            what: what.into(),
            deployx,
            peer: None,
            ratio: None,
            target: None,
        }
    }

    /// Counts the ratio per `parts`, where DeployX does so many times what the peer does once.
    pub(crate) fn per(mut self, parts: f64) -> Self {
        self.ratio = self.ratio.map(|ratio| ratio / parts);
        self
    }

    /// The ratio should be at most this.
    pub(crate) fn ratio_at_most(mut self, limit: f64) -> Self {
        self.target = self.ratio.map(|ratio| Target {
            text: format!("≤ {limit:.1} ×"),
            met: ratio <= limit,
        });
        self
    }

    /// The median of DeployX should be at most this, in the unit of its figures.
    pub(crate) fn at_most(mut self, limit: f64) -> Self {
        self.target = Some(Target {
            text: format!("≤ {}", in_unit(limit, self.deployx.unit)),
            met: self.deployx.median <= limit,
        });
        self
    }

    /// The row as measured in this tree.
    pub(crate) fn in_tree(mut self, tree: &str) -> Self {
        self.tree = Some(tree.to_owned());
        self
    }

    fn markdown(&self) -> String {
        let peer = self.peer.as_ref();
        let cells = [
            self.what.clone(),
            self.deployx.text(),
            peer.map_or_else(String::new, |p| format!("`{}`: {}", p.name, p.text())),
            self.ratio.map_or_else(String::new, |r| format!("{r:.2}")),
            self.target
                .as_ref()
                .map_or_else(String::new, |t| t.text.clone()),
            self.target.as_ref().map_or("", Target::verdict).to_owned(),
            [Some(&self.deployx), peer]
                .into_iter()
                .flatten()
                .filter_map(|f| f.peak_bytes)
                .map(|bytes| in_unit(bytes as f64, Unit::Bytes))
                .collect::<Vec<_>>()
                .join(" / "),
        ];
        format!("| {} |\n", cells.join(" | "))
    }
}

impl Target {
    fn verdict(&self) -> &'static str {
        if self.met { "ok" } else { "**MISSED**" }
    }
}

/// What one tool did in the comparison of whole cycles.
#[derive(Debug, Serialize)]
pub(crate) struct Cycle {
    /// Which tree.
    pub(crate) tree: String,
    /// The tool.
    pub(crate) tool: String,
    /// Its version number.
    pub(crate) version: String,
    /// First snapshot, unchanged, after edits, undo; then entries wrong and bytes stored.
    pub(crate) figures: Vec<Figures>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What it was measured on, one fact a line.
    pub(crate) machine: Vec<String>,
    /// The trees, one a line.
    pub(crate) trees: Vec<String>,
    /// DeployX beside one peer each.
    pub(crate) rows: Vec<Row>,
    /// Whole cycles of all tools.
    pub(crate) cycles: Vec<Cycle>,
    /// What could not be measured and why.
    pub(crate) skipped: Vec<String>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The report for people.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# DeployX side by side\n\n");
        for line in self.machine.iter().chain(&self.trees) {
            let _ = writeln!(text, "- {line}");
        }
        if !self.rows.is_empty() {
            text.push_str(
                "\nMedians (smallest – largest); the ratio is the median of each round's ratio.\n",
            );
        }
        self.rows(&mut text);
        self.cycles(&mut text);
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

    fn rows(&self, text: &mut String) {
        let mut trees: Vec<&Option<String>> = self.rows.iter().map(|r| &r.tree).collect();
        trees.dedup();
        for tree in trees {
            let title = tree.as_deref().map(|t| format!("The {t} tree"));
            let _ = writeln!(
                text,
                "\n## {}\n\n\
                 | measured | deployx | peer | ratio | target | | peak memory |\n\
                 |---|---|---|---|---|---|---|",
                title.as_deref().unwrap_or("Without a tree")
            );
            for row in self.rows.iter().filter(|row| row.tree == *tree) {
                text.push_str(&row.markdown());
            }
        }
    }

    fn cycles(&self, text: &mut String) {
        let mut trees: Vec<&str> = self.cycles.iter().map(|c| c.tree.as_str()).collect();
        trees.dedup();
        for tree in trees {
            let _ = writeln!(
                text,
                "\n## Whole cycles on the {tree} tree\n\n\
                 | tool | first snapshot | unchanged | after 100 edits | undo | entries wrong | \
                 stored | peak memory |\n|---|---|---|---|---|---|---|---|"
            );
            for cycle in self.cycles.iter().filter(|c| c.tree == tree) {
                let figures: Vec<String> = cycle.figures.iter().map(Figures::text).collect();
                let peak = cycle.figures.iter().filter_map(|f| f.peak_bytes).max();
                let _ = writeln!(
                    text,
                    "| {} {} | {} | {} |",
                    cycle.tool,
                    cycle.version,
                    figures.join(" | "),
                    peak.map_or_else(String::new, |b| in_unit(b as f64, Unit::Bytes)),
                );
            }
        }
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

fn in_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value < 1.0 => format!("{:.1} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes => format!("{:.1} MB", value / 1e6),
        Unit::Count => format!("{value:.0}"),
    }
}
