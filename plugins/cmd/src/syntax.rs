//! What a line consists of once it has been read.

use crate::cell::Cell;

/// Commands in a row.
#[derive(Debug, Default)]
pub(crate) struct List(pub(crate) Vec<(Join, Stage)>);

/// How a command is joined to the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Join {
    /// `&`, a new line, or the first command.
    Always,
    /// `&&`
    Success,
    /// `||`
    Failure,
    /// `|`
    Pipe,
}

/// A command with its redirections.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) redirects: Vec<Redirect>,
    pub(crate) command: Command,
}

/// A redirection that writes; others do not matter.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) append: bool,
    /// As it stands in the line, quotes included.
    pub(crate) target: Vec<Cell>,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// Nothing runs: `rem`, a label, redirections alone.
    Nothing,
    Simple(Simple),
    Group(List),
    If(Box<If>),
    For(Box<For>),
}

/// A command with its arguments as they stand in the line, without carets.
#[derive(Debug, Default)]
pub(crate) struct Simple {
    pub(crate) name: Vec<Cell>,
    /// Everything behind the name, without redirections.
    pub(crate) tail: Vec<Cell>,
    /// A value that is not known stands outside quotes, where it may bring operators with it.
    pub(crate) open: bool,
}

/// `if`; of the conditions only `exist` is kept, since the view may answer it.
#[derive(Debug)]
pub(crate) struct If {
    /// The condition has a value outside quotes that is not known.
    pub(crate) open: bool,
    /// The path of `exist`, where the condition is no more than that.
    pub(crate) exist: Option<Vec<Cell>>,
    pub(crate) then: List,
    pub(crate) otherwise: Option<List>,
}

/// `for`
#[derive(Debug)]
pub(crate) struct For {
    pub(crate) form: Form,
    /// The variable's letter.
    pub(crate) variable: u8,
    /// The set has a value outside quotes that is not known.
    pub(crate) open: bool,
    /// What stands between the parentheses.
    pub(crate) set: Vec<Cell>,
    pub(crate) body: List,
}

#[derive(Debug)]
pub(crate) enum Form {
    Items,
    /// `/d`
    Directories,
    /// `/r`, also with `/d`, and the directory to start from.
    Recursive {
        directories: bool,
        root: Vec<Cell>,
    },
    /// `/l`
    Numbers,
    /// `/f` and its options.
    Lines {
        options: Vec<Cell>,
    },
}
