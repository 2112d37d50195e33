//! Kills and system-call faults at every point: nothing acknowledged is lost, nothing is half done,
//! nothing fails in silence.
//!
//! `DEPLOYX_TEST_CRASH_POINTS` says at how many points of each scenario (default 4, spread evenly;
//! `0` or `all`: every one). `DEPLOYX_TEST_CRASH_ONLY` repeats a single point as it is printed.

#[path = "../common/mod.rs"]
mod common;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod calls;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod campaign;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod found;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod world;

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[test]
fn crash_campaigns() {
    common::require("crash_campaigns", "Linux on x86-64", false);
}
