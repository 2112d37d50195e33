//! Socket.IO by `rust_socketio`.
//!
//! Its facts decide how it is used: websocket only, since polling loses events; its own reconnecting
//! off, since that gives up or spins; handlers only decode and push, since they run under a lock that
//! pings need; at most one event waiting for its acknowledgement, since acknowledgements are told
//! apart by a random number below 1,000.
//!
//! Each connection has a thread with a runtime of its own. When the connection is given up, the
//! runtime goes with all that `rust_socketio` started in it, so that nothing outlives a half-open
//! line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as sync;
use std::time::Duration;

use futures_util::FutureExt as _;
use rust_socketio::asynchronous::{Client, ClientBuilder};
use rust_socketio::{Event, Payload, TransportType};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::timeout as within;
use url::Url;

use super::{Connection, Inbound, TlsSettings, Transport};
use crate::agent::secret::Secret;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::sys::memory;

/// How often the end of the stream is looked for.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a caller waits beyond a time limit that the connection's own thread keeps.
const SLACK: Duration = Duration::from_secs(1);

/// How to reach a Socket.IO server.
#[derive(Clone)]
pub struct SocketIo {
    /// Its address, which [`check_server`](super::check_server) has accepted. Without a path,
    /// `/socket.io/` is used.
    pub server: Url,
    /// What this agent proves itself with: in the handshake's `auth` object, and as a bearer token
    /// in the `Authorization` header.
    pub token: Option<Secret>,
    /// This agent's id, for the `auth` object.
    pub agent_id: String,
    /// Trust.
    pub tls: TlsSettings,
}

impl SocketIo {
    fn builder(
        &self,
        inbound: &Inbound,
        ready: &mpsc::Sender<Result<(), String>>,
    ) -> Result<ClientBuilder> {
        let mut auth = json!({ "agent_id": self.agent_id });
        let mut builder = ClientBuilder::new(self.server.as_str())
            .transport_type(TransportType::Websocket)
            .reconnect(false)
            .reconnect_on_disconnect(false);
        if let Some(token) = &self.token {
            auth["token"] = token.reveal().into();
            builder = builder.opening_header("Authorization", format!("Bearer {}", token.reveal()));
        }
        if matches!(self.server.scheme(), "https" | "wss") {
            builder = builder.tls_config(self.tls.connector()?);
        }
        let (events, connected, closed, failed) = (
            inbound.clone(),
            ready.clone(),
            inbound.clone(),
            inbound.clone(),
        );
        let refused = ready.clone();
        Ok(builder
            .auth(auth)
            .on_any(move |event, payload, _| {
                let inbound = events.clone();
                async move { hand_over(&inbound, &event, payload).await }.boxed()
            })
            .on(Event::Connect, move |_, _| {
                // Whoever waits has gone only when the connection was given up.
                let _ = connected.try_send(Ok(()));
                async {}.boxed()
            })
            .on(Event::Close, move |_, _| {
                closed.set_down();
                async {}.boxed()
            })
            .on(Event::Error, move |payload, _| {
                let _ = refused.try_send(Err(text_of(&payload)));
                failed.set_down();
                async {}.boxed()
            }))
    }
}

/// Passes an event on. One without arguments arrives as a message that holds its name.
async fn hand_over(inbound: &Inbound, event: &Event, payload: Payload) {
    let arguments = match payload {
        Payload::Text(values) => values,
        // Nothing in the protocol is binary.
        _ => Vec::new(),
    };
    match (event, arguments.as_slice()) {
        (Event::Custom(name), _) => inbound.event(name, arguments).await,
        (Event::Message, [Value::String(name)]) => inbound.event(name, Vec::new()).await,
        _ => {}
    }
}

fn text_of(payload: &Payload) -> String {
    match payload {
        Payload::Text(values) => values
            .iter()
            .map(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
            })
            .collect::<Vec<_>>()
            .join(" "),
        _ => String::from("an error without text"),
    }
}

impl Transport for SocketIo {
    fn connect(&self, inbound: Inbound, timeout: Duration) -> Result<Box<dyn Connection>> {
        let (ready_in, ready) = mpsc::channel(4);
        let builder = self.builder(&inbound, &ready_in)?;
        let (orders, work) = mpsc::channel(1);
        let (opened_in, opened) = sync::sync_channel(1);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::io(Stage::Agent, "cannot start a connection", e))?;
        let answers = Answers {
            highest: Arc::default(),
            inbound,
        };
        let own = answers.clone();
        std::thread::Builder::new()
            .name("connection".into())
            .spawn(move || {
                serve(&runtime, builder, ready, work, timeout, &own, &opened_in);
                runtime.shutdown_background();
                own.inbound.set_down();
            })
            .map_err(|e| Error::io(Stage::Agent, "cannot start a connection", e))?;
        opened
            .recv_timeout(timeout + SLACK)
            .map_err(|_| failed("the server did not answer in time"))??;
        Ok(Box::new(Line { orders, answers }))
    }
}

