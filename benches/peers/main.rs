//! Compares every strategy with the programs that people use instead, on several filesystems, and
//! writes a table and a chart.
//!
//! `cargo bench --bench peers`; `benches/peers/README.md` says what is measured.

mod agent;
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod cycle;
mod report;
mod runner;
mod settings;
mod sharing;
mod sources;
mod tools;
mod volumes;

use std::env;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use common::program;
use common::site::Site;
use report::Report;
use settings::Settings;
use sources::Sources;
use tools::Tool;
use volumes::Volume;

fn main() -> ExitCode {
    if !env::args().any(|argument| argument == "--bench") {
        // Test runners start every target; an hour of measuring is not a test.
        eprintln!("nothing is measured; use: cargo bench --bench peers");
        return ExitCode::SUCCESS;
    }
    match Settings::read(env::args().skip(1)).and_then(|settings| benchmark(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures everything that was asked for and writes the report. Gives whether all of it worked.
fn benchmark(settings: &Settings) -> Result<bool> {
    let work = tempfile::Builder::new()
        .prefix("deployx-peers-")
        .tempdir_in(&settings.directory)?;
    let mut report = Report::new(settings.command.clone(), program::machine());
    report.rounds = settings.rounds;
    let mut tools = Vec::new();
    for tool in tools::all().filter(|tool| settings.wants_tool(tool.name)) {
        match tool.version() {
            Ok(version) => {
                report.version(tool, &version);
                tools.push(tool);
            }
            Err(error) => report.skipped.push(format!("{}: {error:#}", tool.name)),
        }
    }
    let sources = Sources::new(work.path(), settings)?;
    for kind in &settings.volumes {
        let measured = Volume::new(kind, work.path(), settings)
            .and_then(|volume| measure_volume(&volume, &tools, &sources, settings, &mut report));
        if let Err(error) = measured {
            report.skipped.push(format!("{kind}: {error:#}"));
        }
        // What there is already is not lost when a later part fails.
        write(settings, &report)?;
    }
    Ok(report.failures.is_empty())
}

fn measure_volume(
    volume: &Volume,
    tools: &[&'static Tool],
    sources: &Sources,
    settings: &Settings,
    report: &mut Report,
) -> Result<()> {
    for (name, pristine) in &sources.trees {
        let site = Site::new(volume.root().join(name), name, pristine.clone())?;
        report.describe(&site);
        if settings.wants("cycles") {
            for round in 1..=settings.rounds {
                for tool in tools.iter().filter(|tool| volume.offers(tool.needs)) {
                    let title = format!("{} on {}, {name}", tool.name, volume.kind);
                    eprintln!("{title}: round {round} of {}", settings.rounds);
                    match cycle::run_cycle(volume, &site, tool, round == 1) {
                        Ok(outcome) => report.add(volume, &site, tool, &outcome),
                        Err(error) => report.failures.push(format!("{title}: {error:#}")),
                    }
                    site.clear()?;
                }
            }
        }
        if settings.wants("agent") && *name == sources::DOCS {
            site.reset()?;
            agent(volume, name, &site.tree, settings, report);
        }
        site.remove()?;
    }
    if settings.wants("million") && volume.kind != "xfs" {
        let tree = volume.root().join("many");
        sources::make_many(&tree, settings.many)?;
        let name = format!("{} files", report::thousands(settings.many as u64));
        agent(volume, &name, &tree, settings, report);
        program::remove(&tree)?;
    }
    Ok(())
}

/// Times snapshots within a process that lives on.
fn agent(volume: &Volume, name: &str, tree: &Path, settings: &Settings, report: &mut Report) {
    for (strategy, needs) in agent::STRATEGIES {
        if !volume.offers(needs) {
            continue;
        }
        eprintln!("agent with {strategy} on {}, {name}", volume.kind);
        match agent::measure(volume, tree, strategy, settings.runs) {
            Ok(timings) => report.agent(volume, name, strategy, timings),
            Err(error) => {
                let what = format!("agent with {strategy} on {}, {name}", volume.kind);
                report.failures.push(format!("{what}: {error:#}"));
            }
        }
    }
}

fn write(settings: &Settings, report: &Report) -> Result<()> {
    let out = &settings.out;
    fs::create_dir_all(out)?;
    let files = [
        ("results.md", report.markdown()),
        ("results.svg", chart::svg(report)),
        ("results.json", serde_json::to_string_pretty(report)? + "\n"),
    ];
    for (name, text) in files {
        let file = out.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
