//! The loop that answers.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::guard::{Guard, Side, remove_beside, wait_for_end};
use super::inherited::relatives;
use super::known::{Directories, Threads};
use super::late::{Owner, Owners};
use super::resolve::Caller;
use super::watch::Watch;
use crate::path::AbsPath;
use crate::snapshot::intercept::protocol::{
    About, Answer, Ask, Begin, CURRENT, ENTRY, OVER, QUESTIONS, receive, send,
};
use crate::snapshot::intercept::sweep::remove_when_done;
use crate::sys::seccomp::{Asked, Call, Listener, SharedSlot, asked, receive_descriptor};

/// How long records may wait to be put on stable storage while calls come in, and while none do.
const BUSY_SYNC: Duration = Duration::from_secs(1);
const IDLE_SYNC: Duration = Duration::from_millis(100);
/// How long to wait for somebody where there is nobody yet.
const LONELY: Duration = Duration::from_secs(10);

/// A shell's listener.
struct Watched {
    listener: Listener,
    shell: u64,
}

/// The process that answers.
pub(super) struct Host {
    session: PathBuf,
    control: UnixListener,
    guard: Option<Guard>,
    /// Connections that have not said what they are for.
    newcomers: Vec<UnixStream>,
    questions: Vec<UnixStream>,
    entries: Vec<UnixStream>,
    listeners: Vec<Watched>,
    slot: SharedSlot,
    watch: Option<Watch>,
    /// The ends of processes that remove what is not needed any more.
    removers: Vec<OwnedFd>,
    threads: Threads,
    directories: Directories,
    /// A process may have another root than this one.
    other_root: bool,
    owners: Owners,
    /// The command that ran last, when none runs.
    over: Option<Begin>,
    /// Where what its processes change since is listed, once they did.
    listing: Option<Watch>,
    had_company: bool,
}

impl Host {
    pub(super) fn new(session: &Path, control: UnixListener) -> io::Result<Self> {
        Ok(Self {
            session: session.to_path_buf(),
            control,
            guard: None,
            newcomers: Vec::new(),
            questions: Vec::new(),
            entries: Vec::new(),
            listeners: Vec::new(),
            slot: SharedSlot::new()?,
            watch: None,
            removers: Vec::new(),
            threads: Threads::default(),
            directories: Directories::default(),
            other_root: false,
            owners: Owners::default(),
            over: None,
            listing: None,
            had_company: false,
        })
    }

    /// Answers until nobody is left.
    pub(super) fn live(mut self) -> io::Result<()> {
        self.get_guarded()?;
        loop {
            let ready = self.wait()?;
            if ready.guard_gone {
                self.guard = None;
                self.get_guarded()?;
                continue;
            }
            for at in ready.listeners {
                self.answer(at)?;
            }
            if ready.others {
                self.meet()?;
            }
            if ready.deserted {
                self.listeners.retain(|one| !one.listener.is_deserted());
            }
            self.sync_when_due(ready.idle)?;
            let alone = self.newcomers.is_empty()
                && self.questions.is_empty()
                && self.entries.is_empty()
                && self.listeners.is_empty();
            self.had_company |= !alone;
            if alone && (self.had_company || ready.idle) {
                break;
            }
        }
        if let Some(guard) = self.guard.take() {
            guard.dismiss();
        }
        // The session's directory is not empty before.
        self.removers.iter().for_each(wait_for_end);
        remove_when_done(&self.session);
        Ok(())
    }

    /// Lets go of what can be found out again.
    fn forget(&self) {
        self.threads.forget();
        self.directories.forget();
    }

    /// Makes a stand-in. Returns in the stand-in too, when it has to take over.
    fn get_guarded(&mut self) -> io::Result<()> {
        self.forget();
        loop {
            match Guard::make()? {
                Side::Guarded(guard) => {
                    self.guard = Some(guard);
                    return Ok(());
                }
                Side::TookOver(came) => self.take_over(came)?,
            }
        }
    }

    /// Goes on where the process before this one was killed.
    fn take_over(&mut self, came: Vec<(OwnedFd, u64)>) -> io::Result<()> {
        self.guard = None;
        // Whoever was connected to the other process connects anew.
        self.newcomers.clear();
        self.questions.clear();
        self.entries.clear();
        for (listener, shell) in came {
            let listener = Listener::from(listener);
            self.listeners.push(Watched { listener, shell });
        }
        self.watch = match std::fs::read(self.session.join(CURRENT)) {
            Ok(bytes) => {
                let begin: Begin = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
                Some(Watch::new(begin)?)
            }
            Err(_) => None,
        };
        self.listing = None;
        self.over = std::fs::read(self.session.join(OVER))
            .ok()
            .and_then(|bytes| postcard::from_bytes(&bytes).ok());
        self.directories.begin();
        // The roots of processes that ran meanwhile are not known.
        self.other_root = true;
        if let Some(call) = self.slot.get().pending() {
            self.look_at(&call);
            for one in &self.listeners {
                if one.listener.is_waiting(call.id) {
                    one.listener.go_on(call.id)?;
                }
            }
            self.slot.get().clear();
        }
        Ok(())
    }

