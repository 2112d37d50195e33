//! Follows a line through its commands.

use std::collections::HashMap;
use std::rc::Rc;

use deployx_plugin_sdk::table::Arg;
use deployx_plugin_sdk::{Inference, PathUse, Request};

use crate::answer::Answer;
use crate::changed::ChangedView;
use crate::commands::Commands;
use crate::dialect::Dialect;
use crate::parse::{self, bound};
use crate::state::{Cwd, Exit, Options, Value, World, Worlds, join_all, merge};
use crate::syntax::Node;

/// How many steps one line may take. One is a command in one possibility; a list of files that is
/// matched costs more.
const BUDGET: usize = 20_000;

/// How deep substitutions, functions, `eval` and shells within shells may call each other.
const MAX_NESTING: usize = 24;

/// How many steps are left at most once that depth was reached: a function that calls itself twice
/// would use up all of them and find nothing more.
const BUDGET_TOO_DEEP: usize = 1000;

/// Reads one line.
pub(crate) struct Evaluator<'a> {
    pub(crate) commands: &'a Commands,
    pub(crate) request: &'a Request,
    pub(crate) view: &'a ChangedView<'a>,
    pub(crate) dialect: Dialect,
    pub(crate) answer: Answer,
    /// Steps that are left.
    pub(crate) budget: usize,
    pub(crate) nesting: usize,
    /// The heaviest text that this stack can read.
    weight: bound::Weight,
    parsed: HashMap<(Dialect, Vec<u8>), Result<Rc<Node>, String>>,
    /// For each loop around: where `break` and `continue` leave it.
    pub(crate) loops: Vec<LoopExits>,
    /// For each function around: where `return` leaves it.
    pub(crate) returns: Vec<Worlds>,
    /// Where the shell ended early.
    pub(crate) exited: Worlds,
    /// Command lines that run later.
    pub(crate) traps: Vec<Vec<u8>>,
    /// What runs at the same time as something else is gone through a second time.
    pub(crate) again: bool,
    gave_up: bool,
}

