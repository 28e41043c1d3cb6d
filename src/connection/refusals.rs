//! The line of the log about a webhook whose calls are refused: one a minute for each webhook, with the count of those
//! since the line before.

use crate::base::clock::Now;
use crate::base::id::Id;
use crate::base::log::LOG_INTERVAL_NANOS;

/// Webhooks that are told apart at a time; two with the same place take turns.
const PLACES: usize = 256;
/// Lines of a core in an interval, whatever the number of webhooks.
const LINES_MAX: u32 = 64;

#[derive(Clone, Copy)]
struct RefusalPlace {
    webhook: Id,
    /// No line is written before this moment.
    next_nanos: u64,
    /// Refusals since the last line.
    count: u64,
}

/// The refusals of a core.
#[derive(Default)]
pub(crate) struct Refusals {
    /// Empty before the first refusal.
    places: Vec<Option<RefusalPlace>>,
    interval_ends: u64,
    lines: u32,
    /// Lines that were left out in this interval.
    left_out: u64,
}

impl Refusals {
    /// Notes a refusal, and writes the line if one is due.
    #[inline]
    pub(crate) fn note(&mut self, webhook: Id, reason: &str, now: Now) {
        let place = place_of(webhook);
        if let Some(Some(known)) = self.places.get_mut(place)
            && known.webhook == webhook
            && now.nanos < known.next_nanos
        {
            known.count += 1;
            return;
        }
        if let Some((count, left_out)) = self.begin_line(place, webhook, now) {
            let left_out = (left_out > 0).then_some(left_out);
            tracing::warn!(%webhook, reason, refused = count, left_out, "calls of a webhook are refused");
        }
    }

    /// Begins the interval of a webhook: returns the refusals to tell of, and the lines that were left out before.
    #[cold]
    fn begin_line(&mut self, place: usize, webhook: Id, now: Now) -> Option<(u64, u64)> {
        if self.places.is_empty() {
            self.places = vec![None; PLACES];
        }
        let before = self.places.get(place).copied().flatten().filter(|before| before.webhook == webhook);
        let count = before.map_or(0, |before| before.count) + 1;
        if now.nanos >= self.interval_ends {
            (self.interval_ends, self.lines) = (now.nanos + LOG_INTERVAL_NANOS, 0);
        }
        let is_told = self.lines < LINES_MAX;
        // What is not told now is told with the next line of this webhook.
        let (next_nanos, count_kept) =
            if is_told { (now.nanos + LOG_INTERVAL_NANOS, 0) } else { (self.interval_ends, count) };
        self.places[place] = Some(RefusalPlace { webhook, next_nanos, count: count_kept });
        if !is_told {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some((count, std::mem::take(&mut self.left_out)))
    }
}

fn place_of(webhook: Id) -> usize {
    let bytes = webhook.bytes();
    // Ids begin with a time, and end with a counter.
    usize::from(bytes[bytes.len() - 1] ^ bytes[bytes.len() / 2]) % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> Id {
        format!("{number:024x}").parse().unwrap()
    }

    fn at(nanos: u64) -> Now {
        Now { nanos, unix_millis: 0 }
    }

    #[test]
    fn a_webhook_has_a_line_a_minute_with_the_count_of_its_refusals() {
        let mut refusals = Refusals::default();
        let mut line = |webhook, now: Now| {
            let place = place_of(webhook);
            let known = refusals.places.get_mut(place).and_then(Option::as_mut);
            if let Some(known) =
                known.filter(|known| known.webhook == webhook && now.nanos < known.next_nanos)
            {
                known.count += 1;
                return None;
            }
            refusals.begin_line(place, webhook, now).map(|(count, _)| count)
        };
        assert_eq!(line(id(1), at(0)), Some(1));
        assert_eq!(line(id(2), at(0)), Some(1));
        for nanos in 1..10 {
            assert_eq!(line(id(1), at(nanos)), None);
        }
        assert_eq!(line(id(1), at(LOG_INTERVAL_NANOS)), Some(10));
        assert_eq!(line(id(1), at(2 * LOG_INTERVAL_NANOS)), Some(1));
    }

    #[test]
    fn the_lines_of_many_webhooks_have_a_bound() {
        let mut refusals = Refusals::default();
        let told = |refusals: &mut Refusals, nanos| {
            (0..PLACES as u32)
                .filter(|&number| refusals.begin_line(place_of(id(number)), id(number), at(nanos)).is_some())
                .count()
        };
        assert_eq!(told(&mut refusals, 0), LINES_MAX as usize);
        assert_eq!(refusals.left_out, (PLACES as u64) - u64::from(LINES_MAX));
        assert_eq!(told(&mut refusals, LOG_INTERVAL_NANOS), LINES_MAX as usize);
    }
}
