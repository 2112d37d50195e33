//! Absolute paths as the store, the rules and the plans see them.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a path is not acceptable as an [`AbsPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path is empty.
    #[error("the path is empty")]
    Empty,
    /// The path does not start at the root.
    #[error("the path is not absolute: {0}")]
    Relative(String),
    /// The path has a `.` or `..` component, or an empty one.
    #[error("the path has a '.', '..' or empty component: {0}")]
    NotNormal(String),
    /// The path has a NUL byte.
    #[error("the path has a NUL byte")]
    Nul,
    /// The bytes are not a path on this system.
    #[error("the bytes are not a path on this system")]
    Encoding,
    /// The path is longer than [`AbsPath::MAX_BYTES`].
    #[error("the path is longer than {} bytes", AbsPath::MAX_BYTES)]
    TooLong,
}

/// An absolute path without `.`, `..`, empty components or NUL bytes.
///
/// Constructing one checks the rules, so stored and received paths are safe to join and to descend
/// by directory descriptors. It says nothing about symbolic links: opening a path always goes
/// through [`crate::sys`], which refuses them.
///
/// Ordering is by component, so a directory comes directly before what is inside it.
///
/// In JSON it is a string, or `{"bytes": "<base64>"}` where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AbsPath(PathBuf);

impl AbsPath {
    /// The longest path accepted, in bytes (a tree 10,000 levels deep still fits).
    pub const MAX_BYTES: usize = 4 * 1024 * 1024;

    /// Checks `path` and takes it as it is; nothing is resolved or normalised.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, PathError> {
        let path = path.into();
        let bytes = path.as_os_str().as_encoded_bytes();
        if bytes.is_empty() {
            return Err(PathError::Empty);
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        if !path.is_absolute() {
            return Err(PathError::Relative(escape(&path)));
        }
        if !is_normal(&path) {
            return Err(PathError::NotNormal(escape(&path)));
        }
        Ok(Self(path))
    }

    /// Makes an absolute, lexically normal path of `path`, taking relative ones from `base`.
    ///
    /// `..` removes the component before it, as a shell's logical `cd` does; resolve symbolic
    /// links first where that matters.
    pub fn normalize(base: &AbsPath, path: &Path) -> Result<Self, PathError> {
        let mut out = PathBuf::new();
        for component in base.0.join(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    out.pop();
                }
                other => out.push(other),
            }
        }
        Self::new(out)
    }

    /// Reads a path back from the bytes of [`to_bytes`](Self::to_bytes). The bytes may be hostile.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        Self::new(PathBuf::from(os_string(bytes)?))
    }

    /// The path's bytes, as stored: the system's own on Unix, WTF-8 on Windows.
    pub fn to_bytes(&self) -> &[u8] {
        self.0.as_os_str().as_encoded_bytes()
    }

    /// The path as the standard library's type.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The directory that holds this entry; `None` for a root.
    pub fn parent(&self) -> Option<AbsPath> {
        split(self).map(|(parent, _)| AbsPath(parent.to_path_buf()))
    }

    /// The entry's own name; `None` for a root.
    pub fn name(&self) -> Option<&OsStr> {
        split(self).map(|(_, name)| name)
    }

    /// The entry `name` inside this directory. `name` must be one normal component.
    pub fn join(&self, name: &OsStr) -> Result<AbsPath, PathError> {
        if name.as_encoded_bytes().contains(&0) {
            return Err(PathError::Nul);
        }
        if !is_normal_name(name) {
            return Err(PathError::NotNormal(escape(Path::new(name))));
        }
        Ok(AbsPath(self.0.join(name)))
    }

    /// Whether this path is `ancestor` or lies beneath it.
    pub fn starts_with(&self, ancestor: &AbsPath) -> bool {
        starts_with(self, ancestor)
    }
}

