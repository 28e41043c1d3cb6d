//! The plan of a flow that does not serve: for a dry run, over a draft as well as over a flow that is saved.

use super::aside::RetiredRates;
use super::compile::{self, ApplicationPart, Defaults, Wiring};
use super::flow_states::FlowStates;
use super::hook::FlowPlan;
use crate::base::clock::Now;
use crate::model::{Application, Flow, Webhook};

/// Compiles a flow as a webhook triggers it, sharing nothing with the plans that serve. `None` if no trigger of the flow
/// is on the webhook.
#[must_use]
pub(crate) fn plan_alone(
    defaults: &Defaults,
    application: &Application,
    webhook: &Webhook,
    flow: &Flow,
    now: Now,
) -> Option<FlowPlan> {
    let (flows, aside) = (FlowStates::new(defaults.cores), RetiredRates::default());
    let wiring = Wiring::new(defaults, &flows, &aside, now);
    compile::plan(&wiring, &ApplicationPart::new(application), webhook, flow)
}
