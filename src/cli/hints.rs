//! What to do next when something went wrong: a sentence for every kind of failure that has one.

use crate::error::{ErrorKind, Stage};

/// What the hints need to know besides the error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    /// How to call the program again for the same store, for example `deployx`.
    pub(crate) program: &'a str,
    /// The command's name, for example `rollback`.
    pub(crate) command: &'a str,
    /// The command was to run only with its snapshot.
    pub(crate) snapshot_required: bool,
}

impl Situation<'_> {
    fn runs(&self) -> bool {
        matches!(self.command, "run" | "batch")
    }
}

/// The next step after an error of `kind` at `stage`, or `None` where there is nothing useful to
/// say.
pub(crate) fn hint(kind: ErrorKind, stage: Stage, situation: Situation<'_>) -> Option<String> {
    let program = situation.program;
    let text = match kind {
        ErrorKind::InvalidRequest => format!("see: deployx {} --help", situation.command),
        ErrorKind::NotFound if matches!(stage, Stage::Store | Stage::Rollback) => {
            format!("see which snapshots there are: {program} list")
        }
        ErrorKind::Ambiguous => {
            format!("give more digits of the id; whole ids are shown by: {program} list")
        }
        ErrorKind::Conflict => "leave these entries alone with --on-conflict skip, replace them \
                                with --on-conflict overwrite, or undo later commands as well \
                                with --through"
            .into(),
        ErrorKind::Busy => "another deployx is at work here; try again when it is done, or wait \
                            longer with lock_timeout_seconds in the configuration"
            .into(),
        ErrorKind::Corrupt if stage == Stage::Agent => {
            "move the agent's directory away: a new one \
             is made at the next start, which knows no ids and results of the old one"
                .into()
        }
        ErrorKind::UnsafeStore if stage == Stage::Agent => {
            "name a directory of your own with --state-dir DIR".into()
        }
        ErrorKind::Corrupt => format!(
            "see what is damaged: {program} verify; snapshots that are not named there can \
             still be used"
        ),
        ErrorKind::NewerFormat => {
            "a newer deployx wrote this; use that version or a later one".into()
        }
        ErrorKind::UnsafeStore => "name a directory of your own with --snapshot-dir DIR or \
                                   DEPLOYX_SNAPSHOT_DIR"
            .into(),
        ErrorKind::PermissionDenied if stage == Stage::Store => {
            "name a directory that you may write to with --snapshot-dir DIR, or run deployx as \
             the user that the snapshots belong to"
                .into()
        }
        ErrorKind::PermissionDenied => {
            "run deployx as a user who may do this, for example with sudo".into()
        }
        ErrorKind::NoSpace => {
            let mut text = format!(
                "make room with: {program} cleanup, or keep snapshots elsewhere with \
                 --snapshot-dir DIR"
            );
            if situation.runs() {
                text.push_str("; --no-snapshot runs the command without an undo");
            }
            text
        }
        ErrorKind::ShellNotFound => {
            format!("see which shells there are: {program} doctor; choose one with --shell NAME")
        }
        _ if situation.snapshot_required
            && situation.runs()
            && matches!(stage, Stage::Capture | Stage::Infer) =>
        {
            "without --require-snapshot the command runs with what could be saved".into()
        }
        ErrorKind::Unsupported => format!("see what works on this host: {program} doctor"),
        ErrorKind::NotFound | ErrorKind::NotExecutable | ErrorKind::Cancelled | ErrorKind::Io => {
            return None;
        }
    };
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn situation(command: &str) -> Situation<'_> {
        Situation {
            program: "deployx --snapshot-dir /s",
            command,
            snapshot_required: false,
        }
    }

    #[test]
    fn hints_name_the_same_store() {
        let text = hint(ErrorKind::NotFound, Stage::Store, situation("show")).unwrap();
        assert!(text.ends_with("deployx --snapshot-dir /s list"), "{text}");
        let text = hint(ErrorKind::Corrupt, Stage::Store, situation("show")).unwrap();
        assert!(text.contains("deployx --snapshot-dir /s verify"), "{text}");
    }

    #[test]
    fn a_foreign_store_leads_to_the_flag() {
        for kind in [ErrorKind::UnsafeStore, ErrorKind::PermissionDenied] {
            let text = hint(kind, Stage::Store, situation("run")).unwrap();
            assert!(text.contains("--snapshot-dir DIR"), "{text}");
        }
    }

    #[test]
    fn running_without_a_snapshot_is_offered_only_where_a_command_runs() {
        let text = |command| hint(ErrorKind::NoSpace, Stage::Capture, situation(command)).unwrap();
        assert!(text("run").contains("--no-snapshot"));
        assert!(!text("rollback").contains("--no-snapshot"));
    }

    #[test]
    fn a_refused_command_is_told_how_to_run() {
        let required = Situation {
            snapshot_required: true,
            ..situation("run")
        };
        let text = hint(ErrorKind::NotExecutable, Stage::Capture, required).unwrap();
        assert!(text.contains("without --require-snapshot"), "{text}");
        assert_eq!(
            hint(ErrorKind::NotExecutable, Stage::Execute, required),
            None
        );
    }

    #[test]
    fn a_conflict_names_every_way_out() {
        let text = hint(ErrorKind::Conflict, Stage::Rollback, situation("rollback")).unwrap();
        for way in ["skip", "overwrite", "--through"] {
            assert!(text.contains(way), "{text}");
        }
    }
}
