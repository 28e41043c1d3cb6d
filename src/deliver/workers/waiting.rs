//! The triggers of one node that wait for a worker, in the order of arrival.

use std::collections::{BTreeMap, HashMap};

use super::item::{Item, List, TieKey};
use crate::base::slots::Key;

/// Something that waits, by the arrival of its (first) trigger: numbers that no two triggers share.
type ByArrival<T> = BTreeMap<u64, T>;

/// An entry of a node's queue, for which no worker is chosen yet.
pub(super) enum QueueEntry {
    /// A trigger by itself.
    One(Box<Item>),
    /// The triggers of a connection, which all go to the worker that gets the first.
    Lane(TieKey),
}

/// The queue of one node.
pub(super) struct NodeQueue {
    /// Unacked triggers that a worker may have of this node, as the newest trigger says it.
    pub(super) max_in_flight: u32,
    /// Unacked triggers of each worker that has any.
    in_flight: HashMap<Key, u32, ahash::RandomState>,
    free: ByArrival<QueueEntry>,
    except: HashMap<Key, ByArrival<QueueEntry>, ahash::RandomState>,
    only: HashMap<Key, ByArrival<TieKey>, ahash::RandomState>,
}

impl NodeQueue {
    pub(super) fn new(max_in_flight: u32) -> NodeQueue {
        NodeQueue {
            max_in_flight,
            in_flight: HashMap::default(),
            free: BTreeMap::new(),
            except: HashMap::default(),
            only: HashMap::default(),
        }
    }

    /// Whether a worker has fewer triggers of this node than it may have.
    pub(super) fn has_room(&self, worker: Key) -> bool {
        self.in_flight.get(&worker).copied().unwrap_or(0) < self.max_in_flight
    }

    /// The worker has one more trigger.
    pub(super) fn sent(&mut self, worker: Key) {
        *self.in_flight.entry(worker).or_default() += 1;
    }

    /// The worker has one trigger less.
    pub(super) fn landed(&mut self, worker: Key) {
        if let Some(count) = self.in_flight.get_mut(&worker) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(&worker);
            }
        }
    }

    /// Whether nothing waits and nothing is unacked.
    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.only.is_empty() && !self.is_waiting()
    }

    /// Whether something waits whose worker is not chosen yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.free.is_empty() || !self.except.is_empty()
    }

    /// Puts a trigger, or a connection, among what waits.
    pub(super) fn insert(&mut self, list: List, arrival: u64, entry: QueueEntry) {
        match (list, entry) {
            (List::Free, entry) => drop(self.free.insert(arrival, entry)),
            (List::Except(worker), entry) => {
                self.except.entry(worker).or_default().insert(arrival, entry);
            }
            (List::Only(worker), QueueEntry::Lane(tie)) => {
                self.only.entry(worker).or_default().insert(arrival, tie);
            }
            // A trigger by itself is for no worker in particular.
            (List::Only(_), entry @ QueueEntry::One(_)) => drop(self.free.insert(arrival, entry)),
        }
    }

    /// Takes something off a list.
    pub(super) fn remove(&mut self, list: List, arrival: u64) -> Option<QueueEntry> {
        match list {
            List::Free => self.free.remove(&arrival),
            List::Except(worker) => remove(&mut self.except, worker, arrival),
            List::Only(worker) => remove(&mut self.only, worker, arrival).map(QueueEntry::Lane),
        }
    }

    /// Takes a trigger that waits by itself, wherever that is.
    pub(super) fn remove_one(&mut self, arrival: u64) -> Option<Item> {
        let lists = self.except.keys().map(|worker| List::Except(*worker));
        let lists: Vec<List> = std::iter::once(List::Free).chain(lists).collect();
        lists.into_iter().find_map(|list| match self.remove(list, arrival)? {
            QueueEntry::One(item) => Some(*item),
            lane @ QueueEntry::Lane(_) => {
                self.insert(list, arrival, lane);
                None
            }
        })
    }

    /// The first that this worker may take. `alone`: there is no other worker.
    pub(super) fn first_for(&self, worker: Key, alone: bool) -> Option<(u64, List)> {
        let only = self.only.get(&worker).and_then(first).map(|arrival| (arrival, List::Only(worker)));
        let not_bound = self.firsts().filter(|(_, list)| alone || *list != List::Except(worker));
        not_bound.chain(only).min_by_key(|(arrival, _)| *arrival)
    }

    /// The first of each list whose workers are not chosen yet.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (u64, List)> {
        let free = first(&self.free).map(|arrival| (arrival, List::Free));
        let except = self.except.iter();
        let except = except.filter_map(|(not, list)| Some((first(list)?, List::Except(*not))));
        free.into_iter().chain(except)
    }

    /// The first that waits for each worker in particular.
    pub(super) fn bound_firsts(&self) -> impl Iterator<Item = (u64, Key)> {
        self.only.iter().filter_map(|(worker, list)| Some((first(list)?, *worker)))
    }

    /// A worker left: what was not for it is for all. Its own connections have been taken off before.
    pub(super) fn forget(&mut self, worker: Key) {
        self.in_flight.remove(&worker);
        if let Some(mut list) = self.except.remove(&worker) {
            self.free.append(&mut list);
        }
    }

    /// All triggers that wait by themselves.
    pub(super) fn into_items(self) -> impl Iterator<Item = Item> {
        let except = self.except.into_values().flatten();
        self.free.into_iter().chain(except).filter_map(|(_, entry)| match entry {
            QueueEntry::One(item) => Some(*item),
            QueueEntry::Lane(_) => None,
        })
    }
}

fn first<T>(list: &ByArrival<T>) -> Option<u64> {
    list.first_key_value().map(|(arrival, _)| *arrival)
}

/// Takes something off the list of a worker. Empty lists are not kept.
fn remove<T>(
    lists: &mut HashMap<Key, ByArrival<T>, ahash::RandomState>,
    worker: Key,
    arrival: u64,
) -> Option<T> {
    let list = lists.get_mut(&worker)?;
    let removed = list.remove(&arrival);
    if list.is_empty() {
        lists.remove(&worker);
    }
    removed
}
