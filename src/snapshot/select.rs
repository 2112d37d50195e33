//! Which strategy secures which part of a scope.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Registry, SnapshotStrategy};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::infer::ScopePath;
use crate::path::{AbsPath, escape};
use crate::store::StrategyUse;

/// The name that lets the engine choose.
pub const AUTO: &str = "auto";

/// What stands in place of a strategy where none is needed.
pub const NONE: &str = "none";

/// What holds a path. Paths of one volume are secured by one strategy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// What entries report as their device: a mounted filesystem may have several (subvolumes).
    pub device: Option<u64>,
    /// Nothing on it can change.
    pub read_only: bool,
}

/// The part of a scope on one volume and the strategy that secures it.
pub struct Assignment {
    /// The mount point of the volume.
    pub volume: PathBuf,
    /// The strategy.
    pub strategy: Arc<dyn SnapshotStrategy>,
    /// The paths.
    pub scope: Vec<ScopePath>,
}

/// A whole scope, shared out.
#[derive(Default)]
pub struct Selected {
    /// What is secured of each volume.
    pub assignments: Vec<Assignment>,
    /// Every volume with the strategy used and the reason; [`NONE`] on those for reading only.
    pub uses: Vec<StrategyUse>,
    /// Where a strategy that the caller named was not used, and why.
    pub notes: Vec<String>,
}

/// A strategy for one volume.
pub struct Choice {
    /// The strategy.
    pub strategy: Arc<dyn SnapshotStrategy>,
    /// Why it works.
    pub reason: String,
    /// Those that were preferred, each with the reason why it does not.
    pub refused: Vec<(String, String)>,
}

impl Choice {
    /// The reason with what was tried before.
    fn whole_reason(&self) -> String {
        if self.refused.is_empty() {
            return self.reason.clone();
        }
        format!("{}; {}", self.reason, listed(&self.refused))
    }
}

/// Chooses a strategy for every volume of `scope`.
///
/// `wanted` are names in order of preference; each is tried on each volume, `auto` stands for every
/// registered strategy in the registry's order. Empty means `auto`. Volumes for reading only need
/// none. `volume` gives what holds a path.
///
/// # Errors
/// [`ErrorKind::NotFound`] for a name that no strategy has, [`ErrorKind::Unsupported`] when none of
/// those wanted works on one of the volumes.
pub fn assign(
    registry: &Registry,
    wanted: &[String],
    scope: &[ScopePath],
    volume: impl Fn(&AbsPath) -> Volume,
) -> Result<Selected> {
    check_names(registry, wanted)?;
    let mut selected = Selected::default();
    let mut known: Vec<(Volume, Option<usize>)> = Vec::new();
    for path in scope {
        let on = volume(&path.path);
        // Each volume by itself: what is kept of it may have to lie on it.
        let at = match known.iter().find(|(volume, _)| *volume == on) {
            Some((_, at)) => *at,
            None => {
                let at = selected.choose_for(registry, wanted, &path.path, &on)?;
                known.push((on, at));
                at
            }
        };
        if let Some(at) = at {
            selected.assignments[at].scope.push(path.clone());
        }
    }
    selected.add_spanning(registry, wanted);
    Ok(selected)
}

impl Selected {
    /// Where no path of the scope needs a strategy, one that needs no scope is used all the same.
    fn add_spanning(&mut self, registry: &Registry, wanted: &[String]) {
        let Some(first) = wanted.first().filter(|_| self.assignments.is_empty()) else {
            return;
        };
        let root = AbsPath::new(if cfg!(windows) { "C:\\" } else { "/" });
        let (Ok(strategy), Ok(root)) = (registry.get(first), root) else {
            return;
        };
        if !strategy.spans_volumes() {
            return;
        }
        match strategy.probe(&root) {
            Ok(reason) => {
                self.uses.push(StrategyUse {
                    volume: root.clone(),
                    strategy: strategy.name().to_owned(),
                    version: strategy.version(),
                    reason,
                });
                self.assignments.push(Assignment {
                    volume: root.as_path().to_path_buf(),
                    strategy: Arc::clone(strategy),
                    scope: Vec::new(),
                });
            }
            Err(why) => self
                .notes
                .push(format!("strategy {first} is not used: {why}")),
        }
    }

