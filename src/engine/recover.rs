//! Finishing what an earlier process left unfinished.

use super::orphans::Patience;
use super::secure::Secured;
use super::{Engine, RecoverReport};
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::seal::{Limit, LimitKind};
use crate::store::{OpenSnapshot, Outcome, ROLLBACK_OF, SnapshotMeta, SnapshotState};

impl Engine {
    /// Finishes or gives up interrupted work: rollbacks are completed, snapshots of commands that
    /// were cut off are sealed, so that the command can be taken back. Costs a look at two
    /// directories when there is nothing to do.
    pub fn recover(&self, progress: &dyn Progress) -> Result<RecoverReport> {
        let mut report = RecoverReport {
            rollbacks: crate::rollback::resume(&self.store, progress)?,
            ..RecoverReport::default()
        };
        let mut patience = Patience::new(self.config.kill_grace);
        for open in self.store.interrupted()? {
            // Snapshots that save what a rollback overwrites belong to its journal.
            if open.meta().metadata.contains_key(ROLLBACK_OF) {
                continue;
            }
            let id = open.id().to_string();
            if open.meta().state == SnapshotState::Capturing {
                // Its command never started.
                if let Err(error) = open.discard() {
                    report.postponed.push((id, error.to_string()));
                }
                continue;
            }
            let over = patience.is_over(open.meta().supervisor.as_ref());
            match self.seal_late(open, over, progress) {
                Late::Sealed(missing) => {
                    report
                        .incomplete
                        .extend(missing.map(|why| (id.clone(), why)));
                    report.sealed.push(id);
                }
                Late::GivenUp(reason) => report.failed.push((id, reason)),
                Late::Postponed(reason) => report.postponed.push((id, reason)),
            }
        }
        Ok(report)
    }

    /// `over`: nothing of the command runs any more.
    fn seal_late(&self, open: OpenSnapshot, over: bool, progress: &dyn Progress) -> Late {
        let secured = match Secured::resume(self, open) {
            Ok(secured) => secured,
            Err(given_up) => {
                let (open, error) = *given_up;
                let reason = error.to_string();
                if !is_final(&error) {
                    return Late::Postponed(reason);
                }
                return match open.fail(&reason) {
                    Ok(_) => Late::GivenUp(reason),
                    Err(error) => Late::Postponed(error.to_string()),
                };
            }
        };
        let outcome = Outcome {
            interrupted: true,
            ..Outcome::default()
        };
        let mut notes =
            vec!["the command was interrupted; sealed when that was noticed".to_owned()];
        let mut limits = Vec::new();
        if !over {
            notes.push(SURVIVORS.to_owned());
            limits.push(Limit::new(LimitKind::Survivors, SURVIVORS.to_owned()));
        }
        match secured.seal(outcome, notes, limits, progress) {
            Ok(meta) => Late::Sealed(not_covered(&meta)),
            Err(error) => Late::Postponed(error.to_string()),
        }
    }
}

const SURVIVORS: &str =
    "processes of the interrupted command still ran: what they change from now on is not covered";

/// What became of the snapshot of an interrupted command.
enum Late {
    /// With what is not covered, if anything.
    Sealed(Option<String>),
    /// It can never be sealed, for this reason.
    GivenUp(String),
    /// It could not be sealed now, for this reason.
    Postponed(String),
}

/// What a snapshot does not cover, in words.
fn not_covered(meta: &SnapshotMeta) -> Option<String> {
    let unobserved = &meta.coverage.unobserved;
    let first = unobserved.first()?;
    let parts = crate::plural(unobserved.len() as u64, "part", "parts");
    Some(format!(
        "{parts} of the scope not covered, first {}: {}",
        first.path, first.reason
    ))
}

/// Whether trying again can never help: what the capture needs is damaged, gone, or of a strategy
/// that this program does not have. A full disk, a failed read or a busy index pass.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::NotFound | ErrorKind::Unsupported
    )
}
