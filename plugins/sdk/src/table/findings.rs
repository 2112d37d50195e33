//! What is found out about a call, path by path.

use deployx_plugin_abi::{Certainty, Depth, Effect, Kind, PathUse};

use crate::path::Style;

use super::arguments::{Given, shown};
use super::call::{Arg, Known, Nested, NestedCommand, Outcome, Place};
use super::device;
use super::role::Role;
use super::touch::depth_for;

/// How many reasons of a kind are told; more say nothing new.
const MAX_REASONS: usize = 32;

/// The longest path that is looked at, in bytes; systems refuse longer ones.
const MAX_PATH: usize = 32 * 1024;

/// Collects what a call touches. Rules in code use it to treat paths as tables do.
pub struct Findings<'a> {
    rule: String,
    place: Place<'a>,
    /// Where paths are taken from: the place's own, or where options led.
    cwd: Option<Vec<u8>>,
    /// The parent that was listed last: that of many paths is listed once.
    last_parent: Option<Vec<u8>>,
    outcome: Outcome,
}

impl<'a> Findings<'a> {
    /// Nothing yet. `rule` is what stands in [`PathUse::rule`].
    pub fn new(rule: String, place: Place<'a>) -> Self {
        Self {
            rule,
            place,
            cwd: place.cwd.map(<[u8]>::to_vec),
            last_parent: None,
            outcome: Outcome::default(),
        }
    }

