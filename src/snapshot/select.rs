//! Which strategy secures which part of a scope.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Registry, SnapshotStrategy};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::infer::ScopePath;
use crate::path::AbsPath;
use crate::store::StrategyUse;

/// The name that lets the engine choose.
pub const AUTO: &str = "auto";

/// Part of a scope and the strategy that secures it.
pub struct Assignment {
    /// The mount point of the volume.
    pub volume: PathBuf,
    /// The strategy.
    pub strategy: Arc<dyn SnapshotStrategy>,
    /// The paths.
    pub scope: Vec<ScopePath>,
    /// The volumes they lie on, with the reason for the choice.
    pub uses: Vec<StrategyUse>,
}

/// Chooses a strategy for every volume of `scope`.
///
/// `wanted` are names in order of preference; each is tried on each volume, `auto` stands for every
/// registered strategy in the registry's order. Empty means `auto`. It is an error when none works
/// on one of the volumes. `volume` gives the mount point that holds a path.
pub fn assign(
    registry: &Registry,
    wanted: &[String],
    scope: &[ScopePath],
    volume: impl Fn(&AbsPath) -> PathBuf,
) -> Result<Vec<Assignment>> {
    let mut assignments: Vec<Assignment> = Vec::new();
    for path in scope {
        let mount_point = volume(&path.path);
        // Each volume by itself: what is kept of it may have to lie on it.
        let known = assignments.iter().position(|a| a.volume == mount_point);
        let at = match known {
            Some(at) => at,
            None => {
                let (strategy, reason) = choose(registry, wanted, &path.path)?;
                let used = StrategyUse {
                    volume: AbsPath::new(&*mount_point).unwrap_or_else(|_| path.path.clone()),
                    strategy: strategy.name().to_owned(),
                    version: strategy.version(),
                    reason,
                };
                assignments.push(Assignment {
                    volume: mount_point,
                    strategy,
                    scope: Vec::new(),
                    uses: vec![used],
                });
                assignments.len() - 1
            }
        };
        assignments[at].scope.push(path.clone());
    }
    Ok(assignments)
}

/// The first strategy that works at `path`, with the reason.
pub fn choose(
    registry: &Registry,
    wanted: &[String],
    path: &AbsPath,
) -> Result<(Arc<dyn SnapshotStrategy>, String)> {
    let auto = [AUTO.to_owned()];
    let wanted = if wanted.is_empty() { &auto } else { wanted };
    let mut refused = Vec::new();
    for name in wanted {
        let candidates: Vec<_> = if name == AUTO {
            registry.all().cloned().collect()
        } else {
            vec![Arc::clone(registry.get(name)?)]
        };
        for strategy in candidates {
            match strategy.probe(path) {
                Ok(reason) if refused.is_empty() => return Ok((strategy, reason)),
                Ok(reason) => return Ok((strategy, format!("{reason}; {}", refused.join("; ")))),
                Err(why) => refused.push(format!("{}: {why}", strategy.name())),
            }
        }
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        Stage::Capture,
        format!("no strategy works for {path}: {}", refused.join("; ")),
    ))
}
