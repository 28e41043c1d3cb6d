//! Calls, failures and latency of the last minutes by the records of a webhook, for the lists and lines of the console.

use serde_json::{Value, json};

use crate::record::{Kind, Record};

/// Parts of the span that is told, and their length.
pub(super) const PARTS: usize = 30;
const PART_MILLIS: u64 = 10_000;
/// First status that is a failure.
const FAILURE_STATUS: u16 = 400;
/// Nanoseconds of a millisecond.
const NANOS_PER_MILLI: f64 = 1e6;
/// The quantile that is told of the durations.
const QUANTILE_PERCENT: usize = 99;

/// Tells the last five minutes of a webhook's records, given the oldest first. A part of the span that began before the
/// oldest record may have had others, and is `null`, if the webhook keeps no more than these.
pub(super) fn recent(records: &[Record], now_millis: u64) -> Value {
    let events = records.last().and_then(|record| record.call().map(|call| call.events));
    let is_full = events.is_some_and(|events| records.len() >= events as usize);
    let begin = now_millis.saturating_sub(PART_MILLIS * PARTS as u64);
    let (mut calls, mut failures) = ([0_u64; PARTS], [0_u64; PARTS]);
    let mut durations: Vec<u64> = Vec::new();
    for record in records.iter().filter(|record| record.unix_millis() >= begin) {
        let is_call = record.call().is_some_and(|call| call.kind != Kind::Close && !call.is_sent);
        let part = usize::try_from((record.unix_millis() - begin) / PART_MILLIS).unwrap_or(PARTS);
        let (Some(count), Some(failed), true) = (calls.get_mut(part), failures.get_mut(part), is_call) else {
            continue;
        };
        *count += u64::from(record.count());
        let Some(answer) = record.answer() else { continue };
        if answer.status >= FAILURE_STATUS {
            *failed += u64::from(record.count());
        }
        durations.push(answer.duration_nanos);
    }
    durations.sort_unstable();
    let place = (durations.len() * QUANTILE_PERCENT).div_ceil(100).max(1) - 1;
    let known_from = if is_full { records.first().map_or(0, Record::unix_millis) } else { 0 };
    let shown = |counts: &[u64; PARTS]| -> Vec<Value> {
        let part = |(at, count): (usize, &u64)| {
            let is_known = begin + PART_MILLIS * at as u64 >= known_from;
            if is_known || *count > 0 { Value::from(*count) } else { Value::Null }
        };
        counts.iter().enumerate().map(part).collect()
    };
    json!({
        "partSeconds": PART_MILLIS / 1_000,
        "calls": shown(&calls),
        "failures": shown(&failures),
        "p99Ms": durations.get(place).map(|nanos| *nanos as f64 / NANOS_PER_MILLI),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Id;
    use crate::record::{Book, BookLimits, CallAnswer, Entry, RecordedCall};

    const NOW: u64 = 1_771_521_960_000;
    const WEBHOOK: Id = Id::from_raw([7; 12]);

    /// The records of calls, each by its age in milliseconds and its status.
    fn records(calls: &[(u64, u16)], events: u32) -> Vec<Record> {
        let mut batch = Vec::new();
        for (number, (age, status)) in calls.iter().enumerate() {
            let id = Id::from_raw([u8::try_from(number).expect("few"); 12]);
            let call =
                RecordedCall { events, ..RecordedCall::request(id, WEBHOOK, NOW - age, b"POST", b"/") };
            Entry::Call(call).write(&mut batch);
            let answer = CallAnswer {
                record: id,
                webhook: WEBHOOK,
                status: *status,
                duration_nanos: 1_500_000,
                body_nanos: 0,
                verify_nanos: 0,
                flows_nanos: 0,
                wait_nanos: 0,
                response_bytes: 0,
                refusal: b"",
                response: b"",
            };
            Entry::Answer(answer).write(&mut batch);
        }
        let mut book = Book::new(BookLimits { bytes: 1 << 20, age_millis: 1 << 40 });
        book.apply(&batch, 0, &mut Vec::new());
        book.look(WEBHOOK).0
    }

    #[test]
    fn calls_and_failures_are_counted_by_parts_of_the_span() {
        let shown = recent(&records(&[(400_000, 200), (15_000, 200), (12_000, 500), (1, 200)], 100), NOW);
        let calls = shown["calls"].as_array().expect("a list");
        assert_eq!(
            (calls.len(), &calls[PARTS - 1], &calls[PARTS - 2], &calls[0]),
            (PARTS, &json!(1), &json!(2), &json!(0))
        );
        assert_eq!(shown["failures"][PARTS - 2], 1);
        assert_eq!(shown["p99Ms"], 1.5);
    }

    #[test]
    fn what_a_full_ring_has_lost_is_not_said_to_be_nothing() {
        let shown = recent(&records(&[(25_000, 200), (1, 200)], 2), NOW);
        assert_eq!((&shown["calls"][0], &shown["calls"][PARTS - 1]), (&Value::Null, &json!(1)));
        assert_eq!((&shown["calls"][PARTS - 3], &shown["calls"][PARTS - 2]), (&json!(1), &json!(0)));
    }

    #[test]
    fn no_records_are_no_calls() {
        let shown = recent(&[], NOW);
        assert_eq!((&shown["calls"][0], &shown["p99Ms"]), (&json!(0), &Value::Null));
    }
}
