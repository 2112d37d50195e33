//! What the agent remembers on disk: ids it has accepted, and results that are not delivered yet.

mod changes;
mod clock;
mod ledger;
mod outbox;
mod schema;
mod steps;

pub(super) use changes::UnfinishedChange;
pub(super) use ledger::{Acceptance, Kind, Unfinished};
pub(super) use outbox::Stored;
pub(super) use steps::Step;

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::error::{Error, ErrorKind, IoContext as _, Result, Stage};
use crate::path::escape;
use crate::snapshot::tree::IGNORE_FILE;
use crate::sys::durable::{self, Directory, Durability};
use clock::Clock;

/// The agent's own directory. One agent at a time uses it.
pub(super) struct State {
    database: Mutex<Connection>,
    clock: Clock,
    path: PathBuf,
    directory: Directory,
    _lock: File,
}

impl State {
    /// Opens the directory at `path`, which is made (0700) where it does not exist.
    ///
    /// # Errors
    /// `UnsafeStore` where it is a symbolic link, somebody else's or writable by others; `Busy` where
    /// another agent uses it; `Corrupt` where its database cannot be read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = escape(path);
        make_private(path).context(Stage::Agent, || {
            format!("cannot make the directory {shown}")
        })?;
        let directory = Directory::open(path).context(Stage::Agent, || {
            format!("cannot open the agent's directory {shown}")
        })?;
        let ownership = directory
            .ownership()
            .context(Stage::Agent, || format!("cannot examine {shown}"))?;
        if ownership.uid != durable::own_uid() || ownership.mode & 0o022 != 0 {
            return Err(Error::new(
                ErrorKind::UnsafeStore,
                Stage::Agent,
                format!(
                    "the agent's directory {shown} belongs to user {} and has mode {:04o}: it must \
                     be this user's own, and nobody else may write to it",
                    ownership.uid, ownership.mode
                ),
            ));
        }
        let lock = directory
            .open_lock("lock")
            .context(Stage::Agent, || format!("cannot lock {shown}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::Busy,
                    Stage::Agent,
                    format!("another agent uses {shown}"),
                ));
            }
            Err(TryLockError::Error(e)) => {
                return Err(Error::io(Stage::Agent, format!("cannot lock {shown}"), e));
            }
        }
        leave_alone(path)?;
        let database = path.join("agent.sqlite");
        keep_private(&database).context(Stage::Agent, || {
            format!("cannot keep {} from others", escape(&database))
        })?;
        let database = schema::open(&database)?;
        let latest: f64 = database
            .query_row("SELECT COALESCE(MAX(at), 0.0) FROM accepted", [], |row| {
                row.get(0)
            })
            .map_err(failed("opening"))?;
        Ok(Self {
            clock: Clock::starting_at(latest),
            database: Mutex::new(database),
            path: path.to_owned(),
            directory,
            _lock: lock,
        })
    }

    /// A new file, for this user only, among the long outputs.
    pub(super) fn new_output(&self) -> Result<(File, PathBuf)> {
        let path = self.outputs()?;
        let path = path.join(format!("{:016x}.log", rand::random::<u64>()));
        let file = private(File::options().write(true).create_new(true)).open(&path);
        let file = file.context(Stage::Agent, || format!("cannot make {}", escape(&path)))?;
        Ok((file, path))
    }

    /// Where long outputs are kept; made where it does not exist.
    pub(super) fn outputs(&self) -> Result<PathBuf> {
        let path = self.path.join("outputs");
        make_private(&path).context(Stage::Agent, || format!("cannot make {}", escape(&path)))?;
        Ok(path)
    }

    /// The id that this host goes by where nobody chose one: the same at every start.
    pub(super) fn own_id(&self) -> Result<String> {
        if let Some(id) = known_id(&self.path)? {
            return Ok(id);
        }
        let file = self.path.join("agent_id");
        let id = format!("agent-{:016x}", rand::random::<u64>());
        let write = |file: &mut File| writeln!(file, "{id}");
        self.directory
            .replace("agent_id.new", "agent_id", Durability::Durable, write)
            .context(Stage::Agent, || format!("cannot write {}", escape(&file)))?;
        Ok(id)
    }

    fn database(&self) -> MutexGuard<'_, Connection> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The id that is kept in an agent's directory. An empty one, which a crash of an earlier version could
/// leave, is none.
///
/// # Errors
/// Where there is one that cannot be read: with another, the host would be another one for its backend.
pub(super) fn known_id(path: &Path) -> Result<Option<String>> {
    let file = path.join("agent_id");
    match fs::read_to_string(&file) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| !id.is_empty())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let context = format!("cannot read {}", escape(&file));
            Err(Error::io(Stage::Agent, context, error))
        }
    }
}

fn make_private(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    let made = {
        use std::os::unix::fs::DirBuilderExt as _;
        fs::DirBuilder::new().mode(0o700).create(path)
    };
    #[cfg(not(unix))]
    let made = fs::create_dir(path);
    match made {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the directory out of snapshots of programs that do not know of it: taking it back would make
/// ids forgotten that were carried out since.
fn leave_alone(path: &Path) -> Result<()> {
    let file = path.join(IGNORE_FILE);
    if file.exists() {
        return Ok(());
    }
    fs::write(&file, "*\n").context(Stage::Agent, || format!("cannot write {}", escape(&file)))
}

/// Makes the database's files this user's alone, whatever the directory's mode is: requests with their
/// variables stand in them. The database gives those that it makes the mode of the first.
fn keep_private(database: &Path) -> io::Result<()> {
    private(File::options().write(true).create(true).truncate(false)).open(database)?;
    #[cfg(unix)]
    for ending in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mut file = database.as_os_str().to_owned();
        file.push(ending);
        match fs::set_permissions(file, fs::Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Opens files that only this user can read.
fn private(options: &mut fs::OpenOptions) -> &mut fs::OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

/// What the database said, as the library's error.
fn failed(what: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        use rusqlite::ErrorCode;
        let kind = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
            _ => ErrorKind::Io,
        };
        Error::new(
            kind,
            Stage::Agent,
            format!("the agent's records cannot be used ({what}): {error}"),
        )
    }
}

#[cfg(test)]
mod tests;
