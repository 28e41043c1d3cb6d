//! Every order of events keeps the rules: a plain model follows what the queue orders and judges it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Connections that the triggers come from, besides those that come from none.
const CONNECTIONS: usize = 3;
/// Unacked triggers that each node lets a worker have.
const NODES: [u32; 3] = [1, 2, 1_000];

/// Something that happens. An index chooses among what there is; nothing happens where there is nothing.
#[derive(Clone, Debug)]
enum Happening {
    Attach,
    Detach(Index),
    Ready(Index, u32),
    Offer { connection: usize, node: usize, expires_in: Option<u64> },
    Ack(Index),
    Nack(Index),
    Late(Index),
    Expire,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let index = any::<Index>;
    let offer = (0..=CONNECTIONS, 0..NODES.len(), prop::option::weighted(0.2, 1..30u64));
    prop_oneof![
        1 => Just(Happening::Attach),
        1 => index().prop_map(Happening::Detach),
        3 => (index(), 1..4u32).prop_map(|(worker, credit)| Happening::Ready(worker, credit)),
        6 => offer.prop_map(|(connection, node, expires_in)| Happening::Offer { connection, node, expires_in }),
        4 => index().prop_map(Happening::Ack),
        1 => index().prop_map(Happening::Nack),
        1 => index().prop_map(Happening::Late),
        1 => Just(Happening::Expire),
        1 => (1..20u64).prop_map(Happening::Pass),
    ]
}

/// A trigger that is not done, as far as the orders tell.
#[derive(Debug)]
struct Known {
    connection: Option<usize>,
    node: usize,
    expires: Option<u64>,
    failures: u32,
    /// The worker that had it last.
    last: Option<u32>,
    /// The worker that has it, its seq there, and its flight.
    with: Option<(u32, u64, Key)>,
}

struct WorkerKnown {
    key: Key,
    credit: u32,
    /// Of what it has: seq and node.
    seqs: BTreeMap<u64, usize>,
}

impl WorkerKnown {
    fn takes(&self, node: usize) -> bool {
        let has = self.seqs.values().filter(|of| **of == node).count();
        self.credit > 0 && (has as u32) < NODES[node]
    }
}

struct Model {
    queue: FlowQueue<u32>,
    places: Vec<Key>,
    workers: BTreeMap<u32, WorkerKnown>,
    /// The newest name: those of workers and triggers rise.
    names: u32,
    open: BTreeMap<u32, Known>,
    /// Of each connection: its home while that lasts, and the newest trigger that went out.
    homes: [Option<u32>; CONNECTIONS],
    newest: [[Option<u32>; NODES.len()]; CONNECTIONS],
    now: u64,
}

impl Model {
    fn new() -> Model {
        Model {
            queue: FlowQueue::default(),
            places: places(CONNECTIONS),
            workers: BTreeMap::new(),
            names: 0,
            open: BTreeMap::new(),
            homes: [None; CONNECTIONS],
            newest: [[None; NODES.len()]; CONNECTIONS],
            now: 0,
        }
    }

