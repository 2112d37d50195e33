//! The `intercept` strategy: what other strategies have no say in.
//!
//! `DEPLOYX_TEST_PROGRAMS=N` runs N random programs, `DEPLOYX_TEST_PROGRAMS_FIRST=SEED` from another
//! number on.

#[path = "../common/mod.rs"]
mod common;

mod edges;
mod ordinary;
mod programs;
mod receipts;
mod survivors;
mod work;
