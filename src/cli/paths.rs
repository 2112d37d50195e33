//! Paths as users give them, made into the absolute and physical ones that the engine takes.

use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::path::{AbsPath, escape};

/// An existing directory, absolute and with every symbolic link resolved.
pub(crate) fn directory(base: &Path, path: &Path) -> Result<AbsPath> {
    let joined = base.join(path);
    let physical = std::fs::canonicalize(&joined).context(Stage::Request, || {
        format!("cannot use the directory {}", escape(path))
    })?;
    if !physical.is_dir() {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Request,
            format!("{} is not a directory", escape(path)),
        ));
    }
    absolute(physical)
}

/// The entry that `path` names, which need not exist: symbolic links are resolved in its directory
/// part, as far as that exists, but not in its last component.
pub(crate) fn entry(base: &Path, path: &Path) -> Result<AbsPath> {
    if path.as_os_str().is_empty() {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            Stage::Request,
            "a path is empty",
        ));
    }
    let joined = base.join(path);
    match (joined.parent(), joined.components().next_back()) {
        (Some(parent), Some(Component::Normal(name))) => absolute(resolve(parent)?.join(name)),
        _ => absolute(resolve(&joined)?),
    }
}

/// Every path of `paths` as [`entry`] reads it.
pub(crate) fn entries(base: &Path, paths: &[PathBuf]) -> Result<Vec<AbsPath>> {
    paths.iter().map(|path| entry(base, path)).collect()
}

/// Resolves symbolic links in the part of `path` that exists; the rest is appended lexically.
fn resolve(path: &Path) -> Result<PathBuf> {
    for existing in path.ancestors() {
        if let Ok(mut physical) = std::fs::canonicalize(existing) {
            let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
            for component in rest.components() {
                match component {
                    Component::ParentDir => {
                        physical.pop();
                    }
                    other => physical.push(other),
                }
            }
            return Ok(physical);
        }
    }
    Err(Error::new(
        ErrorKind::InvalidRequest,
        Stage::Request,
        format!("the path {} leads nowhere", escape(path)),
    ))
}

fn absolute(path: PathBuf) -> Result<AbsPath> {
    AbsPath::new(path)
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, Stage::Request, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(dir.path()).unwrap();
        (dir, root)
    }

    #[cfg(unix)]
    #[test]
    fn links_are_resolved_in_the_directory_part_only() {
        let (_dir, root) = root();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        let path = |text: &str| entry(&root, Path::new(text)).unwrap();
        assert_eq!(path("link/new/file").as_path(), root.join("real/new/file"));
        assert_eq!(path("link").as_path(), root.join("link"));
        assert_eq!(path("link/").as_path(), root.join("link"));
        assert_eq!(path("link/..").as_path(), root);
    }

    #[test]
    fn paths_that_do_not_exist_are_taken_from_the_base() {
        let (_dir, root) = root();
        let path = |text: &str| entry(&root, Path::new(text)).unwrap();
        assert_eq!(path("a/b").as_path(), root.join("a/b"));
        assert_eq!(path("./a/../b").as_path(), root.join("b"));
        assert_eq!(path("a/x/../b").as_path(), root.join("a/b"));
        assert_eq!(path(".").as_path(), root);
        assert_eq!(path("/").as_path(), Path::new("/"));
        assert_eq!(
            path("/nonexistent/x").as_path(),
            Path::new("/nonexistent/x")
        );
        assert!(entry(&root, Path::new("")).is_err());
    }

    #[test]
    fn a_directory_must_exist_and_be_one() {
        let (_dir, root) = root();
        std::fs::write(root.join("file"), "").unwrap();
        assert_eq!(directory(&root, Path::new(".")).unwrap().as_path(), root);
        let error = directory(&root, Path::new("gone")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("gone"), "{error}");
        let error = directory(&root, Path::new("file")).unwrap_err();
        assert!(error.to_string().contains("not a directory"), "{error}");
    }
}
