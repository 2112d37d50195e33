//! What a snapshot costs where there is nothing to secure.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::common::program::remove;
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// Most seconds that a run may take.
const TARGET: f64 = 0.025;

/// `deployx run -- true` in an empty directory beside `bash -c true`.
pub(crate) fn measure(work: &Work) -> Result<Vec<Row>> {
    let empty = work.path().join("empty");
    fs::create_dir_all(&empty)?;
    let deployx = work.deployx(work.path().join("store"));
    let sides = [
        Side::new("deployx run -- true", || deployx.run(&empty, &["true"])),
        Side::new("bash -c true", || {
            let mut bash = Command::new("bash");
            bash.args(["-c", "true"]);
            bash
        }),
    ];
    let [ours, bash] = alternate(work, "an empty directory", sides)?;
    deployx.forget()?;
    remove(&empty)?;
    Ok(vec![
        Row::pair("a run in an empty directory", &ours, &bash).at_most(TARGET),
    ])
}
