//! `Set-Location`, `Push-Location`, `Pop-Location`, and drives that are no part of the filesystem.

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{Certainty, Depth, Kind, PathUse};

use crate::value::{Extent, Item, Value};
use crate::wildcard;

use super::Evaluator;
use super::arguments::Call;
use super::names::is_indirect;

/// Drives of providers other than the filesystem, and what a change on them is on.
const DRIVES: [(&str, Option<&str>); 16] = [
    ("hklm", Some("registry")),
    ("hkcu", Some("registry")),
    ("hkcr", Some("registry")),
    ("hku", Some("registry")),
    ("hkcc", Some("registry")),
    ("registry", Some("registry")),
    ("microsoft.powershell.core\\registry", Some("registry")),
    ("cert", Some("registry")),
    ("wsman", Some("service")),
    ("iis", Some("service")),
    ("sqlserver", Some("database")),
    ("ad", Some("database")),
    ("env", None),
    ("variable", None),
    ("alias", None),
    ("function", None),
];

/// How many directories are listed to look for entries by their short names.
const MAX_LISTINGS: usize = 64;

/// What a path says about its drive.
pub(super) enum Drive {
    /// It is of the filesystem.
    Files,
    /// It is of another provider; what a change that lasts is on.
    Provider(&'static str, Option<&'static str>),
    /// A drive that is not known.
    Unknown,
}

impl Evaluator<'_> {
    /// Which drive a path is on.
    pub(super) fn drive(path: &[u8]) -> Drive {
        let Some(colon) = path.iter().position(|b| *b == b':') else {
            return Drive::Files;
        };
        let name = String::from_utf8_lossy(&path[..colon]).to_ascii_lowercase();
        if name.len() < 2 || name.contains('/') {
            return Drive::Files;
        }
        if let Some((name, effect)) = DRIVES.iter().find(|(known, _)| *known == name) {
            return Drive::Provider(name, *effect);
        }
        let provider = name.ends_with("filesystem");
        if !provider && (name.contains('\\') || name.starts_with('.')) {
            return Drive::Files;
        }
        Drive::Unknown
    }

    /// Whether a path may lead to another place than its text says: through a link that the line
    /// makes, or by the short name of an entry that has a longer one.
    pub(super) fn may_be_elsewhere(&self, path: &[u8]) -> bool {
        let computer = self.environment_value(b"COMPUTERNAME").string();
        if self.style == Style::Windows && is_indirect(path, computer.as_deref()) {
            return true;
        }
        if self.links.is_empty() && !path.contains(&b'~') {
            return false;
        }
        let Some(mut path) = self.absolute(path) else {
            return false;
        };
        if self
            .links
            .iter()
            .any(|link| self.style.starts_with(&path, link))
        {
            return true;
        }
        while let Some(parent) = self.style.parent(&path) {
            let name = self.style.name(&path).unwrap_or_default();
            let tilde = name.iter().position(|b| *b == b'~');
            let short = tilde.is_some_and(|at| name.get(at + 1).is_some_and(u8::is_ascii_digit));
            if short && self.style == Style::Windows && self.kind(&path) == Kind::Missing {
                if self.listings.get() >= MAX_LISTINGS {
                    return true;
                }
                self.listings.set(self.listings.get() + 1);
                let start = &name[..tilde.unwrap_or(0)];
                let names = self.view.list(&parent).unwrap_or_default();
                let begins = |(long, _): &(Vec<u8>, Kind)| {
                    let plain: Vec<u8> = long.iter().copied().filter(|b| *b != b' ').collect();
                    let beginning = plain.get(..start.len());
                    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
                };
                if names.iter().any(begins) {
                    return true;
                }
            }
            path = parent;
        }
        false
    }

    /// A path of the filesystem without the name of its provider (`FileSystem::C:\x`); `None` where
    /// it is of another one.
    pub(super) fn without_provider(path: &[u8]) -> Option<&[u8]> {
        let path = match path.windows(2).position(|pair| pair == b"::") {
            Some(at) => {
                let name = path[..at].to_ascii_lowercase();
                let known: [&[u8]; 2] = [b"filesystem", br"microsoft.powershell.core\filesystem"];
                if !known.contains(&name.as_slice()) {
                    return None;
                }
                &path[at + 2..]
            }
            None => path,
        };
        let path = super::names::without_prefix(path);
        matches!(Self::drive(path), Drive::Files).then_some(path)
    }

    /// Whether a path is not simply one of the filesystem.
    pub(super) fn has_provider(path: &[u8]) -> bool {
        !matches!(Self::drive(path), Drive::Files)
    }

    pub(super) fn set_location(&mut self, call: &Call, keep: bool) -> Value {
        let bound = call.bind("Path= LiteralPath= PassThru StackName=", "Path");
        if call.splatted || bound.unknown.is_some() || bound.get("StackName").is_some() {
            self.not_understood(call, "the directory that is entered is not known");
            self.cwd = None;
            return Value::Unknown;
        }
        let literal = bound.get("LiteralPath").is_some();
        let target = bound.any(&["Path", "LiteralPath"]).cloned();
        let target = target.or_else(|| call.input.clone());
        if keep {
            self.stack.push(self.cwd.clone());
        }
        match target {
            Some(target) => {
                let target = self.location(&target, literal);
                self.enter(target);
            }
            // `cd` alone goes home, except in Windows PowerShell.
            None if !keep && self.request.shell != "powershell" => {
                let home = self.request.home.clone();
                self.enter(home);
            }
            None => {}
        }
        Value::Null
    }

    fn location(&self, target: &Value, literal: bool) -> Option<Vec<u8>> {
        if let Value::Item(Item {
            path,
            extent: Extent::Exact,
        }) = target
        {
            return Some(path.clone());
        }
        let text = target.string()?;
        // `cd -` and `cd +` go through the history of locations.
        if Self::has_provider(&text) || matches!(text.as_slice(), b"-" | b"+" | b"") {
            return None;
        }
        if literal || !wildcard::has_wildcards(&text) {
            return self.absolute(&text);
        }
        let found = wildcard::expand(self.style, self.view, self.cwd.as_deref()?, &text)?;
        match found.as_slice() {
            [(path, _)] => Some(path.clone()),
            _ => None,
        }
    }

    /// Moves to `target`; lists where the shell stood and where it goes.
    fn enter(&mut self, target: Option<Vec<u8>>) {
        for path in [self.cwd.clone(), target.clone()].into_iter().flatten() {
            self.answer.paths.push(PathUse {
                path,
                depth: Depth::Entry,
                certainty: Certainty::Possible,
                follow: true,
                reason: "working directory".into(),
                rule: "Set-Location".into(),
            });
        }
        // Where the directory does not exist, the shell stays and goes on.
        self.cwd = target.filter(|target| match self.kind(target) {
            Kind::Directory | Kind::Unknown => true,
            Kind::Missing => self.is_made(target),
            _ => false,
        });
    }

    /// Whether the line makes what is at `path`.
    fn is_made(&self, path: &[u8]) -> bool {
        self.answer.paths.iter().any(|used| {
            used.certainty == Certainty::Certain
                && used.depth == Depth::Tree
                && self.style.starts_with(path, &used.path)
        })
    }

    pub(super) fn pop_location(&mut self) -> Value {
        match self.stack.pop() {
            Some(target) => self.enter(target),
            // What earlier lines pushed.
            None => self.cwd = None,
        }
        Value::Null
    }
}
