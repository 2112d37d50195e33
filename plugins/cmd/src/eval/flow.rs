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
    /// It can be relied on to succeed: what only follows with `&` does not run in `failed`.
    pub(crate) sure: bool,
}

impl Flow {
    /// The command leaves the state as it is.
    pub(crate) fn unchanged(world: World) -> Self {
        Self {
            done: vec![world.clone()],
            failed: vec![world],
            sure: false,
        }
    }

    /// Every state that may follow.
    pub(crate) fn all(self) -> Vec<World> {
        let mut worlds = self.done;
        if !self.sure || worlds.is_empty() {
            worlds.extend(self.failed);
        }
        settle(worlds)
    }
}

impl Evaluator<'_> {
    /// Runs a list in each of `worlds`.
    pub(crate) fn list(&mut self, list: &List, worlds: Vec<World>) -> Flow {
        let mut flow = Flow {
            done: worlds.clone(),
            failed: Vec::new(),
            sure: true,
        };
        let mut at = 0;
        while at < list.0.len() {
            let end = pipeline_end(list, at);
            if self.exhausted() {
                break;
            }
            let join = list.0[at].0;
            flow = self.step(join, &list.0[at..end], flow, &worlds);
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
                let mut failed = if before.sure {
                    Vec::new()
                } else {
                    before.failed
                };
                let mut flow = self.pipeline(stages, or_first(before.done));
                failed.append(&mut flow.failed);
                Flow {
                    done: flow.done,
                    failed: settle(failed),
                    sure: before.sure && flow.sure,
                }
            }
            Join::Failure => {
                let mut done = before.done;
                let mut flow = self.pipeline(stages, or_first(before.failed));
                done.append(&mut flow.done);
                Flow {
                    done: settle(done),
                    failed: flow.failed,
                    sure: before.sure || flow.sure,
                }
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
        Flow {
            done: worlds.clone(),
            failed: worlds,
            sure: false,
        }
    }

    fn stage(&mut self, stage: &Stage, worlds: Vec<World>) -> Flow {
        for world in &worlds {
            for redirect in &stage.redirects {
                self.redirect(redirect, world);
            }
        }
        match &stage.command {
            Command::Nothing => Flow {
                done: worlds.clone(),
                failed: worlds,
                sure: true,
            },
            Command::Group(list) => self.list(list, worlds),
            Command::If(branches) => self.branches(branches, worlds),
            Command::For(repetition) => self.repetition(repetition, worlds),
            Command::Simple(simple) => {
                let mut flow = Flow {
                    sure: true,
                    ..Flow::default()
                };
                for world in worlds {
                    if self.exhausted() {
                        flow.done.push(world);
                        break;
                    }
                    self.commands += 1;
                    let one = self.simple(simple, world);
                    flow.done.extend(one.done);
                    flow.failed.extend(one.failed);
                    flow.sure &= one.sure;
                }
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
            after.extend(self.list(&branches.then, entered).all());
        }
        if let Some(otherwise) = &branches.otherwise {
            after.extend(self.list(otherwise, outside).all());
        }
        let after = settle(after);
        Flow {
            done: after.clone(),
            failed: after,
            sure: false,
        }
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
