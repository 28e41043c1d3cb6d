//! The machine of the rates: calls without a token, answers of the stream and the time in; publishes, and what this node
//! holds, out.

use std::collections::{BTreeMap, HashMap};

use super::blocks::Blocks;
use crate::base::clock::{NANOS_PER_SECOND, Now};
use crate::base::id::Id;
use crate::base::random::Random;

/// The rules by which blocks are leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a block may be used since it was taken or renewed.
    pub held_seconds: u64,
    /// The most that the clocks of this node and of the server, and of two servers, may differ by while a block is held.
    margin_seconds: u64,
    /// A block is renewed when so much of its time is left.
    renew_ahead_nanos: u64,
    /// Whether a block that is not needed is given back: nothing of it has been spent that comes back later.
    gives_back: bool,
    /// How long after a call that found nothing the next is expected, beside the window.
    expected_nanos: u64,
}

/// How long the tokens of a block may be spent since it was taken or renewed.
pub const HELD_SECONDS: u64 = 10;

impl Terms {
    /// Tokens of a rate.
    pub const TOKENS: Terms = Terms {
        held_seconds: HELD_SECONDS,
        margin_seconds: 1,
        renew_ahead_nanos: 5 * NANOS_PER_SECOND,
        gives_back: false,
        expected_nanos: 0,
    };

    /// Places of a concurrency. A node that cannot renew them has that long to end the calls that hold them.
    pub const PLACES: Terms = Terms {
        held_seconds: 600,
        margin_seconds: 60,
        renew_ahead_nanos: 540 * NANOS_PER_SECOND,
        gives_back: true,
        expected_nanos: 10 * NANOS_PER_SECOND,
    };
}

/// A block that is given back goes so soon.
pub(super) const GIVEN_BACK_SECONDS: u64 = 1;
/// How often [`Books::poll`] is called at the least. A block is given up so long before its end.
pub(super) const POLL_NANOS: u64 = NANOS_PER_SECOND / 4;
/// A block that another node has is not asked for again for so long: it may be renewed, or come free.
const TAKEN_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// The pause after a publish whose fate is not known.
const UNKNOWN_NANOS: u64 = NANOS_PER_SECOND / 2;
/// A publish without an answer for so long is taken for lost.
const ANSWER_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// How long a webhook is looked after since its last call that found no token.
const FORGOTTEN_NANOS: u64 = 60 * NANOS_PER_SECOND;

/// A publish to the subject of a block, taken if the last message there has the sequence `expected` (0: there is none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    pub webhook: Id,
    pub block: u32,
    pub expected: u64,
    pub ttl_seconds: u64,
    /// When it was made; names it among those of its block.
    pub sent: u64,
}

/// The answer to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateAnswer {
    /// It is there, with this sequence.
    Stored(u64),
    /// The last message is another one.
    Taken,
    /// Nobody knows.
    Unknown,
}

/// The limit of a webhook, and how much of what this node holds is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateUsage {
    pub tokens: u32,
    pub window_seconds: u32,
    /// Spent in the past window on this node.
    pub spent: u32,
}

/// The decision about the waiting calls of a webhook, and the tokens that the node holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateVerdict {
    /// The node holds so many tokens, which may be spent up to a moment.
    Holds { tokens: u32, until: u64 },
    /// There are none; it is no use to ask before this moment.
    Refused { until: u64 },
    /// Nobody answers; the next call may ask after this moment.
    CutOff { until: u64 },
}

/// A block that this node has.
#[derive(Clone, Copy, Debug)]
struct OwnBlock {
    tokens: u32,
    sequence: u64,
    /// When the publish was made that gave it.
    since: u64,
    /// When the publish was made that is to renew it.
    renewing: Option<u64>,
    not_before: u64,
}

impl OwnBlock {
    /// The end of its use.
    fn until(&self, terms: Terms) -> u64 {
        self.since + terms.held_seconds * NANOS_PER_SECOND
    }
}

