//! Section 4, the end: pipelining. Responses come in the order of their requests, however the bytes are cut.

use serde_json::json;

use crate::common::{Hook, Server, request};

on_each_driver! {
    sixteen_requests_are_answered_in_order_wherever_their_bytes_are_cut,
    the_bytes_may_come_one_by_one,
    a_waiting_request_holds_back_the_ones_behind_it,
}

const REQUESTS: u16 = 16;
/// Each request's webhook answers with a status of its own, which tells the responses apart.
const FIRST_STATUS: u16 = 220;

fn server(driver: &str) -> Server {
    Server::start(|settings| {
        settings.driver(driver).set("TIDEGATE_LIMITS_REQUESTS_PER_WINDOW", 0);
    })
}

fn hooks(server: &Server) -> Vec<Hook> {
    (0..REQUESTS).map(|index| server.webhook(json!({"responseCode": FIRST_STATUS + index}))).collect()
}

/// Without a body, with a length, and chunked, by turns.
fn requests(hooks: &[Hook]) -> Vec<Vec<u8>> {
    let each = hooks.iter().enumerate().map(|(index, hook)| match index % 3 {
        0 => hook.get(),
        1 => hook.post(b"GET / HTTP/1.1\r\n\r\n"),
        _ => {
            let head = request("PUT", &hook.target(""), &[("Transfer-Encoding", "chunked")], b"");
            [&head[..], b"3;x\r\nGET\r\nf\r\n / HTTP/1.1\r\n\r\n\r\n0\r\nX: a\r\n\r\n"].concat()
        }
    });
    each.collect()
}

fn sixteen_requests_are_answered_in_order_wherever_their_bytes_are_cut(driver: &str) {
    let server = server(driver);
    let first = server.webhook(json!({})).get();
    let requests = requests(&hooks(&server));
    let bytes = requests.concat();
    let mut wire = server.wire();
    for cut in 0..=bytes.len() {
        // The request before them is answered when the first part was received, so the cut is seen as a cut.
        wire.send([&first, &bytes[..cut]].concat());
        assert_eq!(wire.response().status, 200, "cut at {cut}");
        wire.send(&bytes[cut..]);
        for index in 0..REQUESTS {
            assert_eq!(wire.response().status, FIRST_STATUS + index, "cut at {cut}");
        }
    }
    assert!(!wire.is_readable(), "no response without a request");
}

fn the_bytes_may_come_one_by_one(driver: &str) {
    let server = server(driver);
    let requests = requests(&hooks(&server));
    let mut wire = server.wire();
    for byte in requests.concat() {
        wire.send([byte]);
    }
    for index in 0..REQUESTS {
        assert_eq!(wire.response().status, FIRST_STATUS + index);
    }
}

fn a_waiting_request_holds_back_the_ones_behind_it(driver: &str) {
    let server = server(driver);
    let waiting = server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": 1}}));
    let quick = server.webhook(json!({"responseCode": 201}));
    let answered = server.webhook(json!({"waitForReply": true, "responseCode": 202}));
    server.flow(&answered, json!([crate::common::reply_node("{}")]));
    let mut wire = server.wire();
    let body = vec![b'x'; 100_000];
    wire.send(
        [quick.get(), waiting.get(), quick.post(b"a body"), answered.get(), waiting.get(), quick.post(&body)]
            .concat(),
    );
    let statuses: Vec<u16> = (0..6).map(|_| wire.response().status).collect();
    assert_eq!(statuses, [201, 504, 201, 202, 504, 201]);
}
