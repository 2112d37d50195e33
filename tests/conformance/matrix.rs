//! Runs the cases of one strategy on one filesystem.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use crate::cases::{self, COMMANDS, Case, Check, OTHERS};
use crate::cell::{Cell, StoreAt};
use crate::common::{Keeps, has_program, require, text};
use crate::table::{self, Expected};
use crate::volumes::Filesystem;

/// Whether the pair can be tested on this machine; says loudly when not.
fn possible(strategy: &str, kind: Filesystem) -> bool {
    let test = format!("conformance of {strategy} on {}", kind.name());
    let lacks = kind.lacks();
    let programs = ["rsync", "getfattr", "getfacl", "git", "python3"];
    let missing = programs.iter().find(|p| !has_program(p));
    require(&test, lacks.as_deref().unwrap_or_default(), lacks.is_none())
        && require(&test, missing.unwrap_or(&""), missing.is_none())
}

/// Every how many cases one is run, unless all are asked for.
const STRIDE: usize = 4;

/// The cases that are run for this pair, with their numbers.
fn chosen<'a>(
    cases: impl Iterator<Item = &'a Case>,
    strategy: &str,
    kind: Filesystem,
) -> Vec<(usize, &'a Case)> {
    let only = std::env::var("DEPLOYX_TEST_CONFORMANCE_ONLY").ok();
    // Each pair begins elsewhere, so that every case runs with every strategy somewhere.
    let rows = table::STRATEGIES.iter().map(|(name, _)| *name);
    let row = rows.clone().position(|name| name == strategy).unwrap_or(0);
    let column = Filesystem::ALL.iter().position(|k| *k == kind).unwrap_or(0);
    let wanted = |(number, case): &(usize, &Case)| match &only {
        Some(only) => case.name.contains(only.as_str()),
        None => cases::all() || (number + row + column).is_multiple_of(STRIDE),
    };
    let keeps = table::keeps(kind);
    let fitting = |(_, case): &(usize, &Case)| (case.fits)(&keeps);
    cases.enumerate().filter(wanted).filter(fitting).collect()
}

/// Runs cases and fails with all that failed.
fn each<'a>(
    strategy: &'static str,
    kind: Filesystem,
    cases: impl Iterator<Item = &'a Case>,
    mut run: impl FnMut(usize, &Case),
) {
    if !possible(strategy, kind) || table::expected(strategy, kind) != Expected::Works {
        return;
    }
    let cases = chosen(cases, strategy, kind);
    let mut failed = Vec::new();
    for (number, case) in &cases {
        let done = catch_unwind(AssertUnwindSafe(|| run(*number, case)));
        if let Err(problem) = done {
            failed.push(format!("{}: {}", case.name, message(&*problem)));
        }
    }
    let (all, failed_count) = (cases.len(), failed.len());
    println!(
        "{strategy} on {}: {all} cases, {failed_count} failed",
        kind.name()
    );
    assert!(
        failed.is_empty(),
        "{strategy} on {}:\n{}",
        kind.name(),
        failed.join("\n\n")
    );
}

/// Runs single commands on the fixture and takes each back.
pub(crate) fn commands(strategy: &'static str, kind: Filesystem) {
    let mut cell = None;
    each(strategy, kind, COMMANDS.iter(), |_, case| {
        let Check::Undone(line) = case.check else {
            panic!("{} has a tree of its own", case.name);
        };
        // The tree of a case that failed is not used again.
        let cell = &mut cell;
        let used = cell
            .take()
            .unwrap_or_else(|| Cell::fixture(strategy, kind, StoreAt::SameVolume));
        used.undoes(line);
        *cell = Some(used);
    });
}

/// Runs the cases that have trees of their own.
pub(crate) fn others(strategy: &'static str, kind: Filesystem) {
    each(
        strategy,
        kind,
        OTHERS.iter().copied().flatten(),
        |number, case| {
            let Check::Own(check) = case.check else {
                panic!("{} has no tree of its own", case.name);
            };
            let stores = [StoreAt::SameVolume, StoreAt::OtherVolume];
            let stores = if cases::all() {
                &stores[..]
            } else {
                &stores[number % 2..=number % 2]
            };
            for store in stores {
                check(&Cell::empty(strategy, kind, *store));
            }
        },
    );
}

