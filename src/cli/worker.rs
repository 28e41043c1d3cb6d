//! `tidegate worker`: a worker of a flow ([workers](crate::guide::workers)) that prints each trigger, runs a command with
//! it, or hands it to a program over HTTP.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::client::{Client, WorkerListener};
use super::command::ShellCommand;
use super::handler::{Handled, Handler, Trigger};
use super::lookup::{self, Kind, last_part};
use super::program::Poster;
use super::stream::Stream;
use super::worker_socket::{AttachError, Stop, attach};
use super::{CommandError, output};
use crate::base::id::Id;
use crate::base::visible::visible;
use crate::ingress::worker::FRAME_BYTES_MAX;

/// Triggers taken ahead where they are printed; a command takes one at a time.
const CREDIT: u32 = 100;
/// Between the end of a connection and the first try to attach again, and between a command that failed and the next
/// trigger; twice as long after each further failure.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
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
    data: SendData<'f>,
}

#[derive(Deserialize)]
struct SendData<'f> {
    #[serde(borrow, rename = "replyId")]
    reply_id: Option<Cow<'f, str>>,
    /// Only a WebSocket's triggers have one.
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'f, str>>,
}

/// Prints each trigger.
struct Printer;

impl Handler for Printer {
    fn handle(&mut self, trigger: &Trigger<'_>, _: &mut dyn FnMut()) -> anyhow::Result<Handled> {
        output::print_json_line(trigger.payload.get())?;
        Ok(Handled::Ack)
    }
}

/// How long a worker rests before it takes the next trigger: a command that fails at once is not run again at once.
struct Rest(Duration);

impl Rest {
    fn after(&mut self, is_done: bool) -> Option<Duration> {
        if is_done {
            *self = Rest(BACKOFF);
            return None;
        }
        let rest = self.0;
        *self = Rest((rest * 2).min(BACKOFF_MAX));
        Some(rest)
    }
}

/// How a connection to the engine ended.
enum ConnectionEnd {
    /// It broke or was closed in a way that another may be had.
    Lost(String),
    /// This process was asked to stop.
    Stopped,
}

/// Attaches, and attaches again, until a signal says otherwise.
///
/// # Errors
/// A listener that is not there at the start, a refusal, a flow that is deleted.
pub(super) fn run(matches: &ArgMatches) -> Result<(), CommandError> {
    let word = matches.get_one::<String>("id").map_or("", String::as_str);
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let handler: Box<dyn Handler> = match (text("exec"), text("forward")) {
        (Some(command), _) => Box::new(ShellCommand(command)),
        (None, Some(url)) => Box::new(Poster::new(&url)?),
        (None, None) => Box::new(Printer),
    };
    let takes_one = ["exec", "forward"].iter().any(|name| text(name).is_some());
    let door = WorkerListener::new(matches)?;
    let flow = if word.parse::<Id>().is_ok() {
        // A token with the right to work alone cannot look it up.
        word.to_owned()
    } else {
        let client = Client::new(matches)?;
        let flows = lookup::folder(&client, Kind::Flow, matches)?;
        last_part(&lookup::resource(&client, Kind::Flow, &flows, word)?).to_owned()
    };
    let credit = matches.get_one::<u32>("credit").copied();
    let credit = credit.unwrap_or(if takes_one { 1 } else { CREDIT });
    let stop = Stop::on_signals()?;
    work(&Arc::new(Attachment { door, flow, credit, stop }), vec![handler])
}

/// Where workers attach, and how.
pub(super) struct Attachment {
    pub(super) door: WorkerListener,
    pub(super) flow: String,
    /// Triggers taken ahead by each.
    pub(super) credit: u32,
    pub(super) stop: Arc<Stop>,
}

/// Attaches a worker for each handler, and works until the stop.
///
/// # Errors
/// The first that ends another way; the others end with it.
pub(super) fn work(
    attachment: &Arc<Attachment>,
    handlers: Vec<Box<dyn Handler>>,
) -> Result<(), CommandError> {
    let mut threads = Vec::new();
    for (slot, handler) in handlers.into_iter().enumerate() {
        let attachment = Arc::clone(attachment);
        let mut worker = Worker { attachment, handler, slot };
        let socket = match worker.attach() {
            Ok(socket) => socket,
            Err(refused) => {
                worker.attachment.stop.stop();
                return Err(refused.into());
            }
        };
        let thread = std::thread::Builder::new().name(format!("worker-{slot}")).spawn(move || {
            let ended = worker.run(socket);
            // Whatever ended it ends the others.
            worker.attachment.stop.stop();
            ended
        });
        threads.push(thread.map_err(anyhow::Error::from)?);
    }
    let mut outcome = Ok(());
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|_| Err(CommandError::Failed(anyhow!("a worker panicked"))));
        outcome = outcome.and(ended);
    }
    outcome
}

struct Worker {
    attachment: Arc<Attachment>,
    handler: Box<dyn Handler>,
    /// Its number in this process.
    slot: usize,
}

impl Worker {
    fn attach(&self) -> Result<WebSocket<Stream>, AttachError> {
        let Attachment { door, flow, stop, .. } = &*self.attachment;
        attach(door, flow, stop, self.slot)
    }

