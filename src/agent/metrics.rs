//! Figures for whoever watches, in Prometheus' text format.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::error::{IoContext as _, Result, Stage};

/// The longest request that is read.
const MAX_REQUEST: usize = 16 << 10;
/// How long a request and its answer may take together.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that are answered at a time; those beyond are turned away.
const AT_ONCE: usize = 16;
/// Before the next request where the last one could not be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// One figure.
#[derive(Default)]
pub(super) struct Figure(AtomicU64);

impl Figure {
    pub(super) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
    pub(super) fn raise(&self, value: u64) {
        self.0.fetch_max(value, Ordering::Relaxed);
    }
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! figures {
    ($($field:ident $kind:literal $name:literal $help:literal;)*) => {
        /// Everything that is counted.
        #[derive(Default)]
        pub(super) struct Metrics {
            $(#[doc = $help] pub(super) $field: Figure,)*
        }

        impl Metrics {
            /// All figures as text.
            pub(super) fn text(&self) -> String {
                let mut text = String::new();
                $(
                    // Writing to a string does not fail.
                    let _ = write!(
                        text,
                        concat!("# HELP deployx_agent_", $name, " ", $help, "\n# TYPE deployx_agent_",
                            $name, " ", $kind, "\ndeployx_agent_", $name, " {}\n"),
                        self.$field.get()
                    );
                )*
                text
            }
        }
    };
}

figures! {
    connected "gauge" "connected" "1 while the line to the backend is up.";
    connections "counter" "connections_total" "Connections made.";
    failures "counter" "connection_failures_total" "Attempts to connect that failed.";
    events "counter" "events_total" "Events received.";
    rejected "counter" "events_rejected_total" "Events that made no sense.";
    refused "counter" "requests_refused_total" "Requests refused: not allowed, no room, nothing of that name.";
    commands "counter" "commands_total" "Commands run.";
    failed "counter" "commands_failed_total" "Commands that were run and failed.";
    not_run "counter" "commands_not_run_total" "Commands accepted and not run: cancelled, skipped, not allowed.";
    batches "counter" "batches_total" "Batches run.";
    duplicates "counter" "duplicates_total" "Ids that came again and were not run again.";
    snapshots "counter" "snapshots_total" "Snapshots taken.";
    snapshot_bytes "counter" "snapshot_bytes_total" "Bytes kept by snapshots.";
    rollbacks "counter" "rollbacks_total" "Rollbacks done.";
    rollbacks_failed "counter" "rollbacks_failed_total" "Rollbacks that failed.";
    output_bytes "counter" "output_bytes_total" "Bytes of output read from commands.";
    sent "counter" "events_sent_total" "Events sent.";
    sent_bytes "counter" "events_sent_bytes_total" "Bytes of events sent.";
    waiting "gauge" "queue_depth" "Commands that wait.";
    sessions "gauge" "sessions" "Sessions that are open.";
    outbox "gauge" "outbox_depth" "Results that are not known to have arrived.";
    outbox_dropped "counter" "outbox_dropped_total" "Results dropped because too many waited.";
    live_dropped "counter" "live_dropped_total" "Pieces of live output that were not sent.";
    lateness "gauge" "heartbeat_lateness_milliseconds_max" "The latest that a heartbeat ever was.";
}

impl Metrics {
    /// Counts a command that was accepted; `success` is `None` where it was not run.
    pub(super) fn command(&self, success: Option<bool>) {
        match success {
            Some(success) => {
                self.commands.add(1);
                self.failed.add(u64::from(!success));
            }
            None => self.not_run.add(1),
        }
    }
}

/// Serves figures at `address` from a thread of its own, to the end of the program. Gives the
/// address, whose port was chosen where it was 0.
pub(super) fn serve(address: SocketAddr, figures: Figures) -> Result<SocketAddr> {
    let context = || format!("cannot serve metrics at {address}");
    let listener = TcpListener::bind(address).context(Stage::Agent, context)?;
    let address = listener.local_addr().context(Stage::Agent, context)?;
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            let busy = Arc::new(AtomicUsize::new(0));
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => answer_beside(stream, &figures, &busy),
                    Err(error) => {
                        tracing::debug!(%error, "metrics cannot be asked for");
                        std::thread::sleep(PAUSE);
                    }
                }
            }
        })
        .context(Stage::Agent, context)?;
    Ok(address)
}

/// What gives the figures as text.
type Figures = Arc<dyn Fn() -> String + Send + Sync>;

/// Answers on a thread of its own, so that whoever is slow holds nobody up.
fn answer_beside(stream: TcpStream, figures: &Figures, busy: &Arc<AtomicUsize>) {
    let place = Place::take(busy);
    if place.number > AT_ONCE {
        tracing::debug!("metrics were asked for too often at a time");
        return;
    }
    let figures = Arc::clone(figures);
    let work = move || {
        let _place = place;
        if let Err(error) = answer(stream, &figures) {
            tracing::debug!(%error, "metrics were not read");
        }
    };
    let thread = std::thread::Builder::new().name("metrics".into());
    if let Err(error) = thread.spawn(work) {
        tracing::debug!(%error, "cannot start a thread for metrics");
    }
}

/// One of the requests that are answered at a time.
struct Place {
    busy: Arc<AtomicUsize>,
    number: usize,
}

impl Place {
    fn take(busy: &Arc<AtomicUsize>) -> Self {
        let number = busy.fetch_add(1, Ordering::SeqCst) + 1;
        let busy = Arc::clone(busy);
        Self { busy, number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads one request and answers it, both within [`PATIENCE`].
fn answer(mut stream: TcpStream, figures: &Figures) -> std::io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        stream.set_read_timeout(Some(until(deadline)?))?;
        match stream.read(&mut piece)? {
            0 => break,
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", figures())
    } else {
        ("404 Not Found", "see /metrics\n".to_owned())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let text = head + &body;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        stream.set_write_timeout(Some(until(deadline)?))?;
        rest = &rest[stream.write(rest)?..];
    }
    Ok(())
}

/// The time that is left; an error where none is.
fn until(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_served_as_text() {
        let metrics = Arc::new(Metrics::default());
        metrics.commands.add(3);
        let own = Arc::clone(&metrics);
        let address = serve("127.0.0.1:0".parse().unwrap(), Arc::new(move || own.text())).unwrap();
        let ask = |path: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = ask("/metrics");
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(
            text.contains("\ndeployx_agent_commands_total 3\n"),
            "{text}"
        );
        assert!(text.contains("# TYPE deployx_agent_connected gauge\n"));
        assert!(ask("/").starts_with("HTTP/1.1 404"));
    }

    #[test]
    fn who_asks_slowly_is_cut_off_and_holds_nobody_up() {
        let address = serve("127.0.0.1:0".parse().unwrap(), Arc::new(|| "x 1\n".into())).unwrap();
        let slow: Vec<_> = (1..AT_ONCE)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        let threads: Vec<_> = slow
            .into_iter()
            .map(|mut stream| {
                std::thread::spawn(move || {
                    // A byte now and then, for as long as they are taken.
                    while stream.write_all(b"G").is_ok() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                })
            })
            .collect();
        let ask = || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).map(|_| text)
        };
        assert!(ask().unwrap().ends_with("\r\n\r\nx 1\n"));
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(ask().unwrap().ends_with("\r\n\r\nx 1\n"));
    }
}
