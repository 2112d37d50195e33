//! The first snapshot of a tree: everything has to be copied.

use std::process::Command;

use anyhow::Result;

use crate::common::program::remove;
use crate::common::site::Site;
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// `deployx run -- true` with an empty store beside `cp -a`, on a disk also with `sync -f`: a
/// snapshot that DeployX acknowledges survives a power cut.
pub(crate) fn measure(work: &Work, site: &Site) -> Result<Vec<Row>> {
    let deployx = work.deployx(site.scratch.join("store"));
    let copy = site.scratch.join("copy");
    let forget = || Ok(deployx.forget()?);
    let remove_copy = || Ok(remove(&copy)?);
    let sides = [
        Side::new("deployx run -- true", || deployx.run(&site.tree, &["true"])).after(forget),
        Side::new("cp -a", || {
            let mut cp = Command::new("cp");
            cp.arg("-a").args([&site.tree, &copy]);
            cp
        })
        .after(remove_copy),
        Side::new("cp -a, sync -f", || {
            let mut shell = Command::new("sh");
            shell.args(["-c", r#"cp -a "$1" "$2" && sync -f "$2""#, "sh"]);
            shell.args([&site.tree, &copy]);
            shell
        })
        .after(remove_copy),
    ];
    let title = format!("{}: first snapshot", site.name);
    let [ours, plain, synced] = alternate(work, &title, sides)?;
    let plain = Row::pair("first snapshot", &ours, &plain);
    if work.in_memory {
        return Ok(vec![plain.ratio_at_most(1.0)]);
    }
    let synced = Row::pair("first snapshot, both durable", &ours, &synced).ratio_at_most(1.0);
    Ok(vec![plain, synced])
}
