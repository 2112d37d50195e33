//! The `intercept` strategy: what other strategies have no say in.
//!
//! `DEPLOYX_TEST_PROGRAMS=N` runs N random programs, `DEPLOYX_TEST_PROGRAMS_FIRST=SEED` from another
//! number on.

#[path = "../common/mod.rs"]
mod common;

mod edges;
mod programs;
mod survivors;
mod whole_root;
mod work;
