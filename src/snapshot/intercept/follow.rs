//! Reading a command's records while it runs, and the files that it removed: what is done by then need
//! not be done when it is over.
//!
//! Nothing depends on it. Whatever was not read in time is read by the seal.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rayon::prelude::*;

use super::live::{Reading, anew, read_kept};
use super::log::{self, decode};
use super::model::Model;
use super::places::{Opened, Places as KeptPlaces, Shelf};
use super::record::{Inode, Record, Stored};
use crate::entry::{ContentHash, Timestamp};
use crate::path::AbsPath;
use crate::snapshot::tree::stored::stored_name;
use crate::snapshot::tree::walk::lock;
use crate::sys::Dir;

/// How long to wait before looking whether there are more records: after some came, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(200));
/// The most bytes of records that are taken at once.
const PIECE: usize = 1 << 20;

/// A thread that reads a command's records.
pub(super) struct Follower {
    /// `None` once it was waited for.
    thread: Option<JoinHandle<Followed>>,
    over: Arc<Over>,
}

#[derive(Default)]
struct Over {
    is: Mutex<bool>,
    told: Condvar,
}

/// What was read of a command.
#[derive(Default)]
pub(super) struct Followed {
    pub(super) model: Model,
    pub(super) looked: Looked,
    /// Bytes of records that were taken into account.
    position: u64,
    failed: bool,
}

/// What is known of files that are kept whole.
#[derive(Debug, Default)]
pub(super) struct Looked {
    files: HashMap<Inode, WholeFile>,
    /// Names in the snapshot that are not needed.
    pub(super) strays: Vec<String>,
}

/// A file that is kept whole, and was read.
#[derive(Debug)]
struct WholeFile {
    stored: Stored,
    size: u64,
    modified: Timestamp,
    hash: ContentHash,
    shelved: Option<String>,
}

impl Follower {
    /// Begins to read the records at `log`. Content in the store is put on `shelf`.
    pub(super) fn start(log: PathBuf, shelf: &Shelf) -> io::Result<Self> {
        let over = Arc::<Over>::default();
        let told = Arc::clone(&over);
        let shelf = shelf.open().map_err(io::Error::other)?;
        let thread = std::thread::Builder::new()
            .name("records".into())
            .spawn(move || follow(&log, &shelf, &told))?;
        Ok(Self {
            thread: Some(thread),
            over,
        })
    }

    /// What was read, all of the records among it: no more are written. `None`: they have to be read
    /// from the beginning.
    pub(super) fn finish(mut self) -> Option<Followed> {
        self.over.tell();
        let followed = self.thread.take()?.join().ok();
        followed.filter(|followed| !followed.failed)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.over.tell();
    }
}

impl Over {
    fn tell(&self) {
        *lock(&self.is) = true;
        self.told.notify_all();
    }

    /// Waits, and tells whether the command is over.
    fn wait(&self, at_most: Duration) -> bool {
        let is = lock(&self.is);
        let waited = self.told.wait_timeout_while(is, at_most, |is| !*is);
        waited.map_or(true, |(is, _)| *is)
    }
}

fn follow(log: &std::path::Path, shelf: &Opened, over: &Over) -> Followed {
    let mut followed = Followed::default();
    let mut places = Places::default();
    let mut file = None;
    let mut pause = PAUSES.0;
    loop {
        let is_over = over.wait(pause);
        if file.is_none() {
            file = File::open(log).ok();
        }
        let mut came = false;
        while let Some(file) = &file {
            match followed.take(file, &mut places, shelf, is_over) {
                Ok(true) => came = true,
                Ok(false) => break,
                Err(error) => {
                    tracing::debug!(%error, "records are not read while the command runs");
                    followed.failed = true;
                    return followed;
                }
            }
        }
        if is_over {
            return followed;
        }
        pause = if came {
            PAUSES.0
        } else {
            (pause * 2).min(PAUSES.1)
        };
    }
}

/// The directories in which content is kept, by number; those on other volumes than the store are
/// left to the seal.
#[derive(Default)]
struct Places(Vec<(AbsPath, Option<Dir>)>);

