//! Answers that wait for the journal. An answer that depends on a write stands in the output like any other, and no byte
//! from it on is sent before the write is durable: answers leave in order, and requests behind it are decided meanwhile.

use std::collections::VecDeque;
use std::ops::Range;

use super::message::Inside;
use crate::journal::Sequence;

/// State that few connections have.
#[derive(Default)]
pub(super) struct Aside {
    /// Of a connection that was made inside the process.
    pub(super) inside: Option<Inside>,
    pub(super) gates: Gates,
}

/// Answers in an output that wait.
#[derive(Default)]
pub(super) struct Gates {
    /// In the order of both their sequences and their places.
    pub(super) queue: VecDeque<Gate>,
}

/// An answer that waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// The entry of the journal that it waits for.
    pub(crate) sequence: Sequence,
    /// Place of its first byte in the output.
    pub(crate) start: usize,
    /// When its wait began; `None`: its duration is counted.
    pub(crate) since: Option<u64>,
}

impl Gates {
    /// Removes those whose entries are durable; returns how many bytes of the output may be sent.
    pub(super) fn open(&mut self, durable: Sequence, output: usize, mut opened: impl FnMut(&Gate)) -> usize {
        while let Some(gate) = self.queue.front()
            && gate.sequence <= durable
        {
            opened(gate);
            self.queue.pop_front();
        }
        self.queue.front().map_or(output, |gate| gate.start.min(output))
    }

    /// The first bytes of the output have been taken out.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.queue.iter_mut().for_each(|gate| gate.start = gate.start.saturating_sub(bytes));
    }

    /// Removes the first answer whose entry is one of `failed`, and all behind it; returns its place.
    pub(super) fn fail(&mut self, failed: &Range<Sequence>) -> Option<usize> {
        let at = self.queue.iter().position(|gate| failed.contains(&gate.sequence))?;
        let start = self.queue[at].start;
        self.queue.truncate(at);
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u64) -> Sequence {
        Sequence::new(0, number)
    }

    fn gates(places: &[(u64, usize)]) -> Gates {
        let gate = |&(sequence, start)| Gate { sequence: Sequence::new(0, sequence), start, since: None };
        Gates { queue: places.iter().map(gate).collect() }
    }

    #[test]
    fn answers_leave_in_order_as_far_as_they_are_durable() {
        let mut gates = gates(&[(5, 100), (7, 250), (7, 300)]);
        let mut opened = 0;
        assert_eq!(gates.open(number(4), 400, |_| opened += 1), 100);
        gates.advance(100);
        assert_eq!(gates.open(number(4), 300, |_| opened += 1), 0);
        assert_eq!(gates.open(number(6), 300, |_| opened += 1), 150);
        gates.advance(150);
        assert_eq!(gates.open(number(7), 150, |_| opened += 1), 150);
        assert_eq!(opened, 3);
    }

    #[test]
    fn a_failure_takes_all_behind_it() {
        let mut first = gates(&[(5, 0), (7, 50), (9, 80)]);
        assert_eq!(first.fail(&(number(6)..number(8))), Some(50));
        assert_eq!(first.fail(&(number(6)..number(8))), None);
        assert_eq!(first.open(number(5), 60, |_| {}), 60);
    }
}
