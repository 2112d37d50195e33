//! What was measured, as Markdown and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::common::figures::{Figures, Unit, in_unit, median};
use crate::rounds::Series;

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
    /// The largest peak memory of each, in bytes.
    peak_bytes: Vec<u64>,
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
            deployx: deployx.figures(),
            peer: Some(peer.figures()),
            peak_bytes: vec![deployx.peak_bytes(), peer.peak_bytes()],
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
            peak_bytes: Vec::new(),
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
            self.peak_bytes
                .iter()
                .map(|bytes| in_unit(*bytes as f64, Unit::Bytes))
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

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What it was measured on, one fact a line.
    pub(crate) machine: Vec<String>,
    /// The trees, one a line.
    pub(crate) trees: Vec<String>,
    /// DeployX beside one peer each.
    pub(crate) rows: Vec<Row>,
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
}
