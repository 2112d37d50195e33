//! Measures what interception costs: the same commands without a snapshot, under `intercept` and under
//! `copy`, one after another, in one run.
//!
//! `cargo bench --bench intercept -- [--dir DIR] [--rounds N] [--only TEXT]`. `DIR` says on which
//! volume; by default the system's temporary directory. Nothing is asserted.

#[path = "../common/mod.rs"]
#[allow(dead_code, unused_imports)]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use common::figures::{Figures, Unit};

/// A command with what it needs beforehand.
struct Case {
    name: &'static str,
    /// Run with `sh` in an empty directory before each round.
    prepare: &'static str,
    line: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "rm -rf of 50,000 files",
        prepare: "python3 -c 'import os\nfor d in range(500):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\")'",
        line: "rm -rf t",
    },
    Case {
        name: "tar x of 20,000 files",
        prepare: "python3 -c 'import os\nfor d in range(200):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\" * 300)' && tar cf a.tar t && rm -rf t",
        line: "tar xf a.tar",
    },
    Case {
        name: "git checkout between commits that share nothing",
        prepare: "git init -q . && python3 -c 'import os\nfor d in range(100):\n  os.makedirs(f\"t/{d}\")\n  for i in range(50): open(f\"t/{d}/{i}\", \"w\").write(f\"one {i}\\n\" * 200)' && git add -A && git -c user.email=a@b -c user.name=c commit -qm 1 && sed -i s/one/two/ t/*/* && git -c user.email=a@b -c user.name=c commit -qam 2",
        line: "git checkout -q HEAD~1",
    },
    Case {
        name: "compiling and linking 40 files of C",
        prepare: "for i in $(seq 40); do printf '#include <stdio.h>\\n#include <stdlib.h>\\n#include <string.h>\\nint f%d(int a) { printf(\"%%d\", a); return a * %d; }\\n' $i $i > f$i.c; done; printf 'int main(void) { return 0; }\\n' > main.c",
        line: "for f in *.c; do cc -O2 -c $f || exit; done; cc -o main *.o",
    },
    Case {
        name: "only reading: grep over 20,000 files",
        prepare: "python3 -c 'import os\nfor d in range(200):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\" * 300)'",
        line: "grep -r nothing t || true",
    },
];

/// How a command is run.
const WAYS: &[(&str, &[&str])] = &[
    ("no snapshot", &["--no-snapshot"]),
    ("intercept", &["--strategy", "intercept"]),
    ("copy", &["--strategy", "copy"]),
];

struct Settings {
    dir: PathBuf,
    rounds: usize,
    only: String,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        // Test runners start every target; measuring is not a test.
        eprintln!("nothing is measured; use: cargo bench --bench intercept");
        return ExitCode::SUCCESS;
    }
    match settings(&arguments).and_then(|settings| measure(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn settings(arguments: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        dir: std::env::temp_dir(),
        rounds: 5,
        only: String::new(),
    };
    let mut rest = arguments.iter().filter(|argument| *argument != "--bench");
    while let Some(name) = rest.next() {
        let value = rest
            .next()
            .with_context(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--dir" => settings.dir = value.into(),
            "--rounds" => settings.rounds = value.parse()?,
            "--only" => settings.only.clone_from(value),
            other => bail!("unknown option {other}"),
        }
    }
    Ok(settings)
}

fn measure(settings: &Settings) -> Result<()> {
    println!("| command | way | whole run | beside no snapshot |");
    println!("|---|---|---|---|");
    for case in CASES
        .iter()
        .filter(|case| case.name.contains(&settings.only))
    {
        let mut seconds = vec![Vec::new(); WAYS.len()];
        for _ in 0..settings.rounds {
            for ((_, options), seconds) in WAYS.iter().zip(&mut seconds) {
                seconds.push(run(&settings.dir, case, options)?);
            }
        }
        let mut base = f64::NAN;
        for ((way, _), seconds) in WAYS.iter().zip(seconds) {
            let figures = Figures::new(*way, Unit::Seconds, seconds);
            if base.is_nan() {
                base = figures.median;
            }
            let ratio = figures.median / base;
            println!(
                "| {} | {way} | {} | {ratio:.2} |",
                case.name,
                figures.text()
            );
        }
    }
    Ok(())
}

/// Prepares, runs, and gives the seconds from start to end of the program.
fn run(dir: &Path, case: &Case, options: &[&str]) -> Result<f64> {
    let site = tempfile::tempdir_in(dir)?;
    let tree = site.path().join("tree");
    std::fs::create_dir(&tree)?;
    let prepared = Command::new("sh")
        .args(["-c", case.prepare])
        .current_dir(&tree)
        .output()?;
    if !prepared.status.success() {
        bail!(
            "{}: {}",
            case.name,
            String::from_utf8_lossy(&prepared.stderr)
        );
    }
    // What was prepared is not to be written out while it is measured.
    Command::new("sync").arg("-f").arg(&tree).status()?;
    let begun = Instant::now();
    let done = Command::new(env!("CARGO_BIN_EXE_deployx"))
        .arg("--snapshot-dir")
        .arg(site.path().join("store"))
        .args(["run", "--quiet"])
        .args(options)
        .args(["--", case.line])
        .current_dir(&tree)
        .stdin(Stdio::null())
        .output()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !done.status.success() {
        bail!("{}: {}", case.name, String::from_utf8_lossy(&done.stderr));
    }
    Ok(seconds)
}