/// The state of one webhook's blocks, as this node knows it.
#[derive(Debug)]
struct WebhookBlocks {
    terms: Terms,
    usage: Option<RateUsage>,
    held: BTreeMap<u32, OwnBlock>,
    /// Blocks of other nodes, and until when they are not asked for.
    taken: BTreeMap<u32, u64>,
    /// The block that is asked for, and since when.
    seeking: Option<(u32, u64)>,
    /// Whether calls wait.
    is_awaited: bool,
    last_demand: u64,
    refused_until: u64,
    /// The last verdict that was returned.
    told: Option<(u32, u64)>,
}

/// The blocks of all webhooks that this node has calls of.
#[derive(Debug)]
pub struct Books {
    books: HashMap<Id, WebhookBlocks>,
    terms: Terms,
    random: Random,
}

impl Books {
    /// No books. Nodes with different seeds rarely ask for the same block.
    #[must_use]
    pub fn new(seed: u64, terms: Terms) -> Books {
        Books { books: HashMap::new(), terms, random: Random::new(seed) }
    }

    /// The webhooks that are looked after.
    pub fn webhooks(&self) -> impl Iterator<Item = Id> {
        self.books.keys().copied()
    }

    /// Whether calls of a webhook wait for a verdict.
    #[must_use]
    pub fn is_awaited(&self, webhook: Id) -> bool {
        self.books.get(&webhook).is_some_and(|book| book.is_awaited)
    }

    /// Tokens of a webhook that this node holds.
    #[must_use]
    pub fn held(&self, webhook: Id) -> u32 {
        self.books.get(&webhook).map_or(0, |book| book.held.values().map(|held| held.tokens).sum())
    }

    /// A call of a webhook has found no token and waits for a verdict.
    pub fn demand(&mut self, webhook: Id, now: Now) {
        let book = self.books.entry(webhook).or_insert_with(|| WebhookBlocks::new(self.terms));
        book.is_awaited = true;
        book.last_demand = now.nanos;
    }

    /// Looks after a webhook; `usage` is `None` if it has no limit any more. `lower` is asked whether so few may be left before a
    /// block is given back. Appends what is to be published, and
    /// returns what is to be told.
    pub fn poll(
        &mut self,
        webhook: Id,
        usage: Option<RateUsage>,
        now: Now,
        operations: &mut Vec<Operation>,
        lower: &mut dyn FnMut(u32) -> bool,
    ) -> Vec<RateVerdict> {
        let Some(book) = self.books.get_mut(&webhook) else { return Vec::new() };
        let Some(usage) = usage else {
            self.books.remove(&webhook);
            return Vec::new();
        };
        book.usage = Some(usage);
        book.give_up(now);
        book.renew(webhook, now, operations, lower);
        let refused = book.seek(webhook, now, operations, &mut self.random);
        let verdicts = book.verdicts(refused, now);
        let is_over = now.nanos > book.last_demand + FORGOTTEN_NANOS;
        if is_over && book.held.is_empty() && usage.spent == 0 {
            self.books.remove(&webhook);
        }
        verdicts
    }

    /// Gives back what nothing is spent of: the node ends.
    pub fn give_all_back(&mut self, now: Now, mut lower: impl FnMut(Id) -> bool) -> Vec<Operation> {
        let mut operations = Vec::new();
        if self.terms.gives_back {
            for (webhook, book) in self.books.iter_mut().filter(|(webhook, _)| lower(**webhook)) {
                let blocks: Vec<u32> = book.held.keys().copied().collect();
                blocks.into_iter().for_each(|block| book.give_back(*webhook, block, now, &mut operations));
            }
        }
        operations
    }

    /// Takes the answer to an operation. [`Self::poll`] is to be called then.
    pub fn on_answer(&mut self, operation: &Operation, answer: RateAnswer, now: Now) -> Option<RateVerdict> {
        self.books.get_mut(&operation.webhook)?.on_answer(operation, answer, now)
    }
}

impl WebhookBlocks {
    fn new(terms: Terms) -> WebhookBlocks {
        WebhookBlocks {
            terms,
            usage: None,
            held: BTreeMap::new(),
            taken: BTreeMap::new(),
            seeking: None,
            is_awaited: false,
            last_demand: 0,
            refused_until: 0,
            told: None,
        }
    }

    fn blocks(&self) -> Blocks {
        Blocks::of(self.usage.map_or(0, |usage| usage.tokens))
    }

