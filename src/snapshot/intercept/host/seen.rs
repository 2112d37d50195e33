//! What a call tells besides what is to be kept: effects that nobody takes back, changes where none are
//! followed, and the work of processes that outlived their command.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use super::calls::socket_name;
use super::late::Owner;
use super::resolve::Caller;
use super::watch::Watch;
use crate::path::AbsPath;
use crate::snapshot::intercept::late;
use crate::snapshot::intercept::protocol::Begin;
use crate::snapshot::intercept::record::{OWN_LISTENER, Record};
use crate::sys::seccomp::{Call, read_bytes};

/// The most of each that is written down of one command.
const MOST_EFFECTS: usize = 50;
const MOST_OUTSIDE: usize = 1000;
const MOST_LATE: usize = 10_000;

/// Sockets that only answer questions, or take lines for a log: every other program asks there.
const ONLY_ASKED: [&str; 7] = [
    "/dev/log",
    "/run/nscd",
    "/run/systemd/journal",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/var/lib/sss/pipes",
    "/var/run/nscd",
];

impl Watch {
    /// Lists what processes of commands that are over change, in the store.
    pub(super) fn list_late(over: &Begin, session: &Path) -> io::Result<Self> {
        let log = late::make_list(&over.store, session, None)?;
        Self::listing(over.clone(), &log)
    }

    /// Whether no more is listed.
    pub(super) fn is_full(&self) -> bool {
        self.model.late.len() >= MOST_LATE
    }

    /// What is at `path` is about to be changed, and changes there are followed.
    pub(super) fn see_late(&mut self, path: &AbsPath) -> io::Result<()> {
        let Owner::Earlier(command) = &self.owner else {
            return Ok(());
        };
        // As the record names it.
        let path = self.before_at(path).unwrap_or(path.clone());
        if self.model.late.contains_key(&path) || self.is_full() {
            return Ok(());
        }
        let command = command.clone();
        self.add(Record::Late { path, command })
    }

    /// What is at `path` is about to be changed, and is left alone. What is there only while the system
    /// runs is worth a word; what shows the system's state is none.
    pub(super) fn see_outside(&mut self, path: AbsPath) -> io::Result<()> {
        let lasting = path.as_path().starts_with("/run") && !self.is_excluded(&path);
        if !lasting
            || self.owner != Owner::Current
            || self.model.outside.contains(&path)
            || self.model.outside.len() >= MOST_OUTSIDE
        {
            return Ok(());
        }
        self.add(Record::Outside { path })
    }

    /// The path that the name at `path` had when the command began; `None`: the directory that holds it
    /// did not exist.
    fn before_at(&self, path: &AbsPath) -> Option<AbsPath> {
        match (path.parent(), path.name()) {
            (Some(parent), Some(name)) => self.model.territory.origin(&parent)?.join(name).ok(),
            _ => Some(path.clone()),
        }
    }

    fn is_excluded(&self, path: &AbsPath) -> bool {
        self.begin.excluded.iter().any(|out| path.starts_with(out))
    }

    /// A program wants a listener of its own, which it does not get.
    pub(super) fn meet_listener(&mut self) -> io::Result<()> {
        if !self.model.own_listener {
            self.add(Record::OwnListener)?;
        }
        self.note(OWN_LISTENER.into())
    }

    /// A connection to somebody, who may do anything on the command's behalf.
    pub(super) fn connect(&mut self, call: &Call, caller: Caller) -> io::Result<()> {
        let [_, address, length, ..] = call.arguments;
        let family = u16::from_ne_bytes(read_bytes(call.thread, address)?);
        match i32::from(family) {
            libc::AF_UNIX => {
                let name = socket_name(call.thread, address, length)?;
                self.connect_here(caller, &name)
            }
            libc::AF_INET => {
                let bytes: [u8; 8] = read_bytes(call.thread, address)?;
                let mut ip = [0; 4];
                ip.copy_from_slice(&bytes[4..]);
                let port = u16::from_be_bytes([bytes[2], bytes[3]]);
                self.connect_to(SocketAddr::new(Ipv4Addr::from(ip).into(), port))
            }
            libc::AF_INET6 => {
                let bytes: [u8; 24] = read_bytes(call.thread, address)?;
                let mut ip = [0; 16];
                ip.copy_from_slice(&bytes[8..]);
                let ip = Ipv6Addr::from(ip).to_canonical();
                let port = u16::from_be_bytes([bytes[2], bytes[3]]);
                self.connect_to(SocketAddr::new(ip, port))
            }
            _ => Ok(()),
        }
    }

    /// To a socket with a name in the filesystem, unless the command made it.
    fn connect_here(&mut self, caller: Caller, name: &[u8]) -> io::Result<()> {
        if name.is_empty() {
            return Ok(());
        }
        let spot = caller.spot(libc::AT_FDCWD, name, true)?;
        let (Some(_), Some(path)) = (spot.stat()?, spot.path()) else {
            return Ok(());
        };
        let only_asked = ONLY_ASKED.iter().any(|one| path.as_path().starts_with(one));
        let own = match self.before_at(&path) {
            None => true,
            Some(slot) => self
                .model
                .was
                .get(&slot)
                .is_some_and(|was| was.state.is_none()),
        };
        if only_asked || own {
            return Ok(());
        }
        self.effect("service", format!("connected to {path}"))
    }

    fn connect_to(&mut self, address: SocketAddr) -> io::Result<()> {
        let own = address.ip().is_loopback();
        let what = if own { "service" } else { "network" };
        self.effect(what, format!("connected to {address}"))
    }

    fn effect(&mut self, what: &str, reason: String) -> io::Result<()> {
        let effect = (what.to_owned(), reason);
        if self.owner != Owner::Current
            || self.model.effects.contains(&effect)
            || self.model.effects.len() >= MOST_EFFECTS
        {
            return Ok(());
        }
        let (what, reason) = effect;
        self.add(Record::Effect { what, reason })
    }
}
