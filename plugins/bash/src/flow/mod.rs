//! Compound commands: sequences, pipelines, branches and loops.

mod loops;

use std::rc::Rc;

use crate::evaluate::Evaluator;
use crate::expand::matches;
use crate::state::{Exit, Value, World, Worlds, merge};
use crate::syntax::{Arm, Node, Redirect, Step, Word};

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
                    // It may have a name of its own.
                    for variable in Rc::make_mut(&mut world.variables).values_mut() {
                        variable.value = Value::Unknown;
                    }
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
                        let value = self.value(world, word);
                        // Operands of comparisons are expressions.
                        if let Value::Known(text) = value {
                            self.forget_assigned(world, &text);
                        }
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
        let mut behind: Vec<(&Node, Worlds)> = Vec::new();
        for step in steps {
            let worlds = exit.any();
            exit = if step.background {
                self.isolated(&step.node, worlds.clone());
                behind.push((&step.node, worlds.clone()));
                Exit {
                    worked: worlds,
                    failed: Vec::new(),
                }
            } else {
                self.run(&step.node, worlds)
            };
        }
        if !self.again {
            self.again = true;
            for (node, worlds) in behind {
                // It may go on only now, and find what the rest of the line made.
                self.isolated(node, worlds);
            }
            self.again = false;
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
        let changes = self.view.count();
        for command in before {
            self.isolated(command, worlds.clone());
        }
        if !before.is_empty() && !self.again {
            // They run at the same time: each may find what another made.
            self.again = true;
            self.isolated(last, worlds.clone());
            if self.view.count() > changes {
                for command in before {
                    self.isolated(command, worlds.clone());
                }
            }
            self.again = false;
        }
        if self.dialect.last_of_pipeline_in_shell() {
            return self.run(last, worlds);
        }
        let in_shell = worlds.iter().any(|world| world.options.other);
        if in_shell || self.request.session.options_changed {
            // `lastpipe` may be set.
            let mut exit = self.apart(last, &worlds);
            exit.add(self.run(last, worlds));
            return exit;
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
}
