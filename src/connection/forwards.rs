//! Triggers for targets: the owner core of a flow keeps the queues of its forwarding nodes, and has each attempt made by
//! threads that are no cores ([`Forwarder`](super::forward_queues::Forwarder)).
//!
//! **Invariant**: the room of a trigger in the flow's [`Backlog`] is given back once: when it is done, when nobody waits for
//! it any more, or when its dead letter is kept.

use std::sync::Arc;

use super::attempt::{AttemptError, AttemptId, AttemptResult, BegunAnswer, DeadLetter, ForwardTrigger};
use super::context::{CoreState, Timer};
use super::flow_queues::FinishedDelivery;
use super::forward_queues::{Attempt, AttemptReport, ForwardItem, LetterReport, UnkeptLetter};
use super::message::ReplySender;
use super::receipts;
use crate::base::clock::NANOS_PER_SECOND;
use crate::base::id::Id;
use crate::base::log::bounded_log;
use crate::base::slots::Key;
use crate::deliver::request::{delivery_id, order_key};
use crate::deliver::schedule::{DeadReason, FailedAttempt, RetryRules};
use crate::deliver::targets::{AttemptEnd, Expiry, NewDelivery, TargetOrder, TargetRules};
use crate::metrics::Event;
use crate::record::{CallRecord, FateKind, NewFate, record_of};
use crate::registry::{Backlog, ForwardRules};
use crate::reply::StreamWatch;

/// Time beyond that of an attempt after which its result counts as lost.
const WATCHDOG_NANOS: u64 = 10 * NANOS_PER_SECOND;
/// Pause before a dead letter is offered again that could not be kept.
const LETTER_RETRY_NANOS: u64 = NANOS_PER_SECOND;
/// Time after which the report about a dead letter counts as lost.
const LETTER_WATCHDOG_NANOS: u64 = 30 * NANOS_PER_SECOND;

type Orders = Vec<TargetOrder<ForwardItem>>;

/// At the owner: takes a trigger.
pub(super) fn take(core: &mut CoreState, backlog: Arc<Backlog>, trigger: ForwardTrigger) {
    let Some((node, node_id)) = trigger.node() else {
        backlog.release(trigger.payload.kept_len());
        if let Some(receipt) = trigger.receipt {
            receipts::give_back(core, receipt);
        }
        return;
    };
    let (node, node_id) = (node.clone(), Arc::clone(node_id));
    let flow = trigger.plan.flow_id;
    let id = delivery_id(trigger.event_id, flow, &node_id).into();
    let order_key = order_key(&node, &trigger.payload);
    let expiry = trigger
        .expires_nanos
        .map_or_else(|| Expiry::Retention(retention_end(core, trigger.accepted_unix_millis)), Expiry::Caller);
    let mut item = ForwardItem { trigger, id, backlog, attempt: 0, watchdog: None, last: None, begun: None };
    let order_key = match order_key {
        Ok(order_key) => order_key,
        Err(error) => {
            let result = AttemptResult::Failed(AttemptError::Request(error));
            note_failure(core.index, core.now().unix_millis, &mut item, &result);
            if matches!(expiry, Expiry::Retention(_)) {
                return bury(core, item, DeadReason::Request, 0);
            }
            let_go(core, &item);
            if let (Some(reply_id), Some(reply)) = (item.trigger.reply_id, result.into_reply()) {
                core.reply(&reply_id, Box::new(reply), ReplySender::Node);
            }
            return;
        }
    };
    let rules = rules_of(node.rules());
    let new = NewDelivery { flow, node: node_id, rules, order_key, expiry, attempts: 0, item };
    let (mut orders, now) = (Orders::new(), core.now().nanos);
    core.forwards.targets.offer(new, now, &mut orders);
    carry_out(core, orders);
}

/// When a trigger that was accepted then is given up.
fn retention_end(core: &CoreState, accepted_unix_millis: u64) -> u64 {
    let age_millis = core.now().unix_millis.saturating_sub(accepted_unix_millis);
    let age_nanos = age_millis.saturating_mul(NANOS_PER_SECOND / 1_000);
    (core.now().nanos + core.rules.retention_nanos).saturating_sub(age_nanos)
}

fn rules_of(rules: ForwardRules) -> TargetRules {
    TargetRules {
        max_in_flight: rules.max_in_flight,
        interval_nanos: rules.interval_nanos,
        retry: RetryRules { attempts: rules.attempts, backoff_nanos: rules.backoff_nanos },
    }
}

