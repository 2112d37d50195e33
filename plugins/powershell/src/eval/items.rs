//! Cmdlets that give entries of the filesystem: `Get-ChildItem`, `Get-Item`, `Join-Path`.

use deployx_plugin_sdk::{Certainty, Depth, Kind};

use crate::value::{Extent, Item, Text, Value};
use crate::wildcard;

use super::Evaluator;
use super::arguments::{Bound, Call};

/// With how many paths of the line a directory is compared.
const MAX_COMPARED: usize = 200;
/// How many directories are looked into, and how many entries are given one by one.
const MAX_DIRECTORIES: usize = 48;
const MAX_ITEMS: usize = 200;

/// Which names `Get-ChildItem` gives.
struct Filter {
    /// Groups of patterns; one of each group must fit.
    include: Vec<Vec<Vec<u8>>>,
    exclude: Vec<Vec<u8>>,
    files: bool,
    directories: bool,
}

impl Filter {
    fn takes(&self, name: &[u8], kind: Kind) -> bool {
        let wanted = match kind {
            Kind::File => !self.directories,
            Kind::Directory => !self.files,
            _ => true,
        };
        let fits = |group: &Vec<Vec<u8>>| group.iter().any(|p| wildcard::fits(p, name));
        wanted
            && self.include.iter().all(fits)
            && !self.exclude.iter().any(|p| wildcard::fits(p, name))
    }

    fn narrows(&self) -> bool {
        !self.include.is_empty() || !self.exclude.is_empty() || self.files || self.directories
    }
}