    /// Chooses for a volume that `path` is the first known path of. Gives the new assignment.
    fn choose_for(
        &mut self,
        registry: &Registry,
        wanted: &[String],
        path: &AbsPath,
        on: &Volume,
    ) -> Result<Option<usize>> {
        let volume = AbsPath::new(&on.mount_point).unwrap_or_else(|_| path.clone());
        if on.read_only {
            self.uses.push(StrategyUse {
                volume,
                strategy: NONE.into(),
                version: 0,
                reason: "mounted for reading only, nothing there can change".into(),
            });
            return Ok(None);
        }
        let choice = choose(registry, wanted, path).map_err(|refused| {
            Error::new(
                ErrorKind::Unsupported,
                Stage::Capture,
                format!(
                    "no strategy works on the volume {} for {path}: {}",
                    escape(&on.mount_point),
                    listed(&refused)
                ),
            )
        })?;
        let named = |name: &String| wanted.contains(name);
        let missed: Vec<_> = choice
            .refused
            .iter()
            .filter(|(n, _)| named(n))
            .cloned()
            .collect();
        if !missed.is_empty() {
            let name = choice.strategy.name();
            let why = listed(&missed);
            self.notes
                .push(format!("{volume}: fell back to strategy {name}: {why}"));
        }
        self.uses.push(StrategyUse {
            volume,
            strategy: choice.strategy.name().to_owned(),
            version: choice.strategy.version(),
            reason: choice.whole_reason(),
        });
        let spanning = choice
            .strategy
            .spans_volumes()
            .then(|| choice.strategy.name());
        let same = |one: &Assignment| Some(one.strategy.name()) == spanning;
        if let Some(at) = self.assignments.iter().position(same) {
            return Ok(Some(at));
        }
        self.assignments.push(Assignment {
            volume: on.mount_point.clone(),
            strategy: choice.strategy,
            scope: Vec::new(),
        });
        Ok(Some(self.assignments.len() - 1))
    }
}

/// Refuses a name that no strategy has, even where another would be used.
fn check_names(registry: &Registry, wanted: &[String]) -> Result<()> {
    let mut names = wanted.iter().filter(|name| *name != AUTO);
    names.try_for_each(|name| registry.get(name).map(drop))
}

/// The first strategy that works at `path`; else why each does not. Names that no strategy has are
/// passed over.
pub fn choose(
    registry: &Registry,
    wanted: &[String],
    path: &AbsPath,
) -> Result<Choice, Vec<(String, String)>> {
    let auto = [AUTO.to_owned()];
    let wanted = if wanted.is_empty() { &auto } else { wanted };
    let mut refused: Vec<(String, String)> = Vec::new();
    for name in wanted {
        for strategy in registry.all() {
            let automatic = name == AUTO && registry.is_automatic(strategy.name());
            let meant = automatic || name == strategy.name();
            if !meant || refused.iter().any(|(tried, _)| tried == strategy.name()) {
                continue;
            }
            match strategy.probe(path) {
                Ok(reason) => {
                    return Ok(Choice {
                        strategy: Arc::clone(strategy),
                        reason,
                        refused,
                    });
                }
                Err(why) => refused.push((strategy.name().to_owned(), why)),
            }
        }
    }
    Err(refused)
}

