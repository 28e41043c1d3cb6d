//! What was accepted outlives a crash, under the names that it had.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::target::{Answer, Target};
use super::{call, node, wait_until};
use crate::common::Server;

const CALLS: usize = 40;

#[test]
fn a_crash_loses_nothing_that_a_target_has_not_taken() {
    for cores in [1, 2] {
        let is_up = Arc::new(AtomicBool::new(false));
        let up = Arc::clone(&is_up);
        let target =
            Target::start(move |_, _| Answer::status(if up.load(Ordering::SeqCst) { 200 } else { 500 }));
        let mut server = Server::start(|settings| {
            settings
                .cores(cores)
                .set("TIDEGATE_JOURNAL_DURABILITY", "fsync")
                .set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
        });
        let hook = server.webhook(json!({}));
        let fields = json!({"body": "raw", "retry": {"backoffSeconds": 0.05}});
        server.flow(&hook, json!([node(&target.url("/"), fields)]));
        call(&server, &hook, 0..CALLS);
        let names = || -> BTreeSet<(String, Vec<u8>)> {
            let received = target.received().into_iter();
            received.map(|request| (request.header("webhook-id").to_owned(), request.body)).collect()
        };
        wait_until("an attempt of each", CALLS as u64, || names().len() as u64);
        let before = names();
        server.crash();
        is_up.store(true, Ordering::SeqCst);
        server.restart();
        wait_until("the deliveries", CALLS as u64, || server.metric("tidegate_deliveries_total", "done"));
        assert_eq!(names(), before, "each under its own name and with its body");
        assert_eq!(server.metric("tidegate_deliveries_total", "done"), CALLS as u64);
    }
}
