//! The scenarios, the points in them, and the verdict on what a kill or a fault left.

use std::collections::BTreeMap;
use std::fmt;

use crate::calls::{FAULTS, Fault};
use crate::common::{has_program, require, text};
use crate::tracer::{self, Injection, Role, Traced};
use crate::world::{COMMAND, World};

/// Points for each scenario unless the environment says otherwise.
const POINTS: usize = 4;

/// What is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A command with a store that has to be made.
    FirstRun,
    /// A command with a store that has everything.
    Run,
    /// The same under interception.
    Intercepted,
    /// The rollback of that command.
    Rollback,
    /// Sealing a snapshot of which the process was killed after the command.
    RecoverRun,
    /// The same of one that was intercepted.
    RecoverIntercepted,
    /// Finishing a rollback that was killed half way.
    RecoverRollback,
    /// Deleting snapshots.
    Cleanup,
}

/// What went wrong at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// What was acknowledged cannot be rolled back.
    Lost,
    /// The tree is neither as before nor as after.
    Mixed,
    /// Success was reported and is not there.
    Silent,
    /// The program panicked.
    Panic,
    /// It did not end, or something was left: a lock, an entry, a file.
    Stuck,
}

type Judged = Result<(), (Verdict, String)>;

impl Scenario {
    /// Brings about the state to begin with. Gives the arguments of what is then disturbed.
    fn prepare(self, world: &mut World) -> Vec<String> {
        let strings = |arguments: &[&str]| arguments.iter().map(|s| (*s).to_owned()).collect();
        match self {
            Scenario::FirstRun => {
                world.forget_store();
                strings(&["run", "--json", "--path", ".", "--", COMMAND])
            }
            Scenario::Run => strings(&["run", "--json", "--path", ".", "--", COMMAND]),
            Scenario::Intercepted => {
                let options = ["run", "--json", "--strategy", "intercept", "--path", "."];
                strings(&[&options[..], &["--", COMMAND]].concat())
            }
            Scenario::Rollback => {
                world.expect(&["run", "--quiet", "--path", ".", "--", COMMAND]);
                world.remember_after();
                strings(&["rollback", "last", "--yes"])
            }
            Scenario::RecoverRun => {
                world.interrupted_run(&[]);
                world.remember_after();
                strings(&["recover", "--json"])
            }
            Scenario::RecoverIntercepted => {
                world.interrupted_run(&["--strategy", "intercept"]);
                world.remember_after();
                strings(&["recover", "--json"])
            }
            Scenario::RecoverRollback => {
                world.expect(&["run", "--quiet", "--path", ".", "--", COMMAND]);
                world.remember_after();
                interrupt_rollback(world);
                strings(&["recover"])
            }
            Scenario::Cleanup => {
                world.expect(&["run", "--quiet", "--path", ".", "--", COMMAND]);
                world.expect(&["rollback", "last", "--yes"]);
                let list = world.list();
                let old = list
                    .iter()
                    .take(2)
                    .filter_map(|s| s["snapshot_id"].as_str());
                let mut arguments = vec!["cleanup".to_owned()];
                arguments.extend(old.map(str::to_owned));
                world.expect(&["run", "--quiet", "--path", ".", "--", COMMAND]);
                world.remember_after();
                arguments
            }
        }
    }

    /// Whether success of the disturbed command means that the tree is as before.
    fn restores(self) -> bool {
        matches!(self, Scenario::Rollback | Scenario::RecoverRollback)
    }
}

/// Kills a rollback after about half of what it does.
fn interrupt_rollback(world: &World) {
    let kill = |at| {
        world.traced(
            &["rollback", "last", "--yes"],
            Some(Injection {
                role: Role::Agent,
                fault: Fault::Kill,
                at,
                on: &[],
            }),
        )
    };
    let traced = kill(HALF_OF_A_ROLLBACK);
    assert!(
        traced.hit.is_some(),
        "the rollback ended before it was killed"
    );
    assert_ne!(world.site.differences(), "", "killed too late");
    assert_ne!(world.differences_to_after(), "", "killed too early");
}

/// The number of a call at which some entries are as before and some are not.
const HALF_OF_A_ROLLBACK: usize = 150;

