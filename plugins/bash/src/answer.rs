//! What is collected while a line is read.

use std::collections::BTreeSet;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::is_root_of_process;
use deployx_plugin_sdk::{Effect, Inference, PathUse, Unclear};

/// How many paths are listed one by one.
const MAX_PATHS: usize = 20_000;

/// The answer as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    paths: BTreeSet<PathUse>,
    unclear: Vec<Unclear>,
    irreversible: Vec<Effect>,
    destructive: bool,
}

impl Answer {
    /// Adds a path. What is no file is an effect instead, or nothing.
    pub(crate) fn touch(&mut self, path: PathUse) {
        match pseudo(&path.path) {
            Pseudo::No => {}
            Pseudo::Nothing => return,
            Pseudo::Kernel => {
                self.irreversible("kernel", format!("{} writes to {}", path.rule, show(&path)));
                return;
            }
            Pseudo::Device => {
                self.irreversible("device", format!("{} writes to {}", path.rule, show(&path)));
            }
        }
        if self.paths.len() < MAX_PATHS {
            self.paths.insert(path);
        } else {
            self.unclear(b"", None, "too many paths");
        }
    }

    /// Adds a part that was not understood.
    pub(crate) fn unclear(&mut self, text: &[u8], cwd: Option<&[u8]>, reason: &str) {
        let unclear = Unclear {
            text: text.to_vec(),
            cwd: cwd.map(<[u8]>::to_vec),
            reason: reason.into(),
        };
        if !self.unclear.contains(&unclear) {
            self.unclear.push(unclear);
        }
    }

    /// Adds an effect that cannot be undone.
    pub(crate) fn irreversible(&mut self, what: &str, reason: impl Into<String>) {
        let effect = Effect {
            what: what.into(),
            reason: reason.into(),
        };
        if !self.irreversible.contains(&effect) {
            self.irreversible.push(effect);
        }
    }

    /// The line deletes or overwrites as its purpose.
    pub(crate) fn destructive(&mut self) {
        self.destructive = true;
    }

    /// What was collected.
    pub(crate) fn finish(self) -> Inference {
        Inference {
            paths: self.paths.into_iter().collect(),
            unclear: self.unclear,
            irreversible: self.irreversible,
            destructive: self.destructive,
            ..Inference::default()
        }
    }
}

enum Pseudo {
    No,
    Nothing,
    Device,
    Kernel,
}

/// Files that are none.
fn pseudo(path: &[u8]) -> Pseudo {
    let beneath = |above: &[u8]| Style::Unix.starts_with(path, above);
    let nothing: [&[u8]; 11] = [
        b"/dev/null",
        b"/dev/zero",
        b"/dev/full",
        b"/dev/random",
        b"/dev/urandom",
        b"/dev/stdin",
        b"/dev/stdout",
        b"/dev/stderr",
        b"/dev/tty",
        b"/dev/fd",
        b"/dev/pts",
    ];
    if nothing.iter().any(|above| beneath(above)) || path.starts_with(b"/dev/tty") {
        return Pseudo::Nothing;
    }
    // A program's own descriptors.
    if path.starts_with(b"/proc/self/fd/") {
        return Pseudo::Nothing;
    }
    if is_root_of_process(path) {
        return Pseudo::No;
    }
    if beneath(b"/proc") || beneath(b"/sys") {
        return Pseudo::Kernel;
    }
    let memory = beneath(b"/dev/shm") || beneath(b"/dev/mqueue") || path == b"/dev";
    if beneath(b"/dev") && !memory {
        return Pseudo::Device;
    }
    Pseudo::No
}

fn show(path: &PathUse) -> String {
    String::from_utf8_lossy(&path.path).into_owned()
}
