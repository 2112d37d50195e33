//! What a scope covers once links are resolved and the directories above are added, as securing does.

use std::path::{Path, PathBuf};

use deployx::infer::{Depth, Scope};
use walkdir::WalkDir;

/// Entries outside the tree are counted up to this many for each path of a scope.
const MAX_OUTSIDE: usize = 2_000;

/// Pseudo filesystems, which are never secured, and the one real filesystem that is found in one.
const PSEUDO: [&str; 3] = ["/dev", "/proc", "/sys"];
const SHARED_MEMORY: &str = "/dev/shm";

/// A scope as it would be secured.
pub(crate) struct Cover {
    paths: Vec<(PathBuf, Depth)>,
}

impl Cover {
    /// Has to be made before the line runs: what exists decides how paths are read.
    pub(crate) fn new(scope: &Scope) -> Self {
        let mut paths = Vec::new();
        for listed in &scope.paths {
            let (path, missing) = physical(listed.path.as_path());
            let pseudo = PSEUDO.iter().any(|pseudo| path.starts_with(pseudo));
            if pseudo && !path.starts_with(SHARED_MEMORY) {
                continue;
            }
            let depth = if missing { Depth::Tree } else { listed.depth };
            paths.extend(path.parent().map(|above| (above.to_owned(), Depth::Entry)));
            paths.push((path, depth));
        }
        Self { paths }
    }

    pub(crate) fn covers(&self, path: &Path) -> bool {
        self.paths.iter().any(|(listed, depth)| match depth {
            Depth::Entry => path == listed,
            Depth::Children => path == listed || path.parent() == Some(listed),
            Depth::Tree => path.starts_with(listed),
        })
    }

    /// A path that does not lie in `root`, which is a directory of the test's own.
    pub(crate) fn leads_out(&self, root: &Path) -> Option<PathBuf> {
        let outside = self.paths.iter().find(|(path, _)| !path.starts_with(root));
        outside.map(|(path, _)| path.clone())
    }

    /// How many entries outside `root` are covered besides the directories above it.
    pub(crate) fn outside(&self, root: &Path) -> usize {
        self.paths
            .iter()
            .filter(|(path, _)| !path.starts_with(root))
            .map(|(path, depth)| match depth {
                Depth::Entry => 0,
                Depth::Children => walked(path, 1),
                Depth::Tree => walked(path, usize::MAX),
            })
            .sum()
    }
}

fn walked(path: &Path, depth: usize) -> usize {
    WalkDir::new(path)
        .max_depth(depth)
        .same_file_system(true)
        .into_iter()
        .filter_map(Result::ok)
        .take(MAX_OUTSIDE)
        .count()
}

/// The path with the links in its directory part resolved. Where directories are missing the first
/// missing one stands for it (true).
pub(crate) fn physical(path: &Path) -> (PathBuf, bool) {
    let Some(name) = path.file_name() else {
        return (path.to_owned(), false);
    };
    let mut tail = name.to_owned();
    let mut missing = false;
    for above in path.ancestors().skip(1) {
        if let Ok(found) = above.canonicalize() {
            return (found.join(tail), missing);
        }
        missing = true;
        above.file_name().unwrap_or_default().clone_into(&mut tail);
    }
    (path.to_owned(), missing)
}
