//! One node of a cluster: its membership, its copy of the model, its rates, and what it tells of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::adoptions::Adoptions;
use super::api::{self, Asker, LocalApi, NodeReplies, PassedRequest};
use super::connection::Connection;
use super::membership::{Adopter, Incarnation, Membership, NodeState};
use super::model::{Progress, SharedModel};
use super::monitor::Monitor;
use super::names::Names;
use super::rate::Rates;
use crate::base::clock::Clock;
use crate::base::log::bounded_log;
use crate::model::time_text;
use crate::registry::Registry;
use crate::settings::MonitorUrl;
use crate::store::Store;

/// How long the end of a process waits for its own tombstone. Without it the others take the node for dead, later.
const LEAVE_TIME: Duration = Duration::from_secs(3);

/// How often it is looked whether calls hold more places than the node has.
const OVERDRAWN_LOOK: Duration = Duration::from_secs(1);

/// How many servers keep what a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas(pub usize);

impl Replicas {
    /// The number for streams that a client makes: as it was set, else three where the servers are a cluster.
    #[must_use]
    pub fn of(self, client: &async_nats::Client) -> usize {
        const IN_A_CLUSTER: usize = 3;
        match self.0 {
            0 if client.server_info().cluster.is_some() => IN_A_CLUSTER,
            0 => 1,
            set => set,
        }
    }
}

/// Parts of a node.
pub struct Setup<'s> {
    pub connection: &'s Arc<Connection>,
    /// `cluster.name`.
    pub cluster: &'s str,
    /// Name of the machine, for people.
    pub host: &'s str,
    /// `cluster.monitor`.
    pub monitor: &'s [MonitorUrl],
    pub replicas: Replicas,
    /// How long a write is tried.
    pub ack_timeout: Duration,
    pub store: &'s Arc<Store>,
    pub registry: &'s Arc<Registry>,
    pub inc: Incarnation,
    pub adopter: Adopter,
    pub adoptions: &'s Arc<Adoptions>,
    pub clock: Clock,
}

/// The other nodes that are alive, each under the name that its journal has: one that joined again goes on under it.
fn others(membership: &Membership, own: Incarnation) -> Vec<Incarnation> {
    let nodes = membership.nodes().into_iter().filter(|(_, record)| record.state.is_alive());
    nodes.map(|(inc, record)| record.journal.unwrap_or(inc)).filter(|inc| *inc != own).collect()
}

/// One node of a cluster.
pub struct Node {
    connection: Arc<Connection>,
    inc: Incarnation,
    cluster: String,
    membership: Membership,
    model: watch::Receiver<Progress>,
    /// Until it is followed.
    unfollowed: Mutex<Option<SharedModel>>,
    rates: Arc<Rates>,
    adoptions: Arc<Adoptions>,
    monitor: Monitor,
}

impl Node {
    /// Starts to be a node. Returns at once: NATS may not answer yet.
    #[must_use]
    pub fn start(setup: &Setup<'_>) -> Node {
        let Setup { connection, cluster, host, replicas, store, registry, inc, clock, .. } = *setup;
        let names = Names::new(cluster);
        let model = SharedModel::new(connection, &names, inc, store, replicas, setup.ack_timeout, clock);
        let rates = Rates::start(connection, &names, inc, registry, replicas, clock);
        let adopter = Arc::clone(&setup.adopter);
        let membership = Membership::start(connection, &names, inc, host, replicas, adopter, clock);
        Node {
            connection: Arc::clone(connection),
            inc,
            cluster: cluster.to_owned(),
            membership,
            model: model.progress(),
            unfollowed: Mutex::new(Some(model)),
            rates: Arc::new(rates),
            adoptions: Arc::clone(setup.adoptions),
            monitor: Monitor::start(setup.monitor, |looking| connection.spawn(looking)),
        }
    }

    /// Follows the cluster's model from here on: whoever is to hear of its changes must be there.
    pub fn follow(&self) {
        let model = self.unfollowed.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(model) = model {
            model.start();
        }
    }

