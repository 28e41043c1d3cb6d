//! Messages of the cores to the cores of other nodes, by subject of core NATS: to one node in frames, one under way at a
//! time and repeated until it is answered, so that they arrive in order and once; to all nodes as they are.
//!
//! A node that does not answer for [`GONE_TIME`], or that has ended, is gone: what waits for it is dropped, and the cores are
//! told ([`NodeEvent::Gone`]). It may come back: then a new session begins.

mod frame;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, Request, Subject};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::connection::Connection;
use super::membership::{Incarnation, Membership};
use super::names::Names;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::base::random::Random;
use crate::engine::{NodeEvent, NodeLinks};

/// Bytes of a frame that holds more than one message.
const FRAME_BYTES_MAX: usize = 256 * 1024;
/// How long the answer to one attempt of a frame is waited for.
const ATTEMPT_TIME: Duration = Duration::from_secs(1);
/// Pause before a frame is repeated that nobody was there for.
const REPEAT_PAUSE: Duration = Duration::from_millis(100);
/// A node that has not answered for so long is gone: a client of NATS finds another server in 4 s.
const GONE_TIME: Duration = Duration::from_secs(5);
/// How often it is looked which nodes have ended.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Pause before the subjects are subscribed to again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);
/// The answer to a frame.
const RECEIVED: &[u8] = b"ok";

/// Hands a message of another node to the cores of this one.
pub type LocalEvents = Arc<dyn Fn(Id, NodeEvent) + Send + Sync>;

/// The links of this node.
pub struct Links {
    out: UnboundedSender<(Option<Id>, NodeEvent)>,
}

impl NodeLinks for Links {
    fn send(&self, node: Id, event: NodeEvent) {
        // Without a receiver the process ends.
        let _ = self.out.send((Some(node), event));
    }

    fn broadcast(&self, event: NodeEvent) {
        let _ = self.out.send((None, event));
    }
}

/// The other end of [`Links`], for [`serve`].
pub struct Outgoing(UnboundedReceiver<(Option<Id>, NodeEvent)>);

impl Links {
    /// Links that carry nothing before [`serve`] is called.
    #[must_use]
    pub fn new() -> (Links, Outgoing) {
        let (out, outgoing) = mpsc::unbounded_channel();
        (Links { out }, Outgoing(outgoing))
    }
}

/// Carries messages as long as the connection lives.
pub fn serve(
    connection: &Connection,
    names: &Names,
    inc: Incarnation,
    membership: &Membership,
    outgoing: Outgoing,
    local: LocalEvents,
) {
    let client = connection.client.clone();
    let sender = LinkSender {
        client: client.clone(),
        names: names.clone(),
        inc,
        local: Arc::clone(&local),
        peers: HashMap::new(),
        random: Random::from_system(),
    };
    connection.spawn(sender.run(outgoing.0, membership.clone()));
    for subject in [names.work(inc), names.work_of_all()] {
        connection.spawn(receive(client.clone(), subject, inc, Arc::clone(&local)));
    }
}

/// Distributes messages over the nodes that they are for.
struct LinkSender {
    client: Client,
    names: Names,
    inc: Incarnation,
    local: LocalEvents,
    /// The queues of the nodes that there was something for.
    peers: HashMap<Id, UnboundedSender<NodeEvent>>,
    random: Random,
}

impl LinkSender {
    async fn run(mut self, mut outgoing: UnboundedReceiver<(Option<Id>, NodeEvent)>, membership: Membership) {
        let mut ended: HashSet<Id> = HashSet::new();
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                message = outgoing.recv() => match message {
                    None => return,
                    Some((Some(node), event)) => self.send(node, event),
                    Some((None, event)) => self.broadcast(&event).await,
                },
                _ = look.tick() => {
                    let nodes = membership.nodes();
                    let all = nodes.iter().filter(|(_, record)| !record.state.is_alive());
                    let now: HashSet<Id> = all.map(|(inc, _)| *inc).collect();
                    for &node in now.difference(&ended).filter(|node| **node != self.inc) {
                        self.peers.remove(&node);
                        (self.local)(node, NodeEvent::Gone);
                    }
                    ended = now;
                    self.peers.retain(|_, peer| !peer.is_closed());
                }
            }
        }
    }

    fn send(&mut self, node: Id, event: NodeEvent) {
        let Some(event) =
            self.peers.get(&node).map_or(Some(event.clone()), |peer| peer.send(event).err().map(|e| e.0))
        else {
            return;
        };
        let (peer, events) = mpsc::unbounded_channel();
        // The task has just been made for it.
        let _ = peer.send(event);
        let link = NodeLink {
            client: self.client.clone(),
            subject: Subject::from(self.names.work(node)),
            own: self.inc,
            session: self.random.next_u64(),
            number: 0,
        };
        let local = Arc::clone(&self.local);
        tokio::spawn(async move {
            if link.run(events).await == LinkEnd::Gone {
                tracing::debug!(%node, "another node does not answer");
                local(node, NodeEvent::Gone);
            }
        });
        self.peers.insert(node, peer);
    }

    async fn broadcast(&self, event: &NodeEvent) {
        let mut frame = frame::begin(self.inc, 0, 0);
        frame::push(&mut frame, event);
        let publish = self.client.publish(self.names.work_of_all(), frame.into());
        // It is said again while it matters.
        if !matches!(tokio::time::timeout(ATTEMPT_TIME, publish).await, Ok(Ok(()))) {
            tracing::debug!("a message to all nodes was not sent");
        }
    }
}

