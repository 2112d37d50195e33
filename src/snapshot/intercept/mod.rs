//! The `intercept` strategy: being asked before the command changes anything.
//!
//! Before the shell is executed it is put under a filter that is inherited by everything it starts
//! ([`sys::seccomp`](crate::sys)). The kernel then stops each system call that can change a file or a
//! name, and asks a process (`host`) that saves the old state first and lets the call go on. Nothing
//! is walked or copied beforehand, no path is guessed, and it costs what the command destroys.
//!
//! ```text
//! engine                   session ── ask ──>  host <── stand-in
//!  begin, seal             launch ── listener ──^  |
//!                            shell and all it starts ── calls
//! host: calls ─> resolve ─> watch, keep ─> log, content          (record, model, territory)
//! follow: log ─> kept files read and placed, while the command runs
//! seal: rest of it ─> expand ─> changes, names ─> place ─> Sealed
//! ```
//!
//! What a command touched before is known by the path that it had *then*: `territory` follows
//! directories that are renamed, so that a rename is one record however much lies in the directory.
//! Content is known by inode, and is kept once. What lies in directories that the command made needs
//! no record at all.

mod capture;
mod changes;
mod expand;
mod follow;
mod gains;
mod hasher;
mod host;
mod late;
mod live;
mod log;
mod model;
mod names;
mod outcome;
mod place;
mod places;
mod protocol;
mod record;
mod rules;
mod session;
mod sessions;
mod sweep;
mod territory;
mod token;
mod types;

pub use host::answer;
pub use late::late_changes;
pub use session::Interception;
pub use sessions::sessions;
pub use types::{HolderReport, InterceptionHost, SessionReport, ToStart};

use std::sync::{Arc, OnceLock};

use self::capture::InterceptCapture;
use self::token::Token;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::path::AbsPath;
use crate::snapshot::{Capability, Capture, CaptureRequest, SnapshotStrategy};
use crate::store::Store;
use crate::sys;

/// The strategy's name.
pub const NAME: &str = "intercept";

/// Files in a session's directory that are worth nothing once it is over.
const LEFTOVERS: [&str; 5] = [
    protocol::CONTROL,
    protocol::CURRENT,
    protocol::OVER,
    "current.new",
    "problems",
];

/// Saves what a command changes at the moment of its first call that changes it.
pub struct Intercept {
    store: Store,
    host: Option<InterceptionHost>,
    session: Session,
    tried: OnceLock<std::result::Result<(), String>>,
}

/// What there is to be asked.
enum Session {
    /// The shell has not been started.
    None,
    /// The processes of the shell are intercepted.
    Held(Arc<Interception>),
    /// That was not possible.
    Refused(String),
}

impl Intercept {
    /// The strategy of a store. Without `host` it cannot be used.
    pub fn new(store: Store, host: Option<InterceptionHost>) -> Self {
        Self {
            store,
            host,
            session: Session::None,
            tried: OnceLock::new(),
        }
    }

    /// The same for the commands of one shell, which is about to be started: with what it has to take
    /// on, or with the reason why that is not possible.
    #[must_use]
    pub fn for_shell(&self, shell: &ToStart<'_>) -> (Self, Option<Arc<Interception>>) {
        let fit = self.usable().and_then(|host| {
            let obstacle = gains::obstacle(&shell.programs, shell.path, shell.cwd);
            obstacle.map_or(Ok(host), Err)
        });
        let started = fit.and_then(|host| {
            let started = Interception::start(host, &self.store);
            started.map(Arc::new).map_err(|e| e.to_string())
        });
        let bound = |session| Self {
            store: self.store.clone(),
            host: self.host.clone(),
            session,
            tried: OnceLock::new(),
        };
        match started {
            Ok(held) => (bound(Session::Held(Arc::clone(&held))), Some(held)),
            Err(why) => (bound(Session::Refused(why)), None),
        }
    }

    /// The program that answers, where this system can ask it; else why not.
    fn usable(&self) -> std::result::Result<&InterceptionHost, String> {
        let host = self.host.as_ref();
        let host = host.ok_or("no program is named that would answer for intercepted calls")?;
        let tried = self.tried.get_or_init(sys::seccomp::try_out);
        tried.clone().map(|()| host)
    }
}

impl SnapshotStrategy for Intercept {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> u32 {
        1
    }

    fn capability(&self) -> Capability {
        Capability {
            content: true,
            metadata: true,
            created: true,
            resume: true,
            zero_copy: true,
        }
    }

    fn spans_volumes(&self) -> bool {
        true
    }

    fn probe(&self, path: &AbsPath) -> std::result::Result<String, String> {
        match &self.session {
            Session::Refused(why) => return Err(why.clone()),
            Session::Held(_) => {}
            Session::None => {
                self.usable()?;
            }
        }
        let mounts = sys::mounts().map_err(|e| format!("the mount table cannot be read: {e}"))?;
        match sys::mount_of(path.as_path(), &mounts) {
            Some(mount) if host::is_foreign(mount) => {
                Err(format!("changes on {} are not followed", mount.filesystem))
            }
            _ => Ok("calls that change something are intercepted".into()),
        }
    }

    fn begin(&self, request: CaptureRequest<'_>) -> Result<Box<dyn Capture>> {
        let Session::Held(session) = &self.session else {
            let context = "the shell was not started under interception";
            return Err(Error::new(ErrorKind::Unsupported, Stage::Capture, context));
        };
        let capture = InterceptCapture::begin(&self.store, session, request)?;
        Ok(Box::new(capture))
    }

    fn resume(&self, token: &[u8]) -> Result<Box<dyn Capture>> {
        let token = Token::decode(token).ok_or_else(|| {
            let context = "the capture cannot be resumed: its token is not readable";
            Error::new(ErrorKind::Corrupt, Stage::Capture, context)
        })?;
        Ok(Box::new(InterceptCapture::resume(&self.store, token)?))
    }

    fn sweep(&self) -> Result<()> {
        sweep::sweep(&self.store)
    }
}
