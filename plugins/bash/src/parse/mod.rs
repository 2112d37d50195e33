//! From bytes to [`crate::syntax`]: bounds first, then the grammar.

mod ansi;
pub(crate) mod bound;
mod brace;
mod delimit;
mod lower;
mod word;

pub(crate) use lower::assignment;
pub(crate) use word::{Context, read as read_word};

use crate::dialect::Dialect;
use crate::syntax::Node;
use crate::text::from_bytes;

/// Parses the commands in `text`, which must have been weighed. The error says why it cannot be
/// read.
pub(crate) fn parse(text: &[u8], dialect: Dialect) -> Result<Node, String> {
    let lowering = lower::Lowering {
        braces: dialect.braces(),
    };
    let source = from_bytes(text);
    let trees = rable::parse(&source, true).map_err(|error| format!("syntax error: {error}"))?;
    Ok(lowering.script(&trees))
}
