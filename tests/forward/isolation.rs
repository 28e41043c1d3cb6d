//! Targets do not wait for each other: by counts, not by time.

use serde_json::json;

use super::target::{Answer, SLOW, Target};
use super::{call, dead, node, serve, wait_until};

const CALLS: usize = 300;

#[test]
fn a_target_that_is_fine_is_not_disturbed_by_four_that_are_not() {
    for cores in [1, 2] {
        let server = serve(cores);
        let hook = server.webhook(json!({}));
        let hangs = Target::start(|_, _| Answer::Hang);
        let slow = Target::start(|_, _| {
            std::thread::sleep(SLOW);
            Answer::status(200)
        });
        let fails = Target::start(|number, _| match number % 2 {
            0 => Answer::status(500),
            _ => Answer::Respond(429, "retry-after: 1\r\n", Vec::new()),
        });
        let gone = Target::start(|_, _| Answer::status(410));
        let fine = Target::fine();
        for (target, more) in [
            (&hangs, json!({"maxInFlight": 20})),
            (&slow, json!({"maxInFlight": 2})),
            (&fails, json!({"retry": {"backoffSeconds": 0.01}})),
            (&gone, json!({})),
            (&fine, json!({})),
        ] {
            server.flow(&hook, json!([node(&target.url(""), more)]));
        }
        call(&server, &hook, 0..CALLS);
        let received = fine.wait_for(CALLS);
        wait_until("the dead letters", CALLS as u64, || dead(&server, "gone"));
        let mut numbers: Vec<usize> = received
            .iter()
            .map(|request| usize::try_from(request.json()["data"]["body"].as_u64().unwrap()).unwrap())
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..CALLS).collect::<Vec<usize>>(), "each once");
        assert_eq!(hangs.count(), 20, "those that hang hang still");
        assert!(slow.count() < CALLS && slow.most_at_once() <= 2);
        let name = hangs.url("");
        let in_flight = server.metric("tidegate_deliveries_in_flight", &format!("target=\"{name}\""));
        assert_eq!(in_flight, 20);
    }
}
