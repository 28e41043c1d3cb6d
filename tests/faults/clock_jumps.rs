//! The wall clock steps, as NTP and people make it do. What waits and what is counted goes by the monotonic clock;
//! what is dated goes by the wall clock, whatever it says.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate::base::clock::{NANOS_PER_SECOND, Now};
use tidegate::limit::Rate;

use crate::common::{Server, eventually};

/// Where Debian's `libfaketime` is.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

#[test]
fn a_rate_goes_on_as_if_nothing_had_happened_when_the_wall_clock_jumps() {
    let (steady, jumping) = (Rate::new(1, 7, 10), Rate::new(1, 7, 10));
    let jumps = [0, u64::MAX, 1, 1_771_521_960_000, 1_771_435_560_000, 4_102_444_800_000, 0];
    let (mut passed, mut refused) = (0, 0);
    for step in 0..20_000u64 {
        let nanos = 3_600 * NANOS_PER_SECOND + step * 37 * 1_000_000;
        let expected = steady.take(0, Now { nanos, unix_millis: 1_771_521_960_000 + nanos / 1_000_000 });
        let unix_millis = jumps[step as usize % jumps.len()];
        assert_eq!(jumping.take(0, Now { nanos, unix_millis }), expected, "step {step}");
        if expected.is_ok() { passed += 1 } else { refused += 1 }
    }
    assert!(passed > 100 && refused > 100, "{passed} passed and {refused} were refused");
}

/// A server whose wall clock is what the file says; none, with a printed line, without Debian's `faketime`.
fn server(clock: &Path) -> Option<Server> {
    let Some(library) = LIBRARIES.iter().find(|path| Path::new(path).exists()) else {
        crate::common::skip::skip("a jumping clock", "Debian's faketime is not installed");
        return None;
    };
    fs::write(clock, "+0\n").expect("a file");
    Some(Server::start(|settings| {
        settings
            .set("LD_PRELOAD", library)
            .set("FAKETIME_TIMESTAMP_FILE", clock.display())
            .set("FAKETIME_NO_CACHE", 1)
            .set("FAKETIME_DONT_FAKE_MONOTONIC", 1);
    }))
}

/// Steps the clock, and waits until the server's answers are dated so.
fn step(server: &Server, clock: &Path, offset: &str, year: &str) {
    fs::write(clock, format!("{offset}\n")).expect("a file");
    eventually("answers are dated by the new clock", || {
        let response = server.wire().ask(crate::common::request("GET", "/healthz", &[], b""));
        response.header("date").expect("a date").contains(year).then_some(())
    });
}

#[test]
fn limits_waits_and_dates_survive_a_wall_clock_that_jumps() {
    let scratch = tempfile::tempdir().expect("a folder");
    let clock = scratch.path().join("clock");
    let Some(server) = server(&clock) else { return };
    let limits = json!({"requestsPerWindow": 3, "windowSeconds": 3600});
    let limited = server.webhook(json!({"limits": limits}));
    for _ in 0..3 {
        assert_eq!(server.wire().ask(limited.get()).status, 200);
    }
    assert_eq!(server.wire().ask(limited.get()).status, 429);
    const WAIT: Duration = Duration::from_secs(2);
    let waiting =
        server.webhook(json!({"waitForReply": true, "limits": {"replyTimeoutSeconds": WAIT.as_secs()}}));
    // About ten years on, ten years back, and where there is no such time.
    let jumps = [("+3650d", "203"), ("-3650d", "201"), ("+0", "20"), ("-25000d", "19"), ("+20000d", "208")];
    for (offset, year) in jumps {
        let begun = Instant::now();
        let mut held = server.hold(&waiting).expect("it waits");
        step(&server, &clock, offset, year);
        // The window is an hour of true time.
        assert_eq!(server.wire().ask(limited.get()).status, 429, "{offset}");
        assert_eq!(held.response().status, 504, "{offset}");
        assert!(begun.elapsed() >= WAIT, "{offset}: it was told so after {:?}", begun.elapsed());
        // What is made now is dated by the clock, has an id of its own, and is served.
        let made = server.webhook(json!({}));
        let shown = server.done("GET", &made.resource(""), &Value::Null);
        assert!(
            shown["creationDate"].as_str().is_some_and(|date| date.starts_with(year)),
            "{offset}: {shown}"
        );
        assert_eq!(server.wire().ask(made.get()).status, 200);
        server.patch(&limited, &json!({"description": offset}));
        for path in ["/stats?seconds=3600".to_owned(), limited.resource("/requests"), limited.resource("")] {
            assert_eq!(server.call("GET", &path, &Value::Null).0, 200, "{offset}: {path}");
        }
    }
    assert_eq!(server.metric("tidegate_panics_total", ""), 0);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