impl Followed {
    /// Takes the next records into account; tells whether there were any.
    fn take(
        &mut self,
        file: &File,
        places: &mut Places,
        shelf: &Opened,
        is_over: bool,
    ) -> io::Result<bool> {
        let mut bytes = vec![0; PIECE];
        let read = file.read_at(&mut bytes, self.position)?;
        let (records, mut whole) = decode(&bytes[..read]);
        if whole == 0 && read == PIECE {
            // A record that is longer than a piece.
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if records.is_empty() {
            whole = 0;
        }
        self.position += whole as u64;
        let came = !records.is_empty();
        for record in records {
            self.apply(record, places, shelf, is_over);
        }
        Ok(came)
    }

    fn apply(&mut self, record: Record, places: &mut Places, shelf: &Opened, is_over: bool) {
        match &record {
            Record::Place { directory } => {
                let beside = super::capture::volume_of(directory).is_some();
                let dir = if beside {
                    None
                } else {
                    Dir::open(directory).ok()
                };
                places.0.push((directory.clone(), dir));
            }
            Record::Kept { inode, .. } => {
                // What stands for it now is something else.
                let known = self.looked.files.remove(inode);
                self.looked
                    .strays
                    .extend(known.and_then(|file| file.shelved));
            }
            _ => {}
        }
        let went = match &record {
            // What is left is done by all processors at once.
            Record::Went { path, stored, .. } if !is_over => Some((path.clone(), *stored)),
            _ => None,
        };
        self.model.apply(record);
        if let Some((path, stored)) = went
            && let Some((_, Some(place))) = places.0.get(stored.place as usize)
        {
            self.look(&path, stored, place, shelf);
        }
    }

    /// Reads a file that is kept whole, and gives it its name in the snapshot.
    fn look(&mut self, path: &AbsPath, stored: Stored, place: &Dir, shelf: &Opened) {
        let Some(was) = self
            .model
            .was
            .get(path)
            .and_then(|was| was.state.as_deref())
        else {
            return;
        };
        let Ok((state, Some(reading))) = read_kept(place, &stored, was) else {
            return;
        };
        let inode = (state.identity.device, state.identity.inode);
        let file = WholeFile {
            stored,
            size: state.size,
            modified: state.modified,
            hash: reading.hash,
            shelved: reading
                .alone
                .then(|| put(path, stored, place, shelf))
                .flatten(),
        };
        self.looked.files.insert(inode, file);
        self.model.apply(Record::Was {
            path: path.clone(),
            state: Some(Box::new(state)),
        });
    }
}

/// Gives a file that is kept a name in the snapshot.
fn put(path: &AbsPath, stored: Stored, place: &Dir, shelf: &Opened) -> Option<String> {
    let name = format!(
        "{}{}",
        shelf.prefix,
        stored_name(stored.number as usize, path)
    );
    let (kept, to) = (stored.name(), OsStr::new(&name));
    let linked = anew(&shelf.dir, to, || place.link(kept.as_ref(), &shelf.dir, to));
    linked.is_ok().then_some(name)
}

impl Looked {
    /// What was read of files that are as they were then.
    pub(super) fn still_true(&mut self, places: &KeptPlaces) -> HashMap<Inode, Reading> {
        let check = |(inode, file): (Inode, WholeFile)| {
            let place = places.dir_of(&file.stored);
            let stat = place.and_then(|place| place.stat(file.stored.name().as_ref()));
            let names = 1 + u64::from(file.shelved.is_some());
            match stat {
                Ok(stat) if stat.size == file.size && stat.modified == file.modified => {
                    let reading = Reading {
                        hash: file.hash,
                        alone: stat.identity.links == names,
                        shelved: file.shelved,
                    };
                    (Some((inode, reading)), None)
                }
                _ => (None, file.shelved),
            }
        };
        let files = std::mem::take(&mut self.files);
        let checked: Vec<_> = files.into_par_iter().map(check).collect();
        let mut readings = HashMap::with_capacity(checked.len());
        for (reading, stray) in checked {
            readings.extend(reading);
            self.strays.extend(stray);
        }
        readings
    }
}

/// All records in the file at `path`, and what is known of what they speak of: nothing.
pub(super) fn read_all(path: &std::path::Path) -> io::Result<Followed> {
    Ok(Followed {
        model: Model::of(log::read(path)?),
        ..Followed::default()
    })
}