    fn happen(&mut self, happening: &Happening) {
        let mut orders = Vec::new();
        let now = self.now;
        let mut acked = 0;
        match happening {
            Happening::Attach => {
                self.names += 1;
                let key = self.queue.attach(self.names);
                self.workers.insert(self.names, WorkerKnown { key, credit: 0, seqs: BTreeMap::new() });
            }
            Happening::Detach(index) => {
                let Some(name) = choose(index, self.workers.keys()) else { return };
                let key = self.leave(name);
                self.queue.detach(key, now, &mut orders);
            }
            Happening::Ready(index, credit) => {
                let Some(name) = choose(index, self.workers.keys()) else { return };
                let worker = self.workers.get_mut(&name).unwrap();
                worker.credit += credit;
                self.queue.ready(worker.key, *credit, now, &mut orders);
            }
            Happening::Offer { connection, node, expires_in } => {
                let connection = connection.checked_sub(1);
                self.names += 1;
                let mut trigger = trigger(&self.names.to_string());
                trigger.node_id = node.to_string().into();
                trigger.max_in_flight = NODES[*node];
                match connection {
                    Some(index) => {
                        trigger.affinity = Some(Affinity { key: (1, self.places[index]), last: false })
                    }
                    None => trigger.expires_nanos = expires_in.map(|expires_in| now + expires_in),
                }
                let (node, expires) = (*node, trigger.expires_nanos);
                let known = Known { connection, node, expires, failures: 0, last: None, with: None };
                self.open.insert(self.names, known);
                self.queue.offer(trigger, now, &mut orders);
            }
            Happening::Ack(index) => {
                let Some(name) = choose(index, self.flying().iter()) else { return };
                let (_, seq, key) = self.land(name);
                self.open.remove(&name);
                acked = 1;
                assert!(self.queue.ack(key, seq, now, &mut orders));
                assert!(!self.queue.ack(key, seq, now, &mut orders), "a second ack is none");
            }
            Happening::Nack(index) => {
                let Some(name) = choose(index, self.flying().iter()) else { return };
                let (_, seq, key) = self.land(name);
                self.open.get_mut(&name).unwrap().failures += 1;
                assert!(self.queue.nack(key, seq, now, &mut orders));
            }
            Happening::Late(index) => {
                let Some(name) = choose(index, self.flying().iter()) else { return };
                let flight = self.open[&name].with.unwrap().2;
                let (worker, ..) = self.land(name);
                let known = self.open.get_mut(&name).unwrap();
                known.failures += 1;
                if let Some(connection) = known.connection
                    && self.homes[connection] == Some(worker)
                    && self.workers.len() > 1
                {
                    self.homes[connection] = None;
                }
                self.queue.late(flight, now, &mut orders);
            }
            Happening::Expire => {
                self.queue.expire(now, &mut orders);
            }
            Happening::Pass(nanos) => self.now += nanos,
        }
        self.judge(orders, acked);
    }

    fn flying(&self) -> Vec<u32> {
        self.open.iter().filter(|(_, known)| known.with.is_some()).map(|(name, _)| *name).collect()
    }

    /// The trigger is with its worker no more: that one's name, the seq and the worker's key.
    fn land(&mut self, name: u32) -> (u32, u64, Key) {
        let (worker, seq, _) = self.open.get_mut(&name).unwrap().with.take().unwrap();
        let known = self.workers.get_mut(&worker).unwrap();
        assert!(known.seqs.remove(&seq).is_some());
        (worker, seq, known.key)
    }

    fn leave(&mut self, worker: u32) -> Key {
        for known in self.open.values_mut().filter(|known| known.with.is_some_and(|with| with.0 == worker)) {
            known.with = None;
            known.failures += 1;
        }
        for home in &mut self.homes {
            *home = home.filter(|home| *home != worker);
        }
        self.workers.remove(&worker).unwrap().key
    }

