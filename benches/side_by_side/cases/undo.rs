//! A subtree deleted and taken back.

use std::process::Command;

use anyhow::Result;

use crate::common::figures::{Figures, Unit};
use crate::common::judge::differences;
use crate::common::process::run;
use crate::common::program::remove;
use crate::common::site::Site;
use crate::report::Row;
use crate::rounds::{Side, alternate};
use crate::work::Work;

/// `deployx rollback` of a deleted subtree beside `cp -a` of that subtree, on a disk also with
/// `sync -f`; and the deletion itself beside a plain `rm -rf`.
pub(crate) fn measure(work: &Work, site: &Site) -> Result<Vec<Row>> {
    let deployx = work.deployx(site.scratch.join("store"));
    let copy = site.scratch.join("copy");
    let kept = site.pristine.join(&site.victim);
    let victim = site.victim.display().to_string();
    let cp = |script: &'static str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh"]).args([&kept, &copy]);
        shell
    };
    let delete = ["rm", "-rf", "--", &victim];
    let secure = || {
        run(&mut deployx.rollback())?;
        run(&mut deployx.run(&site.tree, &["true"]))
    };
    run(&mut deployx.run(&site.tree, &["true"]))?;
    run(&mut deployx.run(&site.tree, &delete))?;
    let title = format!("{}: deletion of {} entries", site.name, site.victim_entries);
    let [deletion, rm] = alternate(
        work,
        &title,
        [
            Side::new("deployx run -- rm -rf", || deployx.run(&site.tree, &delete)).after(secure),
            Side::new("rm -rf", || {
                let mut rm = Command::new("rm");
                rm.arg("-rf").arg(&copy);
                rm
            })
            .after(|| run(&mut cp(r#"cp -a "$1" "$2""#))),
        ],
    )?;
    // The subtree is deleted now, by a command that can be taken back.
    secure()?;
    let title = format!("{}: undo of {} entries", site.name, site.victim_entries);
    let [undo, plain, synced] = alternate(
        work,
        &title,
        [
            Side::new("deployx rollback last", || deployx.rollback()).after(|| {
                run(&mut deployx.run(&site.tree, &["true"]))?;
                run(&mut deployx.run(&site.tree, &delete))
            }),
            Side::new("cp -a", || cp(r#"cp -a "$1" "$2""#)).after(|| Ok(remove(&copy)?)),
            Side::new("cp -a, sync -f", || {
                cp(r#"cp -a "$1" "$2" && sync -f "$2""#)
            })
            .after(|| Ok(remove(&copy)?)),
        ],
    )?;
    let wrong = differences(&site.pristine, &site.tree)?;
    let what = format!("deleted subtree of {} entries", site.victim_entries);
    let plain = Row::pair(format!("undo of a {what}"), &undo, &plain);
    let mut rows = vec![Row::pair(format!("deletion: {what}"), &deletion, &rm)];
    if work.in_memory {
        rows.push(plain.ratio_at_most(1.0));
    } else {
        rows.push(plain);
        let what = format!("undo of a {what}, both durable");
        rows.push(Row::pair(what, &undo, &synced).ratio_at_most(1.0));
    }
    let wrong = Figures::new("deployx rollback last", Unit::Count, vec![wrong as f64]);
    rows.push(Row::alone("entries wrong after the last undo", wrong).at_most(0.0));
    Ok(rows)
}