    fn answer(&mut self, at: usize) -> io::Result<()> {
        let received = self.listeners[at].listener.receive(self.slot.get())?;
        if let Some(call) = received {
            self.look_at(&call);
            self.listeners[at].listener.go_on(call.id)?;
        }
        self.slot.get().clear();
        Ok(())
    }

    /// Saves what a call may change. Whatever goes wrong, the call is carried out.
    fn look_at(&mut self, call: &Call) {
        let Some(asked) = asked(call.number) else {
            return;
        };
        let other_root = self.other_root;
        if matches!(asked, Asked::ChangeRoot | Asked::Mount) {
            self.other_root = true;
        }
        let watch = match self.list_for(call.thread) {
            List::Record => self.watch.as_mut(),
            List::Late => self.listing.as_mut(),
            List::None => None,
        };
        let Some(watch) = watch else { return };
        let caller = Caller {
            thread: call.thread,
            other_root,
            threads: &self.threads,
            directories: &self.directories,
        };
        if let Err(error) = watch.before(call, asked, caller)
            && let Some(reason) = remark(asked, &error)
            && let Ok(root) = AbsPath::new("/")
            && let Err(error) = watch.miss(root, reason)
        {
            watch.fail(error);
        }
        watch.flush();
    }

    /// What writes down what a thread does: of the command that runs, else the list of late changes.
    fn list_for(&mut self, thread: u32) -> List {
        let listeners = &self.listeners;
        let is_shell = |process: u32| listeners.iter().any(|one| one.shell == u64::from(process));
        if let Some(watch) = &mut self.watch {
            watch.owner = self.owners.of(thread, &is_shell, &watch.begin, false);
            return List::Record;
        }
        let Some(over) = &self.over else {
            return List::None;
        };
        let owner = self.owners.of(thread, &is_shell, over, true);
        if owner == Owner::Current {
            return List::None;
        }
        if self.listing.is_none() {
            self.listing = Watch::list_late(over, &self.session).ok();
        }
        match self.listing.as_mut().filter(|one| !one.is_full()) {
            Some(listing) => {
                listing.owner = owner;
                List::Late
            }
            None => List::None,
        }
    }

    fn meet(&mut self) -> io::Result<()> {
        self.control.set_nonblocking(true)?;
        while let Ok((stream, _)) = self.control.accept() {
            stream.set_nonblocking(false)?;
            self.newcomers.push(stream);
        }
        for mut stream in std::mem::take(&mut self.newcomers) {
            if !is_ready(&stream)? {
                self.newcomers.push(stream);
                continue;
            }
            let mut purpose = [0];
            match stream.read(&mut purpose) {
                Ok(1) if purpose[0] == QUESTIONS => self.questions.push(stream),
                Ok(1) if purpose[0] == ENTRY => self.entries.push(stream),
                _ => {}
            }
        }
        for stream in std::mem::take(&mut self.entries) {
            if is_ready(&stream)? {
                self.let_in(stream)?;
            } else {
                self.entries.push(stream);
            }
        }
        for mut stream in std::mem::take(&mut self.questions) {
            if !is_ready(&stream)? {
                self.questions.push(stream);
                continue;
            }
            if let Ok(Some(ask)) = receive::<Ask>(&mut stream) {
                let answer = match ask {
                    Ask::About => Ok(Answer::About(self.about())),
                    ask => self.consider(ask).map(|()| Answer::Done),
                };
                let answer = answer.unwrap_or_else(|error| Answer::Failed(error.to_string()));
                if send(&mut stream, &answer).is_ok() {
                    self.questions.push(stream);
                }
            }
        }
        Ok(())
    }

    /// Takes the listener of a new shell; the stand-in has it too before the shell goes on.
    fn let_in(&mut self, mut stream: UnixStream) -> io::Result<()> {
        let Ok(Some((listener, shell))) = receive_descriptor(stream.as_fd()) else {
            return Ok(());
        };
        if let Some(guard) = &self.guard {
            guard.give(listener.as_fd(), shell)?;
        }
        let listener = Listener::from(listener);
        listener.wake_quickly();
        self.listeners.push(Watched { listener, shell });
        // A shell that is gone already shows as a listener that is deserted.
        let _ = stream.write_all(b"k");
        Ok(())
    }

