//! How well the rules foretold what commands changed, over the stored snapshots.
//!
//! Counted are the snapshots of commands of which every call was seen: there it is known what was
//! touched, whatever the rules said. Terms:
//!
//! - An entry is *touched* where it is in the undo record, for more than times or links that moved with
//!   others, or was opened for writing and ended as it was. What a command made and removed again is
//!   not counted.
//! - A *claim* is a path that the rules named, with its depth, before overlapping ones were merged. The
//!   working directory by itself, which is in every scope, is none, and neither is what lies where
//!   changes are not followed. It belongs to the command whose rule named it; a guess to the command that
//!   was not understood.
//! - A claim is *borne out* where it covers an entry of the undo record, or one opened for writing.
//!   Precision is the share of such claims, in commands that succeeded.
//! - Recall is the share of touched entries that a claim covers. An entry that none covers is a *miss*. It
//!   counts against the command that was not understood, else against the only one that claims
//!   anything, else against the line's first.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Engine;
use crate::error::Result;
use crate::infer::{Depth, ScopePath, fallback, program_names};
use crate::path::AbsPath;
use crate::seal::{ChangeKind, Expected, UndoRecord};
use crate::store::{Damaged, ListFilter, SnapshotMeta};

/// The most misses that are named of a command.
const MOST_MISSES: usize = 20;

/// Where changes are not followed.
const NOT_FOLLOWED: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

/// How well the rules foretold what commands changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScoreReport {
    /// Snapshots that were counted.
    pub snapshots: u64,
    /// All commands together.
    pub total: Score,
    /// Each command, as the rules name it; those with misses first.
    pub commands: Vec<CommandScore>,
}

/// One command's score.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CommandScore {
    /// Its name, as the rules have it (`git commit`), or as it stands in the line.
    pub command: String,
    /// The numbers.
    #[serde(flatten)]
    pub score: Score,
    /// The first entries that it touched and no claim covers.
    pub misses: Vec<Miss>,
}

/// Precision and recall with what they are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Score {
    /// Lines that had to do with it.
    pub lines: u64,
    /// What the rules claimed, in lines that succeeded.
    pub claims: u64,
    /// The claims that were borne out.
    pub claims_borne_out: u64,
    /// Their share; `None` without claims.
    pub precision: Option<f64>,
    /// Entries that were touched.
    pub touched: u64,
    /// Those that a claim covers.
    pub touched_in_scope: u64,
    /// Their share; `None` where nothing was touched.
    pub recall: Option<f64>,
}

/// An entry that was touched and that no claim covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Miss {
    /// Which.
    pub path: AbsPath,
    /// In which snapshot.
    pub snapshot_id: String,
}

impl Score {
    fn add(&mut self, other: Self) {
        self.lines += other.lines;
        self.claims += other.claims;
        self.claims_borne_out += other.claims_borne_out;
        self.touched += other.touched;
        self.touched_in_scope += other.touched_in_scope;
    }

    fn rate(&mut self) {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.precision = share(self.claims_borne_out, self.claims);
        self.recall = share(self.touched_in_scope, self.touched);
    }

    fn misses(&self) -> u64 {
        self.touched - self.touched_in_scope
    }
}

impl Engine {
    /// Scores the rules on the snapshots that `filter` lets through; damaged ones apart.
    pub fn score_rules(&self, filter: &ListFilter) -> Result<(ScoreReport, Damaged)> {
        let (metas, mut damaged) = self.store.list(filter)?;
        let mut scores = Scores::default();
        for listed in &metas {
            let id = &listed.snapshot_id;
            let found = self.store.meta(id).and_then(|meta| {
                let record = match expected(&meta) {
                    Some(_) => self.store.record(id)?,
                    None => UndoRecord::default(),
                };
                Ok((meta, record))
            });
            match found {
                Ok((meta, record)) => scores.count(&meta, &record),
                Err(error) => damaged.push((id.to_string(), error)),
            }
        }
        Ok((scores.finish(), damaged))
    }
}

fn expected(meta: &SnapshotMeta) -> Option<&Expected> {
    meta.receipt.as_ref()?.expected.as_ref()
}

/// What is counted so far.
#[derive(Default)]
struct Scores {
    snapshots: u64,
    total: Score,
    commands: BTreeMap<String, CommandScore>,
}

