//! Keeps the line to the backend up, for ever, and sends what waits.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::identity::system_name;
use super::queue::Item;
use super::shared::Shared;
use super::state::Stored;
use super::transport::{Connection, Inbound, Transport};
use super::wire::{Decoded, MAX_MESSAGE, fit, json_length};
use crate::entry::Timestamp;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::execute::available_shells;

/// The version of the protocol in `src/docs/protocol.md`.
pub const PROTOCOL_VERSION: u32 = 1;
/// How long results wait for the backend's answer to the registration.
const REGISTRATION: Duration = Duration::from_secs(5);
/// A line that held this long was a good one: the next attempt comes soon.
const GOOD: Duration = Duration::from_secs(10);
/// Unanswered questions after which a backend counts as one that does not acknowledge.
const PATIENCE: u32 = 3;
/// Between questions while results wait for their acknowledgement.
const ASK: Duration = Duration::from_secs(2);
/// The slowest line that is not taken for a dead one, in bytes a second.
const SLOWEST: f64 = 32_768.0;
/// Bytes that systems hold back at most for a receiver that has not taken them.
const IN_FLIGHT: usize = 2 << 20;
/// Results read from disk at a time.
const READ: usize = 20;

/// Opens lines one after another until the agent is closed.
pub(super) struct Supervisor {
    pub(super) shared: Arc<Shared>,
    pub(super) transport: Arc<Mutex<Arc<dyn Transport>>>,
    pub(super) events: mpsc::Sender<Decoded>,
}

impl Supervisor {
    /// Works until [`Outgoing::close`](super::queue::Outgoing::close).
    pub(super) fn run(&self) {
        let mut attempt = 0;
        while !self.shared.outgoing.is_closed() {
            let mut registered = None;
            match self.hold(&mut registered) {
                Ok(()) => {}
                Err(error) if self.shared.outgoing.is_closed() => {
                    tracing::debug!(%error, "the line is closed");
                }
                Err(error) => {
                    // A server may have put the token into its answer.
                    let error = self.shared.redactor().clean(&error.to_string());
                    if attempt == 0 {
                        tracing::warn!(error, "the line is down");
                    } else {
                        tracing::info!(error, attempt, "the line is still down");
                    }
                }
            }
            self.shared.outgoing.set_up(false);
            self.shared.keep_the_rest();
            let was_good = registered.is_some_and(|since: Instant| since.elapsed() > GOOD);
            attempt = if was_good { 0 } else { attempt + 1 };
            let delay = delay(self.shared.config().retry, attempt);
            self.shared.outgoing.pause(delay);
        }
    }

    /// Opens a line and uses it until it is down. `registered` is set to when it was of use.
    fn hold(&self, registered: &mut Option<Instant>) -> Result<()> {
        // A transport may keep this longer than the agent lives.
        let shared = Arc::downgrade(&self.shared);
        let notify = Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.outgoing.wake();
            }
        });
        let inbound = Inbound::new(self.events.clone(), notify);
        // Asked for before the transport was read: this is the new line.
        self.shared.outgoing.take_reopen();
        let transport = Arc::clone(
            &self
                .transport
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        let patience = self.shared.config().patience;
        let connection = transport.connect(inbound, patience).inspect_err(|_| {
            self.shared.metrics.failures.add(1);
        })?;
        self.shared.metrics.connections.add(1);
        let mut line = Line::new(&self.shared, connection);
        line.register()?;
        *registered = Some(Instant::now());
        line.work()
    }
}

/// The time before the next attempt: it doubles from the shortest to the longest, and a part of it is
/// random, so that a backend that comes back does not meet all its agents at once.
fn delay((least, most): (Duration, Duration), attempt: u32) -> Duration {
    let longest = least
        .saturating_mul(2 << attempt.min(8))
        .min(most)
        .max(least);
    let part: f64 = rand::random();
    least + (longest.saturating_sub(least)).mul_f64(part)
}

/// One line while it is up.
struct Line<'a> {
    shared: &'a Shared,
    connection: Box<dyn Connection>,
    sent: i64,
    last_emit: Instant,
    next_heartbeat: Instant,
    asked: u64,
    question: Option<Question>,
    last_question: Instant,
    /// Bytes sent since the last question that was answered.
    in_flight: usize,
    unanswered: u32,
    acknowledges: bool,
    /// When results up to a number had been sent.
    marks: VecDeque<(Instant, i64)>,
}

/// A question that waits for its acknowledgement.
struct Question {
    number: u64,
    /// When an answer has to be there.
    due: Instant,
    /// Results up to this number had been sent before.
    covers: i64,
}

