//! Figures for whoever watches, in Prometheus' text format.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{IoContext as _, Result, Stage};

/// The longest request that is read.
const MAX_REQUEST: usize = 16 << 10;

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
    commands "counter" "commands_total" "Commands run.";
    failed "counter" "commands_failed_total" "Commands that failed.";
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

/// Serves figures at `address` from a thread of its own, to the end of the program. Gives the
/// address, whose port was chosen where it was 0.
pub(super) fn serve(
    address: SocketAddr,
    figures: Arc<dyn Fn() -> String + Send + Sync>,
) -> Result<SocketAddr> {
    let context = || format!("cannot serve metrics at {address}");
    let listener = TcpListener::bind(address).context(Stage::Agent, context)?;
    let address = listener.local_addr().context(Stage::Agent, context)?;
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            for stream in listener.incoming() {
                match stream.and_then(|stream| answer(stream, &figures())) {
                    Ok(()) => {}
                    Err(error) => tracing::debug!(%error, "metrics were not read"),
                }
            }
        })
        .context(Stage::Agent, context)?;
    Ok(address)
}

/// One request at a time: whoever is slow is cut off.
fn answer(mut stream: TcpStream, figures: &str) -> std::io::Result<()> {
    let patience = Some(Duration::from_secs(2));
    stream.set_read_timeout(patience)?;
    stream.set_write_timeout(patience)?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < MAX_REQUEST {
        match stream.read(&mut piece)? {
            0 => break,
            length => request.extend_from_slice(&piece[..length]),
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", figures)
    } else {
        ("404 Not Found", "see /metrics\n")
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
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
}
