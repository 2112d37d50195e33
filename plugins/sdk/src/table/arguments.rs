//! What the arguments of a call are: options with their values, and operands.

pub(crate) mod named;
mod posix;
mod slash;

use super::call::{Arg, Known};
use super::operands::command_begins;
use super::options::OptionSpec;
use super::rule::{ArgStyle, Rule};

/// The arguments of a call, read by the rule's grammar.
#[derive(Debug, Clone, Default)]
pub struct Parsed<'a> {
    /// The options in order, those before a subcommand included.
    pub options: Vec<Given<'a>>,
    /// The operands in order, a subcommand's name not included.
    pub operands: Vec<Operand<'a>>,
    /// Where the words of a command of its own begin (role `command`).
    pub command: Option<usize>,
    /// What could not be read for certain, and why.
    pub doubts: Vec<String>,
}

/// An option that is given.
#[derive(Debug, Clone)]
pub struct Given<'a> {
    /// The option.
    pub spec: &'a OptionSpec,
    /// Its values: none, one, or several where the shell has lists.
    pub values: Vec<Arg>,
    /// The argument it stands in.
    pub at: usize,
}

/// An operand.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    /// The argument.
    pub arg: &'a Arg,
    /// Which one it is.
    pub at: usize,
}

impl<'a> Parsed<'a> {
    /// Whether an option is given; any of its spellings names it.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|given| given.spec.is(name))
    }

    /// The last value of an option.
    pub fn value(&self, name: &str) -> Option<&Arg> {
        let mut given = self.options.iter().rev().filter(|g| g.spec.is(name));
        given.find_map(|given| given.values.last())
    }

    /// Every value of an option, in order.
    pub fn values<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Arg> {
        let given = self.options.iter().filter(move |g| g.spec.is(name));
        given.flat_map(|given| &given.values)
    }

    /// Something could not be read for certain; many doubts say no more than some.
    pub(crate) fn doubt(&mut self, why: String) {
        let option = why.starts_with(UNKNOWN_OPTION);
        let same = self
            .doubts
            .iter()
            .filter(|d| d.starts_with(UNKNOWN_OPTION) == option);
        if same.count() < MAX_DOUBTS {
            self.doubts.push(why);
        }
    }

    /// The operands without their places.
    pub fn operand_args(&self) -> impl Iterator<Item = &'a Arg> {
        self.operands.iter().map(|operand| operand.arg)
    }
}

/// What is known about options and operands while arguments are read.
pub(crate) struct Grammar<'a> {
    pub(crate) style: ArgStyle,
    /// The options of the subcommand, then those of the commands above it.
    pub(crate) options: Vec<&'a [OptionSpec]>,
    pub(crate) other_options: bool,
    pub(crate) first_word_is_options: bool,
    /// Stop at the first operand: it names a subcommand.
    pub(crate) head: bool,
    /// The rule whose operands these are.
    pub(crate) rule: &'a Rule,
    /// Whether any operand of the rule may be a command of its own.
    pub(crate) has_command: bool,
}

impl<'a> Grammar<'a> {
    fn specs(&self) -> impl Iterator<Item = &'a OptionSpec> + use<'a> {
        self.options.clone().into_iter().flatten()
    }

    /// Whether the next operand ends what this command reads.
    fn ends_here(&self, parsed: &Parsed<'a>) -> bool {
        self.head
            || self.has_command
                && command_begins(self.rule.operands(&parsed.options), parsed.operands.len())
    }

    /// Reads `args` from `start` on, adding to `parsed`.
    pub(crate) fn read(&self, args: Args<'a>, start: usize, parsed: &mut Parsed<'a>) {
        match self.style {
            ArgStyle::Posix | ArgStyle::Strict | ArgStyle::Single => {
                posix::Reader::new(self, args.all, start, parsed).run();
            }
            ArgStyle::Slash => slash::Reader::new(self, args.all, start, parsed).run(),
            ArgStyle::Named => named::Reader::new(self, args, start, parsed).run(),
        }
    }

    /// What remains from `at` on is no option.
    fn rest(&self, args: &'a [Arg], at: usize, parsed: &mut Parsed<'a>) {
        for (at, arg) in args.iter().enumerate().skip(at) {
            if self.ends_here(parsed) {
                if self.head {
                    parsed.operands.push(Operand { arg, at });
                } else {
                    parsed.command = Some(at);
                }
                return;
            }
            parsed.operands.push(Operand { arg, at });
        }
    }

    /// An option that is not listed.
    fn unknown(&self, name: &[u8], parsed: &mut Parsed<'a>) {
        if !self.other_options {
            let name = String::from_utf8_lossy(name);
            parsed.doubt(format!("{UNKNOWN_OPTION} '{name}'"));
        }
    }
}

/// How many doubts of a kind are kept.
const MAX_DOUBTS: usize = 16;

/// How doubts begin that stay even where nothing in a rule can change anything.
pub(crate) const UNKNOWN_OPTION: &str = "unknown option";

/// The arguments of a call, and which of them are one list.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    pub(crate) all: &'a [Arg],
    /// For each argument, the index behind the list that it is in. Empty: every argument is alone.
    pub(crate) ends: &'a [usize],
}

impl Args<'_> {
    /// Behind the list that the argument at `at` is in.
    fn end(&self, at: usize) -> usize {
        self.ends.get(at).copied().unwrap_or(at + 1).max(at + 1)
    }
}

/// The end of an argument, as far known as the argument is.
fn part(arg: &Arg, rest: &[u8]) -> Arg {
    Arg {
        text: rest.to_vec(),
        known: arg.known,
    }
}

/// The text of an argument for a message, shortened.
pub(crate) fn shown(arg: &Arg) -> String {
    let text = String::from_utf8_lossy(&arg.text);
    let mut short: String = text.chars().take(40).collect();
    if arg.known == Known::Beginning
        || arg.known == Known::Several
        || text.chars().nth(40).is_some()
    {
        short.push('…');
    }
    short
}
