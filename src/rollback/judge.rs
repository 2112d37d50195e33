//! Whether a live entry is as the commands left it, and what has to be done with it. Pure.

use super::compose::{Role, Target};
use super::cursor::Obstacle;
use super::observe::{Devices, Sight};
use super::plan::{Finding, Step};
use crate::entry::{EntryKind, EntryState};
use crate::path::AbsPath;

/// A target with what was found at its path.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) target: Target,
    pub(crate) live: Option<Box<EntryState>>,
    pub(crate) step: Step,
    pub(crate) conflict: Option<Finding>,
    pub(crate) failure: Option<String>,
    /// Other entries refer to it, so it stays in the plan even when nothing is to be done.
    pub(crate) linked: bool,
}

impl Draft {
    /// Whether it stands in the report's counts.
    pub(crate) fn counted(&self) -> bool {
        self.target.role != Role::Reference && !self.target.is_incidental()
    }
}

fn refuse(reason: String) -> Finding {
    Finding {
        reason,
        overridable: false,
    }
}

/// What the paths of other targets become.
pub(crate) trait Becoming {
    /// It becomes a directory.
    fn directory(&self, path: &AbsPath) -> bool;
    /// It becomes, or is again, something that nothing can be in.
    fn leaf(&self, path: &AbsPath) -> bool;
}

/// Compares what was seen with what the records say.
pub(crate) fn judge(
    target: Target,
    sight: Sight,
    devices: &Devices,
    others: &impl Becoming,
) -> Draft {
    let mut conflict = None;
    let live = match sight {
        Sight::Unreadable(error) => {
            conflict = Some(refuse(format!("cannot be looked at: {error}")));
            None
        }
        Sight::Blocked(obstacle) => {
            conflict = blocked(&target, &obstacle, others);
            None
        }
        Sight::Entry { live, parent } => {
            if parent.is_astray || !on_its_volume(&target, live.as_deref(), parent.device, devices)
            {
                conflict = Some(refuse(
                    "another filesystem is mounted there, or the one it was on is not mounted"
                        .into(),
                ));
            }
            live
        }
    };
    let mut draft = Draft {
        step: Step::Keep,
        target,
        live,
        conflict,
        failure: None,
        linked: false,
    };
    match draft.target.role {
        Role::Reference => draft.conflict = None,
        Role::Ancestor if draft.live.as_deref().is_some_and(EntryState::is_dir) => {}
        Role::Asked | Role::Ancestor => decide(&mut draft),
    }
    draft
}

/// What it means that a component of the path is no directory.
fn blocked(target: &Target, obstacle: &Obstacle, others: &impl Becoming) -> Option<Finding> {
    let rebuilt = target.path.parent().is_some_and(|p| others.directory(&p));
    let what = match obstacle.kind {
        // What was to be removed is gone with its directory.
        None if target.desired.is_none() => return None,
        // So it is where the directory is already again what it was before the command; whether
        // that is so is judged at its own path.
        Some(_) if target.desired.is_none() && others.leaf(&obstacle.at) => return None,
        _ if rebuilt && target.desired.is_some() => return None,
        None => "does not exist any more",
        Some(EntryKind::Symlink) => "is now a symbolic link",
        Some(_) => "is not a directory any more",
    };
    Some(refuse(format!("the directory {} {what}", obstacle.at)))
}

fn on_its_volume(
    target: &Target,
    live: Option<&EntryState>,
    parent_device: u64,
    devices: &Devices,
) -> bool {
    let of = |state: &Option<Box<EntryState>>, snapshot| {
        state
            .as_ref()
            .map(|s| (snapshot, s.identity.device, s.is_dir()))
    };
    let known = of(&target.expected, target.newest).or_else(|| of(&target.desired, target.oldest));
    let Some((snapshot, recorded, was_dir)) = known else {
        return true;
    };
    // A directory may be a mount point itself, as it may have been when it was recorded.
    let device = match live {
        Some(live) if live.is_dir() && was_dir => live.identity.device,
        _ => parent_device,
    };
    devices.allow(snapshot, recorded, device)
}

/// Sets step, conflict and failure of a target that is to be restored.
fn decide(draft: &mut Draft) {
    let (desired, expected) = (&draft.target.desired, &draft.target.expected);
    let live = &draft.live;
    if draft.target.is_incidental() {
        return decide_incidental(draft);
    }
    let settled = same(live.as_deref(), desired.as_deref(), true);
    if draft.conflict.is_none() && !settled {
        let reason = draft
            .target
            .gap
            .clone()
            .or_else(|| difference(live.as_deref(), expected.as_deref()));
        draft.conflict = reason.map(|reason| Finding {
            reason,
            overridable: true,
        });
    }
    draft.step = step_for(&mut draft.target, live.as_deref());
    if draft.step == Step::File {
        draft.failure = draft.target.content.missing();
    }
}

