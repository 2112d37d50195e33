//! Makes the receipt of a command: begun with what is known before it runs, completed with what was
//! seen of it.

use super::scope::physical;
use crate::infer::Scope;
use crate::seal::{
    By, Effect, Expected, Late, LateChange, Limit, LimitKind, Observed, Outside, Preserved,
    Receipt, Seen, UndoRecord, Watch,
};
use crate::snapshot::select::Selected;
use crate::store::SnapshotId;

/// Beyond so many paths the rules' answer is not kept: no person wrote such a line.
const MOST_EXPECTED: usize = 1000;

/// The kinds of effects that somebody else has on the command's behalf, whom no strategy watches.
const OF_OTHERS: [&str; 5] = ["container", "database", "network", "remote", "service"];

/// What is known before the command runs. `scope` is the rules' answer.
pub(super) fn begin(scope: &Scope, selected: &Selected) -> Receipt {
    let mut strategies = selected.assignments.iter().map(|one| &one.strategy);
    let keeps = strategies.any(|one| one.spans_volumes()) && scope.paths.len() <= MOST_EXPECTED;
    let paths = scope.paths.iter().cloned();
    let expected = keeps.then(|| Expected {
        paths: paths.filter_map(physical).collect(),
        guessed: guessed(scope),
        written_as_before: Vec::new(),
    });
    let limits = selected
        .notes
        .iter()
        .map(|why| Limit::new(LimitKind::SteppedAside, why.as_str()));
    Receipt {
        not_undoable: scope.irreversible.iter().map(Effect::expected).collect(),
        limits: limits.collect(),
        expected,
        ..Receipt::default()
    }
}

/// The parts of the line that a guess is for. What a guess left out is a place, and no part of it.
fn guessed(scope: &Scope) -> Vec<String> {
    let parts = scope.not_understood.iter().filter(|part| part.covered);
    parts.map(|part| part.text.clone()).collect()
}

/// The whole receipt, once the command is over. `outside` is what a watch besides the strategy saw.
pub(super) fn complete(
    mut receipt: Receipt,
    snapshot: &SnapshotId,
    record: &UndoRecord,
    observed: Observed,
    outside: Outside,
) -> Receipt {
    receipt.preserved = Preserved::of(record);
    receipt.outside = if observed.every_call {
        let seen = observed.outside.into_iter().map(|path| Seen {
            path,
            by: By::Command,
        });
        let reason = "every call of the command's processes was seen";
        Outside::of(Watch::Calls, reason, seen.collect())
    } else {
        outside
    };
    receipt.expected = receipt.expected.filter(|_| observed.every_call);
    if let Some(expected) = &mut receipt.expected {
        expected.written_as_before = observed.written_as_before;
    }
    receipt.not_undoable.extend(observed.effects);
    receipt.not_undoable.sort();
    receipt.not_undoable.dedup();
    receipt.limits.extend(observed.limits);
    receipt.limits.extend(work_of_others(&receipt.not_undoable));
    receipt.limits.sort();
    receipt.limits.dedup();
    let late = observed.late.into_iter().map(|one| LateChange {
        recorded_with: Some(snapshot.to_string()),
        ..one
    });
    receipt.late = Late::of(late.collect());
    receipt
}

fn work_of_others(effects: &[Effect]) -> Option<Limit> {
    let mut kinds: Vec<&str> = effects.iter().map(|effect| effect.what.as_str()).collect();
    kinds.retain(|kind| OF_OTHERS.contains(kind));
    kinds.dedup();
    let reason = || {
        let kinds = kinds.join(", ");
        format!("what others do for the command is neither seen nor preserved: {kinds}")
    };
    (!kinds.is_empty()).then(|| Limit::new(LimitKind::WorkOfOthers, reason()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::NotUnderstood;

    #[test]
    fn a_place_that_a_guess_left_out_is_no_command() {
        let part = |text: &str, covered| NotUnderstood {
            text: text.into(),
            reason: String::new(),
            covered,
        };
        let scope = Scope {
            not_understood: vec![part("/", false), part("./tool x", true)],
            ..Scope::default()
        };
        assert_eq!(guessed(&scope), ["./tool x"]);
    }
}
