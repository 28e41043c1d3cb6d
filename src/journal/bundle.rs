//! Bundles: records of journals as one message for another machine, and what is open in the messages of a node that is gone.
//!
//! A bundle is 8 bytes (`TGBUNDL` and the version) and records as segments hold them ([`record`](super::record)), of one
//! core after the other. A bundle may be stored twice: entries are told apart by their sequences.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use bytes::Bytes;

use super::index::DeliverySet;
use super::record::{
    ALL_DELIVERIES, EntryKind, HEADER_BYTES, RecordType, Seed, check_header, check_payload, completions,
};
use super::sequence::Sequence;

/// The first bytes of a bundle; the last one is the version.
pub const BUNDLE_START: [u8; 8] = *b"TGBUNDL\x01";

/// The seed of records in bundles: all are of one use.
pub(super) const BUNDLE_SEED: Seed = Seed(0x5447_424e);

/// Why a message is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleError {
    /// It does not begin like a bundle.
    NotABundle,
    /// It is of another version.
    Version(u8),
    /// A record in it is damaged: at which byte.
    Damaged(usize),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BundleError::NotABundle => f.write_str("it is no bundle of a journal"),
            BundleError::Version(version) => {
                write!(f, "it is a bundle of version {version}, which this version does not read")
            }
            BundleError::Damaged(at) => write!(f, "its record at byte {at} is damaged"),
        }
    }
}

impl std::error::Error for BundleError {}

/// An entry that was left open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOpen {
    pub sequence: Sequence,
    pub kind: EntryKind,
    /// When it was accepted.
    pub unix_millis: u64,
    pub deliveries: u16,
    /// Those that are done.
    pub done: Vec<u16>,
    pub payload: Bytes,
}

struct Seen {
    kind: EntryKind,
    unix_millis: u64,
    deliveries: u16,
    payload: Bytes,
}

/// Reads the bundles of one node, in the order in which they were stored.
#[derive(Default)]
pub struct BundleReplay {
    entries: HashMap<Sequence, Seen, ahash::RandomState>,
    /// By the order in which they were met first.
    order: VecDeque<Sequence>,
    partial: HashMap<Sequence, DeliverySet, ahash::RandomState>,
    /// Entries that are done: a second copy of them is not open.
    done: HashSet<Sequence, ahash::RandomState>,
    bytes: usize,
}

impl BundleReplay {
    /// Takes the next bundle. What stands before damage counts.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn take(&mut self, message: &Bytes) -> Result<(), BundleError> {
        let (start, expected) = (message.get(..BUNDLE_START.len()), &BUNDLE_START[..7]);
        let start = start.filter(|start| start[..7] == *expected).ok_or(BundleError::NotABundle)?;
        if start != BUNDLE_START {
            return Err(BundleError::Version(start[7]));
        }
        let mut at = BUNDLE_START.len();
        while at < message.len() {
            let record = &message[at..];
            let header = check_header(record, BUNDLE_SEED).ok_or(BundleError::Damaged(at))?;
            let payload = check_payload(record, &header, BUNDLE_SEED).ok_or(BundleError::Damaged(at))?;
            if header.record_type == RecordType::Completion {
                completions(payload).for_each(|(sequence, delivery)| self.complete(sequence, delivery));
            } else if header.record_type.is_entry()
                && !self.done.contains(&header.sequence)
                && !self.entries.contains_key(&header.sequence)
            {
                let start = at + HEADER_BYTES;
                let payload = message.slice(start..start + header.payload_bytes as usize);
                self.bytes += payload.len();
                self.order.push_back(header.sequence);
                let seen = Seen {
                    kind: header.kind,
                    unix_millis: header.unix_millis,
                    deliveries: header.deliveries,
                    payload,
                };
                self.entries.insert(header.sequence, seen);
            }
            at += header.record_bytes();
        }
        Ok(())
    }

    /// Bytes of the entries that are open so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the open entries, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<LeftOpen> {
        let entries = &mut self.entries;
        let mut open: Vec<LeftOpen> = Vec::with_capacity(entries.len());
        for sequence in self.order {
            let Some(Seen { kind, unix_millis, deliveries, payload }) = entries.remove(&sequence) else {
                continue;
            };
            let done = self.partial.get(&sequence).map_or_else(Vec::new, |done| done.iter().collect());
            open.push(LeftOpen { sequence, kind, unix_millis, deliveries, done, payload });
        }
        open
    }

    fn complete(&mut self, sequence: Sequence, delivery: u16) {
        let deliveries = self.entries.get(&sequence).map_or(1, |seen| seen.deliveries);
        if delivery != ALL_DELIVERIES && deliveries > 1 {
            let done = self.partial.entry(sequence).or_default();
            done.insert(delivery);
            if done.count(deliveries) < deliveries {
                return;
            }
        }
        self.partial.remove(&sequence);
        self.done.insert(sequence);
        if let Some(seen) = self.entries.remove(&sequence) {
            self.bytes -= seen.payload.len();
        }
    }
}
