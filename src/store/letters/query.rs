//! Which dead letters a list or a replay is about, and the bounded look that finds them.
//!
//! A list that is narrowed looks into each letter, and a flow can have a million. One look ends after
//! [`LOOKED_AT_MAX`] letters or [`LOOKED_BYTES_MAX`] bytes of them, and says at which place another continues. So does a
//! page of letters that are large.

use redb::ReadTransaction;

use super::stored::{Letter, Stored, WholeLetter};
use super::tables::{COUNTS, LETTERS, OF_FLOW, first_place, letter_key, order_key};
use crate::base::id::Id;

/// Letters that one look reads: 30 ms of one thread where they are of 1 KiB.
pub const LOOKED_AT_MAX: u64 = 10_000;
/// Bytes of letters that one look reads, but for its last letter.
pub const LOOKED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Letters that a list passes over at most: 25 ms of one thread. [`LetterSpan::before`] leads further.
pub const SKIPPED_MAX: u64 = 100_000;

/// Letters that are asked for.
#[derive(Clone, Debug, Default)]
pub struct LetterQuery {
    /// The letter's reason.
    pub reason: Option<String>,
    /// The letter's node.
    pub node: Option<String>,
    /// Died at this moment or later.
    pub since_unix_millis: Option<u64>,
    /// Died before this moment.
    pub until_unix_millis: Option<u64>,
    /// Text that is in the letter or its payload.
    pub search: Option<String>,
}

/// Part of a flow's letters, the newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct LetterSpan {
    /// Only those of lower places.
    pub before: Option<u64>,
    /// How many of those that fit are passed over.
    pub skip: u64,
    /// How many are given at most.
    pub take: usize,
}

/// A letter of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLetter {
    pub letter: Letter,
    pub payload_bytes: usize,
    /// Its place: the newer of two letters, of any nodes, has the higher one.
    pub place: u64,
}

/// A page of dead letters, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterPage {
    pub letters: Vec<ListedLetter>,
    /// How many the flow has; with a query that narrows, how many of those that were looked at fit.
    pub total: u64,
    /// The [`LetterSpan::before`] with which a list continues. `None`: there are no more.
    pub next: Option<u64>,
}

/// Letters that fit, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FittingLetters {
    /// Their ids, each with the letter's place.
    pub ids: Vec<(u64, String)>,
    /// The place after which the next look begins. `None`: there are no more.
    pub next: Option<u64>,
}

impl LetterQuery {
    pub(super) fn is_narrow(&self) -> bool {
        self.reason.is_some()
            || self.node.is_some()
            || self.since_unix_millis.is_some()
            || self.until_unix_millis.is_some()
            || self.search.is_some()
    }

    /// The letter, if it fits.
    fn read(&self, stored: &Stored<'_>) -> Option<Letter> {
        // The text is looked for before the letter is parsed, which takes longer.
        let is_found = self.search.as_deref().is_none_or(|search| {
            let has = |bytes: &[u8]| memchr::memmem::find(bytes, search.as_bytes()).is_some();
            has(stored.payload) || has(stored.letter)
        });
        if !is_found {
            return None;
        }
        let letter: Letter = serde_json::from_slice(stored.letter).ok()?;
        let is_named =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let fits = is_named(&self.reason, &letter.reason)
            && is_named(&self.node, &letter.node)
            && self.since_unix_millis.is_none_or(|since| letter.died_unix_millis >= since)
            && self.until_unix_millis.is_none_or(|until| letter.died_unix_millis < until);
        fits.then_some(letter)
    }
}

impl WholeLetter {
    /// Whether it is among those that are asked for.
    #[must_use]
    pub fn fits(&self, query: &LetterQuery) -> bool {
        let letter = serde_json::to_vec(&self.letter).unwrap_or_default();
        query.read(&Stored { place: 0, letter: &letter, payload: &self.payload, event: &[] }).is_some()
    }
}

/// Bounds of one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookLimits {
    pub letters: u64,
    /// But for its last letter.
    pub bytes: usize,
}

impl Default for LookLimits {
    fn default() -> LookLimits {
        LookLimits { letters: LOOKED_AT_MAX, bytes: LOOKED_BYTES_MAX }
    }
}

