//! State of flows that outlives their plans: the triggers that wait for workers, and counts of recent runs.

use std::sync::Arc;

use super::backlog::{Backlog, ProcessBacklog};
use super::runs::FlowRuns;
use crate::base::id::Id;

type FlowMap<V> = papaya::HashMap<Id, V, ahash::RandomState>;

/// The state of every flow, by its id.
pub(super) struct FlowStates {
    cores: usize,
    /// Of every flow, enabled or not, wired or not: a worker may attach to any.
    backlogs: FlowMap<Arc<Backlog>>,
    process_backlog: Arc<ProcessBacklog>,
    /// Of every flow that a plan was made of.
    runs: FlowMap<Arc<FlowRuns>>,
}

impl FlowStates {
    /// Of no flow yet, on `cores` cores.
    pub(super) fn new(cores: usize) -> FlowStates {
        FlowStates {
            cores,
            backlogs: FlowMap::with_hasher(ahash::RandomState::new()),
            process_backlog: Arc::default(),
            runs: FlowMap::with_hasher(ahash::RandomState::new()),
        }
    }

    /// The backlog of a flow, made if there is none yet.
    pub(super) fn backlog(&self, flow: Id) -> Arc<Backlog> {
        let make = || Arc::new(Backlog::new(flow, Arc::clone(&self.process_backlog)));
        Arc::clone(self.backlogs.pin().get_or_insert_with(flow, make))
    }

    /// The runs of a flow, made if there are none yet.
    pub(super) fn runs(&self, flow: Id) -> Arc<FlowRuns> {
        let make = || Arc::new(FlowRuns::new(self.cores));
        Arc::clone(self.runs.pin().get_or_insert_with(flow, make))
    }

    /// The backlog of a flow, if there is one.
    pub(super) fn known_backlog(&self, flow: Id) -> Option<Arc<Backlog>> {
        self.backlogs.pin().get(&flow).cloned()
    }

    /// The runs of a flow, if there are any.
    pub(super) fn known_runs(&self, flow: Id) -> Option<Arc<FlowRuns>> {
        self.runs.pin().get(&flow).cloned()
    }

    /// Forgets a flow that was deleted; its backlog takes no more.
    pub(super) fn delete(&self, flow: Id) {
        self.runs.pin().remove(&flow);
        if let Some(backlog) = self.backlogs.pin().remove(&flow) {
            backlog.delete();
        }
    }
}
