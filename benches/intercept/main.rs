//! Measures what interception costs: the same commands bare, without a snapshot, under `intercept`, under
//! `copy` and under strace, one after another, in one run.
//!
//! `cargo bench --bench intercept -- [--dir DIR] [--rounds N] [--only TEXT]`. `DIR` says on which
//! volume, which must not be one that the strategy leaves alone (`/dev`, `/run`); by default the
//! system's temporary directory. It takes up to 2 GB for each round. Nothing is asserted.

#[path = "../common/mod.rs"]
#[allow(dead_code, unused_imports)]
mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use common::figures::{Figures, Unit};

/// A command with what it needs beforehand.
struct Case {
    name: &'static str,
    /// The program that it cannot do without.
    needs: &'static str,
    /// Run with `sh` in an empty directory before each round.
    prepare: &'static str,
    line: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "tar x of 20,000 files",
        needs: "python3",
        prepare: "python3 -c 'import os\nfor d in range(200):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\" * 300)' && tar cf a.tar t && mv t ..",
        line: "tar xf a.tar",
    },
    Case {
        name: "tar xz of 1,000 files of 60 kB",
        needs: "python3",
        prepare: "python3 -c 'import os, random\nr = random.Random(1)\nfor d in range(20):\n  os.makedirs(f\"t/{d}\")\n  for i in range(50): open(f\"t/{d}/{i}\", \"w\").write(\"\\n\".join(str(r.random()) for _ in range(3000)))' && tar czf a.tar.gz t && mv t ..",
        line: "tar xzf a.tar.gz",
    },
    Case {
        name: "git checkout between commits that share nothing",
        needs: "git",
        prepare: "git init -q . && python3 -c 'import os\nfor d in range(100):\n  os.makedirs(f\"t/{d}\")\n  for i in range(50): open(f\"t/{d}/{i}\", \"w\").write(f\"one {i}\\n\" * 200)' && git add -A && git -c user.email=a@b -c user.name=c commit -qm 1 && sed -i s/one/two/ t/*/* && git -c user.email=a@b -c user.name=c commit -qam 2",
        line: "git checkout -q HEAD~1",
    },
    Case {
        name: "compiling and linking 40 files of C",
        needs: "cc",
        prepare: "for i in $(seq 40); do printf '#include <stdio.h>\\n#include <stdlib.h>\\n#include <string.h>\\nint f%d(int a) { printf(\"%%d\", a); return a * %d; }\\n' $i $i > f$i.c; done; printf 'int main(void) { return 0; }\\n' > main.c",
        line: "for f in *.c; do cc -O2 -c $f || exit; done; cc -o main *.o",
    },
    Case {
        name: "cargo build of 60 modules",
        needs: "cargo",
        prepare: "mkdir src && printf '[package]\\nname = \"a\"\\nversion = \"0.1.0\"\\nedition = \"2021\"\\n[workspace]\\n' > Cargo.toml && for i in $(seq 60); do echo \"mod m$i;\" >> src/main.rs; printf 'use std::collections::HashMap;\\npub fn f(a: u32) -> String { let mut m = HashMap::new(); m.insert(a, format!(\"{a:?}\")); format!(\"{m:?}\") }\\n' > src/m$i.rs; done; echo 'fn main() { println!(\"{}\", [' >> src/main.rs; for i in $(seq 60); do echo \"m$i::f($i),\" >> src/main.rs; done; echo '].concat()); }' >> src/main.rs",
        line: "cargo build --offline -q",
    },
    Case {
        name: "npm install of a package of 3,000 files",
        needs: "npm",
        prepare: "mkdir dep && cd dep && printf '{\"name\": \"dep\", \"version\": \"1.0.0\"}' > package.json && for d in $(seq 60); do mkdir d$d; for i in $(seq 50); do echo \"module.exports = $d * $i;\" > d$d/m$i.js; done; done && npm pack --silent > /dev/null && mv dep-1.0.0.tgz .. && cd .. && rm -rf dep && printf '{\"name\": \"a\", \"version\": \"1.0.0\"}' > package.json",
        line: "npm install --offline --no-audit --no-fund --silent --cache ./cache ./dep-1.0.0.tgz",
    },
    Case {
        name: "only reading: grep over 60,000 files",
        needs: "python3",
        prepare: "python3 -c 'import os\nfor d in range(600):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\" * 300)'",
        line: "grep -r nothing t; find t -size +1M; true",
    },
    Case {
        name: "rm -rf of 50,000 files",
        needs: "python3",
        prepare: "python3 -c 'import os\nfor d in range(500):\n  os.makedirs(f\"t/{d}\")\n  for i in range(100): open(f\"t/{d}/{i}\", \"w\").write(\"content\")'",
        line: "rm -rf t",
    },
];

