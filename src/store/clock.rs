//! Ages that do not trust the wall clock alone.

use std::time::Duration;

use super::row::Head;
use crate::entry::Timestamp;

/// An instant by both clocks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Instant {
    /// Seconds since the epoch; may have jumped.
    pub(super) wall: f64,
    /// The boot's id and nanoseconds since then, sleep included; `None` where the system cannot tell.
    pub(super) boot: Option<(String, u64)>,
}

impl Instant {
    /// Now.
    pub(super) fn now() -> Self {
        Self {
            wall: Timestamp::now().as_seconds(),
            boot: since_boot(),
        }
    }

    /// How old the snapshot is, never negative.
    ///
    /// Within one boot the clock that does not jump decides. A snapshot of an earlier boot is by the
    /// wall clock, but at least as old as this boot.
    pub(super) fn age_of(&self, head: &Head<'_>) -> Duration {
        match (&self.boot, head.monotonic) {
            (Some((boot, now)), Some((then_boot, then))) if *boot == then_boot => {
                Duration::from_nanos(now.saturating_sub(then))
            }
            (Some((_, now)), Some(_)) => self.wall_age(head).max(Duration::from_nanos(*now)),
            _ => self.wall_age(head),
        }
    }

    fn wall_age(&self, head: &Head<'_>) -> Duration {
        // A damaged timestamp (not a number, absurdly large) counts as brand-new.
        Duration::try_from_secs_f64(self.wall - head.timestamp).unwrap_or_default()
    }
}

/// The boot's id and the nanoseconds since it.
#[cfg(target_os = "linux")]
pub(super) fn since_boot() -> Option<(String, u64)> {
    static BOOT: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let boot = BOOT.get_or_init(|| {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned())
    });
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let nanoseconds = time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64;
    boot.clone().map(|id| (id, nanoseconds))
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn since_boot() -> Option<(String, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SnapshotMeta;
    use crate::store::testing::meta;

    const HOUR: u64 = 3600;

    fn at(wall: f64, boot: &str, hours: u64) -> Instant {
        Instant {
            wall,
            boot: Some((boot.into(), hours * HOUR * 1_000_000_000)),
        }
    }

    fn taken(at: &Instant) -> SnapshotMeta {
        let mut meta = meta("true");
        meta.timestamp = at.wall;
        meta.monotonic.clone_from(&at.boot);
        meta
    }

    #[test]
    fn a_wall_clock_that_jumps_ahead_ages_nothing_within_one_boot() {
        let meta = taken(&at(1e9, "a", 1));
        assert_eq!(
            at(2e9, "a", 2).age_of(&Head::of(&meta)),
            Duration::from_secs(HOUR)
        );
    }

    #[test]
    fn a_clock_that_runs_backwards_gives_age_zero() {
        let meta = taken(&at(1e9, "a", 5));
        assert_eq!(at(5e8, "a", 4).age_of(&Head::of(&meta)), Duration::ZERO);
        let mut unknown = meta.clone();
        unknown.monotonic = None;
        assert_eq!(at(5e8, "a", 4).age_of(&Head::of(&unknown)), Duration::ZERO);
    }

    #[test]
    fn a_snapshot_of_an_earlier_boot_is_at_least_as_old_as_this_boot() {
        let meta = taken(&at(1e9, "a", 5));
        assert_eq!(
            at(5e8, "b", 3).age_of(&Head::of(&meta)),
            Duration::from_secs(3 * HOUR)
        );
        let later = at(1e9 + 7200.0, "b", 0).age_of(&Head::of(&meta));
        assert_eq!(later, Duration::from_secs(2 * HOUR));
    }

    #[test]
    fn a_damaged_timestamp_counts_as_new() {
        let mut meta = meta("true");
        meta.monotonic = None;
        for damaged in [f64::NAN, f64::INFINITY, -f64::INFINITY] {
            meta.timestamp = damaged;
            assert_eq!(at(1e9, "a", 1).age_of(&Head::of(&meta)), Duration::ZERO);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_boot_clock_is_known_and_does_not_run_backwards() {
        let (first, second) = (since_boot().unwrap(), since_boot().unwrap());
        assert_eq!(first.0, second.0);
        assert!(first.1 <= second.1);
    }
}
