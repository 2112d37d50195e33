//! From the parser's tree to [`crate::syntax`].

use std::rc::Rc;

use rable::{ListOperator, Node as Tree, NodeKind};

use super::{brace, word};
use crate::syntax::{
    Arm, AssignedValue, Assignment, Node, Part, Redirect, RedirectOp, Simple, Step, Word,
};
use crate::text::to_bytes;

/// What is expanded while the tree is read.
#[derive(Clone, Copy)]
pub(crate) struct Lowering {
    /// `{a,b}` means several words.
    pub(crate) braces: bool,
}

impl Lowering {
    /// The commands of a whole line.
    pub(crate) fn script(self, trees: &[Tree]) -> Node {
        let mut steps = Vec::new();
        for tree in trees {
            self.steps(tree, &mut steps);
        }
        sequence(steps)
    }

    fn boxed(self, tree: &Tree) -> Box<Node> {
        Box::new(self.node(tree))
    }

    fn node(self, tree: &Tree) -> Node {
        match &tree.kind {
            NodeKind::Empty | NodeKind::Comment { .. } => Node::Empty,
            NodeKind::Command {
                assignments,
                words,
                redirects,
            } => self.simple(assignments, words, redirects),
            NodeKind::List { .. } => self.list(tree),
            NodeKind::Pipeline { commands, .. } => {
                Node::Pipeline(commands.iter().map(|c| self.node(c)).collect())
            }
            NodeKind::Negation { pipeline } => Node::Not(self.boxed(pipeline)),
            NodeKind::Time { pipeline, .. } => Node::Group(self.boxed(pipeline)),
            NodeKind::Function { name, body } => Node::Function {
                name: name.clone(),
                body: Rc::new(self.node(body)),
            },
            NodeKind::Coproc { command, .. } => Node::Coprocess(self.boxed(command)),
            _ => self.compound(tree),
        }
    }

    fn compound(self, tree: &Tree) -> Node {
        let (node, redirects) = match &tree.kind {
            NodeKind::Subshell { body, redirects } => (Node::Subshell(self.boxed(body)), redirects),
            NodeKind::BraceGroup { body, redirects } => (Node::Group(self.boxed(body)), redirects),
            NodeKind::If {
                condition,
                then_body,
                else_body,
                redirects,
            } => (
                Node::If {
                    condition: self.boxed(condition),
                    then: self.boxed(then_body),
                    otherwise: else_body.as_ref().map(|body| self.boxed(body)),
                },
                redirects,
            ),
            NodeKind::While {
                condition,
                body,
                redirects,
            } => (self.repeat(false, condition, body), redirects),
            NodeKind::Until {
                condition,
                body,
                redirects,
            } => (self.repeat(true, condition, body), redirects),
            NodeKind::For {
                var,
                words,
                body,
                redirects,
            } => (self.each(var, words.as_deref(), body, false), redirects),
            NodeKind::Select {
                var,
                words,
                body,
                redirects,
            } => (self.each(var, words.as_deref(), body, true), redirects),
            NodeKind::ForArith {
                init,
                cond,
                incr,
                body,
                redirects,
            } => (
                Node::ForArithmetic {
                    init: to_bytes(init),
                    condition: to_bytes(cond),
                    step: to_bytes(incr),
                    body: self.boxed(body),
                },
                redirects,
            ),
            NodeKind::Case {
                word,
                patterns,
                redirects,
            } => (self.case(word, patterns), redirects),
            NodeKind::ArithmeticCommand {
                redirects,
                raw_content,
                ..
            } => (Node::Arithmetic(to_bytes(raw_content)), redirects),
            NodeKind::ConditionalExpr { body, redirects } => {
                let mut words = Vec::new();
                match terms(body, &mut words) {
                    Some(()) => (Node::Test(words), redirects),
                    None => (Node::Unreadable(b"[[".to_vec()), redirects),
                }
            }
            _ => return Node::Unreadable(Vec::new()),
        };
        match read_redirects(redirects) {
            Some(redirects) if redirects.is_empty() => node,
            Some(redirects) => Node::Redirected(Box::new(node), redirects),
            None => sequence(vec![
                step(node),
                step(Node::Unreadable(redirect_text(redirects))),
            ]),
        }
    }

    fn repeat(self, until: bool, condition: &Tree, body: &Tree) -> Node {
        Node::While {
            until,
            condition: self.boxed(condition),
            body: self.boxed(body),
        }
    }

    fn each(self, variable: &str, words: Option<&[Tree]>, body: &Tree, select: bool) -> Node {
        let mut unreadable = None;
        let words = words.map(|words| {
            let mut list = Vec::new();
            for word in words {
                if self.words(word, &mut list).is_none() {
                    unreadable = Some(raw(word));
                }
            }
            list
        });
        let node = Node::For {
            variable: variable.into(),
            words,
            select,
            body: self.boxed(body),
        };
        match unreadable {
            None => node,
            Some(text) => sequence(vec![step(Node::Unreadable(text)), step(node)]),
        }
    }

