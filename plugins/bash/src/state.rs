//! What is known of the shell at a place in the line.
//!
//! A [`World`] is one possibility. Where a line can go on in more than one way (`cd x; …`, branches
//! of `if`), every way has a world of its own, up to [`MAX_WORLDS`]; beyond that they are joined into
//! one in which less is known.

use std::collections::BTreeMap;
use std::rc::Rc;

use deployx_plugin_sdk::Request;

use crate::syntax::Node;

/// How many possibilities are told apart.
const MAX_WORLDS: usize = 4;

/// The longest value of a variable that is kept, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// What is known of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// It has this value.
    Known(Vec<u8>),
    /// It has a value that begins like this.
    Begins(Vec<u8>),
    /// It is not known, but is not empty and has neither `/` nor blanks nor wildcards: a number,
    /// a date.
    Token,
    /// It has none.
    Unset,
    /// Nothing; it may be unset.
    Unknown,
    /// An array of values.
    List(Vec<Self>),
}

impl Value {
    /// A value that is known, unless it is too long to be kept.
    pub(crate) fn known(text: Vec<u8>) -> Self {
        if text.len() > MAX_VALUE {
            return Self::Begins(Vec::new());
        }
        Self::Known(text)
    }

    /// What holds where either may be.
    pub(crate) fn join(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        match (self, other) {
            (Self::Known(a) | Self::Begins(a), Self::Known(b) | Self::Begins(b)) => {
                let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                Self::Begins(a[..same].to_vec())
            }
            (Self::Known(_) | Self::Begins(_) | Self::Token, Self::Token)
            | (Self::Token, Self::Known(_) | Self::Begins(_)) => Self::Begins(Vec::new()),
            _ => Self::Unknown,
        }
    }

    /// As a scalar: an array's is its first element.
    pub(crate) fn scalar(self) -> Self {
        match self {
            Self::List(values) => values.into_iter().next().unwrap_or(Self::Unset),
            other => other,
        }
    }
}

/// A variable that the line has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) value: Value,
    pub(crate) exported: bool,
    /// What is assigned is rewritten (`declare -i`, `-u`).
    pub(crate) rewritten: bool,
}

impl Variable {
    /// A variable of which nothing is known.
    pub(crate) fn unknown() -> Self {
        Self {
            value: Value::Unknown,
            exported: false,
            rewritten: false,
        }
    }
}

/// The working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cwd {
    Known {
        /// As `$PWD` says.
        logical: Vec<u8>,
        /// Without symbolic links.
        physical: Vec<u8>,
    },
    /// Somewhere beneath this directory.
    Beneath(Vec<u8>),
    Unknown,
}

impl Cwd {
    pub(crate) fn physical(&self) -> Option<&[u8]> {
        match self {
            Self::Known { physical, .. } => Some(physical),
            _ => None,
        }
    }

    pub(crate) fn logical(&self) -> Option<&[u8]> {
        match self {
            Self::Known { logical, .. } => Some(logical),
            _ => None,
        }
    }

    fn join(&self, other: &Self) -> Self {
        if self == other {
            return self.clone();
        }
        let place = |cwd: &Self| match cwd {
            Self::Known { physical: path, .. } | Self::Beneath(path) => Some(path.clone()),
            Self::Unknown => None,
        };
        let (Some(a), Some(b)) = (place(self), place(other)) else {
            return Self::Unknown;
        };
        let common: Vec<&[u8]> = a
            .split(|c| *c == b'/')
            .zip(b.split(|c| *c == b'/'))
            .take_while(|(a, b)| a == b)
            .map(|(a, _)| a)
            .collect();
        match common.join(&b'/') {
            root if root.is_empty() => Self::Unknown,
            path => Self::Beneath(path),
        }
    }
}

/// Options that change how words are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Options {
    pub(crate) noglob: bool,
    pub(crate) dotglob: bool,
    pub(crate) nullglob: bool,
    pub(crate) globstar: bool,
    pub(crate) nocaseglob: bool,
    /// Functions are exported (`set -a`).
    pub(crate) exports_all: bool,
    /// `cd` follows links (`set -P`).
    pub(crate) physical: bool,
    /// Something was set that this program does not follow; wildcards stand for anything then.
    pub(crate) other: bool,
}