    /// Where the command runs.
    pub fn place(&self) -> &Place<'a> {
        &self.place
    }

    /// The directory that relative paths are taken from.
    pub fn cwd(&self) -> Option<&[u8]> {
        self.cwd.as_deref()
    }

    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: Outcome) {
        self.outcome.paths.extend(other.paths);
        self.outcome.nested.extend(other.nested);
        self.outcome.destructive |= other.destructive;
        for reason in other.unclear {
            self.unclear(reason);
        }
        for effect in other.irreversible {
            self.irreversible(&effect.what, effect.reason);
        }
    }

    /// Everything found.
    pub fn finish(self) -> Outcome {
        self.outcome
    }

    /// The call is not understood, or not completely.
    pub fn unclear(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if self.outcome.unclear.len() >= MAX_REASONS {
            return;
        }
        if !self.outcome.unclear.contains(&reason) {
            self.outcome.unclear.push(reason);
        }
    }

    /// Something cannot be undone.
    pub fn irreversible(&mut self, what: &str, reason: impl Into<String>) {
        let effect = Effect {
            what: what.into(),
            reason: reason.into(),
        };
        let all = &self.outcome.irreversible;
        let same = all.iter().filter(|e| e.what == effect.what);
        if !all.contains(&effect) && same.count() < MAX_REASONS {
            self.outcome.irreversible.push(effect);
        }
    }

    /// The call deletes or overwrites as its purpose.
    pub fn destructive(&mut self) {
        self.outcome.destructive = true;
    }

    /// A command within the call.
    pub fn nested(&mut self, what: NestedCommand) {
        let moved = self.cwd.as_deref() != self.place.cwd;
        self.outcome.nested.push(Nested {
            what,
            cwd: moved.then(|| self.cwd.clone()),
            assign: Vec::new(),
            unknown_arguments_in: None,
        });
    }

    /// The same, as it is.
    pub fn nested_as(&mut self, nested: Nested) {
        self.outcome.nested.push(nested);
    }

    /// Relative paths are taken from `directory` from here on.
    pub fn chdir(&mut self, directory: &Arg) {
        self.cwd = directory.value().and_then(|path| self.resolve(path));
    }

    /// The same for every option with that role, in order.
    pub(crate) fn follow_chdir(&mut self, options: &[Given<'_>]) {
        for given in options.iter().filter(|g| g.spec.role == Role::Chdir) {
            given.values.iter().for_each(|value| self.chdir(value));
        }
    }

    /// The absolute form of a path of the call; `None` where it cannot be told.
    pub fn resolve(&self, path: &[u8]) -> Option<Vec<u8>> {
        let (style, view) = (self.place.style, self.place.view);
        match &self.cwd {
            Some(cwd) => style.locate(view, cwd, path),
            None if style.is_absolute(path) => style.locate(view, path, path),
            None => None,
        }
    }

    /// What is at an absolute path, symbolic links followed.
    pub fn kind_behind(&self, path: &[u8]) -> Kind {
        self.place.style.kind_behind(self.place.view, path)
    }

    /// Lists an absolute path as it is.
    pub fn path(
        &mut self,
        path: &[u8],
        depth: Depth,
        certainty: Certainty,
        follow: bool,
        reason: &str,
    ) {
        let same = |last: &PathUse| {
            (last.depth, last.certainty, last.follow) == (depth, certainty, follow)
                && last.path == path
        };
        if self.outcome.paths.last().is_some_and(same) {
            return;
        }
        self.outcome.paths.push(PathUse {
            path: path.to_vec(),
            depth,
            certainty,
            follow,
            reason: reason.into(),
            rule: self.rule.clone(),
        });
    }

    /// Lists an absolute path that the command changes or creates: as a tree where it is missing or
    /// not known, with the directories above it that are missing, too.
    pub fn whole(
        &mut self,
        path: &[u8],
        depth: Depth,
        certainty: Certainty,
        follow: bool,
        reason: &str,
    ) {
        let kind = if follow {
            self.kind_behind(path)
        } else {
            self.place.view.kind(path)
        };
        if kind == Kind::Missing {
            self.missing_above(path, certainty);
        }
        self.path(path, depth_for(kind, depth), certainty, follow, reason);
    }

    /// Lists the topmost directory above `path` that does not exist.
    fn missing_above(&mut self, path: &[u8], certainty: Certainty) {
        let style = self.place.style;
        let parent = style.parent(path);
        if parent.is_none_or(|parent| self.kind_behind(&parent) != Kind::Missing) {
            return;
        }
        // From the root on: a path may have very many components that do not exist.
        let ends = (1..path.len()).filter(|at| style.is_separator(path[*at]));
        let mut above = ends.map(|end| &path[..end]);
        let topmost = above.find(|directory| {
            style.name(directory).is_some() && self.kind_behind(directory) == Kind::Missing
        });
        if let Some(directory) = topmost {
            let reason = "created on the way";
            self.path(directory, Depth::Tree, certainty, false, reason);
        }
    }

    /// Treats an argument as `role` says. `place` and `into` need [`Findings::place_in`] for the
    /// names; without sources they are treated as `tree`.
    pub fn role(&mut self, role: &Role, arg: &Arg) {
        match role {
            Role::Ignore | Role::Read => {}
            Role::Chdir => self.chdir(arg),
            Role::Remote => {
                let reason = format!("'{}' is remote", shown(arg));
                self.irreversible("remote", reason);
            }
            Role::Command => self.nested(NestedCommand::Words(vec![arg.clone()])),
            Role::Script(shell) => self.nested(NestedCommand::Line {
                shell: shell.clone(),
                text: arg.clone(),
            }),
            _ => match arg.known {
                Known::Whole => self.known_path(role, &arg.text),
                Known::Pattern => self.pattern(role, arg),
                Known::Beginning | Known::Several => self.unknown_path(arg),
            },
        }
    }

    pub(crate) fn known_path(&mut self, role: &Role, text: &[u8]) {
        if text.is_empty() {
            // Names nothing; commands refuse it.
            return;
        }
        if text.len() > MAX_PATH {
            self.unclear("a path is too long");
            return;
        }
        let Some(path) = self.resolve(text) else {
            let shown = String::from_utf8_lossy(text);
            self.unclear(format!("it cannot be told where '{shown}' is"));
            return;
        };
        if self.is_device(role, &path) {
            return;
        }
        let slash = text
            .last()
            .is_some_and(|b| self.place.style.is_separator(*b));
        match role {
            Role::Write => {
                let depth = self.file_depth(&path);
                self.whole(&path, depth, Certainty::Certain, true, "written");
            }
            Role::Edit => {
                self.whole(
                    &path,
                    Depth::Entry,
                    Certainty::Certain,
                    slash,
                    "edited in place",
                );
            }
            Role::Create => {
                self.parent(&path);
                self.whole(&path, Depth::Entry, Certainty::Certain, true, "created");
            }
            Role::Remove | Role::Take => {
                let reason = if *role == Role::Take {
                    "moved away"
                } else {
                    "removed"
                };
                self.parent(&path);
                // `rm -r link/` empties what the link leads to.
                self.path(&path, Depth::Tree, Certainty::Certain, slash, reason);
            }
            Role::Meta => {
                self.whole(
                    &path,
                    Depth::Entry,
                    Certainty::Certain,
                    true,
                    "attributes changed",
                );
            }
            Role::MetaTree => {
                self.whole(
                    &path,
                    Depth::Tree,
                    Certainty::Certain,
                    true,
                    "attributes changed beneath",
                );
            }
            Role::Children => {
                self.whole(
                    &path,
                    Depth::Children,
                    Certainty::Likely,
                    true,
                    "entries may change",
                );
            }
            _ => self.whole(
                &path,
                Depth::Tree,
                Certainty::Likely,
                true,
                "may be changed beneath",
            ),
        }
    }

    /// A file's own depth: a directory in its place is covered whole.
    fn file_depth(&self, path: &[u8]) -> Depth {
        match self.kind_behind(path) {
            Kind::Directory => Depth::Tree,
            _ => Depth::Entry,
        }
    }

    fn parent(&mut self, path: &[u8]) {
        if let Some(parent) = self.place.style.parent(path)
            && self.last_parent.as_ref() != Some(&parent)
        {
            self.last_parent = Some(parent.clone());
            let reason = "an entry appears or goes";
            self.path(&parent, Depth::Entry, Certainty::Certain, true, reason);
        }
    }

    /// Devices and the like: what is written there is in no file. Says so where it has an effect.
    pub(crate) fn is_device(&mut self, role: &Role, path: &[u8]) -> bool {
        if self.place.style == Style::Windows {
            return device::is_windows(path);
        }
        let writes = matches!(role, Role::Write | Role::Place | Role::Edit);
        let Some(device) = device::unix(path).filter(|_| writes) else {
            return false;
        };
        if let Some(what) = device.effect {
            let reason = format!("writes to {}", String::from_utf8_lossy(path));
            self.irreversible(what, reason);
        }
        true
    }

    /// An argument of which only the beginning is known.
    fn unknown_path(&mut self, arg: &Arg) {
        if self.outcome.unclear.len() < MAX_REASONS {
            self.unclear(format!("'{}' is not known", shown(arg)));
        }
        self.directory_of(&arg.text, Certainty::Possible, "may be beneath");
    }

    /// Lists the tree of the last directory that `beginning` names.
    fn directory_of(&mut self, beginning: &[u8], certainty: Certainty, reason: &str) {
        let style = self.place.style;
        let end = beginning.iter().rposition(|b| style.is_separator(*b));
        let directory = end.map_or(b".".as_slice(), |end| &beginning[..=end]);
        match self.resolve(directory) {
            Some(path) => self.path(&path, Depth::Tree, certainty, true, reason),
            None => self.unclear("the working directory is not known"),
        }
    }

    /// Names in the directory before the first wildcard.
    fn pattern(&mut self, role: &Role, arg: &Arg) {
        let style = self.place.style;
        let first = arg
            .text
            .iter()
            .position(|b| b"*?[{".contains(b))
            .unwrap_or(0);
        let before = &arg.text[..first];
        let in_last = !arg.text[first..].iter().any(|b| style.is_separator(*b));
        let entries = matches!(role, Role::Write | Role::Edit | Role::Meta);
        if entries && in_last {
            let end = before.iter().rposition(|b| style.is_separator(*b));
            let directory = end.map_or(b".".as_slice(), |end| &before[..=end]);
            match self.resolve(directory) {
                Some(path) => {
                    self.path(
                        &path,
                        Depth::Children,
                        Certainty::Likely,
                        true,
                        "matches of a pattern",
                    );
                }
                None => self.unclear("the working directory is not known"),
            }
        } else {
            self.directory_of(before, Certainty::Likely, "matches of a pattern");
        }
        let follows = !matches!(role, Role::Remove | Role::Take | Role::Edit);
        if follows && style == Style::Unix {
            let shown = shown(arg);
            self.unclear(format!("the matches of '{shown}' may be symbolic links"));
        }
    }
}