    fn case(self, word: &Tree, patterns: &[rable::CasePattern]) -> Node {
        let Some(word) = read_word(word) else {
            return Node::Unreadable(raw(word));
        };
        let mut arms = Vec::new();
        for pattern in patterns {
            let read: Option<Vec<Word>> = pattern.patterns.iter().map(read_word).collect();
            let Some(patterns) = read else {
                return Node::Unreadable(word.raw);
            };
            arms.push(Arm {
                patterns,
                body: pattern.body.as_ref().map(|body| self.node(body)),
                continues: pattern.terminator != ";;" && !pattern.terminator.is_empty(),
            });
        }
        Node::Case { word, arms }
    }

    /// Lists are nested to the left, one level for each operator: read without recursion.
    fn list(self, tree: &Tree) -> Node {
        let NodeKind::List { items } = &tree.kind else {
            return self.node(tree);
        };
        match items.first().and_then(|item| item.operator) {
            Some(ListOperator::And | ListOperator::Or) => self.and_or(tree),
            _ => {
                let mut steps = Vec::new();
                self.steps(tree, &mut steps);
                sequence(steps)
            }
        }
    }

    fn and_or(self, tree: &Tree) -> Node {
        let mut links = Vec::new();
        let mut at = tree;
        while let NodeKind::List { items } = &at.kind
            && let [left, right] = items.as_slice()
            && let Some(operator @ (ListOperator::And | ListOperator::Or)) = left.operator
        {
            let and = operator == ListOperator::And;
            links.push((and, self.node(&right.command)));
            at = &left.command;
        }
        links.reverse();
        Node::AndOr(self.boxed(at), links)
    }

    /// The commands of a sequence.
    fn steps(self, tree: &Tree, steps: &mut Vec<Step>) {
        let mut behind = Vec::new();
        let mut at = tree;
        let mut background = false;
        while let NodeKind::List { items } = &at.kind
            && let Some(left) = items.first()
            && let Some(operator @ (ListOperator::Semi | ListOperator::Background)) = left.operator
        {
            if let Some(right) = items.get(1) {
                behind.push((&right.command, background));
            }
            background = operator == ListOperator::Background;
            at = &left.command;
        }
        behind.push((at, background));
        for (tree, background) in behind.into_iter().rev() {
            // What stands right of an operator may be a sequence itself (`a; b & c`).
            let node = self.node(tree);
            match node {
                Node::Empty => {}
                Node::Sequence(inner) if !background => steps.extend(inner),
                node => steps.push(Step { node, background }),
            }
        }
    }

    fn simple(self, assignments: &[Tree], words: &[Tree], redirects: &[Tree]) -> Node {
        let mut text = Vec::new();
        for part in assignments.iter().chain(words) {
            push_word(&mut text, &raw(part));
        }
        let redirect = redirect_text(redirects);
        if !redirect.is_empty() {
            push_word(&mut text, &redirect);
        }
        let mut simple = Simple::default();
        for tree in assignments {
            match assignment(&raw(tree)) {
                Some(assignment) => simple.assignments.push(assignment),
                None => return Node::Unreadable(text),
            }
        }
        for tree in words {
            if self.words(tree, &mut simple.words).is_none() {
                return Node::Unreadable(text);
            }
        }
        match read_redirects(redirects) {
            Some(redirects) => simple.redirects = redirects,
            None => return Node::Unreadable(text),
        }
        simple.text = text;
        Node::Simple(simple)
    }

    /// Reads a word and adds what brace expansion makes of it.
    fn words(self, tree: &Tree, list: &mut Vec<Word>) -> Option<()> {
        let raw = raw(tree);
        // `a=(b c)` as an argument of `declare` is one word.
        let array = raw.windows(2).any(|pair| pair == b"=(") && assignment(&raw).is_some();
        if !self.braces || array {
            list.push(word::read(&raw, word::Context::Word)?);
            return Some(());
        }
        for raw in brace::expand(&raw)? {
            list.push(word::read(&raw, word::Context::Word)?);
        }
        Some(())
    }
}

fn step(node: Node) -> Step {
    Step {
        node,
        background: false,
    }
}

fn sequence(mut steps: Vec<Step>) -> Node {
    match steps.len() {
        0 => Node::Empty,
        1 if !steps[0].background => steps.remove(0).node,
        _ => Node::Sequence(steps),
    }
}

fn raw(tree: &Tree) -> Vec<u8> {
    match &tree.kind {
        NodeKind::Word { value, .. } | NodeKind::CondTerm { value, .. } => to_bytes(value),
        _ => Vec::new(),
    }
}

fn push_word(text: &mut Vec<u8>, word: &[u8]) {
    if !text.is_empty() {
        text.push(b' ');
    }
    text.extend_from_slice(word);
}

fn redirect_text(redirects: &[Tree]) -> Vec<u8> {
    let mut text = Vec::new();
    for tree in redirects {
        if let NodeKind::Redirect { op, target, .. } = &tree.kind {
            push_word(&mut text, op.as_bytes());
            push_word(&mut text, &raw(target));
        }
    }
    text
}

