//! The strategies of an engine, by name.

use std::sync::Arc;

use super::SnapshotStrategy;
use crate::error::{Error, ErrorKind, Result, Stage};

/// The strategies an engine knows, in the order in which `auto` prefers them.
#[derive(Clone, Default)]
pub struct Registry {
    strategies: Vec<Arc<dyn SnapshotStrategy>>,
    /// Those that are only used when they are named.
    by_name: Vec<&'static str>,
}

impl Registry {
    /// Adds a strategy; `auto` prefers it to those added before. One of the same name is replaced.
    pub fn register(&mut self, strategy: Arc<dyn SnapshotStrategy>) {
        self.strategies.retain(|s| s.name() != strategy.name());
        self.by_name.retain(|name| *name != strategy.name());
        self.strategies.insert(0, strategy);
    }

    /// Adds a strategy that `auto` never takes.
    pub fn offer(&mut self, strategy: Arc<dyn SnapshotStrategy>) {
        let name = strategy.name();
        self.register(strategy);
        self.by_name.push(name);
    }

    /// The same strategies with `strategy` in the place of the one that has its name.
    #[must_use]
    pub fn with(&self, strategy: Arc<dyn SnapshotStrategy>) -> Self {
        let mut other = self.clone();
        let same = other
            .strategies
            .iter_mut()
            .find(|s| s.name() == strategy.name());
        if let Some(same) = same {
            *same = strategy;
        }
        other
    }

    /// Whether `auto` may take the strategy called `name`.
    pub fn is_automatic(&self, name: &str) -> bool {
        !self.by_name.contains(&name)
    }

    /// The strategy called `name`; the error lists the known ones.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn SnapshotStrategy>> {
        self.strategies
            .iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| {
                let known: Vec<_> = self.strategies.iter().map(|s| s.name()).collect();
                Error::new(
                    ErrorKind::NotFound,
                    Stage::Capture,
                    format!(
                        "unknown strategy '{name}'; known: auto, {}",
                        known.join(", ")
                    ),
                )
            })
    }

    /// Every strategy in order of preference.
    pub fn all(&self) -> impl Iterator<Item = &Arc<dyn SnapshotStrategy>> {
        self.strategies.iter()
    }
}
