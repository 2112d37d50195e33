//! A look at what changes outside of a scope while its command runs.

use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::seal::{Outside, Watch};

/// The look, or why there is none.
pub(super) enum Look {
    #[cfg(target_os = "linux")]
    Out(Box<crate::snapshot::journal::outside::Lookout>),
    Not(String),
}

impl Look {
    /// Begins to look for what changes outside of `scope` and `excluded`. Processes of the command
    /// descend from `ancestor`.
    #[cfg(target_os = "linux")]
    pub(super) fn begin(
        scope: &[ScopePath],
        excluded: Vec<AbsPath>,
        ancestor: Option<u32>,
    ) -> Self {
        use crate::snapshot::journal::outside::Lookout;
        use crate::store::SIBLINGS;
        use crate::sys;
        use covered::Covered;
        if !sys::is_root() {
            return Self::Not("only the administrator may watch whole filesystems".into());
        }
        let (Some(ancestor), Ok(mounts)) = (ancestor, sys::mounts()) else {
            return Self::Not("it is not known what is mounted, or what runs".into());
        };
        let scope = Covered::by(scope);
        let within = move |path: &AbsPath| {
            excluded.iter().any(|out| path.starts_with(out))
                || path.as_path().iter().any(|part| part == SIBLINGS)
                || scope.has(path)
        };
        match Lookout::begin(&mounts, ancestor, Box::new(within)) {
            Ok(lookout) => Self::Out(Box::new(lookout)),
            Err(why) => Self::Not(why),
        }
    }

    /// There are no events of whole filesystems here.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn begin(_: &[ScopePath], _: Vec<AbsPath>, _: Option<u32>) -> Self {
        Self::Not("this system has no events of whole filesystems".into())
    }

    /// Ends, and gives what was seen.
    pub(super) fn end(self) -> Outside {
        match self {
            #[cfg(target_os = "linux")]
            Self::Out(lookout) => lookout.end(),
            Self::Not(why) => Outside::of(Watch::NotWatched, why, Vec::new()),
        }
    }
}

/// A scope that is asked often.
#[cfg(target_os = "linux")]
mod covered {
    use std::collections::HashMap;

    use crate::infer::{Depth, ScopePath};
    use crate::path::AbsPath;

    /// See the module.
    pub(super) struct Covered(HashMap<AbsPath, Depth>);

    impl Covered {
        pub(super) fn by(scope: &[ScopePath]) -> Self {
            let depths = scope.iter().map(|one| (one.path.clone(), one.depth));
            Self(depths.collect())
        }

        /// Whether the scope covers what is at `path`.
        pub(super) fn has(&self, path: &AbsPath) -> bool {
            let above = path.as_path().ancestors().enumerate();
            above
                .filter_map(|(up, path)| Some((up, *self.0.get(path)?)))
                .any(|(up, depth)| match depth {
                    Depth::Entry => up == 0,
                    Depth::Children => up <= 1,
                    Depth::Tree => true,
                })
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::covered::Covered;
    use super::*;
    use crate::infer::{Certainty, Depth};

    #[test]
    fn a_path_is_covered_as_deep_as_the_scope_says() {
        let one = |path: &str, depth| ScopePath {
            path: AbsPath::new(path).unwrap(),
            depth,
            reason: String::new(),
            certainty: Certainty::Certain,
            rule: String::new(),
        };
        let scope = Covered::by(&[
            one("/tree", Depth::Tree),
            one("/dir", Depth::Children),
            one("/entry", Depth::Entry),
        ]);
        let has = |path: &str| scope.has(&AbsPath::new(path).unwrap());
        assert!(has("/tree") && has("/tree/a/b"));
        assert!(has("/dir") && has("/dir/a") && !has("/dir/a/b"));
        assert!(has("/entry") && !has("/entry/a"));
        assert!(!has("/") && !has("/treetop"));
    }
}
