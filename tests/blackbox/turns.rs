//! A turn of a core is bounded in time: what one connection sends does not hold up the others.

use serde_json::{Value, json};

use crate::common::{Hook, Server, reply_node};

on_each_driver! {
    pipelined_calls_that_take_long_are_served_in_several_turns,
    a_call_does_not_stand_behind_all_that_others_have_pipelined,
}

/// Calls that arrive together: their bytes fit into one read.
const CALLS: usize = 30;
/// Each is a template that goes through so many pairs of globals: some hundred microseconds at the least.
const GLOBALS: usize = 100;
/// Connections that send so many each.
const CROWD: usize = 60;
const CROWD_CALLS: usize = 8;
/// Turns that the calls take at the least. All of them were one, whatever they cost.
const TURNS_MIN: u64 = 4;

fn pipelined_calls_that_take_long_are_served_in_several_turns(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = long(&server);
    let mut wire = server.wire();
    wire.ask(hook.get()).is(200, "done");
    let before = server.metric("tidegate_turn_seconds_count", "");
    wire.send(hook.get().repeat(CALLS));
    for _ in 0..CALLS {
        wire.response().is(200, "done");
    }
    let turns = server.metric("tidegate_turn_seconds_count", "") - before;
    assert!(turns >= TURNS_MIN, "{CALLS} calls in {turns} turns");
}

fn a_call_does_not_stand_behind_all_that_others_have_pipelined(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).cores(1).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    });
    let hook = long(&server);
    let other = server.webhook(json!({}));
    let mut wire = server.wire();
    wire.ask(other.get()).is(200, "{\"success\":true}");
    let mut crowd: Vec<_> = (0..CROWD).map(|_| server.wire()).collect();
    for wire in &mut crowd {
        wire.send(hook.get().repeat(CROWD_CALLS));
    }
    // The first of each stand in the order in which they have arrived.
    for wire in &mut crowd {
        wire.response().is(200, "done");
    }
    let answered = || server.metric("tidegate_requests_total", "outcome=\"ok\"");
    let before = answered();
    wire.ask(other.get()).is(200, "{\"success\":true}");
    let meanwhile = answered() - before;
    assert!(meanwhile < CROWD as u64 / 2, "{meanwhile} calls were answered before it");
    for wire in &mut crowd {
        for _ in 1..CROWD_CALLS {
            wire.response().is(200, "done");
        }
    }
}

/// A webhook whose calls take long.
fn long(server: &Server) -> Hook {
    let hook = server.webhook(json!({"waitForReply": true}));
    let globals: Vec<Value> =
        (0..GLOBALS).map(|number| json!({"key": format!("g{number}"), "json": "1"})).collect();
    server.done("PATCH", &format!("/applications/{}", hook.application), &json!({"globals": globals}));
    let template = "{{#each globals}}{{#each ../globals}}{{#if this}}{{else}}x{{/if}}{{/each}}{{/each}}done";
    server.flow(&hook, json!([reply_node(template)]));
    hook
}