    fn ttl_seconds(&self) -> u64 {
        self.usage.map_or(0, |usage| u64::from(usage.window_seconds))
            + self.terms.held_seconds
            + self.terms.margin_seconds
    }

    /// Forgets blocks whose message is gone, and those that a smaller limit has not.
    fn give_up(&mut self, now: Now) {
        let (blocks, lifetime) = (self.blocks(), self.ttl_seconds() * NANOS_PER_SECOND);
        self.held.retain(|block, held| {
            held.tokens = held.tokens.min(blocks.tokens_of(*block));
            held.tokens > 0 && now.nanos < held.since + lifetime
        });
        self.taken.retain(|_, until| now.nanos < *until);
    }

    /// Tokens that may be spent now, and the end of the first of their blocks.
    fn spendable(&self, now: Now) -> (u32, u64) {
        let terms = self.terms;
        let may = |held: &&OwnBlock| now.nanos + POLL_NANOS < held.until(terms);
        let held = self.held.values().filter(may);
        held.fold((0, u64::MAX), |(tokens, until), held| (tokens + held.tokens, until.min(held.until(terms))))
    }

    /// How many tokens this node should hold.
    fn needed(&self, now: Now) -> u32 {
        let spent = self.usage.map_or(0, |usage| usage.spent);
        let window = self.usage.map_or(0, |usage| u64::from(usage.window_seconds)) * NANOS_PER_SECOND;
        // A block is about to be spent while calls come: the next is there before it is.
        let expected = window.min(FORGOTTEN_NANOS).max(self.terms.expected_nanos);
        let is_called = spent > 0 || now.nanos < self.last_demand + expected;
        // Places are asked for one by one: those that are not used are wanted elsewhere.
        let ahead = match self.terms.gives_back {
            true => u32::from(self.is_awaited),
            false => self.blocks().tokens_of(0).div_ceil(2),
        };
        if self.is_awaited || is_called { spent + ahead } else { 0 }
    }

    fn renew(
        &mut self,
        webhook: Id,
        now: Now,
        operations: &mut Vec<Operation>,
        lower: &mut dyn FnMut(u32) -> bool,
    ) {
        let (needed, ttl_seconds, terms) = (self.needed(now), self.ttl_seconds(), self.terms);
        let mut kept = 0;
        let mut given_back = Vec::new();
        // Those that last longest first: the others may go if they are too many.
        let mut order: Vec<u32> = self.held.keys().copied().collect();
        order.sort_by_key(|block| std::cmp::Reverse(self.held[block].since));
        for block in order {
            let Some(held) = self.held.get_mut(&block) else { continue };
            if kept >= needed {
                if terms.gives_back
                    && held.renewing.is_none()
                    && now.nanos >= self.last_demand + terms.expected_nanos
                {
                    given_back.push(block);
                }
                continue;
            }
            kept += held.tokens;
            let is_lost = held.renewing.is_some_and(|sent| now.nanos >= sent + ANSWER_NANOS);
            let is_due =
                now.nanos + terms.renew_ahead_nanos >= held.until(terms) && now.nanos >= held.not_before;
            if is_due && (held.renewing.is_none() || is_lost) {
                held.renewing = Some(now.nanos);
                let (expected, sent) = (held.sequence, now.nanos);
                operations.push(Operation { webhook, block, expected, ttl_seconds, sent });
            }
        }
        for block in given_back {
            let tokens = self.held.get(&block).map_or(0, |held| held.tokens);
            // A call may have begun to use it at this moment.
            if lower(self.spendable(now).0.saturating_sub(tokens)) {
                self.give_back(webhook, block, now, operations);
            }
        }
    }

    /// Lets a block go: its message goes soon. It is not counted from here on, whatever becomes of that.
    fn give_back(&mut self, webhook: Id, block: u32, now: Now, operations: &mut Vec<Operation>) {
        let Some(held) = self.held.remove(&block) else { return };
        let (expected, ttl_seconds, sent) = (held.sequence, GIVEN_BACK_SECONDS, now.nanos);
        operations.push(Operation { webhook, block, expected, ttl_seconds, sent });
        self.taken.insert(block, now.nanos + 2 * GIVEN_BACK_SECONDS * NANOS_PER_SECOND);
    }

