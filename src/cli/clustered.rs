//! The node of a cluster that a process is, where its settings name one.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use futures_util::StreamExt as _;
use tower_service::Service as _;

use super::gateway::Gateway;
use crate::admin;
use crate::base::clock::Clock;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::cluster::api::{FrameStream, PassedRequest};
use crate::cluster::journal::{AdoptionReplay, Heir, NodeJournal, TakeoverShare};
use crate::cluster::links::{self, Links, LocalEvents, Outgoing};
use crate::cluster::membership::Adopter;
use crate::cluster::names::Names;
use crate::cluster::rate::give_back_places;
use crate::cluster::replies::{self, LocalReplies, Replies};
use crate::cluster::{Adoptions, Connection, Keys, Node, Replicas, Setup};
use crate::engine::{NodeLinks, Services, SharedKeys};
use crate::registry::Registry;
use crate::settings::Settings;
use crate::store::Store;

/// The node, and what the cores get of it.
pub(super) struct Clustered {
    pub(super) node: Arc<Node>,
    connection: Arc<Connection>,
    names: Names,
    inc: Id,
    replay: Arc<OnceLock<AdoptionReplay>>,
    adoptions: Arc<Adoptions>,
    links: Arc<Links>,
    keys: Arc<Keys>,
    /// Until they are served.
    outgoing: Mutex<Option<Outgoing>>,
}

/// Whether the settings name a cluster.
pub(super) fn is_set(settings: &Settings) -> bool {
    settings.cluster_nats().is_some()
}

/// Starts the node. NATS need not answer yet.
pub(super) fn start(
    connection: &Arc<Connection>,
    settings: &Settings,
    inc: Id,
    store: &Arc<Store>,
    registry: &Arc<Registry>,
    clock: Clock,
) -> Clustered {
    let (cluster, host) = (settings.cluster.prefix(), host_name());
    let (replay, adoptions) = (Arc::default(), Arc::default());
    let node = Node::start(&Setup {
        connection,
        cluster,
        host: &host,
        monitor: &settings.cluster.monitor,
        replicas: Replicas(settings.cluster.replicas),
        ack_timeout: Duration::from_secs(u64::from(settings.cluster.ack_timeout)),
        store,
        registry,
        inc,
        adopter: adopter(&replay, &adoptions),
        adoptions: &adoptions,
        clock,
    });
    let ack_timeout = Duration::from_secs(u64::from(settings.cluster.ack_timeout));
    let (names, replicas) = (Names::new(cluster), Replicas(settings.cluster.replicas));
    let keys = Arc::new(Keys::start(connection, &names, replicas, ack_timeout, clock));
    let connection = Arc::clone(connection);
    let (links, outgoing) = Links::new();
    let (links, outgoing) = (Arc::new(links), Mutex::new(Some(outgoing)));
    Clustered { node: Arc::new(node), connection, names, inc, replay, adoptions, links, keys, outgoing }
}

/// Adopts journals of nodes that have ended, once the cores of this one are there to deliver.
fn adopter(replay: &Arc<OnceLock<AdoptionReplay>>, adoptions: &Arc<Adoptions>) -> Adopter {
    let (replay, adoptions) = (Arc::clone(replay), Arc::clone(adoptions));
    Arc::new(move |journal| {
        let (replay, adoptions) = (replay.get().cloned(), Arc::clone(&adoptions));
        Box::pin(async move {
            let Some(replay) = replay else { return false };
            match replay.run(&journal.to_string()).await {
                Ok(TakeoverShare { triggers, unreadable }) => {
                    adoptions.note(triggers, unreadable);
                    if unreadable > 0 {
                        bounded_log!(error, %journal, triggers, unreadable, "not all open triggers of a node that has ended were taken over: this version cannot read some");
                    } else if triggers > 0 {
                        bounded_log!(info, %journal, triggers, "open triggers of a node that has ended were taken over");
                    }
                    true
                }
                Err(error) => {
                    bounded_log!(warn, %journal, %error, "the open triggers of a node that has ended cannot be taken over yet");
                    false
                }
            }
        })
    })
}

impl Clustered {
    /// Answers requests of the REST API that other nodes pass on, from here on.
    pub(super) fn serve_api(&self, router: &Router, token: &str) {
        let (router, bearer) = (router.clone(), format!("Bearer {token}"));
        self.node.serve_api(Arc::new(move |passed: PassedRequest| {
            let mut router = router.clone();
            let accept = if passed.is_stream { "text/event-stream" } else { "application/json" };
            let request = Request::builder()
                .method(passed.method.as_str())
                .uri(passed.target)
                .header(header::HOST, "localhost")
                .header(header::AUTHORIZATION, &bearer)
                .header(header::ACCEPT, accept)
                .header(admin::PASSED_ON, "1")
                .body(Body::from(passed.body));
            Box::pin(async move {
                let no_body = || Box::pin(futures_util::stream::empty()) as FrameStream;
                let Ok(request) = request else { return (StatusCode::BAD_REQUEST.as_u16(), no_body()) };
                let response = match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                let status = response.status().as_u16();
                let frames = response.into_body().into_data_stream();
                (
                    status,
                    Box::pin(frames.map(|frame| frame.map_err(|error| error.to_string()))) as FrameStream,
                )
            })
        }));
    }

    /// Gives the cores what a cluster has for them.
    pub(super) fn services(&self, services: Services) -> Services {
        let remote = Arc::new(Replies::new(&self.connection, &self.names));
        let links = Some(Arc::clone(&self.links) as Arc<dyn NodeLinks>);
        let keys = Some(Arc::clone(&self.keys) as Arc<dyn SharedKeys>);
        Services { permits: self.node.rates(), keys, remote, node: Some(self.inc), links, ..services }
    }

    /// Takes what other nodes send and leave, from here on.
    pub(super) fn serve(&self, gateway: &Arc<Gateway>, journal: &NodeJournal, data: &Path) {
        let heir = Arc::clone(gateway) as Arc<dyn Heir>;
        journal.resume(heir, data, Arc::clone(&self.adoptions));
        give_back_places(&self.connection, &self.names, journal.earlier());
        // The second call would be of a second engine.
        let _ = self.replay.set(journal.replay(Arc::clone(gateway) as Arc<dyn Heir>));
        let gateway = Arc::downgrade(gateway);
        if let Some(outgoing) = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let gateway = Weak::clone(&gateway);
            let events: LocalEvents = Arc::new(move |node, event| {
                if let Some(gateway) = gateway.upgrade() {
                    gateway.engine.on_node_event(node, event);
                }
            });
            links::serve(&self.connection, &self.names, self.inc, self.node.membership(), outgoing, events);
        }
        let local: LocalReplies = Arc::new(move |reply_id, reply, done| {
            if let Some(gateway) = gateway.upgrade() {
                gateway.engine.reply(reply_id, reply, done);
            }
        });
        replies::serve(&self.connection, &self.names, self.inc, local);
    }
}

/// Name of this machine, for people.
fn host_name() -> String {
    const FILE: &str = "/proc/sys/kernel/hostname";
    std::fs::read_to_string(FILE).map_or_else(|_| String::new(), |name| name.trim().to_owned())
}
