//! Follows a line as the shell would run it, without running anything, and notes which paths it
//! touches.
//!
//! Every branch is followed. What a variable holds, where the shell stands and what a pipeline
//! passes on is kept as far as it can be told; what cannot be told and would matter is noted as not
//! understood.

mod arguments;
mod binding;
mod blocks;
mod call;
mod content;
mod dotnet;
mod dotnet_types;
mod expression;
mod items;
mod location;
mod names;
mod object;
mod operators;
mod paths;
mod shells;
mod statements;
mod table_call;
mod variables;

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{
    Certainty, Depth, Effect, FileView, Inference, Kind, PathUse, Request, Unclear,
};

use crate::PowerShellRules;
use crate::aliases::Edition;
use crate::syntax::ast::ScriptBlock;
use crate::syntax::parse;
use crate::value::Value;
use variables::State;

/// How many commands and expressions are followed.
const MAX_STEPS: usize = 8_000;
/// How many bytes of lines within lines are read.
const MAX_NESTED: usize = 128 << 10;
/// How deep functions and blocks may call one another.
const MAX_CALLS: usize = 12;
/// How many parts that are not understood are listed one by one.
const MAX_UNCLEAR: usize = 40;
/// How many paths are listed.
const MAX_PATHS: usize = 4_000;

