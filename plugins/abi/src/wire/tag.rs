//! The tags of all records, by the value in which they stand.

/// In a request: the shell's name, UTF-8.
pub const REQUEST_SHELL: u16 = 1;
/// In a request: the command line.
pub const REQUEST_COMMAND: u16 = 2;
/// In a request: the working directory, a path.
pub const REQUEST_CWD: u16 = 3;
/// In a request: the home directory, a path; may be missing.
pub const REQUEST_HOME: u16 = 4;
/// In a request: a variable (composite, a list).
pub const REQUEST_VARIABLE: u16 = 5;
/// In a request: the state of the session (composite); may be missing.
pub const REQUEST_SESSION: u16 = 6;

/// In a variable: its name, UTF-8.
pub const VARIABLE_NAME: u16 = 1;
/// In a variable: its value.
pub const VARIABLE_VALUE: u16 = 2;

/// In a session state: the name of a variable that was changed, UTF-8 (a list).
pub const SESSION_ASSIGNED: u16 = 1;
/// In a session state: a name that means something else now, UTF-8 (a list).
pub const SESSION_REDEFINED: u16 = 2;
/// In a session state: whether options changed, one byte 0 or 1; may be missing.
pub const SESSION_OPTIONS_CHANGED: u16 = 3;
/// In a session state: whether anything may have changed, one byte 0 or 1; may be missing.
pub const SESSION_UNKNOWN: u16 = 4;

/// In an inference: a path that is touched (composite, a list).
pub const INFERENCE_PATH: u16 = 1;
/// In an inference: the working directory afterwards, a path; may be missing.
pub const INFERENCE_CWD_AFTER: u16 = 2;
/// In an inference: a part that was not understood (composite, a list).
pub const INFERENCE_UNCLEAR: u16 = 3;
/// In an inference: what cannot be undone (composite, a list).
pub const INFERENCE_EFFECT: u16 = 4;
/// In an inference: whether the line is destructive, one byte 0 or 1; may be missing.
pub const INFERENCE_DESTRUCTIVE: u16 = 5;
/// In an inference: what the line does to the session (composite); may be missing.
pub const INFERENCE_SESSION: u16 = 6;

/// In a touched path: the path.
pub const PATH_PATH: u16 = 1;
/// In a touched path: one byte, 0 entry, 1 children, 2 tree.
pub const PATH_DEPTH: u16 = 2;
/// In a touched path: one byte, 0 possible, 1 likely, 2 certain.
pub const PATH_CERTAINTY: u16 = 3;
/// In a touched path: whether a link is followed, one byte 0 or 1; may be missing.
pub const PATH_FOLLOW: u16 = 4;
/// In a touched path: why, UTF-8; may be missing.
pub const PATH_REASON: u16 = 5;
/// In a touched path: which rule, UTF-8; may be missing.
pub const PATH_RULE: u16 = 6;

/// In an unclear part: its text.
pub const UNCLEAR_TEXT: u16 = 1;
/// In an unclear part: where it runs, a path; may be missing.
pub const UNCLEAR_CWD: u16 = 2;
/// In an unclear part: why, UTF-8; may be missing.
pub const UNCLEAR_REASON: u16 = 3;

/// In an effect: what it is on, UTF-8.
pub const EFFECT_WHAT: u16 = 1;
/// In an effect: why, UTF-8; may be missing.
pub const EFFECT_REASON: u16 = 2;

/// In a rule error: the file, UTF-8.
pub const RULE_SOURCE: u16 = 1;
/// In a rule error: the line, four bytes little-endian.
pub const RULE_LINE: u16 = 2;
/// In a rule error: the column, four bytes little-endian.
pub const RULE_COLUMN: u16 = 3;
/// In a rule error: what is wrong, UTF-8.
pub const RULE_MESSAGE: u16 = 4;
