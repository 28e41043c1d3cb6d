//! A snapshot in Prometheus' text exposition format 0.0.4.

use super::core::{ConnectionKind, Event, Numbers, Outcome, Snapshot};
use super::latency::LatencyCounts;
use super::targets::TargetsInFlight;
use super::webhooks::CLASSES;
use std::fmt::Write;

/// A family of counters that are sums of events.
struct Family {
    name: &'static str,
    help: &'static str,
    /// The label that tells the series apart; empty where there is one series.
    label: &'static str,
    series: &'static [(&'static str, Event)],
}

const fn one(name: &'static str, help: &'static str, series: &'static [(&'static str, Event)]) -> Family {
    Family { name, help, label: "", series }
}

const EVENT_FAMILIES: &[Family] = &[
    one("tidegate_triggers_total", "Triggers handed to flows.", &[("", Event::Trigger)]),
    Family {
        name: "tidegate_replies_total",
        help: "Replies, by whether one was waited for.",
        label: "accepted",
        series: &[("true", Event::ReplyAccepted), ("false", Event::ReplyRefused)],
    },
    one(
        "tidegate_reply_timeouts_total",
        "Requests that waited for a reply in vain.",
        &[("", Event::ReplyTimeout)],
    ),
    Family {
        name: "tidegate_reply_node_errors_total",
        help: "Reply nodes that could send nothing, by why.",
        label: "reason",
        series: &[
            ("template", Event::ReplyNodeError),
            ("wrong_caller", Event::ReplyNodeWrongCaller),
            ("refused", Event::ReplyNodeRefused),
        ],
    },
    one(
        "tidegate_condition_errors_total",
        "Conditions that took too much work to be decided.",
        &[("", Event::ConditionError)],
    ),
    Family {
        name: "tidegate_deliveries_total",
        help: "Attempts of delivering nodes, by result.",
        label: "result",
        series: &[
            ("done", Event::DeliveryDone),
            ("retried", Event::DeliveryRetried),
            ("dead", Event::DeliveryDead),
        ],
    },
    Family {
        name: "tidegate_delivery_attempts_total",
        help: "Requests to targets, by how they ended.",
        label: "outcome",
        series: &[
            ("ok", Event::AttemptOk),
            ("status", Event::AttemptStatus),
            ("timeout", Event::AttemptTimeout),
            ("unreachable", Event::AttemptUnreachable),
            ("denied", Event::AttemptDenied),
            ("broken", Event::AttemptBroken),
            ("unsendable", Event::AttemptUnsendable),
        ],
    },
    Family {
        name: "tidegate_dead_letters_total",
        help: "Deliveries that were given up, by why.",
        label: "reason",
        series: &[
            ("attempts", Event::DeadAttempts),
            ("retention", Event::DeadRetention),
            ("gone", Event::DeadGone),
            ("loop", Event::DeadLoop),
            ("request", Event::DeadRequest),
        ],
    },
    Family {
        name: "tidegate_websocket_messages_total",
        help: "Messages of webhooks' WebSockets, by direction.",
        label: "direction",
        series: &[("received", Event::MessageReceived), ("sent", Event::MessageSent)],
    },
    one(
        "tidegate_journal_refused_total",
        "Triggers that were refused because the journal did not take them.",
        &[("", Event::JournalRefused)],
    ),
    one(
        "tidegate_dropped_messages_total",
        "Messages between cores that were dropped, since the receiver's mailbox was full.",
        &[("", Event::MailboxFull)],
    ),
    one(
        "tidegate_accept_errors_total",
        "Connections that could not be accepted.",
        &[("", Event::AcceptError)],
    ),
    Family {
        name: "tidegate_tls_handshakes_total",
        help: "TLS handshakes on the ingress, by how they ended.",
        label: "outcome",
        series: &[
            ("full", Event::TlsFull),
            ("resumed", Event::TlsResumed),
            ("plain_http", Event::TlsPlainHttp),
            ("protocol", Event::TlsProtocol),
            ("incompatible", Event::TlsIncompatible),
            ("rejected", Event::TlsRejected),
            ("failed", Event::TlsFailed),
            ("timeout", Event::TlsTimeout),
            ("gone", Event::TlsGone),
        ],
    },
    Family {
        name: "tidegate_proxy_headers_total",
        help: "Connections where a PROXY header is asked for, by what came.",
        label: "outcome",
        series: &[
            ("accepted", Event::ProxyAccepted),
            ("untrusted", Event::ProxyUntrusted),
            ("missing", Event::ProxyMissing),
            ("malformed", Event::ProxyMalformed),
            ("timeout", Event::ProxyTimeout),
            ("gone", Event::ProxyGone),
        ],
    },
    one("tidegate_panics_total", "Panics that were contained.", &[("", Event::Panic)]),
];

