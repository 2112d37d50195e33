//! What the evaluator writes into its answer.

use deployx_plugin_sdk::{Certainty, Depth, Effect, Kind, PathUse, Unclear};

use super::{Evaluator, Targets, World};
use crate::cell::{Cell, is_plain, unquoted};
use crate::names::{STYLE, has_wildcard, is_device};
use crate::syntax::Redirect;
use crate::words::Word;

impl Evaluator<'_> {
    pub(crate) fn add_unclear(&mut self, text: Vec<u8>, cwd: Option<Vec<u8>>, reason: &str) {
        let unclear = Unclear {
            text,
            cwd: cwd.filter(|cwd| *cwd != self.request.cwd),
            reason: reason.into(),
        };
        if !self.out.unclear.contains(&unclear) {
            self.out.unclear.push(unclear);
        }
    }

    /// Notes that the path is touched.
    pub(crate) fn touch(&mut self, path: &[u8], depth: Depth, follow: bool, reason: &str) {
        self.add_path(PathUse {
            path: path.to_vec(),
            depth,
            certainty: Certainty::Certain,
            follow,
            reason: reason.into(),
            rule: self.rule.clone(),
        });
    }

    pub(crate) fn add_path(&mut self, path: PathUse) {
        if !self.out.paths.contains(&path) {
            self.out.paths.push(path);
        }
    }

    /// Notes the directory above the path.
    pub(crate) fn touch_parent(&mut self, path: &[u8], reason: &str) {
        if let Some(parent) = STYLE.parent(path) {
            self.touch(&parent, Depth::Entry, false, reason);
        }
    }

    /// Notes that the path is removed with everything beneath.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.touch_parent(path, "directory of what is removed");
        self.take_away(path, "removed");
    }

    /// Notes that the path and everything beneath is no longer there.
    pub(crate) fn take_away(&mut self, path: &[u8], reason: &str) {
        self.touch(path, Depth::Tree, false, reason);
        self.made_directories
            .retain(|made| !STYLE.starts_with(made, path));
        self.removed.push(path.to_vec());
        self.out.destructive = true;
    }

    /// Notes that a directory may no longer be there.
    pub(crate) fn forget_directory(&mut self, path: &[u8]) {
        self.made_directories.retain(|made| made != path);
        self.removed.push(path.to_vec());
    }

    /// Whether a directory is certainly there when a command comes to it.
    pub(crate) fn is_there(&self, dir: &[u8]) -> bool {
        let made = self.made_directories.iter().any(|made| made == dir);
        let removed = || self.removed.iter().any(|gone| STYLE.starts_with(dir, gone));
        made || STYLE.kind_behind(self.view, dir) == Kind::Directory && !removed()
    }

    /// Notes that the file is made or gets other content.
    pub(crate) fn write(&mut self, path: &[u8], reason: &str) {
        match STYLE.kind_behind(self.view, path) {
            Kind::File => {
                self.touch(path, Depth::Entry, true, reason);
                self.out.destructive = true;
            }
            Kind::Directory => self.touch(path, Depth::Entry, true, reason),
            Kind::Missing => self.make(path, reason),
            _ => {
                self.make(path, reason);
                self.out.destructive = true;
            }
        }
    }

    /// Notes that something may appear at the path, or anywhere beneath.
    pub(crate) fn make(&mut self, path: &[u8], reason: &str) {
        self.touch(path, Depth::Tree, true, reason);
        self.created.push(path.to_vec());
    }

    /// Notes that something may appear directly in the directory.
    pub(crate) fn make_in(&mut self, dir: &[u8], reason: &str) {
        self.touch(dir, Depth::Children, true, reason);
        self.created.push(dir.to_vec());
    }

    pub(crate) fn effect(&mut self, what: &str, reason: &str) {
        let effect = Effect {
            what: what.into(),
            reason: reason.into(),
        };
        if !self.out.irreversible.contains(&effect) {
            self.out.irreversible.push(effect);
        }
    }

    /// Whether the line itself may have made entries in or under the directory.
    pub(crate) fn made_something_in(&self, dir: &[u8]) -> bool {
        !self.out.unclear.is_empty()
            || self.created.len() > 500
            || self
                .created
                .iter()
                .any(|path| STYLE.starts_with(path, dir) || STYLE.starts_with(dir, path))
    }

    /// Whether nothing is at the path, neither before the line nor by what it did so far.
    pub(crate) fn is_missing(&self, world: &World, path: &[Cell]) -> bool {
        if !is_plain(path) {
            return false;
        }
        let text = crate::cell::bytes(path);
        if has_wildcard(&text) || is_device(&text) {
            return false;
        }
        world.resolve(&text).is_some_and(|path| {
            self.view.kind(&path) == Kind::Missing && !self.made_something_in(&path)
        })
    }

    /// Notes a redirection that writes.
    pub(crate) fn redirect(&mut self, redirect: &Redirect, world: &World) {
        let cells = self.substitute(&redirect.target, world);
        let shown = crate::cell::bytes(&cells);
        let word = Word {
            cells: unquoted(&cells),
            quoted: true,
        };
        self.rule = if redirect.append { ">>" } else { ">" }.into();
        let was_destructive = self.out.destructive;
        let targets = self.targets(world, &word);
        let reason = "target of a redirection";
        for (path, _) in &targets.known {
            self.write(path, reason);
        }
        self.note_within(&targets, Depth::Children, reason);
        self.note_doubt(&targets, shown, world);
        if redirect.append {
            self.out.destructive = was_destructive;
        }
    }

    /// Notes the directories in which targets that are not known by name lie.
    pub(crate) fn note_within(&mut self, targets: &Targets, shallow: Depth, reason: &str) {
        for (dir, deep) in &targets.within {
            let depth = if *deep { Depth::Tree } else { shallow };
            self.created.push(dir.clone());
            self.add_path(PathUse {
                path: dir.clone(),
                depth,
                certainty: Certainty::Likely,
                follow: true,
                reason: reason.into(),
                rule: self.rule.clone(),
            });
        }
    }

    /// Says what could not be told about targets.
    pub(crate) fn note_doubt(&mut self, targets: &Targets, text: Vec<u8>, world: &World) {
        if let Some(reason) = targets.doubt {
            self.add_unclear(text, world.cwd.clone(), reason);
        }
    }
}
