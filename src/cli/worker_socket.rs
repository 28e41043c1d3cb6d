//! The connection of a worker to the workers' listener: attaching, and what ends it when the process is asked to stop.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use tokio::signal::unix::{SignalKind, signal};
use tungstenite::WebSocket;
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::WebSocketConfig;

use super::CommandError;
use super::client::{ListenerAddress, WorkerListener};
use super::stream::{Socket, Stream};
use crate::base::visible::visible;
use crate::ingress::worker::PROTOCOL;

/// Bytes of a trigger: the largest payload limit, as an array of integers, and room for the rest.
const TRIGGER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Silence after which the server is gone: it sends a Ping after 30 s.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// Reasons for which a worker could not attach.
pub(super) enum AttachError {
    /// The server may be there again later.
    Failed(anyhow::Error),
    /// It is there, and says no.
    Answered(String),
}

impl From<AttachError> for CommandError {
    fn from(refused: AttachError) -> CommandError {
        match refused {
            AttachError::Failed(error) => CommandError::Failed(error),
            AttachError::Answered(message) => CommandError::Failed(anyhow!(visible(&message).into_owned())),
        }
    }
}

/// Connects to the workers' listener.
fn connect(place: &ListenerAddress) -> std::io::Result<Socket> {
    let socket = match place {
        ListenerAddress::Tcp(authority) => Socket::tcp(TcpStream::connect(authority)?)?,
        ListenerAddress::Unix(path) => return Socket::unix(path),
    };
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

/// Attaches a worker to a flow. `slot` is the worker's number in this process, under which its connection is ended at the
/// stop.
///
/// # Errors
/// A listener that cannot be reached, or that refuses.
pub(super) fn attach(
    door: &WorkerListener,
    flow: &str,
    stop: &Stop,
    slot: usize,
) -> Result<WebSocket<Stream>, AttachError> {
    let lost = |error: anyhow::Error| AttachError::Failed(error.context(door.shown.clone()));
    let socket = connect(&door.place).map_err(|error| lost(error.into()))?;
    stop.watch(slot, socket.try_clone().map_err(|error| lost(error.into()))?);
    let stream = Stream::new(socket, door.tls.as_ref()).map_err(|error| lost(error.into()))?;
    let host = match &door.place {
        ListenerAddress::Tcp(authority) => authority.as_str(),
        ListenerAddress::Unix(_) => "localhost",
    };
    // The stream speaks TLS where it is to be spoken: the library is to add none.
    let url = format!("ws://{host}/flows/{flow}/worker");
    let mut request = url.into_client_request().map_err(|error| lost(error.into()))?;
    for (name, value) in
        [("authorization", door.authorization.as_str()), ("sec-websocket-protocol", PROTOCOL)]
    {
        let value = value.parse().map_err(|_| lost(anyhow!("the {name} cannot be sent")))?;
        request.headers_mut().insert(name, value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(TRIGGER_BYTES_MAX))
        .max_frame_size(Some(TRIGGER_BYTES_MAX));
    match tungstenite::client::client_with_config(request, stream, Some(config)) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            let status = response.status();
            let body = response.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
            let message = format!("{} refuses: {status} {}", door.shown, body.trim());
            // A server that is full or stopping may take it later.
            Err(if status.is_server_error() {
                lost(anyhow!(message))
            } else {
                AttachError::Answered(message)
            })
        }
        Err(error) => Err(lost(anyhow!("{error}"))),
    }
}

/// Whether the process was asked to stop, and the connections that are to be woken then.
#[derive(Default)]
pub(super) struct Stop {
    state: Mutex<StopState>,
    stopped: Condvar,
}

#[derive(Default)]
struct StopState {
    is_stopped: bool,
    /// By the worker's number.
    sockets: HashMap<usize, Socket>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from here on.
    ///
    /// # Errors
    /// If signals cannot be listened for.
    pub(super) fn on_signals() -> anyhow::Result<Arc<Stop>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let stop = Arc::new(Stop::default());
        let own = Arc::clone(&stop);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                own.stop();
                // A second signal does not wait for a command that runs on.
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                std::process::exit(i32::from(super::FAILED));
            });
        })?;
        Ok(stop)
    }

    /// Ends what every worker waits for.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_stopped = true;
        for socket in state.sockets.values() {
            // Who reads sees the end, and can still write. A connection that is gone already needs no waking.
            let _ = socket.shutdown(Shutdown::Read);
        }
        self.stopped.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).is_stopped
    }

    /// Waits this long, or until the stop. Returns whether it came.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.stopped.wait_timeout_while(state, most, |state| !state.is_stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// Notes the connection of a worker, in place of the one that it had.
    fn watch(&self, slot: usize, socket: Socket) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_stopped {
            let _ = socket.shutdown(Shutdown::Read);
        }
        state.sockets.insert(slot, socket);
    }
}
