//! `tidegate worker`: a worker of a flow ([workers](crate::guide::workers)) that prints each trigger, or runs a command
//! with it.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ArgMatches;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::signal::unix::{SignalKind, signal};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::HandshakeError;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tungstenite::{Message, WebSocket};

use super::client::{Door, Place};
use super::stream::{Socket, Stream};
use super::{Failure, output};
use crate::base::id::Id;
use crate::base::visible::visible;
use crate::ingress::worker::{FRAME_BYTES_MAX, PROTOCOL};
use crate::settings::secret_variables;

/// Triggers taken ahead where they are printed; a command takes one at a time.
const CREDIT: u32 = 100;
/// Bytes of a trigger: the largest payload limit, as an array of integers, and room for the rest.
const TRIGGER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Between the end of a connection and the first try to attach again, and between a command that failed and the next
/// trigger; twice as long after each further failure.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How often a worker whose command runs tells the server that it lives: the server waits 30 s for something to come.
const ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Silence after which the server is gone: it sends a Ping after 30 s ([limits and
/// refusals](crate::guide::limits_and_refusals#limits)).
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// The close code for a peer that broke a rule (RFC 6455, 7.4.1): the engine's for a flow that is gone.
const POLICY_VIOLATION: u16 = 1008;

/// A frame of the engine.
#[derive(Deserialize)]
struct Frame<'f> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'f, str>,
    seq: Option<u64>,
    #[serde(borrow)]
    payload: Option<&'f RawValue>,
    #[serde(borrow)]
    message: Option<Cow<'f, str>>,
}

/// The members of a payload that decide how it is replied to.
#[derive(Deserialize)]
struct Payload<'f> {
    #[serde(borrow)]
    data: Data<'f>,
}

#[derive(Deserialize)]
struct Data<'f> {
    #[serde(borrow, rename = "replyId")]
    reply_id: Option<Cow<'f, str>>,
    /// Only a WebSocket's triggers have one.
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'f, str>>,
}

/// The answer to the engine about a trigger.
enum Answer {
    /// The frame that acks it.
    Done(String),
    /// It is given back.
    Failed(String),
}

/// How long a worker rests before it takes the next trigger: a command that fails at once is not run again at once.
struct Rest(Duration);

impl Rest {
    fn after(&mut self, answer: &Answer) -> Option<Duration> {
        match answer {
            Answer::Done(_) => {
                *self = Rest(BACKOFF);
                None
            }
            Answer::Failed(_) => {
                let rest = self.0;
                *self = Rest((rest * 2).min(BACKOFF_MAX));
                Some(rest)
            }
        }
    }
}

/// How a connection to the engine ended.
enum Ended {
    /// It broke or was closed in a way that another may be had.
    Lost(String),
    /// This process was asked to stop.
    Stopped,
}

/// Attaches, and attaches again, until a signal says otherwise.
///
/// # Errors
/// A listener that is not there at the start, a refusal, a flow that is deleted.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let flow = matches.get_one::<String>("id").map_or("", String::as_str);
    let flow: Id = flow.parse().map_err(|_| Failure::Usage("the flow must be named by its id".to_owned()))?;
    let door = Door::new(matches)?;
    let command = matches.get_one::<String>("exec").cloned();
    let credit = matches.get_one::<u32>("credit").copied();
    let credit = credit.unwrap_or(if command.is_some() { 1 } else { CREDIT });
    let (stop, stopped) = Stop::on_signals()?;
    let worker = Worker { door, flow, command, credit, stop };
    let mut socket = worker.attach()?;
    let mut backoff = BACKOFF;
    loop {
        match worker.work(&mut socket, &stopped)? {
            Ended::Stopped => return Ok(()),
            Ended::Lost(why) => output::complain(&format!("{}: {why}; attaching again", worker.door.shown)),
        }
        socket = loop {
            match stopped.recv_timeout(backoff) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            match worker.attach() {
                Ok(socket) => break socket,
                Err(Refused::Failed(error)) => output::complain(&format!("{error:#}; trying again")),
                Err(refused) => return Err(refused.into()),
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        };
        backoff = BACKOFF;
    }
}

