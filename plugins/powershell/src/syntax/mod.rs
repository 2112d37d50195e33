//! The grammar of PowerShell: a parser by recursive descent with two ways to read a word, as the
//! shell's own has them: in a command almost everything is text, in an expression operators count.
//!
//! What cannot be read becomes a statement of its own that says so; reading goes on behind
//! it. Depth and number of nodes are bounded, so that no line takes long.

pub(crate) mod ast;
mod command;
mod cursor;
mod expression;
mod keyword;
mod script_block;
mod statement;
mod text;

use ast::Block;
use cursor::Parser;

/// A line that was read.
pub(crate) struct Script {
    pub(crate) body: Block,
}

/// Reads a line.
pub(crate) fn parse(source: &[u8]) -> Script {
    let mut parser = Parser::new(source);
    Script {
        body: parser.script(),
    }
}

#[cfg(test)]
mod tests;
