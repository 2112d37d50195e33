//! Commands in a row, and the states that lead from one to the next.

use super::Evaluator;
use super::world::{World, settle};
use crate::syntax::{Command, If, Join, List, Stage};

/// The states after a command.
#[derive(Default)]
pub(crate) struct Flow {
    /// Where it succeeded.
    pub(crate) done: Vec<World>,
    /// Where it failed.
    pub(crate) failed: Vec<World>,
    /// Those of `failed` in which what follows with `&` has to be expected, too. A command that can
    /// be relied on has none.
    pub(crate) doubtful: Vec<World>,
}

impl Flow {
    /// The command leaves the state as it is.
    pub(crate) fn unchanged(world: World) -> Self {
        Self {
            done: vec![world.clone()],
            failed: vec![world.clone()],
            doubtful: vec![world],
        }
    }

    /// The command goes from `before` to `after`.
    pub(crate) fn change(before: World, after: World, sure: bool) -> Self {
        let doubtful = if sure {
            Vec::new()
        } else {
            vec![before.clone()]
        };
        Self {
            done: vec![after],
            failed: vec![before],
            doubtful,
        }
    }

    /// The states are left as they are, for certain or not.
    pub(crate) fn kept(worlds: Vec<World>, sure: bool) -> Self {
        let doubtful = if sure { Vec::new() } else { worlds.clone() };
        Self {
            done: worlds.clone(),
            failed: worlds,
            doubtful,
        }
    }

    /// Every state that may follow.
    pub(crate) fn all(self) -> Vec<World> {
        let mut worlds = self.done;
        worlds.extend(self.doubtful);
        settle(worlds)
    }
}

impl Evaluator<'_> {
    /// Runs a list in each of `worlds`.
    pub(crate) fn list(&mut self, list: &List, worlds: &[World]) -> Flow {
        let mut flow = Flow {
            done: worlds.to_vec(),
            ..Flow::default()
        };
        let mut at = 0;
        while at < list.0.len() {
            let end = pipeline_end(list, at);
            if self.exhausted() {
                break;
            }
            let join = list.0[at].0;
            flow = self.step(join, &list.0[at..end], flow, worlds);
            at = end;
        }
        flow
    }

    fn step(
        &mut self,
        join: Join,
        stages: &[(Join, Stage)],
        before: Flow,
        first: &[World],
    ) -> Flow {
        let or_first = |worlds: Vec<World>| {
            if worlds.is_empty() {
                first.to_vec()
            } else {
                settle(worlds)
            }
        };
        match join {
            Join::Success => {
                let mut flow = self.pipeline(stages, or_first(before.done));
                flow.failed.extend(before.failed);
                flow.doubtful.extend(before.doubtful);
                flow.failed = settle(flow.failed);
                flow.doubtful = settle(flow.doubtful);
                flow
            }
            Join::Failure => {
                let mut flow = self.pipeline(stages, or_first(before.failed));
                flow.done.extend(before.done);
                flow.done = settle(flow.done);
                flow
            }
            Join::Always | Join::Pipe => {
                let worlds = or_first(before.all());
                self.pipeline(stages, worlds)
            }
        }
    }

    /// Runs commands joined by `|`. Each has a `cmd` of its own, whose state is lost.
    fn pipeline(&mut self, stages: &[(Join, Stage)], worlds: Vec<World>) -> Flow {
        if let [(_, only)] = stages {
            return self.stage(only, worlds);
        }
        let assigned = self.out.session.assigned.len();
        for (_, stage) in stages {
            self.stage(stage, worlds.clone());
        }
        self.out.session.assigned.truncate(assigned);
        Flow::kept(worlds, false)
    }

    fn stage(&mut self, stage: &Stage, worlds: Vec<World>) -> Flow {
        for world in &worlds {
            for redirect in &stage.redirects {
                self.redirect(redirect, world);
            }
        }
        match &stage.command {
            Command::Nothing => Flow::kept(worlds, true),
            Command::Group(list) => self.list(list, &worlds),
            Command::If(branches) => self.branches(branches, worlds),
            Command::For(repetition) => self.repetition(repetition, worlds),
            Command::Simple(simple) => {
                let mut flow = Flow::default();
                for world in worlds {
                    if self.exhausted() {
                        flow.done.push(world);
                        break;
                    }
                    self.commands += 1;
                    let one = self.simple(simple, world);
                    flow.done.extend(one.done);
                    flow.failed.extend(one.failed);
                    flow.doubtful.extend(one.doubtful);
                }
                flow.doubtful = settle(flow.doubtful);
                flow.done = settle(flow.done);
                flow.failed = settle(flow.failed);
                flow
            }
        }
    }

    fn branches(&mut self, branches: &If, worlds: Vec<World>) -> Flow {
        if branches.open {
            let cwd = worlds.first().and_then(|w| w.cwd.clone());
            let text = self.request.command.clone();
            self.add_unclear(text, cwd, OPEN_VALUE);
        }
        let mut after = Vec::new();
        let mut entered = Vec::new();
        for world in worlds {
            if !self.cannot_hold(branches, &world) {
                entered.push(world.clone());
            }
            after.push(world);
        }
        let outside = after.clone();
        if !entered.is_empty() {
            after.extend(self.list(&branches.then, &entered).all());
        }
        if let Some(otherwise) = &branches.otherwise {
            after.extend(self.list(otherwise, &outside).all());
        }
        let after = settle(after);
        Flow::kept(after, false)
    }

    /// Whether the condition asks for a path that is certainly not there.
    fn cannot_hold(&self, branches: &If, world: &World) -> bool {
        let Some(path) = &branches.exist else {
            return false;
        };
        let path = crate::cell::unquoted(&self.substitute(path, world));
        self.is_missing(world, &path)
    }
}

/// Why a line with an open value is not understood.
pub(crate) const OPEN_VALUE: &str = "the value of a variable is not known and may hold operators";

fn pipeline_end(list: &List, from: usize) -> usize {
    let mut end = from + 1;
    while end < list.0.len() && list.0[end].0 == Join::Pipe {
        end += 1;
    }
    end
}
