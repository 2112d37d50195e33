//! Uses the engine as a library: runs a command, shows what it changed, takes it back.
//!
//! `cargo run --example embed -- DIRECTORY 'COMMAND'`

use deployx::AbsPath;
use deployx::engine::{Engine, EngineConfig, RunContext};
use deployx::execute::{Cancel, Output};
use deployx::progress::Silent;
use deployx::request::{RollbackRequest, RunRequest};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("which directory?")?;
    let command = arguments.next().ok_or("which command?")?;
    let directory = AbsPath::new(std::path::Path::new(&directory).canonicalize()?)?;

    let engine = Engine::open(EngineConfig::new(
        std::env::temp_dir().join("deployx-embed"),
    ))?;
    let cancel = Cancel::default();
    let context = RunContext::new(Output::inherit(), &cancel, &Silent);
    let report = engine.run(&RunRequest::new(command, directory), context)?;
    println!("exit status {}, {:?}", report.exit_code, report.changes);

    if let Some(id) = report.snapshot_id {
        let undone = engine.rollback(&RollbackRequest::new(id), &cancel, &Silent)?;
        println!("restored {}, removed {}", undone.restored, undone.removed);
    }
    Ok(())
}
