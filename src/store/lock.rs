//! Locks between processes and threads.
//!
//! All of them are locks on open files: they end with the process that holds them, however it
//! ends, and that is how a dead capture is told from a live one. In the order in which they are
//! taken:
//!
//! 1. the store's `lock`: shared while a snapshot comes into being, exclusive while orphans are
//!    picked for deletion;
//! 2. a snapshot's `lock`: exclusive for whoever makes, undoes or deletes it, shared for readers
//!    that need it to stay;
//! 3. a snapshot's directory: exclusive for the moment of a change to its metadata.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use super::layout::{InStore, Inner, LOCK, not_found};
use super::{InUse, SnapshotId};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::sys::durable::{self, Directory};

const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Who else may hold a lock at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Others that share it.
    Shared,
    /// Nobody.
    Exclusive,
}

/// What came of trying to take a snapshot's lock.
pub(super) enum Attempt {
    /// It is ours until the file is dropped.
    Taken(File),
    /// Another holds it; the process where known.
    Held(Option<u32>),
    /// The snapshot was deleted meanwhile.
    Gone,
}

/// Waits for a lock on `file`; `false` when `timeout` is over.
fn wait(file: &File, mode: Mode, timeout: Duration) -> io::Result<bool> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let tried = match mode {
            Mode::Shared => file.try_lock_shared(),
            Mode::Exclusive => file.try_lock(),
        };
        match tried {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Tries to take the lock of the snapshot whose directory this is.
pub(super) fn attempt(directory: &Directory, mode: Mode, timeout: Duration) -> io::Result<Attempt> {
    let mut file = match directory.open_lock(LOCK) {
        // The directory itself was removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Attempt::Gone),
        other => other?,
    };
    if !wait(&file, mode, timeout)? {
        return Ok(Attempt::Held(holder(&mut file, mode)));
    }
    if durable::is_unlinked(&file)? {
        return Ok(Attempt::Gone);
    }
    if mode == Mode::Exclusive {
        // For the message that others get; a lock without it (full disk) is as good.
        let _ = note_holder(&mut file);
    }
    Ok(Attempt::Taken(file))
}

fn note_holder(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    writeln!(file, "{}", std::process::id())
}

/// The process that holds the lock exclusively, where one does.
fn holder(file: &mut File, wanted: Mode) -> Option<u32> {
    if wanted == Mode::Exclusive && file.try_lock_shared().is_ok() {
        // Readers hold it, and they leave no note: what stands there is of someone before.
        return None;
    }
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// The words for whoever holds a lock.
pub(super) fn in_use(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("in use by process {pid}"),
        None => "in use by another process".into(),
    }
}

/// A snapshot is held by another.
pub(super) fn busy(id: &SnapshotId, holder: Option<u32>) -> Error {
    let context = format!("snapshot {id} is {}; try again later", in_use(holder));
    Error::new(ErrorKind::Busy, Stage::Store, context)
}

impl Inner {
    /// Takes the lock on the set of snapshots.
    pub(super) fn lock_set(&self, mode: Mode, timeout: Duration) -> Result<Option<File>> {
        let context = || "cannot lock the store".to_owned();
        let file = self.root.open_lock(LOCK).in_store(context)?;
        let taken = wait(&file, mode, timeout).in_store(context)?;
        Ok(taken.then_some(file))
    }

    /// Takes the lock on a snapshot's metadata for the moment of a change.
    pub(super) fn lock_meta(&self, id: &SnapshotId, directory: &Directory) -> Result<File> {
        let context = || format!("cannot lock the metadata of snapshot {id}");
        let file = directory.reopen().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(id.as_str()),
            _ => super::layout::in_store(context(), error),
        })?;
        if wait(&file, Mode::Exclusive, self.lock_timeout).in_store(context)? {
            Ok(file)
        } else {
            Err(busy(id, None))
        }
    }

    /// Takes a snapshot that has metadata; waits as long as the store's options say.
    pub(super) fn acquire(&self, id: &SnapshotId, mode: Mode) -> Result<InUse> {
        if !self.has_json(id)? {
            return Err(not_found(id.as_str()));
        }
        let directory = self.required_directory(id)?;
        let attempt = attempt(&directory, mode, self.lock_timeout)
            .in_store(|| format!("cannot lock snapshot {id}"))?;
        match attempt {
            Attempt::Taken(lock) if self.has_json(id)? => Ok(InUse { _lock: lock }),
            Attempt::Taken(_) | Attempt::Gone => Err(not_found(id.as_str())),
            Attempt::Held(holder) => Err(busy(id, holder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{options, sealed, store};
    use crate::store::{Store, StoreOptions};

    fn impatient(store: &Store) -> Store {
        let options = StoreOptions {
            lock_timeout: Duration::ZERO,
            ..options()
        };
        Store::open(store.path(), options).unwrap()
    }

    #[test]
    fn a_held_snapshot_is_busy_and_names_the_process() {
        let (_temp, store) = store();
        let id = sealed(&store, 0, |_| {}).snapshot_id;
        let held = store.acquire(&id).unwrap();
        for error in [
            impatient(&store).acquire(&id).err().unwrap(),
            impatient(&store).acquire_shared(&id).err().unwrap(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Busy);
            assert!(error.to_string().contains(&std::process::id().to_string()));
        }
        drop(held);
        drop(impatient(&store).acquire(&id).unwrap());
    }

    #[test]
    fn readers_share_a_snapshot_and_keep_writers_away() {
        let (_temp, store) = store();
        let id = sealed(&store, 0, |_| {}).snapshot_id;
        let _first = store.acquire_shared(&id).unwrap();
        let _second = impatient(&store).acquire_shared(&id).unwrap();
        let error = impatient(&store).acquire(&id).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Busy);
        // The note in the lock file is of the process that made the snapshot.
        assert!(error.to_string().contains("another process"), "{error}");
    }

    #[test]
    fn an_endless_timeout_is_not_too_long() {
        let (_temp, store) = store();
        let options = StoreOptions {
            lock_timeout: Duration::MAX,
            ..options()
        };
        let patient = Store::open(store.path(), options).unwrap();
        let id = sealed(&patient, 0, |_| {}).snapshot_id;
        drop(patient.acquire(&id).unwrap());
    }

    #[test]
    fn waiting_ends_as_soon_as_the_holder_lets_go() {
        let (_temp, store) = store();
        let id = sealed(&store, 0, |_| {}).snapshot_id;
        let held = store.acquire(&id).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| store.acquire(&id).map(drop));
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }

    #[test]
    fn an_unknown_snapshot_is_not_found_and_nothing_is_created() {
        let (_temp, store) = store();
        let id = SnapshotId::random();
        let error = store.acquire(&id).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(!store.path().join(id.as_str()).exists());
    }

    #[test]
    fn a_snapshot_without_its_directory_is_damaged() {
        let (_temp, store) = store();
        let id = sealed(&store, 0, |_| {}).snapshot_id;
        std::fs::remove_dir_all(store.path().join(id.as_str())).unwrap();
        let error = store.acquire(&id).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let error = store.update(&id, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