impl PartialOrd for AbsPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AbsPath {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

// On Unix a checked path is its bytes, and one separator stands between any two names: what the
// standard library finds out component by component can be told from the bytes.

/// Whether an absolute path has neither `.` nor `..` nor empty components.
#[cfg(unix)]
fn is_normal(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut names = bytes.split(|byte| *byte == b'/').skip(1);
    bytes == b"/" || names.all(|name| !matches!(name, b"" | b"." | b".."))
}

#[cfg(not(unix))]
fn is_normal(path: &Path) -> bool {
    let here = |c: &Component<'_>| matches!(c, Component::CurDir);
    let normal: PathBuf = path.components().filter(|c| !here(c)).collect();
    let up = |c: Component<'_>| matches!(c, Component::ParentDir);
    !path.components().any(up) && normal.as_os_str() == path.as_os_str()
}

/// The directory that holds an entry, and the entry's name in it; `None` for a root.
#[cfg(unix)]
fn split(path: &AbsPath) -> Option<(&Path, &OsStr)> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = path.to_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'/')?;
    let name = &bytes[at + 1..];
    let parent = &bytes[..at.max(1)];
    (!name.is_empty()).then(|| {
        (
            Path::new(OsStr::from_bytes(parent)),
            OsStr::from_bytes(name),
        )
    })
}

#[cfg(not(unix))]
fn split(path: &AbsPath) -> Option<(&Path, &OsStr)> {
    path.0.parent().zip(path.0.file_name())
}

/// Whether `name` is one component, and neither `.` nor `..`.
#[cfg(unix)]
fn is_normal_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    !matches!(bytes, b"" | b"." | b"..") && !bytes.contains(&b'/')
}

#[cfg(not(unix))]
fn is_normal_name(name: &OsStr) -> bool {
    matches!(
        Path::new(name).components().collect::<Vec<_>>().as_slice(),
        [Component::Normal(one)] if *one == name
    )
}

#[cfg(unix)]
fn starts_with(path: &AbsPath, ancestor: &AbsPath) -> bool {
    let (path, ancestor) = (path.to_bytes(), ancestor.to_bytes());
    path.strip_prefix(ancestor)
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'/' || ancestor == b"/")
}

#[cfg(not(unix))]
fn starts_with(path: &AbsPath, ancestor: &AbsPath) -> bool {
    path.0.starts_with(&ancestor.0)
}

/// Component by component: the separator comes before every other byte.
#[cfg(unix)]
fn compare(one: &AbsPath, other: &AbsPath) -> Ordering {
    let (one, other) = (one.to_bytes(), other.to_bytes());
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    // Paths that are compared often have much in common.
    let words = one.chunks_exact(8).zip(other.chunks_exact(8));
    let same = 8 * words.take_while(|(a, b)| a == b).count();
    let differs = one[same..].iter().zip(&other[same..]).find(|(a, b)| a != b);
    match differs {
        Some((a, b)) => rank(*a).cmp(&rank(*b)),
        None => one.len().cmp(&other.len()),
    }
}

#[cfg(not(unix))]
fn compare(one: &AbsPath, other: &AbsPath) -> Ordering {
    one.0.cmp(&other.0)
}

impl AsRef<Path> for AbsPath {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

/// Order, equality and hash are those of the path itself.
impl std::borrow::Borrow<Path> for AbsPath {
    fn borrow(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for AbsPath {
    /// Writes the path with control characters and bytes that are not UTF-8 escaped, so that it
    /// can stand in a log or on a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escape(&self.0))
    }
}

impl Serialize for AbsPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(self.to_bytes());
        }
        WirePath::from_bytes(self.to_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AbsPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            WirePath::deserialize(deserializer)?
                .to_bytes()
                .map_err(serde::de::Error::custom)?
        } else {
            Vec::<u8>::deserialize(deserializer)?
        };
        AbsPath::from_bytes(&bytes).map_err(serde::de::Error::custom)
    }
}

/// A name or path as it stands in JSON: a string, or base64 bytes where it is not UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum WirePath {
    /// The ordinary case.
    Text(String),
    /// Bytes that are not UTF-8.
    Bytes {
        /// The bytes in base64.
        bytes: String,
    },
}

impl WirePath {
    /// The JSON form of `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => WirePath::Text(text.to_owned()),
            Err(_) => WirePath::Bytes {
                bytes: BASE64.encode(bytes),
            },
        }
    }

    /// The bytes again; fails where the base64 is malformed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PathError> {
        match self {
            WirePath::Text(text) => Ok(text.clone().into_bytes()),
            WirePath::Bytes { bytes } => BASE64.decode(bytes).map_err(|_| PathError::Encoding),
        }
    }
}

