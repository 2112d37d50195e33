//! What can be wrong with encoded data.

use std::fmt;

/// Why bytes are not an encoded value. `field` names the value and its part, as `path.depth`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The data is longer than [`MAX_BYTES`](super::MAX_BYTES).
    TooLong {
        /// How long, in bytes.
        len: usize,
    },
    /// A record ends after the value that holds it.
    CutShort {
        /// Where the record begins, in bytes from the start of the value that holds it.
        at: usize,
    },
    /// A part that must be there is not.
    Missing {
        /// The part.
        field: &'static str,
    },
    /// A part that may stand once stands twice.
    Repeated {
        /// The part.
        field: &'static str,
    },
    /// A part's length is not the one it must have.
    Length {
        /// The part.
        field: &'static str,
        /// How long it is, in bytes.
        len: usize,
    },
    /// A number is none of those that mean something.
    OutOfRange {
        /// The part.
        field: &'static str,
        /// The number.
        value: u8,
    },
    /// Text is not UTF-8.
    NotUtf8 {
        /// The part.
        field: &'static str,
    },
    /// A path is not acceptable.
    Path {
        /// The part.
        field: &'static str,
        /// What is wrong with it.
        fault: PathFault,
        /// Its beginning, escaped.
        path: String,
    },
    /// A list has too many items.
    TooMany {
        /// The list.
        field: &'static str,
        /// How many it may have.
        limit: usize,
    },
}

/// What is wrong with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// It has no bytes.
    Empty,
    /// It does not begin at a root.
    Relative,
    /// It has a `.` or `..` component.
    NotNormal,
    /// It has a NUL byte.
    Nul,
    /// It is longer than [`MAX_PATH_BYTES`](super::MAX_PATH_BYTES).
    TooLong,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty",
            Self::Relative => "is not absolute",
            Self::NotNormal => "has a '.' or '..' component",
            Self::Nul => "has a NUL byte",
            Self::TooLong => "is too long",
        })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len } => write!(
                f,
                "{len} bytes are more than the {} allowed",
                super::MAX_BYTES
            ),
            Self::CutShort { at } => write!(f, "the record at byte {at} is cut short"),
            Self::Missing { field } => write!(f, "{field} is missing"),
            Self::Repeated { field } => write!(f, "{field} stands twice"),
            Self::Length { field, len } => write!(f, "{field} has a length of {len} bytes"),
            Self::OutOfRange { field, value } => {
                write!(f, "{field} is out of range: {value}")
            }
            Self::NotUtf8 { field } => write!(f, "{field} is not UTF-8"),
            Self::Path { field, fault, path } => write!(f, "{field} {fault}: \"{path}\""),
            Self::TooMany { field, limit } => {
                write!(f, "{field} stands more than {limit} times")
            }
        }
    }
}

impl std::error::Error for DecodeError {}