impl Evaluator<'_> {
    /// The items that a value names.
    pub(super) fn named_items(&self, value: &Value, literal: bool) -> Vec<Value> {
        let mut items = Vec::new();
        for value in value.clone().elements() {
            match &value {
                Value::Item(_) => items.push(value),
                Value::Text(Text { text, whole: true }) => match Self::without_provider(text) {
                    Some(text) => items.extend(self.items_at(text, literal)),
                    None => items.push(Value::Unknown),
                },
                Value::Int(number) => {
                    items.extend(self.items_at(number.to_string().as_bytes(), true));
                }
                _ => items.push(Value::Unknown),
            }
        }
        items
    }

    fn items_at(&self, text: &[u8], literal: bool) -> Vec<Value> {
        let exact = |path: &[u8]| self.absolute(path).map_or(Value::Unknown, Value::exact);
        if literal {
            return vec![exact(text)];
        }
        if !wildcard::has_wildcards(text) {
            return vec![exact(&wildcard::unescape(text))];
        }
        let text = self.separators(text);
        let Some(cwd) = self.cwd.as_deref() else {
            return vec![Value::Unknown];
        };
        if !text.starts_with(b"~")
            && !self.is_remade(&self.before_wildcard(&text), true)
            && let Some(found) = wildcard::expand(self.style, self.view, cwd, &text)
        {
            if found.is_empty() {
                // Some cmdlets take the text as it is then.
                return vec![exact(&text)];
            }
            return found
                .into_iter()
                .map(|(path, _)| Value::exact(path))
                .collect();
        }
        // No answer: anything in the directory before the first wildcard.
        let first = text.iter().position(|b| matches!(b, b'*' | b'?' | b'['));
        let first = first.unwrap_or(0);
        let deeper = text[first..].iter().any(|b| self.style.is_separator(*b));
        let extent = if deeper {
            Extent::Tree
        } else {
            Extent::Children
        };
        let path = self.absolute(&self.before_wildcard(&text));
        vec![path.map_or(Value::Unknown, |path| Value::Item(Item { path, extent }))]
    }

    /// The directory that stands before the first wildcard.
    fn before_wildcard(&self, text: &[u8]) -> Vec<u8> {
        let first = text.iter().position(|b| matches!(b, b'*' | b'?' | b'['));
        let end = text[..first.unwrap_or(0)]
            .iter()
            .rposition(|b| self.style.is_separator(*b));
        end.map_or(b".".to_vec(), |end| text[..=end].to_vec())
    }

    /// Whether the line may have put something into a directory before, so that the view does not
    /// know all that is there; `deep`: or beneath it.
    fn is_remade(&self, directory: &[u8], deep: bool) -> bool {
        let Some(directory) = self.absolute(directory) else {
            return false;
        };
        let paths = &self.answer.paths;
        if paths.len() > MAX_COMPARED {
            return true;
        }
        paths.iter().any(|used| {
            // What is written stays where it was, and what is removed adds nothing.
            let made = used.depth != Depth::Entry
                && !matches!(used.reason.as_str(), "removed" | "moved away");
            if !made || used.certainty == Certainty::Possible {
                return false;
            }
            let within = if deep {
                self.style.starts_with(&used.path, &directory)
            } else {
                let parent = self.style.parent(&used.path);
                parent.is_some_and(|parent| self.style.starts_with(&directory, &parent))
                    && self.style.starts_with(&used.path, &directory)
            };
            within || self.style.starts_with(&directory, &used.path)
        })
    }

    pub(super) fn get_item(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Path= LiteralPath= Filter= Include= Exclude= Force Stream= Credential= Relative \
             RelativeBasePath=",
            "Path",
        );
        let literal = bound.get("LiteralPath").is_some();
        let path = bound.any(&["Path", "LiteralPath"]).or(call.input.as_ref());
        match path {
            Some(path) if !call.splatted => Value::gather(self.named_items(path, literal)),
            _ => Value::Unknown,
        }
    }

    pub(super) fn get_child_item(&mut self, call: &Call) -> Value {
        let bound = call.bind(
            "Path= LiteralPath= Filter= Include= Exclude= Recurse s Force File af Directory ad d \
             Hidden ah h ReadOnly System Name Depth= Attributes= FollowSymlink",
            "Path Filter",
        );
        if call.splatted || bound.unknown.is_some() || bound.has("FollowSymlink") {
            return Value::Unknown;
        }
        let literal = bound.get("LiteralPath").is_some();
        let dot = Value::text(".");
        let path = bound
            .any(&["Path", "LiteralPath"])
            .or(call.input.as_ref())
            .unwrap_or(&dot);
        let recurse = bound.has("Recurse") || bound.has("s") || bound.get("Depth").is_some();
        // A wildcard in the last part of the path chooses among names, at every depth.
        let (path, pattern) = match path {
            Value::Text(Text { text, whole: true }) if recurse && !literal => {
                self.last_pattern(text)
            }
            other => (other.clone(), None),
        };
        let wild = path
            .string()
            .is_some_and(|text| !literal && wildcard::has_wildcards(&text));
        let filter = Self::filter(&bound, pattern.clone());
        let mut found = Vec::new();
        if let Some(pattern) = pattern {
            // Directories that fit are looked into as well.
            let Some(inside) =
                self.in_matching(&path, &pattern, Self::filter(&bound, None).as_ref())
            else {
                return Value::Unknown;
            };
            found.extend(inside);
        }
        for item in self.named_items(&path, literal) {
            match item {
                Value::Item(item) => {
                    self.beneath(&item, filter.as_ref(), recurse, wild, &mut found);
                }
                _ => return Value::Unknown,
            }
        }
        if bound.has("Name") {
            return self.names_of(&found, recurse || wild);
        }
        Value::gather(found)
    }

    /// `-Name`: names instead of items; below other directories also the way to them.
    fn names_of(&self, found: &[Value], deep: bool) -> Value {
        let name = |value: &Value| match value {
            Value::Item(Item {
                path,
                extent: Extent::Exact,
            }) => self.style.name(path).map(Value::text),
            _ => None,
        };
        let names: Option<Vec<Value>> = found.iter().map(name).collect();
        match names {
            Some(names) if !deep => Value::gather(names),
            _ => Value::Unknown,
        }
    }

    /// What is in directories whose name fits the pattern of `Get-ChildItem x\a* -Recurse`.
    fn in_matching(
        &self,
        path: &Value,
        pattern: &[u8],
        filter: Option<&Filter>,
    ) -> Option<Vec<Value>> {
        let directories = Filter {
            include: vec![vec![pattern.to_vec()]],
            exclude: Vec::new(),
            files: false,
            directories: true,
        };
        let mut found = Vec::new();
        for top in self.named_items(path, false) {
            let Value::Item(Item {
                path: top,
                extent: Extent::Exact,
            }) = top
            else {
                continue;
            };
            if self.is_remade(&top, true) {
                continue;
            }
            for directory in self.search(&top, &directories, true)? {
                if self.kind(&directory) == Kind::File {
                    continue;
                }
                let item = Item {
                    path: directory,
                    extent: Extent::Exact,
                };
                self.beneath(&item, filter, true, false, &mut found);
            }
        }
        Some(found)
    }

    /// `x\*.log` as `x` and the pattern.
    fn last_pattern(&self, text: &[u8]) -> (Value, Option<Vec<u8>>) {
        let text = self.separators(text);
        let end = text.iter().rposition(|b| self.style.is_separator(*b));
        let (directory, last) = match end {
            Some(end) => (&text[..=end], &text[end + 1..]),
            None => (b".".as_slice(), text.as_slice()),
        };
        if wildcard::has_wildcards(last) {
            (Value::text(directory), Some(last.to_vec()))
        } else {
            (Value::text(text), None)
        }
    }

    /// `None` where a pattern is not known.
    fn filter(bound: &Bound, pattern: Option<Vec<u8>>) -> Option<Filter> {
        let texts = |name: &str| -> Option<Vec<Vec<u8>>> {
            match bound.get(name) {
                None => Some(Vec::new()),
                Some(value) => value.clone().elements().iter().map(Value::string).collect(),
            }
        };
        let mut include: Vec<Vec<Vec<u8>>> = Vec::new();
        include.extend(pattern.map(|p| vec![p]));
        if let Some(filter) = texts("Filter")?.first() {
            // Windows compares short names, too: `*.htm` finds `a.html`.
            let short = filter.len() > 4 && filter[filter.len() - 4] == b'.';
            let longer = [filter.as_slice(), b"*"].concat();
            let mut group = vec![filter.clone()];
            group.extend(short.then_some(longer));
            include.push(group);
        }
        let included = texts("Include")?;
        if !included.is_empty() {
            include.push(included);
        }
        Some(Filter {
            include,
            exclude: texts("Exclude")?,
            files: bound.has("File") || bound.has("af"),
            directories: bound.has("Directory") || bound.has("ad") || bound.has("d"),
        })
    }

    /// The entries beneath an item that the filter takes; all where there is none. `wild`: the
    /// item itself was found by a pattern.
    fn beneath(
        &self,
        item: &Item,
        filter: Option<&Filter>,
        recurse: bool,
        wild: bool,
        found: &mut Vec<Value>,
    ) {
        let extent = if recurse {
            Extent::Tree
        } else {
            Extent::Children
        };
        let whole = |extent| {
            Value::Item(Item {
                path: item.path.clone(),
                extent,
            })
        };
        if item.extent != Extent::Exact {
            found.push(whole(Extent::Tree));
            return;
        }
        let kind = self.kind(&item.path);
        if matches!(kind, Kind::File | Kind::Other) {
            let name = self.style.name(&item.path).unwrap_or_default();
            if filter.is_none_or(|filter| filter.takes(name, kind)) {
                found.push(Value::Item(item.clone()));
            }
            return;
        }
        // `Get-ChildItem a*` gives the directory itself where the pattern finds but one.
        if wild {
            found.push(Value::Item(item.clone()));
        }
        let listed = match filter {
            _ if self.is_remade(&item.path, recurse) => None,
            Some(filter) if !recurse || filter.narrows() => {
                self.search(&item.path, filter, recurse)
            }
            _ => None,
        };
        match listed {
            Some(items) if items.len() + found.len() <= MAX_ITEMS => {
                found.extend(items.into_iter().map(Value::exact));
            }
            _ => found.push(whole(extent)),
        }
    }

    fn search(&self, top: &[u8], filter: &Filter, recurse: bool) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut ahead = vec![top.to_vec()];
        let mut looked = 0;
        while let Some(directory) = ahead.pop() {
            looked += 1;
            if looked > MAX_DIRECTORIES || found.len() > MAX_ITEMS {
                return None;
            }
            for (name, kind) in self.view.list(&directory)? {
                let path = self.style.join(&directory, &name)?;
                if filter.takes(&name, kind) {
                    found.push(path.clone());
                }
                if recurse && matches!(kind, Kind::Directory | Kind::Unknown) {
                    ahead.push(path);
                }
            }
        }
        Some(found)
    }
}
