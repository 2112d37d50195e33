//! What the caller chose, from the arguments and the environment.

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::common::program::{known, number};
use crate::sources::TREES;
use crate::tools;
use crate::volumes::KINDS;

/// The parts of the benchmark.
const PARTS: [&str; 3] = ["cycles", "agent", "million"];

const USAGE: &str = "usage: cargo bench --bench peers -- [--out DIR] [--only PART[,PART…]] \
                     [--volume KIND[,KIND…]] [--tree TREE[,TREE…]] [--tool TOOL[;TOOL…]]\n\
                     parts: cycles, agent, million; kinds: tmpfs, ext4, xfs, btrfs; \
                     trees: docs, big";

/// What is measured, how often and where.
#[derive(Debug)]
pub(crate) struct Settings {
    /// How the benchmark was called, for the report.
    pub(crate) command: String,
    /// How often each cycle is measured.
    pub(crate) rounds: usize,
    /// How often each timing within a process is taken.
    pub(crate) runs: usize,
    /// Bytes of each of the 20 big files.
    pub(crate) big_bytes: u64,
    /// Files of the tree with very many.
    pub(crate) many: usize,
    /// Bytes of the images of filesystems.
    pub(crate) image_bytes: u64,
    /// Where images and the trees to copy are made.
    pub(crate) directory: PathBuf,
    /// Where the report goes.
    pub(crate) out: PathBuf,
    /// The filesystems.
    pub(crate) volumes: Vec<String>,
    /// The trees.
    pub(crate) trees: Vec<String>,
    parts: Vec<String>,
    tools: Vec<String>,
}

impl Settings {
    /// Reads `arguments` (without the program's name) and the environment.
    pub(crate) fn read(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut settings = Self {
            command: "cargo bench --bench peers".into(),
            rounds: number("DEPLOYX_BENCH_ROUNDS", 3)?,
            runs: number("DEPLOYX_BENCH_RUNS", 25)?,
            big_bytes: number("DEPLOYX_BENCH_BIG_MB", 100)? as u64 * 1_000_000,
            many: number("DEPLOYX_BENCH_MANY", 1_000_000)?,
            image_bytes: (number("DEPLOYX_BENCH_IMAGE_GB", 20)? as u64) << 30,
            directory: env::var_os("DEPLOYX_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from),
            out: PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers")),
            volumes: KINDS.map(String::from).to_vec(),
            trees: TREES.map(String::from).to_vec(),
            parts: PARTS.map(String::from).to_vec(),
            tools: tools::all().map(|tool| tool.name.to_owned()).collect(),
        };
        let variables = ["ROUNDS", "RUNS", "BIG_MB", "MANY", "IMAGE_GB"];
        for variable in variables.map(|name| format!("DEPLOYX_BENCH_{name}")) {
            if let Ok(value) = env::var(&variable) {
                settings.command = format!("{variable}={value} {}", settings.command);
            }
        }
        let mut said = Vec::new();
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        while let Some(argument) = arguments.next() {
            let value = arguments.next().context(USAGE)?;
            match argument.as_str() {
                "--out" => settings.out = PathBuf::from(&value),
                "--only" => settings.parts = known(&value, &PARTS).context(USAGE)?,
                "--volume" => settings.volumes = known(&value, &KINDS).context(USAGE)?,
                "--tree" => settings.trees = known(&value, &TREES).context(USAGE)?,
                "--tool" => settings.tools = value.split(';').map(str::to_owned).collect(),
                _ => bail!("unknown argument {argument}\n{USAGE}"),
            }
            if argument != "--out" {
                said.push(format!("{argument} '{value}'"));
            }
        }
        if !said.is_empty() {
            settings.command = format!("{} -- {}", settings.command, said.join(" "));
        }
        if let Some(unknown) = settings
            .tools
            .iter()
            .find(|name| tools::all().all(|tool| tool.name != name.as_str()))
        {
            bail!("unknown tool {unknown}\n{USAGE}");
        }
        Ok(settings)
    }

    /// Whether this part is to run.
    pub(crate) fn wants(&self, part: &str) -> bool {
        self.parts.iter().any(|p| p == part)
    }

    /// Whether this tool is to run.
    pub(crate) fn wants_tool(&self, name: &str) -> bool {
        self.tools.iter().any(|t| t == name)
    }
}
