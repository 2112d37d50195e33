//! The syntax tree of a PowerShell line.

use std::ops::Range;
use std::rc::Rc;

/// Statements between braces, parentheses or in the whole line.
pub(crate) type Block = Vec<Statement>;

/// A statement and where it stands in the source.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) what: StatementKind,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) enum StatementKind {
    /// Pipelines joined by `&&` and `||`.
    Chain {
        pipelines: Vec<Pipeline>,
        /// `||` joins some of them.
        alternatives: bool,
        background: bool,
    },
    Assign {
        target: Expr,
        operator: Vec<u8>,
        value: Box<Statement>,
    },
    If {
        clauses: Vec<(Statement, Block)>,
        otherwise: Option<Block>,
    },
    Foreach {
        variable: Vec<u8>,
        source: Box<Statement>,
        body: Block,
    },
    /// `for`, `while` and `do`: what stands in the parentheses, and the body.
    Loop {
        head: Vec<Statement>,
        body: Block,
        /// The body runs at least once.
        once: bool,
    },
    Switch {
        subject: Box<Statement>,
        /// The subject is a file; each of its lines is taken.
        file: bool,
        clauses: Vec<Block>,
    },
    Try {
        body: Block,
        catches: Vec<Block>,
        finally: Option<Block>,
    },
    Function {
        name: Vec<u8>,
        body: Rc<ScriptBlock>,
    },
    /// `return`, `throw`, `exit`, `break`, `continue`.
    Flow {
        value: Option<Box<Statement>>,
        leaves: bool,
    },
    /// A block that may run: `trap`, `data`.
    Perhaps(Block),
    /// Something that is read over; why it is not understood.
    Opaque(&'static str),
}

/// A script block: parameters and statements. The blocks `begin`, `process`, `end` follow
/// one another in `body`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScriptBlock {
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) body: Block,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: Vec<u8>,
    pub(crate) default: Option<Expr>,
    /// `[switch]`: it takes no value.
    pub(crate) switch: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Pipeline {
    pub(crate) elements: Vec<PipelineElement>,
}

#[derive(Debug, Clone)]
pub(crate) struct PipelineElement {
    pub(crate) what: ElementKind,
    pub(crate) redirections: Vec<Redirection>,
    pub(crate) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) enum ElementKind {
    Expression(Expr),
    Command(Command),
}

/// `> file`, `2>> file`, `*> file`.
#[derive(Debug, Clone)]
pub(crate) struct Redirection {
    pub(crate) target: Expr,
    pub(crate) append: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub(crate) invocation: Invocation,
    pub(crate) name: Expr,
    pub(crate) arguments: Vec<Argument>,
}

/// How a command is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invocation {
    Plain,
    /// `& name`
    Call,
    /// `. name`: in the scope of the caller.
    Dot,
}

#[derive(Debug, Clone)]
pub(crate) enum Argument {
    /// `-Name`, `-Name:value`.
    Parameter {
        name: Vec<u8>,
        value: Option<Expr>,
    },
    Value(Expr),
    /// What follows `--%`.
    Verbatim(Vec<u8>),
}

#[derive(Debug, Clone)]
pub(crate) enum Expr {
    /// A word of a command without quotes at its beginning.
    Word(Vec<Part>),
    /// A string in quotes.
    Text(Vec<Part>),
    Number(Vec<u8>),
    Variable(Vec<u8>),
    Splat(Vec<u8>),
    /// `( … )`
    Paren(Box<Statement>),
    /// `$( … )`
    Statements(Block),
    /// `@( … )`
    Array(Block),
    Script(Rc<ScriptBlock>),
    Hash(Vec<(Expr, Statement)>),
    Type(Vec<u8>),
    Cast(Vec<u8>, Box<Expr>),
    Unary(Vec<u8>, Box<Expr>),
    Binary(Box<Expr>, Vec<u8>, Box<Expr>),
    Comma(Vec<Expr>),
    /// `? :` and `??`: any of these.
    Either(Box<Expr>, Box<Expr>, Box<Expr>),
    Member {
        object: Box<Expr>,
        name: Box<Expr>,
        fixed: bool,
    },
    Invoke {
        object: Box<Expr>,
        name: Box<Expr>,
        arguments: Vec<Expr>,
        fixed: bool,
    },
    Index(Box<Expr>, Box<Expr>),
    /// `$x++`, `--$x`
    Step {
        operand: Box<Expr>,
        by: i64,
        /// The sign stands before the operand: the new value counts.
        before: bool,
    },
}

/// A piece of a string.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(Vec<u8>),
    Value(Expr),
}