/// How a command is run.
struct Way {
    name: &'static str,
    runner: Runner,
}

enum Runner {
    /// By `sh`, with these words before it.
    Shell(&'static [&'static str]),
    /// By `deployx run` with these options.
    Run(&'static [&'static str]),
}

const WAYS: &[Way] = &[
    Way {
        name: "bare",
        runner: Runner::Shell(&[]),
    },
    Way {
        name: "no snapshot",
        runner: Runner::Run(&["--no-snapshot"]),
    },
    Way {
        name: "intercept",
        runner: Runner::Run(&["--strategy", "intercept"]),
    },
    Way {
        name: "copy",
        runner: Runner::Run(&["--strategy", "copy"]),
    },
    Way {
        // The same calls, stopped by a filter and written down; nothing is kept.
        name: "strace",
        runner: Runner::Shell(&[
            "strace",
            "-f",
            "--seccomp-bpf",
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            "trace=open,openat,openat2,creat,unlink,unlinkat,rmdir,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmod,fchmodat,chown,fchown,fchownat,utimensat,setxattr,fsetxattr",
        ]),
    },
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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("Load at the start: {}.\n", load.trim());
    println!("| command | way | whole run | beside bare | in a session, beside bare |");
    println!("|---|---|---|---|---|");
    // ext4 looks long for free inodes where some were freed within the last minutes: nothing is removed
    // before everything was measured.
    let mut sites = Vec::new();
    for case in CASES
        .iter()
        .filter(|case| case.name.contains(&settings.only))
    {
        let ways: Vec<&Way> = WAYS
            .iter()
            .filter(|way| has(case.needs) && way.is_there())
            .collect();
        let mut rounds = vec![(Vec::new(), Vec::new()); ways.len()];
        for _ in 0..settings.rounds {
            for (way, (whole, alone)) in ways.iter().zip(&mut rounds) {
                let (nothing, _) = run(&settings.dir, case, way, "true")?;
                let (seconds, site) = run(&settings.dir, case, way, case.line)?;
                sites.push(site);
                whole.push(seconds);
                alone.push(seconds - nothing);
            }
        }
        let mut base = (f64::NAN, f64::NAN);
        for (way, (whole, alone)) in ways.iter().zip(rounds) {
            let whole = Figures::new(way.name, Unit::Seconds, whole);
            let alone = Figures::new(way.name, Unit::Seconds, alone);
            if base.0.is_nan() {
                base = (whole.median, alone.median);
            }
            println!(
                "| {} | {} | {} | {:.2} | {:.2} |",
                case.name,
                way.name,
                whole.text(),
                whole.median / base.0,
                alone.median / base.1,
            );
        }
        if ways.is_empty() {
            println!("| {} | needs {} | | | |", case.name, case.needs);
        }
    }
    Ok(())
}

impl Way {
    fn is_there(&self) -> bool {
        match self.runner {
            Runner::Shell([program, ..]) => has(program),
            _ => true,
        }
    }

    fn command(&self, site: &Path, line: &str) -> Command {
        match self.runner {
            Runner::Shell(before) => {
                let mut words = before.iter().copied().chain(["sh", "-c", line]);
                let mut command = Command::new(words.next().unwrap_or("sh"));
                command.args(words);
                command
            }
            Runner::Run(options) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_deployx"));
                command
                    .arg("--snapshot-dir")
                    .arg(site.join("store"))
                    .args(["run", "--quiet"])
                    .args(options)
                    .args(["--", line]);
                command
            }
        }
    }
}

/// Whether a program is on this machine.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Prepares, runs `line`, and gives the seconds from start to end of the program, and where it ran.
fn run(dir: &Path, case: &Case, way: &Way, line: &str) -> Result<(f64, TempDir)> {
    let site = tempfile::tempdir_in(dir)?;
    let tree = site.path().join("tree");
    std::fs::create_dir(&tree)?;
    if line == case.line {
        let prepared = Command::new("sh")
            .args(["-c", case.prepare])
            .current_dir(&tree)
            .output()?;
        if !prepared.status.success() {
            let said = String::from_utf8_lossy(&prepared.stderr);
            bail!("{}: {said}", case.name);
        }
    }
    // What was prepared is not to be written out while it is measured.
    Command::new("sync").arg("-f").arg(&tree).status()?;
    let begun = Instant::now();
    let done = way
        .command(site.path(), line)
        .current_dir(&tree)
        .stdin(Stdio::null())
        .output()?;
    let seconds = begun.elapsed().as_secs_f64();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("{}: {}: {said}", case.name, way.name);
    }
    Ok((seconds, site))
}