/// Makes an [`std::ffi::OsString`] of stored bytes.
#[cfg(unix)]
pub fn os_string(bytes: &[u8]) -> Result<std::ffi::OsString, PathError> {
    use std::os::unix::ffi::OsStrExt;
    Ok(OsStr::from_bytes(bytes).to_owned())
}

/// Makes an [`std::ffi::OsString`] of stored bytes (Windows: only well-formed UTF-8 so far).
#[cfg(not(unix))]
pub fn os_string(bytes: &[u8]) -> Result<std::ffi::OsString, PathError> {
    std::str::from_utf8(bytes)
        .map(Into::into)
        .map_err(|_| PathError::Encoding)
}

/// The path as text with control characters and invalid bytes escaped (`\n`, `\u{1b}`, `\xff`).
pub fn escape(path: &Path) -> String {
    let mut out = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_paths_that_could_escape() {
        for bad in ["", "relative", "/a/../b", "/a/./b", "/a//b", "/a/", "/a\0b"] {
            assert!(AbsPath::new(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["/", "/a", "/a/b c/\n"] {
            assert!(AbsPath::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn join_takes_only_one_component() {
        let root = AbsPath::new("/r").unwrap();
        for bad in ["", ".", "..", "a/b", "/a", "a/", "a\0"] {
            assert!(root.join(OsStr::new(bad)).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(
            root.join(OsStr::new("a")).unwrap().as_path(),
            Path::new("/r/a")
        );
    }

    #[cfg(unix)]
    #[test]
    fn json_keeps_every_byte() {
        let path = AbsPath::from_bytes(b"/tmp/\xff\n\"x").unwrap();
        let json = serde_json::to_string(&path).unwrap();
        assert!(json.contains("bytes"), "{json}");
        assert_eq!(serde_json::from_str::<AbsPath>(&json).unwrap(), path);
        let packed = postcard::to_stdvec(&path).unwrap();
        assert_eq!(postcard::from_bytes::<AbsPath>(&packed).unwrap(), path);
    }

    #[test]
    fn normalize_resolves_dots_without_touching_the_disk() {
        let base = AbsPath::new("/a/b").unwrap();
        let path = AbsPath::normalize(&base, Path::new("../c/./d")).unwrap();
        assert_eq!(path.as_path(), Path::new("/a/c/d"));
        assert_eq!(
            AbsPath::normalize(&base, Path::new("/../x"))
                .unwrap()
                .as_path(),
            Path::new("/x")
        );
    }

    /// Every path of up to five bytes out of a few that matter.
    fn short_paths() -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        let mut last = all.clone();
        for _ in 0..5 {
            last = last
                .iter()
                .flat_map(|path| b"/.-a\xff".map(|byte| [path.as_slice(), &[byte]].concat()))
                .collect();
            all.extend(last.iter().cloned());
        }
        all
    }

    #[cfg(unix)]
    #[test]
    fn the_same_paths_are_taken_as_by_their_components() {
        for bytes in short_paths() {
            let path = PathBuf::from(os_string(&bytes).unwrap());
            let normal: PathBuf = path.components().collect();
            let up = |c: Component<'_>| matches!(c, Component::ParentDir);
            let wanted = path.is_absolute()
                && !path.components().any(up)
                && normal.as_os_str() == path.as_os_str();
            assert_eq!(AbsPath::new(&*path).is_ok(), wanted, "{path:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn order_and_ancestry_are_those_of_the_components() {
        let all: Vec<AbsPath> = short_paths()
            .iter()
            .filter_map(|bytes| AbsPath::from_bytes(bytes).ok())
            .collect();
        for one in &all {
            for other in &all {
                assert_eq!(one.cmp(other), one.0.cmp(&other.0), "{one} {other}");
                let within = one.0.starts_with(&other.0);
                assert_eq!(one.starts_with(other), within, "{one} {other}");
            }
        }
    }
}
