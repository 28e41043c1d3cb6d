//! This node in the bucket `KV_P_nodes`: carries the operations of [`Members`] out, and watches the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::kv::{self, Operation as Change, Store as Bucket, UpdateErrorKind, Watch};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::machine::{Members, MembershipAnswer, Operation};
use super::record::{Incarnation, NodeRecord, NodeState};
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::cluster::names::Names;
use crate::cluster::{Connection, Replicas, connected};

/// How often it is looked what is due.
const POLL: Duration = Duration::from_millis(250);
/// Time for the ack of a write.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Pauses between attempts to open the bucket, or to watch it.
const OPEN_PAUSE: Duration = Duration::from_secs(1);
/// Silence of the watch after which it is begun again: the own record alone is renewed more often.
const SILENCE: Duration = Duration::from_secs(15);

/// Adopts what is open in the journal of this name. Called again until it returns `true`.
pub type Adopter = Arc<dyn Fn(Incarnation) -> Adoption + Send + Sync>;

/// An adoption under way.
pub type Adoption = std::pin::Pin<Box<dyn Future<Output = bool> + Send>>;

/// This node as a member.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    members: Mutex<Members>,
    clock: Clock,
    is_open: AtomicBool,
}

impl Shared {
    fn members(&self) -> MutexGuard<'_, Members> {
        // A panic with the lock left every record whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Membership {
    /// Joins the cluster, and stays in it as long as the connection lives.
    #[must_use]
    pub fn start(
        connection: &Connection,
        names: &Names,
        inc: Incarnation,
        name: &str,
        replicas: Replicas,
        adopter: Adopter,
        clock: Clock,
    ) -> Membership {
        let record = NodeRecord::new(name, clock.now().unix_millis);
        let members = Mutex::new(Members::new(inc, record));
        let shared = Arc::new(Shared { members, clock, is_open: AtomicBool::new(false) });
        let client = connection.client.clone();
        let (jetstream, bucket) = (connection.jetstream.clone(), names.nodes_bucket());
        let kept = Arc::clone(&shared);
        connection.spawn(async move {
            connected(&client).await;
            let bucket = open(&jetstream, &bucket, || replicas.of(&client)).await;
            kept.is_open.store(true, Ordering::Relaxed);
            tokio::join!(watch(&kept, &bucket), act(&kept, &bucket, &adopter));
        });
        Membership { shared }
    }

    /// Whether this node may act as a member.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.shared.members().has_lease(self.shared.clock.now())
    }

    /// Whether the others have given this node up.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.shared.members().is_fenced()
    }

    /// The incarnations that are known, this one first.
    #[must_use]
    pub fn nodes(&self) -> Vec<(Incarnation, NodeRecord)> {
        self.shared.members().all().map(|(inc, record)| (inc, record.clone())).collect()
    }

    /// Whether another incarnation is alive as far as is known.
    #[must_use]
    pub fn is_alive(&self, inc: Incarnation) -> bool {
        self.shared.members().is_alive(inc)
    }

    /// Tells the others what this node is.
    pub fn set_state(&self, state: NodeState) {
        let now = self.shared.clock.now();
        self.shared.members().set_state(state, now);
    }

    /// Writes the own tombstone, and waits for it up to `patience`; returns whether it is there.
    pub fn leave(&self, patience: Duration) -> bool {
        self.set_state(NodeState::Left);
        let polls = patience.as_millis() / POLL.as_millis();
        for _ in 0..polls {
            if self.shared.members().has_left() {
                return true;
            }
            std::thread::sleep(POLL);
        }
        self.shared.members().has_left()
    }
}

