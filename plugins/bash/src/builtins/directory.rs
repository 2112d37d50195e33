//! `cd`, `pushd`, `popd`.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Known};
use deployx_plugin_sdk::{Certainty, Depth, FileView, Kind, PathUse};

use crate::command::Call;
use crate::evaluate::Evaluator;
use crate::state::{Cwd, Exit, Value, World};

/// Where a change of directory leads.
enum Target {
    /// There; and what is there now.
    Known(Cwd, Kind),
    /// It cannot be told, except that it lies beneath a directory.
    Unknown(Cwd),
    /// Nowhere: the command is wrong.
    Wrong,
}

impl Evaluator<'_> {
    pub(super) fn cd(&mut self, rest: &[Arg], world: World, call: Call<'_>) -> Exit {
        let mut physical = world.options.physical;
        let mut operands = rest;
        while let Some((first, more)) = operands.split_first() {
            match first.value() {
                Some(b"--") => {
                    operands = more;
                    break;
                }
                Some(b"-P") => physical = true,
                Some(b"-L") => physical = false,
                Some(b"-e" | b"-@" | b"-q" | b"-s") => {}
                _ => break,
            }
            operands = more;
        }
        let target = match operands {
            [] => {
                let home = self.plain(&mut world.clone(), "HOME");
                self.target_of(&world, &home, physical)
            }
            [only] if only.value() == Some(b"-") => match world.previous.clone() {
                Some(previous) => self.target_at(previous),
                None => Target::Unknown(Cwd::Unknown),
            },
            // Of several words none would be taken: it is one, or none.
            [only] if only.known == Known::Several => {
                let value = Value::Begins(only.text.clone());
                self.target_of(&world, &value, physical)
            }
            [only] => {
                if self.searched(&world, only) {
                    self.unclear_call(&world, rest, call, "CDPATH is set");
                    Target::Unknown(Cwd::Unknown)
                } else {
                    self.target_of(&world, &Self::value_of(only), physical)
                }
            }
            _ if operands.iter().all(|arg| arg.value().is_some()) => Target::Wrong,
            _ => Target::Unknown(Cwd::Unknown),
        };
        self.change(world, target)
    }

    pub(super) fn pushd(&mut self, rest: &[Arg], world: World, call: Call<'_>) -> Exit {
        let old = world.cwd.clone();
        let stack = world.directories.clone().unwrap_or_default();
        match rest {
            [only] if !only.text.starts_with(b"+") && !only.text.starts_with(b"-") => {
                let mut exit = self.cd(rest, world, call);
                for world in &mut exit.worked {
                    let mut stack = stack.clone();
                    stack.push(old.clone());
                    world.directories = Some(stack);
                }
                exit
            }
            [] if !stack.is_empty() => {
                let mut stack = stack;
                let target = stack.pop().unwrap_or(Cwd::Unknown);
                stack.push(old);
                let target = self.target_at(target);
                let mut exit = self.change(world, target);
                for world in &mut exit.worked {
                    world.directories = Some(stack.clone());
                }
                exit
            }
            _ => self.lose_stack(world),
        }
    }

    pub(super) fn popd(&mut self, rest: &[Arg], world: World) -> Exit {
        let mut stack = world.directories.clone().unwrap_or_default();
        let Some(target) = stack.pop().filter(|_| rest.is_empty()) else {
            return self.lose_stack(world);
        };
        let target = self.target_at(target);
        let mut exit = self.change(world, target);
        for world in &mut exit.worked {
            world.directories = Some(stack.clone());
        }
        exit
    }

    fn lose_stack(&mut self, world: World) -> Exit {
        let mut exit = self.change(world, Target::Unknown(Cwd::Unknown));
        for world in &mut exit.worked {
            world.directories = None;
        }
        exit
    }

    /// Whether `CDPATH` may lead elsewhere.
    fn searched(&self, world: &World, target: &Arg) -> bool {
        let fixed = [b"/".as_slice(), b"./", b"../"];
        let relative = !fixed.iter().any(|prefix| target.text.starts_with(prefix))
            && target.text != b"."
            && target.text != b"..";
        let set = world.variables.contains_key("cdpath")
            || match world.variables.get("CDPATH").map(|v| &v.value) {
                Some(Value::Known(text)) => !text.is_empty(),
                Some(Value::Unset) => false,
                Some(_) => true,
                None => self
                    .request
                    .variable("CDPATH")
                    .is_some_and(|v| !v.is_empty()),
            };
        relative && set
    }

    fn target_of(&self, world: &World, value: &Value, physical: bool) -> Target {
        match value {
            Value::Known(path) if path.is_empty() => {
                Target::Known(world.cwd.clone(), Kind::Directory)
            }
            Value::Known(path) => {
                let base = match &world.cwd {
                    Cwd::Known {
                        logical,
                        physical: real,
                    } => Some(if physical { real } else { logical }),
                    _ => None,
                };
                let base = match base {
                    Some(base) => base.as_slice(),
                    None if path.first() == Some(&b'/') => b"/",
                    None => return Target::Unknown(world.cwd.clone()),
                };
                let logical = if physical {
                    Style::Unix.locate(self.view, base, path)
                } else {
                    Style::Unix.resolve(base, path)
                };
                let Some(logical) = logical else {
                    return Target::Unknown(Cwd::Unknown);
                };
                self.target_at(self.at(logical, physical))
            }
            Value::Begins(text) => {
                let end = text.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
                let above = &text[..end];
                let place = if above.is_empty() || text.windows(2).any(|pair| pair == b"..") {
                    None
                } else {
                    self.locate(world, above)
                };
                Target::Unknown(
                    place
                        .filter(|p| p != b"/")
                        .map_or(Cwd::Unknown, Cwd::Beneath),
                )
            }
            _ => Target::Unknown(Cwd::Unknown),
        }
    }

    fn at(&self, logical: Vec<u8>, physical: bool) -> Cwd {
        let real = Style::Unix
            .follow(self.view, &logical)
            .unwrap_or_else(|| logical.clone());
        Cwd::Known {
            logical: if physical { real.clone() } else { logical },
            physical: real,
        }
    }

    fn target_at(&self, cwd: Cwd) -> Target {
        let kind = cwd.physical().map(|path| self.view.kind(path));
        match kind {
            Some(kind) => Target::Known(cwd, kind),
            None => Target::Unknown(cwd),
        }
    }

    fn change(&mut self, world: World, target: Target) -> Exit {
        let (cwd, kind) = match target {
            Target::Known(cwd, kind) => (cwd, kind),
            Target::Unknown(cwd) => (cwd, Kind::Unknown),
            Target::Wrong => {
                return Exit {
                    worked: Vec::new(),
                    failed: vec![world],
                };
            }
        };
        for path in [world.cwd.physical(), cwd.physical()].into_iter().flatten() {
            self.answer.touch(PathUse {
                path: path.to_vec(),
                depth: Depth::Entry,
                certainty: Certainty::Likely,
                follow: false,
                reason: "working directory".into(),
                rule: "cd".into(),
            });
        }
        let mut there = world.clone();
        there.previous = Some(world.cwd.clone());
        there.cwd = cwd;
        let mut here = world;
        match kind {
            Kind::Directory | Kind::Link => here.improbable = true,
            Kind::File | Kind::Other => there.improbable = true,
            Kind::Missing | Kind::Unknown => {}
        }
        Exit {
            worked: vec![there],
            failed: vec![here],
        }
    }
}
