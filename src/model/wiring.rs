//! The wires of a flow: which nodes its triggers and nodes lead to ([flows](crate::guide::flows#wires)).

use std::collections::{HashMap, HashSet};

use super::error::ModelError;
use super::flow::Flow;
use super::flow_trigger::OutputIds;
use super::node::{FlowNode, NodeKind};
use crate::base::id::Id;

/// The nodes that a webhook's triggers reach, and how they are wired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wires {
    /// Positions in [`Flow::nodes`], nearest to the triggers first, each once.
    pub order: Vec<usize>,
    /// The nodes that the triggers lead to themselves, as places in `order`.
    pub first: Vec<usize>,
    /// The nodes that each node of `order` leads to, as places in `order`: behind a [`NodeKind::Conditional`] those of
    /// its first output (false) and of its second (true); behind any other node all of them, in the first list.
    pub behind: Vec<[Vec<usize>; 2]>,
}

impl Flow {
    /// Whether `outputIds` stands anywhere, also where it leads nowhere. Where it does not, every node runs.
    #[must_use]
    pub fn is_wired(&self) -> bool {
        let triggers = self.triggers.iter().map(|trigger| &trigger.output_ids);
        let nodes = self.nodes.iter().map(|node| &node.output_ids);
        triggers.chain(nodes).any(Option::is_some)
    }

    /// Positions in [`Flow::nodes`] of those that may run for a trigger of a webhook, nearest first, each once.
    #[must_use]
    pub fn nodes_after(&self, webhook: Id) -> Vec<usize> {
        self.wires(webhook).order
    }

    /// The nodes that may run for a trigger of a webhook, and their wires. A circle ends where it closes.
    #[must_use]
    pub fn wires(&self, webhook: Id) -> Wires {
        let mut triggers =
            self.triggers.iter().filter(|trigger| trigger.webhook() == Some(webhook)).peekable();
        if triggers.peek().is_none() {
            return Wires::default();
        }
        if !self.is_wired() {
            let order: Vec<usize> = (0..self.nodes.len()).collect();
            return Wires { first: order.clone(), behind: vec![Default::default(); order.len()], order };
        }
        let positions: HashMap<&str, usize> =
            self.nodes.iter().enumerate().map(|(position, node)| (node.id.as_str(), position)).collect();
        let mut search = WireWalk { positions, places: vec![None; self.nodes.len()], order: Vec::new() };
        let first = search.places_of(triggers.flat_map(|trigger| ids(trigger.output_ids.as_ref())));
        let mut behind = Vec::new();
        while let Some(&position) = search.order.get(behind.len()) {
            behind.push(search.behind(&self.nodes[position]));
        }
        Wires { order: search.order, first, behind }
    }

    pub(super) fn check_wiring(&self) -> Result<(), ModelError> {
        let known: HashSet<&str> = self.nodes.iter().map(|node| node.id.as_str()).collect();
        let check = |output_ids: &Option<OutputIds>, path: String| match ids(output_ids.as_ref())
            .find(|id| !known.contains(id))
        {
            None => Ok(()),
            Some(id) => {
                Err(ModelError::new(path, format!("must name nodes of this flow: `{id}` is not one")))
            }
        };
        for (index, trigger) in self.triggers.iter().enumerate() {
            check(&trigger.output_ids, format!("triggers[{index}].outputIds"))?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let path = format!("nodes[{index}].outputIds");
            check(&node.output_ids, path.clone())?;
            if ids(node.output_ids.as_ref()).any(|id| id == node.id) {
                return Err(ModelError::new(
                    path,
                    format!("must not lead back to the node itself: `{}`", node.id),
                ));
            }
            let outputs = node.output_ids.as_ref().map_or(0, |output_ids| output_ids.0.len());
            if matches!(node.kind, NodeKind::Conditional(_)) && outputs > CONDITIONAL_OUTPUTS_MAX {
                let must = "must have at most two lists: the nodes behind false and those behind true";
                return Err(ModelError::new(path, must));
            }
        }
        Ok(())
    }
}

/// Outputs of a `ConditionalNode`: false and true.
const CONDITIONAL_OUTPUTS_MAX: usize = 2;

/// A walk over a flow's wires, nearest nodes first.
struct WireWalk<'f> {
    positions: HashMap<&'f str, usize>,
    /// Of each node, its place in `order` if it was reached.
    places: Vec<Option<usize>>,
    order: Vec<usize>,
}

impl<'f> WireWalk<'f> {
    /// Places of the nodes with these ids, each once; those that are new are appended to the order.
    fn places_of(&mut self, ids: impl Iterator<Item = &'f str>) -> Vec<usize> {
        let mut places = Vec::new();
        for id in ids {
            let Some(&position) = self.positions.get(id) else { continue };
            let place = *self.places[position].get_or_insert_with(|| {
                self.order.push(position);
                self.order.len() - 1
            });
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }

    fn behind(&mut self, node: &'f FlowNode) -> [Vec<usize>; 2] {
        let outputs = node.output_ids.as_ref().map_or(&[][..], |output_ids| &output_ids.0);
        match (&node.kind, outputs) {
            (NodeKind::Conditional(_), outputs) => {
                let mut output = |index: usize| {
                    self.places_of(outputs.get(index).into_iter().flatten().map(String::as_str))
                };
                [output(0), output(1)]
            }
            (_, outputs) => [self.places_of(outputs.iter().flatten().map(String::as_str)), Vec::new()],
        }
    }
}

/// The ids of all outputs, in order.
fn ids(output_ids: Option<&OutputIds>) -> impl Iterator<Item = &str> {
    output_ids.into_iter().flat_map(OutputIds::ids)
}