async fn open(jetstream: &Context, bucket: &str, replicas: impl Fn() -> usize) -> Bucket {
    loop {
        let config = kv::Config {
            bucket: bucket.to_owned(),
            history: 1,
            storage: StorageType::File,
            num_replicas: replicas(),
            ..kv::Config::default()
        };
        let opened = match jetstream.get_key_value(bucket).await {
            Ok(opened) => Ok(opened),
            Err(_) => jetstream.create_key_value(config).await,
        };
        match opened {
            Ok(opened) => return opened,
            Err(error) => {
                bounded_log!(warn, %error, "the bucket of the cluster's nodes cannot be opened: it is tried again")
            }
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

/// Follows the records of all nodes.
async fn watch(shared: &Shared, bucket: &Bucket) {
    loop {
        match bucket.watch_with_history(">").await {
            Ok(watch) => follow(shared, watch).await,
            Err(error) => {
                bounded_log!(warn, %error, "the cluster's nodes cannot be watched: it is tried again")
            }
        }
        tokio::time::sleep(OPEN_PAUSE).await;
    }
}

async fn follow(shared: &Shared, mut watch: Watch) {
    while let Ok(Some(next)) = tokio::time::timeout(SILENCE, watch.next()).await {
        let entry = match next {
            Ok(entry) => entry,
            // It goes on by itself.
            Err(error) => {
                tracing::debug!(%error, "the watch of the nodes");
                continue;
            }
        };
        let Ok(inc) = entry.key.parse::<Incarnation>() else { continue };
        let now = shared.clock.now();
        if entry.operation != Change::Put {
            shared.members().on_removed(inc);
            continue;
        }
        match NodeRecord::from_bytes(&entry.value) {
            Ok(record) => shared.members().on_record(inc, entry.revision, record, now),
            Err(error) => bounded_log!(error, %inc, %error, "the record of a node cannot be read"),
        }
    }
}

/// Does what is due.
async fn act(shared: &Arc<Shared>, bucket: &Bucket, adopter: &Adopter) {
    let (done, mut adopted) = mpsc::unbounded_channel();
    let mut tick = tokio::time::interval(POLL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let mut operations = Vec::new();
        tokio::select! {
            _ = tick.tick() => {
                let now = shared.clock.now();
                let mut members = shared.members();
                if members.is_fenced() {
                    bounded_log!(warn, "the other nodes have taken this one for dead: it joins them again");
                    members.rejoin(Id::generate(now.unix_millis), now);
                }
                operations = members.poll(now);
            },
            ended = adopted.recv() => if let Some((inc, is_done)) = ended {
                operations.extend(shared.members().adopted(inc, is_done, shared.clock.now()));
            },
        }
        for operation in operations {
            match operation {
                Operation::Adopt { inc, journal } => {
                    let (adoption, done) = (adopter(journal), done.clone());
                    tokio::spawn(async move {
                        // Who waits for it ends with the connection.
                        let _ = done.send((inc, adoption.await));
                    });
                }
                Operation::Put { inc, expected, record } => {
                    let (beat, value) = (record.beat, Bytes::from(record.to_bytes()));
                    if record.state == NodeState::Dead && record.adopted_by.is_none() {
                        bounded_log!(warn, %inc, name = record.name, "a node of the cluster was silent: it is taken for dead");
                    }
                    let (shared, bucket) = (Arc::clone(shared), bucket.clone());
                    tokio::spawn(async move {
                        let update = bucket.update(inc.to_string(), value, expected);
                        let answer = match tokio::time::timeout(WRITE_TIME, update).await {
                            Ok(Ok(revision)) => MembershipAnswer::Stored(revision),
                            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                                MembershipAnswer::Conflict
                            }
                            Ok(Err(_)) | Err(_) => MembershipAnswer::Unknown,
                        };
                        shared.members().on_answer(inc, beat, answer, shared.clock.now());
                    });
                }
                Operation::Remove { inc, expected } => {
                    let bucket = bucket.clone();
                    tokio::spawn(async move {
                        let removed = bucket.purge_expect_revision(inc.to_string(), Some(expected)).await;
                        if let Err(error) = removed {
                            tracing::debug!(%inc, %error, "the record of a node that ended long ago");
                        }
                    });
                }
            }
        }
    }
}