    fn consider(&mut self, ask: Ask) -> io::Result<()> {
        match ask {
            Ask::Begin(begin) => {
                let number = begin.number;
                if self
                    .watch
                    .as_ref()
                    .is_some_and(|watch| watch.begin.number == number)
                {
                    return Ok(());
                }
                let bytes = postcard::to_stdvec(&begin).map_err(io::Error::other)?;
                let mut watch = Watch::new(begin)?;
                if number > 0 {
                    let shells: Vec<u32> =
                        self.listeners.iter().map(|one| one.shell as u32).collect();
                    let is_shell = |process: u32| shells.contains(&process);
                    let relatives = relatives(&shells);
                    self.owners.begin(&relatives);
                    let about = watch.begin.clone();
                    watch.keep_what_is_open(&relatives, self.other_root, |process| {
                        self.owners.of(process, &is_shell, &about, false)
                    });
                    watch.flush();
                }
                let new = self.session.join("current.new");
                std::fs::write(&new, bytes)?;
                std::fs::rename(&new, self.session.join(CURRENT))?;
                let _ = std::fs::remove_file(self.session.join(OVER));
                self.over = None;
                self.listing = None;
                self.directories.begin();
                self.watch = Some(watch);
                Ok(())
            }
            // Answered by itself.
            Ask::About => Ok(()),
            Ask::End { number } => {
                let Some(watch) = self.watch.as_mut().filter(|w| w.begin.number == number) else {
                    return Ok(());
                };
                watch.settle(None, &self.directories)?;
                watch.sync()?;
                let failed = watch.take_failure();
                self.over = self.watch.take().map(|watch| watch.begin);
                self.owners.end();
                self.forget();
                std::fs::rename(self.session.join(CURRENT), self.session.join(OVER))?;
                failed.map_or(Ok(()), Err)
            }
            Ask::Remove { directories } => {
                self.removers.retain(|end| !is_ready(end).unwrap_or(true));
                self.removers.push(remove_beside(&directories)?);
                Ok(())
            }
        }
    }

    fn about(&self) -> About {
        let snapshot = |begin: &Begin| begin.snapshot.clone();
        About {
            host: std::process::id(),
            stand_in: self.guard.as_ref().map(Guard::process),
            shells: self.listeners.iter().map(|one| one.shell as u32).collect(),
            command: self.watch.as_ref().map(|watch| snapshot(&watch.begin)),
            last_command: self.over.as_ref().map(snapshot),
            late: self
                .listing
                .as_ref()
                .map_or(0, |one| one.model.late.len() as u64),
        }
    }

    fn sync_when_due(&mut self, idle: bool) -> io::Result<()> {
        if let Some(watch) = &mut self.watch
            && let Some(since) = watch.unsynced_since()
            && (idle || since.elapsed() > BUSY_SYNC)
        {
            watch.sync()?;
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut watched: Vec<PollFd<'_>> = Vec::with_capacity(8);
        for one in &self.listeners {
            watched.push(PollFd::new(&one.listener, PollFlags::IN));
        }
        let listeners = watched.len();
        if let Some(guard) = &self.guard {
            watched.push(PollFd::from_borrowed_fd(guard.end(), PollFlags::IN));
        }
        let others = watched.len();
        watched.push(PollFd::new(&self.control, PollFlags::IN));
        let streams = self
            .newcomers
            .iter()
            .chain(&self.questions)
            .chain(&self.entries);
        watched.extend(streams.map(|stream| PollFd::new(stream, PollFlags::IN)));
        let unsynced = self
            .watch
            .as_ref()
            .and_then(Watch::unsynced_since)
            .is_some();
        let limit = match (unsynced, self.had_company) {
            (true, _) => Some(IDLE_SYNC),
            (false, false) => Some(LONELY),
            (false, true) => None,
        };
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let count = match poll(&mut watched, limit.as_ref()) {
            Ok(count) => count,
            Err(rustix::io::Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        };
        let is = |at: usize, flags: PollFlags| watched[at].revents().intersects(flags);
        Ok(Ready {
            idle: count == 0,
            listeners: (0..listeners).filter(|at| is(*at, PollFlags::IN)).collect(),
            deserted: (0..listeners).any(|at| is(at, PollFlags::HUP)),
            guard_gone: (listeners..others).any(|at| !watched[at].revents().is_empty()),
            others: (others..watched.len()).any(|at| !watched[at].revents().is_empty()),
        })
    }
}

/// Where what a thread does is written down.
enum List {
    /// With the command that runs.
    Record,
    /// Among the late changes.
    Late,
    /// Nowhere.
    None,
}

/// What there is to do.
#[derive(Default)]
struct Ready {
    idle: bool,
    listeners: Vec<usize>,
    deserted: bool,
    guard_gone: bool,
    others: bool,
}

/// Whether reading gives something, or tells the end.
fn is_ready(stream: &impl AsFd) -> io::Result<bool> {
    let mut watched = [PollFd::new(stream, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    Ok(poll(&mut watched, Some(&now))? > 0)
}

/// What people should know of a call that could not be looked into. Most fail for the command too: what
/// they name is not there.
fn remark(asked: Asked, error: &io::Error) -> Option<String> {
    use io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory, NotFound};
    if matches!(
        error.kind(),
        NotFound | NotADirectory | IsADirectory | InvalidInput
    ) {
        return None;
    }
    match error.raw_os_error() {
        // Where this process may not look, neither may the command.
        Some(
            libc::EACCES
            | libc::ELOOP
            | libc::ENAMETOOLONG
            | libc::ESRCH
            | libc::EBADF
            | libc::EFAULT,
        ) => None,
        _ => Some(format!(
            "a call ({asked:?}) could not be looked into: {error}"
        )),
    }
}
