//! Redirections.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::table::{Arg, Known};
use deployx_plugin_sdk::{Certainty, Depth, Kind, PathUse};

use crate::evaluate::Evaluator;
use crate::state::{Cwd, World};
use crate::syntax::{Redirect, RedirectOp};

impl Evaluator<'_> {
    /// Opens what a redirection names.
    pub(crate) fn redirect(&mut self, world: &mut World, redirect: &Redirect) {
        match redirect {
            Redirect::Descriptor => {}
            Redirect::Here { content } => {
                self.value(world, content);
            }
            Redirect::File { op, target } => {
                let arguments = self.arguments(world, std::slice::from_ref(target));
                match arguments.as_slice() {
                    // Several names, or none, are an error of the shell and open nothing.
                    [argument] => self.open(world, *op, argument, &target.raw),
                    [] => {}
                    several if several.iter().any(|a| a.known != Known::Whole) => {
                        self.open(world, *op, &several[0], &target.raw);
                    }
                    _ => {}
                }
            }
        }
    }

    fn open(&mut self, world: &World, op: RedirectOp, target: &Arg, raw: &[u8]) {
        if let Some(host) = target
            .text
            .strip_prefix(b"/dev/tcp/")
            .or_else(|| target.text.strip_prefix(b"/dev/udp/"))
            && self.dialect.extended()
        {
            let host = String::from_utf8_lossy(host);
            self.answer
                .irreversible("network", format!("a redirection connects to {host}"));
            return;
        }
        if op == RedirectOp::Read {
            return;
        }
        match target.value() {
            Some(path) => {
                let (path, raw) = (path.to_vec(), raw.to_vec());
                self.write_to(world, op, &path, &raw);
            }
            None => {
                if op != RedirectOp::Append {
                    self.answer.destructive();
                }
                self.open_unknown(world, target, raw);
            }
        }
    }

    /// A name of which only the beginning is known: everything in its directory may be meant.
    fn open_unknown(&mut self, world: &World, target: &Arg, raw: &[u8]) {
        let directory = match target.text.iter().position(|b| b"*?[".contains(b)) {
            Some(wild) if target.known == Known::Pattern => &target.text[..wild],
            _ => &target.text,
        };
        let end = directory.iter().rposition(|b| *b == b'/');
        let directory = end.map_or(b"".as_slice(), |end| &directory[..=end]);
        let located = self.locate(world, directory);
        let nameless = target.known == Known::Pattern;
        if let Some(path) = located
            && (nameless || !directory.is_empty())
        {
            let flat = !target.text[directory.len()..].contains(&b'/');
            self.touch(
                world,
                PathUse {
                    path,
                    depth: if nameless && flat {
                        Depth::Children
                    } else {
                        Depth::Tree
                    },
                    certainty: Certainty::Likely,
                    follow: true,
                    reason: "target of a redirection".into(),
                    rule: ">".into(),
                },
            );
            if nameless {
                return;
            }
        }
        self.unclear(world, raw, "the target of a redirection is not known");
    }

    fn write_to(&mut self, world: &World, op: RedirectOp, path: &[u8], raw: &[u8]) {
        if path.is_empty() {
            return;
        }
        let Some(path) = self.locate(world, path) else {
            self.unclear(world, raw, "the working directory is not known");
            return;
        };
        let kind = Style::Unix.kind_behind(self.view, &path);
        if op == RedirectOp::Write && !matches!(kind, Kind::Missing | Kind::Other) {
            self.answer.destructive();
        }
        let rule = match op {
            RedirectOp::Append => ">>",
            RedirectOp::ReadWrite => "<>",
            _ => ">",
        };
        self.touch(
            world,
            PathUse {
                path,
                depth: match kind {
                    Kind::Missing | Kind::Unknown => Depth::Tree,
                    _ => Depth::Entry,
                },
                certainty: Certainty::Certain,
                follow: true,
                reason: "target of a redirection".into(),
                rule: rule.into(),
            },
        );
    }

    /// A path as the system takes it; `None` where that depends on what is not known.
    pub(crate) fn locate(&self, world: &World, path: &[u8]) -> Option<Vec<u8>> {
        let base: &[u8] = match &world.cwd {
            Cwd::Known { physical, .. } => physical,
            _ if path.first() == Some(&b'/') => b"/",
            _ => return None,
        };
        Style::Unix.locate(self.view, base, path)
    }
}
