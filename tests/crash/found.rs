//! What the campaign found, each at the calls at which it was found.

use crate::calls::Fault;
use crate::campaign::{Scenario, at_every};

#[test]
fn a_store_that_was_being_made_has_nothing_to_recover() {
    at_every(
        "a_store_that_was_being_made_has_nothing_to_recover",
        Scenario::FirstRun,
        Fault::Kill,
        &[".format.tmp"],
    );
}

#[test]
fn a_snapshot_whose_baseline_cannot_be_read_now_is_sealed_later() {
    at_every(
        "a_snapshot_whose_baseline_cannot_be_read_now_is_sealed_later",
        Scenario::RecoverRun,
        Fault::Once(libc::EIO),
        &["pwrite64("],
    );
}

#[test]
fn a_named_snapshot_that_cannot_be_read_is_no_success() {
    at_every(
        "a_named_snapshot_that_cannot_be_read_is_no_success",
        Scenario::Cleanup,
        Fault::Once(libc::EIO),
        &[".json"],
    );
}

#[test]
fn a_journal_waits_for_its_redo_snapshot() {
    at_every(
        "a_journal_waits_for_its_redo_snapshot",
        Scenario::RecoverRollback,
        Fault::Once(libc::EIO),
        &[".json"],
    );
}

#[test]
fn a_journal_that_could_not_be_made_durable_is_not_carried_out() {
    at_every(
        "a_journal_that_could_not_be_made_durable_is_not_carried_out",
        Scenario::Rollback,
        Fault::Once(libc::EIO),
        &["fsync(", "/store/rollback \"\")"],
    );
}

#[test]
fn what_could_not_be_staged_leaves_nothing_and_can_be_rolled_back_again() {
    at_every(
        "what_could_not_be_staged_leaves_nothing_and_can_be_rolled_back_again",
        Scenario::Rollback,
        Fault::Once(libc::ENOSPC),
        &["pwrite64("],
    );
}

#[test]
fn what_could_not_be_swept_at_first_does_not_stay() {
    at_every(
        "what_could_not_be_swept_at_first_does_not_stay",
        Scenario::RecoverRollback,
        Fault::Once(libc::EPERM),
        &["unlinkat("],
    );
}

#[test]
fn times_that_could_not_be_put_back_are_named() {
    at_every(
        "times_that_could_not_be_put_back_are_named",
        Scenario::RecoverRollback,
        Fault::Once(libc::EPERM),
        &["utimensat("],
    );
}
