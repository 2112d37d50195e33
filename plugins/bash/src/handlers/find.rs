//! `find`: what its actions do to what it finds.

use deployx_plugin_sdk::table::{
    Arg, Findings, HandlerCall, Known, Nested, NestedCommand, Outcome, Role,
};
use deployx_plugin_sdk::{Certainty, Depth, Kind};

use super::wildcard;

/// How many entries are looked at to tell which ones fit.
const MAX_ENTRIES: usize = 4096;
/// How many found paths are named one by one.
const MAX_FOUND: usize = 256;

/// Tests and options that take a value.
const WITH_VALUE: &[&[u8]] = &[
    b"-amin",
    b"-anewer",
    b"-atime",
    b"-cmin",
    b"-cnewer",
    b"-context",
    b"-ctime",
    b"-fstype",
    b"-gid",
    b"-group",
    b"-ilname",
    b"-iname",
    b"-inum",
    b"-ipath",
    b"-iregex",
    b"-iwholename",
    b"-links",
    b"-lname",
    b"-maxdepth",
    b"-mindepth",
    b"-mmin",
    b"-mtime",
    b"-name",
    b"-newer",
    b"-path",
    b"-perm",
    b"-printf",
    b"-regex",
    b"-regextype",
    b"-samefile",
    b"-size",
    b"-type",
    b"-uid",
    b"-used",
    b"-user",
    b"-wholename",
    b"-xtype",
    b"-flags",
    b"-Bmin",
    b"-Btime",
];
/// Those that take none.
const ALONE: &[&[u8]] = &[
    b"!",
    b"(",
    b")",
    b",",
    b"-a",
    b"-and",
    b"-d",
    b"-daystart",
    b"-depth",
    b"-empty",
    b"-executable",
    b"-false",
    b"-follow",
    b"-help",
    b"-ignore_readdir_race",
    b"-ls",
    b"-mount",
    b"-nogroup",
    b"-noignore_readdir_race",
    b"-noleaf",
    b"-nouser",
    b"-nowarn",
    b"-not",
    b"-o",
    b"-or",
    b"-print",
    b"-print0",
    b"-prune",
    b"-quit",
    b"-readable",
    b"-true",
    b"-version",
    b"-warn",
    b"-writable",
    b"-xdev",
    b"--help",
    b"--version",
    b"-x",
    b"-X",
    b"-E",
    b"-s",
];
/// Those that make an expression more than a row of tests.
const NOT_A_ROW: &[&[u8]] = &[
    b"!",
    b"(",
    b")",
    b",",
    b"-o",
    b"-or",
    b"-not",
    b"-prune",
    b"-regextype",
];

/// What is looked for, and where.
#[derive(Default)]
struct Search<'a> {
    roots: Vec<Arg>,
    /// Symbolic links are followed on the way.
    follows: bool,
    /// The tests that restrict names and kinds, where the expression is a row of tests.
    names: Vec<(&'a [u8], &'a [u8])>,
    is_row: bool,
    deepest: Option<usize>,
}

/// The rule for `find`.
pub(super) fn find(call: &HandlerCall<'_>) -> Outcome {
    let mut findings = call.findings();
    let args = call.rest();
    let mut search = Search {
        is_row: true,
        ..Search::default()
    };
    let mut at = search.read_roots(args, &mut findings);
    while at < args.len() {
        at = search.read_expression(args, at, &mut findings);
    }
    findings.finish()
}

impl<'a> Search<'a> {
    /// Reads options and starting points; gives where the expression begins.
    fn read_roots(&mut self, args: &'a [Arg], findings: &mut Findings<'_>) -> usize {
        let mut at = 0;
        while let Some(arg) = args.get(at) {
            match arg.value() {
                Some(b"-L") => self.follows = true,
                Some(b"-H" | b"-P") => {}
                Some(b"-D") => at += 1,
                Some(b"-files0-from") => {
                    findings.unclear("the starting points are named in a list");
                    at += 1;
                }
                Some(text) if text.starts_with(b"-O") => {}
                Some(text)
                    if text.starts_with(b"-") || matches!(text, b"(" | b"!" | b")" | b",") =>
                {
                    break;
                }
                None if arg.text.is_empty() || arg.text.starts_with(b"-") => {
                    findings.unclear("an argument of find is not known");
                    self.is_row = false;
                }
                _ => self.roots.push(arg.clone()),
            }
            at += 1;
        }
        if self.roots.is_empty() {
            self.roots.push(Arg::whole("."));
        }
        at
    }

