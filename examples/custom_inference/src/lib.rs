//! Rules for the fish shell: a complete plugin for DeployX, and a pattern for others.
//!
//! It reads lines of simple commands: quotes, `~`, redirections, pipes, `;`, `and`, `or`, `not`, and
//! `cd`. Everything else (variables, wildcards, blocks, substitutions, programs that are not in
//! `rules.toml`) it reports as not understood; the host then covers what the line could name.

mod words;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, ArgStyle, Handlers, Place, RuleError, Table};
use deployx_plugin_sdk::{
    Certainty, Depth, FileView, Inference, Kind, PathInference, PathUse, Request, Unclear,
};
use words::{Piece, Word};

const TABLE: &str = include_str!("rules.toml");

/// Words that open a block or change how the rest is read.
const BLOCKS: [&[u8]; 11] = [
    b"if",
    b"for",
    b"while",
    b"switch",
    b"function",
    b"begin",
    b"end",
    b"else",
    b"case",
    b"eval",
    b"source",
];

/// Rules for fish.
pub struct FishRules {
    table: Table,
    handlers: Handlers,
}

impl FishRules {
    /// The rules with the table that comes with them.
    ///
    /// # Panics
    /// When that table is not valid; a test sees to it that it is.
    pub fn new() -> Self {
        let table = Table::parse("fish/rules.toml", TABLE, ArgStyle::Posix);
        Self {
            table: table.expect("the table is valid"),
            handlers: Handlers::default(),
        }
    }
}

impl Default for FishRules {
    fn default() -> Self {
        Self::new()
    }
}

impl PathInference for FishRules {
    fn name(&self) -> &'static str {
        "fish"
    }

    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    fn shells(&self) -> &[&str] {
        &["fish"]
    }

    fn infer(&self, request: &Request, view: &dyn FileView) -> Inference {
        let mut line = Line {
            rules: self,
            request,
            view,
            cwd: Some(request.cwd.clone()),
            found: Inference::default(),
        };
        match words::pieces(&request.command) {
            Some(pieces) => pieces
                .split(|piece| *piece == Piece::End)
                .for_each(|command| line.command(command)),
            None => line.unclear(b"", "a quote is not closed"),
        }
        line.found.cwd_after = line.cwd;
        line.found
    }

    fn add_rules(&mut self, source: &str, toml: &str) -> Result<(), RuleError> {
        self.table
            .extend(Table::parse(source, toml, ArgStyle::Posix)?);
        Ok(())
    }
}

/// A line while it is read.
struct Line<'a> {
    rules: &'a FishRules,
    request: &'a Request,
    view: &'a dyn FileView,
    /// Where the next command runs, where that is known.
    cwd: Option<Vec<u8>>,
    found: Inference,
}

impl Line<'_> {
    fn command(&mut self, pieces: &[Piece]) {
        let mut words = Vec::new();
        let mut pieces = pieces.iter();
        while let Some(piece) = pieces.next() {
            match (piece, piece == &Piece::Write) {
                (Piece::Word(word), _) => words.push(word),
                (_, writes) => match pieces.next() {
                    Some(Piece::Word(target)) if writes => self.redirection(target),
                    Some(_) => {}
                    None => self.unclear(&[], "a redirection has no target"),
                },
            }
        }
        let modifier = |word: &&&Word| {
            ["and", "or", "not", "command", "time"]
                .iter()
                .any(|m| m.as_bytes() == word.text)
        };
        let modifiers = words.iter().take_while(modifier).count();
        if let Some((name, arguments)) = words[modifiers..].split_first() {
            self.simple(name, arguments);
        }
    }

    fn simple(&mut self, name: &Word, arguments: &[&Word]) {
        let shown = String::from_utf8_lossy(&name.text).into_owned();
        if name.expanded || BLOCKS.contains(&name.text.as_slice()) {
            self.found.session.unknown = true;
            return self.unclear(&name.text, "only simple commands are read");
        }
        if self.request.session.redefined.contains(&shown) {
            return self.unclear(&name.text, "the name was redefined");
        }
        if name.text == b"cd" {
            return self.change_directory(arguments);
        }
        let Some(rule) = self.rules.table.rule(&name.text) else {
            return self.unclear(&name.text, "unknown program");
        };
        let expanded = arguments.iter().any(|word| word.expanded);
        let arguments: Vec<Arg> = arguments
            .iter()
            .map(|word| Arg::whole(self.value(word)))
            .collect();
        if expanded {
            return self.unclear(&name.text, "an argument is expanded by fish");
        }
        let place = Place {
            style: Style::Unix,
            cwd: self.cwd.as_deref(),
            home: self.request.home.as_deref(),
            variable: &|name| self.request.variable(name).map(<[u8]>::to_vec),
            view: self.view,
        };
        let outcome = rule.apply(&shown, &arguments, &place, &self.rules.handlers);
        self.found.paths.extend(outcome.paths);
        self.found.irreversible.extend(outcome.irreversible);
        self.found.destructive |= outcome.destructive;
        for reason in outcome.unclear {
            self.unclear(&name.text, &reason);
        }
        if !outcome.nested.is_empty() {
            self.unclear(&name.text, "it runs another command");
        }
    }

    /// `cd`: where it is and where it goes are covered. Whether it succeeds decides where the rest
    /// of the line runs; where that is open, the directory is not known from there on.
    fn change_directory(&mut self, arguments: &[&Word]) {
        let target = match arguments {
            [] => self.request.home.clone(),
            [word] if !word.expanded && word.text != b"-" => Some(self.value(word)),
            _ => None,
        };
        let target = self
            .cwd
            .as_deref()
            .zip(target)
            .and_then(|(cwd, target)| Style::Unix.locate(self.view, cwd, &target));
        for path in [self.cwd.clone(), target.clone()].into_iter().flatten() {
            self.found.paths.push(PathUse {
                path,
                depth: Depth::Entry,
                certainty: Certainty::Likely,
                follow: true,
                reason: "working directory".into(),
                rule: "cd".into(),
            });
        }
        self.cwd =
            target.filter(|path| Style::Unix.kind_behind(self.view, path) == Kind::Directory);
        if self.cwd.is_none() {
            self.unclear(b"cd", "where the rest of the line runs cannot be told");
        }
    }

    fn redirection(&mut self, target: &Word) {
        let value = self.value(target);
        if value.starts_with(b"/dev/") {
            return;
        }
        let path = self
            .cwd
            .as_deref()
            .filter(|_| !target.expanded)
            .and_then(|cwd| Style::Unix.locate(self.view, cwd, &value));
        match path {
            Some(path) => self.found.paths.push(PathUse {
                depth: Depth::Tree,
                certainty: Certainty::Certain,
                follow: true,
                reason: "target of a redirection".into(),
                rule: String::new(),
                path,
            }),
            None => self.unclear(&value, "the target of a redirection cannot be told"),
        }
    }

    /// A word's text with the home directory for its tilde.
    fn value(&self, word: &Word) -> Vec<u8> {
        match (&self.request.home, word.tilde) {
            (Some(home), true) => [home.as_slice(), &word.text].concat(),
            _ => word.text.clone(),
        }
    }

    /// Says that a part was not understood. The whole line goes with it: the host covers everything
    /// that it could name where the part runs.
    fn unclear(&mut self, part: &[u8], reason: &str) {
        self.found.unclear.push(Unclear {
            text: self.request.command.clone(),
            cwd: self.cwd.clone(),
            reason: format!("'{}': {reason}", String::from_utf8_lossy(part)),
        });
    }
}

deployx_plugin_sdk::export_plugin!(FishRules::new);