/// An event for the connection's thread to send.
struct Order {
    event: String,
    payload: Value,
    question: Option<u64>,
    timeout: Duration,
    done: sync::SyncSender<Result<()>>,
}

/// Opens the connection, says so, and carries out orders until nobody gives any or the line is down.
fn serve(
    runtime: &Runtime,
    builder: ClientBuilder,
    mut ready: mpsc::Receiver<Result<(), String>>,
    mut work: mpsc::Receiver<Order>,
    timeout: Duration,
    answers: &Answers,
    opened: &sync::SyncSender<Result<()>>,
) {
    runtime.block_on(async {
        let client = match within(timeout, open(builder, &mut ready)).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                let _ = opened.send(Err(error));
                return;
            }
            Err(_) => {
                let _ = opened.send(Err(failed("the server did not answer in time")));
                return;
            }
        };
        if opened.send(Ok(())).is_err() {
            return;
        }
        loop {
            match within(GLANCE, work.recv()).await {
                Ok(Some(order)) => carry_out(&client, order, answers).await,
                Ok(None) => break,
                Err(_) => {}
            }
            if answers.inbound.take_large() {
                memory::give_back();
            }
            // The one task in this runtime reads the stream. A server that closes in good order ends
            // it, of which nothing else tells.
            let reads = runtime.metrics().num_alive_tasks() > 0;
            if !reads || answers.inbound.is_down() {
                answers.inbound.set_down();
                break;
            }
        }
        // A server that does not take the farewell will notice by itself.
        let _ = within(GLANCE, client.disconnect()).await;
    });
}

async fn open(
    builder: ClientBuilder,
    ready: &mut mpsc::Receiver<Result<(), String>>,
) -> Result<Client> {
    let client = builder.connect().await.map_err(|e| unreachable(&e))?;
    match ready.recv().await {
        Some(Ok(())) => Ok(client),
        Some(Err(text)) => Err(Error::new(
            ErrorKind::PermissionDenied,
            Stage::Agent,
            format!("the server refused the connection: {text}"),
        )),
        None => Err(failed("the connection ended")),
    }
}

/// The error with its causes, which the outer one leaves out.
fn unreachable(error: &rust_socketio::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(one) = cause {
        let more = one.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = one.source();
    }
    let refused = text.contains("HTTP error: 401") || text.contains("HTTP error: 403");
    let kind = if refused {
        ErrorKind::PermissionDenied
    } else {
        ErrorKind::Io
    };
    Error::new(
        kind,
        Stage::Agent,
        format!("cannot reach the server: {text}"),
    )
}

async fn carry_out(client: &Client, order: Order, answers: &Answers) {
    let sent = match order.question {
        None => within(order.timeout, client.emit(order.event, order.payload)).await,
        Some(question) => {
            let answers = answers.clone();
            let callback = move |_: Payload, _: Client| {
                answers.highest.fetch_max(question, Ordering::SeqCst);
                answers.inbound.wake();
                async {}.boxed()
            };
            let patience = Duration::from_secs(3600);
            let sent = client.emit_with_ack(order.event, order.payload, patience, callback);
            within(order.timeout, sent).await
        }
    };
    // Whoever waits has gone only when it gave the connection up.
    let _ = order.done.send(judged(sent));
}

/// What the server has acknowledged.
#[derive(Clone)]
struct Answers {
    highest: Arc<AtomicU64>,
    inbound: Inbound,
}

fn judged(
    sent: Result<Result<(), rust_socketio::Error>, tokio::time::error::Elapsed>,
) -> Result<()> {
    match sent {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(&format!("the line is down: {error}"))),
        Err(_) => Err(failed("the server takes nothing from the line")),
    }
}

struct Line {
    orders: mpsc::Sender<Order>,
    answers: Answers,
}

impl Connection for Line {
    fn emit(
        &mut self,
        event: &str,
        payload: Value,
        question: Option<u64>,
        timeout: Duration,
    ) -> Result<()> {
        let (done, outcome) = sync::sync_channel(1);
        let order = Order {
            event: event.to_owned(),
            payload,
            question,
            timeout,
            done,
        };
        self.orders
            .try_send(order)
            .map_err(|_| failed("the line is down"))?;
        outcome
            .recv_timeout(timeout + SLACK)
            .map_err(|_| failed("the line is down"))?
    }

    fn acknowledged(&self) -> u64 {
        self.answers.highest.load(Ordering::SeqCst)
    }

    fn is_down(&self) -> bool {
        self.answers.inbound.is_down()
    }
}

fn failed(message: &str) -> Error {
    Error::new(ErrorKind::Io, Stage::Agent, message)
}
