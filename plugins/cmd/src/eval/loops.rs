//! Runs `for`.

use deployx_plugin_sdk::Kind;

use super::Evaluator;
use super::flow::{Flow, OPEN_VALUE};
use super::values::{LineOptions, Source, Values, line_options, source, text_value};
use super::world::{World, settle};
use crate::cell::{ANY_DEEP, ANY_NAME, Cell, UNKNOWN, bytes, cells, is_plain};
use crate::names::split_last;
use crate::parse::parse;
use crate::syntax::{Command, For, Form, Simple};
use crate::words::split_for_cmd;

impl Evaluator<'_> {
    pub(crate) fn repetition(&mut self, repetition: &For, worlds: Vec<World>) -> Flow {
        let mut after = Vec::new();
        for world in worlds {
            if self.exhausted() {
                after.push(world);
                break;
            }
            self.commands += 1;
            if repetition.open {
                let text = bytes(&repetition.set);
                self.add_unclear(text, world.cwd.clone(), OPEN_VALUE);
            }
            let values = match &repetition.form {
                Form::Lines { options } => self.line_values(repetition, options, &world),
                _ => self.loop_values(repetition, &world),
            };
            after.extend(self.each_value(repetition, &values, world));
        }
        let after = settle(after);
        Flow::kept(after, false)
    }

    fn each_value(&mut self, repetition: &For, values: &Values, world: World) -> Vec<World> {
        let depth = self.variables.len();
        let mut worlds = vec![world];
        for value in &values.each {
            self.bind(repetition, value);
            let before = worlds.clone();
            worlds = self.list(&repetition.body, &worlds).all();
            if !values.complete && worlds != before {
                worlds = self.again(repetition, before, worlds);
            }
            self.variables.truncate(depth);
            if self.exhausted() {
                break;
            }
        }
        worlds
    }

    /// Runs a body once more that changes the state and may run any number of times.
    fn again(&mut self, repetition: &For, before: Vec<World>, after: Vec<World>) -> Vec<World> {
        let mut blurred: Vec<World> = after.clone();
        for world in &mut blurred {
            if !before.contains(world) {
                world.forget();
            }
        }
        let last = self.list(&repetition.body, &settle(blurred)).all();
        settle(before.into_iter().chain(after).chain(last).collect())
    }

    fn bind(&mut self, repetition: &For, value: &[Cell]) {
        if matches!(repetition.form, Form::Lines { .. }) {
            // `tokens=1,2` binds the letters that follow, too.
            let last = repetition.variable.saturating_add(25).min(b'~');
            for letter in (repetition.variable..=last).rev() {
                self.variables.push((letter, vec![UNKNOWN]));
            }
        }
        self.variables.push((repetition.variable, value.to_vec()));
    }

    fn line_values(&mut self, repetition: &For, given: &[Cell], world: &World) -> Values {
        let options = line_options(given);
        let set = self.substitute(&repetition.set, world);
        match source(&set, &options) {
            Source::Files => Values::any(vec![UNKNOWN]),
            Source::Text(text) => {
                let value = text_value(&text, &options, !given.is_empty());
                if is_plain(&value) {
                    Values::complete(vec![value])
                } else {
                    Values::any(value)
                }
            }
            Source::Command(command) => {
                // A string of the form `'"…"'` is read by a `cmd` of its own, as after `/c`.
                let before = self.out.unclear.len();
                self.child(&command, world.clone());
                if self.out.unclear.len() > before {
                    return Values::any(vec![UNKNOWN]);
                }
                self.listed_by(&command, &options, world)
                    .unwrap_or_else(|| Values::any(vec![UNKNOWN]))
            }
        }
    }

    /// The lines that `dir /b` prints.
    fn listed_by(&self, command: &[Cell], options: &LineOptions, world: &World) -> Option<Values> {
        let (list, error) = parse(command);
        let [(_, stage)] = list.0.as_slice() else {
            return None;
        };
        let Command::Simple(simple) = &stage.command else {
            return None;
        };
        let name = bytes(&simple.name).to_ascii_lowercase();
        if error.is_some() || name != b"dir" || !is_plain(&simple.tail) {
            return None;
        }
        let listing = Listing::read(simple)?;
        let dir = world.resolve(&listing.dir)?;
        if !listing.by_pattern && self.view.kind(&dir) != Kind::Directory {
            return None;
        }
        // Without whole lines, the variable gets the first word of each name.
        let cut = !options.whole_lines;
        if listing.recursive {
            if cut && dir.contains(&b' ') {
                return None;
            }
            let found = self.walk(&dir, &listing.pattern).filter(|_| !cut);
            return Some(found.map_or_else(
                || Values::any([cells(&dir), vec![Cell::from(b'\\'), ANY_DEEP]].concat()),
                |found| Values::complete(found.into_iter().map(|(path, _)| cells(&path)).collect()),
            ));
        }
        let found = self.matching_in(&dir, &listing.pattern).filter(|_| !cut);
        Some(found.map_or_else(
            || Values::any(vec![ANY_NAME]),
            |found| {
                let wanted = found.iter().filter(|(_, kind)| listing.wants(*kind));
                Values::complete(wanted.map(|(path, _)| cells(split_last(path).1)).collect())
            },
        ))
    }
}

/// A call of `dir` that prints names alone.
struct Listing {
    dir: Vec<u8>,
    pattern: Vec<u8>,
    recursive: bool,
    /// The operand is a pattern, or there is none; otherwise it has to be a directory.
    by_pattern: bool,
    directories: Option<bool>,
}

impl Listing {
    fn read(simple: &Simple) -> Option<Self> {
        let mut bare = false;
        let mut recursive = false;
        let mut directories = None;
        let mut operand: Option<Vec<u8>> = None;
        for word in split_for_cmd(&simple.tail) {
            let text = word.text()?;
            if word.quoted || text.first() != Some(&b'/') {
                if operand.replace(text).is_some() {
                    return None;
                }
                continue;
            }
            for switch in text.to_ascii_lowercase().split(|b| *b == b'/').skip(1) {
                match switch {
                    b"b" => bare = true,
                    b"s" => recursive = true,
                    b"ad" | b"a:d" => directories = Some(true),
                    b"a-d" | b"a:-d" => directories = Some(false),
                    [b'a' | b'o' | b't' | b'l', ..] => {}
                    _ => return None,
                }
            }
        }
        let operand = operand.unwrap_or_default();
        let (dir, last) = split_last(&operand);
        let has_pattern = crate::names::has_wildcard(last);
        if !has_pattern && !recursive && !operand.is_empty() {
            // `dir /b x` prints what is in `x`, or `x` itself.
            return bare.then(|| Self {
                dir: operand.clone(),
                pattern: b"*".to_vec(),
                recursive,
                by_pattern: false,
                directories,
            });
        }
        let (dir, pattern) = if has_pattern || last.is_empty() {
            (dir.to_vec(), last.to_vec())
        } else {
            (operand.clone(), Vec::new())
        };
        let pattern = if pattern.is_empty() {
            b"*".to_vec()
        } else {
            pattern
        };
        bare.then_some(Self {
            dir,
            pattern,
            recursive,
            by_pattern: has_pattern || operand.is_empty(),
            directories,
        })
    }

    fn wants(&self, kind: Kind) -> bool {
        !matches!(
            (self.directories, kind),
            (Some(true), Kind::File) | (Some(false), Kind::Directory)
        )
    }
}