/// At the owner: the answer to an attempt has begun, and is passed on to the caller that waits for it.
pub(crate) fn on_answer_begun(core: &mut CoreState, id: AttemptId, begun: BegunAnswer) {
    let Some(item) = current(core, id) else { return };
    let Some(reply_id) = item.trigger.reply_id.clone().filter(|_| item.trigger.expires_nanos.is_some())
    else {
        return;
    };
    let (reply, watch) = begun.into_reply();
    item.begun = Some(watch);
    core.reply(&reply_id, Box::new(reply), ReplySender::Node);
}

/// The delivery whose attempt this is. `None`: the flow is gone; or it is an earlier attempt, which counted as lost, or one
/// of an earlier core.
fn current(core: &mut CoreState, id: AttemptId) -> Option<&mut ForwardItem> {
    let start = core.forwards.start;
    let item = core.forwards.targets.get_mut(id.delivery)?;
    (item.attempt == id.attempt && id.start == start).then_some(item)
}

/// At the owner: an attempt has ended.
pub(crate) fn on_attempted(core: &mut CoreState, id: AttemptId, result: AttemptResult) {
    let unix_millis = core.now().unix_millis;
    let Some(watchdog) = current(core, id).map(|item| item.watchdog.take()) else { return };
    if let Some(watchdog) = watchdog {
        core.wheel.cancel(watchdog);
    }
    let Some(item) = core.forwards.targets.get_mut(id.delivery) else { return };
    core.metrics.event(result.event());
    let waits = item.trigger.expires_nanos.is_some();
    let end = match &result {
        AttemptResult::Answered(answer) if answer.is_success() => AttemptEnd::Done,
        AttemptResult::Published => AttemptEnd::Done,
        _ if waits => AttemptEnd::GivenUp,
        AttemptResult::Answered(answer) => AttemptEnd::Failed(FailedAttempt {
            retry_after_nanos: answer.retry_after_nanos,
            is_final: result.is_final(),
        }),
        AttemptResult::Failed(_) => {
            AttemptEnd::Failed(FailedAttempt { retry_after_nanos: None, is_final: result.is_final() })
        }
    };
    if end != AttemptEnd::Done {
        note_failure(core.index, unix_millis, item, &result);
    }
    let mut fate = None;
    if let Some((of, flow, node)) = recorded(&item.trigger) {
        let kind = match &end {
            AttemptEnd::Done => FateKind::Delivered,
            AttemptEnd::GivenUp => FateKind::Failed,
            AttemptEnd::Failed(_) => FateKind::Retried,
        };
        let last = result.summary();
        fate = Some((of, flow, node, kind, item.attempt, last));
    }
    // A caller that has the beginning of the answer sees the end of its stream.
    let is_begun = item.begun.take().is_some();
    let reply_id = item.trigger.reply_id.clone().filter(|_| waits && !is_begun);
    if let Some((of, flow, node, kind, attempts, last)) = fate {
        let error = if kind == FateKind::Delivered { "" } else { &last.error };
        let status = last.status.unwrap_or(0);
        core.note_fate(Some(of), &NewFate { attempts, status, error, ..NewFate::new(kind, flow, &node) });
    }
    if let Some(reply_id) = reply_id
        && let Some(reply) = result.into_reply()
    {
        core.reply(&reply_id, Box::new(reply), ReplySender::Node);
    }
    let (mut orders, now) = (Orders::new(), core.now().nanos);
    core.forwards.targets.landed(id.delivery, end, now, &mut orders);
    if let Some(item) = core.forwards.targets.get_mut(id.delivery) {
        // It waits for another attempt: until then little of the answer is kept.
        item.last = item.last.take().map(|last| last.shortened());
    }
    carry_out(core, orders);
}

/// The record of the call that a trigger is of, with its flow and its node.
fn recorded(trigger: &ForwardTrigger) -> Option<(CallRecord, Id, Arc<str>)> {
    let record = record_of(trigger.event_id)?;
    let (_, node) = trigger.node()?;
    let plan = &trigger.plan;
    Some((CallRecord { record, webhook: plan.webhook_id }, plan.flow_id, Arc::clone(node)))
}

/// Keeps why an attempt failed, for the flow's errors and for a dead letter.
fn note_failure(core: usize, unix_millis: u64, item: &mut ForwardItem, result: &AttemptResult) {
    let last = result.summary();
    if let Some((_, node_id)) = item.trigger.node() {
        let plan = &item.trigger.plan;
        plan.runs.fail(core, unix_millis, node_id, || last.error.clone());
        tracing::debug!(flow = %plan.flow_id, node = ?node_id, error = %last.error, "a delivery failed");
    }
    item.last = Some(last);
}