fn here_document(content: &str, quoted: bool) -> Option<Word> {
    let content = to_bytes(content);
    if !quoted {
        return word::read(&content, word::Context::HereDocument);
    }
    Some(Word {
        parts: vec![Part::Text {
            text: content.clone(),
            quoted: true,
        }],
        raw: content,
    })
}

/// Reads `name=value`, `name[i]=value`, `name+=value`, `name=(a b)`.
pub(crate) fn assignment(raw: &[u8]) -> Option<Assignment> {
    let length = raw
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
        .count();
    if length == 0 || raw[0].is_ascii_digit() {
        return None;
    }
    let name = String::from_utf8_lossy(&raw[..length]).into_owned();
    let mut at = length;
    let mut subscript = None;
    if raw.get(at) == Some(&b'[') {
        let end = super::delimit::bracket(raw, at + 1, 0)?;
        subscript = Some(raw[at + 1..end - 1].to_vec());
        at = end;
    }
    let append = raw.get(at) == Some(&b'+');
    at += usize::from(append);
    if raw.get(at) != Some(&b'=') {
        return None;
    }
    let value = &raw[at + 1..];
    let value = if value.first() == Some(&b'(') {
        array(value).map_or(AssignedValue::Unreadable, AssignedValue::Array)
    } else {
        AssignedValue::Word(word::read(value, word::Context::Value)?)
    };
    Some(Assignment {
        name,
        subscript,
        append,
        value,
    })
}

/// The elements of `(a b c)`.
fn array(value: &[u8]) -> Option<Vec<Word>> {
    let inner = value.strip_prefix(b"(")?.strip_suffix(b")")?;
    let mut words = Vec::new();
    let mut at = 0;
    while at < inner.len() {
        match inner[at] {
            b' ' | b'\t' | b'\n' => at += 1,
            b'#' => {
                let line = inner[at..].iter().position(|b| *b == b'\n');
                at = line.map_or(inner.len(), |length| at + length);
            }
            // `[key]=value`: which element it is does not matter here.
            b'[' => return None,
            _ => {
                let end = super::delimit::word_end(inner, at, 0)?;
                if end == at {
                    return None;
                }
                for raw in brace::expand(&inner[at..end])? {
                    words.push(word::read(&raw, word::Context::Word)?);
                }
                at = end;
            }
        }
    }
    Some(words)
}

fn read_word(tree: &Tree) -> Option<Word> {
    word::read(&raw(tree), word::Context::Word)
}

/// The words of `[[ … ]]`.
fn terms(tree: &Tree, words: &mut Vec<Word>) -> Option<()> {
    match &tree.kind {
        NodeKind::UnaryTest { operand, .. } | NodeKind::CondNot { operand } => {
            terms(operand, words)
        }
        NodeKind::BinaryTest { left, right, .. }
        | NodeKind::CondAnd { left, right }
        | NodeKind::CondOr { left, right } => {
            terms(left, words)?;
            terms(right, words)
        }
        NodeKind::CondParen { inner } => terms(inner, words),
        NodeKind::CondTerm { value, .. } | NodeKind::Word { value, .. } => {
            words.push(word::read(&to_bytes(value), word::Context::Word)?);
            Some(())
        }
        _ => None,
    }
}

fn redirect(op: &str, target: &Tree) -> Option<Vec<Redirect>> {
    let text = raw(target);
    let file = |op| {
        let target = read_word(target)?;
        Some(vec![Redirect::File { op, target }])
    };
    match op {
        "<" => file(RedirectOp::Read),
        ">" | ">|" | "&>" => file(RedirectOp::Write),
        ">>" | "&>>" => file(RedirectOp::Append),
        "<>" => file(RedirectOp::ReadWrite),
        "<<<" => Some(vec![Redirect::Here {
            content: read_word(target)?,
        }]),
        ">&-" | "<&-" | "<&" => Some(vec![Redirect::Descriptor]),
        ">&" if text.iter().all(u8::is_ascii_digit) => Some(vec![Redirect::Descriptor]),
        ">&" => {
            // The parser takes `file-` for `file` and a request to close it.
            let mut dashed = text;
            dashed.push(b'-');
            let mut redirects = file(RedirectOp::Write)?;
            redirects.push(Redirect::File {
                op: RedirectOp::Read,
                target: word::read(&dashed, word::Context::Word)?,
            });
            Some(redirects)
        }
        _ => None,
    }
}

fn read_redirects(trees: &[Tree]) -> Option<Vec<Redirect>> {
    let mut redirects = Vec::new();
    for tree in trees {
        match &tree.kind {
            // Without a delimiter it is a mistake that the parser lets pass.
            NodeKind::HereDoc {
                delimiter,
                quoted: false,
                ..
            } if delimiter.is_empty() => return None,
            NodeKind::HereDoc {
                content, quoted, ..
            } => redirects.push(Redirect::Here {
                content: here_document(content, *quoted)?,
            }),
            NodeKind::Redirect { op, target, .. } => {
                redirects.extend(redirect(op, target)?);
            }
            _ => return None,
        }
    }
    Some(redirects)
}
