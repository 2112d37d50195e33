//! Follows a line as `cmd` would run it, and notes what it touches.

mod flow;
mod loops;
mod nested;
mod notes;
mod programs;
mod session;
mod simple;
mod substitute;
mod targets;
mod values;
mod world;

pub(crate) use flow::Flow;
pub(crate) use targets::Targets;
pub(crate) use world::World;

use std::cell::Cell as Counter;

use deployx_plugin_sdk::{FileView, Inference, Request};

use crate::CmdRules;
use crate::cell::Cell;

/// How many commands are followed in one line, those in loops counted each time.
const MAX_COMMANDS: usize = 2_000;
/// How many directories are listed for one line.
const MAX_LISTINGS: usize = 200;
/// How many paths an answer may have.
const MAX_PATHS: usize = 5_000;
/// How deep `cmd /c` may be nested.
const MAX_NESTED: usize = 6;

/// The state of an inference.
pub(crate) struct Evaluator<'a> {
    pub(crate) rules: &'a CmdRules,
    pub(crate) request: &'a Request,
    pub(crate) view: &'a dyn FileView,
    pub(crate) out: Inference,
    /// The command that is looked at, for [`deployx_plugin_sdk::PathUse::rule`].
    pub(crate) rule: String,
    /// Paths that the line may have made so far: what the view says of them is out of date.
    created: Vec<Vec<u8>>,
    /// Directories that the line certainly made.
    pub(crate) made_directories: Vec<Vec<u8>>,
    /// Paths that the line may have removed so far.
    removed: Vec<Vec<u8>>,
    /// Links to directories that the line makes.
    pub(crate) links: Vec<Vec<u8>>,
    /// Letters of drives that the line gives another meaning.
    pub(crate) remapped: Vec<u8>,
    /// Variables of the loops around, the innermost last.
    variables: Vec<(u8, Vec<Cell>)>,
    commands: usize,
    listings: Counter<usize>,
    nested: usize,
    given_up: bool,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(rules: &'a CmdRules, request: &'a Request, view: &'a dyn FileView) -> Self {
        Self {
            rules,
            request,
            view,
            out: Inference::default(),
            rule: String::new(),
            created: Vec::new(),
            made_directories: Vec::new(),
            removed: Vec::new(),
            links: Vec::new(),
            remapped: Vec::new(),
            variables: Vec::new(),
            commands: 0,
            listings: Counter::new(0),
            nested: 0,
            given_up: false,
        }
    }

    /// Whether the line has become too large to follow. Says so once.
    fn exhausted(&mut self) -> bool {
        if self.given_up {
            return true;
        }
        if self.commands >= MAX_COMMANDS || self.out.paths.len() >= MAX_PATHS {
            self.give_up("the line runs too many commands to follow");
        }
        self.given_up
    }

    /// Follows the line no further.
    fn give_up(&mut self, reason: &str) {
        self.given_up = true;
        let text = self.request.command.clone();
        self.add_unclear(text, None, reason);
    }

    /// The names in a directory, as long as the line has not listed too many.
    pub(crate) fn list_directory(
        &self,
        dir: &[u8],
    ) -> Option<Vec<(Vec<u8>, deployx_plugin_sdk::Kind)>> {
        if self.listings.get() >= MAX_LISTINGS || self.made_something_in(dir) {
            return None;
        }
        self.listings.set(self.listings.get() + 1);
        self.view.list(dir)
    }
}
