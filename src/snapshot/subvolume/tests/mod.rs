//! Captures of trees on a real volume. The judge is the `copy` strategy, which looks at everything:
//! both must find the same.

mod cases;
mod lifetime;
mod random;
mod world;
