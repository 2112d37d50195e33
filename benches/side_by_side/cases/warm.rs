//! A snapshot of a tree that has not changed since the last one.

use std::process::Command;

use anyhow::Result;

use crate::common::figures::{Figures, Unit};
use crate::common::process::run;
use crate::common::site::Site;
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// What a walk of `find` prints: everything that a comparison of states needs.
const FORMAT: &str = r"%p %y %s %T@ %C@ %m %U %G %i\n";

/// DeployX walks before and after the command, `find` once.
const WALKS: f64 = 2.0;

/// Peak memory that is allowed: so much whatever the tree, and so much per entry, in bytes.
const MEMORY: (f64, f64) = (32e6, 250.0);

/// `deployx run -- true`, which walks the tree twice, beside one walk of `find -printf`.
pub(crate) fn measure(work: &Work, site: &Site) -> Result<Vec<Row>> {
    let deployx = work.deployx(site.scratch.join("store"));
    run(&mut deployx.run(&site.tree, &["true"]))?;
    let sides = [
        Side::new("deployx run -- true", || deployx.run(&site.tree, &["true"])),
        Side::new("find -printf", || {
            let mut find = Command::new("find");
            find.arg(&site.tree).args(["-printf", FORMAT]);
            find
        }),
    ];
    let title = format!("{}: unchanged", site.name);
    let [ours, find] = alternate(work, &title, sides)?;
    let peaks = ours.samples.iter().map(|s| s.peak_bytes as f64).collect();
    let (base, per_entry) = MEMORY;
    Ok(vec![
        Row::pair("unchanged tree; ratio per walk", &ours, &find)
            .per(WALKS)
            .ratio_at_most(1.5),
        Row::alone(
            "unchanged tree, peak memory",
            Figures::new("deployx run -- true", Unit::Bytes, peaks),
        )
        .at_most(base + per_entry * site.entries as f64),
    ])
}