    /// Reads one test or action; gives where the next one begins.
    fn read_expression(
        &mut self,
        args: &'a [Arg],
        at: usize,
        findings: &mut Findings<'_>,
    ) -> usize {
        let Some(word) = args[at].value() else {
            findings.unclear("an argument of find is not known");
            self.touch_roots(findings, "may be found");
            return at + 1;
        };
        match word {
            b"-delete" => {
                self.delete(args, findings);
                at + 1
            }
            b"-exec" | b"-execdir" | b"-ok" | b"-okdir" => {
                self.execute(word, args, at + 1, findings)
            }
            b"-fprint" | b"-fprint0" | b"-fls" => {
                if let Some(file) = args.get(at + 1) {
                    findings.role(&Role::Write, file);
                }
                at + 2
            }
            b"-fprintf" => {
                if let Some(file) = args.get(at + 1) {
                    findings.role(&Role::Write, file);
                }
                at + 3
            }
            b"-follow" => {
                self.follows = true;
                at + 1
            }
            _ if WITH_VALUE.contains(&word) || word.starts_with(b"-newer") => {
                self.test(word, args.get(at + 1));
                at + 2
            }
            _ if ALONE.contains(&word) => {
                self.is_row &= !NOT_A_ROW.contains(&word);
                at + 1
            }
            _ => {
                let shown = String::from_utf8_lossy(word);
                findings.unclear(format!("unknown test '{shown}' of find"));
                self.touch_roots(findings, "may be found");
                at + 1
            }
        }
    }

