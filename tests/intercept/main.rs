//! The `intercept` strategy: what other strategies have no say in.
//!
//! `DEPLOYX_TEST_PROGRAMS=N` runs N random programs, `DEPLOYX_TEST_PROGRAMS_FIRST=SEED` from another
//! number on. `DEPLOYX_TEST_COMMANDS` and `DEPLOYX_TEST_SECONDS` make two tests of survivors longer.

#[path = "../common/mod.rs"]
mod common;

mod edges;
mod ordinary;
mod programs;
mod receipts;
mod survivors;
mod whole_root;
mod work;
