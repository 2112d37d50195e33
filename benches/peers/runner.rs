//! Uses a tool on a tree, by its scripts or within this process.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use deployx::AbsPath;
use deployx::engine::{Engine, EngineConfig, RunContext};
use deployx::execute::{Cancel, Output};
use deployx::progress::Silent;
use deployx::request::{RollbackRequest, RunRequest, ShellName};

use crate::common::process::{Sample, measure, run};
use crate::common::program::{BINARY, SETTINGS};
use crate::common::site::Site;
use crate::tools::{How, Scripts, Tool};

/// A tool with a tree and a repository.
pub(crate) struct Runner<'a> {
    site: &'a Site,
    tool: &'a Tool,
    repository: PathBuf,
    how: Driver<'a>,
}

enum Driver<'a> {
    Scripts(&'a Scripts),
    Resident(Box<Engine>),
}

impl<'a> Runner<'a> {
    /// Makes an empty repository.
    pub(crate) fn start(site: &'a Site, tool: &'a Tool) -> Result<Self> {
        let repository = site.scratch.join("repository");
        let how = match &tool.how {
            How::Scripts(scripts) => Driver::Scripts(scripts),
            How::Resident => Driver::Resident(Box::new(engine(&repository)?)),
        };
        let runner = Self {
            site,
            tool,
            repository,
            how,
        };
        if let Driver::Scripts(scripts) = &runner.how {
            run(&mut runner.script(scripts.prepare, 0, &[]))?;
        }
        Ok(runner)
    }

    /// Where snapshots go.
    pub(crate) fn repository(&self) -> &Path {
        &self.repository
    }

    /// Takes snapshot `number`; `None` where the tool takes none.
    pub(crate) fn snapshot(&self, number: u32) -> Result<Option<Sample>> {
        match &self.how {
            Driver::Scripts(Scripts { snapshot: None, .. }) => Ok(None),
            Driver::Scripts(Scripts {
                snapshot: Some(script),
                ..
            }) => measure(&mut self.script(script, number, &[])).map(Some),
            Driver::Resident(engine) => {
                timed(|| run_within(engine, self.tool.option, &self.site.tree, "true")).map(Some)
            }
        }
    }

    /// Runs a program in the tree.
    pub(crate) fn change(&self, program: &[String]) -> Result<()> {
        match &self.how {
            Driver::Scripts(scripts) => run(&mut self.script(scripts.change, 3, program)),
            Driver::Resident(engine) => {
                let quoted: Vec<String> = program
                    .iter()
                    .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
                    .collect();
                run_within(engine, self.tool.option, &self.site.tree, &quoted.join(" "))
            }
        }
    }

    /// Gives the tree back as it was at snapshot 3.
    pub(crate) fn undo(&self) -> Result<Sample> {
        match &self.how {
            Driver::Scripts(scripts) => measure(&mut self.script(scripts.undo, 3, &[])),
            Driver::Resident(engine) => timed(|| {
                let request = RollbackRequest::new("last");
                let report = engine.rollback(&request, &Cancel::default(), &Silent)?;
                ensure!(report.success, "the rollback was not complete");
                Ok(())
            }),
        }
    }

    /// One of the tool's scripts with its variables and arguments.
    fn script(&self, script: &str, number: u32, arguments: &[String]) -> Command {
        let empty = OsStr::new("");
        let tree = &self.site.tree;
        let mut shell = Command::new("sh");
        for variable in SETTINGS {
            shell.env_remove(variable);
        }
        shell
            .args(["-euc", script, "sh"])
            .args(arguments)
            .env("DEPLOYX", BINARY)
            .env("OPTION", self.tool.option)
            .env("DURABLE", if self.tool.durable { "yes" } else { "" })
            .env("TREE", tree)
            .env("PARENT", tree.parent().map_or(empty, Path::as_os_str))
            .env("NAME", tree.file_name().unwrap_or(empty))
            .env("VICTIM", &self.site.victim)
            .env("LIST", self.site.list())
            .env("REPO", &self.repository)
            .env("N", number.to_string())
            // No user's or system's configuration changes what is measured.
            .env("HOME", &self.site.scratch)
            .env("GIT_CONFIG_NOSYSTEM", "1");
        shell
    }
}

/// An engine that lives on, with its store at `store`.
pub(crate) fn engine(store: &Path) -> Result<Engine> {
    let config = EngineConfig {
        resident: true,
        ..EngineConfig::new(store)
    };
    Ok(Engine::open(config)?)
}

/// A request to run `command` in `tree` with a snapshot of all of it.
pub(crate) fn request(strategy: &str, tree: &Path, command: &str) -> Result<RunRequest> {
    let tree = AbsPath::new(tree.canonicalize()?)?;
    let mut request = RunRequest::new(command, tree.clone());
    request.shell = ShellName::new("bash");
    request.snapshot.strategies = vec![strategy.to_owned()];
    request.snapshot.replace_paths = vec![tree];
    request.snapshot.required = true;
    Ok(request)
}

fn run_within(engine: &Engine, strategy: &str, tree: &Path, command: &str) -> Result<()> {
    let cancel = Cancel::default();
    let context = RunContext::new(Output::inherit(), &cancel, &Silent);
    let report = engine
        .run(&request(strategy, tree, command)?, context)
        .context("the engine")?;
    ensure!(report.success, "the command failed");
    ensure!(report.snapshot_error.is_none(), "the snapshot failed");
    Ok(())
}

/// Times what happens in this process, of which the memory says nothing.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<Sample> {
    let start = Instant::now();
    work()?;
    Ok(Sample {
        seconds: start.elapsed().as_secs_f64(),
        peak_bytes: 0,
    })
}
