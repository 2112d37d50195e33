//! Several measurements of one thing, and how they are shown.

use serde::Serialize;

/// What figures are.
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
    pub(crate) name: String,
    /// What `values` are.
    pub(crate) unit: Unit,
    /// One per round.
    values: Vec<f64>,
    /// The middle one.
    pub(crate) median: f64,
}

impl Figures {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            median: median(&values),
            values,
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

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// A value with its unit, for people.
pub(crate) fn in_unit(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Seconds if value < 1.0 => format!("{:.1} ms", value * 1e3),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Bytes => format!("{:.1} MB", value / 1e6),
        Unit::Count => format!("{value:.0}"),
    }
}
