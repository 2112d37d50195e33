//! The chart: one panel for each tree and step, one line for each tool, one dot for each filesystem.

use std::fmt::Write as _;

use crate::cycle::STEPS;
use crate::report::{Cycles, Report};
use crate::volumes::KINDS;

/// One for each of [`KINDS`]; told apart by people who see no colours by their shape.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const FONT: &str = "font-family=\"sans-serif\"";

const LABELS: f64 = 250.0;
const PANEL: f64 = 250.0;
const GAP: f64 = 48.0;
const ROW: f64 = 19.0;
const TOP: f64 = 84.0;
const TITLE: f64 = 44.0;
const AXIS: f64 = 34.0;

/// A scale on which each tenfold has the same length.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let logs: Vec<f64> = values.filter(|v| *v > 0.0).map(f64::log10).collect();
        let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let high = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if logs.is_empty() {
            return Self { low: -1, high: 1 };
        }
        let low = low.floor() as i32;
        Self {
            low,
            high: (high.ceil() as i32).max(low + 1),
        }
    }

    fn at(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        share * PANEL
    }
}

/// The chart as SVG.
pub(crate) fn svg(report: &Report) -> String {
    let mut trees: Vec<&str> = Vec::new();
    let mut tools: Vec<&str> = Vec::new();
    for cycles in &report.cycles {
        if !trees.contains(&cycles.tree.as_str()) {
            trees.push(&cycles.tree);
        }
        if !tools.contains(&cycles.tool.as_str()) {
            tools.push(&cycles.tool);
        }
    }
    let band = TITLE + ROW * tools.len() as f64 + AXIS;
    let width = LABELS + STEPS.len() as f64 * (PANEL + GAP) + GAP;
    let height = TOP + band * trees.len() as f64;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" {FONT} font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\">\
         Seconds for each step (median, logarithmic, less is better)</text>\n"
    );
    legend(&mut text);
    for (at, tree) in trees.iter().enumerate() {
        let top = TOP + band * at as f64;
        tree_panels(&mut text, report, (tree, &tools), top);
    }
    text.push_str("</svg>\n");
    text
}

fn legend(text: &mut String) {
    for (at, kind) in KINDS.iter().enumerate() {
        let x = LABELS + 110.0 * at as f64;
        mark(text, at, x, 50.0);
        let _ = writeln!(text, "<text x=\"{}\" y=\"54\">{kind}</text>", x + 12.0);
    }
}

/// The panels of one tree with the names of the tools before them.
fn tree_panels(text: &mut String, report: &Report, (tree, tools): (&str, &[&str]), top: f64) {
    let _ = writeln!(
        text,
        "<text x=\"16\" y=\"{}\" font-size=\"14\" font-weight=\"bold\">tree: {tree}</text>",
        top + 24.0
    );
    for (row, tool) in tools.iter().enumerate() {
        let y = top + TITLE + ROW * (row as f64 + 0.5);
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{tool}</text>",
            LABELS - 10.0,
            y + 4.0
        );
    }
    for (step, name) in STEPS.iter().enumerate() {
        let x = LABELS + step as f64 * (PANEL + GAP);
        let _ = writeln!(
            text,
            "<text x=\"{x}\" y=\"{}\" font-size=\"13\">{name}</text>",
            top + TITLE - 10.0
        );
        let of_tree = || report.cycles.iter().filter(|c| c.tree == tree);
        let scale = Scale::of(of_tree().filter_map(|cycles| cycles.median(step)));
        grid(text, &scale, (x, top + TITLE), tools.len());
        for cycles in of_tree() {
            dot(text, cycles, tools, (step, &scale), (x, top + TITLE));
        }
    }
}

/// A panel's lines with the axis beneath.
fn grid(text: &mut String, scale: &Scale, (x, y): (f64, f64), rows: usize) {
    let bottom = y + ROW * rows as f64;
    for row in (1..rows).step_by(2) {
        let at = y + ROW * row as f64;
        let _ = writeln!(
            text,
            "<rect x=\"{x}\" y=\"{at}\" width=\"{PANEL}\" height=\"{ROW}\" fill=\"#f4f4f4\"/>"
        );
    }
    for power in scale.low..=scale.high {
        let at = x + scale.at(10f64.powi(power));
        let _ = writeln!(
            text,
            "<line x1=\"{at}\" y1=\"{y}\" x2=\"{at}\" y2=\"{bottom}\" stroke=\"#bbb\"/>\n\
             <text x=\"{at}\" y=\"{}\" text-anchor=\"middle\" font-size=\"11\">{}</text>",
            bottom + 15.0,
            label(power)
        );
    }
}

/// A tenfold of seconds in a unit that suits it.
fn label(power: i32) -> String {
    if power < 0 {
        format!("{} ms", 10f64.powi(power + 3))
    } else {
        format!("{} s", 10f64.powi(power))
    }
}

fn dot(
    text: &mut String,
    cycles: &Cycles,
    tools: &[&str],
    (step, scale): (usize, &Scale),
    (x, y): (f64, f64),
) {
    let row = tools.iter().position(|tool| *tool == cycles.tool);
    let kind = KINDS.iter().position(|kind| *kind == cycles.volume);
    if let (Some(row), Some(kind), Some(seconds)) = (row, kind, cycles.median(step)) {
        let y = y + ROW * (row as f64 + 0.5);
        mark(text, kind, x + scale.at(seconds), y);
    }
}

/// The mark of a filesystem.
fn mark(text: &mut String, kind: usize, x: f64, y: f64) {
    let colour = COLOURS[kind];
    let shape = match kind {
        0 => format!("circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\""),
        1 => format!(
            "rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\"",
            x - 4.0,
            y - 4.0
        ),
        2 => format!("path d=\"M{x:.1} {:.1}l5 9h-10z\"", y - 5.0),
        _ => format!(
            "path d=\"M{x:.1} {:.1}l5.5 5.5l-5.5 5.5l-5.5 -5.5z\"",
            y - 5.5
        ),
    };
    let _ = writeln!(text, "<{shape} fill=\"{colour}\" fill-opacity=\"0.85\"/>");
}
