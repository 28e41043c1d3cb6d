//! Everything that was done to a simulated engine, held against the rules: what is seen from outside, by one clock.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate::base::clock::NANOS_PER_SECOND;
use tidegate::model::Webhook;

const NANOS_PER_MILLI: u64 = 1_000_000;
/// How late a token may come back (section 11 of the specification).
const LATE_NANOS_MAX: u64 = 10_000_000;
/// How far the clock of a payload and that of the simulation may be apart: a payload tells whole milliseconds.
const ROUNDING_NANOS: u64 = NANOS_PER_MILLI;

/// Longest way of bytes to the engine, with the stall of a core.
const SOON_NANOS: u64 = NANOS_PER_SECOND / 2;

/// What the one clock showed when something was seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It goes on.
    Open,
    At(u64),
}

/// Why a call must be refused whatever the limits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It must not.
    Good,
    Unknown,
    Unauthorized,
    TooLarge,
}

/// One call.
#[derive(Debug)]
pub struct Call {
    pub webhook: usize,
    pub kind: Kind,
    /// Whether it waits for somebody's reply, where it is taken.
    waits: bool,
    sent: Option<u64>,
    end: End,
    status: Option<u16>,
    body: String,
    /// Whether the caller went away before its answer.
    is_abandoned: bool,
    /// When the engine took it, as its payload says.
    taken: Option<u64>,
    /// Workers and others that replied, when, and whether theirs was the reply: `None` is not known.
    replies: BTreeMap<String, (u64, Option<bool>)>,
    /// The highest attempt of each delivery.
    attempts: BTreeMap<u64, u32>,
}

/// Limits that a webhook had from a time on.
#[derive(Clone, Copy, Debug)]
struct Limits {
    since: u64,
    requests: usize,
    window: u64,
    concurrency: usize,
    timeout: u64,
}

/// All calls, and the limits of all webhooks.
#[derive(Default)]
pub struct Ledger {
    pub calls: Vec<Call>,
    limits: Vec<Vec<Limits>>,
}

impl Ledger {
    /// The webhook's limits are these from now on.
    pub fn limits(&mut self, index: usize, webhook: &Webhook, now: u64) {
        let of = &webhook.limits;
        let number = |value: Option<u32>| value.expect("it has limits");
        let limits = Limits {
            since: now,
            requests: number(of.requests_per_window) as usize,
            window: u64::from(number(of.window_seconds)) * NANOS_PER_SECOND,
            concurrency: number(of.concurrency) as usize,
            timeout: u64::from(number(of.reply_timeout_seconds)) * NANOS_PER_SECOND,
        };
        if self.limits.len() <= index {
            self.limits.resize(index + 1, Vec::new());
        }
        self.limits[index].push(limits);
    }

    /// A call that will be made.
    pub fn planned(&mut self, webhook: usize, kind: Kind, waits: bool) -> usize {
        self.calls.push(Call {
            webhook,
            kind,
            waits,
            sent: None,
            end: End::Open,
            status: None,
            body: String::new(),
            is_abandoned: false,
            taken: None,
            replies: BTreeMap::new(),
            attempts: BTreeMap::new(),
        });
        self.calls.len() - 1
    }

    /// The first byte of a call is on its way.
    pub fn sent(&mut self, call: usize, now: u64) {
        self.calls[call].sent.get_or_insert(now);
    }

    /// Its caller has gone, or will never hear of it.
    pub fn abandoned(&mut self, call: usize, now: u64) {
        let call = &mut self.calls[call];
        call.is_abandoned = true;
        call.end = End::At(now);
    }

    /// Its caller got an answer.
    pub fn answered(&mut self, call: usize, status: u16, body: String, now: u64) {
        let call = &mut self.calls[call];
        assert!(call.status.is_none() && !call.is_abandoned, "two answers: {call:?}");
        (call.status, call.body, call.end) = (Some(status), body, End::At(now));
        let refused = match call.kind {
            Kind::Good => None,
            Kind::Unknown => Some(404),
            Kind::Unauthorized => Some(401),
            Kind::TooLarge => Some(413),
        };
        match refused {
            None => assert!([200, 201, 429, 504].contains(&status), "{call:?}"),
            Some(refusal) => assert!(status == refusal || status == 429, "{call:?}"),
        }
        assert!(
            status < 400 || status == 504 || call.taken.is_none(),
            "a trigger of what is refused: {call:?}"
        );
    }

