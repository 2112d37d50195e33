//! Loops: round by round where it is known how many there are, and until nothing new comes about
//! otherwise.

use deployx_plugin_sdk::table::{Arg, Known};

use crate::evaluate::{Evaluator, LoopExits, rejoin};
use crate::state::{Exit, Value, World, Worlds, join_all, merge};
use crate::syntax::{Node, Word};

/// How many rounds of a loop are followed one by one.
const MAX_ROUNDS: usize = 256;

/// How many rounds a loop without an end in sight gets until nothing new comes about.
const MAX_UNKNOWN_ROUNDS: usize = 6;

impl Evaluator<'_> {
    pub(super) fn for_loop(
        &mut self,
        variable: &str,
        words: Option<&[Word]>,
        select: bool,
        body: &Node,
        worlds: Worlds,
    ) -> Exit {
        let mut exit = Exit::default();
        for mut world in worlds {
            let items = match words {
                Some(words) => Some(self.arguments(&mut world, words)),
                None => world.positional.as_ref().map(|values| {
                    let known = |value: &Value| match value {
                        Value::Known(text) => Arg::whole(text.clone()),
                        _ => unknown_argument(),
                    };
                    values.iter().map(known).collect()
                }),
            };
            let items = items.unwrap_or_else(|| vec![unknown_argument()]);
            let countable = !select
                && items.len() <= MAX_ROUNDS
                && items.iter().all(|item| item.value().is_some());
            if countable {
                exit.add(self.rounds(variable, &items, body, world));
            } else {
                let value = any_of(&items);
                let (all, broken) = self.unknown_rounds(vec![world], &mut |evaluator, worlds| {
                    let mut worlds = worlds;
                    for world in &mut worlds {
                        world.assign(variable, value.clone());
                    }
                    evaluator.run(body, worlds).any()
                });
                exit.add(Exit::either(all));
                exit.add(Exit::either(broken));
            }
        }
        exit
    }

    /// One round for each of `items`.
    fn rounds(&mut self, variable: &str, items: &[Arg], body: &Node, world: World) -> Exit {
        let mut exit = Exit {
            worked: vec![world],
            failed: Vec::new(),
        };
        let mut broken = Vec::new();
        for item in items {
            let mut worlds = exit.any();
            if worlds.is_empty() || !self.step() {
                exit = Exit::either(worlds);
                break;
            }
            for world in &mut worlds {
                world.assign(variable, Self::value_of(item));
            }
            self.loops.push(LoopExits::default());
            exit = self.run(body, worlds);
            let exits = self.loops.pop().unwrap_or_default();
            rejoin(&mut exit, exits.continues);
            merge(&mut broken, exits.breaks);
        }
        merge(&mut exit.worked, broken);
        exit
    }

    /// Rounds until nothing new comes about; any number of them may happen, or none. What may be
    /// before each round and after the last, and what `break` leads to.
    fn unknown_rounds(
        &mut self,
        start: Worlds,
        round: &mut dyn FnMut(&mut Self, Worlds) -> Worlds,
    ) -> (Worlds, Worlds) {
        let mut all = start;
        let mut broken = Vec::new();
        for count in 0..=MAX_UNKNOWN_ROUNDS {
            if !self.step() {
                break;
            }
            let before = all.clone();
            self.loops.push(LoopExits::default());
            let after = round(self, all.clone());
            let exits = self.loops.pop().unwrap_or_default();
            merge(&mut all, after);
            merge(&mut all, exits.continues);
            merge(&mut broken, exits.breaks);
            if count >= 2 && all.len() > 1 {
                // Less is known, but sooner nothing new.
                all = join_all(all).into_iter().collect();
            }
            if all == before {
                break;
            }
            if count == MAX_UNKNOWN_ROUNDS {
                let world = all[0].clone();
                self.unclear(&world, b"", "a loop cannot be followed");
            }
        }
        (all, broken)
    }

    pub(super) fn while_loop(
        &mut self,
        until: bool,
        condition: &Node,
        body: &Node,
        worlds: Worlds,
    ) -> Exit {
        let mut ends = Vec::new();
        let Some(worlds) = self.certain_rounds(until, condition, body, worlds, &mut ends) else {
            return Exit::either(ends);
        };
        let (_, broken) = self.unknown_rounds(worlds, &mut |evaluator, worlds| {
            let tested = evaluator.run(condition, worlds);
            let (enter, leave) = if until {
                (tested.failed, tested.worked)
            } else {
                (tested.worked, tested.failed)
            };
            merge(&mut ends, leave);
            evaluator.run(body, enter).any()
        });
        // Where the condition is never false, only `break` leaves the loop.
        merge(&mut ends, broken);
        Exit::either(ends)
    }

    /// Rounds as long as the condition is known to hold. Where it is known to hold no more, the loop
    /// is over and `ends` has what is left; otherwise the loop goes on from the worlds returned.
    fn certain_rounds(
        &mut self,
        until: bool,
        condition: &Node,
        body: &Node,
        start: Worlds,
        ends: &mut Worlds,
    ) -> Option<Worlds> {
        let mut worlds = start;
        for _ in 0..MAX_ROUNDS {
            if !self.step() {
                break;
            }
            let tested = self.run(condition, worlds.clone());
            let (enter, leave) = if until {
                (tested.failed, tested.worked)
            } else {
                (tested.worked, tested.failed)
            };
            match (enter.is_empty(), leave.is_empty()) {
                (true, _) => {
                    merge(ends, leave);
                    return None;
                }
                (false, false) => break,
                (false, true) => {}
            }
            self.loops.push(LoopExits::default());
            let mut after = self.run(body, enter).any();
            let exits = self.loops.pop().unwrap_or_default();
            merge(&mut after, exits.continues);
            merge(ends, exits.breaks);
            if after == worlds {
                break;
            }
            worlds = after;
        }
        Some(worlds)
    }

    pub(super) fn arithmetic_loop(
        &mut self,
        parts: [&Vec<u8>; 3],
        body: &Node,
        worlds: Worlds,
    ) -> Exit {
        let [init, condition, step] = parts;
        let mut exit = Exit::default();
        for mut world in worlds {
            self.arithmetic(&mut world, init);
            exit.add(self.counted(condition, step, body, world));
        }
        exit
    }

    fn counted(&mut self, condition: &[u8], step: &[u8], body: &Node, world: World) -> Exit {
        let mut worlds = vec![world];
        let mut broken = Vec::new();
        for _ in 0..MAX_ROUNDS {
            let mut known = true;
            for world in &mut worlds {
                known &= match self.arithmetic(world, condition) {
                    Some(value) => value != 0,
                    None => false,
                };
            }
            if !known || worlds.is_empty() || !self.step() {
                break;
            }
            self.loops.push(LoopExits::default());
            let mut after = self.run(body, worlds).any();
            let exits = self.loops.pop().unwrap_or_default();
            merge(&mut after, exits.continues);
            merge(&mut broken, exits.breaks);
            for world in &mut after {
                self.arithmetic(world, step);
            }
            worlds = after;
        }
        merge(&mut worlds, broken);
        let done = worlds
            .iter_mut()
            .all(|world| self.arithmetic(world, condition) == Some(0));
        if done || worlds.is_empty() {
            return Exit::either(worlds);
        }
        let (mut all, broken) = self.unknown_rounds(worlds, &mut |evaluator, worlds| {
            let mut after = evaluator.run(body, worlds).any();
            for world in &mut after {
                evaluator.arithmetic(world, step);
            }
            after
        });
        merge(&mut all, broken);
        Exit::either(all)
    }
}

fn unknown_argument() -> Arg {
    Arg {
        text: Vec::new(),
        known: Known::Several,
    }
}

/// A value that each of `items` fits.
fn any_of(items: &[Arg]) -> Value {
    let mut values = items.iter().map(|item| match Evaluator::value_of(item) {
        Value::Unknown => Value::Begins(Vec::new()),
        value => value,
    });
    let first = values.next().unwrap_or(Value::Begins(Vec::new()));
    values.fold(first, |joined, value| joined.join(&value))
}
