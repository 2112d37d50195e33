//! The `copy` strategy.
