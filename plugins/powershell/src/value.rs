//! What is known of a value.

use std::rc::Rc;

use deployx_plugin_sdk::table::{Arg, Known};

use crate::syntax::ast::ScriptBlock;

/// How many values a list may have before it is given up.
pub(crate) const MAX_LIST: usize = 256;
/// How long a known string may become.
pub(crate) const MAX_TEXT: usize = 32 << 10;
/// How many values a nested list may hold altogether.
const MAX_SIZE: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub(crate) enum Value {
    /// Anything at all.
    #[default]
    Unknown,
    /// Text, a number, a date, a list of processes: something whose methods change nothing. Its
    /// content is not known.
    Harmless,
    Null,
    Bool(bool),
    Int(i64),
    Text(Text),
    Item(Item),
    List(Vec<Value>),
    /// Any of these, in whatever order: what a filter or `Sort-Object` lets through.
    Choice(Vec<Value>),
    Block(Rc<ScriptBlock>),
    /// Keys in lower case.
    Hash(Vec<(Vec<u8>, Value)>),
    /// An object of a .NET type; the name in lower case, without `system.`.
    Object(Vec<u8>),
}

/// A string, or what of its beginning is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: Vec<u8>,
    pub(crate) whole: bool,
}

/// An entry of the filesystem, or any entries at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Absolute.
    pub(crate) path: Vec<u8>,
    pub(crate) extent: Extent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// It is the entry at the path.
    Exact,
    /// It is any of the entries in the directory.
    Children,
    /// It is anything beneath.
    Tree,
}