    /// A worker got a trigger; returns its call.
    pub fn triggered(&mut self, payload: &Value, attempt: u64, now: u64) -> usize {
        let path = payload["data"]["path"].as_str().expect("a path");
        let number: usize = path.trim_start_matches('/').parse().expect("a number");
        let millis = millis_of(payload["time"].as_str().expect("a time"));
        let call = &mut self.calls[number];
        let taken = millis * NANOS_PER_MILLI;
        assert_eq!(call.kind, Kind::Good, "a trigger of what must be refused: {call:?}");
        let refused = call.status.is_some_and(|status| status >= 400 && status != 504);
        assert!(!refused, "a trigger after a refusal: {call:?}");
        let sent = call.sent.unwrap_or_else(|| panic!("a trigger of what nobody sent: {call:?}"));
        assert!(taken + ROUNDING_NANOS > sent && taken <= now, "taken at {taken}: {call:?}");
        assert!(call.taken.is_none_or(|before| before == taken), "{call:?}");
        call.taken = Some(taken);
        *call.attempts.entry(attempt).or_default() += 1;
        assert_eq!(call.attempts[&attempt], 1, "two triggers of one node: {call:?}");
        number
    }

    /// Somebody replies to a call with a text of its own.
    pub fn replied(&mut self, call: usize, text: String, now: u64) {
        self.calls[call].replies.insert(text, (now, None));
    }

    /// What became of a reply.
    pub fn settled(&mut self, call: usize, text: &str, is_accepted: bool) {
        let call = &mut self.calls[call];
        call.replies.get_mut(text).expect("a reply that was made").1 = Some(is_accepted);
        let accepted = call.replies.values().filter(|(_, accepted)| *accepted == Some(true)).count();
        assert!(accepted <= 1, "the first reply wins: {call:?}");
    }

    /// Holds everything that happened against the rules.
    pub fn check(&self) {
        self.calls.iter().for_each(check_answer);
        for webhook in 0..self.limits.len() {
            self.check_rate(webhook);
            self.check_places(webhook);
        }
    }

