//! One command's turn: everything that happens between sending it and its end.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use super::launch::Shell;
use super::process_tree::signal_descendants;
use super::supervisor::{Notice, Order};
use super::{Cancel, OutputSink, OutputStream};

/// The most that is handed to a sink at once, in bytes.
const PIECE: usize = 64 * 1024;
/// How many pieces may wait for a slow sink.
const WAITING_PIECES: usize = 4;
/// How often the cancel flag is looked at. It may be set by a signal handler, which can do no more.
const CANCEL_TICK: Duration = Duration::from_millis(20);
/// How long after the last signal the tree's end is awaited. Only a process that cannot be killed
/// (of another user, or in an uninterruptible wait) takes that long.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// What a turn waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// The command's status; the shell goes on.
    Status,
    /// The shell's end.
    End,
}

/// What is to be done in one turn.
pub(super) struct Turn<'a> {
    pub(super) input: Vec<u8>,
    /// Sent when the status was reported. The pipe must never hold two messages: fish reads more
    /// than it needs and forgets the rest.
    pub(super) farewell: Option<&'static [u8]>,
    pub(super) goal: Goal,
    pub(super) deadline: Option<Instant>,
    /// `None` while a session is closed: then the deadline ends the shell alone.
    pub(super) cancel: Option<&'a Cancel>,
    pub(super) grace: Duration,
}

/// How a turn ended. Whether the shell did too is in [`Shell::ended`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TurnEnd {
    /// The status that the driver reported.
    pub(super) status: Option<i32>,
    pub(super) timed_out: bool,
    pub(super) cancelled: bool,
    /// The driver said that the command begins.
    pub(super) started: bool,
    /// The shell ended before the command began.
    pub(super) unread: bool,
}

impl TurnEnd {
    /// Whether the whole tree was ended.
    pub(super) fn ended_tree(&self) -> bool {
        self.timed_out || self.cancelled
    }
}

/// How the shell ended: its exit status as another shell would report it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) code: i32,
    by_signal: bool,
}

/// A piece of output on its way to the sink.
pub(super) type Piece = (OutputStream, Vec<u8>);

/// The session's ends of the shell's output pipes.
pub(super) struct Outputs {
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
}

impl Outputs {
    /// Must be called in the context of the session's runtime.
    pub(super) fn new(stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stdout: Some(Receiver::from_owned_fd(stdout)?),
            stderr: Some(Receiver::from_owned_fd(stderr)?),
        })
    }

    /// The next piece, from whichever stream has one.
    async fn read(&mut self) -> io::Result<Piece> {
        tokio::select! {
            piece = read_some(&mut self.stdout) => Ok((OutputStream::Stdout, piece?)),
            piece = read_some(&mut self.stderr) => Ok((OutputStream::Stderr, piece?)),
        }
    }

    /// What is in the pipes right now, and no more: a background job may go on writing for ever.
    fn backlog(&self) -> impl Iterator<Item = (OutputStream, &Receiver, u64)> {
        [
            (OutputStream::Stdout, &self.stdout),
            (OutputStream::Stderr, &self.stderr),
        ]
        .into_iter()
        .filter_map(|(stream, receiver)| {
            let receiver = receiver.as_ref()?;
            let bytes = rustix::io::ioctl_fionread(receiver).unwrap_or(0);
            Some((stream, receiver, bytes))
        })
    }
}

/// The next bytes of one pipe. Waits for ever when all writers have closed it.
async fn read_some(source: &mut Option<Receiver>) -> io::Result<Vec<u8>> {
    while let Some(receiver) = source {
        receiver.readable().await?;
        let mut piece = Vec::with_capacity(PIECE);
        match receiver.try_read_buf(&mut piece) {
            Ok(0) => *source = None,
            Ok(_) => return Ok(piece),
            Err(error) if is_transient(&error) => {}
            Err(error) => return Err(error),
        }
    }
    pending().await
}

fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// What is going on in a turn.
struct Progress {
    unsent: Vec<u8>,
    sent: usize,
    /// A piece that the sink has no room for yet; until then nothing more is read.
    held: Option<Piece>,
    end: TurnEnd,
    tree_gone: bool,
    /// When waiting for the tree's end is given up.
    patience: Option<Instant>,
}

