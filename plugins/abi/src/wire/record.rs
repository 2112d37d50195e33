//! Records: the one shape that everything encoded has.

use super::{DecodeError, MAX_BYTES, MAX_PATH_BYTES, PathFault};

/// Bytes of a record before its content: tag and length.
const HEADER: usize = 6;

/// How much of a bad path an error shows, in bytes.
const SHOWN: usize = 80;

/// Writes records one after another.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Adds a record. Content longer than a record can say (4 GiB) is cut there; a reader refuses
    /// far less.
    pub fn put(&mut self, tag: u16, content: &[u8]) {
        let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&tag.to_le_bytes());
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(&content[..len as usize]);
    }

    /// Adds a record where there is a value.
    pub fn put_some(&mut self, tag: u16, content: Option<&[u8]>) {
        if let Some(content) = content {
            self.put(tag, content);
        }
    }

    /// Adds a yes or no.
    pub fn put_flag(&mut self, tag: u16, flag: bool) {
        self.put(tag, &[u8::from(flag)]);
    }

    /// Adds a composite record, written by `fill`.
    pub fn put_nested(&mut self, tag: u16, fill: impl FnOnce(&mut Writer)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.put(tag, &inner.bytes);
    }

    /// Everything written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads records one after another.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader of a whole encoded value.
    ///
    /// # Errors
    /// The data is too long.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len() });
        }
        Ok(Self { bytes, at: 0 })
    }

    /// The next record, `None` at the end.
    ///
    /// # Errors
    /// The record is cut short.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Record<'a>>, DecodeError> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return Ok(None);
        }
        let cut = DecodeError::CutShort { at: self.at };
        let Some((&[t0, t1, l0, l1, l2, l3], rest)) = rest.split_first_chunk::<HEADER>() else {
            return Err(cut);
        };
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let content = rest.get(..len).ok_or(cut)?;
        self.at += HEADER + len;
        Ok(Some(Record {
            tag: u16::from_le_bytes([t0, t1]),
            content,
        }))
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// What it says.
    pub tag: u16,
    /// Its bytes.
    pub content: &'a [u8],
}

impl<'a> Record<'a> {
    /// A reader of the records within this one.
    pub fn nested(self) -> Reader<'a> {
        Reader {
            bytes: self.content,
            at: 0,
        }
    }

    /// The content as text.
    pub(super) fn text(self, field: &'static str) -> Result<String, DecodeError> {
        std::str::from_utf8(self.content)
            .map(str::to_owned)
            .map_err(|_| DecodeError::NotUtf8 { field })
    }

    /// The content as one byte.
    pub(super) fn byte(self, field: &'static str) -> Result<u8, DecodeError> {
        match self.content {
            [byte] => Ok(*byte),
            other => Err(DecodeError::Length {
                field,
                len: other.len(),
            }),
        }
    }

    /// The content as yes or no.
    pub(super) fn flag(self, field: &'static str) -> Result<bool, DecodeError> {
        match self.byte(field)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::OutOfRange { field, value }),
        }
    }

    /// The content as a number of four bytes.
    pub(super) fn number(self, field: &'static str) -> Result<u32, DecodeError> {
        let bytes = self.content.try_into().map_err(|_| DecodeError::Length {
            field,
            len: self.content.len(),
        })?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// The content as an absolute path.
    pub(super) fn path(self, field: &'static str) -> Result<Vec<u8>, DecodeError> {
        match path_fault(self.content) {
            None => Ok(self.content.to_vec()),
            Some(fault) => Err(DecodeError::Path {
                field,
                fault,
                path: self.content[..self.content.len().min(SHOWN)]
                    .escape_ascii()
                    .to_string(),
            }),
        }
    }
}

/// What is wrong with `path`. It may have the syntax of Unix or Windows: which shell it is for is
/// not known here.
fn path_fault(path: &[u8]) -> Option<PathFault> {
    if path.is_empty() {
        return Some(PathFault::Empty);
    }
    if path.len() > MAX_PATH_BYTES {
        return Some(PathFault::TooLong);
    }
    if path.contains(&0) {
        return Some(PathFault::Nul);
    }
    let separator = |byte: u8| matches!(byte, b'/' | b'\\');
    let windows = match path {
        [b'/', ..] => false,
        [b'\\', b'\\', ..] => true,
        [drive, b':', third, ..] if drive.is_ascii_alphabetic() && separator(*third) => true,
        _ => return Some(PathFault::Relative),
    };
    path.split(|byte| *byte == b'/' || (windows && separator(*byte)))
        .any(|component| matches!(component, b"." | b".."))
        .then_some(PathFault::NotNormal)
}

/// A part that may stand at most once.
pub(super) struct Once<T> {
    field: &'static str,
    value: Option<T>,
}

impl<T> Once<T> {
    pub(super) fn new(field: &'static str) -> Self {
        Self { field, value: None }
    }

    /// Takes the value that `decode` makes of a record, unless there is one.
    pub(super) fn set(
        &mut self,
        decode: impl FnOnce(&'static str) -> Result<T, DecodeError>,
    ) -> Result<(), DecodeError> {
        if self.value.is_some() {
            return Err(DecodeError::Repeated { field: self.field });
        }
        self.value = Some(decode(self.field)?);
        Ok(())
    }

    pub(super) fn needed(self) -> Result<T, DecodeError> {
        self.value.ok_or(DecodeError::Missing { field: self.field })
    }

    pub(super) fn optional(self) -> Option<T> {
        self.value
    }
}

impl<T: Default> Once<T> {
    pub(super) fn or_default(self) -> T {
        self.value.unwrap_or_default()
    }
}

/// Adds `item` to a list of at most `limit`.
pub(super) fn push<T>(
    list: &mut Vec<T>,
    item: T,
    field: &'static str,
    limit: usize,
) -> Result<(), DecodeError> {
    if list.len() >= limit {
        return Err(DecodeError::TooMany { field, limit });
    }
    list.push(item);
    Ok(())
}