struct Worker {
    door: Door,
    flow: Id,
    command: Option<String>,
    credit: u32,
    stop: Arc<Stop>,
}

/// Why a worker could not attach.
enum Refused {
    /// The server may be there again later.
    Failed(anyhow::Error),
    /// It is there, and says no.
    Answered(String),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::Failed(error) => Failure::Failed(error),
            Refused::Answered(message) => Failure::Failed(anyhow!(visible(&message).into_owned())),
        }
    }
}

/// Whether the process was asked to stop, and the connection that is to be woken then.
#[derive(Default)]
struct Stop {
    state: Mutex<(bool, Option<Socket>)>,
}

impl Stop {
    /// Listens for SIGINT and SIGTERM from here on. The receiver hears of the first.
    fn on_signals() -> anyhow::Result<(Arc<Stop>, Receiver<()>)> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let stop = Arc::new(Stop::default());
        let (tell, told): (Sender<()>, _) = mpsc::channel();
        let own = Arc::clone(&stop);
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                own.stop();
                // Nobody waits for it unless the connection is gone just now.
                let _ = tell.send(());
                // A second signal does not wait for a command that runs on.
                tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
                std::process::exit(i32::from(super::FAILED));
            });
        })?;
        Ok((stop, told))
    }

    fn stop(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(socket) = &state.1 {
            // Who reads sees the end, and can still write. A connection that is gone already needs no waking.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// The connection to be woken.
    fn watch(&self, socket: Socket) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1 = Some(socket);
    }
}