impl Scores {
    fn count(&mut self, meta: &SnapshotMeta, record: &UndoRecord) {
        let Some(expected) = expected(meta) else {
            return;
        };
        self.snapshots += 1;
        let line =
            String::from_utf8_lossy(&meta.command.to_bytes().unwrap_or_default()).into_owned();
        let claims = claims(expected, &line);
        let succeeded = meta.outcome.exit_code == Some(0);
        let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
        let mut total = Score::default();
        let changed = record.changes.iter().map(|change| &change.path);
        let seen: Vec<&AbsPath> = changed.chain(&expected.written_as_before).collect();
        for (name, claim) in claims.iter().filter(|_| succeeded) {
            let score = Score {
                claims: 1,
                claims_borne_out: u64::from(seen.iter().any(|path| covers(claim, path))),
                ..Score::default()
            };
            scores.entry(name).or_default().add(score);
            total.add(score);
        }
        let meant = record.changes.iter();
        let meant = meant.filter(|change| change.kind() != ChangeKind::Incidental);
        let touched = meant.map(|change| &change.path);
        let blamed = blamed(expected, &claims, &line);
        for path in touched.chain(&expected.written_as_before) {
            let covering = claims.iter().filter(|(_, claim)| covers(claim, path));
            let names: BTreeSet<&str> = covering.map(|(name, _)| name.as_str()).collect();
            let score = Score {
                touched: 1,
                touched_in_scope: u64::from(!names.is_empty()),
                ..Score::default()
            };
            total.add(score);
            for name in &names {
                scores.entry(name).or_default().add(score);
            }
            if names.is_empty() {
                scores.entry(&blamed).or_default().add(score);
                self.miss(&blamed, path, meta);
            }
        }
        total.lines = 1;
        self.total.add(total);
        for (name, mut score) in scores {
            score.lines = 1;
            self.command(name).score.add(score);
        }
    }

    fn command(&mut self, name: &str) -> &mut CommandScore {
        self.commands
            .entry(name.to_owned())
            .or_insert_with(|| CommandScore {
                command: name.to_owned(),
                ..CommandScore::default()
            })
    }

    fn miss(&mut self, name: &str, path: &AbsPath, meta: &SnapshotMeta) {
        let misses = &mut self.command(name).misses;
        if misses.len() < MOST_MISSES {
            misses.push(Miss {
                path: path.clone(),
                snapshot_id: meta.snapshot_id.to_string(),
            });
        }
    }

    fn finish(mut self) -> ScoreReport {
        self.total.rate();
        let mut commands: Vec<CommandScore> = self.commands.into_values().collect();
        commands.iter_mut().for_each(|one| one.score.rate());
        let worst = |one: &CommandScore| one.score.recall.unwrap_or(1.0);
        let vaguest = |one: &CommandScore| one.score.precision.unwrap_or(1.0);
        commands.sort_by(|a, b| {
            worst(a)
                .total_cmp(&worst(b))
                .then(b.score.misses().cmp(&a.score.misses()))
                .then(vaguest(a).total_cmp(&vaguest(b)))
                .then(a.command.cmp(&b.command))
        });
        ScoreReport {
            snapshots: self.snapshots,
            total: self.total,
            commands,
        }
    }
}

/// The claims, each with the command that it belongs to.
fn claims<'e>(expected: &'e Expected, line: &str) -> Vec<(String, &'e ScopePath)> {
    let is_default =
        |one: &ScopePath| one.depth == Depth::Entry && one.reason == fallback::WORKING_DIRECTORY;
    let followed = |one: &ScopePath| {
        let path = one.path.as_path();
        !NOT_FOLLOWED.iter().any(|alone| path.starts_with(alone))
    };
    let guesser = guesser(expected, line);
    let counted = expected.paths.iter();
    counted
        .filter(|one| !is_default(one) && followed(one))
        .map(|one| {
            let name = if one.rule.is_empty() {
                guesser.clone()
            } else {
                one.rule.clone()
            };
            (name, one)
        })
        .collect()
}

/// The command that a guess is for: that of the first part that was not understood.
fn guesser(expected: &Expected, line: &str) -> String {
    let part = expected.guessed.first().map(String::as_str);
    let first = |text: &str| program_names(text).into_iter().next();
    let found = part.and_then(first).or_else(|| first(line));
    found.map_or_else(|| "?".to_owned(), base_name)
}

/// The command that misses count against.
fn blamed(expected: &Expected, claims: &[(String, &ScopePath)], line: &str) -> String {
    let names: BTreeSet<&String> = claims.iter().map(|(name, _)| name).collect();
    match names.first() {
        Some(only) if expected.guessed.is_empty() && names.len() == 1 => (*only).clone(),
        _ => guesser(expected, line),
    }
}

fn base_name(program: String) -> String {
    match program.rsplit_once('/') {
        Some((_, name)) if !name.is_empty() => name.to_owned(),
        _ => program,
    }
}