impl<'a> Line<'a> {
    fn new(shared: &'a Shared, connection: Box<dyn Connection>) -> Self {
        let now = Instant::now();
        Self {
            shared,
            connection,
            sent: 0,
            last_emit: now,
            next_heartbeat: now + shared.config().heartbeat,
            asked: 0,
            question: None,
            last_question: now,
            in_flight: 0,
            unanswered: 0,
            acknowledges: shared.acknowledges.load(Ordering::Relaxed),
            marks: VecDeque::new(),
        }
    }

    /// Tells the backend who is there and joins the agent's room.
    fn register(&mut self) -> Result<()> {
        self.shared.outgoing.set_up(true);
        // What is on disk by now has its place before the output that comes from now on; later results
        // come by themselves.
        let latest = self.shared.state.latest()?;
        self.shared.outgoing.stored(latest);
        let identity = &self.shared.identity;
        let id = self.shared.agent_id.as_str();
        let strategies = self.shared.engine.strategy_names();
        self.emit(
            "agent_register",
            json!({
                "agent_id": id,
                "machine_id": identity.machine_id,
                "device_name": identity.device_name,
                "ip_address": identity.ip_address,
                "mac_address": identity.mac_address,
                "os": system_name(),
                "shells": shells(self.shared),
                "system_info": identity.system,
                "protocol_version": PROTOCOL_VERSION,
                "strategies": strategies,
            }),
            false,
        )?;
        self.emit("join_room", json!({ "room": id }), false)?;
        match self.shared.outgoing.registration(REGISTRATION) {
            Some(true) => tracing::info!(agent_id = id, "registered"),
            // Some backends do not answer.
            None => tracing::info!(
                agent_id = id,
                "connected; the registration was not answered"
            ),
            Some(false) => {
                return Err(Error::new(
                    ErrorKind::PermissionDenied,
                    Stage::Agent,
                    "the backend refused the registration",
                ));
            }
        }
        Ok(())
    }

    /// Sends until the line is down.
    fn work(&mut self) -> Result<()> {
        loop {
            let deadline = self.tend()?;
            match self.shared.outgoing.next(deadline) {
                Some(Item::Event(reply)) => self.emit(reply.event, reply.payload, false)?,
                Some(Item::Stored(number)) if number > self.sent => self.send_up_to(number)?,
                None if self.shared.outgoing.is_closed() => return Ok(()),
                Some(Item::Stored(_)) | None => {}
            }
        }
    }

    /// Sends the results that are on disk, in their order.
    fn send_up_to(&mut self, number: i64) -> Result<()> {
        loop {
            let mut batch = self.shared.state.undelivered(self.sent, READ)?;
            batch.retain(|stored| stored.number <= number);
            let Some(last) = batch.last().map(|stored| stored.number) else {
                return Ok(());
            };
            for stored in batch {
                self.send(&stored)?;
                self.tend()?;
            }
            if last >= number {
                return Ok(());
            }
        }
    }

    fn send(&mut self, stored: &Stored) -> Result<()> {
        match serde_json::from_str(&stored.payload) {
            Ok(payload) => self.emit(&stored.event, payload, false)?,
            Err(error) => tracing::error!(%error, "a stored result cannot be read and is left out"),
        }
        self.sent = stored.number;
        self.shared.last_sent.store(self.sent, Ordering::SeqCst);
        let mark = self
            .marks
            .back()
            .is_none_or(|(time, _)| time.elapsed() > ASK);
        match self.marks.back_mut() {
            Some(last) if !mark => last.1 = self.sent,
            _ => self.marks.push_back((Instant::now(), self.sent)),
        }
        Ok(())
    }

    /// Does what is due: heartbeats, signs of life, and what acknowledgements tell. Gives when it is
    /// to be called again.
    fn tend(&mut self) -> Result<Instant> {
        if self.connection.is_down() {
            return Err(down("it was closed"));
        }
        if self.shared.outgoing.take_reopen() {
            return Err(down("another one was asked for"));
        }
        self.shared.keep_the_rest();
        let config = self.shared.config();
        self.judge(config.settle)?;
        let now = Instant::now();
        let wants_answer = self.next_question().is_some_and(|due| now >= due);
        if now >= self.next_heartbeat || wants_answer {
            let late = now.saturating_duration_since(self.next_heartbeat);
            self.shared.metrics.lateness.raise(late.as_millis() as u64);
            self.next_heartbeat = if late > config.heartbeat {
                now + config.heartbeat
            } else if now >= self.next_heartbeat {
                self.next_heartbeat + config.heartbeat
            } else {
                now + config.heartbeat
            };
            let timestamp = Timestamp::now().as_seconds();
            self.emit("agent_heartbeat", json!({ "timestamp": timestamp }), true)?;
        }
        if self.last_emit.elapsed() >= config.probe {
            self.emit("agent_probe", json!({}), false)?;
        }
        let mut next = self.next_heartbeat.min(self.last_emit + config.probe);
        if let Some(question) = &self.question {
            next = next.min(question.due);
        } else if let Some(due) = self.next_question() {
            next = next.min(due);
        }
        if let Some((time, _)) = self.marks.front() {
            next = next.min(*time + config.settle);
        }
        Ok(next)
    }