/// At the owner: the result of an attempt has not been reported.
pub(crate) fn on_attempt_lost(core: &mut CoreState, delivery: Key) {
    let start = core.forwards.start;
    let Some(item) = core.forwards.targets.get_mut(delivery) else { return };
    item.watchdog = None;
    if item.begun.as_ref().is_some_and(StreamWatch::is_open) {
        // The caller takes its time.
        let fires = core.now().nanos.saturating_add(WATCHDOG_NANOS);
        let watchdog = core.wheel.insert(fires, Timer::Attempt(delivery));
        if let Some(item) = core.forwards.targets.get_mut(delivery) {
            item.watchdog = Some(watchdog);
        }
        return;
    }
    let id = AttemptId { start, delivery, attempt: item.attempt };
    bounded_log!(
        error,
        core = core.index,
        "the result of a request to a target was lost: it counts as failed"
    );
    on_attempted(core, id, AttemptResult::Failed(AttemptError::TimedOut));
}

/// At the owner: something of the queues is due.
pub(crate) fn on_time(core: &mut CoreState) {
    core.forwards.alarm = None;
    let (mut orders, now) = (Orders::new(), core.now().nanos);
    core.forwards.targets.on_time(now, &mut orders);
    carry_out(core, orders);
}

/// Drops the triggers of a flow that was deleted.
pub(super) fn clear(core: &mut CoreState, flow: Id) {
    let (mut orders, now) = (Orders::new(), core.now().nanos);
    for item in core.forwards.targets.clear(flow, now, &mut orders) {
        if let Some(watchdog) = item.watchdog {
            core.wheel.cancel(watchdog);
        }
        let_go(core, &item);
    }
    carry_out(core, orders);
}

/// Does what the queues ask for.
fn carry_out(core: &mut CoreState, orders: Orders) {
    for order in orders {
        match order {
            TargetOrder::Send { delivery, attempt } => send(core, delivery, attempt),
            TargetOrder::Done { item } => {
                core.metrics.event(Event::DeliveryDone);
                if item.trigger.behind.is_none() {
                    let_go(core, &item);
                    continue;
                }
                item.backlog.release(item.trigger.payload.kept_len());
                let record = recorded(&item.trigger).map(|(of, ..)| of);
                let ForwardTrigger { behind, payload, reply_id, expires_nanos, receipt, .. } = item.trigger;
                let finished = behind.map(|behind| FinishedDelivery {
                    behind,
                    payload,
                    reply_id,
                    expires_nanos,
                    receipt,
                    record,
                });
                core.finished.extend(finished);
            }
            TargetOrder::Expired { item } => {
                if let Some((of, flow, node)) = recorded(&item.trigger) {
                    let fate = NewFate::new(FateKind::Expired, flow, &node);
                    core.note_fate(Some(of), &NewFate { attempts: item.attempt, ..fate });
                }
                let_go(core, &item);
            }
            TargetOrder::Dead { item, reason, attempts } => bury(core, item, reason, attempts),
        }
    }
    arm(core);
}

/// Gives the room of a trigger back, and its receipt.
fn let_go(core: &mut CoreState, item: &ForwardItem) {
    item.backlog.release(item.trigger.payload.kept_len());
    if let Some(receipt) = item.trigger.receipt {
        receipts::give_back(core, receipt);
    }
}

/// Has an attempt made.
fn send(core: &mut CoreState, delivery: Key, attempt: u32) {
    if attempt > 1 {
        core.metrics.event(Event::DeliveryRetried);
        renew(core, delivery);
    }
    let now = core.now().nanos;
    let Some(item) = core.forwards.targets.get_mut(delivery) else { return };
    item.attempt = attempt;
    let id = AttemptId { start: core.forwards.start, delivery, attempt };
    let Some((node, _)) = item.trigger.node() else { return };
    let left = item.trigger.expires_nanos.map_or(u64::MAX, |expires| expires.saturating_sub(now));
    let timeout_nanos = node.timeout_nanos().min(left);
    let reply_bytes_max = item.trigger.expires_nanos.map(|_| item.trigger.plan.reply_bytes_max as usize);
    let request = Attempt {
        node: node.clone(),
        payload: item.trigger.payload.clone(),
        id: Arc::clone(&item.id),
        timeout_nanos,
        reply_bytes_max,
        report: AttemptReport { id, mailbox: Arc::clone(&core.forwards.mailbox) },
    };
    let fires = now.saturating_add(timeout_nanos).saturating_add(WATCHDOG_NANOS);
    item.watchdog = Some(core.wheel.insert(fires, Timer::Attempt(delivery)));
    core.forwards.forwarder.send(request);
}