impl Options {
    /// Whether all that was set is followed.
    pub(crate) fn are_known(self, request: &Request) -> bool {
        !self.other && !request.session.options_changed
    }
}

/// One possibility.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) cwd: Cwd,
    /// `$OLDPWD`, where `cd -` leads; `None` where it is not known.
    pub(crate) previous: Option<Cwd>,
    /// What `pushd` put aside; `None` where it is not known.
    pub(crate) directories: Option<Vec<Cwd>>,
    pub(crate) variables: Rc<BTreeMap<String, Variable>>,
    /// `$1`…; `None` where they are not known.
    pub(crate) positional: Option<Rc<Vec<Value>>>,
    pub(crate) functions: Rc<BTreeMap<String, Rc<Node>>>,
    /// What the variables that the current function has made local were before.
    pub(crate) hidden: Rc<BTreeMap<String, Option<Variable>>>,
    pub(crate) options: Options,
    /// Variables that the line did not set may have any value now.
    pub(crate) anything_assigned: bool,
    /// Aliases, or functions that could not be read.
    pub(crate) redefined: Rc<Vec<String>>,
    /// It comes about only where something fails that is expected to work; dropped where the line
    /// goes on either way.
    pub(crate) improbable: bool,
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let same_functions = self.functions.len() == other.functions.len()
            && self
                .functions
                .iter()
                .zip(other.functions.iter())
                .all(|(a, b)| a.0 == b.0 && Rc::ptr_eq(a.1, b.1));
        self.cwd == other.cwd
            && self.previous == other.previous
            && self.directories == other.directories
            && self.variables == other.variables
            && self.positional == other.positional
            && same_functions
            && self.hidden == other.hidden
            && self.options == other.options
            && self.anything_assigned == other.anything_assigned
            && self.redefined == other.redefined
            && self.improbable == other.improbable
    }
}

impl World {
    /// The world at the beginning of a line.
    pub(crate) fn new(cwd: &[u8]) -> Self {
        Self {
            cwd: Cwd::Known {
                logical: cwd.to_vec(),
                physical: cwd.to_vec(),
            },
            previous: None,
            directories: None,
            variables: Rc::default(),
            positional: None,
            functions: Rc::default(),
            hidden: Rc::default(),
            options: Options::default(),
            anything_assigned: false,
            redefined: Rc::default(),
            improbable: false,
        }
    }

    /// Sets a variable.
    pub(crate) fn assign(&mut self, name: &str, value: Value) {
        let before = self.variables.get(name);
        let unset = value == Value::Unset;
        let rewritten = !unset && before.is_some_and(|v| v.rewritten);
        let variable = Variable {
            value: if rewritten { Value::Unknown } else { value },
            exported: before.is_some_and(|v| v.exported),
            rewritten,
        };
        Rc::make_mut(&mut self.variables).insert(name.into(), variable);
    }

    /// Keeps the value of a variable that becomes local to the current function.
    pub(crate) fn hide(&mut self, name: &str) {
        let before = self.variables.get(name).cloned();
        Rc::make_mut(&mut self.hidden)
            .entry(name.into())
            .or_insert(before);
    }

    /// Ends a function: its local variables are what they were before. `outer` is what the calling
    /// function has hidden.
    pub(crate) fn unhide(&mut self, outer: &Rc<BTreeMap<String, Option<Variable>>>) {
        let hidden = std::mem::replace(&mut self.hidden, Rc::clone(outer));
        for (name, before) in hidden.iter() {
            let variables = Rc::make_mut(&mut self.variables);
            match before {
                Some(variable) => drop(variables.insert(name.clone(), variable.clone())),
                None => drop(variables.remove(name)),
            }
        }
    }

    /// What holds in both.
    fn join(mut self, other: &Self) -> Self {
        self.cwd = self.cwd.join(&other.cwd);
        if self.previous != other.previous {
            self.previous = None;
        }
        if self.directories != other.directories {
            self.directories = None;
        }
        if self.variables != other.variables {
            self.join_variables(&other.variables);
        }
        if self.positional != other.positional {
            self.positional = None;
        }
        self.join_functions(other);
        if self.hidden != other.hidden {
            let unknown = Some(Variable::unknown());
            let names = self.hidden.keys().chain(other.hidden.keys());
            let hidden = names.map(|name| (name.clone(), unknown.clone())).collect();
            self.hidden = Rc::new(hidden);
        }
        if self.options != other.options {
            self.options.other = true;
        }
        self.anything_assigned |= other.anything_assigned;
        self.improbable &= other.improbable;
        self
    }

