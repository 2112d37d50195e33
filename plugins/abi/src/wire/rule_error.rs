//! Why a table of commands was refused.

use super::record::{Once, Reader, Writer};
use super::{DecodeError, tag};
use crate::RuleError;

/// The bytes of a rule error.
pub fn encode_rule_error(error: &RuleError) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let mut writer = Writer::default();
    writer.put(tag::RULE_SOURCE, error.source.as_bytes());
    writer.put(tag::RULE_LINE, &number(error.line));
    writer.put(tag::RULE_COLUMN, &number(error.column));
    writer.put(tag::RULE_MESSAGE, error.message.as_bytes());
    writer.finish()
}

/// The rule error that `bytes` encode.
///
/// # Errors
/// They do not encode one.
pub fn decode_rule_error(bytes: &[u8]) -> Result<RuleError, DecodeError> {
    let mut source = Once::new("rule_error.source");
    let mut line = Once::new("rule_error.line");
    let mut column = Once::new("rule_error.column");
    let mut message = Once::new("rule_error.message");
    let mut reader = Reader::new(bytes)?;
    while let Some(record) = reader.next()? {
        match record.tag {
            tag::RULE_SOURCE => source.set(|field| record.text(field))?,
            tag::RULE_LINE => line.set(|field| record.number(field))?,
            tag::RULE_COLUMN => column.set(|field| record.number(field))?,
            tag::RULE_MESSAGE => message.set(|field| record.text(field))?,
            _ => {}
        }
    }
    Ok(RuleError {
        source: source.needed()?,
        line: line.needed()? as usize,
        column: column.needed()? as usize,
        message: message.needed()?,
    })
}
