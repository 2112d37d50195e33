//! Parameters by name, prefix and position, as PowerShell has them.

use std::sync::LazyLock;

use super::{Args, Given, Grammar, Operand, Parsed, part, shown};
use crate::table::call::{Arg, Known};
use crate::table::options::{OptionSpec, Value};

/// What every cmdlet takes.
static COMMON: LazyLock<Vec<OptionSpec>> = LazyLock::new(|| {
    let entries = [
        "-Verbose -vb",
        "-Debug -db",
        "-WhatIf -wi",
        "-Confirm -cf",
        "-ErrorAction -ea=ignore",
        "-WarningAction -wa=ignore",
        "-InformationAction -infa=ignore",
        "-ProgressAction -proga=ignore",
        "-ErrorVariable -ev=ignore",
        "-WarningVariable -wv=ignore",
        "-InformationVariable -iv=ignore",
        "-OutVariable -ov=ignore",
        "-OutBuffer -ob=ignore",
        "-PipelineVariable -pv=ignore",
    ];
    let specs = entries
        .iter()
        .filter_map(|entry| OptionSpec::parse(entry).ok());
    specs
        .map(|spec| OptionSpec {
            any_case: true,
            ..spec
        })
        .collect()
});

/// What every cmdlet takes.
pub(crate) fn common() -> &'static [OptionSpec] {
    &COMMON
}

pub(super) struct Reader<'g, 'a> {
    grammar: &'g Grammar<'a>,
    args: Args<'a>,
    next: usize,
    parsed: &'g mut Parsed<'a>,
    /// The arguments that no name stands before: from, to.
    positional: Vec<(usize, usize)>,
}

impl<'g, 'a> Reader<'g, 'a> {
    pub(super) fn new(
        grammar: &'g Grammar<'a>,
        args: Args<'a>,
        start: usize,
        parsed: &'g mut Parsed<'a>,
    ) -> Self {
        Self {
            grammar,
            args,
            next: start,
            parsed,
            positional: Vec::new(),
        }
    }

    pub(super) fn run(mut self) {
        while let Some(arg) = self.args.all.get(self.next) {
            let at = self.next;
            self.next = self.args.end(at);
            if arg.value() == Some(b"--") {
                while self.next < self.args.all.len() {
                    let end = self.args.end(self.next);
                    self.positional.push((self.next, end));
                    self.next = end;
                }
                break;
            }
            if is_parameter(arg) {
                self.parameter(arg, at);
                continue;
            }
            self.positional.push((at, self.next));
            if self.grammar.head {
                break;
            }
        }
        self.bind();
    }

    fn parameter(&mut self, arg: &'a Arg, at: usize) {
        let colon = arg.text.iter().position(|b| *b == b':');
        let (name, attached) = match colon {
            Some(end) => (&arg.text[..end], Some(&arg.text[end + 1..])),
            None => (arg.text.as_slice(), None),
        };
        if attached.is_none() && arg.known != Known::Whole {
            self.doubt(arg, "may be any parameter");
            return;
        }
        let Some((spec, takes)) = self.by_name(name) else {
            self.grammar.unknown(name, self.parsed);
            return;
        };
        let whole = arg.known == Known::Whole;
        // `-Path:a, b` and `-Path: a`
        let mut values: Vec<Arg> = match attached {
            Some(rest) if !rest.is_empty() || !whole => vec![part(arg, rest)],
            _ => Vec::new(),
        };
        values.extend(self.args.all[at + 1..self.next].iter().cloned());
        if takes == Value::None {
            if !self.is_off(spec, &values, arg) {
                let values = Vec::new();
                self.parsed.options.push(Given { spec, values, at });
            }
            return;
        }
        if values.is_empty() && (takes == Value::Needed || colon.is_some()) {
            let end = self
                .args
                .all
                .get(self.next)
                .map(|_| self.args.end(self.next));
            if let Some(end) = end {
                values.extend(self.args.all[self.next..end].iter().cloned());
                self.next = end;
            }
        }
        self.parsed.options.push(Given { spec, values, at });
    }

    /// `-Recurse:$false`. A value that is not known leaves it open.
    fn is_off(&mut self, spec: &OptionSpec, values: &[Arg], arg: &Arg) -> bool {
        let Some(value) = values.first() else {
            return false;
        };
        let Some(text) = value.value() else {
            self.doubt(arg, "may be on or off");
            // Off is the more that `-WhatIf` leaves to happen.
            return spec.is("-WhatIf");
        };
        let text = text.strip_prefix(b"$").unwrap_or(text);
        text.eq_ignore_ascii_case(b"false") || text == b"0"
    }

    fn doubt(&mut self, arg: &Arg, why: &str) {
        self.parsed.doubt(format!("'{}' {why}", shown(arg)));
    }

    /// A parameter by its name or a beginning that only it has.
    fn by_name(&self, name: &[u8]) -> Option<(&'a OptionSpec, Value)> {
        let exact = self.grammar.specs().find_map(|spec| {
            let spelling = spec.spelling(name)?;
            Some((spec, spelling.value))
        });
        if exact.is_some() {
            return exact;
        }
        let mut found: Option<(&'a OptionSpec, Value)> = None;
        for spec in self.grammar.specs() {
            for spelling in &spec.spellings {
                let begins = spelling.name.as_bytes().get(..name.len());
                if begins.is_some_and(|begin| begin.eq_ignore_ascii_case(name)) {
                    match found {
                        Some((other, _)) if !std::ptr::eq(other, spec) => return None,
                        _ => found = Some((spec, spelling.value)),
                    }
                }
            }
        }
        found
    }

    /// Gives the arguments without a name to the parameters with a position that are not given
    /// yet, in order; the others are operands.
    fn bind(&mut self) {
        let mut free: Vec<&'a OptionSpec> = if self.grammar.head {
            Vec::new()
        } else {
            let given = &self.parsed.options;
            let named = |spec: &OptionSpec| given.iter().any(|g| std::ptr::eq(g.spec, spec));
            let free = self.grammar.specs().filter(|spec| spec.position.is_some());
            free.filter(|spec| !named(spec)).collect()
        };
        // The sort is stable; of two with one position the first listed takes it.
        free.sort_by_key(|spec| spec.position);
        free.dedup_by_key(|spec| spec.position);
        let mut free = free.into_iter();
        for (from, to) in std::mem::take(&mut self.positional) {
            if let Some(spec) = free.next() {
                self.parsed.options.push(Given {
                    spec,
                    values: self.args.all[from..to].to_vec(),
                    at: from,
                });
                continue;
            }
            for at in from..to {
                if self.grammar.ends_here(self.parsed) && !self.grammar.head {
                    self.parsed.command = Some(at);
                    return;
                }
                let arg = &self.args.all[at];
                self.parsed.operands.push(Operand { arg, at });
            }
        }
    }
}

/// Whether an argument is a parameter's name: a dash and a letter. What a variable holds never is.
fn is_parameter(arg: &Arg) -> bool {
    arg.known != Known::Pattern
        && matches!(arg.text.as_slice(), [b'-', letter, ..] if letter.is_ascii_alphabetic() || *letter == b'_')
}