/// Why a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkEnd {
    /// Nobody has anything more for the node.
    Over,
    /// The node does not answer.
    Gone,
}

/// The frames of this node to another one.
struct NodeLink {
    client: Client,
    subject: Subject,
    own: Id,
    session: u64,
    number: u64,
}

impl NodeLink {
    async fn run(mut self, mut events: UnboundedReceiver<NodeEvent>) -> LinkEnd {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(event) => event,
                None => match events.recv().await {
                    Some(event) => event,
                    None => return LinkEnd::Over,
                },
            };
            self.number += 1;
            let mut frame = frame::begin(self.own, self.session, self.number);
            frame::push(&mut frame, &first);
            while next.is_none() && frame.len() < FRAME_BYTES_MAX {
                let Ok(event) = events.try_recv() else { break };
                let before = frame.len();
                frame::push(&mut frame, &event);
                if frame.len() > FRAME_BYTES_MAX {
                    frame.truncate(before);
                    next = Some(event);
                }
            }
            if !matches!(tokio::time::timeout(GONE_TIME, self.pass(frame.into())).await, Ok(true)) {
                return LinkEnd::Gone;
            }
        }
    }

    /// Sends a frame until it is answered; returns `false` if the node cannot read it.
    async fn pass(&self, frame: Bytes) -> bool {
        loop {
            let request = Request::new().payload(frame.clone()).timeout(Some(ATTEMPT_TIME));
            match self.client.send_request(self.subject.clone(), request).await {
                Ok(answer) if answer.payload == RECEIVED => return true,
                Ok(_) => {
                    bounded_log!(error, "another node cannot read a message: is it of another version?");
                    return false;
                }
                Err(error) => tracing::debug!(%error, "a message to another node"),
            }
            tokio::time::sleep(REPEAT_PAUSE).await;
        }
    }
}

/// Takes the messages of other nodes on one subject.
async fn receive(client: Client, subject: String, inc: Incarnation, local: LocalEvents) {
    let mut sessions = Sessions::default();
    loop {
        match client.subscribe(subject.clone()).await {
            Ok(mut subscriber) => {
                while let Some(message) = subscriber.next().await {
                    take(&client, message, inc, &mut sessions, &local).await;
                }
            }
            Err(error) => {
                bounded_log!(warn, %error, "messages of other nodes cannot be taken: it is tried again")
            }
        }
        tokio::time::sleep(SUBSCRIBE_PAUSE).await;
    }
}

async fn take(
    client: &Client,
    message: Message,
    inc: Incarnation,
    sessions: &mut Sessions,
    local: &LocalEvents,
) {
    let frame = frame::read(message.payload);
    let is_read = frame.is_some();
    match frame {
        None => bounded_log!(error, "a message of another node cannot be read: is it of another version?"),
        Some(frame) if frame.from == inc => {}
        Some(frame) => {
            if sessions.is_new(frame.from, frame.session, frame.number) {
                frame.events.into_iter().for_each(|event| local(frame.from, event));
            }
        }
    }
    if let Some(inbox) = message.reply {
        let answer = if is_read { RECEIVED } else { b"" };
        if let Err(error) = client.publish(inbox, Bytes::from_static(answer)).await {
            tracing::debug!(%error, "the answer to a message of another node");
        }
    }
}

/// Sessions that are remembered: incarnations of nodes, the oldest of which have long ended.
const SESSIONS_MAX: usize = 4_096;

/// The last frame of each node that was received.
#[derive(Default)]
struct Sessions(HashMap<Id, (u64, u64)>);

impl Sessions {
    /// Whether a frame was not received before. Those for all nodes have no number.
    fn is_new(&mut self, from: Id, session: u64, number: u64) -> bool {
        if number == 0 {
            return true;
        }
        if self.0.len() >= SESSIONS_MAX && !self.0.contains_key(&from) {
            self.0.clear();
        }
        let last = self.0.entry(from).or_insert((session, 0));
        if last.0 != session {
            *last = (session, 0);
        }
        let is_new = number > last.1;
        last.1 = last.1.max(number);
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_repeated_is_taken_once_and_a_session_begins_anew() {
        let (mut sessions, one, two) = (Sessions::default(), Id::from_raw([1; 12]), Id::from_raw([2; 12]));
        assert!(sessions.is_new(one, 5, 1) && !sessions.is_new(one, 5, 1) && sessions.is_new(one, 5, 2));
        assert!(sessions.is_new(two, 5, 1) && !sessions.is_new(one, 5, 1));
        assert!(sessions.is_new(one, 6, 1) && !sessions.is_new(one, 6, 1));
        assert!(sessions.is_new(one, 0, 0) && sessions.is_new(one, 0, 0));
    }
}
