//! Measuring several programs in turn, so that whatever else the machine does meets all alike.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::common::figures::{Figures, Unit};
use crate::common::process::{Sample, measure};
use crate::work::Work;

/// One of the programs that are compared.
pub(crate) struct Side<'a> {
    /// What it does, as a command line for people.
    pub(crate) name: String,
    /// Brings everything into the state that the measured program expects; not measured.
    prepare: Box<dyn Fn() -> Result<()> + 'a>,
    /// The measured program.
    command: Box<dyn Fn() -> Command + 'a>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(name: impl Into<String>, command: impl Fn() -> Command + 'a) -> Self {
        Self {
            name: name.into(),
            prepare: Box::new(|| Ok(())),
            command: Box::new(command),
        }
    }

    /// The same with something to do before each measurement.
    pub(crate) fn after(mut self, prepare: impl Fn() -> Result<()> + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }
}

/// What was measured of one side.
#[derive(Debug)]
pub(crate) struct Series {
    /// The side's name.
    pub(crate) name: String,
    /// One per round.
    pub(crate) samples: Vec<Sample>,
}

impl Series {
    /// Wall-clock times.
    pub(crate) fn figures(&self) -> Figures {
        let seconds = self.samples.iter().map(|s| s.seconds).collect();
        Figures::new(&self.name, Unit::Seconds, seconds)
    }

    /// The largest peak memory of all rounds, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.samples.iter().map(|s| s.peak_bytes).max().unwrap_or(0)
    }
}

/// Measures the sides in turn, A B C A B C …, after one round that does not count.
///
/// What waits to be written to the work directory's volume is written before each measurement, so
/// that no program pays for what another one left behind.
#[expect(
    clippy::needless_pass_by_value,
    reason = "callers make the sides on the spot"
)]
pub(crate) fn alternate<const N: usize>(
    work: &Work,
    title: &str,
    sides: [Side<'_>; N],
) -> Result<[Series; N]> {
    let mut series = sides.each_ref().map(|side| Series {
        name: side.name.clone(),
        samples: Vec::new(),
    });
    for round in 0..=work.settings.rounds {
        eprintln!("{title}: round {round} of {}", work.settings.rounds);
        for (side, series) in sides.iter().zip(&mut series) {
            (side.prepare)().with_context(|| format!("before {}", side.name))?;
            work.settle()?;
            let sample = measure(&mut (side.command)())?;
            if round > 0 {
                series.samples.push(sample);
            }
        }
    }
    Ok(series)
}