    /// Asks for another block where one is needed; returns whether there is none.
    fn seek(&mut self, webhook: Id, now: Now, operations: &mut Vec<Operation>, random: &mut Random) -> bool {
        if self.seeking.is_some_and(|(_, sent)| now.nanos >= sent + ANSWER_NANOS) {
            self.seeking = None;
        }
        let held: u32 = self.held.values().map(|held| held.tokens).sum();
        if self.seeking.is_some() || held >= self.needed(now) {
            return false;
        }
        if now.nanos < self.refused_until {
            return true;
        }
        let free = |block: &u32| !self.held.contains_key(block) && !self.taken.contains_key(block);
        let free: Vec<u32> = (0..self.blocks().count()).filter(free).collect();
        if free.is_empty() {
            let until = self.taken.values().copied().min().unwrap_or(now.nanos + TAKEN_NANOS);
            self.refused_until = until;
            return true;
        }
        let at = usize::try_from(random.up_to(free.len() as u64 - 1)).unwrap_or(0);
        let block = free[at];
        self.seeking = Some((block, now.nanos));
        let ttl_seconds = self.ttl_seconds();
        operations.push(Operation { webhook, block, expected: 0, ttl_seconds, sent: now.nanos });
        false
    }

    /// The verdicts to return for the state that was reached.
    fn verdicts(&mut self, is_refused: bool, now: Now) -> Vec<RateVerdict> {
        let mut verdicts = Vec::new();
        let (tokens, until) = self.spendable(now);
        let spent = self.usage.map_or(0, |usage| usage.spent);
        if self.told != Some((tokens, until)) {
            self.told = Some((tokens, until));
            verdicts.push(RateVerdict::Holds { tokens, until: if tokens == 0 { 0 } else { until } });
        }
        if self.is_awaited && tokens > spent {
            self.is_awaited = false;
        } else if self.is_awaited && is_refused {
            self.is_awaited = false;
            verdicts.push(RateVerdict::Refused { until: self.refused_until });
        }
        verdicts
    }

    fn on_answer(&mut self, operation: &Operation, answer: RateAnswer, now: Now) -> Option<RateVerdict> {
        let Operation { block, sent, expected, .. } = *operation;
        if expected > 0 {
            let held = self.held.get_mut(&block).filter(|held| held.sequence == expected)?;
            match answer {
                // Whichever attempt it was: the message is at least as young as that.
                RateAnswer::Stored(sequence) => {
                    held.sequence = sequence;
                    held.since = held.since.max(sent);
                    held.renewing = None;
                }
                RateAnswer::Taken => {
                    // Gone, or renewed by an attempt whose answer was lost: nobody knows which.
                    self.held.remove(&block);
                    self.taken.insert(block, now.nanos + TAKEN_NANOS);
                }
                RateAnswer::Unknown => {
                    held.renewing = None;
                    let until = now.nanos + UNKNOWN_NANOS;
                    held.not_before = until;
                    let has_none = self.spendable(now).0 == 0;
                    let is_cut_off = has_none && std::mem::take(&mut self.is_awaited);
                    return is_cut_off.then_some(RateVerdict::CutOff { until });
                }
            }
            return None;
        }
        if self.seeking == Some((block, sent)) {
            self.seeking = None;
        }
        match answer {
            RateAnswer::Stored(sequence) => {
                let tokens = self.blocks().tokens_of(block);
                let held = OwnBlock { tokens, sequence, since: sent, renewing: None, not_before: 0 };
                self.held.insert(block, held);
                self.refused_until = 0;
                None
            }
            RateAnswer::Taken => {
                self.taken.insert(block, now.nanos + TAKEN_NANOS);
                None
            }
            RateAnswer::Unknown => {
                self.taken.insert(block, now.nanos + UNKNOWN_NANOS);
                let until = now.nanos + UNKNOWN_NANOS;
                self.refused_until = until;
                std::mem::take(&mut self.is_awaited).then_some(RateVerdict::CutOff { until })
            }
        }
    }
}
