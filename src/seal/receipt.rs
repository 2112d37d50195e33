//! What a snapshot vouches for: the receipt that every sealed snapshot carries.
//!
//! It says nothing that was not looked at: how changes outside of the record were looked for is part of
//! it, and where nobody looked it says so.

use serde::{Deserialize, Serialize};

use super::{Change, ChangeKind, PreImage, UndoRecord};
use crate::infer::{Irreversible, ScopePath};
use crate::path::AbsPath;

/// The most entries of each list in a receipt; the counts beside them are whole.
pub const MOST_LISTED: usize = 100;

/// What was preserved of a command's effects, what was seen of them besides, and what nobody can take
/// back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// What a rollback has to work with.
    pub preserved: Preserved,
    /// What was seen to change and is not preserved.
    pub outside: Outside,
    /// Effects that no rollback takes back.
    pub not_undoable: Vec<Effect>,
    /// What the strategy cannot see or hold of this command, each with the reason.
    pub limits: Vec<Limit>,
    /// Changes by processes that an earlier command left behind.
    pub late: Late,
    /// What the rules expected and what came of it; only where every call was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

/// What the undo record has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preserved {
    /// Entries that existed before and whose state before is on record.
    pub entries: u64,
    /// Bytes of content of files among them, as long as they were.
    pub bytes: u64,
    /// Names that did not exist before, which a rollback removes.
    pub created: u64,
    /// Entries whose content could not be kept.
    pub lost: u64,
}

/// How changes outside of the record were looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// Each call of the command's processes was seen before it was carried out.
    Calls,
    /// Events of whole filesystems were read, whoever caused them.
    Events,
    /// They were not.
    #[default]
    #[serde(other)]
    NotWatched,
}

/// Changes that are not preserved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outside {
    /// How they were looked for.
    pub watch: Watch,
    /// Where, or why not, in words.
    pub reason: String,
    /// The first of them, by path.
    pub changed: Vec<Seen>,
    /// How many entries they are.
    pub count: u64,
    /// How many of them a process of the command changed, for sure.
    pub by_command: u64,
}

/// An entry that was seen to change and is not preserved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Which.
    pub path: AbsPath,
    /// By whom.
    pub by: By,
}

/// Who caused a change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A process of the command.
    Command,
    /// Somebody, while the command ran.
    #[default]
    #[serde(other)]
    Anyone,
}

/// How an effect is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// A call of the command was seen.
    Call,
    /// A rule expects it of the command line.
    #[default]
    #[serde(other)]
    Rule,
}

/// An effect that no rollback takes back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Effect {
    /// What it is on, for example `network` or `service`.
    pub what: String,
    /// Why it is believed to have happened, or what was seen.
    pub reason: String,
    /// How it is known.
    #[serde(default)]
    pub known_by: KnownBy,
}

impl Effect {
    /// One that a rule expects.
    pub fn expected(effect: &Irreversible) -> Self {
        Self {
            what: effect.what.clone(),
            reason: effect.reason.clone(),
            known_by: KnownBy::Rule,
        }
    }
}

/// Why a strategy's word does not hold for everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Others worked on the command's behalf: service managers, container daemons, other hosts.
    WorkOfOthers,
    /// Set-uid programs gain no rights, and may do something else therefore.
    SetUid,
    /// A program wanted to intercept calls itself, which only one can.
    OwnListener,
    /// A strategy that was asked for was not used.
    SteppedAside,
    /// Processes of the command go on.
    Survivors,
    /// Something else.
    #[default]
    #[serde(other)]
    Other,
}

/// A limit that held for this command.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Limit {
    /// Which.
    pub kind: LimitKind,
    /// The same in words.
    pub reason: String,
}

impl Limit {
    /// A limit of this kind.
    pub fn new(kind: LimitKind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

/// Changes by processes that outlived their command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Late {
    /// The first of them, by path.
    pub changed: Vec<LateChange>,
    /// How many entries they are.
    pub count: u64,
}

/// An entry that a process of an earlier command changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LateChange {
    /// Which.
    pub path: AbsPath,
    /// The snapshot of the command whose process it was; `None`: that cannot be told.
    pub command: Option<String>,
    /// The snapshot of the command that ran meanwhile, with which the change is on record; `None`: none
    /// ran, and the change is not preserved.
    pub recorded_with: Option<String>,
}

/// What the rules expected of the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expected {
    /// The paths that they named, before overlapping ones were merged.
    pub paths: Vec<ScopePath>,
    /// Parts of the line that they did not understand.
    pub guessed: Vec<String>,
    /// Files that were opened for writing and ended as they were, which are in no record.
    pub written_as_before: Vec<AbsPath>,
}