/// Rest of what one look may read.
struct Budget {
    letters: u64,
    bytes: usize,
}

impl Budget {
    fn new(limits: LookLimits) -> Budget {
        Budget { letters: limits.letters, bytes: limits.bytes }
    }

    fn is_used_up(&self) -> bool {
        self.letters == 0 || self.bytes == 0
    }

    fn take(&mut self, bytes: usize) {
        self.letters = self.letters.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// The letters of a span that fit.
pub(super) fn list(
    transaction: &ReadTransaction,
    flow: &Id,
    query: &LetterQuery,
    span: LetterSpan,
    limits: LookLimits,
) -> Result<LetterPage, redb::Error> {
    let letters = transaction.open_table(LETTERS)?;
    let of_flow = transaction.open_table(OF_FLOW)?;
    let mut page = LetterPage::default();
    let is_narrow = query.is_narrow();
    if !is_narrow {
        page.total = transaction.open_table(COUNTS)?.get(flow.raw())?.map_or(0, |counts| counts.value().0);
    }
    let first = order_key(flow, query.since_unix_millis.map_or(0, first_place));
    let end = order_key(flow, span.before.unwrap_or(u64::MAX));
    if first >= end {
        return Ok(page);
    }
    let (mut budget, mut fitting, mut looked_at) = (Budget::new(limits), 0, None);
    for entry in of_flow.range::<&[u8]>(first.as_slice()..end.as_slice())?.rev() {
        let (key, id) = entry?;
        let is_full = page.letters.len() >= span.take;
        if budget.is_used_up() || (!is_narrow && is_full) {
            page.next = page.next.or(looked_at);
            break;
        }
        let place = place_of(key.value());
        looked_at = Some(place);
        if !is_narrow && fitting < span.skip {
            fitting += 1;
            continue;
        }
        let Some(value) = letters.get(letter_key(flow, id.value()).as_slice())? else { continue };
        budget.take(value.value().len());
        let Some(stored) = Stored::read(value.value()) else { continue };
        let Some(letter) = query.read(&stored) else { continue };
        fitting += 1;
        if fitting <= span.skip {
            continue;
        }
        if is_full {
            // What fits and is not on the page is on the next.
            page.next = page.next.or(page.letters.last().map(|letter| letter.place));
            continue;
        }
        page.letters.push(ListedLetter { letter, payload_bytes: stored.payload.len(), place });
    }
    if is_narrow {
        page.total = fitting;
    }
    Ok(page)
}

/// `count` letters that fit, the oldest first, of places after one and up to another.
pub(super) fn fitting(
    transaction: &ReadTransaction,
    flow: &Id,
    query: &LetterQuery,
    (after, last): (Option<u64>, u64),
    count: usize,
    limits: LookLimits,
) -> Result<FittingLetters, redb::Error> {
    let letters = transaction.open_table(LETTERS)?;
    let of_flow = transaction.open_table(OF_FLOW)?;
    let mut found = FittingLetters::default();
    let from = after.map_or(0, |after| after.saturating_add(1));
    let first = order_key(flow, from.max(query.since_unix_millis.map_or(0, first_place)));
    let last = order_key(flow, last);
    if first > last {
        return Ok(found);
    }
    let (mut budget, mut looked_at) = (Budget::new(limits), None);
    for entry in of_flow.range::<&[u8]>(first.as_slice()..=last.as_slice())? {
        if budget.is_used_up() || found.ids.len() >= count {
            found.next = looked_at;
            break;
        }
        let (key, id) = entry?;
        let place = place_of(key.value());
        looked_at = Some(place);
        if query.is_narrow() {
            let Some(value) = letters.get(letter_key(flow, id.value()).as_slice())? else { continue };
            budget.take(value.value().len());
            if Stored::read(value.value()).and_then(|stored| query.read(&stored)).is_none() {
                continue;
            }
        }
        found.ids.push((place, String::from_utf8_lossy(id.value()).into_owned()));
    }
    Ok(found)
}

/// The place at the end of a key of the order.
fn place_of(order_key: &[u8]) -> u64 {
    order_key.last_chunk().map_or(0, |place| u64::from_be_bytes(*place))
}
