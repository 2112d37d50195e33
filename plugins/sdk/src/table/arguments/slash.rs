//! Switches with a slash, as `cmd` has them: `/s`, `/a:value`, `/s/q`, anywhere.

use super::{Given, Grammar, Operand, Parsed, part, shown};
use crate::table::call::{Arg, Known};
use crate::table::options::{OptionSpec, Value};

pub(super) struct Reader<'g, 'a> {
    grammar: &'g Grammar<'a>,
    args: &'a [Arg],
    next: usize,
    parsed: &'g mut Parsed<'a>,
}

/// A switch with what is attached to it.
struct Switch<'a, 't> {
    spec: &'a OptionSpec,
    value: Value,
    attached: Option<&'t [u8]>,
}

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
        }
    }

    pub(super) fn run(mut self) {
        while let Some(arg) = self.args.get(self.next) {
            let at = self.next;
            self.next += 1;
            if self.is_switch(arg) {
                self.switch(arg, at);
                continue;
            }
            match arg.known {
                Known::Whole | Known::Pattern => {}
                // `x%Y%` may go on with `/s`.
                _ => self.doubt(arg, "may have switches"),
            }
            if self.grammar.ends_here(self.parsed) {
                self.grammar.rest(self.args, at, self.parsed);
                return;
            }
            self.parsed.operands.push(Operand { arg, at });
        }
    }

    /// A slash makes a switch; a dash does where the rule knows the switch.
    fn is_switch(&self, arg: &Arg) -> bool {
        match arg.text.first() {
            Some(b'/') => arg.text.len() > 1,
            Some(b'-') => arg.text.len() > 1 && self.recognise(&arg.text).is_some(),
            _ => false,
        }
    }

    fn doubt(&mut self, arg: &Arg, why: &str) {
        self.parsed.doubt(format!("'{}' {why}", shown(arg)));
    }

    fn switch(&mut self, arg: &'a Arg, at: usize) {
        if arg.known != Known::Whole {
            self.doubt(arg, "may have more switches");
        }
        if arg.text == b"/?" {
            return;
        }
        let whole = self.recognise(&arg.text);
        let slash_within = arg.text[1..].contains(&b'/');
        if let Some(switch) = whole
            .as_ref()
            .filter(|s| !slash_within || s.attached.is_none())
        {
            self.give(switch, arg, at);
            return;
        }
        // `/s/q`: every part must be a switch, else it is one switch with a path.
        let parts = parts(&arg.text);
        let switches: Vec<_> = parts
            .iter()
            .filter_map(|part| self.recognise(part))
            .collect();
        if switches.len() == parts.len() {
            switches
                .iter()
                .for_each(|switch| self.give(switch, arg, at));
        } else if let Some(switch) = whole {
            self.give(&switch, arg, at);
        } else {
            switches
                .iter()
                .for_each(|switch| self.give(switch, arg, at));
            self.grammar.unknown(&arg.text, self.parsed);
        }
    }

    /// A switch by its name, by its name before a colon, or by its beginning.
    fn recognise<'t>(&self, text: &'t [u8]) -> Option<Switch<'a, 't>> {
        if let Some((spec, value)) = self.exact(text) {
            return Some(Switch {
                spec,
                value,
                attached: None,
            });
        }
        if let Some(end) = text.iter().position(|b| matches!(b, b':' | b'='))
            && let Some((spec, value)) = self.exact(&text[..end])
            && value != Value::None
        {
            let attached = Some(&text[end + 1..]);
            return Some(Switch {
                spec,
                value,
                attached,
            });
        }
        if let [b'/', b'-', name @ ..] = text
            && let Some((spec, Value::None)) = self.exact(&[b"/", name].concat())
        {
            // `/-Y` takes back `/Y`.
            return Some(Switch {
                spec,
                value: Value::None,
                attached: None,
            });
        }
        self.by_beginning(text)
    }

    /// `/A-R` where `/A` may have a value attached.
    fn by_beginning<'t>(&self, text: &'t [u8]) -> Option<Switch<'a, 't>> {
        let all = self.grammar.specs().flat_map(|spec| {
            let spellings = spec.spellings.iter();
            spellings.map(move |spelling| (spec, spelling))
        });
        let fits = all.filter(|(_, spelling)| {
            let name = spelling.name.as_bytes();
            let same = |(a, b): (&u8, &u8)| a.eq_ignore_ascii_case(b) || (*a, *b) == (b'/', b'-');
            spelling.value == Value::Attached
                && text.len() > name.len()
                && name.iter().zip(text).all(same)
        });
        let (spec, spelling) = fits.max_by_key(|(_, spelling)| spelling.name.len())?;
        Some(Switch {
            spec,
            value: spelling.value,
            attached: Some(&text[spelling.name.len()..]),
        })
    }

    /// The switch of that name; a dash is as good as a slash.
    fn exact(&self, name: &[u8]) -> Option<(&'a OptionSpec, Value)> {
        let slashed = name.strip_prefix(b"-").map(|rest| [b"/", rest].concat());
        self.grammar.specs().find_map(|spec| {
            let found = spec.spelling(name);
            let found = found.or_else(|| spec.spelling(slashed.as_deref()?))?;
            Some((spec, found.value))
        })
    }

    fn give(&mut self, switch: &Switch<'a, '_>, arg: &'a Arg, at: usize) {
        let spec = switch.spec;
        let mut values: Vec<Arg> = Vec::new();
        if let Some(rest) = switch.attached.filter(|rest| !rest.is_empty()) {
            values.push(part(arg, rest));
        } else if switch.value == Value::Needed
            && let Some(value) = self.args.get(self.next)
        {
            if spec.role == crate::table::Role::Command {
                self.parsed.command = Some(self.next);
                self.next = self.args.len();
            } else {
                self.next += 1;
            }
            if matches!(value.known, Known::Several | Known::Pattern) {
                self.doubt(value, "may be several arguments");
            }
            values.push(value.clone());
        }
        self.parsed.options.push(Given { spec, values, at });
    }
}

/// `/s/q` in its switches.
fn parts(text: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> = vec![0];
    starts.extend(
        text.iter()
            .enumerate()
            .skip(1)
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| at),
    );
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(from, to)| &text[*from..to])
        .collect()
}
