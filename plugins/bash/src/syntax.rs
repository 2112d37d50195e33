//! A parsed line, as far as its effects matter. Lists are flat, words are split into their parts.

use std::rc::Rc;

/// A command.
#[derive(Debug)]
pub(crate) enum Node {
    /// Nothing.
    Empty,
    /// Assignments, words and redirections.
    Simple(Simple),
    /// Commands one after another.
    Sequence(Vec<Step>),
    /// `a && b || c`: the first, then each with whether it stands after `&&`.
    AndOr(Box<Node>, Vec<(bool, Node)>),
    /// `a | b`
    Pipeline(Vec<Node>),
    /// `if`
    If {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Option<Box<Node>>,
    },
    /// `while`, `until`
    While {
        until: bool,
        condition: Box<Node>,
        body: Box<Node>,
    },
    /// `for x in …`; `select` too. Without words: the positional parameters.
    For {
        variable: String,
        words: Option<Vec<Word>>,
        select: bool,
        body: Box<Node>,
    },
    /// `for ((…;…;…))`
    ForArithmetic {
        init: Vec<u8>,
        condition: Vec<u8>,
        step: Vec<u8>,
        body: Box<Node>,
    },
    /// `case`
    Case { word: Word, arms: Vec<Arm> },
    /// `name() …`
    Function { name: String, body: Rc<Node> },
    /// `(…)`
    Subshell(Box<Node>),
    /// `{ …; }`, `time`
    Group(Box<Node>),
    /// `! …`
    Not(Box<Node>),
    /// `coproc …`
    Coprocess(Box<Node>),
    /// `((…))`
    Arithmetic(Vec<u8>),
    /// `[[ … ]]`: the words in it, which are expanded and have no other effect.
    Test(Vec<Word>),
    /// A compound command with redirections.
    Redirected(Box<Node>, Vec<Redirect>),
    /// What the grammar could not place: its text.
    Unreadable(Vec<u8>),
}

/// A command of a sequence.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) node: Node,
    /// It stands before `&`.
    pub(crate) background: bool,
}

/// A simple command.
#[derive(Debug, Default)]
pub(crate) struct Simple {
    pub(crate) assignments: Vec<Assignment>,
    pub(crate) words: Vec<Word>,
    pub(crate) redirects: Vec<Redirect>,
    /// The command's text without its here-documents.
    pub(crate) text: Vec<u8>,
}

/// `name=value`
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    /// `name[…]=value`
    pub(crate) subscript: Option<Vec<u8>>,
    /// `name+=value`
    pub(crate) append: bool,
    pub(crate) value: AssignedValue,
}

/// What stands behind `=`.
#[derive(Debug)]
pub(crate) enum AssignedValue {
    Word(Word),
    /// `(a b c)`
    Array(Vec<Word>),
    /// An array whose text could not be read.
    Unreadable,
}

/// One arm of `case`.
#[derive(Debug)]
pub(crate) struct Arm {
    pub(crate) patterns: Vec<Word>,
    pub(crate) body: Option<Node>,
    /// It ends with `;&` or `;;&`: the next arms may run too.
    pub(crate) continues: bool,
}

/// A redirection.
#[derive(Debug)]
pub(crate) enum Redirect {
    /// To or from a word.
    File { op: RedirectOp, target: Word },
    /// A here-document or here-string: a text that is expanded.
    Here { content: Word },
    /// Only between descriptors.
    Descriptor,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectOp {
    Read,
    /// Emptied first.
    Write,
    Append,
    ReadWrite,
}

/// A word as its parts; brace expansion is done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Word {
    pub(crate) parts: Vec<Part>,
    /// The text as it stands in the line.
    pub(crate) raw: Vec<u8>,
}

/// A part of a word.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    /// Text; wildcards in it count unless it is quoted.
    Text { text: Vec<u8>, quoted: bool },
    /// `$x`, `${x…}`
    Parameter {
        parameter: Box<Parameter>,
        quoted: bool,
    },
    /// `$(…)` and backticks: the text inside.
    Command { body: Vec<u8>, quoted: bool },
    /// `$((…))`
    Arithmetic { expression: Vec<u8>, quoted: bool },
    /// `<(…)`, `>(…)`
    Process { body: Vec<u8> },
    /// Something that is read but whose value is never known.
    Unknown { quoted: bool },
}

/// A parameter expansion.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) index: Index,
    pub(crate) op: ParameterOp,
}

/// `[…]` behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Index {
    None,
    /// `[@]`
    All,
    /// `[*]`
    Joined,
    At(Vec<u8>),
}

/// What is done with the value.
#[derive(Debug, Clone)]
pub(crate) enum ParameterOp {
    None,
    /// `${#x}`
    Length,
    /// `${x:-w}`, `${x=w}`, `${x?w}`, `${x:+w}`
    Default {
        sign: u8,
        colon: bool,
        word: Word,
    },
    /// `${x#p}`, `${x%%p}`
    Trim {
        suffix: bool,
        longest: bool,
        pattern: Word,
    },
    /// `${x/p/r}`
    Replace {
        mode: ReplaceMode,
        pattern: Word,
        with: Word,
    },
    /// `${x:1:2}`
    Slice {
        offset: Vec<u8>,
        length: Option<Vec<u8>>,
    },
    /// `${x^^}`, `${x,}`
    Case {
        upper: bool,
        all: bool,
    },
    /// Anything else: the value is not known. Words inside are expanded for their effects.
    Other(Word),
}

/// Which occurrences are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplaceMode {
    First,
    All,
    Prefix,
    Suffix,
}
