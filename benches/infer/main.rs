//! Measures how long the rules take to read a command line: lines from practice, and 64 KiB of
//! nested garbage for each shell.
//!
//! `cargo bench --bench infer`. Nothing is asserted; a target that was missed says so.

mod garbage;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use deployx::AbsPath;
use deployx::engine::{EngineConfig, Rules};
use deployx::request::ShellName;

/// How often each line is read; the median counts.
const ROUNDS: usize = 21;

/// What an ordinary line may take.
const ORDINARY: Duration = Duration::from_millis(1);

/// What 64 KiB of garbage may take.
const GARBAGE: Duration = Duration::from_millis(100);

/// The stack on which lines are read: that of a thread of the standard library.
const STACK: usize = 2 << 20;

fn main() -> ExitCode {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Test runners start every target; measuring is not a test.
        eprintln!("nothing is measured; use: cargo bench --bench infer");
        return ExitCode::SUCCESS;
    }
    let measured = std::thread::Builder::new().stack_size(STACK).spawn(measure);
    match measured.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        _ => ExitCode::FAILURE,
    }
}

fn measure() -> Result<()> {
    let keep = tempfile::tempdir()?;
    let root = keep.path().canonicalize()?;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let built = Command::new("bash")
        .arg(corpus.join("fixture.sh"))
        .arg(&root)
        .output()
        .context("bash")?;
    ensure!(built.status.success(), "fixture.sh failed");
    let mut config = EngineConfig::new(root.join("no-store"));
    config.home = Some(AbsPath::new(root.join("home"))?);
    let bench = Bench {
        rules: Rules::new(&config)?,
        cwd: root.join("app").into_os_string(),
    };
    println!("| shell | lines | median | p99 | slowest | line |");
    println!("|---|---|---|---|---|---|");
    for shell in ["bash", "cmd", "powershell"] {
        let file = corpus.join(format!("{shell}.toml"));
        if file.exists() {
            bench.ordinary(shell, &commands(&fs::read_to_string(file)?)?);
        } else {
            println!("| {shell} | no corpus | | | | |");
        }
    }
    println!("\n| shell | 64 KiB of | time |");
    println!("|---|---|---|");
    for (shell, pieces) in garbage::PIECES {
        bench.garbage(shell, pieces);
    }
    Ok(())
}

/// The commands of a corpus.
fn commands(corpus: &str) -> Result<Vec<String>> {
    let corpus: toml::Table = toml::from_str(corpus)?;
    let lines = corpus.get("line").and_then(toml::Value::as_array);
    let commands = lines.context("no lines")?.iter().filter_map(|line| {
        let command = line.get("command")?.as_str()?;
        Some(command.to_owned())
    });
    Ok(commands.collect())
}

struct Bench {
    rules: Rules,
    cwd: std::ffi::OsString,
}

impl Bench {
    fn ordinary(&self, shell: &str, commands: &[String]) {
        let mut times: Vec<(Duration, &str)> = commands
            .iter()
            .map(|command| (self.median(shell, command, ROUNDS), command.as_str()))
            .collect();
        times.sort();
        let at = |share: f64| {
            let at = (times.len() as f64 * share) as usize;
            times[at.min(times.len() - 1)].0
        };
        let (slowest, line) = times[times.len() - 1];
        println!(
            "| {shell} | {} | {} | {} | {} | `{}` |",
            times.len(),
            told(at(0.5), ORDINARY),
            told(at(0.99), ORDINARY),
            told(slowest, ORDINARY),
            line.lines().next().unwrap_or_default()
        );
    }

    fn garbage(&self, shell: &str, pieces: &[&str]) {
        let mut worst = (Duration::ZERO, "");
        for piece in pieces {
            for line in garbage::lines(piece) {
                let took = self.median(shell, &line, 3);
                if took > worst.0 {
                    worst = (took, piece);
                }
                if took > GARBAGE {
                    println!("| {shell} | `{}` | {} |", show(piece), told(took, GARBAGE));
                }
            }
        }
        println!(
            "| {shell} | worst of {}: `{}` | {} |",
            pieces.len(),
            show(worst.1),
            told(worst.0, GARBAGE)
        );
    }

    fn median(&self, shell: &str, line: &str, rounds: usize) -> Duration {
        let shell = ShellName::new(shell);
        let mut times: Vec<Duration> = (0..rounds)
            .map(|_| {
                let started = Instant::now();
                let scope = self.rules.infer(&shell, OsStr::new(line), &self.cwd);
                std::hint::black_box(scope);
                started.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() / 2]
    }
}

fn told(time: Duration, target: Duration) -> String {
    let missed = if time > target { " **MISSED**" } else { "" };
    format!("{:.3} ms{missed}", time.as_secs_f64() * 1e3)
}

fn show(piece: &str) -> String {
    piece.escape_debug().to_string()
}
