//! Options with dashes, as `getopt_long` reads them, and the `-long` form.

use super::{Given, Grammar, Operand, Parsed, part, shown};
use crate::table::call::{Arg, Known};
use crate::table::options::{OptionSpec, Value};
use crate::table::rule::ArgStyle;

pub(super) struct Reader<'g, 'a> {
    grammar: &'g Grammar<'a>,
    args: &'a [Arg],
    next: usize,
    parsed: &'g mut Parsed<'a>,
    /// The options of one letter, by letter, once they were looked for.
    letters: Option<Letters<'a>>,
}

type Letters<'a> = Box<[Option<(&'a OptionSpec, Value)>; 256]>;

impl<'g, 'a> Reader<'g, 'a> {
    pub(super) fn new(
        grammar: &'g Grammar<'a>,
        args: &'a [Arg],
        start: usize,
        parsed: &'g mut Parsed<'a>,
    ) -> Self {
        Self {
            grammar,
            args,
            next: start,
            parsed,
            letters: None,
        }
    }

    pub(super) fn run(mut self) {
        if self.grammar.first_word_is_options {
            self.first_word();
        }
        while let Some(arg) = self.args.get(self.next) {
            let at = self.next;
            self.next += 1;
            if arg.value() == Some(b"--") {
                self.grammar.rest(self.args, self.next, self.parsed);
                return;
            }
            if self.grammar.style != ArgStyle::Strict || self.parsed.operands.is_empty() {
                if Self::may_be_anything(arg) {
                    self.doubt(arg, "may be an option");
                    if !arg.text.is_empty() {
                        continue;
                    }
                } else if arg.text.len() > 1 && arg.text[0] == b'-' && arg.known != Known::Pattern {
                    self.option(arg, at);
                    continue;
                } else if arg.known == Known::Several {
                    // `/srv/$x` may go on with options.
                    self.doubt(arg, "may be several arguments, options among them");
                }
            }
            if self.grammar.ends_here(self.parsed) {
                self.grammar.rest(self.args, at, self.parsed);
                return;
            }
            self.parsed.operands.push(Operand { arg, at });
        }
    }

    /// Whether nothing of an argument is known that tells whether it is an option.
    fn may_be_anything(arg: &Arg) -> bool {
        matches!(arg.known, Known::Beginning | Known::Several)
            && matches!(arg.text.as_slice(), b"" | b"-" | b"--")
    }

    fn doubt(&mut self, arg: &Arg, why: &str) {
        self.parsed.doubt(format!("'{}' {why}", shown(arg)));
    }

    /// `tar xzf a.tar`: letters without a dash; their values follow in order.
    fn first_word(&mut self) {
        let Some(arg) = self.args.get(self.next) else {
            return;
        };
        if arg.text.first() == Some(&b'-') {
            return;
        }
        let at = self.next;
        self.next += 1;
        if arg.known != Known::Whole {
            self.doubt(arg, "may be any options");
            return;
        }
        for letter in &arg.text {
            match self.short(*letter) {
                Some((spec, Value::Needed)) => {
                    let value = self.args.get(self.next).cloned();
                    self.next += usize::from(value.is_some());
                    self.give(spec, value, at);
                }
                Some((spec, _)) => self.give(spec, None, at),
                None => self.unknown(&[*letter]),
            }
        }
    }

    fn option(&mut self, arg: &'a Arg, at: usize) {
        if Self::is_number(&arg.text[1..])
            && arg.known == Known::Whole
            && let Some(spec) = self.grammar.specs().find(|spec| spec.is("-#"))
        {
            self.give(spec, None, at);
        } else if self.grammar.style == ArgStyle::Single {
            self.single(arg, at);
        } else if arg.text.starts_with(b"--") {
            self.long(arg, at);
        } else {
            self.bundle(arg, at);
        }
    }

    fn is_number(text: &[u8]) -> bool {
        !text.is_empty() && text.iter().all(u8::is_ascii_digit)
    }

    /// `-abc`, `-ofile`.
    fn bundle(&mut self, arg: &'a Arg, at: usize) {
        // A word that is listed as it stands (`-ff`, `-nv`) is no bundle.
        if arg.text.len() > 2
            && arg.known == Known::Whole
            && let Some((spec, value)) = self.exact(&arg.text)
        {
            match value {
                Value::Needed => self.next_value(spec, at),
                _ => self.give(spec, None, at),
            }
            return;
        }
        for (index, letter) in arg.text.iter().enumerate().skip(1) {
            let rest = &arg.text[index + 1..];
            match self.short(*letter) {
                // Options that are not listed take no value: the bundle goes on.
                None if self.grammar.other_options => {}
                None => {
                    // Whether the next argument is a value is not known either.
                    self.unknown(&[b'-', *letter]);
                    return;
                }
                Some((spec, Value::None)) => self.give(spec, None, at),
                Some((spec, value)) => {
                    self.attached_or_next(spec, value, rest, arg, at);
                    return;
                }
            }
        }
        if arg.known != Known::Whole {
            self.doubt(arg, "may have more options");
        }
    }

