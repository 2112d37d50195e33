//! Runs the cases of one strategy on one filesystem.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cases::{COMMANDS, Case, Check};
use crate::cell::{Cell, StoreAt};
use crate::common::{has_program, require};
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

/// The cases that are run for this pair.
fn chosen<'a>(cases: &'a [Case], strategy: &str, kind: Filesystem, cell: &Cell) -> Vec<&'a Case> {
    let all = std::env::var_os("DEPLOYX_TEST_CONFORMANCE").is_some_and(|v| v == "all");
    let only = std::env::var("DEPLOYX_TEST_CONFORMANCE_ONLY").ok();
    // Each pair begins elsewhere, so that every case runs with every strategy somewhere.
    let rows = table::STRATEGIES.iter().map(|(name, _)| *name);
    let row = rows.clone().position(|name| name == strategy).unwrap_or(0);
    let column = Filesystem::ALL.iter().position(|k| *k == kind).unwrap_or(0);
    let turn = |number: usize| (number + row + column).is_multiple_of(STRIDE);
    let numbered = cases.iter().enumerate();
    let wanted = numbered.filter(|(number, case)| match &only {
        Some(only) => case.name.contains(only.as_str()),
        None => all || turn(*number),
    });
    let fitting = wanted.filter(|(_, case)| (case.fits)(&cell.keeps));
    fitting.map(|(_, case)| case).collect()
}

/// Runs single commands on the fixture and takes each back.
pub(crate) fn commands(strategy: &'static str, kind: Filesystem) {
    if !possible(strategy, kind) || table::expected(strategy, kind) != Expected::Works {
        return;
    }
    let fresh = || Cell::fixture(strategy, kind, StoreAt::SameVolume);
    let mut cell = fresh();
    let mut failed = Vec::new();
    let cases = chosen(COMMANDS, strategy, kind, &cell);
    for case in &cases {
        let Check::Undone(line) = case.check else {
            continue;
        };
        let done = catch_unwind(AssertUnwindSafe(|| cell.undoes(line)));
        if let Err(problem) = done {
            failed.push(format!("{}: {}", case.name, message(&*problem)));
            cell = fresh();
        }
    }
    println!(
        "{strategy} on {}: {} of {} commands",
        kind.name(),
        cases.len(),
        COMMANDS.len()
    );
    assert!(
        failed.is_empty(),
        "{} of {} failed:\n{}",
        failed.len(),
        cases.len(),
        failed.join("\n\n")
    );
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
    let tree = cell.site.tree.to_str().expect("a name");
    assert!(
        cell.site
            .deployx()
            .args(["run", "--quiet", "--", "true"])
            .status()
            .expect("deployx")
            .success()
    );
    let report = cell.site.json(&["doctor", tree]);
    let volume = &report["volumes"][0];
    let mut rows: Vec<_> = table::STRATEGIES.iter().map(|(name, _)| *name).collect();
    let mut known: Vec<_> = volume["strategies"]
        .as_array()
        .expect("strategies")
        .iter()
        .map(|s| s["name"].as_str().expect("a name"))
        .collect();
    rows.sort_unstable();
    known.sort_unstable();
    assert_eq!(rows, known, "every strategy has its row in the table");
    let said = volume["strategies"]
        .as_array()
        .expect("strategies")
        .iter()
        .find(|s| s["name"] == strategy)
        .expect("the strategy");
    match table::expected(strategy, kind) {
        Expected::Works => {
            assert_eq!(said["usable"], true, "{said:#}");
            cell.run("echo x > made");
            cell.site.undo();
            assert!(!cell.site.tree.join("made").exists());
        }
        Expected::NotUsable(why) => {
            assert_eq!(said["usable"], false, "{said:#}");
            assert!(
                said["reason"].as_str().is_some_and(|r| r.contains(why)),
                "{said:#}"
            );
        }
    }
}