/// Where a loop was left early.
#[derive(Debug, Default)]
pub(crate) struct LoopExits {
    pub(crate) breaks: Worlds,
    pub(crate) continues: Worlds,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        commands: &'a Commands,
        request: &'a Request,
        view: &'a ChangedView<'a>,
        dialect: Dialect,
        weight: bound::Weight,
    ) -> Self {
        Self {
            commands,
            request,
            view,
            dialect,
            answer: Answer::default(),
            budget: BUDGET,
            nesting: 0,
            weight,
            parsed: HashMap::new(),
            loops: Vec::new(),
            returns: Vec::new(),
            exited: Vec::new(),
            traps: Vec::new(),
            again: false,
            gave_up: false,
        }
    }

    /// Reads the whole line.
    pub(crate) fn line(mut self) -> Inference {
        let world = World::new(&self.request.cwd);
        if self.request.session.unknown {
            self.answer.unclear(
                &self.request.command,
                None,
                "an earlier command may have redefined anything",
            );
        }
        let Some(node) = self.parsed(&world, &self.request.command) else {
            return self.finish(Vec::new());
        };
        let worlds = self.run(&node, vec![world]).any();
        self.run_traps(&worlds);
        self.finish(worlds)
    }

    fn finish(self, worlds: Worlds) -> Inference {
        let gave_up = self.gave_up;
        let view = self.view;
        let mut inference = self.answer.finish();
        let joined = join_all(worlds);
        // A shell that could not be followed, or that has ended, may be anywhere.
        if let Some(world) = joined.filter(|_| !gave_up) {
            // What cannot be read may have changed the directory, too.
            if let Cwd::Known { physical, .. } = &world.cwd
                && !world.anything_assigned
                && !view.leads_through_link(physical, true)
            {
                inference.cwd_after = Some(physical.clone());
            }
            let session = &mut inference.session;
            session.assigned = world.variables.keys().cloned().collect();
            session.redefined = world.functions.keys().cloned().collect();
            session.redefined.extend(world.redefined.iter().cloned());
            session.redefined.sort();
            session.redefined.dedup();
            session.options_changed = world.options != Options::default();
            session.unknown = world.anything_assigned;
        } else {
            inference.session.unknown = gave_up || !inference.unclear.is_empty();
        }
        inference
    }

    /// Parses `text` once; where it cannot be read, that is said.
    pub(crate) fn parsed(&mut self, world: &World, text: &[u8]) -> Option<Rc<Node>> {
        let key = (self.dialect, text.to_vec());
        if !self.parsed.contains_key(&key) {
            let parsed = bound::weigh(text).and_then(|weight| {
                if weight == bound::Weight::Heavy && self.weight == bound::Weight::Light {
                    return Err("the command is too large here".into());
                }
                parse::parse(text, self.dialect).map(Rc::new)
            });
            self.parsed.insert(key.clone(), parsed);
        }
        if self.dialect.has_ranges(text) {
            self.unclear(world, text, "this shell reads a word in its own way");
        }
        match &self.parsed[&key] {
            Ok(node) => Some(Rc::clone(node)),
            Err(reason) => {
                let reason = reason.clone();
                self.unclear(world, text, &reason);
                None
            }
        }
    }

    /// Says that a part was not understood.
    pub(crate) fn unclear(&mut self, world: &World, text: &[u8], reason: &str) {
        let directory = match &world.cwd {
            Cwd::Known { physical, .. } | Cwd::Beneath(physical) => Some(physical.as_slice()),
            Cwd::Unknown => None,
        };
        let other = directory.filter(|path| *path != self.request.cwd.as_slice());
        self.answer.unclear(text, other, reason);
        self.view.change_anything();
    }

    /// Lists a path. What the line itself has linked may lead anywhere.
    pub(crate) fn touch(&mut self, world: &World, used: PathUse) {
        if self.view.leads_through_link(&used.path, used.follow) {
            let line = self.request.command.clone();
            let reason = "a path leads through a link that the line itself makes";
            self.unclear(world, &line, reason);
        }
        self.view.change(&used);
        self.answer.touch(used);
    }

    /// Takes one step; `false` where none are left.
    pub(crate) fn step(&mut self) -> bool {
        if self.budget == 0 {
            if !self.gave_up {
                self.gave_up = true;
                self.answer.unclear(
                    &self.request.command,
                    None,
                    "the line does too much to be followed",
                );
            }
            return false;
        }
        self.budget -= 1;
        true
    }

    /// Runs `deeper`, one level down; `None` where that is too deep.
    pub(crate) fn nested<T>(
        &mut self,
        world: &World,
        text: &[u8],
        deeper: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if self.nesting >= MAX_NESTING {
            self.unclear(world, text, "commands call each other too deeply");
            self.budget = self.budget.min(BUDGET_TOO_DEEP);
            return None;
        }
        self.nesting += 1;
        let result = deeper(self);
        self.nesting -= 1;
        Some(result)
    }

    /// Runs a command in a shell of its own: nothing that it does to the shell comes back.
    pub(crate) fn isolated(&mut self, node: &Node, worlds: Worlds) -> Exit {
        let Some(world) = worlds.first().cloned() else {
            return Exit::default();
        };
        let loops = std::mem::take(&mut self.loops);
        let returns = std::mem::take(&mut self.returns);
        let exited = std::mem::take(&mut self.exited);
        let traps = std::mem::take(&mut self.traps);
        let exit = self.nested(&world, b"", |evaluator| {
            let mut exit = evaluator.run(node, worlds);
            let mut ends = exit.worked.clone();
            merge(&mut ends, exit.failed.clone());
            evaluator.run_traps(&ends);
            rejoin(&mut exit, std::mem::take(&mut evaluator.exited));
            exit
        });
        self.loops = loops;
        self.returns = returns;
        self.exited = exited;
        self.traps = traps;
        exit.unwrap_or_default()
    }

    /// Runs what traps have put off, where the shell ends.
    fn run_traps(&mut self, worlds: &Worlds) {
        let mut ends = worlds.clone();
        merge(&mut ends, self.exited.clone());
        for line in std::mem::take(&mut self.traps) {
            for world in &ends {
                if let Some(node) = self.parsed(world, &line) {
                    self.isolated(&node, vec![world.clone()]);
                }
            }
        }
    }

    /// Runs a command in each of `worlds`.
    pub(crate) fn run(&mut self, node: &Node, worlds: Worlds) -> Exit {
        if worlds.is_empty() {
            return Exit::default();
        }
        match node {
            Node::Empty => Exit {
                worked: worlds,
                failed: Vec::new(),
            },
            Node::Simple(simple) => {
                let mut exit = Exit::default();
                for world in worlds {
                    exit.add(self.simple(simple, world));
                }
                exit
            }
            Node::Group(body) => self.run(body, worlds),
            Node::Not(body) => {
                let exit = self.run(body, worlds);
                Exit {
                    worked: exit.failed,
                    failed: exit.worked,
                }
            }
            Node::Unreadable(text) => {
                self.unclear(&worlds[0], text, "this part of the line cannot be read");
                let mut worlds = worlds;
                for world in &mut worlds {
                    world.anything_assigned = true;
                    forget_variables(world);
                }
                Exit::either(worlds)
            }
            _ => self.compound(node, worlds),
        }
    }

    /// What is known of an argument as a value.
    pub(crate) fn value_of(arg: &Arg) -> Value {
        use deployx_plugin_sdk::table::Known;
        match arg.known {
            Known::Whole => Value::Known(arg.text.clone()),
            Known::Beginning => Value::Begins(arg.text.clone()),
            Known::Several => Value::Unknown,
            Known::Pattern => {
                let wild = arg.text.iter().position(|b| b"*?[".contains(b));
                let before = &arg.text[..wild.unwrap_or(arg.text.len())];
                Value::Begins(before.to_vec())
            }
        }
    }
}

/// Nothing is known any more of the variables that the line has set.
pub(crate) fn forget_variables(world: &mut World) {
    world.anything_assigned = true;
    for variable in Rc::make_mut(&mut world.variables).values_mut() {
        variable.value = Value::Unknown;
    }
}

/// Adds worlds of an early end to what is left.
pub(crate) fn rejoin(exit: &mut Exit, worlds: Worlds) {
    merge(&mut exit.failed, worlds.clone());
    merge(&mut exit.worked, worlds);
}
