//! Inference judged by what command lines really touch.
//!
//! `bash.toml` has lines from practice. Each runs with the real shell in a tree of its own, and a
//! walk before and after says what it touched. The rules were asked before. A second test runs lines
//! under DeployX and takes them back.

#![cfg(unix)]

mod cover;
mod lines;
mod observe;
mod random;
mod score;
mod tree;
mod walk;

#[path = "../common/mod.rs"]
mod common;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lines::{Answer, Line};
use observe::Undone;
use score::{Board, Score};
use tree::Template;

/// Lines whose answer is not the expected one, with the reason. The goal is none.
const DEVIATIONS: [(&str, &str); 0] = [];

#[test]
fn what_lines_touch_is_covered() {
    let template = Template::new();
    let lines = lines::chosen(1);
    let mut board = Board::default();
    let scores = in_parallel(&lines, |line| {
        let missing = tree::missing(&line.needs);
        if missing.is_empty() {
            Ok(observe::score(&template, line))
        } else {
            Err(missing)
        }
    });
    for (line, score) in lines.iter().zip(scores) {
        match score {
            Ok(score) => board.add(score),
            Err(missing) => skipped("what_lines_touch_is_covered", line, &missing),
        }
    }
    println!("{}", board.table());
    let unexpected: Vec<&Score> = board
        .unexpected()
        .filter(|score| !DEVIATIONS.iter().any(|(line, _)| *line == score.command))
        .collect();
    assert!(board.silent().next().is_none(), "misses in silence");
    let (recall, mean) = (board.recall(), board.mean_recall());
    assert!(
        recall >= 0.99 && mean >= 0.99,
        "recall {recall:.4}, {mean:.4} of the mean line"
    );
    assert!(
        board.median_ratio() <= 1.5,
        "median {:.2}",
        board.median_ratio()
    );
    assert!(
        unexpected.is_empty(),
        "{} answers are not the expected ones",
        unexpected.len()
    );
    assert!(
        board.effects_missed().next().is_none(),
        "effects were not named"
    );
}

#[test]
fn lines_are_taken_back() {
    let template = Template::new();
    let mut lines = lines::chosen(common::size("DEPLOYX_TEST_CORPUS", 5));
    lines.retain(|line| line.observe);
    if !common::require(
        "lines_are_taken_back",
        "rsync",
        common::has_program("rsync"),
    ) {
        return;
    }
    let found = in_parallel(&lines, |line| {
        let missing = tree::missing(&line.needs);
        if missing.is_empty() {
            Ok(observe::undo(&template, line))
        } else {
            Err(missing)
        }
    });
    let (mut right, mut told, mut wrong) = (0, 0, 0);
    for (line, found) in lines.iter().zip(found) {
        match found {
            Ok(Undone::Differs { differences, .. }) if differences.is_empty() => right += 1,
            Ok(Undone::LeadsOut(path)) => {
                println!("LEFT OUT ({} is secured): {}", path.display(), line.command);
            }
            Ok(Undone::Differs {
                differences,
                understood: true,
            }) => {
                wrong += 1;
                println!("NOT TAKEN BACK: {}\n{differences}", line.command);
            }
            Ok(Undone::Differs { differences, .. }) => {
                told += 1;
                println!(
                    "not taken back, as was said: {}\n{differences}",
                    line.command
                );
            }
            Err(missing) => skipped("lines_are_taken_back", line, &missing),
        }
    }
    println!("{right} lines run and taken back; not: {told} not understood, {wrong} in silence");
    assert_eq!(wrong, 0);
}

/// `DEPLOYX_TEST_CORPUS_RANDOM` says how many, `DEPLOYX_TEST_CORPUS_SEED` which.
#[test]
fn lines_made_at_random_are_covered() {
    let template = Template::new();
    let count = common::size("DEPLOYX_TEST_CORPUS_RANDOM", 100);
    let seed = common::size("DEPLOYX_TEST_CORPUS_SEED", 1);
    let mut dice = random::Dice::new(seed as u64);
    let lines: Vec<Line> = (0..count).map(|_| dice.line()).collect();
    let mut board = Board::default();
    for score in in_parallel(&lines, |line| observe::score(&template, line)) {
        board.add(score);
    }
    println!("{}", board.table());
    let understood = board.understood();
    println!("{understood} of {count} lines made at random were understood");
    assert!(board.silent().next().is_none(), "misses in silence");
}

/// Every line's file says something that can be judged: none stands in it twice.
#[test]
fn the_corpus_has_no_line_twice() {
    let lines = lines::chosen(1);
    let mut seen = std::collections::BTreeSet::new();
    for line in &lines {
        assert!(
            seen.insert((&line.command, &line.setup)),
            "twice: {}",
            line.command
        );
        assert!(
            line.observe || line.understood != Answer::Yes || !line.category.is_empty(),
            "{}",
            line.command
        );
    }
}

fn skipped(test: &str, line: &Line, missing: &[String]) {
    println!(
        "SKIPPED {test} ({}): needs {}",
        line.command.lines().next().unwrap_or_default(),
        missing.join(", ")
    );
}

/// The results of `work` on every line, in their order.
fn in_parallel<T: Send>(lines: &[Line], work: impl Fn(&Line) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(lines.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, line)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    lines.get(at).map(|line| (at, line))
                } {
                    let result = work(line);
                    results.lock().expect("results").push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("results");
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
