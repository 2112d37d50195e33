//! The host's filesystem as rule sets see it.

use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

use deployx_plugin_sdk::path::Style;
use deployx_plugin_sdk::{FileView, Kind};

use crate::path::os_string;

/// A directory with more entries is not listed.
const MAX_LISTED: usize = 50_000;

/// The most bytes of a file that are given out.
const MAX_READ: usize = 64 * 1024;

/// The host's filesystem, for looking only.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskView;

impl DiskView {
    /// The syntax of this host's paths.
    pub const STYLE: Style = if cfg!(windows) {
        Style::Windows
    } else {
        Style::Unix
    };

    /// A path of this host; `None` for one that it cannot have.
    fn host_path(path: &[u8]) -> Option<PathBuf> {
        if path.contains(&0) {
            return None;
        }
        let path = PathBuf::from(os_string(path).ok()?);
        path.is_absolute().then_some(path)
    }
}

impl FileView for DiskView {
    fn kind(&self, path: &[u8]) -> Kind {
        let Some(path) = Self::host_path(path) else {
            return Kind::Unknown;
        };
        match path.symlink_metadata() {
            Ok(metadata) => kind_of(metadata.file_type()),
            Err(error) => match error.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Kind::Missing,
                _ => Kind::Unknown,
            },
        }
    }

    fn list(&self, dir: &[u8]) -> Option<Vec<(Vec<u8>, Kind)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(Self::host_path(dir)?).ok()? {
            let entry = entry.ok()?;
            if entries.len() == MAX_LISTED {
                return None;
            }
            let kind = entry.file_type().map_or(Kind::Unknown, kind_of);
            entries.push((entry.file_name().into_encoded_bytes(), kind));
        }
        Some(entries)
    }

    fn read_link(&self, path: &[u8]) -> Option<Vec<u8>> {
        let target = fs::read_link(Self::host_path(path)?).ok()?;
        Some(target.into_os_string().into_encoded_bytes())
    }

    fn read(&self, path: &[u8], max: usize) -> Option<Vec<u8>> {
        let path = Self::host_path(path)?;
        // A pipe or device would block, or change by being read.
        if !path.metadata().ok()?.is_file() {
            return None;
        }
        let mut content = Vec::new();
        fs::File::open(path)
            .ok()?
            .take(max.min(MAX_READ) as u64)
            .read_to_end(&mut content)
            .ok()?;
        Some(content)
    }
}

fn kind_of(kind: fs::FileType) -> Kind {
    if kind.is_symlink() {
        Kind::Link
    } else if kind.is_dir() {
        Kind::Directory
    } else if kind.is_file() {
        Kind::File
    } else {
        Kind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_and_hostile_paths_are_unknown() {
        for path in [r"C:\x", "relative", "a\0b", ""] {
            assert_eq!(DiskView.kind(path.as_bytes()), Kind::Unknown, "{path:?}");
            assert_eq!(DiskView.list(path.as_bytes()), None);
        }
    }

    #[test]
    fn entries_are_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "content").unwrap();
        let at = |name: &str| dir.path().join(name).into_os_string().into_encoded_bytes();
        assert_eq!(DiskView.kind(&at("file")), Kind::File);
        assert_eq!(DiskView.kind(&at("file/x")), Kind::Missing);
        assert_eq!(DiskView.kind(&at("none")), Kind::Missing);
        assert_eq!(DiskView.read(&at("file"), 4).unwrap(), b"cont");
        assert_eq!(
            DiskView.list(&at("")).unwrap(),
            [(b"file".to_vec(), Kind::File)]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let pipe = pipe.into_os_string().into_encoded_bytes();
        assert_eq!(DiskView.kind(&pipe), Kind::Other);
        assert_eq!(DiskView.read(&pipe, 10), None);
    }
}