    /// When the backend is to be asked for an acknowledgement, ahead of the next heartbeat: soon after
    /// the first results, so that a line that is cut again and again still gets on.
    fn next_question(&self) -> Option<Instant> {
        let asks = self.question.is_none() && (self.acknowledges || self.asked == 0);
        let unconfirmed = !self.marks.is_empty();
        (asks && unconfirmed).then(|| self.last_question + ASK)
    }

    /// Draws conclusions from acknowledgements and from their absence.
    fn judge(&mut self, settle: Duration) -> Result<()> {
        if let Some(question) = &self.question {
            if self.connection.acknowledged() >= question.number {
                let covers = question.covers;
                self.question = None;
                self.acknowledges = true;
                self.shared.acknowledges.store(true, Ordering::Relaxed);
                self.unanswered = 0;
                self.in_flight = 0;
                self.confirm(covers);
            } else if Instant::now() >= question.due {
                if self.acknowledges {
                    return Err(down("the server does not answer"));
                }
                self.question = None;
                self.unanswered += 1;
            }
        }
        // The server answers the pings of its own only after what came before, and without its pings
        // the line is given up: a line that is still up so late has delivered.
        let settled = |(time, _): &(Instant, i64)| time.elapsed() >= settle;
        if self.marks.front().is_some_and(settled)
            && let Some((_, number)) = self.marks.pop_front()
        {
            self.confirm(number);
        }
        Ok(())
    }

    /// Results up to `number` have arrived. Where the disk does not take that, they are sent once more
    /// with the next line, or confirmed by later ones.
    fn confirm(&mut self, number: i64) {
        while self.marks.front().is_some_and(|(_, sent)| *sent <= number) {
            self.marks.pop_front();
        }
        if number > 0
            && let Err(error) = self.shared.state.delivered(number)
        {
            tracing::warn!(%error, "it is not recorded that results have arrived");
        }
    }

    fn emit(&mut self, event: &str, payload: Value, ask: bool) -> Result<()> {
        let mut payload = payload;
        if let Value::Object(fields) = &mut payload {
            fields
                .entry("agent_id")
                .or_insert_with(|| self.shared.agent_id.as_str().into());
        }
        let mut bytes = json_length(&payload);
        if bytes > MAX_MESSAGE + 10_000 {
            // Servers would drop it in silence.
            tracing::warn!(event, bytes, "an event is too large and is shortened");
            fit(&mut payload, MAX_MESSAGE);
            payload["shortened"] = true.into();
            bytes = json_length(&payload);
        }
        let asks = ask && self.question.is_none() && self.unanswered < PATIENCE;
        let question = asks.then_some(self.asked + 1);
        let patience = self.shared.config().patience;
        let slow = |bytes: usize| patience + Duration::from_secs_f64(bytes as f64 / SLOWEST);
        self.connection
            .emit(event, payload, question, slow(bytes))?;
        self.last_emit = Instant::now();
        self.in_flight += bytes;
        self.shared.metrics.sent.add(1);
        self.shared.metrics.sent_bytes.add(bytes as u64);
        if let Some(number) = question {
            self.asked = number;
            self.last_question = self.last_emit;
            self.question = Some(Question {
                number,
                due: self.last_emit + slow(self.in_flight.min(IN_FLIGHT)),
                covers: self.sent,
            });
        }
        Ok(())
    }
}

/// The shells that a backend may use here.
pub(super) fn shells(shared: &Shared) -> Vec<String> {
    let policy = shared.config();
    available_shells()
        .into_iter()
        .map(|(name, _)| name.0)
        .filter(|name| policy.policy.check_shell(name).is_ok())
        .collect()
}

fn down(why: &str) -> Error {
    Error::new(
        ErrorKind::Io,
        Stage::Agent,
        format!("the line is down: {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_stays_between_its_bounds_for_ever_and_varies() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(5));
        let mut seen = Vec::new();
        for attempt in (0..40).chain([1000, u32::MAX]) {
            let delay = delay(bounds, attempt);
            assert!(delay >= bounds.0 && delay <= bounds.1, "{delay:?}");
            seen.push(delay);
        }
        seen.dedup();
        assert!(seen.len() > 30);
        // After a good line too: the agents of a backend that was restarted do not come back together.
        let mut first: Vec<Duration> = (0..40).map(|_| delay(bounds, 0)).collect();
        assert!(first.iter().all(|delay| *delay <= Duration::from_secs(2)));
        first.dedup();
        assert!(first.len() > 30);
        let crossed = (Duration::from_secs(5), Duration::from_secs(1));
        assert_eq!(delay(crossed, 3), crossed.0);
    }
}