    fn test(&mut self, word: &'a [u8], value: Option<&'a Arg>) {
        let known = value.and_then(Arg::value);
        match (word, known) {
            (b"-name" | b"-type", Some(value)) => self.names.push((word, value)),
            (b"-maxdepth", Some(value)) => {
                self.deepest = std::str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok());
            }
            _ => {}
        }
    }

    /// Every path that can be found, as `find` would print it; `None` where that cannot be told.
    fn found(&self, findings: &Findings<'_>) -> Option<Vec<(Vec<u8>, Kind)>> {
        if self.follows {
            return None;
        }
        let mut found = Vec::new();
        let mut looked_at = 0;
        for root in &self.roots {
            let text = root.value()?;
            let path = findings.resolve(text)?;
            let kind = match findings.place().view.kind(&path) {
                // A link with a separator behind it is followed.
                Kind::Link if text.ends_with(b"/") => return None,
                Kind::Unknown => return None,
                Kind::Missing => continue,
                other => other,
            };
            self.walk(
                findings,
                (text.to_vec(), path, kind),
                &mut found,
                &mut looked_at,
            )?;
        }
        Some(found)
    }

    fn walk(
        &self,
        findings: &Findings<'_>,
        root: (Vec<u8>, Vec<u8>, Kind),
        found: &mut Vec<(Vec<u8>, Kind)>,
        looked_at: &mut usize,
    ) -> Option<()> {
        let style = findings.place().style;
        let mut ahead = vec![(root.0, root.1, root.2, 0_usize)];
        while let Some((text, path, kind, depth)) = ahead.pop() {
            *looked_at += 1;
            if *looked_at > MAX_ENTRIES {
                return None;
            }
            // `find` prints a starting point as it is given; its name is its last component.
            let name = style.name(&text).unwrap_or(&text);
            if self.fits(name, kind) {
                found.push((text.clone(), kind));
            }
            if kind != Kind::Directory || self.deepest.is_some_and(|deepest| depth >= deepest) {
                continue;
            }
            for (name, kind) in findings.place().view.list(&path)? {
                if kind == Kind::Unknown {
                    return None;
                }
                let mut inner = text.clone();
                if !inner.ends_with(b"/") {
                    inner.push(b'/');
                }
                inner.extend_from_slice(&name);
                ahead.push((inner, style.join(&path, &name)?, kind, depth + 1));
            }
        }
        Some(())
    }

    fn fits(&self, name: &[u8], kind: Kind) -> bool {
        if !self.is_row {
            // Anything may be found.
            return true;
        }
        self.names
            .iter()
            .all(|(test, value)| match (*test, *value) {
                (b"-name", pattern) => wildcard::fits(pattern, name),
                (_, b"f") => matches!(kind, Kind::File | Kind::Unknown),
                (_, b"d") => matches!(kind, Kind::Directory | Kind::Unknown),
                (_, b"l") => matches!(kind, Kind::Link | Kind::Unknown),
                _ => true,
            })
    }

    fn delete(&mut self, args: &'a [Arg], findings: &mut Findings<'_>) {
        findings.destructive();
        self.is_row &= is_row(args);
        let narrow = self.is_row && !(self.names.is_empty() && self.deepest.is_none());
        match self.found(findings).filter(|_| narrow) {
            Some(found) if found.len() <= MAX_ENTRIES => {
                for (text, _) in found {
                    if let Some(path) = findings.resolve(&text) {
                        // A directory that goes is only recorded with what is in it.
                        let depth = match findings.place().view.kind(&path) {
                            Kind::Directory => Depth::Children,
                            _ => Depth::Entry,
                        };
                        findings.path(&path, depth, Certainty::Certain, false, "deleted");
                    }
                }
            }
            _ => self.touch_roots(findings, "deleted beneath"),
        }
    }

    fn touch_roots(&self, findings: &mut Findings<'_>, reason: &str) {
        if self.follows {
            findings.unclear("symbolic links are followed");
        }
        for root in &self.roots {
            match root.value().and_then(|text| findings.resolve(text)) {
                Some(path) => {
                    findings.path(&path, Depth::Tree, Certainty::Certain, true, reason);
                }
                None => findings.role(&Role::Tree, root),
            }
        }
    }

    /// `-exec command {} ;`: gives where the expression goes on.
    fn execute(
        &mut self,
        action: &[u8],
        args: &'a [Arg],
        from: usize,
        findings: &mut Findings<'_>,
    ) -> usize {
        let ends = |at: usize| {
            let word = args[at].value();
            word == Some(b";") || word == Some(b"+") && args[at - 1].value() == Some(b"{}")
        };
        let end = (from..args.len())
            .find(|at| ends(*at))
            .unwrap_or(args.len());
        let words = &args[from.min(args.len())..end];
        if words.is_empty() {
            return end + 1;
        }
        let in_their_directory = action.ends_with(b"dir");
        self.is_row &= is_row(args);
        let found = self
            .found(findings)
            .filter(|found| !in_their_directory && !found.is_empty() && found.len() <= MAX_FOUND);
        let together = args.get(end).and_then(Arg::value) == Some(b"+");
        match found {
            Some(found) if together => {
                let named = words.iter().filter(|word| word.text != b"{}").cloned();
                let paths = found.into_iter().map(|(path, _)| Arg::whole(path));
                findings.nested(NestedCommand::Words(named.chain(paths).collect()));
            }
            Some(found) => {
                for (path, _) in found {
                    let words = words.iter().map(|word| put_in(word, &path)).collect();
                    findings.nested(NestedCommand::Words(words));
                }
            }
            None => self.execute_unknown(words, in_their_directory, findings),
        }
        end + 1
    }

    fn execute_unknown(
        &self,
        words: &[Arg],
        in_their_directory: bool,
        findings: &mut Findings<'_>,
    ) {
        if self.follows {
            findings.unclear("symbolic links are followed");
        }
        let roots: Option<Vec<Vec<u8>>> = self
            .roots
            .iter()
            .map(|root| root.value().and_then(|text| findings.resolve(text)))
            .collect();
        let whole: Vec<Arg> = words
            .iter()
            .filter(|word| word.text != b"{}")
            .cloned()
            .collect();
        let inside = whole
            .iter()
            .any(|word| word.text.windows(2).any(|pair| pair == b"{}"));
        let words = whole.iter().map(cut).collect();
        if inside {
            findings.unclear("paths that are found are part of other words");
        }
        if roots.is_none() {
            findings.unclear("the starting points are not known");
        }
        findings.nested_as(Nested {
            what: NestedCommand::Words(words),
            cwd: in_their_directory.then_some(None),
            assign: Vec::new(),
            unknown_arguments_in: Some(roots.unwrap_or_default()),
        });
    }
}

/// Whether an expression is a row of tests, all of which must hold.
fn is_row(args: &[Arg]) -> bool {
    !args
        .iter()
        .any(|arg| NOT_A_ROW.contains(&arg.text.as_slice()))
}

/// `word` with `path` for every `{}`.
fn put_in(word: &Arg, path: &[u8]) -> Arg {
    let mut text = Vec::new();
    let mut rest = word.text.as_slice();
    while let Some(at) = rest.windows(2).position(|pair| pair == b"{}") {
        text.extend_from_slice(&rest[..at]);
        text.extend_from_slice(path);
        rest = &rest[at + 2..];
    }
    text.extend_from_slice(rest);
    Arg {
        text,
        known: word.known,
    }
}

/// What is known of a word in which `{}` stands.
fn cut(word: &Arg) -> Arg {
    match word.text.windows(2).position(|pair| pair == b"{}") {
        None => word.clone(),
        Some(at) => Arg {
            text: word.text[..at].to_vec(),
            known: Known::Beginning,
        },
    }
}
