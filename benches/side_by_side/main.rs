//! Measures the release binary beside what people use instead, in one run.
//!
//! `cargo bench --bench side_by_side`; `benches/README.md` says what is measured and how to choose
//! trees, rounds and the work directory.

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod report;
mod rounds;
mod settings;
mod work;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use cases::list::FILL;
use common::process;
use common::program::{self, BINARY};
use common::site::Site;
use report::{Report, Row};
use settings::Settings;
use work::Work;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).peekable();
    let done = if arguments.next_if_eq(FILL).is_some() {
        cases::list::fill(arguments).map(|()| true)
    } else if env::args().any(|argument| argument == "--bench") {
        Settings::read(arguments).and_then(benchmark)
    } else {
        // Test runners start every target; minutes of measuring are not a test.
        eprintln!("nothing is measured; use: cargo bench --bench side_by_side");
        Ok(true)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything that was asked for and prints the report. Gives whether all of it worked;
/// a target that was missed is a finding, not a failure.
fn benchmark(settings: Settings) -> Result<bool> {
    let work = Work::new(settings)?;
    let mut report = Report {
        machine: machine(&work),
        trees: Vec::new(),
        rows: Vec::new(),
        skipped: Vec::new(),
        failures: Vec::new(),
    };
    for (name, source) in work.settings.trees() {
        let measured = match source {
            Ok(source) => copy_tree(&work, name, &source)
                .and_then(|site| measure_tree(&work, &site, &source, &mut report)),
            Err(error) => {
                report.skipped.push(format!("the {name} tree: {error:#}"));
                continue;
            }
        };
        if let Err(error) = measured {
            report.failures.push(format!("the {name} tree: {error:#}"));
        }
    }
    for (case, measure) in [
        ("start", cases::start::measure as fn(&Work) -> _),
        ("list", cases::list::measure),
    ] {
        if work.settings.wants(case) {
            add(&mut report, case, measure(&work));
        }
    }
    print!("{}", report.markdown());
    if let Some(file) = &work.settings.json {
        let json = serde_json::to_string_pretty(&report)?;
        fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(report.failures.is_empty())
}

/// Copies the tree into the work directory, twice.
fn copy_tree(work: &Work, name: &str, source: &Path) -> Result<Site> {
    let root = work.path().join(name);
    let pristine = root.join("pristine");
    fs::create_dir(&root)?;
    process::run(Command::new("cp").arg("-a").arg(source).arg(&pristine))?;
    Site::new(root, name, pristine)
}

fn measure_tree(work: &Work, site: &Site, source: &Path, report: &mut Report) -> Result<()> {
    report.trees.push(format!(
        "{} tree: {} copied to the work directory, {} entries, {:.1} MB; the deleted subtree is {} \
         with {} entries",
        site.name,
        source.display(),
        site.entries,
        site.bytes as f64 / 1e6,
        site.victim.display(),
        site.victim_entries,
    ));
    for (case, measure) in [
        ("first", cases::first::measure as fn(&Work, &Site) -> _),
        ("warm", cases::warm::measure),
        ("edits", cases::edits::measure),
        ("undo", cases::undo::measure),
    ] {
        if work.settings.wants(case) {
            let rows = measure(work, site);
            site.clear()?;
            site.reset()?;
            let rows = rows.map(|rows: Vec<Row>| {
                rows.into_iter()
                    .map(|row| row.in_tree(&site.name))
                    .collect()
            });
            add(report, &format!("{case}, {} tree", site.name), rows);
        }
    }
    site.remove()
}

fn add(report: &mut Report, case: &str, rows: Result<Vec<Row>>) {
    match rows {
        Ok(rows) => report.rows.extend(rows),
        Err(error) => report.failures.push(format!("{case}: {error:#}")),
    }
}

/// What the figures were taken on.
fn machine(work: &Work) -> Vec<String> {
    let version = process::output(Command::new(BINARY).arg("--version"))
        .map_or_else(|_| "unknown".into(), |text| text.trim().to_owned());
    let durable = if work.in_memory {
        "memory: nothing has to reach a disk"
    } else {
        "a disk: what DeployX acknowledges is durable, of the others only what says sync -f"
    };
    vec![
        format!(
            "{version}, strategy {}, rounds: {}",
            work.settings.strategy, work.settings.rounds
        ),
        program::machine(),
        format!("work directory on {}, {durable}", work.filesystem),
        "page caches are warm for everybody; whole processes, wall clock".into(),
    ]
}