fn judge(scenario: Scenario, world: &World, arguments: &[&str], traced: &Traced) -> Judged {
    if traced.stderr.contains("panicked at") {
        return Err((Verdict::Panic, traced.stderr.clone()));
    }
    if traced.hung {
        return Err((Verdict::Stuck, "it did not end".into()));
    }
    let success = traced.status.success();
    // Times of directories that it only passed through may stay, if it says so.
    let noted = traced.stdout.contains("could not be put back") && world.entries_are_as_before();
    if success && scenario.restores() {
        let differences = world.site.differences();
        if noted {
            world.reset_tree();
        } else if !differences.is_empty() {
            let said = format!("{}{}", traced.stdout, traced.stderr);
            return Err((Verdict::Silent, format!("{said}{differences}")));
        }
    }
    let told = tells_of_loss(scenario, traced);
    if told && !world.work_is_whole() {
        return Err((Verdict::Mixed, "the command's own work is damaged".into()));
    }
    let recovered = world.deployx(&["recover"]);
    if !recovered.status.success() {
        return Err((Verdict::Stuck, format!("recover: {}", text(&recovered))));
    }
    // A kill says nothing, an exit code does.
    let reported = scenario.restores() && traced.status.code().is_some();
    match back_to_before(scenario, world, reported) {
        Err(_) if told => world.reset_tree(),
        judged => judged.map_err(|(verdict, what)| {
            let said = format!("{} {}{}", traced.status, traced.stdout, traced.stderr);
            let then = text(&recovered);
            (
                verdict,
                format!("said: {said}\nrecover said: {then}\n{what}"),
            )
        })?,
    }
    if scenario == Scenario::Cleanup {
        finish_cleanup(world, arguments, success)?;
    }
    world.tidy().map_err(|what| (Verdict::Stuck, what))
}

/// Whether a run, or its late sealing, said that its command cannot be taken back completely.
fn tells_of_loss(scenario: Scenario, traced: &Traced) -> bool {
    let Ok(report) = serde_json::from_str::<serde_json::Value>(&traced.stdout) else {
        return false;
    };
    let some = |field: &str| {
        report[field]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    };
    match scenario {
        Scenario::FirstRun | Scenario::Run | Scenario::Intercepted => {
            !report["snapshot_error"].is_null() || report["coverage"]["complete"] != true
        }
        Scenario::RecoverRun | Scenario::RecoverIntercepted => some("incomplete") || some("failed"),
        Scenario::Rollback | Scenario::RecoverRollback | Scenario::Cleanup => false,
    }
}

/// After recovery the tree is as before, or can be brought there.
///
/// A rollback that `reported` that it is not complete has left entries as they were after the
/// command, and finishes when it is done again; else it is all or nothing.
fn back_to_before(scenario: Scenario, world: &World, reported: bool) -> Judged {
    let differences = world.site.differences();
    if differences.is_empty() {
        return Ok(());
    }
    if scenario.restores() {
        let mixed = if reported {
            world.torn_entries().join("\n")
        } else {
            world.differences_to_after()
        };
        if !mixed.is_empty() {
            let what = format!("neither before:\n{differences}nor after:\n{mixed}");
            return Err((Verdict::Mixed, what));
        }
    }
    let (target, state) = world.newest_command().unzip();
    if scenario.restores() && state.as_deref() == Some("rolled_back") {
        let what = format!("listed as rolled back, and is not:\n{differences}");
        return Err((Verdict::Silent, what));
    }
    let Some(target) = target else {
        return Err((
            Verdict::Lost,
            format!("there is no snapshot:\n{differences}"),
        ));
    };
    let output = world.deployx(&["rollback", &target, "--yes"]);
    let differences = world.site.differences();
    // Times of a directory that were reported as not restored are not tried again: nobody knows
    // any more whether somebody else moved them.
    let restored = differences.is_empty() || reported && world.entries_are_as_before();
    if output.status.success() && restored {
        if !differences.is_empty() {
            world.reset_tree();
        }
        return Ok(());
    }
    let states: Vec<String> = world
        .list()
        .iter()
        .map(|s| s["state"].to_string())
        .collect();
    let what = format!("{states:?}\n{}{differences}", text(&output));
    Err((Verdict::Lost, what))
}

/// Cleaning up again works, and then what was to go is gone.
fn finish_cleanup(world: &World, arguments: &[&str], success: bool) -> Judged {
    let victims = &arguments[1..];
    let listed = || -> Vec<String> {
        let list = world.list();
        let ids = list.iter().filter_map(|s| s["snapshot_id"].as_str());
        ids.filter(|id| victims.contains(id))
            .map(str::to_owned)
            .collect()
    };
    let left = listed();
    if success && !left.is_empty() {
        return Err((Verdict::Silent, format!("cleanup left {left:?}")));
    }
    if left.is_empty() {
        return Ok(());
    }
    let again: Vec<&str> = ["cleanup"]
        .into_iter()
        .chain(left.iter().map(String::as_str))
        .collect();
    let output = world.deployx(&again);
    if output.status.success() && listed().is_empty() {
        return Ok(());
    }
    Err((Verdict::Stuck, format!("cleanup again: {}", text(&output))))
}

/// A point of the campaign as it is printed and given back by the environment.
struct Point(Scenario, Injection);

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Injection {
            role, fault, at, ..
        } = self.1;
        write!(f, "{:?}/{role:?}/{fault}/{at}", self.0)
    }
}

