//! The journal of a node that is one of a cluster (section 12): on JetStream, whatever becomes of the node or of NATS.

use serde_json::{Value, json};

use crate::common::nats::{Nats, NatsConfig};
use crate::common::{Hook, Server, eventually};
use crate::{Client, call, done, node};

/// Size of the journal's stream: a server of the tests keeps 4 GB in all.
const JOURNAL_BYTES: u64 = 256 * 1024 * 1024;

/// A node of a cluster whose callers wait for so many seconds.
fn serve(nats: &Nats, ack_timeout: u32) -> Server {
    let url = nats.url();
    Server::start(|settings| {
        settings
            .set("TIDEGATE_CLUSTER_NATS", url)
            .set("TIDEGATE_JOURNAL_MAX_BYTES", JOURNAL_BYTES)
            .set("TIDEGATE_CLUSTER_ACK_TIMEOUT", ack_timeout)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

/// A webhook whose triggers are published to `orders.new`, and wait while no stream takes them.
fn orders(server: &Server) -> Hook {
    let hook = server.webhook(json!({}));
    server.flow(&hook, node(json!({"subject": "orders.new"})));
    hook
}

fn open(server: &Server) -> u64 {
    server.metric("tidegate_journal_open_triggers", "")
}

#[test]
fn a_trigger_is_on_the_stream_before_its_answer_and_is_purged_when_it_is_done() {
    let Some(nats) = Nats::start_with(&NatsConfig::synced()) else { return };
    let client = Client::of(&nats);
    let server = serve(&nats, 10);
    let hook = orders(&server);
    assert_eq!(call(&server, &hook, &json!(1)).status, 200);
    let journal = client.run(client.jetstream.get_stream("tidegate_journal")).expect("it was made");
    assert_eq!((client.count(&journal), open(&server)), (1, 1));
    let stream = client.stream("ORDERS", "orders.>");
    client.wait_for(&stream, 1);
    eventually("the delivery", || (done(&server) == 1).then_some(()));
    // The last bundle says that it is done; the next purge takes the one of the trigger.
    assert_eq!(call(&server, &hook, &json!(2)).status, 200);
    eventually("a purge", || {
        let state = client.run(journal.get_info()).expect("it is there").state;
        (state.first_sequence > 1).then_some(())
    });
}

#[test]
fn what_was_open_is_delivered_after_a_crash_of_the_node_and_of_nats() {
    let Some(mut nats) = Nats::start() else { return };
    let mut server = serve(&nats, 10);
    let hook = orders(&server);
    for number in 0..20 {
        assert_eq!(call(&server, &hook, &json!(number)).status, 200);
    }
    server.crash();
    nats.kill();
    nats.restart();
    nats.wait();
    server.restart();
    let client = Client::of(&nats);
    eventually("the triggers of the start before", || (open(&server) == 20).then_some(()));
    let stream = client.stream("ORDERS", "orders.>");
    let mut bodies: Vec<Value> =
        (1..21).map(|sequence| client.wait_for(&stream, sequence).payload["data"]["body"].clone()).collect();
    bodies.sort_by_key(Value::as_u64);
    assert_eq!(bodies, (0..20).map(Value::from).collect::<Vec<_>>());
    eventually("all is done", || (open(&server) == 0).then_some(()));
    assert_eq!(client.count(&stream), 20, "a repeat was stored");
}

#[test]
fn while_nats_is_down_callers_are_told_and_what_was_accepted_stays() {
    let Some(mut nats) = Nats::start() else { return };
    let server = serve(&nats, 1);
    let hook = orders(&server);
    assert_eq!(call(&server, &hook, &json!(0)).status, 200);
    nats.kill();
    let refused = call(&server, &hook, &json!(1));
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (503, true), "{refused:?}");
    let ready = |server: &Server| server.call_raw("GET", "/readyz", "").status;
    assert_eq!(ready(&server), 503);
    // Others are told at once.
    assert_eq!(call(&server, &hook, &json!(2)).status, 503);
    nats.restart();
    nats.wait();
    eventually("it heals", || (call(&server, &hook, &json!(3)).status == 200).then_some(()));
    eventually("it says so", || (ready(&server) == 200).then_some(()));
    let client = Client::of(&nats);
    let stream = client.stream("ORDERS", "orders.>");
    eventually("all is done", || (open(&server) == 0).then_some(()));
    let bodies: Vec<Value> = (1..=client.count(&stream))
        .map(|sequence| client.wait_for(&stream, sequence).payload["data"]["body"].clone())
        .collect();
    assert!(bodies.contains(&json!(0)) && bodies.contains(&json!(3)), "{bodies:?}");
    assert!(!bodies.contains(&json!(2)), "what was never sent is delivered: {bodies:?}");
}

#[test]
fn the_loss_of_a_streams_leader_costs_an_election_and_no_trigger() {
    let Some(mut servers) = Nats::cluster(&NatsConfig::default()) else { return };
    let urls = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let mut server = Server::start(|settings| {
        settings
            .set("TIDEGATE_CLUSTER_NATS", urls)
            .set("TIDEGATE_JOURNAL_MAX_BYTES", JOURNAL_BYTES)
            .set("TIDEGATE_CLUSTER_ACK_TIMEOUT", 60)
            .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = orders(&server);
    for number in 0..10 {
        assert_eq!(call(&server, &hook, &json!(number)).status, 200);
    }
    let client = Client::of(&servers[0]);
    let journal = client.run(client.jetstream.get_stream("tidegate_journal")).expect("it was made");
    let info = client.run(journal.get_info()).expect("it is there");
    assert_eq!(info.config.num_replicas, 3);
    let leader = info.cluster.and_then(|cluster| cluster.leader).expect("there is one");
    let leads = |index: &usize| leader == format!("n{}", index + 1);
    let (lost, left) = ((0..3).find(leads).expect("one of them"), (0..3).find(|index| !leads(index)));
    servers[lost].kill();
    for number in 10..20 {
        // The first of them waits for the election.
        assert_eq!(call(&server, &hook, &json!(number)).status, 200);
    }
    server.crash();
    server.restart();
    let client = Client::of(&servers[left.expect("two of them")]);
    let stream = client.stream("ORDERS", "orders.>");
    let mut bodies: Vec<Value> =
        (1..21).map(|sequence| client.wait_for(&stream, sequence).payload["data"]["body"].clone()).collect();
    bodies.sort_by_key(Value::as_u64);
    assert_eq!(bodies, (0..20).map(Value::from).collect::<Vec<_>>());
    assert_eq!(client.count(&stream), 20, "a repeat was stored");
}
