//! The members of a cluster: goodbyes and silence.

use super::common::eventually;
use super::common::nats::Nats;
use super::{nodes, status};

/// The state of a node as another one tells it.
fn state_of(node: &super::Server, id: &str) -> Option<String> {
    let status = status(node);
    let found = status["nodes"].as_array()?.iter().find(|node| node["id"] == id)?.clone();
    found["state"].as_str().map(str::to_owned)
}

#[test]
fn a_node_that_ends_says_goodbye_and_one_that_is_killed_is_given_up() {
    let Some(nats) = Nats::start() else { return };
    let [first, mut second, mut third] = nodes::<3>(&nats);
    let id = |node: &super::Server| status(node)["node"].as_str().expect("an id").to_owned();
    let (leaving, killed) = (id(&second), id(&third));
    second.terminate();
    second.ended();
    eventually("the others know that it has left", || {
        (state_of(&first, &leaving).as_deref() == Some("left")).then_some(())
    });
    third.crash();
    // It is silent for longer than a lease first; the test waits as often as it has to.
    for _ in 0..3 {
        if state_of(&first, &killed).as_deref() == Some("dead") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_secs(7));
    }
    eventually("the others take it for dead", || {
        (state_of(&first, &killed).as_deref() == Some("dead")).then_some(())
    });
}