    /// The rates, for the cores.
    #[must_use]
    pub fn rates(&self) -> Arc<Rates> {
        Arc::clone(&self.rates)
    }

    /// Passes a request of the REST API to the other nodes; returns status and body of each that answers within a time.
    pub(crate) fn ask(
        &self,
        request: PassedRequest,
        time: Duration,
    ) -> impl Future<Output = NodeReplies> + Send + use<> {
        self.asker().ask(others(&self.membership, self.inc), request, time)
    }

    /// Follows a stream of the REST API at the other nodes.
    pub(crate) fn follow_events(
        &self,
        request: PassedRequest,
    ) -> impl Future<Output = mpsc::Receiver<Bytes>> + Send + use<> {
        let (membership, inc) = (self.membership.clone(), self.inc);
        self.asker().follow(move || others(&membership, inc), request)
    }

    fn asker(&self) -> Asker {
        Asker::new(self.connection.client.clone(), Names::new(&self.cluster), self.inc)
    }

    /// Answers requests that other nodes pass on.
    pub(crate) fn serve_api(&self, local: LocalApi) {
        let subject = Names::new(&self.cluster).api(self.inc);
        self.connection.spawn(api::serve(self.connection.client.clone(), subject, local));
    }

    /// Appends what `/metrics` tells.
    pub fn render(&self, page: &mut String) {
        self.rates.render(page);
        self.adoptions.render(page);
    }

    /// This node as a member.
    #[must_use]
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// Whether new calls are better sent here than elsewhere: NATS answers, and the model is the cluster's.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let is_followed = {
            let model = self.model.borrow();
            model.is_current && model.failure.is_none()
        };
        is_followed && self.membership.has_lease()
    }

    /// Returns once calls hold places of their webhooks' concurrency that NATS has not renewed for ten minutes, and that
    /// other nodes may have soon: those calls must end.
    pub async fn overdrawn(&self) {
        while !self.rates.is_overdrawn() {
            tokio::time::sleep(OVERDRAWN_LOOK).await;
        }
    }

    /// Takes no part any more: to be called once nothing is in flight.
    pub fn leave(&self) {
        self.connection.handle().block_on(self.rates.leave());
        if !self.membership.leave(LEAVE_TIME) {
            bounded_log!(warn, "NATS did not take this node's goodbye: the others will notice its silence");
        }
    }

    /// The state of the node as the API shows it.
    #[must_use]
    pub fn status(&self) -> Value {
        let model = self.model.borrow().clone();
        let (webhooks, tokens) = self.rates.held();
        let (half, most) = self.rates.waits();
        json!({
            "name": self.cluster,
            "node": self.inc.to_string(),
            "ready": self.is_ready(),
            "connected": self.connection.is_connected(),
            "lease": self.membership.has_lease(),
            "model": {
                "current": model.is_current,
                "revision": model.applied,
                "behind": model.seen.saturating_sub(model.applied),
                "failure": model.failure,
            },
            "rates": {
                "webhooks": webhooks,
                "tokens": tokens,
                "waitSeconds": {"p50": half, "p99": most},
            },
            "adoptions": self.adoptions.shown(),
            "monitor": self.monitor.shown(),
            "nodes": self.nodes(),
        })
    }

    fn nodes(&self) -> Vec<Value> {
        let nodes = self.membership.nodes().into_iter().map(|(inc, record)| {
            let state = match record.state {
                NodeState::Serving => "serving",
                NodeState::Draining => "draining",
                NodeState::Left => "left",
                NodeState::Dead => "dead",
            };
            json!({
                "id": inc.to_string(),
                // A node that joined again goes on under the name of its journal.
                "process": record.journal.unwrap_or(inc).to_string(),
                "self": inc == self.inc,
                "name": record.name,
                "version": record.version,
                "state": state,
                "since": time_text(record.since),
                "adoptedBy": record.adopted_by.map(|inc| inc.to_string()),
            })
        });
        nodes.collect()
    }
}