/// A directory of which only the times moved gets them back, unless somebody moved them since. A
/// file of which only the link count moved is left alone.
fn decide_incidental(draft: &mut Draft) {
    let Some(desired) = draft.target.desired.as_deref().filter(|d| d.is_dir()) else {
        draft.conflict = None;
        return;
    };
    match &draft.live {
        Some(live) if live.is_dir() => {
            let mut wanted = live.clone();
            wanted.modified = desired.modified;
            wanted.accessed = desired.accessed;
            let moved = draft.target.expected.as_deref().is_some_and(|expected| {
                live.modified == expected.modified && live.modified != desired.modified
            });
            draft.target.desired = Some(wanted);
            draft.step = if moved { Step::Times } else { Step::Keep };
        }
        live => {
            let reason = difference(live.as_deref(), draft.target.expected.as_deref());
            draft.conflict = draft.conflict.take().or(reason.map(|reason| Finding {
                reason,
                overridable: true,
            }));
            draft.step = Step::MakeDir;
        }
    }
}

/// What turns `live` into the desired state. Settles which times a directory gets.
fn step_for(target: &mut Target, live: Option<&EntryState>) -> Step {
    let Some(desired) = &mut target.desired else {
        return match live {
            None => Step::Keep,
            Some(live) if live.is_dir() => Step::RemoveDir,
            Some(_) => Step::Remove,
        };
    };
    let Some(live) = live.filter(|l| l.kind == desired.kind) else {
        return placing(desired.kind);
    };
    if desired.is_dir() {
        let left_by_command = target
            .expected
            .as_deref()
            .is_some_and(|e| e.modified == live.modified);
        if !left_by_command {
            // Somebody changed the directory since: its times tell of that.
            desired.modified = live.modified;
            desired.accessed = live.accessed;
        }
        return match (
            live.same_metadata(desired),
            desired.modified == live.modified,
        ) {
            (true, true) => Step::Keep,
            (true, false) => Step::Times,
            (false, _) => Step::Metadata,
        };
    }
    if !live.same_content(desired) {
        placing(desired.kind)
    } else if live.same_metadata(desired) && live.modified == desired.modified {
        Step::Keep
    } else {
        Step::Metadata
    }
}

/// The step that puts a new entry of `kind` in place.
pub(crate) fn placing(kind: EntryKind) -> Step {
    match kind {
        EntryKind::File => Step::File,
        EntryKind::Directory => Step::MakeDir,
        EntryKind::Symlink => Step::Symlink,
        EntryKind::Fifo | EntryKind::Socket | EntryKind::CharDevice | EntryKind::BlockDevice => {
            Step::Node
        }
    }
}

/// Whether a live entry is in a recorded state. Directory times, access times and link counts are
/// not compared; the times of fifos, sockets and devices, which move with use, only where
/// `all_times`.
pub(crate) fn same(live: Option<&EntryState>, known: Option<&EntryState>, all_times: bool) -> bool {
    match (live, known) {
        (None, None) => true,
        (Some(live), Some(known)) => {
            let timed = match live.kind {
                EntryKind::Directory => false,
                EntryKind::File | EntryKind::Symlink => true,
                _ => all_times,
            };
            live.same_content(known)
                && live.same_metadata(known)
                && (!timed || live.modified == known.modified)
        }
        _ => false,
    }
}

/// In which way a live entry is not as expected; `None` where it is.
fn difference(live: Option<&EntryState>, expected: Option<&EntryState>) -> Option<String> {
    if same(live, expected, false) {
        return None;
    }
    Some(match (live, expected) {
        (None, _) => "does not exist any more".into(),
        (Some(live), None) => format!(
            "did not exist after the command; now there is a {}",
            kind_word(live.kind)
        ),
        (Some(live), Some(expected)) => changed(live, expected),
    })
}

fn changed(live: &EntryState, expected: &EntryState) -> String {
    let what = if live.kind != expected.kind {
        return format!(
            "was changed after the command: is now a {}",
            kind_word(live.kind)
        );
    } else if !live.same_content(expected) {
        "its content".into()
    } else if live.mode != expected.mode && live.kind != EntryKind::Symlink {
        format!("its mode ({:04o} to {:04o})", expected.mode, live.mode)
    } else if (live.uid, live.gid) != (expected.uid, expected.gid) {
        "its owner".to_owned()
    } else if live.xattrs != expected.xattrs {
        "its attributes".into()
    } else if live.flags != expected.flags {
        "its flags".into()
    } else {
        "its modification time".into()
    };
    format!("was changed after the command: {what}")
}

/// A kind in words.
pub(crate) fn kind_word(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "directory",
        EntryKind::Symlink => "symbolic link",
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharDevice => "character device",
        EntryKind::BlockDevice => "block device",
    }
}
