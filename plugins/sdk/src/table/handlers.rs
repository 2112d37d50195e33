//! Rules in code, for what a table cannot say.

use std::collections::BTreeMap;

use super::arguments::Parsed;
use super::call::{Arg, Outcome, Place};
use super::findings::Findings;
use super::rule::Rule;

/// A rule in code.
pub type Handler = fn(&HandlerCall<'_>) -> Outcome;

/// The rules in code that tables may name. Each rule set builds its own in one visible place.
#[derive(Debug, Clone, Default)]
pub struct Handlers(BTreeMap<&'static str, Handler>);

impl Handlers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// These, by name.
    pub fn of(all: &[(&'static str, Handler)]) -> Self {
        Self(all.iter().copied().collect())
    }

    /// The one of that name.
    pub fn get(&self, name: &str) -> Option<Handler> {
        self.0.get(name).copied()
    }

    /// Their names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

/// What a handler is asked.
pub struct HandlerCall<'a> {
    /// The rule that names the handler.
    pub rule: &'a Rule,
    /// The command's name as given.
    pub name: &'a str,
    /// Every argument.
    pub args: &'a [Arg],
    /// The first argument after the name of a subcommand; 0 where there is none.
    pub start: usize,
    /// The arguments by the rule's grammar. Its doubts are added to the outcome by the engine, unless
    /// the rule lists no options: then the handler reads `args` itself.
    pub parsed: &'a Parsed<'a>,
    /// Where the command runs; options of the role `chdir` are not yet followed.
    pub place: Place<'a>,
    /// What the table says without the handler, see [`HandlerCall::described`].
    pub(crate) described: &'a dyn Fn() -> Outcome,
}

impl<'a> HandlerCall<'a> {
    /// What the table says: roles of options and operands, `touch`, `irreversible`.
    pub fn described(&self) -> Outcome {
        (self.described)()
    }

    /// Nothing yet, to be filled; paths are taken from the call's working directory, options of the
    /// role `chdir` followed.
    pub fn findings(&self) -> Findings<'a> {
        let mut findings = Findings::new(self.rule.label(), self.place);
        findings.follow_chdir(&self.parsed.options);
        findings
    }

    /// The arguments after the name of a subcommand.
    pub fn rest(&self) -> &'a [Arg] {
        self.args.get(self.start..).unwrap_or(&[])
    }
}