/// What a capture saw of a command besides what it recorded. All of it may be repeated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every call was seen: what changed outside is in `outside`, and there is no more.
    pub every_call: bool,
    /// Entries that were changed and are not recorded.
    pub outside: Vec<AbsPath>,
    /// Effects that were seen.
    pub effects: Vec<Effect>,
    /// Limits that were met.
    pub limits: Vec<Limit>,
    /// Changes by processes of earlier commands.
    pub late: Vec<LateChange>,
    /// Files that were opened for writing and ended as they were.
    pub written_as_before: Vec<AbsPath>,
}

impl Observed {
    /// Adds what another capture saw.
    pub fn extend(&mut self, other: Self) {
        self.every_call |= other.every_call;
        self.outside.extend(other.outside);
        self.effects.extend(other.effects);
        self.limits.extend(other.limits);
        self.late.extend(other.late);
        self.written_as_before.extend(other.written_as_before);
    }
}

impl Preserved {
    /// What `record` preserves.
    pub fn of(record: &UndoRecord) -> Self {
        let mut preserved = Self::default();
        let meant = |change: &&Change| change.kind() != ChangeKind::Incidental;
        for change in record.changes.iter().filter(meant) {
            match (&change.before, &change.content) {
                (None, _) => preserved.created += 1,
                (Some(_), PreImage::Lost { .. }) => preserved.lost += 1,
                (Some(before), content) => {
                    preserved.entries += 1;
                    if matches!(content, PreImage::Stored { .. }) {
                        preserved.bytes += before.size;
                    }
                }
            }
        }
        preserved
    }
}

impl Outside {
    /// What was seen, in order and listed up to a bound.
    pub fn of(watch: Watch, reason: impl Into<String>, mut changed: Vec<Seen>) -> Self {
        changed.sort();
        changed.dedup_by(|a, b| a.path == b.path);
        let by_command = changed.iter().filter(|one| one.by == By::Command).count() as u64;
        let count = in_order(&mut changed, |a, b| a.path == b.path);
        Self {
            watch,
            reason: reason.into(),
            changed,
            count,
            by_command,
        }
    }
}

impl Late {
    /// These changes, in order and listed up to a bound.
    pub fn of(mut changed: Vec<LateChange>) -> Self {
        let count = in_order(&mut changed, |a, b| a == b);
        Self { changed, count }
    }
}

/// Sorts, drops what is the same, and cuts. Gives how many there were.
fn in_order<T: Ord>(all: &mut Vec<T>, same: impl Fn(&T, &T) -> bool) -> u64 {
    all.sort();
    all.dedup_by(|a, b| same(a, b));
    let count = all.len() as u64;
    all.truncate(MOST_LISTED);
    count
}

impl Receipt {
    /// The receipt with short lists, for places with little room. Counts stay.
    #[must_use]
    pub fn brief(mut self, most: usize) -> Self {
        self.outside.changed.truncate(most);
        self.not_undoable.truncate(most);
        self.limits.truncate(most);
        self.late.changed.truncate(most);
        self.expected = None;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str, by: By) -> Seen {
        Seen {
            path: AbsPath::new(path).unwrap(),
            by,
        }
    }

    #[test]
    fn an_entry_seen_twice_is_one_and_the_surer_word_stays() {
        let changed = vec![
            seen("/b", By::Anyone),
            seen("/a", By::Anyone),
            seen("/a", By::Command),
        ];
        let outside = Outside::of(Watch::Events, "events on /", changed);
        assert_eq!((outside.count, outside.by_command), (2, 1));
        let expected = [seen("/a", By::Command), seen("/b", By::Anyone)];
        assert_eq!(outside.changed, expected);
    }

    #[test]
    fn a_long_list_is_cut_and_counted_in_full() {
        let changed = (0..250).map(|n| seen(&format!("/{n}"), By::Anyone));
        let outside = Outside::of(Watch::Events, "", changed.collect());
        assert_eq!(outside.count, 250);
        assert_eq!(outside.changed.len(), MOST_LISTED);
        let receipt = Receipt {
            outside,
            ..Receipt::default()
        };
        let brief = receipt.brief(5);
        assert_eq!((brief.outside.changed.len(), brief.outside.count), (5, 250));
    }

    #[test]
    fn what_a_later_program_writes_is_read_as_the_weakest_word() {
        let text = r#"{"outside": {"watch": "oracle", "changed": [{"path": "/a", "by": "ghost"}]},
            "limits": [{"kind": "new", "reason": "r"}], "unknown": 1}"#;
        let receipt: Receipt = serde_json::from_str(text).unwrap();
        assert_eq!(receipt.outside.watch, Watch::NotWatched);
        assert_eq!(receipt.outside.changed, [seen("/a", By::Anyone)]);
        assert_eq!(receipt.limits, [Limit::new(LimitKind::Other, "r")]);
        assert_eq!(receipt.preserved, Preserved::default());
    }
}
