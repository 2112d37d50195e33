//! Compound commands: sequences, pipelines, branches and loops.

use std::rc::Rc;

use deployx_plugin_sdk::table::{Arg, Known};

use crate::evaluate::{Evaluator, LoopExits, rejoin};
use crate::expand::matches;
use crate::state::{Exit, Value, World, Worlds, join_all, merge};
use crate::syntax::{Arm, Node, Redirect, Step, Word};

/// How many rounds of a loop are followed one by one.
const MAX_ROUNDS: usize = 256;

/// How many rounds a loop without an end in sight gets until nothing new comes about.
const MAX_UNKNOWN_ROUNDS: usize = 6;

impl Evaluator<'_> {
    /// Runs a compound command in each of `worlds`.
    pub(crate) fn compound(&mut self, node: &Node, worlds: Worlds) -> Exit {
        match node {
            Node::Sequence(steps) => self.sequence(steps, worlds),
            Node::AndOr(first, rest) => self.and_or(first, rest, worlds),
            Node::Pipeline(commands) => self.pipeline(commands, worlds),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let condition = self.run(condition, worlds);
                let mut exit = self.run(then, condition.worked);
                match otherwise {
                    Some(otherwise) => exit.add(self.run(otherwise, condition.failed)),
                    None => merge(&mut exit.worked, condition.failed),
                }
                exit
            }
            Node::While {
                until,
                condition,
                body,
            } => self.while_loop(*until, condition, body, worlds),
            Node::For {
                variable,
                words,
                select,
                body,
            } => self.for_loop(variable, words.as_deref(), *select, body, worlds),
            Node::ForArithmetic {
                init,
                condition,
                step,
                body,
            } => self.arithmetic_loop([init, condition, step], body, worlds),
            Node::Case { word, arms } => self.case(word, arms, worlds),
            Node::Function { name, body } => {
                let mut worlds = worlds;
                for world in &mut worlds {
                    Rc::make_mut(&mut world.functions).insert(name.clone(), Rc::clone(body));
                }
                Exit {
                    worked: worlds,
                    failed: Vec::new(),
                }
            }
            Node::Subshell(body) => self.apart(body, &worlds),
            Node::Coprocess(body) => {
                self.isolated(body, worlds.clone());
                let mut worlds = worlds;
                for world in &mut worlds {
                    world.assign("COPROC", Value::Unknown);
                }
                Exit::either(worlds)
            }
            Node::Arithmetic(expression) => {
                let mut exit = Exit::default();
                for world in worlds {
                    exit.add(self.arithmetic_command(world, expression));
                }
                exit
            }
            Node::Test(words) => {
                let mut worlds = worlds;
                for world in &mut worlds {
                    for word in words {
                        self.value(world, word);
                    }
                }
                Exit::either(worlds)
            }
            Node::Redirected(body, redirects) => self.redirected(body, redirects, worlds),
            _ => self.run(node, worlds),
        }
    }

    /// Runs in a shell of its own and goes on where it began.
    fn apart(&mut self, body: &Node, worlds: &Worlds) -> Exit {
        let inner = self.isolated(body, worlds.clone());
        // Which of the possibilities began is not told apart: where none of them can fail or work,
        // none does.
        let pick = |ends: &Worlds, other: &Worlds| {
            if ends.is_empty() && !other.is_empty() {
                Vec::new()
            } else {
                worlds.clone()
            }
        };
        Exit {
            worked: pick(&inner.worked, &inner.failed),
            failed: pick(&inner.failed, &inner.worked),
        }
    }

    fn redirected(&mut self, body: &Node, redirects: &[Redirect], worlds: Worlds) -> Exit {
        let mut worlds = worlds;
        for world in &mut worlds {
            for redirect in redirects {
                self.redirect(world, redirect);
            }
        }
        self.run(body, worlds)
    }

    fn sequence(&mut self, steps: &[Step], worlds: Worlds) -> Exit {
        let mut exit = Exit {
            worked: worlds,
            failed: Vec::new(),
        };
        for step in steps {
            let worlds = exit.any();
            exit = if step.background {
                self.isolated(&step.node, worlds.clone());
                Exit {
                    worked: worlds,
                    failed: Vec::new(),
                }
            } else {
                self.run(&step.node, worlds)
            };
        }
        exit
    }

    fn and_or(&mut self, first: &Node, rest: &[(bool, Node)], worlds: Worlds) -> Exit {
        let mut exit = self.run(first, worlds);
        for (and, node) in rest {
            if *and {
                let next = self.run(node, std::mem::take(&mut exit.worked));
                exit.add(next);
            } else {
                let next = self.run(node, std::mem::take(&mut exit.failed));
                exit.add(next);
            }
        }
        exit
    }

    fn pipeline(&mut self, commands: &[Node], worlds: Worlds) -> Exit {
        let Some((last, before)) = commands.split_last() else {
            return Exit::either(worlds);
        };
        for command in before {
            self.isolated(command, worlds.clone());
        }
        if self.dialect.last_of_pipeline_in_shell() {
            return self.run(last, worlds);
        }
        self.apart(last, &worlds)
    }

    fn arithmetic_command(&mut self, mut world: World, expression: &[u8]) -> Exit {
        match self.arithmetic(&mut world, expression) {
            Some(0) => Exit {
                worked: Vec::new(),
                failed: vec![world],
            },
            Some(_) => Exit {
                worked: vec![world],
                failed: Vec::new(),
            },
            None => Exit::either(vec![world]),
        }
    }

    fn case(&mut self, word: &Word, arms: &[Arm], worlds: Worlds) -> Exit {
        let mut exit = Exit::default();
        for mut world in worlds {
            let value = self.value(&mut world, word);
            exit.add(self.case_in(&value, arms, world));
        }
        exit
    }

    fn case_in(&mut self, value: &Value, arms: &[Arm], mut world: World) -> Exit {
        let mut exit = Exit::default();
        // Worlds that fall through from the arm before.
        let mut falling: Worlds = Vec::new();
        let mut decided = false;
        for arm in arms {
            let mut entering = std::mem::take(&mut falling);
            if !decided {
                let fits = self.arm_fits(value, arm, &mut world);
                decided = fits == Some(true);
                if fits != Some(false) {
                    merge(&mut entering, vec![world.clone()]);
                }
            }
            if entering.is_empty() {
                continue;
            }
            let ended = match &arm.body {
                Some(body) => self.run(body, entering),
                None => Exit {
                    worked: entering,
                    failed: Vec::new(),
                },
            };
            if arm.continues {
                falling = ended.any();
                // `;;&` tests the next patterns too.
                decided = false;
                exit.add(Exit::either(falling.clone()));
            } else {
                exit.add(ended);
            }
        }
        if !decided {
            merge(&mut exit.worked, vec![world]);
        }
        exit
    }

    fn arm_fits(&mut self, value: &Value, arm: &Arm, world: &mut World) -> Option<bool> {
        let mut unknown = false;
        for word in &arm.patterns {
            if word.raw == b"*" {
                return Some(true);
            }
            match (value, self.pattern(world, word)) {
                (Value::Known(text), Some(pattern)) => {
                    if matches(&pattern, text, false) {
                        return Some(true);
                    }
                }
                _ => unknown = true,
            }
        }
        if unknown { None } else { Some(false) }
    }

    fn for_loop(
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

    fn while_loop(&mut self, until: bool, condition: &Node, body: &Node, worlds: Worlds) -> Exit {
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

    fn arithmetic_loop(&mut self, parts: [&Vec<u8>; 3], body: &Node, worlds: Worlds) -> Exit {
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
