//! What a flow's home does with triggers, and what workers do with those that they get.

use tidegate::base::slots::Key;
use tidegate::deliver::workers::{Order, WorkerTrigger};
use tidegate::reply::parse_body;

use super::observer::Fate;
use super::world::{Did, Event, MILLISECOND, Mail, Timer, World};

type Orders = Vec<Order<usize>>;

impl World {
    pub fn offer(&mut self, flow: usize, trigger: WorkerTrigger) {
        let mut orders = Orders::new();
        let now = self.clock_of(flow);
        self.queue(flow).offer(trigger, now, &mut orders);
        self.carry_out(flow, orders);
    }

    pub fn attached(&mut self, worker: usize) {
        let flow = self.workers[worker].flow;
        let key = self.queue(flow).attach(worker);
        self.workers[worker].key = Some(key);
        let credit = if self.is_ending { 1_000 } else { 1 + self.random.below(6) as u32 };
        self.post(self.home(flow), Mail::Did { worker, did: Did::Ready(credit) });
    }

    pub fn did(&mut self, worker: usize, did: Did) {
        let flow = self.workers[worker].flow;
        let key = self.workers[worker].key.expect("it attached first");
        let (now, mut orders) = (self.clock_of(flow), Orders::new());
        match did {
            Did::Ready(credit) => self.queue(flow).ready(key, credit, now, &mut orders),
            Did::Ack(seq) => drop(self.queue(flow).ack(key, seq, now, &mut orders)),
            Did::Nack(seq) => drop(self.queue(flow).nack(key, seq, now, &mut orders)),
            Did::Reply { reply_id, reply } => {
                let acked = self.queue(flow).replied(key, &reply_id, None, now, &mut orders);
                assert_eq!(acked, Ok(()), "each caller has a replyId of its own");
                self.reply(&reply_id, reply);
            }
            Did::Left => self.queue(flow).detach(key, now, &mut orders),
        }
        self.carry_out(flow, orders);
    }

    pub fn late(&mut self, flow: usize, flight: Key) {
        let (now, mut orders) = (self.clock_of(flow), Orders::new());
        self.queue(flow).late(flight, now, &mut orders);
        self.carry_out(flow, orders);
    }

    /// Lets go of what nobody waits for, in the flows that are at home on the core.
    pub fn expire(&mut self, core: usize) {
        for flow in (0..self.queues.len()).filter(|flow| self.home(*flow) == core).collect::<Vec<_>>() {
            let (now, mut orders) = (self.clock_of(flow), Orders::new());
            self.queue(flow).expire(now, &mut orders);
            self.carry_out(flow, orders);
        }
    }

    fn queue(&mut self, flow: usize) -> &mut tidegate::deliver::workers::FlowQueue<usize> {
        self.queues.get_mut(&flow).expect("every flow has one")
    }

    fn clock_of(&self, flow: usize) -> u64 {
        self.cores[self.home(flow)].clock
    }

    fn carry_out(&mut self, flow: usize, orders: Orders) {
        let home = self.home(flow);
        for order in orders {
            match order {
                Order::Send { worker, seq, trigger, flight, deadline_nanos } => {
                    let timer = self.cores[home].wheel.insert(deadline_nanos, Timer::Ack { flow, flight });
                    self.queue(flow).timed(flight, timer);
                    let arrives = self.time + self.random.below(5 * MILLISECOND);
                    self.schedule(arrives, Event::Given { worker, seq, trigger: Box::new(trigger) });
                }
                Order::Done { bytes, .. } => {
                    self.registry.flow(self.flow_id(flow)).expect("a flow of the model").release(bytes);
                }
                // Every turn of the world lets go of what has expired.
                Order::Watch { .. } => {}
                Order::Cancel(timer) => drop(self.cores[home].wheel.cancel(timer)),
            }
        }
    }

    /// A worker has a trigger in its hands.
    pub fn given(&mut self, worker: usize, seq: u64, trigger: &WorkerTrigger) {
        let flow = self.workers[worker].flow;
        let body = trigger.payload.event.body().get("n").and_then(|n| n.as_number()).map(str::to_owned);
        let number: usize = body.and_then(|n| n.parse().ok()).expect("the body that its client sent");
        let call = &self.observer.calls[number];
        assert!(!matches!(call.fate, Fate::Refused | Fate::Sent), "a trigger of what was refused: {call:?}");
        assert_eq!((call.webhook, call.offered), (flow, 1));
        if !self.workers[worker].attached {
            return;
        }
        let reply_id = trigger.reply_id.as_deref();
        let chance = if self.is_ending { 0 } else { self.random.below(12) };
        match (chance, reply_id) {
            (0..4, None) | (0, Some(_)) => self.tell(worker, Did::Ack(seq)),
            (1..8, Some(reply_id)) => {
                self.answer_with(worker, reply_id, number);
                if chance > 5 {
                    self.answer_with(worker, reply_id, number);
                }
                if chance == 5 {
                    self.tell(worker, Did::Ack(seq));
                }
                if chance == 4 {
                    // Of one who waited here before, or will: no caller of this reply.
                    let (place, generation) = reply_id.rsplit_once('.').expect("our own id");
                    let generation: u32 = generation.parse().expect("our own id");
                    let other = format!("{place}.{}", generation.wrapping_sub(1));
                    self.answer_with(worker, &other, usize::MAX);
                }
            }
            (8, _) => self.tell(worker, Did::Nack(seq)),
            (9, _) => {
                self.workers[worker].attached = false;
                self.tell(worker, Did::Left);
                let later = self.time + self.random.below(2_000 * MILLISECOND);
                self.schedule(later, Event::Attach { flow });
            }
            (10, _) => {}
            _ => self.tell(worker, Did::Ack(seq)),
        }
        if self.workers[worker].attached {
            self.tell(worker, Did::Ready(1));
        }
    }

    /// Replies with the call's number, by which its caller knows it.
    fn answer_with(&mut self, worker: usize, reply_id: &str, number: usize) {
        let reply = parse_body(format!("{{\"body\":\"{number}\"}}").as_bytes()).expect("a good reply");
        self.tell(worker, Did::Reply { reply_id: reply_id.to_owned(), reply: Box::new(reply) });
    }

    fn tell(&mut self, worker: usize, did: Did) {
        let core = self.home(self.workers[worker].flow);
        let delay = match self.random.below(8) {
            0 => self.random.below(3_000 * MILLISECOND),
            _ => self.random.below(5 * MILLISECOND),
        };
        self.schedule(self.time + delay, Event::Arrive(core, Mail::Did { worker, did }));
    }
}
