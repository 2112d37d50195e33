//! What is found out about a call, path by path.

use deployx_plugin_abi::{Certainty, Depth, Effect, Kind, PathUse};

use super::arguments::{Given, shown};
use super::call::{Arg, Known, Nested, NestedCommand, Outcome, Place};
use super::role::Role;
use super::touch::depth_for;

/// How many entries of a directory are looked at one by one.
const MAX_ENTRIES: usize = 1024;

/// Collects what a call touches. Rules in code use it to treat paths as tables do.
pub struct Findings<'a> {
    rule: String,
    place: Place<'a>,
    /// Where paths are taken from: the place's own, or where options led.
    cwd: Option<Vec<u8>>,
    outcome: Outcome,
}

impl<'a> Findings<'a> {
    /// Nothing yet. `rule` is what stands in [`PathUse::rule`].
    pub fn new(rule: String, place: Place<'a>) -> Self {
        Self {
            rule,
            place,
            cwd: place.cwd.map(<[u8]>::to_vec),
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

    /// Everything found.
    pub fn finish(self) -> Outcome {
        self.outcome
    }

    /// The call is not understood, or not completely.
    pub fn unclear(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
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
        if !self.outcome.irreversible.contains(&effect) {
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
        let mut topmost = None;
        let mut at = style.parent(path);
        while let Some(directory) = at {
            if self.kind_behind(&directory) != Kind::Missing {
                break;
            }
            at = style.parent(&directory);
            topmost = Some(directory);
        }
        if let Some(directory) = topmost {
            self.path(
                &directory,
                Depth::Tree,
                certainty,
                false,
                "created on the way",
            );
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

    fn known_path(&mut self, role: &Role, text: &[u8]) {
        if text.is_empty() {
            // Names nothing; commands refuse it.
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
        if let Some(parent) = self.place.style.parent(path) {
            let reason = "an entry appears or goes";
            self.path(&parent, Depth::Entry, Certainty::Certain, true, reason);
        }
    }

    /// Devices and the like: what is written there is in no file. Says so where it has an effect.
    fn is_device(&mut self, role: &Role, path: &[u8]) -> bool {
        let writes = matches!(role, Role::Write | Role::Place | Role::Edit);
        if !writes || self.place.style != crate::path::Style::Unix {
            return false;
        }
        if path.starts_with(b"/dev/shm/") || path.starts_with(b"/dev/mqueue/") {
            return false;
        }
        let Some(name) = path.strip_prefix(b"/dev/") else {
            return false;
        };
        let harmless = matches!(
            name,
            b"null"
                | b"zero"
                | b"full"
                | b"random"
                | b"urandom"
                | b"stdin"
                | b"stdout"
                | b"stderr"
                | b"tty"
        ) || name.starts_with(b"fd/")
            || name.starts_with(b"pts/");
        if !harmless {
            let reason = format!("writes to {}", String::from_utf8_lossy(path));
            self.irreversible("device", reason);
        }
        true
    }

    /// An argument of which only the beginning is known.
    fn unknown_path(&mut self, arg: &Arg) {
        self.unclear(format!("'{}' is not known", shown(arg)));
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
        if follows && style == crate::path::Style::Unix {
            let shown = shown(arg);
            self.unclear(format!("the matches of '{shown}' may be symbolic links"));
        }
    }
}

impl Findings<'_> {
    /// Treats `target` as where `sources` go: into it under their names where it is a directory,
    /// is to be one (`always_directory`), or there are several; it itself otherwise. `moved`: the
    /// sources are moved, not copied, so that a symbolic link at the target is replaced.
    pub fn place_in(
        &mut self,
        target: &Arg,
        sources: &[&Arg],
        always_directory: bool,
        moved: bool,
    ) {
        if target.known != Known::Whole {
            self.role(&Role::Tree, target);
            return;
        }
        if target.text.is_empty() {
            return;
        }
        let Some(path) = self.resolve(&target.text) else {
            self.known_path(&Role::Tree, &target.text);
            return;
        };
        if self.is_device(&Role::Place, &path) {
            return;
        }
        match self.kind_behind(&path) {
            Kind::Directory if !sources.is_empty() => {
                for source in sources {
                    self.arrives(&path, source, moved);
                }
            }
            Kind::File | Kind::Other if !always_directory => {
                self.path(
                    &path,
                    Depth::Entry,
                    Certainty::Certain,
                    !moved,
                    "destination",
                );
            }
            _ => self.whole(&path, Depth::Tree, Certainty::Certain, true, "destination"),
        }
    }

    /// `source` appears in `directory` under its name.
    fn arrives(&mut self, directory: &[u8], source: &Arg, moved: bool) {
        let style = self.place.style;
        let Some(text) = source.value() else {
            // Its name is not known; whatever it is, it lies beneath.
            self.path(
                directory,
                Depth::Tree,
                Certainty::Likely,
                true,
                "destination",
            );
            return;
        };
        let parts = text.split(|b| style.is_separator(*b));
        let last = parts.rev().find(|part| !part.is_empty()).unwrap_or(b".");
        if !matches!(last, b"." | b"..") {
            if let Some(path) = style.join(directory, last) {
                self.arrives_at(&path, moved);
            }
            return;
        }
        // `cp -r a/. b`: the entries arrive one by one.
        let entries = self
            .resolve(text)
            .and_then(|path| self.place.view.list(&path));
        match entries {
            Some(entries) if entries.len() <= MAX_ENTRIES => {
                for (name, _) in entries {
                    if let Some(path) = style.join(directory, &name) {
                        self.arrives_at(&path, moved);
                    }
                }
                self.path(
                    directory,
                    Depth::Entry,
                    Certainty::Certain,
                    true,
                    "destination",
                );
            }
            _ => self.path(
                directory,
                Depth::Tree,
                Certainty::Certain,
                true,
                "destination",
            ),
        }
    }

    fn arrives_at(&mut self, path: &[u8], moved: bool) {
        let depth = match self.kind_behind(path) {
            Kind::File | Kind::Other => Depth::Entry,
            _ => Depth::Tree,
        };
        self.path(path, depth, Certainty::Certain, !moved, "destination");
    }
}
