//! Finishing what an earlier process left unfinished.

use super::secure::Secured;
use super::{Engine, RecoverReport};
use crate::error::Result;
use crate::progress::Progress;
use crate::store::{Outcome, ROLLBACK_OF, SnapshotState};

impl Engine {
    /// Finishes or gives up interrupted work: rollbacks are completed, snapshots of commands that
    /// were cut off are sealed, so that the command can be taken back. Costs a look at two
    /// directories when there is nothing to do.
    pub fn recover(&self, progress: &dyn Progress) -> Result<RecoverReport> {
        let mut report = RecoverReport {
            rollbacks: crate::rollback::resume(&self.store, progress)?,
            ..RecoverReport::default()
        };
        for open in self.store.interrupted()? {
            // Snapshots that save what a rollback overwrites belong to its journal.
            if open.meta().metadata.contains_key(ROLLBACK_OF) {
                continue;
            }
            let id = open.id().to_string();
            if open.meta().state == SnapshotState::Capturing {
                // Its command never started.
                open.discard()?;
                continue;
            }
            match Secured::resume(self, open) {
                Ok(secured) => {
                    let outcome = Outcome {
                        interrupted: true,
                        ..Outcome::default()
                    };
                    let note =
                        "the command was interrupted; sealed when that was noticed".to_owned();
                    match secured.seal(outcome, vec![note], progress) {
                        Ok(_) => report.sealed.push(id),
                        Err(error) => report.failed.push((id, error.to_string())),
                    }
                }
                Err(given_up) => {
                    let (open, error) = *given_up;
                    let reason = error.to_string();
                    open.fail(&reason)?;
                    report.failed.push((id, reason));
                }
            }
        }
        Ok(report)
    }
}
