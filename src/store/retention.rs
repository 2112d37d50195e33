//! Which snapshots expire: a pure function of the policy and what there is.

use std::time::Duration;

use super::{Expiry, ExpiryPlan, ExpiryReason, SnapshotId};
use crate::request::RetentionPolicy;

/// What the planner needs to know of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) id: SnapshotId,
    /// How old, by the clock that can be trusted.
    pub(super) age: Duration,
    /// Bytes it holds.
    pub(super) bytes: u64,
    /// Pinned, unfinished or in use: it stays, and counts towards the totals.
    pub(super) kept: bool,
}

/// Plans an expiry: first what is too old, then the oldest until number and bytes fit. Snapshots of
/// one batch need not go together.
pub(super) fn plan(policy: &RetentionPolicy, mut candidates: Vec<Candidate>) -> ExpiryPlan {
    candidates.sort_by(|a, b| b.age.cmp(&a.age).then_with(|| a.id.cmp(&b.id)));
    let mut count = candidates.len() as u64;
    // Wider than one size: damaged figures must not overflow the sum.
    let mut bytes: u128 = candidates.iter().map(|one| u128::from(one.bytes)).sum();
    let mut expire = Vec::new();
    for candidate in candidates {
        if candidate.kept {
            continue;
        }
        let reason = if policy.max_age.is_some_and(|max| candidate.age >= max) {
            ExpiryReason::Age
        } else if policy.max_count.is_some_and(|max| count > max) {
            ExpiryReason::Count
        } else if policy.max_bytes.is_some_and(|max| bytes > u128::from(max)) {
            ExpiryReason::Size
        } else {
            // The others are younger, and what there is fits.
            break;
        };
        count -= 1;
        bytes -= u128::from(candidate.bytes);
        expire.push(Expiry {
            snapshot_id: candidate.id,
            reason,
            bytes: candidate.bytes,
        });
    }
    ExpiryPlan { expire }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ExpiryReason::{Age, Count, Size};

    fn candidate(number: u64, hours: u64, bytes: u64) -> Candidate {
        Candidate {
            id: SnapshotId::from_number(number),
            age: Duration::from_secs(hours * 3600),
            bytes,
            kept: false,
        }
    }

    fn kept(candidate: Candidate) -> Candidate {
        Candidate {
            kept: true,
            ..candidate
        }
    }

    fn planned(policy: RetentionPolicy, candidates: &[Candidate]) -> Vec<(u64, ExpiryReason)> {
        plan(&policy, candidates.to_vec())
            .expire
            .into_iter()
            .map(|one| (one.snapshot_id.number(), one.reason))
            .collect()
    }

    fn three() -> Vec<Candidate> {
        vec![
            candidate(2, 2, 20),
            candidate(3, 3, 30),
            candidate(1, 1, 10),
        ]
    }

    #[test]
    fn no_limit_expires_nothing() {
        assert!(planned(RetentionPolicy::default(), &three()).is_empty());
    }

    #[test]
    fn what_is_too_old_goes_oldest_first() {
        let policy = RetentionPolicy {
            max_age: Some(Duration::from_secs(2 * 3600)),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &three()), [(3, Age), (2, Age)]);
    }

    #[test]
    fn the_oldest_go_until_the_count_fits() {
        let policy = RetentionPolicy {
            max_count: Some(1),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &three()), [(3, Count), (2, Count)]);
    }

    #[test]
    fn the_oldest_go_until_the_bytes_fit() {
        let policy = RetentionPolicy {
            max_bytes: Some(30),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &three()), [(3, Size)]);
    }

    #[test]
    fn limits_add_up() {
        let policy = RetentionPolicy {
            max_age: Some(Duration::from_secs(3 * 3600)),
            max_count: Some(1),
            max_bytes: Some(0),
        };
        assert_eq!(planned(policy, &three()), [(3, Age), (2, Count), (1, Size)]);
    }

    #[test]
    fn what_is_kept_counts_but_never_goes() {
        let mut candidates = three();
        candidates[1] = kept(candidates[1].clone());
        let policy = RetentionPolicy {
            max_age: Some(Duration::ZERO),
            max_count: Some(1),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &candidates), [(2, Age), (1, Age)]);
        let policy = RetentionPolicy {
            max_count: Some(2),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &candidates), [(2, Count)]);
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let candidates = [candidate(1, 1, u64::MAX), candidate(2, 2, u64::MAX)];
        let policy = RetentionPolicy {
            max_bytes: Some(1),
            ..RetentionPolicy::default()
        };
        assert_eq!(planned(policy, &candidates).len(), 2);
    }
}
