//! Expansion of words to what is known of their values.

mod arithmetic;
mod fields;
mod glob;
mod operation;
mod parameter;
mod pattern;
mod substitution;
mod variable;

use deployx_plugin_sdk::table::{Arg, Known};

use crate::dialect::Dialect;
use crate::evaluate::Evaluator;
use crate::state::{Value, World};
use crate::syntax::{Index, Parameter, ParameterOp, Part, Word};
use fields::{Field, Fields, Piece};
use operation::{is_list, takes_default};
use pattern::{PatternByte, is_wild};

pub(crate) use pattern::matches;

/// How many arguments one command may have before its words count as not known.
const MAX_ARGUMENTS: usize = 10_000;

/// How many steps the expansion of a pattern counts.
const GLOB_STEPS: usize = 20;

impl Evaluator<'_> {
    /// The arguments that `words` become.
    pub(crate) fn arguments(&mut self, world: &mut World, words: &[Word]) -> Vec<Arg> {
        let mut arguments = Vec::new();
        for word in words {
            for field in self.fields(world, word) {
                self.glob(world, &field, &mut arguments);
            }
            if arguments.len() > MAX_ARGUMENTS {
                arguments.truncate(1);
                arguments.push(Arg {
                    text: Vec::new(),
                    known: Known::Several,
                });
                break;
            }
        }
        arguments
    }

    /// The value of a word that is not split and has no wildcards: the right side of an assignment.
    pub(crate) fn value(&mut self, world: &mut World, word: &Word) -> Value {
        if let [part] = word.parts.as_slice() {
            return match self.part_value(world, part) {
                Value::Unset => Value::Known(Vec::new()),
                Value::Unknown | Value::List(_) => Value::Begins(Vec::new()),
                value => value,
            };
        }
        let mut text = Vec::new();
        let mut known = true;
        for part in &word.parts {
            // What follows something unknown is still expanded, for its effects.
            let value = self.part_value(world, part);
            if !known {
                continue;
            }
            match value {
                Value::Known(more) => text.extend_from_slice(&more),
                Value::Unset => {}
                Value::Begins(more) => {
                    text.extend_from_slice(&more);
                    known = false;
                }
                Value::Token | Value::Unknown | Value::List(_) => known = false,
            }
        }
        if known {
            Value::known(text)
        } else {
            Value::Begins(text)
        }
    }

    fn part_value(&mut self, world: &mut World, part: &Part) -> Value {
        match part {
            Part::Text { text, .. } => Value::Known(text.clone()),
            Part::Parameter { parameter, .. } => {
                if is_list(parameter) {
                    return match self.list(world, parameter) {
                        Some(values) => join_with_blanks(values),
                        None => Value::Unknown,
                    };
                }
                self.parameter(world, parameter)
            }
            Part::Command { body, .. } => self.substitute(world, body),
            Part::Arithmetic { expression, .. } => {
                let value = self.arithmetic(world, expression);
                value.map_or(Value::Token, |v| Value::Known(v.to_string().into_bytes()))
            }
            Part::Process { body } => {
                self.in_subshell(world, body);
                Value::Known(b"/dev/fd/63".to_vec())
            }
            Part::Unknown { .. } => Value::Begins(Vec::new()),
        }
    }

    fn fields(&mut self, world: &mut World, word: &Word) -> Vec<Field> {
        let mut fields = Fields::default();
        self.fill(world, word, &mut fields);
        fields.finish()
    }

    fn fill(&mut self, world: &mut World, word: &Word, fields: &mut Fields) {
        for part in &word.parts {
            match part {
                Part::Text { text, quoted } => fields.text(text, *quoted),
                Part::Parameter { parameter, quoted } => {
                    self.fill_parameter(world, parameter, *quoted, fields);
                }
                Part::Command { quoted, .. } | Part::Arithmetic { quoted, .. } => {
                    let value = self.part_value(world, part);
                    self.fill_value(world, &value, *quoted, fields);
                }
                Part::Process { .. } => {
                    let value = self.part_value(world, part);
                    self.fill_value(world, &value, true, fields);
                }
                Part::Unknown { quoted } => fields.hole(!quoted),
            }
        }
    }

    fn fill_parameter(
        &mut self,
        world: &mut World,
        parameter: &Parameter,
        quoted: bool,
        fields: &mut Fields,
    ) {
        // The word of `${x:-a b}` is expanded as words are.
        if let ParameterOp::Default { sign, colon, word } = &parameter.op
            && !quoted
            && matches!(sign, b'-' | b'+')
            && !is_list(parameter)
        {
            let value = self.variable(world, &parameter.name, &parameter.index);
            match takes_default(&value, *sign, *colon) {
                Some(true) => self.fill(world, word, fields),
                Some(false) if *sign == b'-' => self.fill_value(world, &value, quoted, fields),
                Some(false) => {}
                None => {
                    self.value(world, word);
                    fields.hole(true);
                }
            }
            return;
        }
        if !is_list(parameter) {
            let value = self.parameter(world, parameter);
            self.fill_value(world, &value, quoted, fields);
            return;
        }
        let Some(values) = self.list(world, parameter) else {
            fields.hole(true);
            return;
        };
        if quoted && parameter.index != Index::All && parameter.name != "@" {
            // "$*" is one word.
            if self.separators(world).as_deref() == Some(b" \t\n") {
                let value = join_with_blanks(values);
                self.fill_value(world, &value, quoted, fields);
            } else {
                fields.hole(false);
            }
            return;
        }
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                fields.end_field(false);
            }
            self.fill_value(world, value, quoted, fields);
        }
    }

    fn fill_value(&mut self, world: &World, value: &Value, quoted: bool, fields: &mut Fields) {
        let splits = !quoted && self.dialect.splits();
        if self.dialect == Dialect::Zsh && !quoted && !world.options.are_known(self.request) {
            // `setopt shwordsplit`
            fields.hole(true);
            return;
        }
        let separators = if splits {
            self.separators(world)
        } else {
            Some(Vec::new())
        };
        match value {
            Value::Known(text) if !splits && (quoted || !text.is_empty()) => {
                fields.text(text, true);
            }
            Value::Known(text) => match separators {
                Some(separators) => fields.split(text, &separators),
                None => fields.hole(true),
            },
            Value::Begins(text) if quoted => {
                fields.text(text, true);
                fields.hole(false);
            }
            Value::Begins(text) => {
                match separators {
                    Some(separators) => fields.split(text, &separators),
                    None => fields.hole(true),
                }
                fields.hole(true);
            }
            Value::Token => fields.token(),
            Value::Unset if quoted => fields.text(b"", true),
            Value::Unset => {}
            Value::Unknown | Value::List(_) => fields.hole(!quoted),
        }
    }

    /// `$IFS`; `None` where it is not known.
    fn separators(&self, world: &World) -> Option<Vec<u8>> {
        match world.variables.get("IFS").map(|v| &v.value) {
            None if world.anything_assigned => None,
            None if self
                .request
                .session
                .assigned
                .iter()
                .any(|name| name == "IFS") =>
            {
                None
            }
            None | Some(Value::Unset) => Some(b" \t\n".to_vec()),
            Some(Value::Known(text)) => Some(text.clone()),
            Some(_) => None,
        }
    }

    /// A word as a pattern; `None` where it is not known.
    pub(crate) fn pattern(&mut self, world: &mut World, word: &Word) -> Option<Vec<PatternByte>> {
        let mut pattern = Vec::new();
        let mut known = true;
        for part in &word.parts {
            let quoted = match part {
                Part::Text { quoted, .. }
                | Part::Parameter { quoted, .. }
                | Part::Command { quoted, .. }
                | Part::Arithmetic { quoted, .. }
                | Part::Unknown { quoted } => *quoted,
                Part::Process { .. } => true,
            };
            match self.part_value(world, part) {
                Value::Known(text) => pattern.extend(text.iter().map(|b| (*b, quoted))),
                Value::Unset => {}
                _ => known = false,
            }
        }
        // Lists of alternatives are not matched here.
        let alternatives = pattern
            .windows(2)
            .any(|pair| !pair[0].1 && b"?*+@!".contains(&pair[0].0) && pair[1] == (b'(', false));
        (known && !alternatives).then_some(pattern)
    }

    /// Expands wildcards.
    fn glob(&mut self, world: &World, field: &Field, arguments: &mut Vec<Arg>) {
        let options_known = !world.options.other && !self.request.session.options_changed;
        if world.options.noglob && options_known {
            arguments.push(fields::argument(field, false));
            return;
        }
        let unquoted: Vec<u8> = field
            .iter()
            .filter_map(|piece| match piece {
                Piece::Text(text, false) => Some(text.as_slice()),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        let lists = self.dialect.extended() && unquoted.contains(&b'(');
        let wild = lists || is_wild(&unquoted);
        let Some(pattern) = fields::pattern(field).filter(|_| wild) else {
            arguments.push(fields::argument(field, true));
            return;
        };
        let parentheses = pattern
            .iter()
            .any(|(byte, quoted)| *byte == b'(' && !quoted);
        if parentheses || !options_known || self.budget < GLOB_STEPS {
            arguments.push(unexpanded(&pattern));
            return;
        }
        self.budget -= GLOB_STEPS;
        let mut options = world.options;
        options.globstar |= self.dialect == Dialect::Zsh;
        let files = glob::Files {
            view: self.view,
            cwd: world.cwd.physical(),
            options,
        };
        match files.expand(&pattern) {
            glob::Matches::Unknown => arguments.push(unexpanded(&pattern)),
            glob::Matches::Known(paths) if paths.is_empty() => {
                if !world.options.nullglob {
                    let text: Vec<u8> = pattern.iter().map(|(byte, _)| *byte).collect();
                    arguments.push(Arg::whole(text));
                }
            }
            glob::Matches::Known(paths) => arguments.extend(paths.into_iter().map(Arg::whole)),
        }
    }
}

fn unexpanded(pattern: &[PatternByte]) -> Arg {
    // Alternatives in parentheses may stand for anything in the directory: a wildcard says so.
    let mut text = Vec::new();
    for (byte, quoted) in pattern {
        if !quoted && *byte == b'(' && !text.iter().any(|b| b"*?[".contains(b)) {
            text.push(b'*');
        }
        text.push(*byte);
    }
    Arg {
        text,
        known: Known::Pattern,
    }
}

fn join_with_blanks(values: Vec<Value>) -> Value {
    let mut text = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        if at > 0 {
            text.push(b' ');
        }
        match value {
            Value::Known(more) => text.extend_from_slice(&more),
            _ => return Value::Begins(text),
        }
    }
    Value::Known(text)
}
