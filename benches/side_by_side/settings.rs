//! What the caller chose, from the arguments and the environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::common::program::{existing, known, large_tree, number};

/// The parts of the benchmark, in the order in which they run.
pub(crate) const CASES: [&str; 6] = ["first", "warm", "edits", "undo", "start", "list"];

/// Those of them that need no tree.
const TREELESS: [&str; 2] = ["start", "list"];

/// The trees, in the order in which they are measured.
const TREES: [&str; 2] = ["small", "large"];

const USAGE: &str = "usage: cargo bench --bench side_by_side -- [--json FILE] \
                     [--only CASE[,CASE…]] [--tree small|large]\n\
                     cases: first, warm, edits, undo, start, list";

/// What is measured, how often and where.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How often each pair is measured.
    pub(crate) rounds: usize,
    /// How many snapshots `list` is measured with.
    pub(crate) snapshots: usize,
    /// Where everything is copied to and stored.
    pub(crate) directory: PathBuf,
    /// The strategy that is measured.
    pub(crate) strategy: String,
    /// Where the raw figures go.
    pub(crate) json: Option<PathBuf>,
    /// Which cases run.
    cases: Vec<String>,
    /// Which trees are measured.
    trees: Vec<String>,
}

impl Settings {
    /// Reads `arguments` (without the program's name) and the environment.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut settings = Self {
            rounds: number("DEPLOYX_BENCH_ROUNDS", 5)?,
            snapshots: number("DEPLOYX_BENCH_SNAPSHOTS", 10_000)?,
            directory: env::var_os("DEPLOYX_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from),
            strategy: env::var("DEPLOYX_BENCH_STRATEGY").unwrap_or_else(|_| "copy".into()),
            json: None,
            cases: CASES.map(String::from).to_vec(),
            trees: TREES.map(String::from).to_vec(),
        };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().context(USAGE);
            match argument.as_str() {
                // What `cargo bench` passes to every benchmark.
                "--bench" => {}
                "--json" => settings.json = Some(PathBuf::from(value()?)),
                "--only" => settings.cases = known(&value()?, &CASES).context(USAGE)?,
                "--tree" => settings.trees = known(&value()?, &TREES).context(USAGE)?,
                _ => bail!("unknown argument {argument}\n{USAGE}"),
            }
        }
        Ok(settings)
    }

    /// Whether this case is to run.
    pub(crate) fn wants(&self, case: &str) -> bool {
        self.cases.iter().any(|c| c == case)
    }

    /// The trees to measure with the directories that they are copied from; none where no case
    /// needs one.
    pub(crate) fn trees(&self) -> Vec<(&str, Result<PathBuf>)> {
        if self.cases.iter().all(|c| TREELESS.contains(&c.as_str())) {
            return Vec::new();
        }
        let source = |name: &str| match name {
            "small" => existing(PathBuf::from("/usr/lib/python3")),
            _ => large_tree(),
        };
        self.trees
            .iter()
            .map(|name| (name.as_str(), source(name)))
            .collect()
    }
}