impl Worker {
    fn attach(&self) -> Result<WebSocket<Stream>, Refused> {
        let lost = |error: anyhow::Error| Refused::Failed(error.context(self.door.shown.clone()));
        let socket = connect(&self.door.place).map_err(|error| lost(error.into()))?;
        self.stop.watch(socket.try_clone().map_err(|error| lost(error.into()))?);
        let stream = Stream::new(socket, self.door.tls.as_ref()).map_err(|error| lost(error.into()))?;
        let host = match &self.door.place {
            Place::Tcp(authority) => authority.as_str(),
            Place::Unix(_) => "localhost",
        };
        // The stream speaks TLS where it is to be spoken: the library is to add none.
        let url = format!("ws://{host}/flows/{}/worker", self.flow);
        let mut request = url.into_client_request().map_err(|error| lost(error.into()))?;
        for (name, value) in
            [("authorization", self.door.authorization.as_str()), ("sec-websocket-protocol", PROTOCOL)]
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
                let message = format!("{} refuses: {status} {}", self.door.shown, body.trim());
                // A server that is full or stopping may take it later.
                Err(if status.is_server_error() {
                    lost(anyhow!(message))
                } else {
                    Refused::Answered(message)
                })
            }
            Err(error) => Err(lost(anyhow!("{error}"))),
        }
    }

    /// Works until the connection ends.
    fn work(&self, socket: &mut WebSocket<Stream>, stopped: &Receiver<()>) -> Result<Ended, Failure> {
        let mut ready = self.credit;
        let mut rest = Rest(BACKOFF);
        loop {
            let exchanged = match ready {
                0 => socket.read(),
                _ => say(socket, &json!({"type": "ready", "credit": std::mem::take(&mut ready)}).to_string())
                    .and_then(|()| socket.read()),
            };
            let message = match exchanged {
                Ok(message) => message,
                Err(_) if self.stop.is_stopped() => return Ok(self.leave(socket)),
                Err(error) => return Ok(Ended::Lost(error.to_string())),
            };
            match message {
                Message::Text(text) => {
                    let frame: Frame<'_> =
                        serde_json::from_str(&text).context("the server's frame is not JSON")?;
                    match (&*frame.kind, frame.seq, frame.payload) {
                        ("trigger", Some(seq), Some(payload)) => {
                            let answer = self.handle(socket, seq, payload)?;
                            ready = 1;
                            let (Answer::Done(frame) | Answer::Failed(frame)) = &answer;
                            if let Err(error) = say(socket, frame) {
                                return Ok(Ended::Lost(error.to_string()));
                            }
                            // Others may have it meanwhile; who asks to stop does not wait.
                            if let Some(rest) = rest.after(&answer) {
                                let _ = stopped.recv_timeout(rest);
                            }
                        }
                        ("error", ..) => {
                            let message = frame.message.unwrap_or_default();
                            output::complain(&format!("the server says: {}", visible(&message)));
                        }
                        _ => {}
                    }
                }
                Message::Close(Some(close)) if u16::from(close.code) == POLICY_VIOLATION => {
                    return Err(Failure::Failed(anyhow!(
                        "{}: {}",
                        self.door.shown,
                        visible(close.reason.as_str())
                    )));
                }
                // The next read says that it has ended.
                _ => {}
            }
            if self.stop.is_stopped() {
                return Ok(self.leave(socket));
            }
        }
    }

    /// Does what is to be done with a trigger.
    fn handle(
        &self,
        socket: &mut WebSocket<Stream>,
        seq: u64,
        payload: &RawValue,
    ) -> Result<Answer, Failure> {
        let ack = || Answer::Done(json!({"type": "ack", "seqs": [seq]}).to_string());
        let Some(command) = &self.command else {
            output::print_json_line(payload.get())?;
            return Ok(ack());
        };
        let nack = || Answer::Failed(json!({"type": "nack", "seq": seq}).to_string());
        // RFC 6455, 5.5.3: a Pong that nothing asked for. Where the connection is gone, what is said next finds out.
        let live = || drop(socket.send(Message::Pong(Vec::new().into())));
        let printed = match execute(command, payload.get(), ALIVE_EVERY, live) {
            Ok(printed) => printed,
            Err(error) => {
                output::complain(&format!("{command}: {error:#}"));
                return Ok(nack());
            }
        };
        let parsed: Payload<'_> =
            serde_json::from_str(payload.get()).context("the server's payload is not one")?;
        let is_silent = printed.is_empty() && parsed.data.kind.is_some();
        match parsed.data.reply_id {
            Some(reply_id) if !is_silent => {
                let frame = reply(seq, &reply_id, &printed);
                if frame.len() > FRAME_BYTES_MAX {
                    output::complain(&format!("{command}: it printed more than a reply may have"));
                    return Ok(nack());
                }
                Ok(Answer::Done(frame))
            }
            _ => Ok(ack()),
        }
    }

    /// Says goodbye: what was not acked goes to others.
    fn leave(&self, socket: &mut WebSocket<Stream>) -> Ended {
        let frame = CloseFrame { code: 1001.into(), reason: "".into() };
        // Where the connection is gone there is nobody to say it to.
        let _ = socket.close(Some(frame));
        let _ = socket.flush();
        Ended::Stopped
    }
}

/// Connects to the workers' listener.
fn connect(place: &Place) -> std::io::Result<Socket> {
    let socket = match place {
        Place::Tcp(authority) => Socket::tcp(TcpStream::connect(authority)?)?,
        Place::Unix(path) => return Socket::unix(path),
    };
    socket.set_read_timeout(Some(SILENCE_MAX))?;
    Ok(socket)
}

fn say(socket: &mut WebSocket<Stream>, text: &str) -> Result<(), tungstenite::Error> {
    socket.send(Message::text(text))
}

/// Runs a command with this on its standard input; what it printed, without the last line end. While it runs, `meanwhile`
/// is called this often.
///
/// # Errors
/// If it cannot be run or ends with another exit code than 0.
fn execute(
    command: &str,
    input: &str,
    often: Duration,
    mut meanwhile: impl FnMut(),
) -> anyhow::Result<Vec<u8>> {
    let mut shell = Command::new("sh");
    // It is somebody else's program, and works on what callers send.
    for name in secret_variables() {
        shell.env_remove(name);
    }
    let mut child = shell
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("it cannot be run")?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        // It may print before it has read all, and need not read at all.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
        let (tell, told) = mpsc::channel();
        scope.spawn(move || tell.send(child.wait_with_output()));
        loop {
            match told.recv_timeout(often) {
                Err(RecvTimeoutError::Timeout) => meanwhile(),
                Ok(output) => break output.context("it cannot be waited for"),
                Err(RecvTimeoutError::Disconnected) => break Err(anyhow!("it cannot be waited for")),
            }
        }
    })?;
    anyhow::ensure!(output.status.success(), "{}", output.status);
    let mut printed = output.stdout;
    if printed.last() == Some(&b'\n') {
        printed.pop();
    }
    Ok(printed)
}