impl Shell {
    /// Takes a turn while this thread hands the output to `sink`.
    ///
    /// The turn itself runs on a thread of its own, so that time-outs and cancelling work while
    /// the sink blocks.
    pub(super) fn take_turn_streaming(
        &mut self,
        runtime: &Runtime,
        turn: &Turn<'_>,
        sink: &dyn OutputSink,
    ) -> io::Result<TurnEnd> {
        let (sender, receiver) = mpsc::channel::<Piece>(WAITING_PIECES);
        std::thread::scope(|scope| {
            // When the sink panics, this goes with the closure, which ends the command: the scope
            // waits for the other thread.
            let mut receiver = receiver;
            let worker = std::thread::Builder::new()
                .name("deployx-command".into())
                .spawn_scoped(scope, || {
                    runtime.block_on(self.take_turn(turn, Some(sender)))
                })?;
            while let Some((stream, piece)) = receiver.blocking_recv() {
                sink.write(stream, &piece);
            }
            match worker.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Sends the input and waits for the goal, passing output to `pieces`.
    pub(super) async fn take_turn(
        &mut self,
        turn: &Turn<'_>,
        pieces: Option<mpsc::Sender<Piece>>,
    ) -> io::Result<TurnEnd> {
        let mut progress = Progress {
            unsent: turn.input.clone(),
            sent: 0,
            held: None,
            end: TurnEnd::default(),
            tree_gone: false,
            patience: None,
        };
        let mut farewell = turn.farewell;
        let mut ticks = interval(CANCEL_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.is_over(turn, &mut progress)? {
            let unsent = progress.unsent.get(progress.sent..).unwrap_or_default();
            let ending = progress.patience.is_some();
            tokio::select! {
                ready = self.commands.writable(), if !unsent.is_empty() => {
                    ready?;
                    match self.commands.try_write(unsent) {
                        Ok(count) => progress.sent += count,
                        Err(error) if is_transient(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                ready = self.statuses.readable() => {
                    ready?;
                    self.read_statuses(&mut progress)?;
                    if progress.end.status.is_some() {
                        progress.unsent.extend(farewell.take().unwrap_or_default());
                    }
                }
                ready = self.channel.readable() => {
                    ready?;
                    self.read_notices(&mut progress)?;
                }
                piece = read_output(&mut self.outputs), if progress.held.is_none() => {
                    progress.held = Some(piece?);
                }
                room = reserve(pieces.as_ref()), if progress.held.is_some() => {
                    match (room, progress.held.take()) {
                        (Some(room), Some(piece)) => room.send(piece),
                        // What the ending tree still writes: asking again for its end would begin
                        // that anew.
                        _ if ending => {}
                        // The sink is gone: nobody can see what the command does any more.
                        _ => self.end_tree(turn, &mut progress, Order::Interrupt)?,
                    }
                }
                () = until(turn.deadline), if !ending => self.time_out(turn, &mut progress)?,
                () = until(progress.patience), if ending => break,
                _ = ticks.tick(), if !ending => {
                    if turn.cancel.is_some_and(Cancel::is_cancelled) {
                        self.end_tree(turn, &mut progress, Order::Interrupt)?;
                    }
                }
            }
        }
        self.hand_over_backlog(progress.held.take(), pieces.as_ref())
            .await?;
        Ok(progress.end)
    }

    fn is_over(&mut self, turn: &Turn<'_>, progress: &mut Progress) -> io::Result<bool> {
        if progress.patience.is_some() {
            return Ok(progress.tree_gone);
        }
        let Some(ended) = self.ended else {
            return Ok(turn.goal == Goal::Status && progress.end.status.is_some());
        };
        // A terminal sends Ctrl-C to the shell as well as to this process: the rest of the tree
        // has to end too.
        if ended.by_signal && turn.cancel.is_some_and(Cancel::is_cancelled) {
            self.end_tree(turn, progress, Order::Interrupt)?;
            return Ok(false);
        }
        // The command may have begun, or reported its status, just before the shell ended.
        self.read_last_statuses(progress)?;
        progress.end.unread = !progress.end.started;
        Ok(true)
    }

    fn time_out(&mut self, turn: &Turn<'_>, progress: &mut Progress) -> io::Result<()> {
        if turn.cancel.is_none() {
            progress.patience = Some(Instant::now() + KILL_PATIENCE);
            return self.order(Order::KillShell);
        }
        self.end_tree(turn, progress, Order::Terminate)
    }

    fn end_tree(
        &mut self,
        turn: &Turn<'_>,
        progress: &mut Progress,
        order: Order,
    ) -> io::Result<()> {
        progress.end.timed_out = order == Order::Terminate;
        progress.end.cancelled = order == Order::Interrupt;
        progress.patience = Some(Instant::now() + turn.grace + KILL_PATIENCE);
        self.order(order)
    }

    /// Reads what the driver wrote: a line with the status of each command, the first of them when
    /// it is ready, and one that says that a command begins.
    fn read_statuses(&mut self, progress: &mut Progress) -> io::Result<()> {
        let mut buffer = [0_u8; 64];
        let count = match self.statuses.try_read(&mut buffer) {
            Ok(count) => count,
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.take_statuses(buffer.get(..count).unwrap_or_default(), progress);
        Ok(())
    }

    /// Reads what is left of it, also what nobody was told of yet.
    fn read_last_statuses(&mut self, progress: &mut Progress) -> io::Result<()> {
        let mut buffer = [0_u8; 64];
        loop {
            match rustix::io::read(&self.statuses, &mut buffer) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Ok(count) => {
                    self.take_statuses(buffer.get(..count).unwrap_or_default(), progress);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The driver writes each line at once.
    fn take_statuses(&mut self, text: &[u8], progress: &mut Progress) {
        for line in text.split(|byte| *byte == b'\n') {
            if line == b"+" {
                progress.end.started = true;
                continue;
            }
            let Some(status) = std::str::from_utf8(line).ok().and_then(|s| s.parse().ok()) else {
                continue;
            };
            if self.ready {
                progress.end.status = Some(status);
            }
            self.ready = true;
        }
    }

    fn read_notices(&mut self, progress: &mut Progress) -> io::Result<()> {
        let mut buffer = [0_u8; 8 * Notice::BYTES];
        let count = match self.channel.try_read(&mut buffer) {
            Ok(0) => return Err(self.supervisor_lost()),
            Ok(count) => count,
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        for notice in buffer
            .get(..count)
            .unwrap_or_default()
            .chunks(Notice::BYTES)
        {
            match Notice::from_bytes(notice) {
                Some(Notice::Exited(code)) => {
                    self.ended = Some(Ended {
                        code,
                        by_signal: false,
                    });
                }
                Some(Notice::Signalled(signal)) => {
                    self.ended = Some(Ended {
                        code: 128 + signal,
                        by_signal: true,
                    });
                }
                Some(Notice::TreeGone) => progress.tree_gone = true,
                None => {}
            }
        }
        Ok(())
    }

    /// Somebody killed the supervisor. What it would have ended is ended from here, as far as it
    /// can still be found.
    fn supervisor_lost(&self) -> io::Error {
        if self.ended.is_none() {
            signal_descendants(self.pid, rustix::process::Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, rustix::process::Signal::KILL);
        }
        io::Error::new(io::ErrorKind::BrokenPipe, "its supervisor was killed")
    }

    /// Hands over what the pipes hold at the end of the command. Their end is not awaited: a
    /// background job may hold them open.
    async fn hand_over_backlog(
        &mut self,
        held: Option<Piece>,
        pieces: Option<&mpsc::Sender<Piece>>,
    ) -> io::Result<()> {
        let (Some(outputs), Some(pieces)) = (&self.outputs, pieces) else {
            return Ok(());
        };
        if let Some(piece) = held
            && pieces.send(piece).await.is_err()
        {
            return Ok(());
        }
        for (stream, receiver, mut left) in outputs.backlog() {
            while left > 0 {
                let size = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let mut piece = vec![0; size];
                let count = match rustix::io::read(receiver, &mut piece) {
                    Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                    Ok(count) => count,
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(error) => return Err(error.into()),
                };
                piece.truncate(count);
                left = left.saturating_sub(count as u64);
                if pieces.send((stream, piece)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

async fn read_output(outputs: &mut Option<Outputs>) -> io::Result<Piece> {
    match outputs {
        Some(outputs) => outputs.read().await,
        None => pending().await,
    }
}

/// Room for one piece; `None` when the receiver is gone.
async fn reserve(pieces: Option<&mpsc::Sender<Piece>>) -> Option<mpsc::Permit<'_, Piece>> {
    pieces?.reserve().await.ok()
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}