/// Appends all families.
pub(super) fn render(snapshot: &Snapshot, out: &mut String) {
    let total = &snapshot.total;

    head(out, "tidegate_build_info", "gauge", "The version that runs.");
    sample(out, "tidegate_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    head(
        out,
        "tidegate_requests_total",
        "counter",
        "Requests, by how they ended and the core that served them.",
    );
    for_each_core(snapshot, |core, numbers| {
        for outcome in Outcome::ALL {
            let labels = [("outcome", outcome.name()), ("core", core)];
            sample(out, "tidegate_requests_total", &labels, numbers.requests(*outcome));
        }
    });

    head(out, "tidegate_responses_total", "counter", "Responses, by class of their status code.");
    for class in 1..=CLASSES {
        sample(out, "tidegate_responses_total", &[("class", &format!("{class}xx"))], total.responses(class));
    }

    let name = "tidegate_request_duration_seconds";
    render_durations(name, "From the last byte of a request to its response.", &total.latency, out);
    let name = "tidegate_turn_seconds";
    let help = "How long a connection, the mailbox, timers or a change of the model held a core at a time.";
    render_durations(name, help, &total.turns, out);
    head(out, "tidegate_turn_max_seconds", "gauge", "The longest turn since the start, by core.");
    for_each_core(snapshot, |core, numbers| {
        sample(out, "tidegate_turn_max_seconds", &[("core", core)], seconds(numbers.turn_nanos_max));
    });
    render_connections(snapshot, out);

    head(out, "tidegate_waiting_requests", "gauge", "Requests that wait for a reply.");
    sample(out, "tidegate_waiting_requests", &[], total.waiting());

    head(out, "tidegate_throttles_total", "counter", "Calls and messages that were refused, by limit.");
    sample(out, "tidegate_throttles_total", &[("limit", "rate")], total.throttled_by_rate());
    let concurrency = total.requests(Outcome::ThrottledConcurrency);
    sample(out, "tidegate_throttles_total", &[("limit", "concurrency")], concurrency);

    for Family { name, help, label, series } in EVENT_FAMILIES {
        head(out, name, "counter", help);
        for (value, event) in *series {
            let labels = [(*label, *value)];
            sample(out, name, if label.is_empty() { &[] } else { &labels }, total.event(*event));
        }
    }

    let name = "tidegate_journal_write_seconds";
    render_durations(name, "How long writes to the journal took.", &total.journal.writes, out);
    for (name, kind, help, value) in total.journal.families() {
        head(out, name, kind, help);
        sample(out, name, &[], value);
    }

    for (name, help, bytes) in [
        ("tidegate_received_bytes_total", "Bytes that came over WebSockets.", total.bytes_received),
        ("tidegate_sent_bytes_total", "Bytes that went over WebSockets.", total.bytes_sent),
    ] {
        head(out, name, "counter", help);
        sample(out, name, &[], bytes);
    }
}

/// Appends the requests to targets that are under way.
pub(super) fn render_targets(targets: &TargetsInFlight, out: &mut String) {
    const NAME: &str = "tidegate_deliveries_in_flight";
    head(out, NAME, "gauge", "Requests to targets that are under way, by target.");
    let (shown, others) = targets.shown();
    for (target, count) in shown {
        sample(out, NAME, &[("target", &target)], count);
    }
    if others > 0 {
        sample(out, NAME, &[("target", "other")], others);
    }
}

fn render_connections(snapshot: &Snapshot, out: &mut String) {
    head(out, "tidegate_open_connections", "gauge", "Connections that are open, by kind and core.");
    for_each_core(snapshot, |core, numbers| {
        for kind in ConnectionKind::ALL {
            let labels = [("kind", kind.name()), ("core", core)];
            sample(out, "tidegate_open_connections", &labels, numbers.open_connections(*kind));
        }
    });
    head(out, "tidegate_connections_total", "counter", "Connections that came, by kind.");
    for kind in ConnectionKind::ALL {
        let opened = snapshot.total.opened[*kind as usize];
        sample(out, "tidegate_connections_total", &[("kind", kind.name())], opened);
    }
}

fn render_durations(name: &str, help: &str, durations: &LatencyCounts, out: &mut String) {
    head(out, name, "histogram", help);
    let bucket = format!("{name}_bucket");
    for (bound, count) in durations.cumulative() {
        let bound = bound.map_or_else(|| "+Inf".to_owned(), seconds);
        sample(out, &bucket, &[("le", &bound)], count);
    }
    sample(out, &format!("{name}_sum"), &[], seconds(durations.sum_nanos()));
    sample(out, &format!("{name}_count"), &[], durations.count());
}