/// Gives a trigger that failed the node as it is now: what was mended in the flow counts for what waits, too.
fn renew(core: &mut CoreState, delivery: Key) {
    let Some(item) = core.forwards.targets.get(delivery) else { return };
    let (webhook, flow) = (item.trigger.plan.webhook_id, item.trigger.plan.flow_id);
    let Some((_, node_id)) = item.trigger.node() else { return };
    let Some(hook) = core.registry.by_id(webhook) else { return };
    let Some(plan) = hook.flows.iter().find(|plan| plan.flow_id == flow) else { return };
    let Some(step) = plan.steps.iter().position(|step| step.node_id == *node_id) else { return };
    if Arc::ptr_eq(plan, &item.trigger.plan) {
        return;
    }
    let renewed = ForwardTrigger { plan: Arc::clone(plan), step, ..item.trigger.clone() };
    let Some(rules) = renewed.node().map(|(node, _)| rules_of(node.rules())) else { return };
    if let Some(item) = core.forwards.targets.get_mut(delivery) {
        item.trigger = renewed;
    }
    core.forwards.targets.set_rules(delivery, rules);
}

/// Makes a dead letter of a trigger, and has it kept.
fn bury(core: &mut CoreState, item: ForwardItem, reason: DeadReason, attempts: u32) {
    core.metrics.event(Event::DeliveryDead);
    core.metrics.event(dead_event(reason));
    if let Some((of, flow, node)) = recorded(&item.trigger) {
        let status = item.last.as_ref().and_then(|last| last.status).unwrap_or(0);
        let error = item.last.as_ref().map_or(reason.name(), |last| &last.error);
        let fate = NewFate::new(FateKind::Dead, flow, &node);
        core.note_fate(Some(of), &NewFate { attempts, status, error, ..fate });
    }
    let ForwardItem { trigger, id, backlog, last, .. } = item;
    let node =
        trigger.plan.steps.get(trigger.step).map_or_else(|| Arc::from(""), |step| Arc::clone(&step.node_id));
    let letter = DeadLetter {
        id,
        event_id: trigger.event_id,
        flow: trigger.plan.flow_id,
        webhook: trigger.plan.webhook_id,
        node,
        reason,
        attempts,
        accepted_unix_millis: trigger.accepted_unix_millis,
        died_unix_millis: core.now().unix_millis,
        last,
        payload: trigger.payload,
    };
    let unkept = UnkeptLetter { letter: Arc::new(letter), backlog, receipt: trigger.receipt, retry: None };
    let key = core.forwards.letters.insert(unkept);
    offer_letter(core, key);
}

/// Has a dead letter kept, again if it could not be.
pub(crate) fn offer_letter(core: &mut CoreState, key: Key) {
    let fires = core.now().nanos + LETTER_WATCHDOG_NANOS;
    let Some(unkept) = core.forwards.letters.get_mut(key) else { return };
    let letter = Arc::clone(&unkept.letter);
    unkept.retry = Some(core.wheel.insert(fires, Timer::Letter(key)));
    let report =
        LetterReport { start: core.forwards.start, key, mailbox: Arc::clone(&core.forwards.mailbox) };
    core.forwards.dead_letters.keep(letter, report);
}

/// At the owner: a dead letter is kept, or could not be.
pub(crate) fn on_letter(core: &mut CoreState, start: u64, key: Key, is_kept: bool) {
    if start != core.forwards.start {
        // The letter of an earlier core.
        return;
    }
    let Some(unkept) = core.forwards.letters.get_mut(key) else { return };
    if let Some(retry) = unkept.retry.take() {
        core.wheel.cancel(retry);
    }
    if !is_kept {
        let fires = core.now().nanos + LETTER_RETRY_NANOS;
        let retry = core.wheel.insert(fires, Timer::Letter(key));
        if let Some(unkept) = core.forwards.letters.get_mut(key) {
            unkept.retry = Some(retry);
        }
        return;
    }
    if let Some(UnkeptLetter { letter, backlog, receipt, .. }) = core.forwards.letters.remove(key) {
        backlog.release(letter.payload.kept_len());
        if let Some(receipt) = receipt {
            receipts::give_back(core, receipt);
        }
    }
}

fn dead_event(reason: DeadReason) -> Event {
    match reason {
        DeadReason::Attempts => Event::DeadAttempts,
        DeadReason::Retention => Event::DeadRetention,
        DeadReason::Gone => Event::DeadGone,
        DeadReason::Loop => Event::DeadLoop,
        DeadReason::Request => Event::DeadRequest,
    }
}

/// Sets the timer of the queues to what is due first.
fn arm(core: &mut CoreState) {
    let due = core.forwards.targets.next_deadline();
    let armed = core.forwards.alarm.map(|(nanos, _)| nanos);
    // One that fires too early is set again.
    if due.is_none() || armed.is_some_and(|armed| Some(armed) <= due) {
        return;
    }
    if let Some((_, timer)) = core.forwards.alarm.take() {
        core.wheel.cancel(timer);
    }
    core.forwards.alarm = due.map(|due| (due, core.wheel.insert(due, Timer::Targets)));
}
