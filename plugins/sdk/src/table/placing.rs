//! Where copied and moved things arrive: the roles `place` and `into`.

use deployx_plugin_abi::{Certainty, Depth, Kind};

use super::arguments::shown;
use super::call::{Arg, Known};
use super::findings::Findings;
use super::role::Role;

/// How many entries of a directory are looked at one by one.
const MAX_ENTRIES: usize = 1024;

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
        let style = self.place().style;
        let Some(text) = source.value() else {
            // Its name is not known; whatever it is, it lies beneath, unless it is that of a link.
            let entries = self.place().view.list(directory);
            let links = |(_, kind): &(Vec<u8>, Kind)| matches!(kind, Kind::Link | Kind::Unknown);
            if !moved && entries.is_none_or(|entries| entries.iter().any(links)) {
                self.unclear(format!("the name of '{}' is not known", shown(source)));
            }
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
            match style.join(directory, last) {
                Some(path) => self.arrives_at(&path, moved),
                // `D:x`, or no path at all.
                None => self.unclear(format!("the name of '{}' is not known", shown(source))),
            }
            return;
        }
        // `cp -r a/. b`: the entries arrive one by one.
        let entries = self
            .resolve(text)
            .and_then(|path| self.place().view.list(&path));
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
