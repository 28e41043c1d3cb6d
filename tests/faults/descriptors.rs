//! Descriptors that run out: connections wait in the kernel, nothing spins, and accepting goes on when some are free.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use crate::common::{PATIENCE, Server, Wire, eventually, request};
use crate::process::processor_seconds;

on_each_driver! {
    accepting_rests_while_descriptors_are_out_and_goes_on_when_some_are_free,
}

/// Few enough to run out soon; the program itself has about 30 open.
const DESCRIPTORS: u64 = 96;
/// More than that.
const CALLERS: usize = 150;
/// How long the shortage is watched.
const WATCHED: Duration = Duration::from_secs(2);
/// Of one processor, while nothing can be done: a loop that spins takes all of one.
const PROCESSOR_SHARE_MAX: f64 = 0.25;

fn accepting_rests_while_descriptors_are_out_and_goes_on_when_some_are_free(driver: &str) {
    let server = Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0).prepare(|| {
            let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
            Ok(setrlimit(Resource::Nofile, limit)?)
        });
    });
    let hook = server.webhook(json!({}));
    let mut admin = Wire::connect(server.admin);
    let health = request("GET", "/healthz", &[], b"");
    assert_eq!(admin.ask(&health).status, 200);

    let mut callers: Vec<Wire> = (0..CALLERS).map(|_| server.wire()).collect();
    for caller in &mut callers {
        caller.send(hook.get());
    }
    // Those that got a descriptor have an answer; the others wait in the kernel.
    eventually("descriptors run out", || {
        server.log().contains("no connection can be accepted").then_some(())
    });
    let is_answered = |callers: &[Wire]| callers.iter().filter(|caller| caller.is_readable()).count();
    let mut held = 0;
    eventually("no more are answered", || {
        let answered = is_answered(&callers);
        let settled = answered > 0 && answered == held;
        held = answered;
        settled.then_some(())
    });
    assert!(held < CALLERS, "the limit is too high for this test");

    let (before, begun) = (processor_seconds(server.id()), Instant::now());
    let mut asked = 0;
    while begun.elapsed() < WATCHED {
        // Who is in is served: on the ingress and on the admin listener.
        assert_eq!(admin.ask(&health).status, 200);
        asked += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let share = (processor_seconds(server.id()) - before) / begun.elapsed().as_secs_f64();
    assert!(share < PROCESSOR_SHARE_MAX, "{share:.2} of a processor with nothing to do");
    let lines = server.log().matches("no connection can be accepted").count();
    assert!(lines <= 3, "{lines} lines of the log say the same");

    // Each that leaves makes room for one that waits: all of them get their answer.
    let freed = Instant::now();
    let mut lost = 0;
    while !callers.is_empty() {
        let (answered, waiting): (Vec<Wire>, Vec<Wire>) = callers.into_iter().partition(Wire::is_readable);
        assert!(freed.elapsed() < 3 * PATIENCE, "{} wait in vain", waiting.len());
        if answered.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        for mut caller in answered {
            lost += usize::from(caller.response().status != 200);
        }
        callers = waiting;
    }
    let recovered = freed.elapsed();
    assert_eq!(lost, 0);
    server.wire().ask(hook.get()).is(200, r#"{"success":true}"#);
    server.done("GET", &hook.resource(""), &serde_json::Value::Null);
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    println!(
        "descriptors, {driver}: held {held}, waited {}, lost {lost}, processor {share:.3}, asked meanwhile {asked}, \
         recovered in {recovered:?}",
        CALLERS - held
    );
}