/// What is known while a line is followed.
pub(crate) struct Evaluator<'a> {
    rules: &'a PowerShellRules,
    request: &'a Request,
    view: &'a dyn FileView,
    style: Style,
    edition: Edition,
    /// The text that spans refer to.
    source: Rc<[u8]>,
    /// The part that is being followed.
    span: Range<usize>,
    cwd: Option<Vec<u8>>,
    /// Directories kept by `Push-Location`.
    stack: Vec<Option<Vec<u8>>>,
    /// Names in lower case.
    variables: HashMap<Vec<u8>, Value>,
    /// Environment variables that the line sets; names in lower case on Windows.
    environment: HashMap<Vec<u8>, Value>,
    functions: HashMap<Vec<u8>, Rc<ScriptBlock>>,
    aliases: HashMap<Vec<u8>, Vec<u8>>,
    answer: Inference,
    steps: usize,
    calls: usize,
    /// Bytes of lines within lines that were read.
    nested: usize,
    /// How many directories were listed to look for short names.
    listings: Cell<usize>,
    /// Links that the line makes.
    links: Vec<Vec<u8>>,
    /// How things stood wherever something led out of the loop or block before its end.
    jumps: Vec<State>,
    /// How often a hash table or list was changed in place.
    mutations: usize,
    /// Variables of an outer scope that the block being followed sets.
    escaped: Vec<Vec<u8>>,
    gave_up: bool,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(
        rules: &'a PowerShellRules,
        request: &'a Request,
        view: &'a dyn FileView,
    ) -> Self {
        let windows_cwd = request.cwd.get(1) == Some(&b':') || request.cwd.starts_with(br"\\");
        let desktop = request.shell == "powershell";
        let (style, edition) = match (desktop, windows_cwd) {
            (true, _) => (Style::Windows, Edition::Desktop),
            (false, true) => (Style::Windows, Edition::CoreWindows),
            (false, false) => (Style::Unix, Edition::CoreUnix),
        };
        Self {
            rules,
            request,
            view,
            style,
            edition,
            source: request.command.clone().into(),
            span: 0..request.command.len(),
            cwd: style.resolve(&request.cwd, b""),
            stack: Vec::new(),
            variables: HashMap::new(),
            environment: HashMap::new(),
            functions: HashMap::new(),
            aliases: HashMap::new(),
            answer: Inference::default(),
            steps: 0,
            calls: 0,
            nested: 0,
            listings: Cell::new(0),
            links: Vec::new(),
            jumps: Vec::new(),
            mutations: 0,
            escaped: Vec::new(),
            gave_up: false,
        }
    }

    /// The answer for the whole line.
    pub(crate) fn run(mut self) -> Inference {
        let source = self.source.clone();
        if has_typographic_signs(&source) {
            self.unclear("quotes, dashes or blanks beyond ASCII");
        }
        if source.contains(&0) {
            self.unclear("the line has a NUL byte");
            self.answer.session.unknown = true;
            return self.finish();
        }
        let script = parse(&source);
        self.block(&script.body);
        self.finish()
    }

    fn finish(mut self) -> Inference {
        if self.answer.session.unknown {
            self.cwd = None;
        }
        self.answer.cwd_after = self.cwd;
        let paths = &mut self.answer.paths;
        paths.sort();
        paths.dedup();
        self.answer.irreversible.dedup();
        for names in [
            &mut self.answer.session.assigned,
            &mut self.answer.session.redefined,
        ] {
            names.sort();
            names.dedup();
        }
        self.answer
    }

    /// Counts a step; false when the line is too much work.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > MAX_STEPS || self.answer.paths.len() > MAX_PATHS {
            self.give_up("the line does too much to be followed");
        }
        !self.gave_up
    }

    /// Notes that the whole line is not understood, and follows it no further.
    fn give_up(&mut self, reason: &str) {
        if !self.gave_up {
            self.gave_up = true;
            self.span = 0..self.source.len();
            self.unclear(reason);
            self.answer.session.unknown = true;
        }
    }

    /// Notes that the part being followed is not understood.
    fn unclear(&mut self, reason: &str) {
        let text = self.source[self.span.clone()].to_vec();
        self.unclear_text(text, reason);
    }

    fn unclear_text(&mut self, text: Vec<u8>, reason: &str) {
        let unclear = &mut self.answer.unclear;
        if unclear.iter().any(|u| u.text == text && u.reason == reason) {
            return;
        }
        let elsewhere = self
            .cwd
            .clone()
            .filter(|cwd| Some(cwd) != self.style.resolve(&self.request.cwd, b"").as_ref());
        match unclear.len() {
            n if n < MAX_UNCLEAR => unclear.push(Unclear {
                text,
                cwd: elsewhere,
                reason: reason.into(),
            }),
            MAX_UNCLEAR => unclear.push(Unclear {
                text: self.request.command.clone(),
                cwd: None,
                reason: "too many parts are not understood".into(),
            }),
            _ => {}
        }
    }

    fn effect(&mut self, what: &str, reason: &str) {
        let effect = Effect {
            what: what.into(),
            reason: reason.into(),
        };
        if !self.answer.irreversible.contains(&effect) {
            self.answer.irreversible.push(effect);
        }
    }

    /// Lists a path.
    fn touch(&mut self, path: Vec<u8>, depth: Depth, follow: bool, reason: &str, rule: &str) {
        self.answer.paths.push(PathUse {
            path,
            depth,
            certainty: Certainty::Certain,
            follow,
            reason: reason.into(),
            rule: rule.into(),
        });
    }

    /// The absolute form of a path as a cmdlet takes it: `~` is the home directory, both
    /// separators are taken. `None` where it cannot be told.
    fn absolute(&self, path: &[u8]) -> Option<Vec<u8>> {
        let mut path = self.separators(path);
        if self.style == Style::Windows {
            path = names::plain(&path);
        }
        let separator = |b: &u8| self.style.is_separator(*b);
        if path.first() == Some(&b'~') && path.get(1).is_none_or(separator) {
            path = [self.request.home.as_deref()?, &path[1..]].concat();
        }
        if self.style.is_absolute(&path) {
            return self.style.resolve(b"/", &path);
        }
        self.style.locate(self.view, self.cwd.as_deref()?, &path)
    }

    /// `path` with the separator of Unix in place of `\` where that is the system.
    fn separators(&self, path: &[u8]) -> Vec<u8> {
        let mut path = path.to_vec();
        if self.style == Style::Unix {
            for byte in &mut path {
                if *byte == b'\\' {
                    *byte = b'/';
                }
            }
        }
        path
    }

    fn separator(&self) -> u8 {
        match self.cwd.as_deref().unwrap_or(&self.request.cwd).first() {
            Some(b'/') => b'/',
            _ if self.style == Style::Unix => b'/',
            _ => b'\\',
        }
    }

    fn kind(&self, path: &[u8]) -> Kind {
        self.style.kind_behind(self.view, path)
    }
}

/// Signs that PowerShell reads as quotes, dashes and blanks although they are none in ASCII.
fn has_typographic_signs(source: &[u8]) -> bool {
    source.windows(3).any(|w| {
        matches!(
            w,
            [
                0xe2,
                0x80,
                0x80..=0x8b | 0x93..=0x95 | 0x98..=0x9e | 0xa8 | 0xa9 | 0xaf,
            ]
        )
    }) || source.windows(2).any(|w| matches!(w, [0xc2, 0xa0 | 0x85]))
}