    /// Follows the orders. `acked` is how many of the triggers in them are known to be done.
    fn judge(&mut self, orders: Vec<Order<u32>>, acked: usize) {
        let mut done = 0;
        for order in orders {
            match order {
                Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
                    assert_eq!(deadline_nanos, self.now + ACK_TIMEOUT);
                    self.sent(worker, seq, &trigger, flight);
                }
                Order::Done { .. } | Order::Returned { .. } => done += 1,
                Order::Cancel(_) => panic!("no timer was set"),
                Order::Watch { expires_nanos } => {
                    assert!(self.open.values().any(|known| known.expires == Some(expires_nanos)));
                }
            }
        }
        // `Done` does not name its trigger: the others were such as nobody waits for any more, and any of them will do.
        assert!(done >= acked, "what is acked is done");
        let expired: Vec<u32> = self
            .open
            .iter()
            .filter(|(_, known)| known.with.is_none() && known.expires.is_some_and(|end| end <= self.now))
            .map(|(name, _)| *name)
            .collect();
        assert!(done - acked <= expired.len(), "nothing else is let go");
        for name in &expired[..done - acked] {
            self.open.remove(name);
        }
        assert_eq!(self.queue.open(), self.open.len(), "as much is done as was offered");
        self.nobody_idles();
    }

    fn sent(&mut self, name: u32, seq: u64, trigger: &WorkerTrigger, flight: Key) {
        let alone = self.workers.len() == 1;
        let trigger_name: u32 = name_of(trigger).parse().unwrap();
        let known = self.open.get_mut(&trigger_name).expect("a trigger that is not done");
        assert_eq!(known.with, None, "a trigger is in one place");
        assert_eq!(trigger.attempt, known.failures + 1);
        assert!(known.expires.is_none_or(|end| end > self.now), "somebody waits for it");
        assert!(known.last != Some(name) || alone, "it goes to another while there is one");
        let worker = self.workers.get_mut(&name).expect("a worker that is attached");
        assert!(worker.takes(known.node), "credit and maxInFlight are kept");
        worker.credit -= 1;
        assert!(worker.seqs.keys().all(|other| *other < seq), "seqs rise");
        worker.seqs.insert(seq, known.node);
        if let Some(connection) = known.connection
            && known.failures == 0
        {
            let newest = self.newest[connection][known.node].replace(trigger_name);
            assert!(newest.is_none_or(|newest| newest < trigger_name), "in order");
            let home = self.homes[connection].get_or_insert(name);
            assert_eq!(*home, name, "a connection stays with its worker");
        }
        (known.with, known.last) = (Some((name, seq, flight)), Some(name));
    }

    /// Nothing that came by itself waits while a worker could take it; nor does the first of each node of a connection
    /// whose home could take it.
    fn nobody_idles(&self) {
        let alone = self.workers.len() == 1;
        let mut is_first = [[true; NODES.len()]; CONNECTIONS];
        for known in self.open.values().filter(|known| known.with.is_none()) {
            let home = match known.connection {
                None if known.expires.is_some_and(|end| end <= self.now) => continue,
                None => None,
                // One that came back may have been put elsewhere than among the others.
                Some(_) if known.failures > 0 => continue,
                Some(connection) if !std::mem::replace(&mut is_first[connection][known.node], false) => {
                    continue;
                }
                Some(connection) if self.came_back(connection, known.node) => continue,
                Some(connection) => match self.homes[connection] {
                    Some(home) => Some(home),
                    // It may have one that got what came back, which the model does not follow.
                    None => continue,
                },
            };
            let may = self.workers.iter().filter(|(name, _)| home.is_none_or(|home| home == **name));
            let mut may = may.filter(|(name, _)| alone || known.last != Some(**name));
            assert!(!may.any(|(_, worker)| worker.takes(known.node)), "it could be sent: {known:?}");
        }
    }

    /// Whether something that came back waits of a connection and a node.
    fn came_back(&self, connection: usize, node: usize) -> bool {
        let is_it = |known: &Known| {
            known.connection == Some(connection)
                && known.node == node
                && known.failures > 0
                && known.with.is_none()
        };
        self.open.values().any(is_it)
    }

    /// Everything is done in the end, if one worker takes all that comes.
    fn finish(mut self, first: Index) {
        while !self.workers.is_empty() {
            self.happen(&Happening::Detach(first));
        }
        self.happen(&Happening::Attach);
        self.happen(&Happening::Ready(first, 100_000));
        while !self.flying().is_empty() {
            self.happen(&Happening::Ack(first));
        }
        self.happen(&Happening::Pass(1_000));
        self.happen(&Happening::Expire);
        assert_eq!(self.open.len(), 0);
        self.happen(&Happening::Detach(first));
        assert!(self.queue.is_empty());
        assert!(self.queue.ties.is_empty());
    }
}

fn choose<'n>(index: &Index, names: impl Iterator<Item = &'n u32>) -> Option<u32> {
    let names: Vec<u32> = names.copied().collect();
    (!names.is_empty()).then(|| *index.get(&names))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_hold_in_every_order_of_events(
        happenings in prop::collection::vec(happening(), 1..80),
        any in any::<Index>(),
    ) {
        let mut model = Model::new();
        for happening in &happenings {
            model.happen(happening);
        }
        model.finish(any);
    }
}