/// Commands on the fixture with the store on another volume.
pub(crate) fn store_elsewhere(strategy: &'static str, kind: Filesystem) {
    if !possible(strategy, kind) || table::expected(strategy, kind) != Expected::Works {
        return;
    }
    let cell = Cell::fixture(strategy, kind, StoreAt::OtherVolume);
    cell.undoes("rm -rf src docs; echo x > docs; echo y >> sparse; mkdir new; mv empty new/");
    cell.undoes("rm -rf ./* .[!.]* ; ls -A");
}

fn message(problem: &(dyn std::any::Any + Send)) -> String {
    let text = problem.downcast_ref::<String>().cloned();
    let text = text.or_else(|| problem.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    text.unwrap_or_else(|| "a panic without a message".into())
}

/// Checks that the strategy says of itself what the table says, and does as it says.
pub(crate) fn usable(strategy: &'static str, kind: Filesystem) {
    if !possible(strategy, kind) {
        return;
    }
    let cell = Cell::empty(strategy, kind, StoreAt::OtherVolume);
    assert_eq!(cell.keeps, table::keeps(kind), "what {} keeps", kind.name());
    let made = cell.site.run_with(&["--no-snapshot"], "true");
    assert!(made.status.success(), "{}", text(&made));
    let tree = cell.site.tree.to_str().expect("a name");
    let report = cell.site.json(&["doctor", tree]);
    let volume = &report["volumes"][0];
    assert_eq!(
        probed(&volume["fidelity"]),
        comparable(&cell.keeps),
        "{volume:#}"
    );
    let strategies = volume["strategies"].as_array().expect("strategies");
    let mut known: Vec<_> = strategies
        .iter()
        .filter_map(|s| s["name"].as_str())
        .collect();
    let mut rows: Vec<_> = table::STRATEGIES.iter().map(|(name, _)| *name).collect();
    rows.sort_unstable();
    known.sort_unstable();
    assert_eq!(rows, known, "every strategy has its row in the table");
    let said = strategies.iter().find(|s| s["name"] == strategy);
    let said = said.expect("the strategy");
    match table::expected(strategy, kind) {
        Expected::Works => {
            assert_eq!(said["usable"], true, "{said:#}");
            cell.run("echo x > made");
            cell.site.undo();
            assert!(!cell.site.tree.join("made").exists());
        }
        Expected::NotUsable(why) => {
            assert_eq!(said["usable"], false, "{said:#}");
            let reason = said["reason"].as_str().unwrap_or_default();
            assert!(reason.contains(why), "{said:#}");
            refused(&cell, why);
        }
    }
}

/// A strategy that cannot work is refused where it was asked for by name, and stood in for where
/// another may.
fn refused(cell: &Cell, why: &str) {
    let made = cell.site.tree.join("made");
    let options = ["--strategy", cell.strategy, "--require-snapshot"];
    let output = cell.site.run_with(&options, "echo x > made");
    assert!(!output.status.success(), "{}", text(&output));
    assert!(text(&output).contains(why), "{}", text(&output));
    assert!(!made.exists(), "the command ran all the same");
    let strategies = format!("{},auto", cell.strategy);
    let output = cell
        .site
        .run_with(&["--strategy", &strategies], "echo x > made");
    assert!(
        output.status.success() && made.exists(),
        "{}",
        text(&output)
    );
    let shown = cell.site.json(&["show", "last"]);
    assert!(shown["strategies"].to_string().contains(why), "{shown:#}");
    cell.site.undo();
    assert!(!made.exists());
}

/// What `doctor` found out, in the order of [`comparable`].
fn probed(fidelity: &Value) -> Vec<(&'static str, bool)> {
    let is = |name: &'static str| (name, fidelity[name] == true);
    let mut all: Vec<_> = [
        "modes",
        "owners",
        "hard_links",
        "fifos",
        "devices",
        "xattrs",
        "acls",
        "flags",
        "case_sensitive",
        "byte_names",
        "symlinks",
    ]
    .map(is)
    .into();
    all.push(("time_step_ns", fidelity["time_step_ns"] == 1));
    all
}

/// What was measured by other programs. `doctor` tries links with a target that is not UTF-8.
fn comparable(keeps: &Keeps) -> Vec<(&'static str, bool)> {
    vec![
        ("modes", keeps.modes),
        ("owners", keeps.owners),
        ("hard_links", keeps.hard_links),
        ("fifos", keeps.fifos),
        ("devices", keeps.devices),
        ("xattrs", keeps.attributes),
        ("acls", keeps.acls),
        ("flags", keeps.flags),
        ("case_sensitive", keeps.case),
        ("byte_names", keeps.bytes),
        ("symlinks", keeps.symlinks && keeps.bytes),
        ("time_step_ns", keeps.nanoseconds),
    ]
}