fn covers(claim: &ScopePath, path: &AbsPath) -> bool {
    match claim.depth {
        Depth::Entry => *path == claim.path,
        Depth::Children => *path == claim.path || path.parent().as_ref() == Some(&claim.path),
        Depth::Tree => path.starts_with(&claim.path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Certainty;
    use crate::path::WirePath;
    use crate::seal::{Change, PreImage, Receipt};

    fn path(text: &str) -> AbsPath {
        AbsPath::new(text).unwrap()
    }

    fn claim(at: &str, depth: Depth, rule: &str) -> ScopePath {
        ScopePath {
            path: path(at),
            depth,
            reason: "x".into(),
            certainty: Certainty::Certain,
            rule: rule.into(),
        }
    }

    fn snapshot(line: &str, exit: i32, expected: Expected) -> SnapshotMeta {
        let command = WirePath::Text(line.into());
        let mut meta = SnapshotMeta::new(command, "bash", path("/w"));
        meta.outcome.exit_code = Some(exit);
        meta.receipt = Some(Receipt {
            expected: Some(expected),
            ..Receipt::default()
        });
        meta
    }

    fn expected(paths: Vec<ScopePath>, guessed: &[&str]) -> Expected {
        Expected {
            paths,
            guessed: guessed.iter().map(ToString::to_string).collect(),
            written_as_before: Vec::new(),
        }
    }

    /// A record with created entries.
    fn record(paths: &[&str]) -> UndoRecord {
        let changes = paths.iter().map(|at| Change {
            path: path(at),
            before: None,
            after: None,
            content: PreImage::NotNeeded,
        });
        UndoRecord {
            changes: changes.collect(),
            ..UndoRecord::default()
        }
    }

    fn scored(snapshots: &[(SnapshotMeta, UndoRecord)]) -> ScoreReport {
        let mut scores = Scores::default();
        snapshots.iter().for_each(|(m, r)| scores.count(m, r));
        scores.finish()
    }

    fn numbers(report: &ScoreReport, command: &str) -> [u64; 4] {
        let found = report.commands.iter().find(|one| one.command == command);
        let score = found.unwrap_or_else(|| panic!("{report:#?}")).score;
        [
            score.claims,
            score.claims_borne_out,
            score.touched,
            score.touched_in_scope,
        ]
    }

    #[test]
    fn claims_and_touched_entries_are_counted_by_the_rule_that_named_them() {
        let claims = vec![
            claim("/w/a", Depth::Tree, "rm"),
            claim("/w/b", Depth::Tree, "cp"),
            claim("/w/c", Depth::Children, "cp"),
            claim("/dev/null", Depth::Entry, "cp"),
        ];
        let meta = snapshot("rm a; cp x b c", 0, expected(claims, &[]));
        let report = scored(&[(meta, record(&["/w/a/1", "/w/a/2", "/w/c/d/deep"]))]);
        assert_eq!(
            numbers(&report, "rm"),
            [1, 1, 3, 2],
            "it has the line's miss"
        );
        assert_eq!(numbers(&report, "cp"), [2, 0, 0, 0]);
        assert_eq!(report.commands[0].command, "rm", "misses first");
        assert_eq!(report.commands[0].misses[0].path, path("/w/c/d/deep"));
        assert_eq!(report.total.precision, Some(1.0 / 3.0));
        assert_eq!(report.total.recall, Some(2.0 / 3.0));
    }

    #[test]
    fn a_guess_and_what_it_misses_belong_to_what_was_not_understood() {
        let claims = vec![
            claim("/w", Depth::Tree, ""),
            claim("/w/o", Depth::Tree, ">"),
        ];
        let meta = snapshot(
            "echo > o; /opt/tool x",
            0,
            expected(claims, &["/opt/tool x"]),
        );
        let report = scored(&[(meta, record(&["/elsewhere", "/w/o"]))]);
        assert_eq!(numbers(&report, "tool"), [1, 1, 2, 1]);
        assert_eq!(numbers(&report, ">"), [1, 1, 1, 1]);
    }

    #[test]
    fn a_command_that_failed_says_nothing_of_precision() {
        let of = |exit| {
            snapshot(
                "rm a",
                exit,
                expected(vec![claim("/a", Depth::Tree, "rm")], &[]),
            )
        };
        let report = scored(&[(of(1), record(&[])), (of(1), record(&["/b"]))]);
        assert_eq!(numbers(&report, "rm"), [0, 0, 1, 0]);
        assert_eq!(report.commands[0].score.precision, None);
    }

    #[test]
    fn the_working_directory_by_itself_is_no_claim() {
        let mut cwd = claim("/w", Depth::Entry, "");
        cwd.reason = fallback::WORKING_DIRECTORY.into();
        let mut files = expected(vec![cwd, claim("/w/f", Depth::Entry, "tee")], &[]);
        files.written_as_before = vec![path("/w/f")];
        let report = scored(&[(snapshot("tee f", 0, files), record(&[]))]);
        assert_eq!(report.commands.len(), 1);
        assert_eq!(numbers(&report, "tee"), [1, 1, 1, 1]);
    }

    #[test]
    fn snapshots_of_which_not_every_call_was_seen_do_not_count() {
        let report = {
            let mut meta = snapshot("rm a", 0, Expected::default());
            meta.receipt = None;
            scored(&[(meta, record(&["/a"]))])
        };
        assert_eq!(report, ScoreReport::default());
    }
}