fn for_each_core(snapshot: &Snapshot, mut each: impl FnMut(&str, &Numbers)) {
    for (core, numbers) in snapshot.cores.iter().enumerate() {
        each(&core.to_string(), numbers);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    line(out, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

/// One line. Label values are the names of this module: nothing in them needs escaping.
fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    out.push_str(name);
    for (index, (label, text)) in labels.iter().enumerate() {
        let opening = if index == 0 { '{' } else { ',' };
        line(out, format_args!("{opening}{label}=\"{text}\""));
    }
    line(out, format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes all that is written");
}

/// Nanoseconds as a decimal number of seconds, exact.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Checks a page as a strict reader would, and gives its samples by their text up to the value.
    fn check(page: &str) -> BTreeMap<String, f64> {
        let is_name = |name: &str| {
            name.starts_with("tidegate_")
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
        let (mut family, mut kind) = ("", "");
        assert!(page.ends_with('\n'));
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                let (typed, is) =
                    lines.next().unwrap().strip_prefix("# TYPE ").unwrap().split_once(' ').unwrap();
                assert!(is_name(name) && typed == name && !text.is_empty() && text.ends_with('.'), "{line}");
                assert!(["counter", "gauge", "histogram"].contains(&is), "{line}");
                assert_eq!(name.ends_with("_total"), is == "counter", "{line}");
                assert!(families.insert(name), "twice: {line}");
                (family, kind) = (name, is);
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
                None => (series, ""),
            };
            match kind {
                "histogram" => assert!(
                    ["_bucket", "_sum", "_count"]
                        .map(|end| family.to_owned() + end)
                        .contains(&name.to_owned())
                ),
                _ => assert_eq!(name, family),
            }
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, text) = label.split_once('=').unwrap();
                assert!(key.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
                let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap();
                assert!(!text.is_empty() && !text.contains(['"', '\\', ',']), "{line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
        samples
    }

    fn page(metrics: &Metrics) -> String {
        let mut out = String::new();
        metrics.render(&mut out);
        out
    }

    #[test]
    fn an_idle_engine_shows_every_series_at_zero() {
        let samples = check(&page(&Metrics::new(2)));
        assert!(samples.len() > 100);
        assert_eq!(samples.values().sum::<f64>(), 1.0, "all but the version's");
    }

    #[test]
    fn what_was_counted_is_shown_by_core_and_in_sum() {
        let metrics = Metrics::new(2);
        for core in [0, 1, 1] {
            let core = metrics.core(core).unwrap();
            core.count(Outcome::Ok);
            core.status(200);
            core.latency(1_500_000);
            core.event(Event::ReplyRefused);
            core.connection_opened(ConnectionKind::WebSocket);
        }
        metrics.core(0).unwrap().event(Event::MessageThrottled);
        let samples = check(&page(&metrics));
        for (series, value) in [
            (r#"tidegate_requests_total{outcome="ok",core="0"}"#, 1.0),
            (r#"tidegate_requests_total{outcome="ok",core="1"}"#, 2.0),
            (r#"tidegate_responses_total{class="2xx"}"#, 3.0),
            (r#"tidegate_replies_total{accepted="false"}"#, 3.0),
            (r#"tidegate_open_connections{kind="websocket",core="1"}"#, 2.0),
            (r#"tidegate_connections_total{kind="websocket"}"#, 3.0),
            (r#"tidegate_throttles_total{limit="rate"}"#, 1.0),
            ("tidegate_triggers_total", 0.0),
            ("tidegate_request_duration_seconds_count", 3.0),
            ("tidegate_request_duration_seconds_sum", 0.0045),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}");
        }
        assert!(metrics.core(2).is_none());
    }

    #[test]
    fn buckets_rise_to_the_count_and_their_bounds_are_seconds() {
        let metrics = Metrics::new(1);
        for nanos in [1, 900, 2_000, 3_000_000, 3_000_001, 60_000_000_000, u64::MAX >> 20] {
            metrics.core(0).unwrap().latency(nanos);
        }
        let page = page(&metrics);
        check(&page);
        let buckets: Vec<(f64, u64)> = page
            .lines()
            .filter_map(|line| {
                line.strip_prefix("tidegate_request_duration_seconds_bucket{le=\"")?.split_once("\"} ")
            })
            .map(|(bound, count)| (bound.parse().unwrap(), count.parse().unwrap()))
            .collect();
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert_eq!(buckets.first(), Some(&(0.000_001_024, 2)));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, 7)));
        let below_a_minute = buckets.iter().find(|(bound, _)| *bound >= 60.0).unwrap();
        assert_eq!(below_a_minute.1, 6);
        assert!(buckets.len() < 60);
    }

    #[test]
    fn every_event_is_shown_somewhere() {
        let shown: Vec<Event> =
            EVENT_FAMILIES.iter().flat_map(|family| family.series).map(|series| series.1).collect();
        for event in Event::ALL.iter().filter(|event| **event != Event::MessageThrottled) {
            assert_eq!(shown.iter().filter(|shown| *shown == event).count(), 1, "{}", event.name());
        }
    }

    #[test]
    fn seconds_are_exact_decimals() {
        for (nanos, text) in
            [(0, "0"), (1_024, "0.000001024"), (1_000_000_000, "1"), (137_438_953_472, "137.438953472")]
        {
            assert_eq!(seconds(nanos), text);
        }
    }
}
