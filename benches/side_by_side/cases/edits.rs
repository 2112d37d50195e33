//! A command that edits a hundred files of a tree, with the snapshot around it.

use std::fs;
use std::process::Command;

use anyhow::Result;

use crate::common::process::run;
use crate::common::site::{EDITS, Site};
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// `deployx run` of the command beside the command alone, which edits copies of the same files:
/// in the tree itself its edits would be one more change for DeployX to secure.
pub(crate) fn measure(work: &Work, site: &Site) -> Result<Vec<Row>> {
    let deployx = work.deployx(site.scratch.join("store"));
    let alone = site.scratch.join("edited");
    fs::create_dir(&alone)?;
    run(Command::new("sh")
        .args([
            "-c",
            r#"cd "$1" && xargs -d '\n' -a "$2" cp -a --parents -t "$3""#,
            "sh",
        ])
        .args([&site.tree, &site.list(), &alone]))?;
    let edit = site.edit();
    let edit: Vec<&str> = edit.iter().map(String::as_str).collect();
    run(&mut deployx.run(&site.tree, &["true"]))?;
    let sides = [
        Side::new("deployx run -- edit", || deployx.run(&site.tree, &edit)),
        Side::new("the edits alone", || {
            let mut command = Command::new(edit[0]);
            command.args(&edit[1..]).current_dir(&alone);
            command
        }),
    ];
    let title = format!("{}: {EDITS} edits", site.name);
    let [ours, bare] = alternate(work, &title, sides)?;
    Ok(vec![Row::pair(
        format!("a command that edits {EDITS} files"),
        &ours,
        &bare,
    )])
}
