//! What the caller chose, from the arguments and the environment.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The parts of the benchmark, in the order in which they run.
pub(crate) const CASES: [&str; 7] = ["first", "warm", "edits", "undo", "start", "list", "peers"];

/// Those of them that need no tree.
const TREELESS: [&str; 2] = ["start", "list"];

/// The trees, in the order in which they are measured.
const TREES: [&str; 2] = ["small", "large"];

const USAGE: &str = "usage: cargo bench --bench side_by_side -- [--json FILE] \
                     [--only CASE[,CASE…]] [--tree small|large]\n\
                     cases: first, warm, edits, undo, start, list, peers";

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
                "--only" => settings.cases = known(&value()?, &CASES)?,
                "--tree" => settings.trees = known(&value()?, &TREES)?,
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

/// The named tree, or the documentation that comes with the Rust toolchain.
fn large_tree() -> Result<PathBuf> {
    if let Some(named) = env::var_os("DEPLOYX_BENCH_TREE") {
        return existing(PathBuf::from(named));
    }
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .output()
        .context("cannot ask rustc for its directory; set DEPLOYX_BENCH_TREE")?;
    let sysroot = String::from_utf8(sysroot.stdout).context("rustc's directory is not UTF-8")?;
    existing(PathBuf::from(sysroot.trim()).join("share/doc"))
        .context("the toolchain has no documentation; set DEPLOYX_BENCH_TREE")
}

fn existing(path: PathBuf) -> Result<PathBuf> {
    if path.is_dir() {
        Ok(path)
    } else {
        bail!("{} is not a directory", path.display())
    }
}

fn known(list: &str, names: &[&str]) -> Result<Vec<String>> {
    let chosen: Vec<String> = list.split(',').map(str::to_owned).collect();
    match chosen.iter().find(|name| !names.contains(&name.as_str())) {
        Some(unknown) => bail!("unknown name {unknown}\n{USAGE}"),
        None => Ok(chosen),
    }
}

fn number(variable: &str, default: usize) -> Result<usize> {
    let Ok(text) = env::var(variable) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => bail!("{variable} is not a number above 0: {text}"),
    }
}