    /// `--long`, `--long=value`, `--lo`.
    fn long(&mut self, arg: &'a Arg, at: usize) {
        let (name, value) = match arg.text.iter().position(|b| *b == b'=') {
            Some(end) => (&arg.text[..end], Some(&arg.text[end + 1..])),
            None => (arg.text.as_slice(), None),
        };
        if value.is_none() && arg.known != Known::Whole {
            self.doubt(arg, "may be any option");
            return;
        }
        let Some((spec, takes)) = self.by_name(name) else {
            self.unknown(name);
            return;
        };
        match (takes, value) {
            (Value::Needed, None) => self.next_value(spec, at),
            (Value::None | Value::Attached, None) => self.give(spec, None, at),
            (_, Some(rest)) => {
                self.after_several(arg);
                self.give(spec, Some(part(arg, rest)), at);
            }
        }
    }

    /// `-long value`, `-long=value`, `-Dname`.
    fn single(&mut self, arg: &'a Arg, at: usize) {
        let text = arg.text.as_slice();
        let one_dash = if text.starts_with(b"--") {
            &text[1..]
        } else {
            text
        };
        for name in [text, one_dash] {
            if let Some((spec, value)) = self.exact(name).filter(|_| arg.known == Known::Whole) {
                match value {
                    Value::Needed => self.next_value(spec, at),
                    _ => self.give(spec, None, at),
                }
                return;
            }
            if let Some(end) = name.iter().position(|b| *b == b'=')
                && let Some((spec, value)) = self.exact(&name[..end])
                && value != Value::None
            {
                self.after_several(arg);
                self.give(spec, Some(part(arg, &name[end + 1..])), at);
                return;
            }
        }
        // The longest option that the argument begins with and whose value may be attached.
        let attached = self.grammar.specs().flat_map(|spec| {
            let fits = spec.spellings.iter().filter(|s| {
                let letter = s.value == Value::Needed && s.name.len() == 2;
                (letter || s.value == Value::Attached) && text.starts_with(s.name.as_bytes())
            });
            fits.map(move |s| (s.name.len(), spec, s.value))
        });
        match attached.max_by_key(|(length, ..)| *length) {
            Some((length, spec, value)) => {
                self.attached_or_next(spec, value, &text[length..], arg, at);
            }
            None if arg.known == Known::Whole => self.unknown(text),
            None => self.doubt(arg, "may be any option"),
        }
    }

    /// The value of `spec`: `rest` of the argument, or the next argument.
    fn attached_or_next(
        &mut self,
        spec: &'a OptionSpec,
        value: Value,
        rest: &[u8],
        arg: &'a Arg,
        at: usize,
    ) {
        if !rest.is_empty() {
            self.after_several(arg);
            self.give(spec, Some(part(arg, rest)), at);
        } else if arg.known != Known::Whole {
            // `-o$x`: the value is in it, or is the next argument where $x is empty.
            self.doubt(arg, "may or may not hold its value");
            self.give(spec, Some(part(arg, rest)), at);
        } else if value == Value::Needed {
            self.next_value(spec, at);
        } else {
            self.give(spec, None, at);
        }
    }

    fn after_several(&mut self, arg: &Arg) {
        if arg.known == Known::Several {
            self.doubt(arg, "may be several arguments, options among them");
        }
    }

    fn next_value(&mut self, spec: &'a OptionSpec, at: usize) {
        let value = self.args.get(self.next);
        if let Some(arg) = value {
            self.next += 1;
            if matches!(arg.known, Known::Several | Known::Pattern) {
                self.doubt(arg, "may be several arguments");
            }
        }
        self.give(spec, value.cloned(), at);
    }

    fn give(&mut self, spec: &'a OptionSpec, value: Option<Arg>, at: usize) {
        if spec.role == crate::table::Role::Command && value.is_some() {
            // `-e command arguments`
            self.parsed.command = Some(self.next - 1);
            self.next = self.args.len();
        }
        self.parsed.options.push(Given {
            spec,
            values: value.into_iter().collect(),
            at,
        });
    }

    fn unknown(&mut self, name: &[u8]) {
        self.grammar.unknown(name, self.parsed);
    }

    fn short(&mut self, letter: u8) -> Option<(&'a OptionSpec, Value)> {
        let grammar = self.grammar;
        let letters = self.letters.get_or_insert_with(|| {
            let mut letters: Letters<'a> = Box::new([None; 256]);
            for spec in grammar.specs() {
                for spelling in &spec.spellings {
                    if let [b'-', letter] = spelling.name.as_bytes() {
                        let found = &mut letters[usize::from(*letter)];
                        // The first listed wins: a subcommand's own.
                        found.get_or_insert((spec, spelling.value));
                    }
                }
            }
            letters
        });
        letters[usize::from(letter)]
    }

    fn exact(&self, name: &[u8]) -> Option<(&'a OptionSpec, Value)> {
        self.grammar.specs().find_map(|spec| {
            let found = spec.spelling(name)?;
            Some((spec, found.value))
        })
    }

    /// A long option by its name or a beginning that only it has.
    fn by_name(&self, name: &[u8]) -> Option<(&'a OptionSpec, Value)> {
        if let Some(found) = self.exact(name) {
            return Some(found);
        }
        let mut found: Option<(&'a OptionSpec, Value)> = None;
        for spec in self.grammar.specs() {
            for spelling in &spec.spellings {
                if spelling.name.starts_with("--") && spelling.name.as_bytes().starts_with(name) {
                    match found {
                        Some((other, _)) if !std::ptr::eq(other, spec) => return None,
                        _ => found = Some((spec, spelling.value)),
                    }
                }
            }
        }
        found
    }
}