impl Value {
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(Text {
            text: text.into(),
            whole: true,
        })
    }

    pub(crate) fn beginning(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(Text {
            text: text.into(),
            whole: false,
        })
    }

    pub(crate) fn exact(path: Vec<u8>) -> Self {
        Self::Item(Item {
            path,
            extent: Extent::Exact,
        })
    }

    /// Several values as one: nothing, the one, or a list.
    pub(crate) fn gather(mut values: Vec<Self>) -> Self {
        match values.len() {
            0 => Self::Null,
            1 => values.swap_remove(0),
            n if n > MAX_LIST => Self::Unknown,
            _ => Self::List(values).bounded(),
        }
    }

    /// Nothing where the value has become too large to be kept.
    pub(crate) fn bounded(self) -> Self {
        if self.size() > MAX_SIZE {
            return Self::Unknown;
        }
        self
    }

    fn size(&self) -> usize {
        match self {
            Self::List(values) | Self::Choice(values) => {
                1 + values.iter().map(Self::size).sum::<usize>()
            }
            Self::Hash(entries) => 1 + entries.iter().map(|(_, v)| v.size()).sum::<usize>(),
            _ => 1,
        }
    }

    /// The values that a pipeline passes on one by one.
    pub(crate) fn elements(self) -> Vec<Self> {
        match self {
            Self::Null => Vec::new(),
            Self::List(values) | Self::Choice(values) => {
                values.into_iter().flat_map(Self::elements).collect()
            }
            other => vec![other],
        }
    }

    /// Any of the values that `self` holds.
    pub(crate) fn any(self) -> Self {
        let mut values = self.elements();
        match values.len() {
            0 => Self::Null,
            1 => values.swap_remove(0),
            _ => Self::Choice(values).bounded(),
        }
    }

    /// Any of the values that `self` holds, or nothing.
    pub(crate) fn some(self) -> Self {
        match self.any() {
            Self::Null => Self::Null,
            value if value.string().is_some() => Self::Choice(vec![value]),
            value => value,
        }
    }

    /// The value as a known string.
    pub(crate) fn string(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) if text.whole => Some(text.text.clone()),
            Self::Item(Item {
                path,
                extent: Extent::Exact,
            }) => Some(path.clone()),
            Self::Int(number) => Some(number.to_string().into_bytes()),
            Self::Bool(true) => Some(b"True".to_vec()),
            Self::Bool(false) => Some(b"False".to_vec()),
            Self::Null => Some(Vec::new()),
            Self::List(values) => {
                let all = values
                    .iter()
                    .map(Self::string)
                    .collect::<Option<Vec<_>>>()?;
                Some(all.join(&b' '))
            }
            _ => None,
        }
    }

    /// Whether the value may be something other than text and numbers.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Self::Harmless | Self::Null | Self::Bool(_) | Self::Int(_) | Self::Text(_) => true,
            Self::List(values) | Self::Choice(values) => values.iter().all(Self::is_harmless),
            Self::Hash(entries) => entries.iter().all(|(_, value)| value.is_harmless()),
            _ => false,
        }
    }

    /// The directory that all of the items are in.
    fn common_place(values: &[Self]) -> Option<Self> {
        let mut place: Option<&[u8]> = None;
        for value in values {
            let Self::Item(item) = value else {
                return None;
            };
            let end = item.path.iter().rposition(|b| matches!(b, b'/' | b'\\'))?;
            let directory = &item.path[..end.max(1)];
            if item.extent != Extent::Exact || place.is_some_and(|place| place != directory) {
                return None;
            }
            place = Some(directory);
        }
        place
            .filter(|place| place.last() != Some(&b':'))
            .map(|path| {
                Self::Item(Item {
                    path: path.to_vec(),
                    extent: Extent::Children,
                })
            })
    }

    /// `self` followed by `other` as text.
    pub(crate) fn then(self, other: &Self) -> Self {
        let separator = |text: &[u8]| text.iter().any(|b| matches!(b, b'/' | b'\\'));
        let Some(left) = self.string() else {
            return match self {
                // A name that is made longer stays in its directory.
                Self::Item(item) if other.string().is_some_and(|text| !separator(&text)) => {
                    Self::Item(item)
                }
                Self::Item(item) => Self::beginning(item.path),
                Self::Text(text) => Self::beginning(text.text),
                Self::Choice(values) => Self::common_place(&values)
                    .map_or_else(|| Self::beginning(""), |place| place.then(other)),
                _ => Self::beginning(""),
            };
        };
        match (other.string(), other) {
            (Some(right), _) if left.len() + right.len() > MAX_TEXT => Self::beginning(left),
            (Some(right), _) => Self::text([left, right].concat()),
            (None, Self::Item(item)) if left.is_empty() => Self::Item(item.clone()),
            (None, Self::Choice(values)) if left.is_empty() => {
                Self::common_place(values).unwrap_or_else(|| Self::beginning(""))
            }
            (None, Self::Item(Item { path: right, .. }) | Self::Text(Text { text: right, .. })) => {
                Self::beginning([left.as_slice(), right].concat())
            }
            _ => Self::beginning(left),
        }
    }

    /// The value as arguments of a command. `separator` is that of paths.
    pub(crate) fn arguments(&self, separator: u8) -> Vec<Arg> {
        match self {
            Self::List(values) | Self::Choice(values) => {
                values.iter().flat_map(|v| v.arguments(separator)).collect()
            }
            Self::Item(Item { path, extent }) => {
                let mut text = path.clone();
                let (wildcards, known) = match extent {
                    Extent::Exact => (0, Known::Whole),
                    Extent::Children => (1, Known::Pattern),
                    Extent::Tree => (2, Known::Pattern),
                };
                for _ in 0..wildcards {
                    if !text.ends_with(&[separator]) {
                        text.push(separator);
                    }
                    text.push(b'*');
                }
                vec![Arg { text, known }]
            }
            Self::Text(Text { text, whole: false }) => vec![Arg {
                text: text.clone(),
                known: Known::Beginning,
            }],
            Self::Block(_) | Self::Hash(_) => vec![Arg::whole("")],
            other => vec![match other.string() {
                Some(text) => Arg::whole(text),
                None => Arg {
                    text: Vec::new(),
                    known: Known::Beginning,
                },
            }],
        }
    }

    /// The same value, as far as that can be told.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unknown, Self::Unknown)
            | (Self::Harmless, Self::Harmless)
            | (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Item(a), Self::Item(b)) => a == b,
            (Self::Object(a), Self::Object(b)) => a == b,
            (Self::Block(a), Self::Block(b)) => Rc::ptr_eq(a, b),
            (Self::List(a), Self::List(b)) | (Self::Choice(a), Self::Choice(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Self::Hash(a), Self::Hash(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && a.same(b))
            }
            _ => false,
        }
    }
}