/// The frame of a reply, which acks its trigger: JSON goes as JSON, other text as text, bytes as bytes.
fn reply(seq: u64, reply_id: &str, printed: &[u8]) -> String {
    match std::str::from_utf8(printed) {
        Ok(text) => match serde_json::from_str::<&RawValue>(text) {
            Ok(body) => {
                let id = serde_json::Value::from(reply_id);
                format!("{{\"type\":\"reply\",\"seq\":{seq},\"replyId\":{id},\"body\":{}}}", body.get())
            }
            Err(_) => json!({"type": "reply", "seq": seq, "replyId": reply_id, "body": text}).to_string(),
        },
        Err(_) => {
            let body = STANDARD.encode(printed);
            let frame = json!({
                "type": "reply", "seq": seq, "replyId": reply_id, "body": body, "encoding": "base64",
            });
            frame.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_is_sent_as_what_it_is() {
        for (printed, body) in [
            (&b"hello"[..], r#""body":"hello""#),
            (b"", r#""body":"""#),
            (br#"{"n":1.10}"#, r#""body":{"n":1.10}"#),
            (b"5", r#""body":5"#),
            (b"{not json", r#""body":"{not json""#),
            (b"\xff\x00", r#""body":"/wA=","encoding":"base64""#),
        ] {
            let frame = reply(7, "a.b", printed);
            let fields: serde_json::Value = serde_json::from_str(&frame).unwrap();
            assert_eq!((&fields["type"], &fields["replyId"]), (&"reply".into(), &"a.b".into()));
            assert_eq!(fields["seq"], 7);
            for part in body.split(',') {
                assert!(frame.contains(part), "{frame}");
            }
        }
    }

    #[test]
    fn a_command_reads_its_input_and_may_leave_it() {
        let execute = |command, input: &str| super::execute(command, input, ALIVE_EVERY, || {});
        assert_eq!(execute("cat", "in").unwrap(), b"in");
        assert_eq!(execute("printf 'a\\n\\n'", "").unwrap(), b"a\n");
        // More than a pipe holds, unread.
        assert_eq!(execute("echo done", &"x".repeat(1_000_000)).unwrap(), b"done");
        assert_eq!(execute("cat", &"x".repeat(1_000_000)).unwrap().len(), 1_000_000);
        assert!(execute("exit 3", "").unwrap_err().to_string().contains('3'));
    }

    #[test]
    fn a_worker_whose_command_fails_rests_longer_each_time_until_one_is_done() {
        let mut rest = Rest(BACKOFF);
        let mut after = |done: bool| {
            let answer = if done { Answer::Done } else { Answer::Failed };
            rest.after(&answer(String::new()))
        };
        assert_eq!((after(true), after(false), after(false)), (None, Some(BACKOFF), Some(BACKOFF * 2)));
        let longest = (0..10).map(|_| after(false)).last();
        assert_eq!(longest, Some(Some(BACKOFF_MAX)));
        assert_eq!((after(true), after(false)), (None, Some(BACKOFF)));
    }

    #[test]
    fn a_command_that_runs_long_leaves_time_for_other_things() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("meanwhile");
        // It ends because of what is done while it runs.
        let command = format!("until [ -e {} ]; do sleep 0.01; done; echo done", file.display());
        let meanwhile = || std::fs::write(&file, "").unwrap();
        assert_eq!(execute(&command, "", Duration::from_millis(1), meanwhile).unwrap(), b"done");
    }
}