    fn run(&mut self, mut socket: WebSocket<Stream>) -> Result<(), CommandError> {
        loop {
            let shown = self.attachment.door.shown.clone();
            match self.work(&mut socket)? {
                ConnectionEnd::Stopped => return Ok(()),
                ConnectionEnd::Lost(why) => output::complain(&format!("{shown}: {why}; attaching again")),
            }
            let mut backoff = BACKOFF;
            socket = loop {
                if self.attachment.stop.wait(backoff) {
                    return Ok(());
                }
                match self.attach() {
                    Ok(socket) => break socket,
                    Err(AttachError::Failed(error)) => output::complain(&format!("{error:#}; trying again")),
                    Err(refused) => return Err(refused.into()),
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
            };
        }
    }

    /// Works until the connection ends.
    fn work(&mut self, socket: &mut WebSocket<Stream>) -> Result<ConnectionEnd, CommandError> {
        let attachment = Arc::clone(&self.attachment);
        let (stop, shown) = (&attachment.stop, &attachment.door.shown);
        let mut ready = attachment.credit;
        let mut rest = Rest(BACKOFF);
        loop {
            let exchanged = match ready {
                0 => socket.read(),
                _ => say(socket, &json!({"type": "ready", "credit": std::mem::take(&mut ready)}).to_string())
                    .and_then(|()| socket.read()),
            };
            let message = match exchanged {
                Ok(message) => message,
                Err(_) if stop.is_stopped() => return Ok(leave(socket)),
                Err(error) => return Ok(ConnectionEnd::Lost(error.to_string())),
            };
            match message {
                Message::Text(text) => {
                    let frame: Frame<'_> =
                        serde_json::from_str(&text).context("the server's frame is not JSON")?;
                    match (&*frame.kind, frame.seq, frame.payload) {
                        ("trigger", Some(seq), Some(payload)) => {
                            let (frame, is_done) = self.handle(socket, seq, payload)?;
                            ready = 1;
                            if let Err(error) = say(socket, &frame) {
                                return Ok(ConnectionEnd::Lost(error.to_string()));
                            }
                            // Others may have it meanwhile; who asks to stop does not wait.
                            if let Some(rest) = rest.after(is_done) {
                                stop.wait(rest);
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
                    return Err(CommandError::Failed(anyhow!("{shown}: {}", visible(close.reason.as_str()))));
                }
                // The next read says that it has ended.
                _ => {}
            }
            if stop.is_stopped() {
                return Ok(leave(socket));
            }
        }
    }

    /// Handles a trigger; the frame that says how it ended, and whether it is done.
    fn handle(
        &mut self,
        socket: &mut WebSocket<Stream>,
        seq: u64,
        payload: &RawValue,
    ) -> Result<(String, bool), CommandError> {
        let parsed: Payload<'_> =
            serde_json::from_str(payload.get()).context("the server's payload is not one")?;
        let trigger = Trigger {
            payload,
            is_websocket: parsed.data.kind.is_some(),
            has_reply: parsed.data.reply_id.is_some(),
        };
        // RFC 6455, 5.5.3: a Pong that nothing asked for. Where the connection is gone, what is said next finds out.
        let mut alive = || drop(socket.send(Message::Pong(Vec::new().into())));
        let failed = || (json!({"type": "nack", "seq": seq}).to_string(), false);
        Ok(match (self.handler.handle(&trigger, &mut alive)?, parsed.data.reply_id) {
            (Handled::Failed, _) => failed(),
            (Handled::Reply(fields), Some(reply_id)) => {
                let frame = reply(seq, &reply_id, &fields);
                if frame.len() > FRAME_BYTES_MAX {
                    output::complain("the reply is larger than a reply may be");
                    return Ok(failed());
                }
                (frame, true)
            }
            (Handled::Ack | Handled::Reply(_), _) => {
                (json!({"type": "ack", "seqs": [seq]}).to_string(), true)
            }
        })
    }
}

/// Says goodbye: what was not acked goes to others.
fn leave(socket: &mut WebSocket<Stream>) -> ConnectionEnd {
    let frame = CloseFrame { code: 1001.into(), reason: "".into() };
    // Where the connection is gone there is nobody to say it to.
    let _ = socket.close(Some(frame));
    let _ = socket.flush();
    ConnectionEnd::Stopped
}

fn say(socket: &mut WebSocket<Stream>, text: &str) -> Result<(), tungstenite::Error> {
    socket.send(Message::text(text))
}

/// The frame of a reply, which acks its trigger.
fn reply(seq: u64, reply_id: &str, fields: &str) -> String {
    let id = serde_json::Value::from(reply_id);
    format!("{{\"type\":\"reply\",\"seq\":{seq},\"replyId\":{id},{fields}}}")
}

#[cfg(test)]
mod tests {
    use super::super::handler::printed_reply;
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
            let frame = reply(7, "a.b", &printed_reply(printed));
            let fields: serde_json::Value = serde_json::from_str(&frame).unwrap();
            assert_eq!((&fields["type"], &fields["replyId"]), (&"reply".into(), &"a.b".into()));
            assert_eq!(fields["seq"], 7);
            assert!(frame.ends_with(&format!("{body}}}")), "{frame}");
        }
    }

    #[test]
    fn a_worker_whose_command_fails_rests_longer_each_time_until_one_is_done() {
        let mut rest = Rest(BACKOFF);
        let mut after = |is_done| rest.after(is_done);
        assert_eq!((after(true), after(false), after(false)), (None, Some(BACKOFF), Some(BACKOFF * 2)));
        let longest = (0..10).map(|_| after(false)).last();
        assert_eq!(longest, Some(Some(BACKOFF_MAX)));
        assert_eq!((after(true), after(false)), (None, Some(BACKOFF)));
    }
}