    fn of(&self, webhook: usize) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.webhook == webhook && call.kind != Kind::Unknown)
    }

    /// The limits that may hold at a time that is known to a millisecond.
    fn limits_around(&self, webhook: usize, time: u64) -> impl Iterator<Item = Limits> {
        let all = &self.limits[webhook];
        (0..all.len()).filter_map(move |place| {
            let begins = all[place].since <= time + ROUNDING_NANOS;
            let ends = all.get(place + 1).is_some_and(|next| next.since + ROUNDING_NANOS < time);
            (begins && !ends).then_some(all[place])
        })
    }

    /// No window has more calls than its limit, and nobody is refused below it.
    fn check_rate(&self, webhook: usize) {
        let mut taken: Vec<u64> = self.of(webhook).filter_map(|call| call.taken).collect();
        taken.sort_unstable();
        for (place, &time) in taken.iter().enumerate() {
            let around: Vec<Limits> = self.limits_around(webhook, time).collect();
            let most = around.iter().map(|limits| limits.requests).max().expect("there always are limits");
            let window = around.iter().map(|limits| limits.window).min().expect("there always are limits");
            // A change begins anew with what the one before may have forgotten.
            let begins = around.iter().map(|limits| limits.since).max().expect("there always are limits");
            let earliest =
                (time + ROUNDING_NANOS).saturating_sub(window).max(self.forgotten_until(webhook, begins));
            let inside = taken[..=place].iter().filter(|before| **before > earliest).count();
            assert!(inside <= most, "{inside} of {most} in the window before {time} of webhook {webhook}");
        }
        for call in self.of(webhook).filter(|call| call.body.contains("Over rate limit")) {
            let (sent, End::At(end)) = (call.sent.expect("it was sent"), call.end) else { continue };
            let possible = self.limits[webhook].iter().enumerate().any(|(place, limits)| {
                let until = self.limits[webhook].get(place + 1).map_or(u64::MAX, |next| next.since);
                let holds = limits.since <= end && sent <= until;
                let from = sent.saturating_sub(limits.window + LATE_NANOS_MAX + ROUNDING_NANOS);
                holds && self.may_have_passed(webhook, from, end) >= limits.requests
            });
            assert!(possible, "refused below its rate: {call:?}, {:?}", self.limits[webhook]);
        }
    }

    /// Until when what passed may be forgotten, for limits that began at a time.
    fn forgotten_until(&self, webhook: usize, begins: u64) -> u64 {
        let before = self.limits[webhook].iter().rev().find(|limits| limits.since < begins);
        before.map_or(0, |before| begins.saturating_sub(before.window) + ROUNDING_NANOS)
    }

    /// Calls that may have taken a token between two times.
    fn may_have_passed(&self, webhook: usize, from: u64, to: u64) -> usize {
        let passed = |call: &&Call| {
            let Some(sent) = call.sent.filter(|_| !call.body.contains("Over rate limit")) else {
                return false;
            };
            match (call.taken, call.end) {
                (Some(taken), _) => taken + ROUNDING_NANOS > from && taken <= to,
                // What was on its way when its caller left is looked at soon, or never.
                (None, End::At(end)) => sent <= to && end + SOON_NANOS > from,
                (None, End::Open) => sent <= to,
            }
        };
        self.of(webhook).filter(passed).count()
    }

    /// No more wait at a time than may, and nobody is refused while there are places.
    fn check_places(&self, webhook: usize) {
        for call in self.of(webhook).filter(|call| call.holds_place()) {
            let Some(time) = call.taken else { continue };
            let holding = self.of(webhook).filter(|other| self.surely_holds(other, time)).count();
            let most = self.limits_around(webhook, time).map(|limits| limits.concurrency).max();
            let most = most.expect("there always are limits");
            assert!(holding <= most, "{holding} of {most} wait at {time}: {call:?}");
        }
        for call in self.of(webhook).filter(|call| call.body.contains("Over concurrency limit")) {
            let (sent, End::At(end)) = (call.sent.expect("it was sent"), call.end) else { continue };
            let others = self.of(webhook).filter(|other| other.may_hold(sent, end)).count();
            let least = self.limits[webhook].iter().filter(|limits| limits.since <= end);
            let least = least.map(|limits| limits.concurrency).min().expect("there always are limits");
            assert!(others >= least, "refused with {others} of {least}: {call:?}");
        }
    }

    /// Whether a call waits at a time for all that is known.
    fn surely_holds(&self, call: &Call, time: u64) -> bool {
        let Some(taken) = call.taken.filter(|taken| *taken <= time && call.holds_place()) else {
            return false;
        };
        let shortest = self.limits_around(call.webhook, taken).map(|limits| limits.timeout).min();
        let timeout = taken + shortest.expect("there always are limits");
        let replied = call.replies.values().map(|(replied, _)| *replied).min().unwrap_or(u64::MAX);
        let gone = if let End::At(end) = call.end { end } else { u64::MAX };
        // All that was taken in the same millisecond may have come after what ended in it.
        time + ROUNDING_NANOS < timeout.min(replied).min(gone)
    }
}

impl Call {
    /// Status and body of its answer.
    pub fn answer(&self) -> Option<(u16, &str)> {
        self.status.map(|status| (status, self.body.as_str()))
    }

    /// Whether it took a place for longer than a moment.
    fn holds_place(&self) -> bool {
        self.waits
            && self
                .status
                .is_none_or(|status| status == 201 && self.body.starts_with(['w', 'r']) || status == 504)
    }

    /// Whether it may have waited between two times.
    fn may_hold(&self, from: u64, to: u64) -> bool {
        let is_refused = self.status.is_some_and(|status| status >= 400 && status != 504);
        let end = match self.end {
            End::At(end) if !self.is_abandoned => end,
            _ => u64::MAX,
        };
        self.kind == Kind::Good && !is_refused && self.sent.is_some_and(|sent| sent <= to) && end >= from
    }
}

/// The answer of a call is its own, and the one that won.
fn check_answer(call: &Call) {
    let accepted =
        call.replies.iter().find(|(_, (_, accepted))| *accepted == Some(true)).map(|(text, _)| text);
    let is_known = call.replies.values().all(|(_, accepted)| accepted.is_some());
    match call.status {
        None => assert!(call.is_abandoned, "never answered: {call:?}"),
        Some(201) if call.body.starts_with(['w', 'r']) => {
            assert!(call.replies.contains_key(&call.body), "a reply to another call: {call:?}");
            assert!(accepted.is_none_or(|text| *text == call.body), "{call:?}");
            assert!(accepted.is_some() || !is_known, "{call:?}");
        }
        // A template's, or nobody's.
        Some(_) => assert_eq!(accepted, None, "{call:?}"),
    }
}

/// The milliseconds of a time as payloads show it.
fn millis_of(text: &str) -> u64 {
    let time = tidegate::base::text::parse_time(text).expect("a time");
    u64::try_from(time).expect("after 1970")
}