/// Every point of a scenario, in order.
fn points(scenario: Scenario, faults: &[Fault]) -> Vec<Injection> {
    let mut world = World::new();
    let arguments = scenario.prepare(&mut world);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let traced = world.traced(&arguments, None);
    assert!(
        traced.status.success(),
        "{}{}",
        traced.stdout,
        traced.stderr
    );
    let mut points = Vec::new();
    for fault in faults {
        for role in [Role::Agent, Role::Child] {
            let chances = traced.chances.get(&(role, *fault)).copied().unwrap_or(0);
            points.extend((1..=chances).map(|at| Injection {
                role,
                fault: *fault,
                at,
                on: &[],
            }));
        }
    }
    points
}

/// Those points that the environment asks for.
fn chosen(scenario: Scenario, mut points: Vec<Injection>) -> Vec<Injection> {
    if let Ok(only) = std::env::var("DEPLOYX_TEST_CRASH_ONLY") {
        points.retain(|point| Point(scenario, *point).to_string().starts_with(&only));
        return points;
    }
    let wanted = match std::env::var("DEPLOYX_TEST_CRASH_POINTS").as_deref() {
        Ok("all") => 0,
        Ok(number) => number
            .parse()
            .expect("DEPLOYX_TEST_CRASH_POINTS: a number or `all`"),
        Err(_) => POINTS,
    };
    let total = points.len();
    if wanted == 0 || wanted >= total {
        return points;
    }
    // In the middle of equal parts, so that neither end is preferred.
    (0..wanted)
        .map(|n| points[(2 * n + 1) * total / (2 * wanted)])
        .collect()
}

fn campaign(test: &str, scenario: Scenario, faults: &[Fault]) {
    if !is_possible(test) {
        return;
    }
    let all = points(scenario, faults);
    let total = all.len();
    let chosen = chosen(scenario, all);
    let mut world = World::new();
    let mut hits = 0;
    let mut problems: BTreeMap<Verdict, usize> = BTreeMap::new();
    for injection in chosen {
        let arguments = scenario.prepare(&mut world);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let traced = world.traced(&arguments, Some(injection));
        hits += usize::from(traced.hit.is_some());
        if let Err((verdict, what)) = judge(scenario, &world, &arguments, &traced) {
            *problems.entry(verdict).or_default() += 1;
            let call = traced.hit.as_deref().unwrap_or("never reached");
            println!("{verdict:?} {}: {call}\n{what}", Point(scenario, injection));
            world = World::new();
        }
    }
    if let Err(what) = world.roll_back_kept() {
        *problems.entry(Verdict::Lost).or_default() += 1;
        println!("{what}");
    }
    println!("{test}: {hits} points of {total}; problems: {problems:?}");
    assert!(problems.is_empty(), "{test}: {problems:?}");
}

/// Lets every call that has all of `on` in its description meet the fault: where the campaign found
/// something, all of it is tried on every run.
pub(crate) fn at_every(test: &str, scenario: Scenario, fault: Fault, on: &'static [&'static str]) {
    if !is_possible(test) {
        return;
    }
    let mut world = World::new();
    for at in 1.. {
        let injection = Injection {
            role: Role::Agent,
            fault,
            at,
            on,
        };
        let arguments = scenario.prepare(&mut world);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let traced = world.traced(&arguments, Some(injection));
        let Some(call) = &traced.hit else {
            assert!(at > 1, "no call has {on:?}");
            return;
        };
        if let Err((verdict, what)) = judge(scenario, &world, &arguments, &traced) {
            panic!("{verdict:?} after {fault} in {call}: {what}");
        }
    }
}

/// Whether the campaign can be run here.
fn is_possible(test: &str) -> bool {
    ["rsync", "setfattr"]
        .iter()
        .all(|program| require(test, program, has_program(program)))
        && require(test, "ptrace", tracer::is_possible())
}

macro_rules! campaigns {
    ($($kills:ident, $faults:ident: $scenario:ident;)*) => {$(
        #[test]
        fn $kills() {
            campaign(stringify!($kills), Scenario::$scenario, &[Fault::Kill]);
        }

        #[test]
        fn $faults() {
            campaign(stringify!($faults), Scenario::$scenario, &FAULTS);
        }
    )*};
}

campaigns! {
    a_kill_in_the_first_run_loses_nothing, a_fault_in_the_first_run_is_reported: FirstRun;
    a_kill_in_a_run_loses_nothing, a_fault_in_a_run_is_reported: Run;
    a_kill_in_an_intercepted_run_loses_nothing, a_fault_in_an_intercepted_run_is_reported: Intercepted;
    a_kill_in_a_rollback_is_made_good, a_fault_in_a_rollback_is_reported: Rollback;
    a_kill_while_sealing_late_loses_nothing, a_fault_while_sealing_late_is_reported: RecoverRun;
    a_kill_while_sealing_intercepted_work_late_loses_nothing, a_fault_while_sealing_intercepted_work_late_is_reported: RecoverIntercepted;
    a_kill_in_a_resumed_rollback_is_made_good, a_fault_in_a_resumed_rollback_is_reported: RecoverRollback;
    a_kill_in_a_cleanup_loses_nothing, a_fault_in_a_cleanup_is_reported: Cleanup;
}