    fn join_variables(&mut self, others: &BTreeMap<String, Variable>) {
        let unknown = Variable::unknown;
        let variables = Rc::make_mut(&mut self.variables);
        for (name, variable) in variables.iter_mut() {
            *variable = others.get(name).map_or_else(unknown, |other| Variable {
                value: variable.value.join(&other.value),
                exported: variable.exported && other.exported,
                rewritten: variable.rewritten || other.rewritten,
            });
        }
        for name in others.keys() {
            variables.entry(name.clone()).or_insert_with(unknown);
        }
    }

    /// A function that only one of the two has, or that is not the same, is not known.
    fn join_functions(&mut self, other: &Self) {
        let mut differing: Vec<String> = Vec::new();
        for (name, body) in self.functions.iter() {
            if other
                .functions
                .get(name)
                .is_none_or(|b| !Rc::ptr_eq(body, b))
            {
                differing.push(name.clone());
            }
        }
        for name in other.functions.keys() {
            if !self.functions.contains_key(name) {
                differing.push(name.clone());
            }
        }
        for name in other.redefined.iter().chain(&differing) {
            if !self.redefined.contains(name) {
                Rc::make_mut(&mut self.redefined).push(name.clone());
            }
        }
    }
}

/// Possibilities.
pub(crate) type Worlds = Vec<World>;

/// Adds `more` to `worlds`; equal ones are kept once, and too many are joined.
pub(crate) fn merge(worlds: &mut Worlds, more: Worlds) {
    for world in more {
        if !worlds.contains(&world) {
            worlds.push(world);
        }
    }
    if worlds.len() > MAX_WORLDS {
        let joined = join_all(std::mem::take(worlds));
        worlds.extend(joined);
    }
}

/// One world that holds wherever any of `worlds` does.
pub(crate) fn join_all(worlds: Worlds) -> Option<World> {
    let mut worlds = worlds.into_iter();
    let first = worlds.next()?;
    Some(worlds.fold(first, |joined, world| joined.join(&world)))
}

/// What is left after a command, by whether it worked.
#[derive(Debug, Default)]
pub(crate) struct Exit {
    pub(crate) worked: Worlds,
    pub(crate) failed: Worlds,
}

impl Exit {
    /// Either may be, and it makes no difference.
    pub(crate) fn either(worlds: Worlds) -> Self {
        Self {
            failed: worlds.clone(),
            worked: worlds,
        }
    }

    /// Goes on whether it worked or not; what is improbable is dropped beside what is not.
    pub(crate) fn any(self) -> Worlds {
        let mut worlds = self.worked;
        merge(&mut worlds, self.failed);
        if worlds.iter().any(|world| !world.improbable) {
            worlds.retain(|world| !world.improbable);
        }
        worlds
    }

    /// Adds what another way leads to.
    pub(crate) fn add(&mut self, other: Self) {
        merge(&mut self.worked, other.worked);
        merge(&mut self.failed, other.failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_values_keep_their_common_beginning() {
        let known = |text: &str| Value::Known(text.into());
        assert_eq!(known("ab").join(&known("ac")), Value::Begins("a".into()));
        assert_eq!(known("ab").join(&Value::Unset), Value::Unknown);
        assert_eq!(known("ab").join(&known("ab")), known("ab"));
    }

    #[test]
    fn joined_directories_keep_what_is_above_both() {
        let at = |path: &str| World::new(path.as_bytes()).cwd;
        let joined = at("/srv/a/x").join(&at("/srv/b"));
        assert_eq!(joined, Cwd::Beneath("/srv".into()));
        assert_eq!(at("/srv").join(&at("/etc")), Cwd::Unknown);
    }

    #[test]
    fn improbable_worlds_go_where_others_are() {
        let probable = World::new(b"/a");
        let mut improbable = World::new(b"/b");
        improbable.improbable = true;
        let exit = Exit {
            worked: vec![probable.clone()],
            failed: vec![improbable],
        };
        assert_eq!(exit.any(), vec![probable]);
    }
}