fn listed(refused: &[(String, String)]) -> String {
    let each: Vec<String> = refused
        .iter()
        .map(|(name, why)| format!("{name}: {why}"))
        .collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::infer::{Certainty, Depth};
    use crate::snapshot::{Capability, Capture, CaptureRequest};

    /// Works on paths that begin so.
    struct Fake(&'static str, &'static str);

    impl SnapshotStrategy for Fake {
        fn name(&self) -> &'static str {
            self.0
        }
        fn version(&self) -> u32 {
            1
        }
        fn capability(&self) -> Capability {
            Capability::default()
        }
        fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
            if path.as_path().starts_with(self.1) {
                Ok(format!("{} works", self.0))
            } else {
                Err("not there".into())
            }
        }
        fn begin(&self, _: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
            unreachable!("only chosen")
        }
        fn resume(&self, _: &[u8]) -> Result<Box<dyn Capture>> {
            unreachable!("only chosen")
        }
    }

    /// `clone` works beneath `/clone`, `copy` everywhere but beneath `/odd`.
    fn registry() -> Registry {
        let mut registry = Registry::default();
        registry.register(Arc::new(Fake("copy", "/")));
        registry.register(Arc::new(Fake("clone", "/clone")));
        registry
    }

    fn scope(paths: &[&str]) -> Vec<ScopePath> {
        let path = |path: &&str| ScopePath {
            path: AbsPath::new(*path).unwrap(),
            depth: Depth::Tree,
            reason: String::new(),
            certainty: Certainty::Certain,
            rule: String::new(),
        };
        paths.iter().map(path).collect()
    }

    /// The first component is the volume; `/ro` is for reading only.
    fn volume(path: &AbsPath) -> Volume {
        let mount_point: PathBuf = path.as_path().components().take(2).collect();
        Volume {
            read_only: mount_point.ends_with("ro"),
            mount_point,
            device: None,
        }
    }

    fn selected(wanted: &[&str], paths: &[&str]) -> Result<Selected> {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        assign(&registry(), &wanted, &scope(paths), volume)
    }

    fn uses(selected: &Selected) -> Vec<(String, &str)> {
        let uses = selected.uses.iter();
        uses.map(|one| (one.volume.to_string(), one.strategy.as_str()))
            .collect()
    }

    #[test]
    fn each_volume_gets_what_auto_prefers_there() {
        let found = selected(&[], &["/clone/a", "/clone/b", "/home/c"]).unwrap();
        let volumes = [("/clone".to_owned(), "clone"), ("/home".to_owned(), "copy")];
        assert_eq!(uses(&found), volumes);
        assert_eq!(found.assignments[0].scope.len(), 2);
        assert_eq!(found.uses[1].reason, "copy works; clone: not there");
        assert!(found.notes.is_empty(), "nobody asked for clone");
    }

    #[test]
    fn a_named_strategy_that_cannot_work_is_an_error_with_volume_and_reason() {
        let error = selected(&["clone"], &["/clone/a", "/home/c"])
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(
            text.contains("/home ") && text.contains("clone: not there"),
            "{text}"
        );
    }

    #[test]
    fn a_fall_back_that_was_allowed_is_recorded_with_its_reason() {
        let found = selected(&["clone", "auto"], &["/clone/a", "/home/c"]).unwrap();
        assert_eq!(uses(&found)[1].1, "copy");
        assert_eq!(found.uses[1].reason, "copy works; clone: not there");
        let note = "/home: fell back to strategy copy: clone: not there";
        assert_eq!(found.notes, [note]);
    }

    #[test]
    fn an_unknown_name_is_refused_even_where_it_is_not_needed() {
        let error = selected(&["copy", "bogus"], &["/home/c"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(selected(&["bogus"], &[]).is_err());
    }

    #[test]
    fn a_volume_for_reading_only_needs_no_strategy() {
        let found = selected(&["clone"], &["/ro/x", "/clone/a"]).unwrap();
        let volumes = [("/ro".to_owned(), NONE), ("/clone".to_owned(), "clone")];
        assert_eq!(uses(&found), volumes);
        assert_eq!(found.assignments.len(), 1);
        assert_eq!(found.assignments[0].scope, scope(&["/clone/a"]));
    }

    #[test]
    fn a_volume_is_probed_once() {
        let asked = RefCell::new(Vec::new());
        let count = |path: &AbsPath| {
            asked.borrow_mut().push(path.clone());
            volume(path)
        };
        let found = assign(&registry(), &[], &scope(&["/a/1", "/a/2", "/a/3"]), count).unwrap();
        assert_eq!((found.uses.len(), asked.borrow().len()), (1, 3));
    }

    #[test]
    fn parts_of_one_mount_with_devices_of_their_own_are_told_apart() {
        let by_name = |path: &AbsPath| Volume {
            mount_point: "/".into(),
            device: Some(path.to_bytes().len() as u64),
            read_only: false,
        };
        let found = assign(&registry(), &[], &scope(&["/clone/x", "/home"]), by_name).unwrap();
        assert_eq!(found.uses.len(), 2);
        assert_eq!(found.assignments.len(), 2);
    }
}
