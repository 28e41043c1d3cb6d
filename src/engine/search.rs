//! The search for a WebSocket by the id that its records name it by. A core visits its WebSockets in pieces, a few in each turn,
//! so that nothing waits for it; nothing is kept of a connection to be found by.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::base::id::Id;
use crate::base::slots::Round;

/// Searches of a core that are under way or wait.
const SEARCHES_MAX: usize = 64;

/// Result of a search on one core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SearchOutcome {
    /// The `replyId` of the WebSocket.
    Found(String),
    /// The core has no such WebSocket.
    Missing,
    /// The core has too many searches already.
    Busy,
}

/// Called once by each core that has searched.
pub(crate) type SearchCallback = Arc<dyn Fn(SearchOutcome) + Send + Sync>;

/// A WebSocket that is searched for.
pub(super) struct Search {
    pub(super) webhook: Id,
    /// Its name among the records.
    pub(super) connection: Id,
    pub(super) done: SearchCallback,
}

/// The searches of one core, one after the other.
#[derive(Default)]
pub(super) struct Searches {
    /// The first is under way.
    waiting: VecDeque<Search>,
    round: Round,
}

impl Searches {
    /// Begins a search, or queues it. `places` is the number of places that WebSockets may have.
    pub(super) fn begin(&mut self, search: Search, places: usize) {
        if self.waiting.len() >= SEARCHES_MAX {
            return (search.done)(SearchOutcome::Busy);
        }
        self.waiting.push_back(search);
        if self.waiting.len() == 1 {
            self.round.begin(places);
        }
    }

    /// Whether none is under way.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The search that is under way, and the next places to visit for it, at most `most`; `None` for the places at the end of
    /// its round.
    pub(super) fn piece(&mut self, most: usize) -> Option<(&Search, Option<Range<usize>>)> {
        let search = self.waiting.front()?;
        Some((search, self.round.piece(most)))
    }

    /// Ends the search that is under way and begins the next one.
    pub(super) fn end(&mut self, outcome: SearchOutcome, places: usize) {
        if let Some(search) = self.waiting.pop_front() {
            (search.done)(outcome);
        }
        if !self.waiting.is_empty() {
            self.round.begin(places);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn searches_visit_all_places_one_after_the_other_and_are_bounded() {
        let outcomes: Arc<Mutex<Vec<(usize, SearchOutcome)>>> = Arc::default();
        let search = |number: usize| {
            let outcomes = Arc::clone(&outcomes);
            let done: SearchCallback =
                Arc::new(move |outcome| outcomes.lock().expect("not poisoned").push((number, outcome)));
            Search { webhook: Id::default(), connection: Id::default(), done }
        };
        let mut searches = Searches::default();
        assert!(searches.is_over() && searches.piece(4).is_none());
        for number in 0..=SEARCHES_MAX {
            searches.begin(search(number), 10);
        }
        assert_eq!(*outcomes.lock().expect("not poisoned"), [(SEARCHES_MAX, SearchOutcome::Busy)]);
        for number in 0..SEARCHES_MAX {
            let mut visited = 0;
            while let Some((_, Some(places))) = searches.piece(4) {
                assert!(places.len() <= 4);
                visited += places.len();
            }
            assert_eq!(visited, 10);
            let outcome =
                if number == 0 { SearchOutcome::Found("one".to_owned()) } else { SearchOutcome::Missing };
            searches.end(outcome.clone(), 10);
            assert_eq!(outcomes.lock().expect("not poisoned").last(), Some(&(number, outcome)));
        }
        assert!(searches.is_over());
    }
}
